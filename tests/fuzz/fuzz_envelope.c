/* SPDX-License-Identifier: Apache-2.0 */
/* Fuzzes the envelope's reader: whatever it takes for a value lies inside the input and is the same once rewritten. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "l2/envelope.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    sx_envelope first, second;
    uint8_t *copy = malloc(size + 1);
    if (size > 0) memcpy(copy, data, size);
    sx_envelope_kind kind = sx_envelope_decode(copy, size, &first);
    if (kind == SX_ENVELOPE_VALUE) {
        if (first.payload_size > 0 && (first.payload < copy || first.payload + first.payload_size > copy + size)) abort();
        sx_buf buf;
        sx_buf_init(&buf, sx_alloc_default());
        sx_envelope_encode(&buf, &first);
        if (sx_envelope_decode(buf.data, buf.size, &second) != SX_ENVELOPE_VALUE) abort();
        if (first.n != second.n || first.id != second.id || first.ttl_ms != second.ttl_ms ||
            first.stale_ms != second.stale_ms || first.app_version != second.app_version ||
            first.payload_size != second.payload_size || first.tags_size != second.tags_size) {
            abort();
        }
        if (first.payload_size > 0 && memcmp(first.payload, second.payload, first.payload_size) != 0) abort();
        (void)sx_envelope_remaining_ms(&first, (int64_t)(first.n & INT64_MAX));
        sx_buf_deinit(&buf);
    }
    (void)sx_envelope_decode_front(copy, size, &first);
    free(copy);
    return 0;
}
