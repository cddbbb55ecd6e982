/* SPDX-License-Identifier: Apache-2.0 */
/* Messages on a partition's channel: what writers publish and every process applies. */
#ifndef SX_COHERENCE_MESSAGE_H
#define SX_COHERENCE_MESSAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/memory/buf.h"

/* Wire numbers: never reused. */
typedef enum sx_message_kind {
    SX_MESSAGE_PROBE = 0,   /* unsequenced: [0, 0, id]; proves that we may publish and subscribe */
    SX_MESSAGE_KEY = 1,     /* [1, n, id, ns, ns_version, key] */
    SX_MESSAGE_KEYS = 2,    /* [2, n, id, ns, ns_version, [key, ...]] */
    SX_MESSAGE_VALUE = 3,   /* [3, n, id, ns, ns_version, key, envelope] */
    SX_MESSAGE_TAG = 4,     /* [4, n, nonce, tag] */
    SX_MESSAGE_PATTERN = 5, /* [5, n, ns, ns_version, pattern] */
    SX_MESSAGE_CLEAR = 6,   /* [6, n, ns, ns_version] */
    SX_MESSAGE_FILLED = 7,  /* unsequenced: [7, 0, id, ns, ns_version, key] */
    SX_MESSAGE_UNTRUST = 8  /* unsequenced: [8, 0] */
} sx_message_kind;

/* One decoded message; pointers into the received bytes. Fields that a kind does not have are zero. */
typedef struct sx_message {
    sx_message_kind kind;
    bool sequenced;
    uint64_t n;
    uint64_t id; /* or a tag's nonce */
    const char *ns;
    size_t ns_size;
    uint32_t ns_version;
    const uint8_t *key; /* key, tag or pattern; KEYS: the first key's msgpack, see sx_message_next_key */
    size_t key_size;
    uint32_t keys; /* KEYS: how many */
    const uint8_t *value; /* VALUE: the envelope */
    size_t value_size;
} sx_message;

/* STRATA_OK, or STRATA_E_CORRUPT for anything malformed, of an unknown kind or with bytes left over (the receiver then
   ends the partition's trust: a message it can't apply is a hole). */
int32_t sx_message_decode(const void *bytes, size_t size, sx_message *out);
/* Walks a KEYS message: *cursor starts as NULL. False at the end. */
bool sx_message_next_key(const sx_message *message, const uint8_t **cursor, const uint8_t **key, size_t *key_size);

/* A sequenced message is [kind, n, ...] with n in 9 fixed bytes that the script writes: what stands before and after. */
void sx_message_encode_head(sx_buf *buf, sx_message_kind kind);
void sx_message_encode_key_rest(sx_buf *buf, uint64_t id, const char *ns, size_t ns_size, uint32_t ns_version,
                                const void *key, size_t key_size);
/* Of KEYS, what stands between n and the array of keys. */
void sx_message_encode_keys_middle(sx_buf *buf, uint64_t id, const char *ns, size_t ns_size, uint32_t ns_version);
void sx_message_encode_tag_rest(sx_buf *buf, uint64_t nonce, const void *tag, size_t tag_size);
void sx_message_encode_clear_rest(sx_buf *buf, const char *ns, size_t ns_size, uint32_t ns_version);
/* Whole unsequenced messages. */
void sx_message_encode_filled(sx_buf *buf, uint64_t id, const char *ns, size_t ns_size, uint32_t ns_version,
                              const void *key, size_t key_size);
void sx_message_encode_untrust(sx_buf *buf);
void sx_message_encode_probe(sx_buf *buf, uint64_t id);

#endif
