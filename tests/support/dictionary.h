/* SPDX-License-Identifier: Apache-2.0 */
/* Small values that are alike, of several kinds, and dictionaries that zstd trains of them. */
#ifndef TESTS_SUPPORT_DICTIONARY_H
#define TESTS_SUPPORT_DICTIONARY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TEST_SAMPLE_BYTES 400
#define TEST_DICTIONARY_BYTES 8192

/* A value of this kind, the numberth. Returns its size. */
size_t test_sample(uint32_t kind, uint32_t number, char out[TEST_SAMPLE_BYTES]);
/* What `zstd --train` would write of some thousand of them. Its size; 0 where the library was built without zstd. */
size_t test_dictionary(uint32_t kind, uint8_t out[TEST_DICTIONARY_BYTES]);

#endif
