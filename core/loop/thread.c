/* SPDX-License-Identifier: Apache-2.0 */
/* Threads of ours: joinable, named, and never picked to run a program's signal handler. */
#include "core/loop/loop.h"

#include <signal.h>
#include <stdio.h>

#include <pthread.h>

#include <strata/status.h>

static void thread_main(void *argument) {
    sx_thread *thread = argument;
    (void)pthread_setname_np(pthread_self(), thread->name);
    thread->run(thread->argument);
}

int32_t sx_thread_start(sx_thread *thread, const char *name, void (*run)(void *argument), void *argument) {
    thread->run = run;
    thread->argument = argument;
    (void)snprintf(thread->name, sizeof thread->name, "%s", name);
    /* The new thread inherits the mask. What a thread's own instruction raises stays open: to block it is undefined,
       and would hide a crash from the program's reporter. */
    sigset_t blocked, before;
    (void)sigfillset(&blocked);
    static const int own[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGSYS};
    for (size_t i = 0; i < sizeof own / sizeof own[0]; i++) (void)sigdelset(&blocked, own[i]);
    if (pthread_sigmask(SIG_SETMASK, &blocked, &before) != 0) return STRATA_E_SYSTEM;
    int failure = uv_thread_create(&thread->handle, thread_main, thread);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    return failure == 0 ? STRATA_OK : failure == UV_ENOMEM ? STRATA_E_NOMEM : STRATA_E_SYSTEM;
}

void sx_thread_join(sx_thread *thread) {
    (void)uv_thread_join(&thread->handle);
}
