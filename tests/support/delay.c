/* SPDX-License-Identifier: Apache-2.0 */
/* What a busy machine takes from a thread. */
#include "tests/support/delay.h"

#include <stdio.h>

int64_t test_delay_us(long tid) {
    char path[64] = "/proc/thread-self/schedstat";
    long long ran = 0, waited = 0;
    if (tid != 0) snprintf(path, sizeof path, "/proc/self/task/%ld/schedstat", tid);
    FILE *file = fopen(path, "r");
    if (file == NULL) return 0;
    if (fscanf(file, "%lld %lld", &ran, &waited) != 2) waited = 0;
    fclose(file);
    return waited / 1000;
}
