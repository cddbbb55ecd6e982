/* SPDX-License-Identifier: Apache-2.0 */
/* Fuzzes the message decoder: whatever is accepted must lie within the bytes and walk to its end. */
#include <stdint.h>
#include <stdlib.h>

#include <strata/status.h>

#include "coherence/message.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool true_thing) {
    if (!true_thing) abort();
}

static void inside(const uint8_t *data, size_t size, const void *part, size_t part_size) {
    if (part_size == 0) return;
    const uint8_t *at = part;
    must(at >= data && part_size <= size && at <= data + (size - part_size));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    sx_message message;
    int32_t status = sx_message_decode(data, size, &message);
    must(status == STRATA_OK || status == STRATA_E_CORRUPT);
    if (status != STRATA_OK) return 0;
    must(message.sequenced == (message.n != 0));
    inside(data, size, message.ns, message.ns_size);
    inside(data, size, message.key, message.key_size);
    inside(data, size, message.value, message.value_size);
    const uint8_t *cursor = NULL, *key = NULL;
    size_t key_size = 0;
    uint32_t keys = 0;
    while (sx_message_next_key(&message, &cursor, &key, &key_size)) {
        inside(data, size, key, key_size);
        keys++;
    }
    must(keys == (message.kind == SX_MESSAGE_KEYS ? message.keys : 0));
    return 0;
}
