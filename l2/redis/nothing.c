/* SPDX-License-Identifier: Apache-2.0 */
/* A command of any length that does nothing: what a command is overwritten with that must not be executed any more.

   It has a name that no server knows, zeros, and is refused with a short error. Blank lines, which servers skip, would need
   no answer; but some then take what follows on the connection for lines too, whatever they find in the middle of a value. */
#include "l2/redis/conn_private.h"

#include <assert.h>

/* Long ones are several strings: servers have a limit for one, never less than 1 MiB. */
#define PIECE      ((size_t)512 * 1024)
#define PIECE_ROOM (sizeof "$524288\r\n" - 1 + PIECE + 2)
#define SPARE      64 /* for what is no whole piece, at least */

static size_t digits_of(size_t number) {
    size_t digits = 1;
    while (number >= 10) number /= 10, digits++;
    return digits;
}

/* The size of the string that takes exactly so much room; SIZE_MAX where none does. */
static size_t fitting(size_t room) {
    for (size_t digits = 1; digits < 8 && room >= digits + 5; digits++) {
        if (digits_of(room - 5 - digits) == digits) return room - 5 - digits;
    }
    return SIZE_MAX;
}

static uint8_t *put_head(uint8_t *at, char mark, size_t number) {
    size_t digits = digits_of(number);
    at[0] = (uint8_t)mark;
    for (size_t i = digits; i > 0; i--, number /= 10) at[i] = (uint8_t)('0' + number % 10);
    at[digits + 1] = '\r';
    at[digits + 2] = '\n';
    return at + digits + 3;
}

static uint8_t *put_string(uint8_t *at, size_t size) {
    at = put_head(at, '$', size);
    memset(at, 0, size);
    at[size] = '\r';
    at[size + 1] = '\n';
    return at + size + 2;
}

void sx_redis_nothing_put(uint8_t *bytes, size_t size) {
    const size_t pieces = size < PIECE + SPARE ? 0 : (size - SPARE) / PIECE_ROOM;
    for (size_t empty = 0; empty < 2; empty++) { /* an empty string more, where no string fits */
        const size_t count = pieces + empty + 1;
        const size_t others = 3 + digits_of(count) + pieces * PIECE_ROOM + empty * (sizeof "$0\r\n\r\n" - 1);
        const size_t last = size < others ? SIZE_MAX : fitting(size - others);
        if (last == SIZE_MAX) continue;
        uint8_t *at = put_head(bytes, '*', count);
        for (size_t i = 0; i < pieces; i++) at = put_string(at, PIECE);
        if (empty != 0) at = put_string(at, 0);
        at = put_string(at, last);
        assert(at == bytes + size);
        (void)at;
        return;
    }
    assert(!"shorter than any command");
}
