/* SPDX-License-Identifier: Apache-2.0 */
/* Structs that callers fill or have filled, of whichever release's header: each says its size first, only grows at its end, and means by
   zero what is default. */
#ifndef SX_CORE_FLOW_STRUCTS_H
#define SX_CORE_FLOW_STRUCTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "core/memory/atomic.h"

#define SX_STRUCT_SIZE_MAX 4096

/* A caller's struct with all of our fields: itself, or, where an older header's is shorter, a copy in whole, in which what that
   header did not know is zero. */
static inline const void *sx_struct_whole(const void *given, void *whole, size_t known_size) {
    uint32_t size = 0, all = (uint32_t)known_size;
    if (given != NULL) memcpy(&size, given, sizeof size);
    if (SX_LIKELY(given == NULL || size >= known_size || size < sizeof size)) return given;
    memset(whole, 0, known_size);
    memcpy(whole, given, size);
    memcpy(whole, &all, sizeof all);
    return whole;
}

/* Whether a struct of that size can receive what we have to tell. */
static inline bool sx_struct_receives(uint32_t size) { return size >= sizeof size && size <= SX_STRUCT_SIZE_MAX; }

/* Tells it: as many of our fields as it has, and zeros for those of a newer header. */
static inline void sx_struct_fill(void *out, const void *whole, size_t known_size) {
    uint32_t size;
    memcpy(&size, out, sizeof size);
    memset(out, 0, size);
    memcpy(out, whole, size < known_size ? size : known_size);
    memcpy(out, &size, sizeof size);
}

/* Whether a whole struct can be read as ours: a newer header's is longer, its fields that we don't know being zero. */
static inline bool sx_struct_fits(const void *given, uint32_t given_size, size_t known_size) {
    if (given_size < known_size || given_size > SX_STRUCT_SIZE_MAX) return false;
    const unsigned char *bytes = given;
    for (size_t i = known_size; i < given_size; i++) {
        if (bytes[i] != 0) return false;
    }
    return true;
}

#endif
