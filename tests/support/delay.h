/* SPDX-License-Identifier: Apache-2.0 */
/* What a busy machine takes from a thread: for how long it was ready to run and did not. */
#ifndef SX_TESTS_SUPPORT_DELAY_H
#define SX_TESTS_SUPPORT_DELAY_H

#include <stdint.h>

/* Microseconds since the thread (0: the caller) began; 0 where the kernel doesn't tell. */
int64_t test_delay_us(long tid);

#endif
