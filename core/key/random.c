/* SPDX-License-Identifier: Apache-2.0 */
/* Randomness: the kernel's for secrets and seeds, xoshiro256** behind it for identities. */
#include "core/key/key.h"

#include <errno.h>
#include <stdbool.h>

#include <sys/random.h>

#include <strata/status.h>

static bool fill(void *bytes, size_t size) {
    uint8_t *at = bytes;
    while (size > 0) {
        ssize_t got = getrandom(at, size, 0);
        if (got < 0) {
            if (errno == EINTR) continue;
            return false;
        }
        at += got;
        size -= (size_t)got;
    }
    return true;
}

int32_t sx_key_secret_init(sx_key_secret *secret) {
    return fill(secret->bytes, sizeof secret->bytes) ? STRATA_OK : STRATA_E_SYSTEM;
}

int32_t sx_key_random_init(sx_key_random *random) {
    do { /* all zero is the one state it never leaves */
        if (!fill(random->state, sizeof random->state)) return STRATA_E_SYSTEM;
    } while ((random->state[0] | random->state[1] | random->state[2] | random->state[3]) == 0);
    return STRATA_OK;
}

static uint64_t rotate_left(uint64_t x, int by) {
    return (x << by) | (x >> (64 - by));
}

/* xoshiro256**, by David Blackman and Sebastiano Vigna, who placed it in the public domain. */
static uint64_t step(uint64_t s[4]) {
    uint64_t result = rotate_left(s[1] * 5, 7) * 9;
    uint64_t t = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = rotate_left(s[3], 45);
    return result;
}

uint64_t sx_key_random_next(sx_key_random *random) {
    uint64_t value;
    do {
        value = step(random->state);
    } while (value == 0);
    return value;
}
