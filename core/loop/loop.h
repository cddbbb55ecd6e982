/* SPDX-License-Identifier: Apache-2.0 */
/* A libuv loop on a thread of its own: tasks posted from anywhere, timers in a wheel, and a hook at each turn's end. */
#ifndef SX_CORE_LOOP_LOOP_H
#define SX_CORE_LOOP_LOOP_H

#include <stdbool.h>
#include <stdint.h>

#include <uv.h>

#include "core/loop/mailbox.h"
#include "core/memory/alloc.h"
#include "core/observe/log.h"
#include "core/time/clock.h"

typedef struct sx_loop sx_loop;

/* Something to run on the loop; embedded in whatever it is about. */
typedef struct sx_task {
    sx_mail mail;
    void (*run_on_loop)(struct sx_task *task);
} sx_task;

/* A deadline. owner: loop. Zero-initialised; may be set again while set (moves). */
typedef struct sx_timer {
    struct sx_timer *next, *previous;
    int64_t due_ns;
    void (*fire_on_loop)(struct sx_timer *timer);
} sx_timer;

/* Runs at the end of every turn in which anything ran, before the loop sleeps: for writing out what was queued. */
typedef struct sx_turn_hook {
    struct sx_turn_hook *next;
    void (*run_on_loop)(struct sx_turn_hook *hook);
} sx_turn_hook;

/* Something to do once, at the end of this turn, after timers and hooks. owner: loop. Zero-initialised; what embeds it must
   cancel it before it goes. */
typedef struct sx_turn_end {
    struct sx_turn_end *next, *previous;
    void (*run_on_loop)(struct sx_turn_end *end);
} sx_turn_end;

/* Creates the loop without a thread: nothing runs before start, and a test may drive it by hand. */
int32_t sx_loop_create(const sx_alloc *alloc, const sx_clock *clock, const sx_log *log, sx_loop **out);
/* Starts the thread (all signals blocked in it, named "strata-loop"). */
int32_t sx_loop_start(sx_loop *loop);
/* Ends and joins the thread, after having run what was posted before. All handles others opened on the uv loop must
   have been closed by tasks posted earlier; stop runs turns until they are. Nothing to do where it was not started. Never from the loop thread. */
void sx_loop_stop(sx_loop *loop);
void sx_loop_destroy(sx_loop *loop);

/* Any thread. FIFO per poster. Wakes the loop where it sleeps, and one poster does for all. */
void sx_loop_post(sx_loop *loop, sx_task *task);
bool sx_loop_is_current(const sx_loop *loop);

/* The rest: on the loop thread (or before start). */
uv_loop_t *sx_loop_uv(sx_loop *loop);
/* The clock, read now. */
int64_t sx_loop_now_ns(sx_loop *loop);
/* The clock as the present callback began, at no cost: for deadlines and statistics, never for leases and expiry. */
int64_t sx_loop_recent_ns(const sx_loop *loop);
/* What came before this has been read, unless the turn takes very long: for judging whether something was not answered. */
int64_t sx_loop_read_ns(const sx_loop *loop);
/* True: this turn takes long, and a connection that was read in it already (last at last_ns) is read on in the next. */
bool sx_loop_leaves(sx_loop *loop, int64_t last_ns);
/* After each read of a connection: libuv leaves it after some that fill all the room they have, and does not say whether there is more. */
void sx_loop_note_read(sx_loop *loop, const void *connection, bool filled);
/* Fires within 1.5 ms after due_ns, never before it, and where the loop is busy not before it has read what had come by then. O(1).
   No wake-ups while no timer is set. */
void sx_loop_timer_set(sx_loop *loop, sx_timer *timer, int64_t due_ns);
void sx_loop_timer_cancel(sx_loop *loop, sx_timer *timer);
static inline bool sx_timer_is_set(const sx_timer *timer) { return timer->next != NULL; }
void sx_loop_hook_add(sx_loop *loop, sx_turn_hook *hook);
/* For callbacks of I/O, first: the loop runs, nobody needs to wake it for what is posted from here on. Reads the clock. In a turn
   that has taken long, timers that are due and what waits for the turn's end run now: look at what they may have changed. */
void sx_loop_awake(sx_loop *loop);
/* Has end run before the loop sleeps; nothing to do where it is waiting to run already. */
void sx_loop_turn_end(sx_loop *loop, sx_turn_end *end);
/* The same, before what waits to run so far: what it does may be more of that. */
void sx_loop_turn_end_first(sx_loop *loop, sx_turn_end *end);
void sx_loop_turn_end_cancel(sx_loop *loop, sx_turn_end *end);
/* For tests that drive a loop by hand: one turn, waiting at most wait_ms for something to happen. */
void sx_loop_turn(sx_loop *loop, int wait_ms);

/* A joinable thread with all signals blocked. */
typedef struct sx_thread {
    uv_thread_t handle;
    void (*run)(void *argument);
    void *argument;
    char name[16];
} sx_thread;
int32_t sx_thread_start(sx_thread *thread, const char *name, void (*run)(void *argument), void *argument);
void sx_thread_join(sx_thread *thread);

#endif
