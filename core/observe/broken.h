/* SPDX-License-Identifier: Apache-2.0 */
/* Rules of docs/PROTOCOL.md that a test build (-DSTRATA_BROKEN_RULES=ON) can be run without: what shows that each is needed,
   and that its absence is noticed. In every other build SX_BROKEN(rule) is 0 and leaves no trace. docs/proofs.md has the
   table of what was found without which. */
#ifndef SX_CORE_OBSERVE_BROKEN_H
#define SX_CORE_OBSERVE_BROKEN_H

#include <stdbool.h>

/* X(name, section) */
#define SX_RULES(X)                                                                                              \
    X(write_deadline, 3)     /* a write is refused after its deadline */                                         \
    X(unknown_bypass, 3)     /* a key with a write of unknown outcome bypasses L1 until that is settled */       \
    X(unknown_queue, 3)      /* no later write of the key completes before */                                    \
    X(unknown_not_before, 3) /* it is settled by what runs after the deadline */                                 \
    X(counter_clock, 3)      /* a missing counter starts from the server's clock */                              \
    X(publish, 3)            /* a write is published */                                                          \
    X(condition, 3)          /* a write whose condition does not hold changes nothing */                         \
    X(add_empty, 3)          /* an add writes only where no value is */                                          \
    X(newer_only, 3)         /* set_if_newer writes over nothing as new */                                       \
    X(count_once, 3)         /* what may have been added is not added again */                                   \
    X(rolled_set, 3)         /* a set of a key that is without L2 removes what is there */                       \
    X(lock_held, 3)          /* a lock that is held is granted to nobody else */                                 \
    X(lock_clock, 3)         /* tokens are at least the server's clock */                                        \
    X(version_id, 3)         /* versions are the same only if their ids are */                                   \
    X(lease_token, 4)        /* a fill stores only where its lease is still there */                             \
    X(lease_wait, 4)         /* who finds another's lease waits */                                               \
    X(lost_fill, 4)          /* a fill that came too late goes nowhere but to its waiters */                     \
    X(min_n, 5)              /* nothing older than a message enters L1 */                                        \
    X(barrier, 5)            /* nothing asked before an UNTRUST enters L1 */                                     \
    X(fill_term, 5)          /* nothing asked in another term of trust enters L1 */                              \
    X(fill_stamp, 5)         /* what enters L1 is as proven as when it was asked for */                          \
    X(fill_identity, 5)      /* nothing answered by another server enters L1 */                                  \
    X(join, 5)               /* who joins after an invalidation is not given what was asked before */            \
    X(observed, 5)           /* a version that was seen removes what is older */                                 \
    X(apply, 5)              /* a message removes the entry */                                                   \
    X(lease_over, 6)         /* no trust after its lease */                                                      \
    X(lease_from_sent, 6)    /* which begins when the heartbeat was sent */                                      \
    X(hole, 6)               /* a missing message ends trust */                                                  \
    X(beat_counter, 6)       /* a counter that is not the last message's ends trust */                           \
    X(absent, 6)             /* a missing counter ends trust */                                                  \
    X(absent_node, 6)        /* for all partitions of its node */                                                \
    X(restart_gap, 6)        /* a counter made anew ends trust for all of its node */                            \
    X(generation, 6)         /* what can't be shown to be unbroken makes entries unproven */                     \
    X(hole_bump, 6)          /* a hole, or an UNTRUST, does */                                                   \
    X(identity_bump, 6)      /* another server does, whatever its counters say */                                \
    X(counter_bump, 6)       /* a counter that has moved does */                                                 \
    X(unproven, 6)           /* an unproven entry is not served as fresh */                                      \
    X(confirm, 6)            /* another primary confirms a node after a lapse */                                 \
    X(confirm_link, 6)       /* the first lease ends with what it confirmed */                                   \
    X(since, 6)              /* what was sent before a loss proves nothing about it */                           \
    X(redirect, 6)           /* MOVED and ASK end trust */                                                       \
    X(sunsubscribe, 6)       /* so does a slot that the server takes from us */                                  \
    X(untrust_told, 8)       /* UNTRUST is published before a write follows ASK */                               \
    X(untrust_heard, 8)      /* UNTRUST ends trust */                                                            \
    X(lease_node, 4)         /* a lease is good at the node that granted it */                                   \
    X(refill_version, 4)     /* a refresh replaces only the version that it refreshes */                         \
    X(floor, 7)              /* what is older than its namespace's last clear is invalid */                      \
    X(floor_fill, 7)         /* a fill names the floor that was known before its loader was asked */             \
    X(clear_heard, 7)        /* a clear or a pattern makes the namespace's entries unproven */                   \
    X(clear_flights, 7)      /* what was asked for before a clear does not enter L1 */                           \
    X(pattern_keys, 7)       /* each key that a pattern finds is invalidated */                                  \
    X(tenant_name, 7)        /* and the key that is its tenant's name alone */                                   \
    X(tag_nonce, 7)          /* an entry is valid only with the present nonces of its tags */                    \
    X(tag_heard, 7)          /* a TAG replaces the nonce that is known */                                        \
    X(aged_proof, 1)         /* L1 answers what is past its end under the same proof as anything */              \
    X(absent_proof, 1)       /* and that there is nothing */                                                     \
    X(tracked_change, 1)     /* what a foreign key's server tells removes the entry */                           \
    X(tracked_end, 1)        /* a tracking connection that ended proves nothing of what was read by it */        \
    X(stale_generation, 1)   /* what is answered for want of anything better is of the present generation */     \
    X(stale_heard, 1)        /* and nothing was heard of it since */                                             \
    X(stale_bound, 1)        /* nor is its proof older than the policy allows */                                 \
    X(owed, 9)               /* an invalidation that failed is repeated */                                       \
    X(owed_hidden, 9)        /* and its key not read meanwhile */                                                \
    X(owed_elsewhere, 9)     /* nor from another server than executed it at last */                              \
    X(replay, 9)             /* what a failover may have lost is repeated */

#ifdef STRATA_BROKEN_RULES

#define SX_RULE_NUMBER(name, section) SX_RULE_##name,
enum { SX_RULES(SX_RULE_NUMBER) SX_RULE_COUNT };
#undef SX_RULE_NUMBER

/* const after start: from STRATA_TEST_BROKEN, names separated by commas. */
extern bool sx_broken_rules[SX_RULE_COUNT];
#define SX_BROKEN(rule) (sx_broken_rules[SX_RULE_##rule])

/* A copy of text, never freed, without what, or with another text for it, where the rule is switched off. */
const char *sx_broken_text(bool broken, const char *text, const char *what, const char *instead);

#else

#define SX_BROKEN(rule) 0
#define sx_broken_text(broken, text, what, instead) (text)

#endif
#endif
