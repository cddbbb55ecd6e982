/* SPDX-License-Identifier: Apache-2.0 */
/* One node's circuit breaker: consecutive faults open it, after a while one probe decides. Time is an argument. */
#ifndef SX_L2_BREAKER_H
#define SX_L2_BREAKER_H

#include <stdbool.h>
#include <stdint.h>

#include "l2/store.h"

/* owner: loop */
typedef struct sx_breaker {
    sx_breaker_state state;
    uint32_t failures;    /* in a row, while closed */
    int64_t fault_ns;     /* when the last of them was counted */
    int64_t opened_ns;    /* when it opened last */
    bool probing;         /* half open: the probe is under way */
    uint32_t attempts_seen; /* the node's attempts_failed when last looked at: each is one fault, whoever meets it */
} sx_breaker;

typedef enum sx_breaker_verdict { SX_BREAKER_PASS, SX_BREAKER_PROBE, SX_BREAKER_REFUSE } sx_breaker_verdict;

/* Asked before each attempt. PROBE must be followed by sx_breaker_result or sx_breaker_probe_cancel. */
sx_breaker_verdict sx_breaker_ask(sx_breaker *breaker, const sx_breaker_limits *limits, int64_t now_ns);
/* An attempt's end; fault is the node's. */
void sx_breaker_result(sx_breaker *breaker, const sx_breaker_limits *limits, bool probe, bool fault, int64_t now_ns);
/* The probe ended without saying anything about the node: another may go. */
void sx_breaker_probe_cancel(sx_breaker *breaker);

#endif
