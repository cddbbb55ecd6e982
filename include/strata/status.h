/* SPDX-License-Identifier: Apache-2.0 */
/* Status codes: what every call and every completion of Strata answers. */
#ifndef STRATA_STATUS_H
#define STRATA_STATUS_H

#include <stdint.h>

#if defined(STRATA_BUILD_SHARED)
#define STRATA_API __attribute__((visibility("default")))
#else
#define STRATA_API
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* 0 is success, positive numbers are ordinary outcomes, negative numbers are failures. A number is never reused.
   One table makes the constants, the names and the texts: X(NAME, number, text). */
#define STRATA_STATUS_TABLE(X)                                                                                 \
    X(OK, 0, "success")                                                                                        \
    X(MISS, 1, "the key is absent")                                                                            \
    X(STALE, 2, "answered with a value that is past its end or not proven fresh, as a policy allows")           \
    X(PENDING, 3, "not answered yet: exactly one completion follows")                                          \
    X(EXISTS, 4, "a value is already there")                                                                   \
    X(CONFLICT, 5, "what is there is not what the write was to replace")                                       \
    X(E_INVALID, -1, "an argument is invalid")                                                                 \
    X(E_NOMEM, -2, "out of memory")                                                                            \
    X(E_TIMEOUT, -3, "the deadline passed before an answer came")                                              \
    X(E_UNAVAILABLE, -4, "L2 can't be reached")                                                                \
    X(E_OVERLOADED, -5, "a queue is at its limit")                                                             \
    X(E_CLOSED, -6, "the engine or session is closing or closed")                                              \
    X(E_FORKED, -7, "this handle belongs to the parent process")                                               \
    X(E_KEY_SIZE, -8, "the key is empty or longer than STRATA_KEY_BYTES_MAX")                                  \
    X(E_VALUE_SIZE, -9, "the value is longer than l2.value_bytes_max")                                         \
    X(E_UNKNOWN_OUTCOME, -10, "a write was sent but not answered: it may or may not have happened")            \
    X(E_REFUSED, -11, "L2 refused the operation")                                                              \
    X(E_AUTH, -12, "L2 refused our credentials or permissions")                                                \
    X(E_L2_FULL, -13, "L2 is out of memory")                                                                   \
    X(E_L2_DOWN, -14, "L2 answers that the cluster is down or loading")                                        \
    X(E_CORRUPT, -15, "a stored value or message is malformed")                                                \
    X(E_LAYOUT, -16, "L2 was laid out with another number of partitions or wire version")                      \
    X(E_LOAD_FAILED, -17, "the loader reported a failure")                                                     \
    X(E_CANCELLED, -18, "the operation was cancelled")                                                         \
    X(E_CONFIG, -19, "a configuration value was refused")                                                      \
    X(E_TYPE, -20, "the value is not of the wanted type")                                                      \
    X(E_END, -21, "read past the end of a value")                                                              \
    X(E_SYSTEM, -22, "the operating system refused a resource")                                                \
    X(E_PROTOCOL, -23, "L2 answered something that is not valid in its protocol")                              \
    X(E_VERSION, -24, "the server is too old for what is needed")                                              \
    X(E_TTL, -25, "a value without an end of life, which its namespace's policy does not allow")               \
    X(E_FOREIGN, -26, "a foreign namespace's values are raw: that is not possible with them")                  \
    X(E_RANGE, -27, "the number would be beyond what 64 bits hold")

enum {
#define STRATA_STATUS_ENUM_(name, number, text) STRATA_##name = number,
    STRATA_STATUS_TABLE(STRATA_STATUS_ENUM_)
#undef STRATA_STATUS_ENUM_
        STRATA_STATUS_RESERVED_ = -0x7fffffff
};

/* Details of a failure, for a log line or an operator. Filled only when the call that takes it fails. */
typedef struct strata_error {
    int32_t status;   /* the same status that the call returned */
    char text[508];   /* zero-terminated, names the thing and the limit */
} strata_error;

/*
 * Names a status: "STRATA_E_TIMEOUT".
 *   status  any number
 * Returns: a static string, "STRATA_UNKNOWN" for a number that is not in the table.
 * Owns:    nothing; the string lives forever.
 * Threads: any.
 * Blocks:  never.
 * Since:   0.1
 */
STRATA_API const char *strata_status_name(int32_t status);

/*
 * Explains a status in one English clause.
 *   status  any number
 * Returns: a static string, "unknown status" for a number that is not in the table.
 * Owns:    nothing; the string lives forever.
 * Threads: any.
 * Blocks:  never.
 * Since:   0.1
 */
STRATA_API const char *strata_status_text(int32_t status);

#ifdef __cplusplus
}
#endif
#endif
