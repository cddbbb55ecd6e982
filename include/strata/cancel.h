/* SPDX-License-Identifier: Apache-2.0 */
/* Operations that are ended by who began them, because nobody wants their answer any more. Included by strata.h. */
#ifndef STRATA_CANCEL_H
#define STRATA_CANCEL_H

#include <strata/strata.h>

#ifdef __cplusplus
extern "C" {
#endif

/*
 * Cancels what a session has under way under a number (strata_op_options.cancel_id): each such operation that has no answer yet is
 * completed with STRATA_E_CANCELLED, one that has it already with that: exactly one completion each, in the session's next dispatch or
 * wait (also with STRATA_ON_LOOP), never inside this call. A key of a batch counts as one operation, and the batch completes once all
 * its keys have. Who else waits for the same key goes on waiting. What L2 or a loader was asked already is not undone: what they bring is
 * kept; until it has ended by itself, at its deadline or load timeout at the latest, it takes memory that flow.pending_max and
 * flow.pending_bytes_max count no more. A loader that nobody waits for any more learns it by strata_load_is_cancelled; one that was not started is not. A write,
 * invalidation, touch or count is not undone either: it may have been executed, or may yet be, with all that is promised of it; only its
 * outcome is not told.
 *   session    a session
 *   cancel_id  the number; not 0
 * Returns: how many operations this call ended; STRATA_E_INVALID; STRATA_E_FORKED.
 * Owns:    nothing; loader_user of what it ended must live as long as after any other completion.
 * Threads: the session's, also inside its callbacks and loaders.
 * Blocks:  on a lock held for a few instructions, for each that has the number. Looks at all that the session has under way.
 * Since:   0.1
 */
STRATA_API int32_t strata_cancel(strata_session *session, uint64_t cancel_id);

#ifdef __cplusplus
}
#endif
#endif
