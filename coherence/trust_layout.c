/* SPDX-License-Identifier: Apache-2.0 */
/* What all processes of one L2 must agree on, written there once; the partitions' counters; and who is told of a refusal. */
#include <assert.h>
#include <stdarg.h>
#include <stdio.h>

#include <strata/status.h>

#include "coherence/trust_state.h"

#define REQUEST_NS (1 * SX_NS_PER_S)
#define LAYOUT_AGAIN_NS (50 * SX_NS_PER_MS)
#define LAYOUT_AGAIN_MAX_NS (5 * SX_NS_PER_S)
#define CREATE_AGAIN_NS (200 * SX_NS_PER_MS)

void sx_trust_request_init(sx_trust_request *request, sx_trust *trust, uint16_t slot, const sx_redis_script *script,
                           void (*done)(sx_redis_request *, sx_redis_outcome, const sx_resp *)) {
    memset(request, 0, sizeof *request);
    sx_command_init(&request->request.command, trust->alloc);
    request->request.script = script;
    request->request.slot = slot;
    request->request.deadline_ns = sx_loop_now_ns(trust->loop) + REQUEST_NS;
    request->request.done = done;
    request->trust = trust;
    trust->pending++;
}

void sx_trust_reply_text(sx_redis_outcome outcome, const sx_resp *reply, char *out, size_t size) {
    bool said = reply != NULL && reply->type == SX_RESP_ERROR;
    if (said) snprintf(out, size, "%.*s", (int)(reply->size < 200 ? reply->size : 200), reply->text);
    else snprintf(out, size, "%s", sx_redis_rule_of(outcome)->name);
}

/* ---- refusals ---- */

static uint64_t hash_text(const char *text) {
    uint64_t hash = UINT64_C(0xcbf29ce484222325); /* FNV-1a */
    for (; *text != '\0'; text++) hash = (hash ^ (uint8_t)*text) * UINT64_C(0x100000001b3);
    return hash;
}

void sx_trust_refuse(sx_trust *trust, int32_t status, const char *format, ...) {
    char text[SX_TRUST_TEXT_MAX];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    uint64_t hash = hash_text(text);
    for (uint32_t i = 0; i < SX_TRUST_TEXTS; i++)
        if (trust->texts[i] == hash) return;
    trust->texts[trust->text_next] = hash;
    trust->text_next = (trust->text_next + 1) % SX_TRUST_TEXTS;
    sx_log_write(trust->log, SX_LOG_ERROR, "coherence: %s", text);
    trust->events.on_refused(trust->events.context, status, text);
}

/* ---- the layout ---- */

static int expected_layout(const sx_trust *trust, char *out, size_t size) {
    return snprintf(out, size, "wire=%d partitions=%u", SX_WIRE_VERSION, trust->settings.partitions);
}

static void step_all(sx_trust *trust) {
    for (uint32_t i = 0; i < trust->node_count; i++)
        if (trust->nodes[i] != NULL) sx_trust_node_kick(trust->nodes[i]);
}

static void fail_layout(sx_trust *trust) {
    int64_t wait_ns = LAYOUT_AGAIN_NS << (trust->layout_failures < 8 ? trust->layout_failures : 8);
    trust->layout = SX_TRUST_LAYOUT_UNKNOWN;
    trust->layout_ns =
        sx_loop_now_ns(trust->loop) + (wait_ns < LAYOUT_AGAIN_MAX_NS ? wait_ns : LAYOUT_AGAIN_MAX_NS);
    trust->layout_failures++;
}

static void compare_layout(sx_trust *trust, const sx_resp *reply) {
    char expected[64];
    (void)expected_layout(trust, expected, sizeof expected);
    if (sx_resp_is_text(reply, expected)) {
        trust->layout = trust->layout_again ? SX_TRUST_LAYOUT_UNKNOWN : SX_TRUST_LAYOUT_AGREED;
        trust->layout_again = false;
        trust->layout_failures = 0;
        if (trust->events.on_agreed != NULL) trust->events.on_agreed(trust->events.context);
        step_all(trust);
        return;
    }
    sx_trust_lose_all(trust);
    sx_trust_refuse(trust, STRATA_E_LAYOUT, "L2 is laid out with \"%.*s\", this process is configured for \"%s\"",
                    (int)(reply->size < 100 ? reply->size : 100), reply->text, expected);
    fail_layout(trust);
}

static void send_layout(sx_trust *trust, bool write);

static void on_layout(sx_redis_request *request, sx_redis_outcome outcome, const sx_resp *reply) {
    sx_trust *trust = ((sx_trust_request *)(void *)request)->trust;
    bool wrote = trust->layout == SX_TRUST_LAYOUT_WRITING;
    sx_command_deinit(&request->command);
    if (!trust->stopping) {
        char text[SX_TRUST_TEXT_MAX];
        sx_trust_reply_text(outcome, reply, text, sizeof text);
        if (outcome == SX_REDIS_OK && wrote) {
            send_layout(trust, false); /* whoever wrote it: what counts is what is there */
        } else if (outcome == SX_REDIS_OK && reply->type == SX_RESP_NULL) {
            send_layout(trust, true);
        } else if (outcome == SX_REDIS_OK && reply->type == SX_RESP_STRING) {
            compare_layout(trust, reply);
        } else {
            if (outcome == SX_REDIS_NOPERM || outcome == SX_REDIS_NOAUTH)
                sx_trust_refuse(trust, STRATA_E_AUTH, "the layout in \"%s\" can't be read: %s", SX_KEY_NAME_LAYOUT, text);
            fail_layout(trust);
        }
        sx_trust_layout_step(trust);
    }
    sx_trust_settle(trust);
}

static void send_layout(sx_trust *trust, bool write) {
    sx_trust_request *request = &trust->layout_request;
    uint16_t slot = (uint16_t)sx_key_slot(SX_KEY_NAME_LAYOUT, sizeof SX_KEY_NAME_LAYOUT - 1);
    sx_trust_request_init(request, trust, slot, NULL, on_layout);
    sx_command *command = &request->request.command;
    sx_command_text(command, write ? "SET" : "GET");
    sx_command_text(command, SX_KEY_NAME_LAYOUT);
    if (write) {
        char expected[64];
        int size = expected_layout(trust, expected, sizeof expected);
        sx_command_arg(command, expected, (size_t)size);
        sx_command_text(command, "NX");
    }
    request->request.read_only = !write;
    trust->layout = write ? SX_TRUST_LAYOUT_WRITING : SX_TRUST_LAYOUT_READING;
    sx_redis_cluster_submit(trust->cluster, &request->request);
}

static void fire_on_loop(sx_timer *timer) {
    sx_trust_layout_step((sx_trust *)(void *)((char *)timer - offsetof(sx_trust, timer)));
}

void sx_trust_layout_step(sx_trust *trust) {
    if (trust->stopping || trust->layout != SX_TRUST_LAYOUT_UNKNOWN) return;
    if (sx_loop_now_ns(trust->loop) < trust->layout_ns) {
        trust->timer.fire_on_loop = fire_on_loop;
        sx_loop_timer_set(trust->loop, &trust->timer, trust->layout_ns);
        return;
    }
    trust->layout_again = false;
    send_layout(trust, false);
}

void sx_trust_layout_again(sx_trust *trust) {
    if (trust->layout == SX_TRUST_LAYOUT_AGREED) trust->layout = SX_TRUST_LAYOUT_UNKNOWN;
    else trust->layout_again = true;
    sx_trust_layout_step(trust);
}

/* ---- counters ---- */

static void on_created(sx_redis_request *request, sx_redis_outcome outcome, const sx_resp *reply) {
    sx_trust_request *creation = (sx_trust_request *)(void *)request;
    sx_trust *trust = creation->trust;
    sx_trust_partition *p = &trust->partitions[creation->partition];
    (void)reply; /* a heartbeat will tell what the counter is */
    sx_command_deinit(&request->command);
    p->creating = false;
    if (!trust->stopping && p->node != NULL) {
        p->retry_ns = outcome == SX_REDIS_OK ? INT64_MIN : sx_loop_now_ns(trust->loop) + CREATE_AGAIN_NS;
        sx_trust_node_kick(p->node);
    }
    sx_release(trust->alloc, creation, sizeof *creation);
    sx_trust_settle(trust);
}

void sx_trust_create_counter(sx_trust *trust, uint32_t partition, int64_t now_ns) {
    sx_trust_partition *p = &trust->partitions[partition];
    assert(!p->creating);
    sx_trust_request *creation = sx_allocate(trust->alloc, sizeof *creation);
    if (creation == NULL) {
        p->retry_ns = now_ns + CREATE_AGAIN_NS;
        return;
    }
    sx_trust_request_init(creation, trust, trust->tags->tags[partition].slot, &trust->scripts->counter, on_created);
    creation->partition = partition;
    sx_publish_encode_counter(trust->publish, partition, &creation->request.command);
    p->creating = true;
    sx_redis_cluster_submit(trust->cluster, &creation->request);
}
