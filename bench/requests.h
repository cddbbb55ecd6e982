/* SPDX-License-Identifier: Apache-2.0 */
/* A whole trace in memory, its keys numbered in the order of their first appearance. */
#ifndef BENCH_REQUESTS_H
#define BENCH_REQUESTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* owner: one thread. */
typedef struct bench_requests {
    uint32_t *keys;  /* 0 .. distinct - 1 */
    uint32_t *sizes; /* bytes of each request's object */
    uint64_t count, distinct;
    uint64_t distinct_bytes; /* of every key, as it was first asked for */
} bench_requests;

/* Reads a trace of any format of bench/trace.h, every record a request. False with a text; then there is nothing to release. */
bool bench_requests_read(const char *path, bench_requests *requests, char *error, size_t error_size);
void bench_requests_release(bench_requests *requests);

#endif
