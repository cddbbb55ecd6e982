/* SPDX-License-Identifier: Apache-2.0 */
/* The RESP parser: the same as hiredis at every split of every message, and firm against everything malformed. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <cmocka.h>
#include <hiredis/hiredis.h>

#include <strata/status.h>

#include "l2/redis/resp.h"

static const sx_resp_limits LIMITS = {.depth_max = 8, .elements_max = 100000, .bulk_bytes_max = 1 << 20};

static sx_resp_parser *parser_new(void) {
    sx_resp_parser *parser = NULL;
    assert_int_equal(sx_resp_parser_create(sx_alloc_default(), &LIMITS, &parser), STRATA_OK);
    return parser;
}

/* ---- against hiredis ---- */

static void print_ours(char *out, size_t size, const sx_resp *value) {
    size_t at = strlen(out);
    switch (value->type) {
    case SX_RESP_NULL: snprintf(out + at, size - at, "nil "); break;
    case SX_RESP_STRING: snprintf(out + at, size - at, "s%zu:%.*s ", value->size, (int)value->size, value->text); break;
    case SX_RESP_ERROR: snprintf(out + at, size - at, "e%zu:%.*s ", value->size, (int)value->size, value->text); break;
    case SX_RESP_INTEGER: snprintf(out + at, size - at, "i%lld ", (long long)value->integer); break;
    case SX_RESP_ARRAY:
        snprintf(out + at, size - at, "a%u[", value->count);
        for (uint32_t i = 0; i < value->count; i++) print_ours(out, size, &value->items[i]);
        at = strlen(out);
        snprintf(out + at, size - at, "] ");
        break;
    default: snprintf(out + at, size - at, "?"); break;
    }
}

static void print_theirs(char *out, size_t size, const redisReply *value) {
    size_t at = strlen(out);
    switch (value->type) {
    case REDIS_REPLY_NIL: snprintf(out + at, size - at, "nil "); break;
    case REDIS_REPLY_STATUS:
    case REDIS_REPLY_STRING: snprintf(out + at, size - at, "s%zu:%.*s ", value->len, (int)value->len, value->str); break;
    case REDIS_REPLY_ERROR: snprintf(out + at, size - at, "e%zu:%.*s ", value->len, (int)value->len, value->str); break;
    case REDIS_REPLY_INTEGER: snprintf(out + at, size - at, "i%lld ", value->integer); break;
    case REDIS_REPLY_ARRAY:
        snprintf(out + at, size - at, "a%zu[", value->elements);
        for (size_t i = 0; i < value->elements; i++) print_theirs(out, size, value->element[i]);
        at = strlen(out);
        snprintf(out + at, size - at, "] ");
        break;
    default: snprintf(out + at, size - at, "?"); break;
    }
}

/* All of what the peer makes of a stream; "!" where it refuses. */
static void theirs(const char *bytes, size_t size, char *out, size_t out_size) {
    redisReader *reader = redisReaderCreate();
    out[0] = '\0';
    redisReaderFeed(reader, bytes, size);
    void *reply = NULL;
    int status;
    while ((status = redisReaderGetReply(reader, &reply)) == REDIS_OK && reply != NULL) {
        print_theirs(out, out_size, reply);
        freeReplyObject(reply);
    }
    if (status != REDIS_OK) snprintf(out + strlen(out), out_size - strlen(out), "!");
    redisReaderFree(reader);
}

/* Feeds bytes in two pieces, each into memory of its own, so that every pointer into the older one is invalid. */
static void ours(const char *bytes, size_t size, size_t split, char *out, size_t out_size) {
    sx_resp_parser *parser = parser_new();
    out[0] = '\0';
    size_t begin = 0;
    int32_t status = STRATA_OK;
    for (int piece = 0; piece < 2; piece++) {
        size_t have = piece == 0 ? split : size;
        uint8_t *copy = malloc(have + 1);
        memcpy(copy, bytes, have);
        while (begin < have) {
            size_t consumed, wanted;
            const sx_resp *value;
            status = sx_resp_parse(parser, copy + begin, have - begin, &consumed, &wanted, &value);
            if (status != STRATA_OK) break;
            print_ours(out, out_size, value);
            begin += consumed;
        }
        if (status == STRATA_PENDING && piece == 0) assert_true(begin < have);
        free(copy);
        if (status != STRATA_OK && status != STRATA_PENDING) break;
    }
    if (status == STRATA_E_PROTOCOL) snprintf(out + strlen(out), out_size - strlen(out), "!");
    sx_resp_parser_destroy(parser);
}

static const char *const messages[] = {
    "+OK\r\n", "+\r\n", "-ERR some thing\r\n", "-\r\n", ":0\r\n", ":-1\r\n", ":9223372036854775807\r\n",
    ":-9223372036854775808\r\n", "$0\r\n\r\n", "$5\r\nhello\r\n", "$-1\r\n", "*-1\r\n", "*0\r\n", "$4\r\n\r\n\r\n\r\n",
    "*3\r\n:1\r\n+two\r\n$5\r\nthree\r\n", "*2\r\n*2\r\n:1\r\n:2\r\n*1\r\n$1\r\nx\r\n", "*2\r\n*0\r\n*-1\r\n",
    "*2\r\n$-1\r\n*2\r\n-e\r\n*1\r\n*1\r\n+deep\r\n", "+OK\r\n:7\r\n$3\r\nabc\r\n*1\r\n:3\r\n+end\r\n",
    "$10000000\r\n", "+pend", "*2\r\n:1\r\n", "$5\r\nhell",
    /* refused by both */
    ":12a\r\n", "$a\r\n", "*x\r\n", ":\r\n", "?\r\n", "$-2\r\n", "*-2\r\n", ":01\r\n", ":9223372036854775808\r\n",
    "$3\r\n", "OK\r\n"};

static void same_as_hiredis_at_every_split(void **state) {
    (void)state;
    static char expected[8192], got[8192];
    for (size_t i = 0; i < sizeof messages / sizeof messages[0]; i++) {
        const char *message = messages[i];
        size_t size = strlen(message);
        if (strcmp(message, "$10000000\r\n") == 0) continue; /* beyond our limit, not theirs */
        theirs(message, size, expected, sizeof expected);
        for (size_t split = 0; split <= size; split++) {
            ours(message, size, split, got, sizeof got);
            if (strcmp(expected, got) != 0) fail_msg("'%s' at %zu: %s, not %s", message, split, got, expected);
        }
    }
}

static uint64_t seed = 42;
static uint32_t dice(uint32_t sides) {
    seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (uint32_t)(seed >> 33) % sides;
}

static size_t random_message(char *out, size_t size, int depth) {
    char text[16];
    uint32_t length = dice(12);
    for (uint32_t i = 0; i < length; i++) text[i] = (char)('a' + dice(26));
    switch (dice(depth < 5 ? 7 : 5)) {
    case 0: return (size_t)snprintf(out, size, "+%.*s\r\n", (int)length, text);
    case 1: return (size_t)snprintf(out, size, "-%.*s\r\n", (int)length, text);
    case 2: return (size_t)snprintf(out, size, ":%d\r\n", (int)dice(2000000) - 1000000);
    case 3: return (size_t)snprintf(out, size, "$%u\r\n%.*s\r\n", length, (int)length, text);
    case 4: return (size_t)snprintf(out, size, "$-1\r\n");
    default: break;
    }
    uint32_t count = dice(4);
    size_t at = (size_t)snprintf(out, size, "*%u\r\n", count);
    for (uint32_t i = 0; i < count; i++) at += random_message(out + at, size - at, depth + 1);
    return at;
}

static void same_as_hiredis_for_random_messages(void **state) {
    (void)state;
    static char message[65536], expected[65536], got[65536];
    for (int round = 0; round < 3000; round++) {
        size_t size = random_message(message, sizeof message, 0);
        bool spoilt = dice(4) == 0 && size > 2;
        if (spoilt) message[dice((uint32_t)size)] = "+-:$*\r\n0123x"[dice(12)];
        size_t split = dice((uint32_t)size + 1);
        theirs(message, size, expected, sizeof expected);
        ours(message, size, split, got, sizeof got);
        ours(message, size, 0, got + 32768, sizeof got - 32768);
        assert_string_equal(got, got + 32768);
        if (strcmp(expected, got) == 0) continue;
        /* hiredis looks neither for the end of a line after a bulk nor at a bare carriage return: we may refuse more */
        size_t length = strlen(got);
        if (spoilt && length > 0 && got[length - 1] == '!' && strncmp(expected, got, length - 1) == 0) continue;
        fail_msg("'%s' at %zu: %s, not %s", message, split, got, expected);
    }
}

/* ---- RESP3 ---- */

static const sx_resp *parse_all(sx_resp_parser *parser, const char *text) {
    size_t consumed, wanted;
    const sx_resp *value = NULL;
    sx_resp_parser_reset(parser);
    int32_t status = sx_resp_parse(parser, (const uint8_t *)text, strlen(text), &consumed, &wanted, &value);
    if (status != STRATA_OK) return NULL;
    assert_int_equal(consumed, strlen(text));
    return value;
}

static void resp3_types(void **state) {
    (void)state;
    sx_resp_parser *parser = parser_new();
    assert_int_equal(parse_all(parser, "_\r\n")->type, SX_RESP_NULL);
    assert_int_equal(parse_all(parser, "#t\r\n")->integer, 1);
    assert_int_equal(parse_all(parser, "#f\r\n")->integer, 0);
    assert_true(fabs(parse_all(parser, ",1.5e3\r\n")->number - 1500) < 1e-9);
    assert_true(isinf(parse_all(parser, ",-inf\r\n")->number));
    assert_int_equal(parse_all(parser, "(12345678901234567890123\r\n")->type, SX_RESP_BIG_NUMBER);
    assert_true(sx_resp_is_text(parse_all(parser, "=7\r\ntxt:abc\r\n"), "abc"));
    assert_int_equal(parse_all(parser, "!3\r\nERR\r\n")->type, SX_RESP_ERROR);
    const sx_resp *map = parse_all(parser, "%2\r\n+a\r\n:1\r\n+b\r\n*1\r\n+x\r\n");
    assert_int_equal(map->type, SX_RESP_MAP);
    assert_int_equal(map->count, 2);
    assert_int_equal(sx_resp_map_get(map, "a")->integer, 1);
    assert_true(sx_resp_is_text(&sx_resp_map_get(map, "b")->items[0], "x"));
    assert_null(sx_resp_map_get(map, "c"));
    assert_int_equal(parse_all(parser, "~2\r\n:1\r\n:2\r\n")->type, SX_RESP_SET);
    assert_int_equal(parse_all(parser, ">2\r\n+message\r\n:2\r\n")->type, SX_RESP_PUSH);
    /* attributes are skipped wherever they are, nested ones too */
    assert_int_equal(parse_all(parser, "|1\r\n+ttl\r\n*2\r\n:1\r\n:2\r\n:5\r\n")->integer, 5);
    const sx_resp *array = parse_all(parser, "*2\r\n|1\r\n+k\r\n%1\r\n+a\r\n*1\r\n:1\r\n*1\r\n:7\r\n:8\r\n");
    assert_int_equal(array->count, 2);
    assert_int_equal(array->items[0].items[0].integer, 7);
    assert_int_equal(array->items[1].integer, 8);
    const sx_resp *flat = parse_all(parser, "*4\r\n+a\r\n:1\r\n+b\r\n:2\r\n");
    assert_int_equal(sx_resp_map_get(flat, "b")->integer, 2);
    sx_resp_parser_destroy(parser);
}

static void refuses(sx_resp_parser *parser, const char *text, const char *why) {
    size_t consumed, wanted;
    const sx_resp *value;
    sx_resp_parser_reset(parser);
    int32_t status = STRATA_PENDING;
    for (size_t size = 1; size <= strlen(text) && status == STRATA_PENDING; size++) {
        status = sx_resp_parse(parser, (const uint8_t *)text, size, &consumed, &wanted, &value);
    }
    if (status != STRATA_E_PROTOCOL) fail_msg("'%s' gave %d", text, status);
    if (strstr(sx_resp_parser_error(parser), why) == NULL) fail_msg("'%s': %s", text, sx_resp_parser_error(parser));
    /* and stays refused */
    assert_int_equal(sx_resp_parse(parser, (const uint8_t *)"+OK\r\n", 5, &consumed, &wanted, &value), STRATA_E_PROTOCOL);
}

static void refuses_what_is_beyond_limits(void **state) {
    (void)state;
    sx_resp_parser *parser = parser_new();
    refuses(parser, "$1048577\r\n", "at most");
    refuses(parser, "$9223372036854775807\r\n", "at most");
    refuses(parser, "$99999999999999999999\r\n", "malformed length");
    refuses(parser, "$999999999999999999999\r\n", "longer than");
    refuses(parser, "$-5\r\n", "negative");
    refuses(parser, "%-1\r\n", "negative");
    refuses(parser, "!-1\r\n", "negative");
    refuses(parser, "*100001\r\n", "100000 values");
    refuses(parser, "*9223372036854775807\r\n", "100000 values");
    refuses(parser, "%50001\r\n", "100000 values");
    refuses(parser, "%9223372036854775807\r\n", "100000 values");
    refuses(parser, "*2\r\n*60000\r\n*1\r\n*60000\r\n", "100000 values");
    refuses(parser, "*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n", "deeper");
    refuses(parser, "*1\r\n>1\r\n", "push inside");
    refuses(parser, "$2\r\nabc\r\n", "line's end");
    refuses(parser, "=2\r\nab\r\n", "verbatim");
    refuses(parser, "=5\r\ntxtxx\r\n", "verbatim");
    refuses(parser, "#x\r\n", "malformed");
    refuses(parser, "_x\r\n", "malformed");
    refuses(parser, ",1,5\r\n", "malformed");
    refuses(parser, ",0x1p3\r\n", "malformed");
    refuses(parser, "(12x\r\n", "malformed");
    refuses(parser, "+a\rb\r\n", "carriage return");
    refuses(parser, "$?\r\n", "malformed");
    refuses(parser, "HTTP/1.1 200 OK\r\n", "no type");
    sx_resp_parser_destroy(parser);
}

static void endless_lines_and_attributes_end(void **state) {
    (void)state;
    sx_resp_parser *parser = parser_new();
    size_t size = 200000, consumed, wanted;
    uint8_t *line = malloc(size);
    memset(line, 'a', size);
    line[0] = '+';
    const sx_resp *value;
    assert_int_equal(sx_resp_parse(parser, line, size, &consumed, &wanted, &value), STRATA_E_PROTOCOL);
    sx_resp_parser_reset(parser);
    size_t count = LIMITS.elements_max + 10;
    uint8_t *many = malloc(count * 4);
    for (size_t i = 0; i < count; i++) memcpy(many + 4 * i, "|0\r\n", 4);
    assert_int_equal(sx_resp_parse(parser, many, count * 4, &consumed, &wanted, &value), STRATA_E_PROTOCOL);
    free(line);
    free(many);
    sx_resp_parser_destroy(parser);
}

static double seconds(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void byte_by_byte_is_linear(void **state) {
    (void)state;
    sx_resp_parser *parser = parser_new();
    size_t count = 90000, at;
    char *big = malloc(count * 8 + 70000 + 64);
    at = (size_t)sprintf(big, "*%zu\r\n", count + 1);
    for (size_t i = 0; i < count; i++) at += (size_t)sprintf(big + at, "$1\r\nx\r\n");
    big[at++] = '+';
    memset(big + at, 'y', 60000);
    at += 60000;
    big[at++] = '\r';
    big[at++] = '\n';
    double began = seconds();
    size_t consumed, wanted;
    const sx_resp *value = NULL;
    for (size_t size = 1; size < at; size++) {
        assert_int_equal(sx_resp_parse(parser, (const uint8_t *)big, size, &consumed, &wanted, &value), STRATA_PENDING);
        assert_true(wanted > size && wanted <= at);
    }
    assert_int_equal(sx_resp_parse(parser, (const uint8_t *)big, at, &consumed, &wanted, &value), STRATA_OK);
    assert_int_equal(value->count, count + 1);
    assert_true(seconds() - began < 3); /* quadratic would be minutes */
    free(big);
    sx_resp_parser_destroy(parser);
}

/* ---- memory ---- */

static int64_t live_bytes;
static int fail_after = -1;
static void *counted_allocate(void *context, size_t size, size_t alignment) {
    (void)context;
    (void)alignment;
    if (fail_after >= 0 && fail_after-- == 0) return NULL;
    live_bytes += (int64_t)size;
    return malloc(size);
}
static void counted_release(void *context, void *memory, size_t size) {
    (void)context;
    live_bytes -= (int64_t)size;
    free(memory);
}

static void survives_every_failed_allocation(void **state) {
    (void)state;
    sx_alloc alloc;
    sx_alloc_wrap(&alloc, NULL, counted_allocate, counted_release);
    static char message[4096];
    size_t size = (size_t)sprintf(message, "*200\r\n");
    for (int i = 0; i < 200; i++) size += (size_t)sprintf(message + size, "*1\r\n:%d\r\n", i);
    int failures = 0;
    for (int n = 0; n < 40; n++) {
        fail_after = n;
        sx_resp_parser *parser = NULL;
        int32_t status = sx_resp_parser_create(&alloc, &LIMITS, &parser);
        if (status == STRATA_OK) {
            size_t consumed, wanted;
            const sx_resp *value;
            status = sx_resp_parse(parser, (const uint8_t *)message, size, &consumed, &wanted, &value);
            if (status == STRATA_OK) assert_int_equal(value->items[199].items[0].integer, 199);
        }
        if (status != STRATA_OK) {
            assert_int_equal(status, STRATA_E_NOMEM);
            failures++;
        }
        sx_resp_parser_destroy(parser);
        assert_int_equal(live_bytes, 0);
    }
    fail_after = -1;
    assert_true(failures > 5 && failures < 40);
}

static void a_promise_of_many_elements_costs_nothing(void **state) {
    (void)state;
    sx_alloc alloc;
    sx_alloc_wrap(&alloc, NULL, counted_allocate, counted_release);
    sx_resp_parser *parser;
    assert_int_equal(sx_resp_parser_create(&alloc, &LIMITS, &parser), STRATA_OK);
    size_t consumed, wanted;
    const sx_resp *value;
    int64_t before = live_bytes;
    assert_int_equal(sx_resp_parse(parser, (const uint8_t *)"*90000\r\n", 8, &consumed, &wanted, &value), STRATA_PENDING);
    assert_true(live_bytes - before < 4096);
    sx_resp_parser_destroy(parser);
}

/* ---- commands and helpers ---- */

static void commands_are_encoded(void **state) {
    (void)state;
    sx_command command;
    sx_command_init(&command, sx_alloc_default());
    sx_command_text(&command, "SET");
    sx_command_arg(&command, "a\0b", 3);
    sx_command_int(&command, INT64_MIN);
    sx_command_int(&command, 0);
    memcpy(sx_command_arg_space(&command, 12), "hello, world", 12);
    static const char expected[] =
        "$3\r\nSET\r\n$3\r\na\0b\r\n$20\r\n-9223372036854775808\r\n$1\r\n0\r\n$12\r\nhello, world\r\n";
    assert_int_equal(command.argc, 5);
    assert_int_equal(command.args.size, sizeof expected - 1);
    assert_memory_equal(command.args.data, expected, sizeof expected - 1);
    sx_command_clear(&command);
    sx_command_text(&command, "GET");
    for (int part = 0; part < 120; part++) { /* grows on the way; the head has one digit more at 10 and at 100 bytes */
        size_t mark = sx_command_arg_open(&command);
        for (int i = 0; i < part; i++) sx_buf_append_byte(&command.args, 'x');
        sx_command_arg_close(&command, mark);
    }
    assert_int_equal(command.argc, 121);
    const uint8_t *at = command.args.data + sizeof "$3\r\nGET\r\n" - 1;
    for (int part = 0; part < 120; part++) {
        char wanted[160];
        int size = snprintf(wanted, sizeof wanted, "$%d\r\n%.*s\r\n", part, part,
                            "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
                            "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx");
        assert_memory_equal(at, wanted, (size_t)size);
        at += size;
    }
    assert_ptr_equal(at, command.args.data + command.args.size);
    sx_command_clear(&command);
    assert_int_equal(command.argc, 0);
    sx_command_deinit(&command);
}

static void numbers_are_not_trusted(void **state) {
    (void)state;
    uint64_t number;
    sx_resp value = {.type = SX_RESP_INTEGER, .integer = -1};
    assert_false(sx_resp_to_uint(&value, &number));
    value.integer = 5;
    assert_true(sx_resp_to_uint(&value, &number) && number == 5);
    static const struct {
        const char *text;
        bool ok;
    } texts[] = {{"18446744073709551615", true}, {"18446744073709551616", false}, {"", false}, {"-1", false},
                 {" 1", false}, {"1x", false}, {"99999999999999999999", false}, {"007", true}};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        sx_resp text = {.type = SX_RESP_STRING, .size = strlen(texts[i].text), .text = texts[i].text};
        assert_int_equal(sx_resp_to_uint(&text, &number), texts[i].ok);
    }
    assert_false(sx_resp_to_uint(NULL, &number));
    value.type = SX_RESP_ARRAY;
    assert_false(sx_resp_to_uint(&value, &number));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(same_as_hiredis_at_every_split),
        cmocka_unit_test(same_as_hiredis_for_random_messages),
        cmocka_unit_test(resp3_types),
        cmocka_unit_test(refuses_what_is_beyond_limits),
        cmocka_unit_test(endless_lines_and_attributes_end),
        cmocka_unit_test(byte_by_byte_is_linear),
        cmocka_unit_test(survives_every_failed_allocation),
        cmocka_unit_test(a_promise_of_many_elements_costs_nothing),
        cmocka_unit_test(commands_are_encoded),
        cmocka_unit_test(numbers_are_not_trusted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
