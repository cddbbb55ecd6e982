/* SPDX-License-Identifier: Apache-2.0 */
/* Histories: what processes did and saw, in files, and a checker that judges them by PROTOCOL section 1 afterwards.

   Values are numbers. Per key they only grow in the source of truth, which is changed before a write of the key begins: so
   who must see a write must see its number, or a greater one. A key is written by one thread at a time. */
#ifndef SX_TESTS_SUPPORT_HISTORY_H
#define SX_TESTS_SUPPORT_HISTORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum history_kind {
    HISTORY_READ,       /* value, n and source of what was answered as fresh */
    HISTORY_SET,        /* acknowledged, with this value */
    HISTORY_INVALIDATE, /* acknowledged; value is the truth's when it began */
    HISTORY_LOAD,       /* a loader's run, with what it answered */
    HISTORY_FAILED_WRITE, /* may have happened */
    HISTORY_FAILED_READ, /* began something that others may have joined */
    HISTORY_REFUSED,    /* a write with a condition that did not hold: it changed nothing */
    HISTORY_TOKEN,      /* a lock was acquired, with this token as value */
    HISTORY_HELD,       /* a lock was held for that time, by that token's owner */
    HISTORY_COUNTED,    /* one was added to a number, which was value then; n: how often anybody had added or may have, by then */
    HISTORY_KINDS
} history_kind;

typedef struct history_op {
    int64_t start_ns, end_ns; /* CLOCK_MONOTONIC: one for all processes of a machine */
    uint64_t value, n, id;    /* n, id: the version; 0 where none is known */
    uint64_t before;          /* SET: the id of the version that alone it might replace; 0: any */
    uint32_t process, key;
    uint32_t said_us;     /* a read from L1: the staleness that it was said to have at most, 0 none; a load: how long after its
                             read it began */
    uint32_t allowed_ms;  /* a read answered as stale for want of anything better: it may be that old, wherever from; 0: as fresh */
    uint8_t kind, source; /* strata_source of a read */
    uint8_t filled;       /* LOAD: L2 took the result */
    uint8_t invalidates;  /* FAILED_WRITE: of an invalidation, which its process owes from then on */
    uint8_t written;      /* READ: of what a write stored, and no load */
    uint8_t yields;       /* SET: one that had to be refused where any value of the key stood, all of which have one writer */
} history_op;

typedef enum history_fault {
    HISTORY_STALE,        /* a read older than the bound allows */
    HISTORY_UNDERSTATED,  /* a read from L1 older than it was said to be */
    HISTORY_OWN_WRITE,    /* a read older than what its own process had written */
    HISTORY_BACK,         /* a version older than one that its process had read */
    HISTORY_RESURRECTED,  /* a load from before an invalidation is read after it */
    HISTORY_LOADED_TWICE, /* a loader begins while another process's runs, and nothing happened between */
    HISTORY_FILLED_TWICE, /* two loads at the same time, and L2 took both */
    HISTORY_UNDONE,       /* L2 answers what somebody had seen replaced */
    HISTORY_REVIVED,      /* L1 serves a version beyond the bound after L2 was seen to have lost it */
    HISTORY_FLUSHED,      /* L1 serves a version beyond the bound after L2 was emptied */
    HISTORY_FORGOTTEN,    /* a read misses an invalidation that failed, or that a failover lost, and nobody repeated it */
    HISTORY_SWAPPED_TWICE, /* two writes replaced one version */
    HISTORY_REFUSED_SEEN, /* what a refused write would have stored is read */
    HISTORY_OVERRIDDEN,   /* a write that had to be refused replaced a value */
    HISTORY_TOKEN_BACK,   /* a lock's token is no greater than an earlier one */
    HISTORY_HELD_TWICE,   /* two held a lock at the same time */
    HISTORY_MISCOUNTED,   /* a number is no greater than an earlier one, or greater than all that was added */
    HISTORY_FAULTS
} history_fault;
const char *history_fault_name(history_fault fault);

/* A failover: what was executed at its old primary in that time may be lost, and answers of L2 may come from either. Of a
   flush, what was there is lost. */
typedef struct history_loss {
    int64_t from_ns, to_ns;
    uint64_t partitions; /* bit p: of keys in partition p, p < 64 */
    bool lossless; /* an orderly one: only the last applies */
} history_loss;

typedef struct history_rules {
    int64_t bound_ns; /* of reads from L1; an answer of L2 may be no older than its beginning */
    int64_t lease_ns; /* how long a loader keeps others from loading; 0: don't judge */
    bool sets_may_be_lost; /* by a failover: L2's answers are judged by own writes and versions only */
    int64_t patience_ns;   /* 0 endless: who has not heard from L2 for so long loads without a lease */
    uint32_t tags_from;    /* keys from here on are tags' numbers in tagged entries: L2's answers are judged by what their process
                              knows of the tag, and so may be as old as L1's; 0: none are */
    int64_t join_ns;       /* an answer of L2 may be as old as a read of the same process that it joined, at most this */
    const uint8_t *partition_of; /* by key; NULL: each key is its own */
    const history_loss *losses;
    size_t loss_count;
    const history_loss *flushes; /* when servers were emptied */
    size_t flush_count;
    const history_loss *evictions; /* when servers were short of memory: locks and numbers may go */
    size_t eviction_count;
    /* Times, growing, by which every process had long been left in peace: what it owed, or a failover had lost, is executed. */
    const int64_t *repeated_ns;
    size_t repeated_count;
    const int64_t *killed_ns; /* by process, 0 for those that lived; NULL: all did */
    size_t killed_count;
    const history_loss *calm; /* NULL: all the time; else loads are judged by lease_ns only within these */
    size_t calm_count;
} history_rules;

typedef struct history_report {
    uint64_t faults[HISTORY_FAULTS];
    history_op worst[HISTORY_FAULTS][2]; /* the first found: what broke the rule, and what it should have respected */
    uint64_t writes, lost_writes; /* judged, and those excused by a loss */
    int64_t oldest_ns; /* how long before a read from L1 began the oldest write ended that it missed, in bounds or not */
    int64_t oldest_stale_ns; /* the same of reads answered as stale */
} history_report;

/* Sorts ops by key and beginning. Whether no rule was broken. */
bool history_check(history_op *ops, size_t count, const history_rules *rules, history_report *report);

/* Reads all records of a file after those that *ops already holds. 0 or -1. */
int history_read(const char *path, history_op **ops, size_t *count);

#endif
