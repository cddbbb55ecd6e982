/* SPDX-License-Identifier: Apache-2.0 */
/* Sides of a coherent cache: engines that could be in processes of their own, each with a namespace, a session, a loader that
   answers or keeps its load as the test wishes, and what its reads were answered. Each call fails the test where it goes wrong. */
#ifndef SX_TESTS_SUPPORT_SIDE_H
#define SX_TESTS_SUPPORT_SIDE_H

#include <stdint.h>

#include <strata/strata.h>

typedef struct test_side {
    strata *engine;
    strata_namespace *ns;
    strata_session *session;
    /* its loader */
    const char *value;   /* what it answers; NULL: it keeps the load */
    const char *late[4]; /* tags that it names, up to the first NULL */
    strata_load *kept;
    int calls;
    /* its last answer */
    int answers;
    int32_t status;
    int64_t at_ms;
    char answer[32]; /* empty where status is not STRATA_OK */
} test_side;

/* Tags as the calls below take them. */
#define TEST_TAGS(...) ((const char *const[]){__VA_ARGS__, NULL})

/* Opens an engine (as test_engine_open), namespace and session, and waits until all partitions are trusted. */
void test_side_open(test_side *side, const char *ns, const char *const *pairs, const strata_open_options *template_);
void test_side_close(test_side *side);

/* A loader and a completion, of which the user is the side. */
void test_side_load(strata_load *load, void *user);
void test_side_done(void *user, const strata_result *result);

/* Sets keys word:0 .. word:count-1, in batches. */
void test_side_set_many(test_side *side, const char *word, const char *value, int count);
/* As many as there are in names, which may be NULL. */
uint32_t test_side_tags(strata_bytes out[STRATA_TAGS_MAX], const char *const *names);
/* Reads or loads: the answer's text; the loader answers value. */
const char *test_side_read(test_side *side, const char *key, const char *value, const char *const *tags);
/* Starts a read that must be answered later. Its loader, where it is asked, answers value; NULL: keeps the load. */
void test_side_start(test_side *side, const char *key, const char *value, const char *const *tags);
/* Starts one whose loader keeps the load, and waits until it does. */
void test_side_hold(test_side *side, const char *key, const char *const *tags);
/* Waits until as many answers were told as that. */
void test_side_await(test_side *side, int answers);
/* Waits until L1 does not hold the key. */
void test_side_await_gone(test_side *side, const char *key);

#endif
