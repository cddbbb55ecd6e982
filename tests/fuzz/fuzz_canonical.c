/* SPDX-License-Identifier: Apache-2.0 */
/* Fuzzes canonical msgpack: what is rewritten is one well-formed value, not longer than it may be, and its own rewriting. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include <strata/key.h>

#include "core/codec/canonical.h"
#include "core/codec/msgpack.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    sx_buf once, twice;
    sx_buf_init(&once, sx_alloc_default());
    sx_buf_init(&twice, sx_alloc_default());
    int32_t status = sx_msgpack_write_canonical(&once, data, size);
    if (status == STRATA_OK) {
        assert(once.size <= 2 * size); /* a float becomes a double */
        assert(sx_msgpack_value_end(once.data, once.data + once.size) == once.data + once.size);
        if (sx_msgpack_write_canonical(&twice, once.data, once.size) != STRATA_OK) abort();
        assert(twice.size == once.size && memcmp(twice.data, once.data, once.size) == 0);
    } else {
        assert(status == STRATA_E_CORRUPT || status == STRATA_E_INVALID);
    }
    sx_buf_deinit(&once);
    sx_buf_deinit(&twice);
    return 0;
}
