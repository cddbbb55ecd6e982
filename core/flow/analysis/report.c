/* SPDX-License-Identifier: Apache-2.0 */
/* The report of an analysis: lines for people, or one JSON object. Both are lists of the same numbers. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "core/flow/analysis/analysis.h"

#define TOP_DEFAULT 10u
#define TOP_MAX     65536u

typedef struct report {
    sx_buf text;
    bool json;
    uint32_t top;
    strata_namespace *ns;
} report;

static __attribute__((format(printf, 2, 3))) void put(report *r, const char *format, ...) {
    char line[256];
    va_list arguments;
    va_start(arguments, format);
    int size = vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    assert(size >= 0 && (size_t)size < sizeof line);
    sx_buf_append(&r->text, line, (size_t)size);
}

/* In quotes; with ... behind it where it was cut. */
static void put_key(report *r, const strata_seen_key *key) {
    uint32_t kept = key->size < STRATA_SEEN_KEY_BYTES ? key->size : STRATA_SEEN_KEY_BYTES;
    put(r, "\"");
    for (uint32_t i = 0; i < kept; i++) {
        uint8_t byte = key->bytes[i];
        if (byte == '"' || byte == '\\') put(r, "\\%c", byte);
        else if (byte >= 0x20 && byte < 0x7f) put(r, "%c", byte);
        else if (r->json) put(r, "\\u%04x", byte);
        else put(r, "\\x%02x", byte);
    }
    put(r, kept < key->size ? "...\"" : "\"");
}

static void put_number(report *r, const char *name, int64_t number) {
    put(r, r->json ? ",\"%s\":%lld" : "%-18s %lld\n", name, (long long)number);
}

static void put_numbers(report *r, const strata_analysis *a) {
    if (r->json) put(r, "{\"namespace\":\"%s\",\"version\":%u", r->ns->name, (unsigned)r->ns->version);
    else put(r, "%s:%u, %s\n", r->ns->name, (unsigned)r->ns->version, a->on ? "analysed" : "not analysed now");
    if (r->json) put_number(r, "on", a->on);
    put_number(r, "sample", a->sample);
    put_number(r, "sampled", a->sampled);
    put_number(r, "missed", a->missed);
    put_number(r, "skipped", a->skipped);
    put_number(r, "walks", a->walks);
    put_number(r, "entries", a->entries);
    put_number(r, "bytes", a->bytes);
    put_number(r, "endless", a->endless);
}

static int32_t put_histogram(report *r, const char *name, strata_analyzed what) {
    strata_histogram h = {.struct_size = sizeof h};
    int32_t status = strata_analysis_histogram(r->ns, what, &h);
    if (status != STRATA_OK) return status;
    long long p50 = (long long)strata_histogram_quantile(&h, 0.5), p99 = (long long)strata_histogram_quantile(&h, 0.99);
    if (r->json) put(r, ",\"%s\":{\"count\":%lld,\"p50\":%lld,\"p99\":%lld}", name, (long long)h.count, p50, p99);
    else put(r, "%-18s %lld, p50 %lld, p99 %lld\n", name, (long long)h.count, p50, p99);
    return STRATA_OK;
}

static void begin_list(report *r, const char *name) { put(r, r->json ? ",\"%s\":[" : "%s\n", name); }
static void end_list(report *r) { put(r, r->json ? "]" : ""); }

/* What each member of a list begins with. */
static void begin_member(report *r, size_t index, const strata_seen_key *key) {
    if (r->json) put(r, index == 0 ? "{\"key\":" : ",{\"key\":");
    else put(r, "  ");
    put_key(r, key);
}

/* ---- lists ------------------------------------------------------------------------------------------------------ */

static void put_hot(report *r, const strata_hot_key *keys, size_t count) {
    begin_list(r, "hot");
    for (size_t i = 0; i < count; i++) {
        begin_member(r, i, &keys[i].key);
        put(r, r->json ? ",\"count\":%llu,\"error\":%llu}" : " %llu, %llu less at most\n", (unsigned long long)keys[i].count,
            (unsigned long long)keys[i].error);
    }
    end_list(r);
}

static void put_big(report *r, const strata_big_key *keys, size_t count) {
    begin_list(r, "big");
    for (size_t i = 0; i < count; i++) {
        begin_member(r, i, &keys[i].key);
        put(r, r->json ? ",\"bytes\":%lld}" : " %lld bytes\n", (long long)keys[i].bytes);
    }
    end_list(r);
}

static void put_pairs(report *r, const strata_key_pair *pairs, size_t count) {
    begin_list(r, "pairs");
    for (size_t i = 0; i < count; i++) {
        const strata_namespace *ns = pairs[i].second_ns;
        begin_member(r, i, &pairs[i].first);
        put(r, r->json ? ",\"next\":" : " -> ");
        put_key(r, &pairs[i].second);
        if (r->json) put(r, ",\"next_namespace\":\"%s\"", ns->name);
        else if (ns != r->ns) put(r, " in %s", ns->name);
        put(r, r->json ? ",\"count\":%llu,\"error\":%llu,\"firsts\":%llu}" : " %llu, %llu less at most, of %llu\n",
            (unsigned long long)pairs[i].count, (unsigned long long)pairs[i].error, (unsigned long long)pairs[i].firsts);
    }
    end_list(r);
}

static int32_t put_lists(report *r) {
    /* one piece of memory that each of the lists fits into */
    const sx_alloc *alloc = &r->ns->engine->alloc;
    size_t size = r->top * sizeof(strata_key_pair), count = 0;
    _Static_assert(sizeof(strata_key_pair) >= sizeof(strata_hot_key) && sizeof(strata_key_pair) >= sizeof(strata_big_key), "the largest of them");
    void *list = sx_allocate(alloc, size);
    int32_t status = list == NULL ? STRATA_E_NOMEM : strata_analysis_hot_keys(r->ns, list, r->top, &count);
    if (status == STRATA_OK) {
        put_hot(r, list, count);
        status = strata_analysis_big_keys(r->ns, list, r->top, &count);
    }
    if (status == STRATA_OK) {
        put_big(r, list, count);
        status = strata_analysis_pairs(r->ns, list, r->top, &count);
    }
    if (status == STRATA_OK) put_pairs(r, list, count);
    sx_release(alloc, list, size);
    return status;
}

static int32_t write_report(report *r) {
    static const char *const names[STRATA_ANALYZED] = {[STRATA_ANALYZED_AGE] = "age_ms", [STRATA_ANALYZED_TTL_LEFT] = "ttl_left_ms",
                                                       [STRATA_ANALYZED_TTL_GIVEN] = "ttl_given_ms", [STRATA_ANALYZED_BYTES] = "value_bytes",
                                                       [STRATA_ANALYZED_WRITE_INTERVAL] = "write_interval_ms"};
    strata_analysis numbers = {.struct_size = sizeof numbers};
    int32_t status = strata_analysis_read(r->ns, &numbers);
    if (status == STRATA_OK) put_numbers(r, &numbers);
    int64_t ttl_ms;
    if (status == STRATA_OK && strata_namespace_suggested_ttl(r->ns, &ttl_ms) == STRATA_OK) put_number(r, "suggested_ttl_ms", ttl_ms);
    for (uint32_t i = 0; i < STRATA_ANALYZED && status == STRATA_OK; i++) status = put_histogram(r, names[i], (strata_analyzed)i);
    if (status == STRATA_OK) status = put_lists(r);
    if (r->json) put(r, "}");
    sx_buf_append_byte(&r->text, 0);
    return status == STRATA_OK && r->text.failed ? STRATA_E_NOMEM : status;
}

int32_t strata_analysis_report(strata_namespace *ns, strata_report_format format, uint32_t top, char *text, size_t size, size_t *needed) {
    if (ns == NULL || (uint32_t)format > STRATA_REPORT_JSON || (text == NULL && size != 0) || top > TOP_MAX) return STRATA_E_INVALID;
    report r = {.json = format == STRATA_REPORT_JSON, .top = top == 0 ? TOP_DEFAULT : top, .ns = ns};
    sx_buf_init(&r.text, &ns->engine->alloc);
    int32_t status = write_report(&r);
    if (status == STRATA_OK && needed != NULL) *needed = r.text.size;
    if (status == STRATA_OK && r.text.size > size) status = STRATA_E_VALUE_SIZE;
    else if (status == STRATA_OK) memcpy(text, r.text.data, r.text.size);
    sx_buf_deinit(&r.text);
    return status;
}
