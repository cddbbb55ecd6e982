/* SPDX-License-Identifier: Apache-2.0 */
/* Training of a dictionary. */
#include "tests/support/dictionary.h"

#include <stdio.h>
#include <stdlib.h>

#if SX_HAS_ZSTD
#include <zdict.h>
#endif

#define SAMPLES 4000u

size_t test_sample(uint32_t kind, uint32_t number, char out[TEST_SAMPLE_BYTES]) {
    static const char *const towns[] = {"Bruges", "Lisbon", "Tallinn", "Graz", "Aarhus", "Porto", "Ghent"};
    uint32_t mixed = number * 2654435761u;
    int size = snprintf(out, TEST_SAMPLE_BYTES,
                        "{\"kind%u\":\"customer\",\"identifier\":%u,\"address\":{\"town\":\"%s\",\"street\":\"number %u\",\"country_code\":\"EU\"},"
                        "\"newsletter\":%s,\"orders\":[{\"article\":%u,\"state\":\"delivered\"},{\"article\":%u,\"state\":\"returned\"}]}",
                        (unsigned)kind, (unsigned)mixed, towns[(mixed >> 8) % 7], (unsigned)(mixed >> 24), (mixed & 1) != 0 ? "true" : "false",
                        (unsigned)(mixed >> 12), (unsigned)(mixed >> 16));
    return (size_t)size;
}

size_t test_dictionary(uint32_t kind, uint8_t out[TEST_DICTIONARY_BYTES]) {
#if SX_HAS_ZSTD
    char *samples = malloc(SAMPLES * TEST_SAMPLE_BYTES);
    size_t *sizes = malloc(SAMPLES * sizeof *sizes), at = 0;
    for (uint32_t i = 0; i < SAMPLES; i++) at += sizes[i] = test_sample(kind, i, samples + at);
    size_t size = ZDICT_trainFromBuffer(out, TEST_DICTIONARY_BYTES, samples, sizes, SAMPLES);
    free(samples);
    free(sizes);
    return ZDICT_isError(size) ? 0 : size;
#else
    (void)kind;
    (void)out;
    return 0;
#endif
}
