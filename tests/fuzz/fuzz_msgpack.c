/* SPDX-License-Identifier: Apache-2.0 */
/* Fuzzes the wire's msgpack reader: any order of reads over any bytes stays inside them and agrees with itself. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "core/codec/msgpack.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The first byte of each pair of the script chooses a read; the reads share one cursor. */
static void read_by_script(const uint8_t *script, size_t script_size, const uint8_t *bytes, size_t size) {
    sx_msgpack_reader reader = sx_msgpack_reader_over(bytes, size);
    for (size_t i = 0; i < script_size; i++) {
        const uint8_t *before = reader.at;
        bool was_ok = reader.ok;
        size_t length = 0;
        switch (script[i] % 6) {
        case 0: (void)sx_msgpack_read_uint(&reader); break;
        case 1: (void)sx_msgpack_read_int(&reader); break;
        case 2: assert(sx_msgpack_read_array(&reader) <= (size_t)(reader.end - before)); break;
        case 3: {
            const uint8_t *at = sx_msgpack_read_bytes(&reader, &length);
            assert(at == NULL ? length == 0 : at >= before && length <= (size_t)(reader.end - at));
            break;
        }
        case 4: (void)sx_msgpack_read_nil(&reader); break;
        default: sx_msgpack_skip(&reader); break;
        }
        assert(reader.at >= before && reader.at <= reader.end);
        assert(was_ok || !reader.ok);
        assert(reader.ok || reader.at == before); /* a failure consumes nothing */
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size == 0) return 0;
    size_t script_size = data[0] % 16;
    if (script_size > size - 1) script_size = size - 1;
    const uint8_t *bytes = data + 1 + script_size;
    size_t left = size - 1 - script_size;
    read_by_script(data + 1, script_size, bytes, left);
    const uint8_t *end = sx_msgpack_value_end(bytes, bytes + left);
    if (end == NULL) return 0;
    assert(end > bytes && end <= bytes + left);
    assert(sx_msgpack_value_end(bytes, end) == end);      /* nothing behind it matters */
    assert(sx_msgpack_value_end(bytes, end - 1) == NULL); /* and it needs all of itself */
    return 0;
}
