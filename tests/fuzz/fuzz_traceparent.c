/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes as the headers traceparent and tracestate: what is taken is written as it would be read again. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "core/codec/traceparent.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    sx_traceparent first, second;
    char text[SX_TRACEPARENT_BYTES + 1];
    (void)sx_tracestate_is_sound(data, size);
    memset(&first, 0, sizeof first);
    memset(&second, 0, sizeof second);
    if (!sx_traceparent_decode(data, size, &first)) return 0;
    sx_traceparent_encode(&first, text);
    if (!sx_traceparent_decode(text, SX_TRACEPARENT_BYTES, &second) || memcmp(&first, &second, sizeof first) != 0) abort();
    return 0;
}
