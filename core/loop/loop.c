/* SPDX-License-Identifier: Apache-2.0 */
/* The loop thread: libuv's turns, with posted tasks, a timer wheel and end-of-turn hooks hung into them.

   A turn of libuv is: its timers, pending callbacks, prepare, poll (I/O and our async: posted tasks), check, closing. All
   of ours that ends a turn runs in prepare, right before the poll: posted tasks, due timers, then the hooks and what asked
   for the turn's end, which thus see everything that ran since the last poll, then the one uv_timer that wakes the next
   turn.

   A turn with much to do leaves tasks, and what its connections still hold, for the next one (sx_loop_leaves). It is rounded off
   every few milliseconds, between two tasks or two reads, so that deadlines are kept and what is done is written and told.

   A timer is due by what has been read, not by the clock: an answer that lies in a socket came in time, however long the loop
   was kept from it. So a timer fires at the end of the turn whose poll began after its time. Where that takes long it fires three
   rounds of a few milliseconds after its time, read or not.

   Only a loop that sleeps, or is about to, is woken: one that runs looks into its mailbox before it sleeps again. */
#include "core/loop/loop.h"
#include "core/loop/sleep.h"

#include <assert.h>
#include <stdatomic.h>
#include <string.h>

#include <pthread.h>

#include <strata/status.h>

#include "core/loop/wheel.h"

/* An injected clock may run at another pace than libuv's: it is looked at this often while a timer is set. */
#define INJECTED_CLOCK_LOOK_MS 10
/* How often the mailbox is looked at again at one turn's end: I/O must have its turn. */
#define LOOKS_MAX 4
/* A turn that takes longer is rounded off in between, and ends as soon as may be; and tasks between looks at the clock. */
#define LATE_NS (2 * SX_NS_PER_MS)
#define TASKS_A_LOOK 32
/* libuv adds to its time: stay far from overflow. */
#define SLEEP_MS_MAX (24 * 3600 * 1000)

struct sx_loop {
    const sx_alloc *alloc; /* const after create */
    sx_clock clock;        /* const after create */
    const sx_log *log;     /* const after create */
    sx_mailbox mailbox;
    uv_async_t wake; /* uv_async_send: any thread; else owner: loop */
    /* atomic: relaxed; a thread looks only for itself in it, and wrote that itself */
    _Atomic(pthread_t) owner;
    sx_sleep sleep;
    /* owner: loop, all below */
    uv_loop_t uv;
    uv_prepare_t prepare;
    uv_check_t check;
    uv_timer_t alarm; /* for the nearest deadline */
    uv_timer_t limit; /* of a turn driven by hand */
    int64_t alarm_ns; /* what the alarm is set for; INT64_MAX where it isn't set */
    sx_turn_hook *hooks;
    sx_turn_hook **hooks_end;
    sx_turn_end ends;  /* a ring's head */
    int64_t recent_ns; /* the clock as the present callback began */
    int64_t turn_ns;    /* when the poll ended */
    int64_t rounded_ns; /* when timers and ends were last seen to, or the poll ended */
    int64_t poll_ns;    /* when the poll began */
    int64_t rounds_ns[2]; /* when the last two rounds began, polls too */
    int64_t read_ns;    /* what came before has been read, or has waited for two rounds: timers are due up to here */
    bool unread;        /* a connection was not read to its end in this turn */
    const void *filled; /* the last read, of that connection, filled all the room that it had */
    sx_mail *left;      /* drained, and left for another turn */
    bool slept;         /* nothing has run since the poll began */
    sx_task stop_task;
    sx_thread thread;
    bool started; /* owner: who starts and stops it */
    bool ran;     /* tasks or timers, since it was last cleared */
    sx_wheel wheel;
};

static void become_owner(sx_loop *loop) {
    /* relaxed: each thread compares with itself only */
    atomic_store_explicit(&loop->owner, pthread_self(), memory_order_relaxed);
}

bool sx_loop_is_current(const sx_loop *loop) {
    /* relaxed: only this thread can have written this thread's name */
    return pthread_equal(atomic_load_explicit(&loop->owner, memory_order_relaxed), pthread_self()) != 0;
}

uv_loop_t *sx_loop_uv(sx_loop *loop) {
    return &loop->uv;
}

int64_t sx_loop_now_ns(sx_loop *loop) {
    return sx_clock_now_ns(&loop->clock);
}

int64_t sx_loop_recent_ns(const sx_loop *loop) {
    return loop->recent_ns;
}

int64_t sx_loop_read_ns(const sx_loop *loop) {
    return loop->read_ns;
}

/* ---- turns ---------------------------------------------------------------------------------------------------- */

static void run_ends(sx_loop *loop) {
    while (loop->ends.next != &loop->ends) {
        sx_turn_end *end = loop->ends.next;
        sx_loop_turn_end_cancel(loop, end);
        end->run_on_loop(end);
    }
}

/* Due timers, then the hooks and what asked for the turn's end. */
static void round_off(sx_loop *loop) {
    loop->rounded_ns = loop->recent_ns;
    if (loop->wheel.count != 0 && sx_wheel_advance(&loop->wheel, loop->read_ns) != 0) loop->ran = true;
    for (sx_turn_hook *hook = loop->hooks; hook != NULL; hook = hook->next) hook->run_on_loop(hook);
    run_ends(loop);
}

static void next_round(sx_loop *loop) {
    if (loop->read_ns < loop->rounds_ns[0]) loop->read_ns = loop->rounds_ns[0];
    loop->rounds_ns[0] = loop->rounds_ns[1];
    loop->rounds_ns[1] = loop->recent_ns;
}

static void catch_up(sx_loop *loop) {
    if (loop->recent_ns - loop->rounded_ns < LATE_NS) return;
    next_round(loop);
    round_off(loop);
}

static bool is_late(const sx_loop *loop) {
    return loop->recent_ns - loop->turn_ns >= LATE_NS;
}

bool sx_loop_leaves(sx_loop *loop, int64_t last_ns) {
    bool leaves = !loop->slept && is_late(loop) && last_ns >= loop->turn_ns;
    if (leaves) loop->unread = true;
    return leaves;
}

void sx_loop_note_read(sx_loop *loop, const void *connection, bool filled) {
    if (loop->filled != NULL && loop->filled != connection) loop->unread = true;
    loop->filled = filled ? connection : NULL;
}

static bool has_mail(const sx_loop *loop) {
    return loop->left != NULL || !sx_mailbox_is_empty(&loop->mailbox);
}

static void run_mail(sx_loop *loop) {
    uint32_t count = 0;
    if (loop->left == NULL) loop->left = sx_mailbox_drain_mpsc(&loop->mailbox);
    while (loop->left != NULL) {
        sx_task *task = (sx_task *)(void *)loop->left; /* mail is its first member */
        loop->left = loop->left->next;                 /* the task may free itself */
        loop->ran = true;
        task->run_on_loop(task);
        if (++count % TASKS_A_LOOK != 0) continue;
        loop->recent_ns = sx_loop_now_ns(loop);
        catch_up(loop);
        if (!is_late(loop)) continue;
        loop->unread = loop->left != NULL; /* an answer in time may lie there too */
        return;
    }
}

static void wake_on_loop(uv_async_t *wake) {
    sx_loop_awake(wake->data);
    run_mail(wake->data);
}

static void alarm_on_loop(uv_timer_t *alarm) {
    sx_loop *loop = alarm->data;
    loop->alarm_ns = INT64_MAX; /* prepare does the rest */
}

static void limit_on_loop(uv_timer_t *limit) {
    (void)limit;
}

/* Sets the alarm for the nearest deadline. One that is set for an earlier time stays: waking once in vain is cheaper
   than moving it whenever the nearest timer is cancelled. */
static void arm(sx_loop *loop) {
    if (loop->wheel.count == 0) {
        if (loop->alarm_ns != INT64_MAX) (void)uv_timer_stop(&loop->alarm);
        loop->alarm_ns = INT64_MAX;
        return;
    }
    int64_t nearest = sx_wheel_nearest_ns(&loop->wheel);
    if (loop->alarm_ns <= nearest && loop->alarm_ns != INT64_MAX) return;
    int64_t ahead = nearest - sx_loop_now_ns(loop);
    int64_t sleep_ms = ahead <= 0 ? 0 : ahead / SX_NS_PER_MS + (ahead % SX_NS_PER_MS != 0);
    if (loop->clock.now_ns != NULL && sleep_ms > INJECTED_CLOCK_LOOK_MS) sleep_ms = INJECTED_CLOCK_LOOK_MS;
    if (sleep_ms > SLEEP_MS_MAX) sleep_ms = SLEEP_MS_MAX;
    uv_update_time(&loop->uv);
    if (uv_timer_start(&loop->alarm, alarm_on_loop, (uint64_t)sleep_ms, 0) == 0) loop->alarm_ns = nearest;
}

static void end_turn(sx_loop *loop) {
    sx_loop_note_read(loop, NULL, false);
    if (!loop->unread && loop->read_ns < loop->poll_ns) loop->read_ns = loop->poll_ns;
    loop->recent_ns = sx_loop_now_ns(loop);
    if (has_mail(loop)) {
        run_mail(loop);
        loop->recent_ns = sx_loop_now_ns(loop);
    }
    round_off(loop);
}

/* Before the poll. What was posted until the loop said that it sleeps is run here: nobody wakes it for that. */
static void prepare_on_loop(uv_prepare_t *prepare) {
    sx_loop *loop = prepare->data;
    end_turn(loop);
    sx_sleep_begin(&loop->sleep);
    loop->slept = true;
    for (int looks = 0; loop->left != NULL || !sx_mailbox_stays_empty(&loop->mailbox); looks++) {
        if (looks == LOOKS_MAX || is_late(loop)) {
            (void)uv_async_send(&loop->wake); /* the poll returns at once */
            break;
        }
        end_turn(loop);
    }
    next_round(loop);
    loop->poll_ns = loop->recent_ns;
    loop->unread = false;
    arm(loop);
}

void sx_loop_awake(sx_loop *loop) {
    loop->recent_ns = sx_loop_now_ns(loop);
    if (loop->slept) loop->turn_ns = loop->rounded_ns = loop->recent_ns;
    loop->slept = false;
    sx_sleep_end(&loop->sleep);
    catch_up(loop);
}

static void check_on_loop(uv_check_t *check) {
    sx_loop_awake(check->data);
}

void sx_loop_turn(sx_loop *loop, int wait_ms) {
    become_owner(loop);
    loop->ran = false;
    loop->turn_ns = sx_loop_now_ns(loop);
    end_turn(loop); /* what was called between turns counts as one */
    if (wait_ms > 0 && !loop->ran) {
        uv_update_time(&loop->uv);
        (void)uv_timer_start(&loop->limit, limit_on_loop, (uint64_t)wait_ms, 0);
        (void)uv_run(&loop->uv, UV_RUN_ONCE);
        (void)uv_timer_stop(&loop->limit);
    } else {
        (void)uv_run(&loop->uv, UV_RUN_NOWAIT);
    }
    end_turn(loop);
}

/* ---- life ----------------------------------------------------------------------------------------------------- */

static void init_handles(sx_loop *loop) {
    (void)uv_prepare_init(&loop->uv, &loop->prepare); /* these four can't fail */
    (void)uv_check_init(&loop->uv, &loop->check);
    (void)uv_timer_init(&loop->uv, &loop->alarm);
    (void)uv_timer_init(&loop->uv, &loop->limit);
    loop->prepare.data = loop;
    loop->check.data = loop;
    loop->alarm.data = loop;
    loop->limit.data = loop;
    loop->wake.data = loop;
    (void)uv_prepare_start(&loop->prepare, prepare_on_loop);
    (void)uv_check_start(&loop->check, check_on_loop);
}

int32_t sx_loop_create(const sx_alloc *alloc, const sx_clock *clock, const sx_log *log, sx_loop **out) {
    sx_loop *loop = sx_allocate_zero(alloc, sizeof *loop);
    if (loop == NULL) return STRATA_E_NOMEM;
    loop->alloc = alloc;
    if (clock != NULL) loop->clock = *clock;
    loop->log = log;
    loop->alarm_ns = INT64_MAX;
    loop->hooks_end = &loop->hooks;
    loop->ends.next = loop->ends.previous = &loop->ends;
    atomic_init(&loop->sleep.asleep, true); /* until its first turn */
    become_owner(loop);
    loop->recent_ns = loop->turn_ns = loop->rounded_ns = loop->poll_ns = loop->read_ns = sx_loop_now_ns(loop);
    loop->rounds_ns[0] = loop->rounds_ns[1] = loop->recent_ns;
    sx_wheel_init(&loop->wheel, loop->recent_ns);
    int failure = uv_loop_init(&loop->uv);
    if (failure == 0) {
        failure = uv_async_init(&loop->uv, &loop->wake, wake_on_loop);
        if (failure != 0) (void)uv_loop_close(&loop->uv);
    }
    if (failure != 0) {
        sx_release(alloc, loop, sizeof *loop);
        return failure == UV_ENOMEM ? STRATA_E_NOMEM : STRATA_E_SYSTEM;
    }
    init_handles(loop);
    *out = loop;
    return STRATA_OK;
}

/* Our own handles stop keeping the loop alive: it now ends when everybody else's are closed. */
static void stop_on_loop(sx_task *task) {
    sx_loop *loop = (sx_loop *)(void *)((char *)task - offsetof(sx_loop, stop_task));
    uv_unref((uv_handle_t *)&loop->wake);
    uv_unref((uv_handle_t *)&loop->prepare);
    uv_unref((uv_handle_t *)&loop->check);
    uv_unref((uv_handle_t *)&loop->alarm);
    uv_stop(&loop->uv);
}

static void loop_main(void *argument) {
    sx_loop *loop = argument;
    become_owner(loop);
    (void)uv_run(&loop->uv, UV_RUN_DEFAULT); /* until the stop task */
    do {
        /* A closing handle's callback may have posted once more. */
        (void)uv_run(&loop->uv, UV_RUN_DEFAULT);
        run_mail(loop);
        end_turn(loop);
    } while (uv_loop_alive(&loop->uv) || has_mail(loop));
}

int32_t sx_loop_start(sx_loop *loop) {
    /* From here on it isn't ours, even before the new thread has said that it is its. relaxed: as in become_owner */
    atomic_store_explicit(&loop->owner, (pthread_t)0, memory_order_relaxed);
    int32_t status = sx_thread_start(&loop->thread, "strata-loop", loop_main, loop);
    loop->started = status == STRATA_OK;
    if (!loop->started) become_owner(loop);
    return status;
}

void sx_loop_stop(sx_loop *loop) {
    if (!loop->started) return;
    loop->started = false;
    loop->stop_task.run_on_loop = stop_on_loop;
    sx_loop_post(loop, &loop->stop_task);
    sx_thread_join(&loop->thread);
    become_owner(loop);
}

void sx_loop_destroy(sx_loop *loop) {
    if (loop == NULL) return;
    become_owner(loop);
    uv_close((uv_handle_t *)&loop->wake, NULL);
    uv_close((uv_handle_t *)&loop->prepare, NULL);
    uv_close((uv_handle_t *)&loop->check, NULL);
    uv_close((uv_handle_t *)&loop->alarm, NULL);
    uv_close((uv_handle_t *)&loop->limit, NULL);
    (void)uv_run(&loop->uv, UV_RUN_DEFAULT);
    int failure = uv_loop_close(&loop->uv);
    assert(failure == 0 && "a handle was left open on the loop");
    (void)failure;
    sx_release(loop->alloc, loop, sizeof *loop);
}

/* ---- tasks, timers, hooks ------------------------------------------------------------------------------------- */

void sx_loop_post(sx_loop *loop, sx_task *task) {
    if (!sx_mailbox_post_mpsc(&loop->mailbox, &task->mail)) return;
    if (sx_sleep_must_wake(&loop->sleep)) (void)uv_async_send(&loop->wake);
}

void sx_loop_timer_set(sx_loop *loop, sx_timer *timer, int64_t due_ns) {
    assert(sx_loop_is_current(loop));
    sx_wheel_set(&loop->wheel, timer, due_ns);
}

void sx_loop_timer_cancel(sx_loop *loop, sx_timer *timer) {
    assert(sx_loop_is_current(loop));
    if (sx_timer_is_set(timer)) sx_wheel_cancel(&loop->wheel, timer);
}

void sx_loop_hook_add(sx_loop *loop, sx_turn_hook *hook) {
    assert(sx_loop_is_current(loop));
    hook->next = NULL;
    *loop->hooks_end = hook;
    loop->hooks_end = &hook->next;
}

static void end_before(sx_loop *loop, sx_turn_end *end, sx_turn_end *next) {
    assert(sx_loop_is_current(loop));
    (void)loop;
    if (end->next != NULL) return;
    end->next = next;
    end->previous = next->previous;
    next->previous->next = end;
    next->previous = end;
}

void sx_loop_turn_end(sx_loop *loop, sx_turn_end *end) {
    end_before(loop, end, &loop->ends);
}

void sx_loop_turn_end_first(sx_loop *loop, sx_turn_end *end) {
    end_before(loop, end, loop->ends.next);
}

void sx_loop_turn_end_cancel(sx_loop *loop, sx_turn_end *end) {
    assert(sx_loop_is_current(loop));
    (void)loop;
    if (end->next == NULL) return;
    end->previous->next = end->next;
    end->next->previous = end->previous;
    end->next = end->previous = NULL;
}
