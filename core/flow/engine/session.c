/* SPDX-License-Identifier: Apache-2.0 */
/* Sessions: one thread's mailbox, its waiting, and the end of both at thread exit. */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "core/flow/errand.h"
#include "core/flow/lock/lock.h"
#include "core/flow/rules/rules.h"

#define LOAD_DEPTH_MAX 16
/* A session that runs none of its loads, as it neither dispatches nor waits, begins no more refreshes beyond so many. */
#define REFRESHES_MAX 64

/* ---- open and close ---------------------------------------------------------------------------------------- */

static void session_free(strata_session *session) {
    strata *engine = session->engine;
    while (session->free_ops != NULL) {
        sx_op *op = session->free_ops;
        session->free_ops = op->out_next;
        sx_release(&engine->alloc, op, sizeof *op);
    }
    sx_stats_session_free(session);
    sx_tenants_session_free(session);
    sx_span_drop(session->trace);
    if (session->record != NULL) sx_epoch_unregister(session->record);
    if (session->fd >= 0) close(session->fd);
    sx_release(&engine->alloc, session, sizeof *session);
    sx_engine_release(engine);
}

/* For the log line about a result that is held for too long. */
static void name_record(sx_epoch_record *record) {
    char thread[16] = "", name[SX_EPOCH_NAME_BYTES];
    (void)pthread_getname_np(pthread_self(), thread, sizeof thread);
    (void)snprintf(name, sizeof name, "thread %ld (%s)", (long)syscall(SYS_gettid), thread);
    sx_epoch_record_name(record, name);
}

static void thread_forget(strata_session *session) {
    strata *engine = session->engine;
    strata_session *head = pthread_getspecific(engine->thread_key);
    if (head == session) {
        pthread_setspecific(engine->thread_key, session->thread_next);
        return;
    }
    for (; head != NULL; head = head->thread_next) {
        if (head->thread_next != session) continue;
        head->thread_next = session->thread_next;
        return;
    }
}

int32_t sx_session_open(strata *engine, bool apart, strata_session **out) {
    int32_t status = sx_engine_alive(engine);
    if (status != STRATA_OK) return status;
    strata_session *session = sx_allocate_zero(&engine->alloc, sizeof *session);
    if (session == NULL) return STRATA_E_NOMEM;
    session->engine = engine;
    session->apart = apart;
    sx_engine_retain(engine);
    session->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    status = session->fd < 0 ? STRATA_E_SYSTEM : sx_epoch_register(engine->epoch, &session->record);
    session->thread_next = pthread_getspecific(engine->thread_key);
    if (status == STRATA_OK && pthread_setspecific(engine->thread_key, session) != 0) status = STRATA_E_NOMEM;
    if (status != STRATA_OK) {
        session_free(session);
        return status;
    }
    name_record(session->record);
    sx_events_record(session->record, &session->events);
    bool room = sx_tenants_session_add(session);
    sx_lock_acquire(&engine->lock);
    room = room && sx_stats_session_add_locked(session) && sx_events_session_add_locked(session);
    if (room) {
        session->next = engine->sessions;
        if (engine->sessions != NULL) engine->sessions->previous = session;
        engine->sessions = session;
    }
    sx_lock_release(&engine->lock);
    if (!room) {
        thread_forget(session);
        session_free(session);
        return STRATA_E_NOMEM;
    }
    sx_counter_add_shared(&engine->counters[SX_FLOW_METRIC_SESSIONS], 1);
    *out = session;
    return STRATA_OK;
}

int32_t strata_session_open(strata *engine, strata_session **out) {
    return engine == NULL || out == NULL ? STRATA_E_INVALID : sx_session_open(engine, false, out);
}

/* Unlinks what waits on flights and writes, and completes it as cancelled. */
static void cancel_outstanding(strata_session *session) {
    strata *engine = session->engine;
    for (sx_op *op = session->outstanding, *next; op != NULL; op = next) {
        next = op->out_next;
        sx_flights_lock(engine->flights, op->stripe);
        bool linked = sx_op_leave_locked(op); /* an op that is on its way already isn't ours to touch */
        sx_flights_unlock(engine->flights, op->stripe);
        if (linked) sx_op_complete(op, STRATA_E_CANCELLED, STRATA_FROM_NONE, NULL);
    }
}

static void wait_fd(const strata_session *session, int64_t timeout_ms) {
    struct pollfd poller = {session->fd, POLLIN, 0};
    (void)poll(&poller, 1, timeout_ms > INT32_MAX ? INT32_MAX : (int)timeout_ms);
}

#define POSTERS_SPINS 1000

/* A poster may still be about to post a load, as one that is gathered, or to write to the descriptor: the one may take some
   milliseconds and makes that readable, the other a few instructions, which it does not tell of. */
static void await_posters(strata_session *session) {
    for (int spins = 0; atomic_load_explicit(&session->posters, memory_order_acquire) != 0; spins++) { /* [order: session-posters] */
        if (spins < POSTERS_SPINS) sx_cpu_relax();
        else if (strata_session_dispatch(session, 0) == 0) wait_fd(session, 1);
    }
}

void strata_session_close(strata_session *session) {
    if (session == NULL) return;
    strata *engine = session->engine;
    if (sx_engine_forked(engine)) return; /* the parent's: nothing here may be touched */
    session->unusual = SX_SESSION_CLOSING;
    cancel_outstanding(session);
    /* What is left is on its way from the loop and arrives by itself. */
    while (session->outstanding != NULL) {
        if (strata_session_dispatch(session, 0) == 0 && session->outstanding != NULL) wait_fd(session, 10);
    }
    await_posters(session);
    (void)strata_session_dispatch(session, 0); /* drops the loads that nobody ran */
    thread_forget(session);
    sx_lock_acquire(&engine->lock);
    if (session->previous != NULL) session->previous->next = session->next;
    else engine->sessions = session->next;
    if (session->next != NULL) session->next->previous = session->previous;
    sx_stats_session_end_locked(session);
    sx_tenants_session_end_locked(session);
    sx_events_session_end_locked(session);
    sx_lock_release(&engine->lock);
    sx_counter_add_shared(&engine->counters[SX_FLOW_METRIC_SESSIONS], -1);
    session_free(session);
}

/* ---- operations -------------------------------------------------------------------------------------------- */

int32_t sx_options_check(const strata_op_options *options) {
    if (options == NULL) return STRATA_OK;
    if (!sx_struct_fits(options, options->struct_size, sizeof *options) || options->reserved != 0 || options->ttl_ms < 0 ||
        options->reserved_2 != 0 || !sx_tags_good(options->tags, options->tag_count) ||
        (options->traceparent.size != 0 && options->traceparent.data == NULL) ||
        (options->tracestate.size != 0 && options->tracestate.data == NULL) ||
        (options->flags & ~(STRATA_BYPASS | STRATA_REFRESH | STRATA_ON_LOOP)) != 0 ||
        (options->flags & (STRATA_REFRESH | STRATA_BYPASS_L2)) == (STRATA_REFRESH | STRATA_BYPASS_L2))
        return STRATA_E_INVALID;
    return STRATA_OK;
}

static bool take_tags(sx_op *op, const strata_op_options *options) {
    strata *engine = op->session->engine;
    sx_buf tags;
    sx_buf_init(&tags, &engine->alloc);
    (void)sx_tags_encode(&tags, NULL, 0, options->tags, options->tag_count);
    op->tags_size = tags.size;
    op->tags = tags.failed ? NULL : sx_allocate(&engine->alloc, tags.size);
    if (op->tags != NULL) memcpy(op->tags, tags.data, tags.size);
    sx_buf_deinit(&tags);
    return op->tags != NULL;
}

sx_op *sx_session_op(strata_session *session, sx_op_kind kind, const strata_op_options *options, strata_done_fn done,
                     void *user) {
    strata *engine = session->engine;
    sx_op *op = session->free_ops;
    if (op != NULL) {
        session->free_ops = op->out_next;
        session->free_count--;
        memset(op, 0, sizeof *op);
    } else {
        op = sx_allocate_zero(&engine->alloc, sizeof *op);
        if (op == NULL) return NULL;
    }
    op->letter.kind = SX_MAIL_OP;
    op->session = session;
    op->kind = kind;
    op->done = done;
    op->user = user;
    op->soft_ns = INT64_MAX;
    int64_t deadline_ms = sx_hot_read(&engine->hot.deadline_ms);
    if (options != NULL) {
        op->flags = options->flags;
        if (options->deadline_ms != 0) deadline_ms = options->deadline_ms;
        op->ttl_ms = options->ttl_ms;
        op->cancel_id = options->cancel_id;
    }
    if (options != NULL && options->tag_count != 0 && kind != SX_OP_GET && kind != SX_OP_INVALIDATE && kind != SX_OP_ERRAND && !take_tags(op, options)) {
        sx_release(&engine->alloc, op, sizeof *op);
        return NULL;
    }
    op->start_ns = sx_engine_now(engine);
    op->deadline_ns = sx_time_add(op->start_ns, deadline_ms * SX_NS_PER_MS);
    op->out_next = session->outstanding;
    if (session->outstanding != NULL) session->outstanding->out_previous = op;
    session->outstanding = op;
    return op;
}

void sx_session_op_free(sx_op *op) {
    strata_session *session = op->session;
    if (op->out_previous != NULL) op->out_previous->out_next = op->out_next;
    else session->outstanding = op->out_next;
    if (op->out_next != NULL) op->out_next->out_previous = op->out_previous;
    if (op->item != NULL) sx_item_release(op->item);
    op->item = NULL;
    if (op->tags != NULL) sx_release(&session->engine->alloc, op->tags, op->tags_size);
    op->tags = NULL;
    if (op->undecided) sx_gather_decided(op);
    if (op->gather != NULL) sx_gather_release(op->gather);
    op->gather = NULL;
    sx_span_drop(op->span);
    op->span = NULL;
    if (session->free_count >= SX_SESSION_FREE_OPS_MAX) {
        sx_release(&session->engine->alloc, op, sizeof *op);
        return;
    }
    op->out_next = session->free_ops;
    session->free_ops = op;
    session->free_count++;
}

static void signal_fd(strata_session *session) {
    /* [order: session-signal] after the push: who takes the signal back drains afterwards, and finds it */
    if (atomic_exchange_explicit(&session->signalled, true, memory_order_acq_rel)) return;
    uint64_t one = 1;
    ssize_t written;
    do written = write(session->fd, &one, sizeof one);
    while (written < 0 && errno == EINTR); /* EAGAIN: it is readable already */
}

void sx_session_post_announce(strata_session *session) {
    /* relaxed: the session can't close before the decrement, which comes after */
    atomic_fetch_add_explicit(&session->posters, 1, memory_order_relaxed);
}

void sx_session_post_announced(strata_session *session, sx_letter *letter) {
    if (sx_mailbox_post_mpsc(&session->mailbox, &letter->mail)) signal_fd(session);
    atomic_fetch_sub_explicit(&session->posters, 1, memory_order_release); /* [order: session-posters] */
}

void sx_session_post_unannounce(strata_session *session, uint32_t count) {
    /* relaxed: the one that is kept is taken back later, and publishes */
    atomic_fetch_sub_explicit(&session->posters, count, memory_order_relaxed);
}

/* At the turn's end, unless the session has helped itself meanwhile. */
static void wake_at_end(sx_turn_end *end) {
    strata_session *session = SX_CONTAINER(end, strata_session, wake);
    if (!sx_mailbox_is_empty(&session->mailbox)) signal_fd(session);
    atomic_fetch_sub_explicit(&session->posters, 1, memory_order_release); /* [order: session-posters] */
}

void sx_session_post_on_loop(strata_session *session, sx_letter *letter) {
    sx_session_post_announce(session);
    bool first = sx_mailbox_post_mpsc(&session->mailbox, &letter->mail);
    if (first && session->wake.next == NULL) {
        session->wake.run_on_loop = wake_at_end; /* it keeps the announcement */
        sx_loop_turn_end(session->engine->loop, &session->wake);
        return;
    }
    atomic_fetch_sub_explicit(&session->posters, 1, memory_order_release); /* [order: session-posters] */
}

void sx_session_post(strata_session *session, sx_letter *letter) {
    sx_session_post_announce(session);
    sx_session_post_announced(session, letter);
}

/* ---- dispatch ---------------------------------------------------------------------------------------------- */

/* By a waiting call, or by nobody: there is no callback to run for it. */
static bool letter_is_awaited(sx_letter *letter) {
    if (letter->kind != SX_MAIL_OP) return false;
    const sx_op *op = SX_CONTAINER(letter, sx_op, letter);
    return op->sync || op->refresh || (op->batch != NULL && op->batch->sync);
}

static void arrived(sx_op *op) {
    if (op->batch != NULL) {
        sx_batch_child_arrived(op);
        return;
    }
    if (op->sync) {
        op->arrived = true; /* its waiting call takes it from here */
        return;
    }
    if (!op->delivered && op->done != NULL) {
        strata_session *session = op->session;
        strata_result result;
        (void)sx_result_from_op(session->engine, &result, op);
        strata_done_fn done = op->done;
        void *user = op->user;
        sx_session_op_free(op);
        done(user, &result);
        strata_result_release(session, &result);
        return;
    }
    sx_session_op_free(op);
}

/* Takes a signal back, if there is one. Before the mailbox is looked at: what is posted after the look signals anew. */
static void clear_fd(strata_session *session) {
    uint64_t count;
    /* relaxed: a hint; who posted and is not seen here yet makes the descriptor readable */
    if (!atomic_load_explicit(&session->signalled, memory_order_relaxed)) return;
    if (read(session->fd, &count, sizeof count) < 0) return; /* the poster has not written yet: a spurious wake follows */
    /* [order: session-signal] who found it set, and so did not write, has pushed before: the drain that follows sees it */
    (void)atomic_exchange_explicit(&session->signalled, false, memory_order_acq_rel);
}

/* Empties the mailbox into the backlog; what a waiting call waits for, and refreshes that are over, are dealt with at once. */
static void collect(strata_session *session) {
    if (sx_mailbox_is_empty(&session->mailbox)) return;
    clear_fd(session);
    sx_mail *next;
    for (sx_mail *mail = sx_mailbox_drain_mpsc(&session->mailbox); mail != NULL; mail = next) {
        next = mail->next;
        sx_letter *letter = SX_CONTAINER(mail, sx_letter, mail);
        if (letter_is_awaited(letter)) {
            arrived(SX_CONTAINER(letter, sx_op, letter));
            continue;
        }
        letter->mail.next = NULL;
        session->backlog_loads += letter->kind == SX_MAIL_LOAD;
        if (session->backlog_tail != NULL) session->backlog_tail->mail.next = &letter->mail;
        else session->backlog_head = letter;
        session->backlog_tail = letter;
    }
}

static sx_letter *pop_backlog(strata_session *session) {
    sx_letter *letter = session->backlog_head;
    if (letter == NULL) return NULL;
    sx_mail *next = letter->mail.next;
    session->backlog_head = next == NULL ? NULL : SX_CONTAINER(next, sx_letter, mail);
    if (next == NULL) session->backlog_tail = NULL;
    session->backlog_loads -= letter->kind == SX_MAIL_LOAD;
    return letter;
}

static sx_letter *pop_load(strata_session *session) {
    sx_letter *previous = NULL;
    for (sx_letter *letter = session->backlog_head; letter != NULL;) {
        sx_letter *next =
            letter->mail.next == NULL ? NULL : SX_CONTAINER(letter->mail.next, sx_letter, mail);
        if (letter->kind == SX_MAIL_LOAD) {
            if (previous == NULL) session->backlog_head = next;
            else previous->mail.next = letter->mail.next;
            if (next == NULL) session->backlog_tail = previous;
            session->backlog_loads--;
            return letter;
        }
        previous = letter;
        letter = next;
    }
    return NULL;
}

static void run_letter(strata_session *session, sx_letter *letter) {
    switch (letter->kind) {
    case SX_MAIL_OP:
        arrived(SX_CONTAINER(letter, sx_op, letter));
        break;
    case SX_MAIL_LOAD:
        if (sx_session_is_closing(session)) sx_load_drop(SX_CONTAINER(letter, strata_load, letter));
        else sx_load_run(SX_CONTAINER(letter, strata_load, letter));
        break;
    case SX_MAIL_BATCH:
        sx_batch_finish(SX_CONTAINER(letter, sx_batch, letter));
        break;
    }
}

int strata_session_fd(const strata_session *session) { return session->fd; }

int32_t strata_session_dispatch(strata_session *session, uint32_t max) {
    if (session == NULL) return STRATA_E_INVALID;
    if (sx_engine_forked(session->engine)) return STRATA_E_FORKED;
    int32_t ran = 0;
    collect(session);
    if (session->backlog_head == NULL) { /* called for a wake whose mail was taken already */
        clear_fd(session);
        collect(session);
    }
    while (max == 0 || (uint32_t)ran < max) {
        sx_letter *letter = pop_backlog(session);
        if (letter == NULL) break;
        run_letter(session, letter);
        ran++;
    }
    if (session->backlog_head != NULL) signal_fd(session);
    return ran;
}

int32_t strata_session_wait(strata_session *session, uint32_t timeout_ms) {
    if (session == NULL) return STRATA_E_INVALID;
    if (sx_engine_forked(session->engine)) return STRATA_E_FORKED;
    /* The operating system's clock: an injected one need not run while we sleep. */
    sx_clock clock = {NULL, NULL};
    int64_t end_ns = sx_time_add(sx_clock_now_ns(&clock), (int64_t)timeout_ms * SX_NS_PER_MS);
    for (;;) {
        if (session->backlog_head == NULL && sx_mailbox_is_empty(&session->mailbox)) {
            int64_t left_ns = end_ns - sx_clock_now_ns(&clock);
            if (left_ns <= 0) return 0;
            wait_fd(session, (left_ns + SX_NS_PER_MS - 1) / SX_NS_PER_MS);
        }
        int32_t ran = strata_session_dispatch(session, 0);
        if (ran != 0) return ran;
    }
}

bool sx_session_may_refresh(strata_session *session) {
    collect(session);
    if (session->backlog_head != NULL) signal_fd(session);
    return session->backlog_loads < REFRESHES_MAX;
}

void sx_session_await(strata_session *session, const bool *flag) {
    session->depth++;
    while (!*flag) {
        collect(session);
        if (*flag) break;
        sx_letter *load = session->depth <= LOAD_DEPTH_MAX ? pop_load(session) : NULL;
        if (load != NULL) {
            run_letter(session, load);
            continue;
        }
        wait_fd(session, 1000);
        if (sx_mailbox_is_empty(&session->mailbox)) clear_fd(session);
    }
    session->depth--;
    if (session->backlog_head != NULL) signal_fd(session);
}
