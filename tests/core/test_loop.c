/* SPDX-License-Identifier: Apache-2.0 */
/* The loop: tasks from many threads, hooks at the end of turns, timers on real and injected clocks, an orderly end. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <pthread.h>
#include <signal.h>
#include <time.h>
#include <unistd.h>

#include <strata/status.h>

#include "core/loop/loop.h"
#include "tests/support/alloc.h"
#include "tests/support/clock.h"
#include "tests/support/delay.h"

static const sx_clock real_clock = {NULL, NULL};

static sx_loop *created(const sx_clock *clock) {
    sx_loop *loop = NULL;
    assert_int_equal(sx_loop_create(sx_alloc_default(), clock, NULL, &loop), STRATA_OK);
    return loop;
}

/* ---- tasks ---------------------------------------------------------------------------------------------------- */

#define POSTERS 3
#define TASKS   20000

typedef struct job {
    sx_task task;
    sx_loop *loop;
    int poster, number;
} job;

static job jobs[POSTERS][TASKS];
static int next_number[POSTERS];
static _Atomic int wrong;

static void run_job(sx_task *task) {
    job *j = (job *)(void *)task;
    if (!sx_loop_is_current(j->loop) || j->number != next_number[j->poster]++)
        (void)atomic_fetch_add(&wrong, 1);
}

static void *post_jobs(void *argument) {
    job *mine = argument;
    for (int i = 0; i < TASKS; i++) {
        mine[i].task.run_on_loop = run_job;
        mine[i].number = i;
        sx_loop_post(mine[i].loop, &mine[i].task);
    }
    return NULL;
}

/* Everything that was posted before stop has run, each poster's in its order, all on the loop's thread. */
static void test_posts(void **state) {
    (void)state;
    sx_loop *loop = created(&real_clock);
    assert_int_equal(sx_loop_start(loop), STRATA_OK);
    pthread_t threads[POSTERS];
    atomic_store(&wrong, 0);
    memset(next_number, 0, sizeof next_number);
    for (int p = 0; p < POSTERS; p++) {
        for (int i = 0; i < TASKS; i++) jobs[p][i] = (job){.loop = loop, .poster = p};
        assert_int_equal(pthread_create(&threads[p], NULL, post_jobs, jobs[p]), 0);
    }
    for (int p = 0; p < POSTERS; p++) assert_int_equal(pthread_join(threads[p], NULL), 0);
    sx_loop_stop(loop);
    for (int p = 0; p < POSTERS; p++) assert_int_equal(next_number[p], TASKS);
    assert_int_equal(atomic_load(&wrong), 0);
    sx_loop_destroy(loop);
}

typedef struct chain {
    sx_task task;
    sx_loop *loop;
    int left;
} chain;

static void post_again(sx_task *task) {
    chain *c = (chain *)(void *)task;
    if (--c->left > 0) sx_loop_post(c->loop, task);
}

/* It runs on, without a wake, but not for ever in one turn: I/O must have its own. */
static void test_task_posts_itself(void **state) {
    (void)state;
    sx_loop *loop = created(&real_clock);
    chain c = {{.run_on_loop = post_again}, loop, 500};
    sx_loop_post(loop, &c.task);
    while (c.left > 0) {
        int before = c.left;
        sx_loop_turn(loop, 1000);
        assert_true(c.left < before);
        assert_true(before - c.left <= 10);
    }
    sx_loop_destroy(loop);
}

/* ---- hooks ---------------------------------------------------------------------------------------------------- */

typedef struct counting_hook {
    sx_turn_hook hook;
    _Atomic int runs;
} counting_hook;

static void count_turn(sx_turn_hook *hook) {
    (void)atomic_fetch_add(&((counting_hook *)(void *)hook)->runs, 1);
}

typedef struct counted_task {
    sx_task task;
    counting_hook *hook;
    _Atomic int runs, turns; /* the hook's runs as the task ran */
} counted_task;

static void count_task(sx_task *task) {
    counted_task *t = (counted_task *)(void *)task;
    atomic_store(&t->turns, atomic_load(&t->hook->runs));
    (void)atomic_fetch_add(&t->runs, 1);
}

/* Until no hook has run for 50 ms; a loop that does not sleep never comes to that. */
static bool falls_asleep(const counting_hook *hook) {
    for (int tries = 0, before = -1; tries < 100; tries++) {
        int now = atomic_load(&hook->runs);
        if (now == before) return true;
        before = now;
        (void)usleep(50000);
    }
    return false;
}

static void test_hooks(void **state) {
    (void)state;
    enum { ROUNDS = 10 };
    sx_loop *loop = created(&real_clock);
    counting_hook hook = {.hook = {.run_on_loop = count_turn}};
    counted_task task = {.task = {.run_on_loop = count_task}, .hook = &hook};
    sx_loop_hook_add(loop, &hook.hook);
    assert_int_equal(sx_loop_start(loop), STRATA_OK);
    for (int i = 0; i < ROUNDS; i++) {
        sx_loop_post(loop, &task.task);
        for (int wait = 0; wait < 10000 && atomic_load(&task.runs) == i; wait++) (void)usleep(1000);
        assert_int_equal(atomic_load(&task.runs), i + 1);
        for (int wait = 0; wait < 10000 && atomic_load(&hook.runs) == atomic_load(&task.turns); wait++) (void)usleep(1000);
        assert_true(atomic_load(&hook.runs) > atomic_load(&task.turns)); /* after its turn, before the loop sleeps again */
        assert_true(falls_asleep(&hook)); /* nothing runs: no turns, no wake-ups */
    }
    assert_true(atomic_load(&hook.runs) <= 1 + 2 * ROUNDS); /* the first, and each task's, with a wake that came too late to be needed */
    sx_loop_stop(loop);
    sx_loop_destroy(loop);
}

/* ---- timers --------------------------------------------------------------------------------------------------- */

typedef struct alarm_clock {
    sx_timer timer;
    sx_loop *loop;
    int64_t due_ns, fired_ns;
    int64_t delay_us; /* of the loop's thread until it fired */
    _Atomic int fired;
} alarm_clock;

static void ring(sx_timer *timer) {
    alarm_clock *a = (alarm_clock *)(void *)timer;
    a->fired_ns = sx_loop_now_ns(a->loop);
    a->delay_us = test_delay_us(0);
    (void)atomic_fetch_add(&a->fired, 1);
}

static void set_alarm(alarm_clock *a, sx_loop *loop, int64_t due_ns) {
    a->timer.fire_on_loop = ring;
    a->loop = loop;
    a->due_ns = due_ns;
    sx_loop_timer_set(loop, &a->timer, due_ns);
}

static int by_value(const void *a, const void *b) {
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

#define ALARMS 60

/* Never early; late by 1.5 ms at most, but for what a busy machine adds: that is taken off where the kernel tells, and the eighth
   that met it least is held to it. */
static void test_timer_precision(void **state) {
    (void)state;
    sx_loop *loop = created(&real_clock);
    static alarm_clock alarms[ALARMS];
    memset(alarms, 0, sizeof alarms);
    int64_t start = sx_loop_now_ns(loop), delay_us = test_delay_us(0);
    for (int i = 0; i < ALARMS; i++)
        set_alarm(&alarms[i], loop, start + (int64_t)(i * 5003) * SX_NS_PER_US / 2);
    for (int turns = 0; alarms[ALARMS - 1].fired == 0; turns++) {
        assert_true(turns < 100 * ALARMS); /* it sleeps, it doesn't spin */
        sx_loop_turn(loop, 1000);
    }
    int64_t late[ALARMS];
    for (int i = 0; i < ALARMS; i++) {
        assert_int_equal(alarms[i].fired, 1);
        late[i] = alarms[i].fired_ns - alarms[i].due_ns;
        assert_true(late[i] >= 0);
        late[i] -= (alarms[i].delay_us - (i == 0 ? delay_us : alarms[i - 1].delay_us)) * SX_NS_PER_US;
    }
    qsort(late, ALARMS, sizeof late[0], by_value);
    assert_true(late[ALARMS / 8] < 3 * SX_NS_PER_MS / 2);
    sx_loop_destroy(loop);
}

static int burned, burned_before;
static void burn(sx_task *task) {
    (void)task;
    burned++;
    for (int64_t until = sx_clock_now_ns(&real_clock) + SX_NS_PER_MS / 5; sx_clock_now_ns(&real_clock) < until;) {}
}

static void note_burned(sx_timer *timer) {
    (void)timer;
    burned_before = burned;
}

static int ends_run;
static void count_end(sx_turn_end *end) {
    (void)end;
    ends_run++;
}

/* Tasks without end don't keep timers waiting, nor what a turn's end was asked for, nor I/O. */
static void test_long_turn(void **state) {
    (void)state;
    enum { COUNT = 1000 };
    sx_loop *loop = created(&real_clock);
    static sx_task tasks[COUNT];
    sx_timer timer = {.fire_on_loop = note_burned};
    sx_turn_end end = {.run_on_loop = count_end};
    for (int i = 0; i < COUNT; i++) {
        tasks[i] = (sx_task){.run_on_loop = burn};
        sx_loop_post(loop, &tasks[i]);
    }
    ends_run = burned = burned_before = 0;
    sx_loop_timer_set(loop, &timer, sx_loop_now_ns(loop) + 5 * SX_NS_PER_MS);
    sx_loop_turn_end(loop, &end);
    for (int before = 0; burned < COUNT; before = burned) {
        sx_loop_turn(loop, 0);
        assert_in_range(burned - before, 1, COUNT / 3);
    }
    assert_in_range(burned_before, 1, COUNT / 2);
    assert_int_equal(ends_run, 1);
    sx_loop_destroy(loop);
}

/* Only the injected clock decides, and jumps of it are noticed. */
static void test_injected_clock(void **state) {
    (void)state;
    test_clock clock;
    test_clock_init(&clock, 1000 * SX_NS_PER_S);
    sx_clock table = test_clock_table(&clock);
    sx_loop *loop = created(&table);
    alarm_clock soon = {0}, late = {0}, never = {0};
    int64_t start = sx_loop_now_ns(loop);
    set_alarm(&soon, loop, start + 5 * SX_NS_PER_MS);
    set_alarm(&late, loop, start + 3600 * SX_NS_PER_S);
    set_alarm(&never, loop, start + 1);
    sx_loop_timer_cancel(loop, &never.timer);
    sx_loop_timer_cancel(loop, &never.timer);           /* of one that isn't set: nothing */
    for (int i = 0; i < 3; i++) sx_loop_turn(loop, 15); /* real time passes */
    assert_int_equal(soon.fired, 0);
    test_clock_advance(&clock, 5 * SX_NS_PER_MS - 1);
    sx_loop_turn(loop, 0);
    assert_int_equal(soon.fired, 0);
    test_clock_advance(&clock, 1);
    sx_loop_turn(loop, 0);
    assert_int_equal(soon.fired, 1);
    test_clock_advance(&clock, 3600 * SX_NS_PER_S);
    sx_loop_turn(loop, 1000); /* does not wait: something happens */
    assert_int_equal(late.fired, 1);
    assert_int_equal(never.fired, 0);
    sx_loop_destroy(loop);
}

typedef struct setter {
    sx_task task;
    alarm_clock *alarm;
    sx_loop *loop;
    int64_t due_ns;
} setter;

static void set_it(sx_task *task) {
    setter *s = (setter *)(void *)task;
    set_alarm(s->alarm, s->loop, s->due_ns);
}

/* On the thread, a jump of the injected clock by an hour is noticed without anybody waking the loop. */
static void test_injected_clock_on_thread(void **state) {
    (void)state;
    test_clock clock;
    test_clock_init(&clock, 0);
    sx_clock table = test_clock_table(&clock);
    sx_loop *loop = created(&table);
    assert_int_equal(sx_loop_start(loop), STRATA_OK);
    static alarm_clock alarm;
    memset(&alarm, 0, sizeof alarm);
    setter s = {{.run_on_loop = set_it}, &alarm, loop, 3600 * SX_NS_PER_S};
    sx_loop_post(loop, &s.task);
    (void)usleep(20000);
    test_clock_advance(&clock, 3600 * SX_NS_PER_S);
    for (int wait = 0; wait < 5000 && atomic_load(&alarm.fired) == 0; wait++) (void)usleep(1000);
    assert_int_equal(atomic_load(&alarm.fired), 1);
    sx_loop_stop(loop);
    sx_loop_destroy(loop);
}

static int64_t cpu_ns(void) {
    struct timespec t;
    (void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (int64_t)t.tv_sec * SX_NS_PER_S + t.tv_nsec;
}

static void cancel_it(sx_task *task) {
    setter *s = (setter *)(void *)task;
    sx_loop_timer_cancel(s->loop, &s->alarm->timer);
}

/* Neither a far deadline nor a cancelled one keeps the thread busy; the latter may wake it once in vain. */
static void test_sleeps(void **state) {
    (void)state;
    sx_loop *loop = created(&real_clock);
    counting_hook hook = {.hook = {.run_on_loop = count_turn}};
    sx_loop_hook_add(loop, &hook.hook);
    static alarm_clock far, cancelled;
    memset(&far, 0, sizeof far);
    memset(&cancelled, 0, sizeof cancelled);
    set_alarm(&far, loop, INT64_MAX);
    set_alarm(&cancelled, loop, sx_loop_now_ns(loop) + 400 * SX_NS_PER_MS);
    assert_int_equal(sx_loop_start(loop), STRATA_OK);
    for (int wait = 0; wait < 5000 && atomic_load(&hook.runs) == 0; wait++) (void)usleep(1000);
    setter s = {{.run_on_loop = cancel_it}, &cancelled, loop, 0};
    sx_loop_post(loop, &s.task);
    int64_t before = cpu_ns();
    (void)usleep(600000);
    assert_true(cpu_ns() - before < 100 * SX_NS_PER_MS);
    assert_true(atomic_load(&hook.runs) <= 5);
    sx_loop_stop(loop);
    assert_int_equal(far.fired, 0);
    assert_int_equal(cancelled.fired, 0);
    sx_loop_destroy(loop);
}

/* ---- life ----------------------------------------------------------------------------------------------------- */

typedef struct closing {
    sx_task task;
    sx_task after;
    sx_loop *loop;
    uv_timer_t handle;
    uv_work_t work;
    bool closed, worked;
    int posted;
} closing;

static void after_close(sx_task *task) {
    closing *c = (closing *)(void *)((char *)task - offsetof(closing, after));
    if (++c->posted < 5) sx_loop_post(c->loop, task);
}

static void on_closed(uv_handle_t *handle) {
    closing *c = handle->data;
    c->closed = true;
}

static void work_slowly(uv_work_t *work) {
    (void)work;
    (void)usleep(50000);
}

static void after_work(uv_work_t *work, int status) {
    (void)status;
    closing *c = work->data;
    c->worked = true;
    sx_loop_post(c->loop, &c->after);
}

static void close_handle(sx_task *task) {
    closing *c = (closing *)(void *)task;
    c->work.data = c;
    (void)uv_queue_work(sx_loop_uv(c->loop), &c->work, work_slowly, after_work);
    uv_close((uv_handle_t *)&c->handle, on_closed);
}

/* stop waits for handles that a task closed and requests that it began, and runs what their callbacks post. */
static void test_stop_waits_for_handles(void **state) {
    (void)state;
    sx_loop *loop = created(&real_clock);
    closing c = {.task = {.run_on_loop = close_handle}, .after = {.run_on_loop = after_close}, .loop = loop};
    assert_int_equal(uv_timer_init(sx_loop_uv(loop), &c.handle), 0);
    c.handle.data = &c;
    assert_int_equal(sx_loop_start(loop), STRATA_OK);
    sx_loop_post(loop, &c.task);
    sx_loop_stop(loop);
    assert_true(c.closed);
    assert_true(c.worked);
    assert_int_equal(c.posted, 5);
    sx_loop_destroy(loop);
}

static int32_t create_step(test_alloc *alloc, void *context) {
    (void)context;
    sx_loop *loop = NULL;
    int32_t status = sx_loop_create(&alloc->table, &real_clock, NULL, &loop);
    sx_loop_destroy(loop);
    return status;
}

static void test_allocation_failures(void **state) {
    (void)state;
    assert_int_equal(test_alloc_sweep(create_step, NULL), 2);
}

static sigset_t seen;
static char seen_name[16];

static void look_around(void *argument) {
    (void)pthread_sigmask(SIG_SETMASK, NULL, &seen);
    (void)pthread_getname_np(pthread_self(), seen_name, sizeof seen_name);
    *(int *)argument = 7;
}

static void test_thread(void **state) {
    (void)state;
    sx_thread thread;
    sigset_t before, after;
    int ran = 0;
    (void)pthread_sigmask(SIG_SETMASK, NULL, &before);
    assert_int_equal(sx_thread_start(&thread, "strata-a-name-that-is-long", look_around, &ran), STRATA_OK);
    sx_thread_join(&thread);
    (void)pthread_sigmask(SIG_SETMASK, NULL, &after);
    assert_int_equal(ran, 7);
    assert_string_equal(seen_name, "strata-a-name-t");
    assert_int_equal(sigismember(&seen, SIGPIPE), 1);
    assert_int_equal(sigismember(&seen, SIGTERM), 1);
    assert_int_equal(sigismember(&seen, SIGSEGV), 0);
    assert_int_equal(sigismember(&after, SIGTERM), sigismember(&before, SIGTERM));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_posts),
        cmocka_unit_test(test_task_posts_itself),
        cmocka_unit_test(test_hooks),
        cmocka_unit_test(test_timer_precision),
        cmocka_unit_test(test_long_turn),
        cmocka_unit_test(test_injected_clock),
        cmocka_unit_test(test_injected_clock_on_thread),
        cmocka_unit_test(test_sleeps),
        cmocka_unit_test(test_stop_waits_for_handles),
        cmocka_unit_test(test_allocation_failures),
        cmocka_unit_test(test_thread),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
