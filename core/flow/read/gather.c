/* SPDX-License-Identifier: Apache-2.0 */
/* Gathering the loads of a batch, and asking its loader for all of them at once. */
#include "core/flow/gather.h"

#include "core/flow/engine.h"

#define AT_ONCE 64u /* keys of one call of the loader where there is no memory for a longer list */

/* ---- life ---- */

static void flush_on_loop(sx_gather *gather);
static void turn_over(sx_turn_end *end) { flush_on_loop(SX_CONTAINER(end, sx_gather, end)); }
static void time_over(sx_timer *timer) { flush_on_loop(SX_CONTAINER(timer, sx_gather, timer)); }

sx_gather *sx_gather_create(strata *engine, strata_batch_loader_fn loader, void *user) {
    sx_gather *gather = sx_allocate_zero(&engine->alloc, sizeof *gather);
    if (gather == NULL) return NULL;
    gather->engine = engine;
    gather->loader = loader;
    gather->user = user;
    gather->end.run_on_loop = turn_over;
    gather->timer.fire_on_loop = time_over;
    atomic_init(&gather->refs, 1);
    atomic_init(&gather->undecided, 1);
    return gather;
}

void sx_gather_retain(sx_gather *gather) {
    /* relaxed: the caller holds a reference, or is inside a lock under which one is held */
    atomic_fetch_add_explicit(&gather->refs, 1, memory_order_relaxed);
}

void sx_gather_release(sx_gather *gather) {
    /* [order: gather-free] publishes this holder's last use */
    if (atomic_fetch_sub_explicit(&gather->refs, 1, memory_order_release) != 1) return;
    /* [order: gather-free] observes every other holder's last use */
    (void)atomic_load_explicit(&gather->refs, memory_order_acquire);
    sx_release(&gather->engine->alloc, gather, sizeof *gather);
}

/* ---- gathering ---- */

void sx_gather_join(sx_gather *gather, sx_op *op) {
    sx_gather_retain(gather);
    op->gather = gather;
    op->undecided = true;
    atomic_fetch_add_explicit(&gather->undecided, 1, memory_order_relaxed); /* relaxed: a count, not 0 while the call lasts */
}

/* True for who was the last. */
static bool one_less(sx_gather *gather) {
    /* relaxed: on the loop what is to be sent is the loop's own; elsewhere the call's task, or the timer, sends it */
    return atomic_fetch_sub_explicit(&gather->undecided, 1, memory_order_relaxed) == 1;
}

void sx_gather_less(sx_gather *gather) {
    if (one_less(gather) && sx_loop_is_current(gather->engine->loop) && gather->waiting.count != 0)
        sx_loop_turn_end(gather->engine->loop, &gather->end);
}

void sx_gather_decided(sx_op *op) {
    op->undecided = false;
    sx_gather_less(op->gather);
}

static void append(sx_gathered *list, strata_load *load) {
    load->more = NULL;
    if (list->first == NULL) list->first = load;
    else list->last->more = load;
    list->last = load;
    list->count++;
}

static void run_task(void *argument) { sx_load_run(argument); }

/* Each load is announced to the session, where that runs it: the first carries them all. */
static void send_out(strata *engine, sx_gathered list) {
    if (list.count == 0) return;
    sx_counter_add_shared(&engine->counters[SX_FLOW_METRIC_BATCH_LOADS], 1);
    if (engine->executor.execute != NULL) {
        engine->executor.execute(engine->executor.context, run_task, list.first);
        return;
    }
    strata_session *session = list.first->session;
    sx_session_post_unannounce(session, list.count - 1);
    sx_session_post_announced(session, &list.first->letter);
}

static void flush_on_loop(sx_gather *gather) {
    strata *engine = gather->engine;
    sx_gathered list = gather->waiting;
    sx_loop_timer_cancel(engine->loop, &gather->timer);
    sx_loop_turn_end_cancel(engine->loop, &gather->end);
    if (list.count == 0) return;
    gather->waiting = (sx_gathered){0};
    if (gather->previous != NULL) gather->previous->next = gather->next;
    else engine->gathers = gather->next;
    if (gather->next != NULL) gather->next->previous = gather->previous;
    gather->next = gather->previous = NULL;
    send_out(engine, list); /* the last reference may go with it */
}

void sx_gather_add(sx_gather *gather, strata_load *load, bool own) {
    strata *engine = gather->engine;
    if (!sx_loop_is_current(engine->loop)) {
        sx_gathered alone = {0};
        append(own ? &gather->here : &alone, load);
        send_out(engine, alone); /* another call's list may be going out by now */
        return;
    }
    append(&gather->waiting, load);
    if (gather->waiting.count == 1) {
        gather->next = engine->gathers;
        if (engine->gathers != NULL) engine->gathers->previous = gather;
        engine->gathers = gather;
        sx_loop_timer_set(engine->loop, &gather->timer, sx_loop_now_ns(engine->loop) + SX_GATHER_NS);
    }
    /* relaxed: who brings it to 0 later looks at what waits by then */
    if (atomic_load_explicit(&gather->undecided, memory_order_relaxed) == 0 || engine->stopping)
        sx_loop_turn_end(engine->loop, &gather->end);
}

static void all_started_on_loop(sx_task *task) {
    sx_gather *gather = SX_CONTAINER(task, sx_gather, task);
    flush_on_loop(gather);
    sx_gather_release(gather);
}

void sx_gather_started(sx_gather *gather) {
    strata *engine = gather->engine;
    sx_gathered list = gather->here;
    gather->here = (sx_gathered){0};
    send_out(engine, list);
    if (!one_less(gather) || !engine->l2_on) {
        sx_gather_release(gather);
        return;
    }
    gather->task.run_on_loop = all_started_on_loop;
    sx_loop_post(engine->loop, &gather->task); /* with the call's reference */
}

void sx_gather_cut_off_on_loop(strata *engine) {
    while (engine->gathers != NULL) flush_on_loop(engine->gathers);
}

/* ---- asking the loader ---- */

void sx_gather_run(strata_load *first, void *user) {
    sx_gather *gather = user;
    strata *engine = gather->engine;
    strata_load *few[AT_ONCE], **list = few;
    size_t room = 0, count = 0;
    for (const strata_load *load = first; load != NULL; load = load->more) room++;
    size_t asked = room * sizeof *list;
    if (room > AT_ONCE && (list = sx_allocate(&engine->alloc, asked)) == NULL) list = few;
    if (list == few) room = AT_ONCE;
    /* The last load's end lets go of both. */
    sx_gather_retain(gather);
    sx_engine_retain(engine);
    for (strata_load *load = first, *next; load != NULL; load = next) {
        next = load->more;
        if (sx_load_begin(load)) list[count++] = load;
        if (count == room || (next == NULL && count != 0)) {
            gather->loader(list, count, gather->user);
            count = 0;
        }
    }
    if (list != few) sx_release(&engine->alloc, list, asked);
    sx_gather_release(gather);
    sx_engine_release(engine);
}
