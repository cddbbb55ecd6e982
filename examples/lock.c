/* SPDX-License-Identifier: Apache-2.0 */
/* A job that one process at a time may do, guarded by a lock and by its token. */
// ctest: run
#include <stdio.h>
#include <string.h>

#include <strata/strata.h>

/* What the job changes: it remembers the greatest token it has seen, and refuses smaller ones. In life this is a row of a database. */
typedef struct ledger {
    uint64_t token;
    int entries;
} ledger;

static int write_entry(ledger *book, uint64_t token) {
    if (token < book->token) return 0; /* from a holder that was paused, and does not know that it is not the holder any more */
    book->token = token;
    book->entries++;
    return 1;
}

static int32_t run_job(strata_session *session, strata_namespace *jobs, ledger *book) {
    strata_lock_options options = {.struct_size = sizeof options, .flags = STRATA_LOCK_RENEW, .ttl_ms = 10000, .deadline_ms = 2000};
    strata_lock *lock = NULL;
    int32_t status = strata_lock_acquire_wait(session, jobs, (strata_bytes){"nightly", 7}, &options, &lock);
    if (status == STRATA_CONFLICT) printf("another process is at it\n");
    if (status != STRATA_OK) return status;
    for (int step = 0; step < 3 && strata_lock_left_ms(lock) > 1000; step++) {
        if (!write_entry(book, strata_lock_token(lock))) break;
    }
    status = strata_lock_release_wait(session, lock);
    strata_lock_close(lock);
    return status;
}

int main(int argc, char **argv) {
    strata_config *config = NULL;
    strata_error error = {0};
    strata *engine = NULL;
    strata_session *session = NULL;
    strata_namespace *jobs = NULL;
    if (argc < 2) {
        printf("usage: lock HOST:PORT[,HOST:PORT...]: locks are shared through L2\n");
        return 0;
    }
    int32_t status = strata_config_create(&config);
    if (status == STRATA_OK) status = strata_config_set(config, "l2.nodes", argv[1], &error);
    strata_open_options options = {.struct_size = sizeof options, .config = config};
    if (status == STRATA_OK) status = strata_open(&options, &engine, &error);
    strata_config_destroy(config);
    if (status == STRATA_OK) status = strata_session_open(engine, &session);
    if (status == STRATA_OK) status = strata_namespace_open(engine, "jobs", 1, &jobs);
    ledger book = {0};
    if (status == STRATA_OK) status = run_job(session, jobs, &book);
    if (status == STRATA_OK) printf("%d entries under token %llu\n", book.entries, (unsigned long long)book.token);
    else if (status != STRATA_CONFLICT) fprintf(stderr, "%s: %s\n", strata_status_name(status), error.text);
    strata_session_close(session);
    (void)strata_close(engine, 1000);
    return status == STRATA_OK || status == STRATA_CONFLICT ? 0 : 1;
}
