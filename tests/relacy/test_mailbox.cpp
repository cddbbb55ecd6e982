// SPDX-License-Identifier: Apache-2.0
// The mailbox and the loop's sleep beside it, as production compiles them: no mail is lost, torn or slept over.
#include "kernel.hpp"

#include "core/loop/mailbox.c"
#include "core/loop/sleep.h"

struct letter : sx_mail {
    sx_plain<int> text;
};

// Two posters and a consumer who runs what is there, says that it sleeps, looks once more, and sleeps.
struct posts_and_sleep : rl::test_suite<posts_and_sleep, 3> {
    sx_mailbox box;
    sx_sleep sleep;
    rl::atomic<int> woken;
    letter letters[3];
    int got, slept;

    void before() {
        box.top.store(nullptr, rl::mo_relaxed, $);
        sleep.asleep.store(false, rl::mo_relaxed, $);
        woken.store(0, rl::mo_relaxed, $);
        for (letter &l : letters) l.text = 0;
        got = slept = 0;
    }
    void run() {
        for (sx_mail *m = sx_mailbox_drain_mpsc(&box); m != nullptr; m = m->next) {
            RL_ASSERT((int)((letter *)m)->text == 7);
            got++;
        }
    }
    void post(letter *l) {
        l->text = 7;
        if (!sx_mailbox_post_mpsc(&box, l)) return;
        if (sx_sleep_must_wake(&sleep)) woken.store(1, rl::mo_relaxed, $);
    }
    void thread(unsigned index) {
        if (index == 0) {
            post(&letters[0]);
            post(&letters[1]);
        } else if (index == 1) {
            post(&letters[2]);
        } else {
            run();
            sx_sleep_begin(&sleep);
            if (sx_variant == 1) { // sleeps without another look
                slept = 1;
                return;
            }
            if (!sx_mailbox_stays_empty(&box)) run();
            // As in the loop, the flag stays up, and a mail that comes while it ran is looked for again.
            if (sx_mailbox_stays_empty(&box)) slept = 1;
            else run();
        }
    }
    void after() {
        bool mail = box.top.load(rl::mo_relaxed, $) != nullptr;
        if (slept != 0 && mail) RL_ASSERT(woken.load(rl::mo_relaxed, $) == 1);
        if (slept != 0 && woken.load(rl::mo_relaxed, $) == 0) RL_ASSERT(got == 3);
        run();
        RL_ASSERT(got == 3);
    }
};

// Mails of one poster keep their order, whoever posts between.
struct order : rl::test_suite<order, 2> {
    sx_mailbox box;
    letter letters[2];
    int got;

    void before() {
        box.top.store(nullptr, rl::mo_relaxed, $);
        for (letter &l : letters) l.text = 0;
        got = 0;
    }
    void run() {
        for (sx_mail *m = sx_mailbox_drain_mpsc(&box); m != nullptr; m = m->next) {
            got++;
            RL_ASSERT((int)((letter *)m)->text == got);
        }
    }
    void thread(unsigned index) {
        if (index == 0) {
            for (int i = 0; i < 2; i++) {
                letters[i].text = i + 1;
                (void)sx_mailbox_post_mpsc(&box, &letters[i]);
            }
        } else {
            run();
            run();
        }
    }
    void after() {
        run();
        RL_ASSERT(got == 2);
    }
};

int main() {
    bool good = holds<posts_and_sleep>("posts and sleep", 60000) && holds<order>("order", 20000);
    sx_tally t = judge<posts_and_sleep, order>(60000, 1, {});
    return good && t.faults == 0 && t.caught >= 6 ? 0 : 1;
}
