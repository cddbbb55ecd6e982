/* SPDX-License-Identifier: Apache-2.0 */
/* The commands of writes, leases and fills, and the reading of their replies. */
#include "coherence/publish.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <strata/status.h>

#include "coherence/message.h"
#include "core/codec/msgpack.h"

#define FRONT_LAST 28  /* GETRANGE's inclusive end: format, n, written_at and id */
#define LEASE_BYTES 12 /* 0x93 0x02 0xcf token(8) awaited */
#define HEAD_BYTES 20
#define NEVER_MS (INT64_C(1) << 53) /* no deadline: later than any time that a double holds */

static void put_u64(uint8_t *out, uint64_t value) {
    for (int i = 0; i < 8; i++) out[i] = (uint8_t)(value >> (56 - 8 * i));
}

static uint64_t get_u64(const char *text) {
    uint64_t value = 0;
    for (int i = 0; i < 8; i++) value = value << 8 | (uint8_t)text[i];
    return value;
}

static void arg_value_name(const sx_publish *publish, const sx_publish_key *key, sx_command *command) {
    size_t mark = sx_command_arg_open(command);
    if (key->what == SX_PUBLISH_TAG)
        sx_key_name_marker(&command->args, publish->tags, key->partition, key->key, key->key_size);
    else if (key->what == SX_PUBLISH_REFRESH)
        sx_key_name_refresh(&command->args, publish->tags, key->partition, key->ns, key->ns_size, key->ns_version, key->key,
                            key->key_size);
    else if (key->what == SX_PUBLISH_COUNT)
        sx_key_name_count(&command->args, publish->tags, key->partition, key->ns, key->ns_size, key->ns_version, key->key,
                          key->key_size);
    else if (key->what == SX_PUBLISH_LOCK)
        sx_key_name_lock(&command->args, publish->tags, key->partition, key->ns, key->ns_size, key->ns_version, key->key, key->key_size);
    else
        sx_key_name_value(&command->args, publish->tags, key->partition, key->ns, key->ns_size, key->ns_version, key->key,
                          key->key_size);
    sx_command_arg_close(command, mark);
}

static void arg_counter_name(const sx_publish *publish, uint32_t partition, sx_command *command) {
    size_t mark = sx_command_arg_open(command);
    sx_key_name_counter(&command->args, publish->tags, partition);
    sx_command_arg_close(command, mark);
}

/* Publish command and channel. */
static void arg_channel(const sx_publish *publish, uint32_t partition, sx_command *command) {
    sx_command_text(command, publish->sharded ? "SPUBLISH" : "PUBLISH");
    size_t mark = sx_command_arg_open(command);
    sx_key_name_channel(&command->args, publish->tags, partition);
    sx_command_arg_close(command, mark);
}

static void arg_filled(const sx_publish_key *key, uint64_t token, sx_command *command) {
    size_t mark = sx_command_arg_open(command);
    sx_message_encode_filled(&command->args, token, key->ns, key->ns_size, key->ns_version, key->key, key->key_size);
    sx_command_arg_close(command, mark);
}

/* "<namespace>:<version>": the field of the counter's hash that says when the namespace was cleared. */
static void arg_field(const sx_publish_key *key, sx_command *command) {
    char version[16];
    int digits = snprintf(version, sizeof version, ":%" PRIu32, key->ns_version);
    size_t mark = sx_command_arg_open(command);
    sx_buf_append(&command->args, key->ns, key->ns_size);
    sx_buf_append(&command->args, version, (size_t)digits);
    sx_command_arg_close(command, mark);
}

/* n and id as they stand in a value. */
static void arg_version(uint64_t n, uint64_t id, sx_command *command) {
    uint8_t bytes[16];
    put_u64(bytes, n);
    put_u64(bytes + 8, id);
    sx_command_arg(command, bytes, sizeof bytes);
}

/* A lease's bytes; without the last, what its holder compares. */
static void lease_bytes(uint8_t out[LEASE_BYTES], uint64_t token) {
    out[0] = 0x93;
    out[1] = 0x02;
    out[2] = 0xcf;
    for (int i = 0; i < 8; i++) out[3 + i] = (uint8_t)(token >> (56 - 8 * i));
    out[11] = 0xc2;
}

/* A value as the scripts take it: an empty head, to be patched where it is stored, then the tail. */
static void value_arg(sx_command *command, const uint8_t *tail, size_t tail_size) {
    static const uint8_t head[HEAD_BYTES] = {[0] = 0x9b, [1] = 0x01, [2] = 0xcf, [11] = 0xcf};
    uint8_t *space = sx_command_arg_space(command, sizeof head + tail_size);
    if (space == NULL) return;
    memcpy(space, head, sizeof head);
    if (tail_size != 0) memcpy(space + sizeof head, tail, tail_size);
}

void sx_publish_encode_write(const sx_publish *publish, const sx_publish_write *write, sx_command *command) {
    assert(write->ttl_ms >= 0);
    const sx_publish_key *key = &write->key;
    sx_command_int(command, 2);
    arg_value_name(publish, key, command);
    arg_counter_name(publish, key->partition, command);
    sx_command_int(command, write->deadline_ms);
    sx_command_int(command, write->not_before_ms);
    sx_command_int(command, write->ttl_ms);
    arg_channel(publish, key->partition, command);
    bool tag = key->what == SX_PUBLISH_TAG;
    bool carry = !tag && write->carry && write->tail != NULL;
    size_t mark = sx_command_arg_open(command);
    sx_message_encode_head(&command->args, tag ? SX_MESSAGE_TAG : carry ? SX_MESSAGE_VALUE : SX_MESSAGE_KEY);
    sx_command_arg_close(command, mark);
    mark = sx_command_arg_open(command);
    if (tag) sx_message_encode_tag_rest(&command->args, write->id, key->key, key->key_size);
    else
        sx_message_encode_key_rest(&command->args, write->id, key->ns, key->ns_size, key->ns_version, key->key,
                                   key->key_size);
    if (carry) sx_msgpack_write_bin_header(&command->args, (uint32_t)(HEAD_BYTES + write->tail_size));
    sx_command_arg_close(command, mark);
    if (write->tail != NULL) value_arg(command, write->tail, write->tail_size);
    if (carry) sx_command_text(command, "v");
    if (tag) sx_command_text(command, "m");
}

void sx_publish_encode_write_if(const sx_publish *publish, const sx_publish_write *write, sx_command *command) {
    static const char *const names[] = {[SX_PUBLISH_IF_SAME] = "=", [SX_PUBLISH_IF_NEWER] = ">", [SX_PUBLISH_IF_ABSENT] = "0"};
    const sx_publish_condition *condition = &write->condition;
    assert(condition->only != SX_PUBLISH_ALWAYS && write->tail != NULL && write->key.what == SX_PUBLISH_VALUE);
    sx_publish_encode_write(publish, write, command);
    if (!write->carry) sx_command_text(command, "");
    sx_command_text(command, names[condition->only]);
    uint8_t number[8];
    put_u64(number, condition->app_version);
    if (condition->only == SX_PUBLISH_IF_SAME) arg_version(condition->n, condition->id, command);
    else sx_command_arg(command, number, sizeof number);
    arg_field(&write->key, command);
}

bool sx_publish_decode_conflict(const sx_resp *reply, uint64_t *n, uint64_t *id) {
    *n = *id = 0;
    if (reply->type == SX_RESP_NULL) return true;
    if (reply->type != SX_RESP_STRING || reply->size != FRONT_LAST + 1) return false;
    *n = get_u64(reply->text + 3);
    *id = get_u64(reply->text + 21);
    return true;
}

void sx_publish_encode_look(const sx_publish *publish, const sx_publish_key *key, int64_t deadline_ms, int64_t ttl_ms,
                            sx_command *command) {
    sx_command_int(command, 2);
    arg_value_name(publish, key, command);
    arg_counter_name(publish, key->partition, command);
    sx_command_int(command, deadline_ms);
    arg_field(key, command);
    sx_command_int(command, SX_PUBLISH_LOOK_MAX - 1);
    if (ttl_ms >= 0) sx_command_int(command, ttl_ms);
}

bool sx_publish_decode_look(const sx_resp *reply, const char **bytes, size_t *size) {
    *bytes = reply->type == SX_RESP_STRING ? reply->text : NULL;
    *size = reply->type == SX_RESP_STRING ? reply->size : 0;
    return reply->type == SX_RESP_STRING || reply->type == SX_RESP_NULL;
}

void sx_publish_encode_count(const sx_publish *publish, const sx_publish_key *key, int64_t deadline_ms, int64_t change,
                             int64_t ttl_ms, sx_command *command) {
    assert(key->what == SX_PUBLISH_COUNT);
    sx_command_int(command, 1);
    arg_value_name(publish, key, command);
    sx_command_int(command, deadline_ms);
    sx_command_int(command, change);
    sx_command_int(command, ttl_ms);
}

void sx_publish_encode_uncount(const sx_publish *publish, const sx_publish_key *key, int64_t deadline_ms, sx_command *command) {
    assert(key->what == SX_PUBLISH_COUNT);
    sx_command_int(command, 1);
    arg_value_name(publish, key, command);
    sx_command_int(command, deadline_ms);
    sx_command_text(command, "");
    sx_command_int(command, 0);
}

static bool number_of(const sx_resp *reply, int64_t *out) {
    char text[24], *end;
    if (reply->type != SX_RESP_STRING || reply->size == 0 || reply->size >= sizeof text) return false;
    memcpy(text, reply->text, reply->size);
    text[reply->size] = 0;
    *out = strtoll(text, &end, 10);
    return end == text + reply->size;
}

int32_t sx_publish_decode_count(const sx_resp *reply, int64_t *out) {
    if (number_of(reply, out)) return STRATA_OK;
    if (reply->type != SX_RESP_INTEGER) return STRATA_E_UNKNOWN_OUTCOME;
    if (reply->integer == -1) return STRATA_E_TIMEOUT;
    if (reply->integer == -4) return STRATA_E_RANGE;
    return reply->integer == -5 ? STRATA_E_TYPE : STRATA_E_UNKNOWN_OUTCOME;
}

static int64_t deadline_of(const sx_publish_write *write) { return write->deadline_ms == 0 ? NEVER_MS : write->deadline_ms; }

/* The message behind its n: what all share, and the keys in order. Returns the size of what they share. */
static size_t arg_keys(const sx_publish_write *writes, uint32_t count, sx_command *command) {
    const uint8_t head[3] = {0xdc, (uint8_t)(count >> 8), (uint8_t)count};
    sx_buf *out = &command->args;
    size_t mark = sx_command_arg_open(command), shared = out->size;
    sx_message_encode_keys_middle(out, writes[0].id, writes[0].key.ns, writes[0].key.ns_size, writes[0].key.ns_version);
    shared = out->size - shared;
    sx_buf_append(out, head, sizeof head);
    for (uint32_t i = 0; i < count; i++) sx_msgpack_write_bin(out, writes[i].key.key, writes[i].key.key_size);
    sx_command_arg_close(command, mark);
    return shared;
}

/* What the script looks at only where one is an invalidation, or late. */
static void arg_apart(const sx_publish_write *writes, uint32_t count, size_t shared, sx_command *command) {
    uint8_t apart[3 + 8 * SX_REDIS_GROUP_MAX] = {0, (uint8_t)(shared >> 8), (uint8_t)shared};
    for (uint32_t i = 0; i < count; i++) {
        put_u64(apart + 3 + (size_t)8 * i, (uint64_t)deadline_of(&writes[i]));
        if (writes[i].tail == NULL) apart[0] = 1;
    }
    sx_command_arg(command, apart, 3 + (size_t)8 * count);
}

/* The ttl of all that set something; -1 where they differ. */
static int64_t one_ttl_of(const sx_publish_write *writes, uint32_t count) {
    int64_t ttl_ms = -1;
    for (uint32_t i = 0; i < count; i++) {
        if (writes[i].tail != NULL && ttl_ms >= 0 && writes[i].ttl_ms != ttl_ms) return -1;
        if (writes[i].tail != NULL) ttl_ms = writes[i].ttl_ms;
    }
    return ttl_ms >= 0 ? ttl_ms : 0;
}

void sx_publish_encode_writes(const sx_publish *publish, const sx_publish_write *writes, uint32_t count, sx_command *command) {
    assert(count > 0 && count <= SX_REDIS_GROUP_MAX);
    const sx_publish_key *first = &writes[0].key;
    sx_command_int(command, (int64_t)count + 1);
    arg_counter_name(publish, first->partition, command);
    for (uint32_t i = 0; i < count; i++) arg_value_name(publish, &writes[i].key, command);
    arg_channel(publish, first->partition, command);
    int64_t least_ms = NEVER_MS;
    for (uint32_t i = 0; i < count; i++) least_ms = deadline_of(&writes[i]) < least_ms ? deadline_of(&writes[i]) : least_ms;
    sx_command_int(command, least_ms);
    arg_apart(writes, count, arg_keys(writes, count, command), command);
    const int64_t ttl_ms = one_ttl_of(writes, count);
    ttl_ms >= 0 ? sx_command_int(command, ttl_ms) : sx_command_text(command, "");
    for (uint32_t i = 0; i < count; i++) {
        const uint8_t *tail = writes[i].tail;
        assert(writes[i].key.partition == first->partition && writes[i].not_before_ms == 0);
        sx_command_arg(command, tail == NULL ? (const uint8_t *)"" : tail, tail == NULL ? 0 : writes[i].tail_size);
    }
    for (uint32_t i = 0; i < count && ttl_ms < 0; i++) sx_command_int(command, writes[i].ttl_ms);
}

const sx_resp *sx_publish_writes_part(const sx_resp *reply, uint32_t count, uint32_t index, sx_resp scratch[3]) {
    if (reply->type == SX_RESP_INTEGER && (reply->integer > 0 || reply->integer == -1)) return reply;
    if (reply->type != SX_RESP_ARRAY || reply->count != count + 2) return NULL;
    const sx_resp *own = &reply->items[index + 2];
    if (own->type == SX_RESP_ERROR || (own->type == SX_RESP_INTEGER && own->integer < 0)) return own;
    if (own->type != SX_RESP_INTEGER || own->integer != 1) return NULL;
    scratch[0] = (sx_resp){.type = SX_RESP_ARRAY, .count = 2, .items = &scratch[1]};
    scratch[1] = reply->items[0];
    scratch[2] = reply->items[1];
    return &scratch[0];
}

void sx_publish_encode_replay(const sx_publish *publish, const sx_publish_key *key, uint64_t id, int64_t deadline_ms,
                              uint64_t n, sx_command *command) {
    sx_command_int(command, 2);
    arg_value_name(publish, key, command);
    arg_counter_name(publish, key->partition, command);
    sx_command_int(command, deadline_ms);
    arg_channel(publish, key->partition, command);
    size_t mark = sx_command_arg_open(command);
    sx_message_encode_head(&command->args, SX_MESSAGE_KEY);
    sx_command_arg_close(command, mark);
    mark = sx_command_arg_open(command);
    sx_message_encode_key_rest(&command->args, id, key->ns, key->ns_size, key->ns_version, key->key, key->key_size);
    sx_command_arg_close(command, mark);
    sx_command_int(command, n > INT64_MAX ? INT64_MAX : (int64_t)n);
}

void sx_publish_encode_lease(const sx_publish *publish, sx_publish_scripts *scripts, const sx_publish_key *key,
                             uint64_t token, int64_t lease_ms, sx_command *command, const sx_redis_script **script) {
    assert(lease_ms > 0);
    uint8_t lease[LEASE_BYTES];
    lease_bytes(lease, token);
    if (publish->set_nx_get) sx_command_text(command, "SET");
    else sx_command_int(command, 1);
    arg_value_name(publish, key, command);
    sx_command_arg(command, lease, sizeof lease);
    if (publish->set_nx_get) {
        sx_command_text(command, "NX");
        sx_command_text(command, "GET");
        sx_command_text(command, "PX");
    }
    sx_command_int(command, lease_ms);
    *script = publish->set_nx_get ? NULL : &scripts->lease;
}

void sx_publish_encode_over(const sx_publish *publish, const sx_publish_key *key, uint64_t n, int64_t written_ms,
                            uint64_t id, uint64_t token, int64_t lease_ms, sx_command *command) {
    uint8_t lease[LEASE_BYTES], front[FRONT_LAST + 1] = {[0] = 0x9b, [1] = 0x01, [2] = 0xcf, [11] = 0xcf, [20] = 0xcf};
    lease_bytes(lease, token);
    put_u64(front + 3, n);
    put_u64(front + 12, (uint64_t)written_ms);
    put_u64(front + 21, id);
    sx_command_int(command, 1);
    arg_value_name(publish, key, command);
    sx_command_arg(command, front, sizeof front);
    sx_command_arg(command, lease, sizeof lease);
    sx_command_int(command, lease_ms);
}

void sx_publish_encode_mark(const sx_publish *publish, const sx_publish_key *key, uint64_t nonce, int64_t ttl_ms,
                            const uint8_t *tail, size_t tail_size, sx_command *command) {
    sx_command_int(command, 2);
    arg_value_name(publish, key, command);
    arg_counter_name(publish, key->partition, command);
    value_arg(command, tail, tail_size);
    sx_command_int(command, ttl_ms);
    arg_channel(publish, key->partition, command);
    size_t mark = sx_command_arg_open(command);
    sx_message_encode_head(&command->args, SX_MESSAGE_TAG);
    sx_command_arg_close(command, mark);
    mark = sx_command_arg_open(command);
    sx_message_encode_tag_rest(&command->args, nonce, key->key, key->key_size);
    sx_command_arg_close(command, mark);
}

/* What the holder of a lease compares: its bytes without the mark. */
static void arg_lease(uint64_t token, sx_command *command) {
    uint8_t lease[LEASE_BYTES];
    lease_bytes(lease, token);
    sx_command_arg(command, lease, LEASE_BYTES - 1);
}

void sx_publish_encode_fill(const sx_publish *publish, const sx_publish_key *key, uint64_t token, int64_t deadline_ms,
                            int64_t ttl_ms, const uint8_t *tail, size_t tail_size, uint64_t floor, sx_command *command) {
    assert(ttl_ms >= 0);
    sx_command_int(command, 2);
    arg_value_name(publish, key, command);
    arg_counter_name(publish, key->partition, command);
    sx_command_int(command, deadline_ms);
    sx_command_int(command, ttl_ms);
    arg_lease(token, command);
    arg_channel(publish, key->partition, command);
    arg_filled(key, token, command);
    value_arg(command, tail, tail_size);
    arg_field(key, command);
    sx_command_int(command, floor > INT64_MAX ? INT64_MAX : (int64_t)floor);
}

void sx_publish_encode_clear(const sx_publish *publish, const sx_publish_key *key, int64_t deadline_ms, sx_command *command) {
    sx_command_int(command, 1);
    arg_counter_name(publish, key->partition, command);
    sx_command_int(command, deadline_ms);
    arg_channel(publish, key->partition, command);
    size_t mark = sx_command_arg_open(command);
    sx_message_encode_head(&command->args, key->key_size == 0 ? SX_MESSAGE_CLEAR : SX_MESSAGE_PATTERN);
    sx_command_arg_close(command, mark);
    mark = sx_command_arg_open(command);
    sx_message_encode_clear_rest(&command->args, key->ns, key->ns_size, key->ns_version);
    if (key->key_size != 0) sx_msgpack_write_bin(&command->args, key->key, key->key_size);
    sx_command_arg_close(command, mark);
    if (key->key_size == 0) arg_field(key, command);
    else sx_command_text(command, "");
}

/* "s1:<namespace>:<version>:", behind the hash tag. */
static void put_prefix(sx_buf *buf, const sx_publish_key *key) {
    char version[16];
    int digits = snprintf(version, sizeof version, ":%" PRIu32 ":", key->ns_version);
    sx_buf_append(buf, "s1:", 3);
    sx_buf_append(buf, key->ns, key->ns_size);
    sx_buf_append(buf, version, (size_t)digits);
}

void sx_publish_encode_scan(const sx_publish_key *key, const char *cursor, const char *count, sx_command *command) {
    sx_command_text(command, "SCAN");
    sx_command_text(command, cursor);
    sx_command_text(command, "MATCH");
    size_t mark = sx_command_arg_open(command);
    sx_buf_append(&command->args, "{*}", 3); /* a namespace has no character that a pattern takes for another */
    put_prefix(&command->args, key);
    sx_buf_append(&command->args, key->key, key->key_size);
    sx_command_arg_close(command, mark);
    sx_command_text(command, "COUNT");
    sx_command_text(command, count);
}

int32_t sx_publish_decode_name(const sx_publish *publish, uint32_t partitions, const sx_resp *name, sx_publish_key *key) {
    const char *brace = memchr(name->text, '}', name->size);
    if (brace == NULL || name->text[0] != '{') return STRATA_MISS;
    sx_buf prefix;
    sx_buf_init(&prefix, publish->alloc);
    put_prefix(&prefix, key);
    size_t left = (size_t)(name->text + name->size - (brace + 1));
    bool failed = prefix.failed;
    bool ours = !failed && left > prefix.size && left - prefix.size <= SX_KEY_BYTES_MAX &&
                memcmp(brace + 1, prefix.data, prefix.size) == 0;
    key->key = brace + 1 + prefix.size;
    key->key_size = ours ? left - prefix.size : 0;
    sx_buf_deinit(&prefix);
    if (!ours) return failed ? STRATA_E_NOMEM : STRATA_MISS;
    key->partition = sx_key_partition(key->key, key->key_size, partitions);
    const struct sx_key_tag *tag = &publish->tags->tags[key->partition];
    bool there = (size_t)(brace - name->text) == tag->size + 1u && memcmp(name->text + 1, tag->text, tag->size) == 0;
    return there ? STRATA_OK : STRATA_MISS;
}

void sx_publish_encode_lock(const sx_publish *publish, const sx_publish_lock *lock, sx_command *command) {
    assert(lock->ttl_ms > 0 && lock->keep_ms >= 0);
    static const char *const steps[] = {
        [SX_PUBLISH_LOCK_ACQUIRE] = "acquire", [SX_PUBLISH_LOCK_RENEW] = "renew", [SX_PUBLISH_LOCK_RELEASE] = "release"};
    sx_command_int(command, 1);
    arg_value_name(publish, &lock->key, command);
    sx_command_int(command, lock->deadline_ms);
    sx_command_arg(command, steps[lock->step], strlen(steps[lock->step]));
    sx_command_arg(command, &lock->id, sizeof lock->id); /* compared as bytes */
    sx_command_int(command, lock->ttl_ms);
    sx_command_int(command, lock->keep_ms);
}

static void arg_refresh_name(const sx_publish *publish, const sx_publish_key *key, sx_command *command) {
    sx_publish_key refresh = *key;
    refresh.what = SX_PUBLISH_REFRESH;
    arg_value_name(publish, &refresh, command);
}

void sx_publish_encode_claim(const sx_publish *publish, const sx_publish_key *key, uint64_t n, uint64_t id, uint64_t token,
                             int64_t lease_ms, sx_command *command) {
    assert(lease_ms > 0);
    uint8_t lease[LEASE_BYTES];
    lease_bytes(lease, token);
    sx_command_int(command, 2);
    arg_value_name(publish, key, command);
    arg_refresh_name(publish, key, command);
    arg_version(n, id, command);
    sx_command_arg(command, lease, sizeof lease);
    sx_command_int(command, lease_ms);
}

void sx_publish_encode_refill(const sx_publish *publish, const sx_publish_key *key, uint64_t n, uint64_t id, uint64_t token,
                              int64_t deadline_ms, int64_t ttl_ms, const uint8_t *tail, size_t tail_size,
                              uint64_t floor, sx_command *command) {
    assert(ttl_ms >= 0);
    sx_command_int(command, 3);
    arg_value_name(publish, key, command);
    arg_counter_name(publish, key->partition, command);
    arg_refresh_name(publish, key, command);
    sx_command_int(command, deadline_ms);
    sx_command_int(command, ttl_ms);
    arg_lease(token, command);
    arg_version(n, id, command);
    arg_field(key, command);
    sx_command_int(command, floor > INT64_MAX ? INT64_MAX : (int64_t)floor);
    if (tail != NULL) value_arg(command, tail, tail_size);
}

void sx_publish_encode_abandon(const sx_publish *publish, const sx_publish_key *key, uint64_t token,
                               sx_command *command) {
    sx_command_int(command, 1);
    arg_value_name(publish, key, command);
    arg_lease(token, command);
    arg_channel(publish, key->partition, command);
    arg_filled(key, token, command);
}

void sx_publish_encode_await(const sx_publish *publish, const sx_publish_key *key, uint64_t token,
                             sx_command *command) {
    sx_command_int(command, 1);
    arg_value_name(publish, key, command);
    arg_lease(token, command);
}

void sx_publish_encode_get(const sx_publish *publish, const sx_publish_key *key, sx_command *command) {
    sx_command_text(command, "GET");
    arg_value_name(publish, key, command);
}

void sx_publish_encode_get_more(const sx_publish *publish, const sx_publish_key *key, sx_command *command) {
    if (command->argc == 0) sx_command_text(command, "MGET");
    arg_value_name(publish, key, command);
}

const sx_resp *sx_publish_get_part(const sx_resp *reply, uint32_t count, uint32_t index, sx_resp scratch[3]) {
    (void)scratch;
    return reply->type == SX_RESP_ARRAY && reply->count == count ? &reply->items[index] : NULL;
}

void sx_publish_encode_front(const sx_publish *publish, const sx_publish_key *key, sx_command *command) {
    sx_command_text(command, "GETRANGE");
    arg_value_name(publish, key, command);
    sx_command_int(command, 0);
    sx_command_int(command, FRONT_LAST);
}

void sx_publish_encode_untrust(const sx_publish *publish, uint32_t partition, sx_command *command) {
    arg_channel(publish, partition, command);
    size_t mark = sx_command_arg_open(command);
    sx_message_encode_untrust(&command->args);
    sx_command_arg_close(command, mark);
}

void sx_publish_encode_counter(const sx_publish *publish, uint32_t partition, sx_command *command) {
    sx_command_int(command, 1);
    arg_counter_name(publish, partition, command);
}

void sx_publish_encode_beat(const sx_publish *publish, const uint32_t *partitions, uint32_t count,
                            sx_command *command) {
    sx_command_int(command, 0);
    for (uint32_t i = 0; i < count; i++) arg_counter_name(publish, partitions[i], command);
}

void sx_publish_encode_probe(const sx_publish *publish, uint32_t partition, uint64_t id, sx_command *command) {
    sx_command_int(command, 1);
    size_t mark = sx_command_arg_open(command);
    sx_key_name_counter(&command->args, publish->tags, partition);
    if (!command->args.failed) command->args.data[command->args.size - 1] = 'p'; /* "{tag}s1:p", beside "{tag}s1:n" */
    sx_command_arg_close(command, mark);
    arg_channel(publish, partition, command);
    mark = sx_command_arg_open(command);
    sx_message_encode_probe(&command->args, id);
    sx_command_arg_close(command, mark);
}

static bool field_of(const sx_resp *name, sx_publish_floor *out) {
    const char *colon = memrchr(name->text, ':', name->size);
    size_t digits = colon == NULL ? 0 : (size_t)(name->text + name->size - (colon + 1));
    uint64_t version = 0;
    if (digits == 0 || digits > 10 || colon == name->text) return false;
    for (size_t i = 1; i <= digits; i++) {
        if (colon[i] < '0' || colon[i] > '9') return false;
        version = 10 * version + (uint64_t)(colon[i] - '0');
    }
    out->ns = name->text;
    out->ns_size = (size_t)(colon - name->text);
    out->ns_version = (uint32_t)version;
    return version <= UINT32_MAX;
}

bool sx_publish_next_floor(const sx_resp *reply, size_t *at, sx_publish_floor *out) {
    if (reply->type != SX_RESP_ARRAY || reply->count % 2 != 0) {
        *at = SIZE_MAX;
        return false;
    }
    while (*at < reply->count) {
        const sx_resp *name = &reply->items[*at], *n = &reply->items[*at + 1];
        *out = (sx_publish_floor){.ns = NULL};
        if (name->type != SX_RESP_STRING || !sx_resp_to_uint(n, &out->n)) return false;
        bool counter = sx_resp_is_text(name, "n");
        if (!counter && !sx_resp_is_text(name, "b") && !field_of(name, out)) return false;
        *at += 2;
        if (!counter) return true;
    }
    return false;
}

sx_publish_verdict sx_publish_decode(const sx_resp *reply, uint64_t *n, int64_t *server_ms) {
    if (reply == NULL) return SX_PUBLISH_MALFORMED;
    if (reply->type == SX_RESP_INTEGER) {
        if (reply->integer > 0) {
            *n = (uint64_t)reply->integer;
            *server_ms = -1;
            return SX_PUBLISH_DONE;
        }
        if (reply->integer == -1) return SX_PUBLISH_LATE;
        if (reply->integer == -2) return SX_PUBLISH_EARLY;
        if (reply->integer == -3) return SX_PUBLISH_LOST;
        return SX_PUBLISH_MALFORMED;
    }
    if (reply->type != SX_RESP_ARRAY || reply->count < 2 || reply->count > 3) return SX_PUBLISH_MALFORMED;
    const sx_resp *first = &reply->items[0];
    const sx_resp *second = &reply->items[1];
    if (first->type != SX_RESP_INTEGER || first->integer <= 0) return SX_PUBLISH_MALFORMED;
    if (second->type != SX_RESP_INTEGER || second->integer < 0) return SX_PUBLISH_MALFORMED;
    *n = (uint64_t)first->integer;
    *server_ms = second->integer;
    return SX_PUBLISH_DONE;
}

sx_publish_verdict sx_publish_decode_lock(const sx_resp *reply, uint64_t *token, int64_t *left_ms) {
    bool others = reply != NULL && reply->type == SX_RESP_ARRAY && reply->count == 2 && reply->items[0].type == SX_RESP_INTEGER &&
                  reply->items[0].integer == 0 && reply->items[1].type == SX_RESP_INTEGER && reply->items[1].integer > 0;
    if (!others) return sx_publish_decode(reply, token, left_ms);
    *token = 0;
    *left_ms = reply->items[1].integer;
    return SX_PUBLISH_DONE;
}
