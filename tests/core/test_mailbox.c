/* SPDX-License-Identifier: Apache-2.0 */
/* The mailbox: order, the one wake per empty-to-full step, and many posters at once. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>

#include "core/loop/mailbox.h"

#define POSTERS 3
#define MAILS   100000

static void test_order_and_wake(void **state) {
    (void)state;
    sx_mailbox box = {NULL};
    sx_mail a, b, c;
    assert_true(sx_mailbox_is_empty(&box));
    assert_null(sx_mailbox_drain_mpsc(&box));
    assert_true(sx_mailbox_post_mpsc(&box, &a));
    assert_false(sx_mailbox_post_mpsc(&box, &b));
    assert_false(sx_mailbox_post_mpsc(&box, &c));
    assert_false(sx_mailbox_is_empty(&box));
    assert_ptr_equal(sx_mailbox_drain_mpsc(&box), &a);
    assert_ptr_equal(a.next, &b);
    assert_ptr_equal(b.next, &c);
    assert_null(c.next);
    assert_true(sx_mailbox_post_mpsc(&box, &b));
}

typedef struct letter {
    sx_mail mail;
    uint32_t poster, number;
    uint64_t content; /* plain memory: the handover must carry it */
} letter;

typedef struct post {
    sx_mailbox box;
    _Atomic int64_t wakes;
    letter *letters[POSTERS];
} post;

typedef struct poster {
    post *post;
    uint32_t index;
} poster;

static void *post_all(void *argument) {
    poster *p = argument;
    for (uint32_t i = 0; i < MAILS; i++) {
        letter *l = &p->post->letters[p->index][i];
        l->poster = p->index;
        l->number = i;
        l->content = (uint64_t)i * 77 + p->index;
        if (sx_mailbox_post_mpsc(&p->post->box, &l->mail)) (void)atomic_fetch_add(&p->post->wakes, 1);
    }
    return NULL;
}

static letter memory[POSTERS][MAILS];

static void test_many_posters(void **state) {
    (void)state;
    post p = {.wakes = 0};
    poster posters[POSTERS];
    pthread_t threads[POSTERS];
    for (uint32_t i = 0; i < POSTERS; i++) {
        p.letters[i] = memory[i];
        posters[i] = (poster){&p, i};
        assert_int_equal(pthread_create(&threads[i], NULL, post_all, &posters[i]), 0);
    }
    uint32_t next[POSTERS] = {0};
    int64_t drains = 0;
    for (uint32_t got = 0; got < POSTERS * MAILS;) {
        sx_mail *mail = sx_mailbox_drain_mpsc(&p.box);
        if (mail != NULL) drains++;
        for (; mail != NULL; mail = mail->next, got++) {
            const letter *l = (const letter *)(const void *)mail;
            assert_true(l->poster < POSTERS);
            assert_int_equal(l->number,
                             next[l->poster]); /* each poster's in its order, none lost or doubled */
            assert_int_equal(l->content, (uint64_t)l->number * 77 + l->poster);
            next[l->poster]++;
        }
    }
    for (uint32_t i = 0; i < POSTERS; i++) assert_int_equal(pthread_join(threads[i], NULL), 0);
    assert_null(sx_mailbox_drain_mpsc(&p.box));
    assert_int_equal(atomic_load(&p.wakes), drains); /* every full box was announced once */
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_order_and_wake),
                                       cmocka_unit_test(test_many_posters)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
