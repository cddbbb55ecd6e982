/* SPDX-License-Identifier: Apache-2.0 */
/* The tormentor: processes that use a cache, somebody who breaks everything below and around them, and a judge.

   One program in two roles. As tormentor it starts a cluster, a proxy before it, and itself again several times as client;
   then one fault after another comes out of a seed. Clients write down all they do and see in files that survive them. */
#ifndef SX_TESTS_TORMENT_TORMENT_H
#define SX_TESTS_TORMENT_TORMENT_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <sys/types.h>

#include <strata/strata.h>

#include "bench/cluster/cluster.h"
#include "tests/support/history.h"
#include "tests/support/proxy.h"

#define TORMENT_CLIENTS    4
#define TORMENT_KEYS       84 /* but in TORMENT_SWAPPED, key k is written by client k % TORMENT_CLIENTS alone; whose number is raised by nobody else */
#define TORMENT_TAGGED     28 /* every third key of those that are cleared; its entry shows the number of its tag too, which is judged as one more key */
/* What patterns, clears and tags make invalid has numbers of its own, each judged as one more key: of key k's entry those at
   TORMENT_SWEPT + k, TORMENT_CLEARED + k and, of a tagged one, TORMENT_TAGS + k / 3. */
#define TORMENT_SWEPT      TORMENT_KEYS
#define TORMENT_CLEARED    (2 * TORMENT_KEYS)
#define TORMENT_TAGS       (3 * TORMENT_KEYS)
#define TORMENT_JUDGED     (TORMENT_TAGS + TORMENT_TAGGED)
/* Locks and numbers that all clients share have keys in the history too. */
#define TORMENT_LOCK       TORMENT_JUDGED
#define TORMENT_LOCKS      4
#define TORMENT_COUNTER    (TORMENT_LOCK + TORMENT_LOCKS)
#define TORMENT_COUNTERS   4
#define TORMENT_NOTED      (TORMENT_COUNTER + TORMENT_COUNTERS)
#define TORMENT_NAME       24
#define TORMENT_PARTITIONS 64 /* so that versions of two servers meet at one n, and a rotation takes long; the checker's masks have 64 bits */
#define TORMENT_SHARDS     3
#define TORMENT_NODES      (2 * TORMENT_SHARDS)
#define TORMENT_BUS        TORMENT_NODES /* from there on the proxy's servers are the nodes' cluster buses */
#define TORMENT_STALENESS_MS    500
#define TORMENT_NODE_TIMEOUT_MS 1000
#define TORMENT_DEADLINE_MS     500
#define TORMENT_LEASE_MS        3000
#define TORMENT_UNPROVEN_MS     1500 /* how old a value may be that is answered because nothing can be proven */
#define TORMENT_FAILING_MS      2500 /* how old a value may be that is answered because its loader fails */
#define TORMENT_OPS_MAX         (1u << 21) /* of one client process */
#define TORMENT_PROCESSES       256
#define TORMENT_DIVERGENT       64  /* whose times are noted, by process */

/* The namespaces; key k is in that of k / TORMENT_CLIENTS % TORMENT_SPACES. */
typedef enum torment_space {
    TORMENT_PLAIN,   /* its values stay */
    TORMENT_GROUPED, /* answered as stale while nothing can be proven; cleared and swept by patterns, as are those that follow */
    TORMENT_AGED,    /* refreshed ahead of the end, and answered past it while they are refreshed */
    TORMENT_FAILING, /* answered past the end where their loader, or L2, fails */
    TORMENT_SWAPPED, /* written by all clients, each time over the version that was read */
    TORMENT_GUARDED, /* written where there is nothing, or nothing newer; of every fourth number its source says that there is nothing */
    TORMENT_FOREIGN, /* plain keys of Redis */
    TORMENT_SPACES
} torment_space;

/* What all processes see; a file in the run's directory. */
typedef struct torment_shared {
    _Atomic uint64_t truth[TORMENT_KEYS];
    _Atomic uint64_t tags[TORMENT_CLIENTS]; /* tag t's number; client t alone raises it, and invalidates the tag */
    _Atomic uint64_t swept[TORMENT_SPACES], cleared[TORMENT_SPACES]; /* raised by whoever is about to do it */
    _Atomic uint64_t counts[TORMENT_COUNTERS]; /* how often somebody has, or may have, added one, or is about to */
    _Atomic uint32_t ready, stop;
    _Atomic int64_t wall_step_ns; /* added to every wall clock that a client reads */
    _Atomic uint64_t clock_reads; /* how often one was read */
    _Atomic uint32_t peace;       /* nobody writes */
    _Atomic uint64_t damaged;     /* values that are not what anybody wrote */
    _Atomic uint64_t audited, packed; /* of clients that have ended */
    struct { _Atomic uint64_t count; _Atomic int64_t at_ns[TORMENT_DIVERGENT]; } divergent[TORMENT_PROCESSES]; /* of the plain namespace: what
                                                                                                L1 served and the audit found other values of in L2 */
    _Atomic uint64_t yielded, absent, foreign; /* writes that were refused for what stood there, answers that there is nothing, reads of plain keys */
    _Atomic uint64_t held, counted, swapped, refused, rolled; /* locks, numbers, writes over what was read, changes of tiers */
} torment_shared;

/* A client's file: how many operations were begun to be noted, then they; end_ns is written last. */
typedef struct torment_log {
    _Atomic uint64_t count;
    history_op ops[TORMENT_OPS_MAX];
} torment_log;

typedef struct torment_client {
    const char *directory, *seeds;
    uint32_t index;   /* which keys it writes */
    uint32_t process; /* as written down: a successor has another number */
    uint64_t seed;    /* even: heartbeats read few counters, and no message is lost without a trace; of three seeds one has
                         messages carry values */
} torment_client;

/* Never returns. */
_Noreturn void torment_client_run(const torment_client *client);
void *torment_map(const char *directory, const char *name, size_t size);
/* Of the tagged key k: which tag it has. */
static inline uint32_t torment_tag_of(uint32_t key) { return key / 3 % TORMENT_CLIENTS; }
static inline torment_space torment_space_of(uint32_t key) { return (torment_space)(key / TORMENT_CLIENTS % TORMENT_SPACES); }
static inline bool torment_is_cleared(torment_space space) { return space >= TORMENT_GROUPED && space <= TORMENT_SWAPPED; }
static inline bool torment_is_tagged(uint32_t key) { return key % 3 == 0 && torment_is_cleared(torment_space_of(key)); }
/* Of a guarded key: whether its source has nothing while its number is that. */
static inline bool torment_is_absent(uint64_t number) { return number % 4 == 3; }

/* spaces.c */
const char *torment_space_name(torment_space space);
strata_namespace *torment_space_open(strata *engine, torment_space space);
/* Before anything is asked of keys. False: out of memory. */
bool torment_keys_init(void);
const char *torment_key_name(uint32_t key);
uint32_t torment_key_of(strata_bytes name); /* not of foreign ones */
uint32_t torment_key_partition(uint32_t key);
/* Invalidates all of a namespace, by the pattern that all of its keys match, or as those of the tenant that they all belong to; or by a clear. */
int32_t torment_space_sweep(strata_session *session, strata_namespace *ns, torment_space space, bool tenant, const torment_shared *shared);
int32_t torment_space_clear(strata_session *session, strata_namespace *ns);

/* contend.c: locks and numbers that all share, and tiers that come and go; a thread of a client. */
typedef struct torment_contender {
    const torment_client *client;
    torment_shared *shared;
    torment_log *log;
    strata *engine;
    strata_namespace *const *spaces;
    uint64_t random;
} torment_contender;
void *torment_contend(void *contender);
void torment_lock_name(char name[TORMENT_NAME], uint32_t lock);
void torment_counter_name(char name[TORMENT_NAME], uint32_t counter);

/* client.c */
void torment_tell_divergent(const torment_client *client, torment_shared *shared, const strata_namespace *plain);
history_op *torment_record(const torment_client *client, torment_log *log, history_op op);
int64_t torment_now_ns(void); /* CLOCK_MONOTONIC */
void torment_sleep_ms(int64_t ms);
uint64_t torment_random(uint64_t *state);

typedef enum torment_fault {
    TORMENT_KILL,          /* a primary, until its replica has taken over */
    TORMENT_RESTART,       /* a primary, back at once, with nothing in memory */
    TORMENT_PAUSE_LONG,    /* a primary, beyond its replacement */
    TORMENT_ZOMBIE,        /* the same, but it hears nothing of it when it is resumed, and some clients sleep meanwhile */
    TORMENT_PAUSE,         /* any node, shortly */
    TORMENT_FAILOVER,      /* as an operator does it */
    TORMENT_TAKEOVER,      /* as an operator does it in need: nobody is asked */
    TORMENT_MIGRATE,       /* a slot with its keys to another primary and back */
    TORMENT_KILL_PUBSUB, TORMENT_KILL_NORMAL,
    TORMENT_BUFFER,        /* no room for unread messages, and many of them */
    TORMENT_SCRIPT_FLUSH, TORMENT_FLUSHALL,
    TORMENT_EVICT,         /* memory limit: counters and markers go too */
    TORMENT_CLIENT_PAUSE, TORMENT_CLIENT_KILL,
    TORMENT_DELAY, TORMENT_STALL, TORMENT_LATE, TORMENT_DROP, TORMENT_CUT, TORMENT_LOSE, /* by the proxy */
    TORMENT_CLOCK,         /* the wall clock of all clients jumps */
    TORMENT_FAULTS
} torment_fault;
const char *torment_fault_name(torment_fault fault);

typedef struct torment_world {
    sx_cluster *cluster;
    proxy *proxy;
    torment_shared *shared;
    char directory[128], program[256], seeds[512];
    uint64_t seed, random;
    pid_t clients[TORMENT_CLIENTS];
    uint32_t process_of[TORMENT_CLIENTS];
    uint32_t processes;               /* client processes started so far */
    int primary[TORMENT_SHARDS];      /* node; of shard s: s or s + TORMENT_SHARDS */
    int64_t synced_ns[TORMENT_SHARDS]; /* what was acknowledged before had reached the replica */
    char lineage[TORMENT_SHARDS][48];  /* the primary's replication id then, which each takeover changes; "": it was restarted */
    uint64_t shard_partitions[TORMENT_SHARDS]; /* that are or were there */
    uint32_t home[TORMENT_PARTITIONS];   /* shard that has the partition's slot now */
    uint8_t key_partition[TORMENT_NOTED]; /* of a tag's number: its marker's */
    uint16_t slots[TORMENT_PARTITIONS];
    uint64_t done[TORMENT_FAULTS];
    struct { torment_fault fault; int64_t start_ns, end_ns; } struck[4096]; /* end: settled */
    size_t struck_count;
    history_loss losses[4096], calm[4096], flushes[4096], moves[4096], evictions[4096];
    size_t loss_count, calm_count, flush_count, move_count, eviction_count; /* moves: of slots, from node to node */
    int64_t repeated_ns[4096], killed_ns[TORMENT_PROCESSES]; /* when all had been left in peace; by process, 0 for those that were not killed */
    size_t repeated_count;
    int64_t calm_from_ns;
    int64_t silent_from_ns, silent_to_ns; /* for so long the primary that was replaced did nothing: what was executed then, was so by its
                                            successor; 0: not known */
    bool orderly; /* the fault under way replaces a primary without a loss */
    bool failed; /* the cluster did not come back: the run says nothing more */
} torment_world;

/* fault.c: one fault, from its beginning until the cluster is whole again. */
void torment_strike(torment_world *w, torment_fault fault);
/* Waits until each shard has one primary and a replica in sync; notes which changed, and what may be lost by that. */
void torment_settle(torment_world *w);
/* Nobody strikes and nobody writes, until all that was owed must have been executed. */
void torment_peace(torment_world *w);
/* main.c */
pid_t torment_client_start(torment_world *w, uint32_t index);

#endif
