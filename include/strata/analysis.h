/* SPDX-License-Identifier: Apache-2.0 */
/* Usage analysis: which keys are hot, which are big, which follow which, how old and how large what is read and held is. Included by
   strata.h. */
#ifndef STRATA_ANALYSIS_H
#define STRATA_ANALYSIS_H

#include <strata/strata.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Off until the option flow.analysis, or a namespace's own switch, has it on; a read of a namespace that is not analysed tests one word
   for it. One read in flow.analysis_sample, at random, is looked at: reads by this process that ask L1, whatever L1 answers. What L1
   holds is looked at by the keeper, which walks through all of it again and again: a walk through a million entries takes it about a minute. Memory is
   bounded: about 50 KiB, and 1 KiB for each of flow.analysis_keys, in each of at most STRATA_ANALYSES_MAX namespaces; beyond l1.bytes. */
#define STRATA_ANALYSES_MAX 64
#define STRATA_SEEN_KEY_BYTES 128
#define STRATA_BIG_KEYS_MAX 32

typedef enum strata_analyze {
    STRATA_ANALYZE_DEFAULT = 0, /* as flow.analysis says */
    STRATA_ANALYZE_ON = 1,
    STRATA_ANALYZE_OFF = 2      /* what was seen can be read still */
} strata_analyze;

/*
 * Switches the analysis of a namespace on or off.
 *   ns    a namespace
 *   mode  which
 * Returns: STRATA_OK; STRATA_E_INVALID; STRATA_E_OVERLOADED where STRATA_ANALYSES_MAX others are, or were, analysed; STRATA_E_NOMEM: nothing
 *          has changed; STRATA_E_CLOSED; STRATA_E_FORKED.
 * Owns:    nothing.
 * Threads: any.
 * Blocks:  on a lock held for a few instructions.
 * Since:   0.1
 */
STRATA_API int32_t strata_namespace_analyze(strata_namespace *ns, strata_analyze mode);

/* What is known about a namespace. */
typedef struct strata_analysis {
    uint32_t struct_size;   /* sizeof(strata_analysis) */
    uint32_t on;            /* 1: it is being analysed */
    int64_t sample;         /* one read in so many is looked at */
    int64_t sampled;        /* reads that were, since the last reset */
    int64_t missed;         /* of them, those that L1 had no value for */
    int64_t skipped;        /* reads that were to be looked at while another thread was at it */
    int64_t walks;          /* through L1 that have ended; what follows is of the last one */
    int64_t entries;        /* values of the namespace */
    int64_t bytes;          /* of these, keys and values */
    int64_t endless;        /* of these, those that never expire */
} strata_analysis;

/*
 * Reads what is known about a namespace in numbers.
 *   ns   a namespace
 *   out  struct_size set; receives it; zeros where it was never analysed
 * Returns: STRATA_OK; STRATA_E_INVALID; STRATA_E_CLOSED; STRATA_E_FORKED.
 * Owns:    nothing.
 * Threads: any.
 * Blocks:  on a lock held while a few KiB are copied; reads of the program do not wait for it.
 * Since:   0.1
 */
STRATA_API int32_t strata_analysis_read(strata_namespace *ns, strata_analysis *out);

/* A key as it is kept: of one that is longer, how it begins. */
typedef struct strata_seen_key {
    uint32_t size;     /* of the key itself */
    uint32_t reserved; /* 0 */
    uint8_t bytes[STRATA_SEEN_KEY_BYTES];
} strata_seen_key;

/* A key that is read often. Of n reads that were sampled, any key that makes up more than n / flow.analysis_keys is told; its count is too
   large by error at most, which is at most n / flow.analysis_keys. */
typedef struct strata_hot_key {
    strata_seen_key key;
    uint64_t count; /* of sampled reads; times flow.analysis_sample that is about how often it was read */
    uint64_t error;
} strata_hot_key;

/*
 * Reads which keys are read most.
 *   ns     a namespace
 *   out    receives up to max keys, the most frequent first
 *   max    room at out
 *   count  receives how many
 * Returns: STRATA_OK; STRATA_E_INVALID; STRATA_E_NOMEM; STRATA_E_CLOSED; STRATA_E_FORKED.
 * Owns:    nothing.
 * Threads: any.
 * Blocks:  as strata_analysis_read.
 * Since:   0.1
 */
STRATA_API int32_t strata_analysis_hot_keys(strata_namespace *ns, strata_hot_key *out, size_t max, size_t *count);

typedef struct strata_big_key {
    strata_seen_key key;
    int64_t bytes; /* of its value */
} strata_big_key;

/*
 * Reads which keys had the largest values in L1 when it was last walked through.
 *   ns     a namespace
 *   out    receives up to max keys, the largest first; there are STRATA_BIG_KEYS_MAX at most
 *   max    room at out
 *   count  receives how many
 * Returns: as strata_analysis_hot_keys.
 * Owns:    nothing.
 * Threads: any.
 * Blocks:  as strata_analysis_read.
 * Since:   0.1
 */
STRATA_API int32_t strata_analysis_big_keys(strata_namespace *ns, strata_big_key *out, size_t max, size_t *count);

/* A key that is read right after another by the same session, within 100 ms: by strata_get, strata_get_or_load and strata_peek, not within
   a batch. The four most frequent successors of a key are kept, by the rule of hot keys, of the few hundred times that the first was
   seen last. */
typedef struct strata_key_pair {
    strata_seen_key first;
    strata_seen_key second;
    strata_namespace *second_ns; /* that of second; first's is the one that was asked about */
    uint64_t firsts;             /* how often first was looked at */
    uint64_t count;              /* how often second came next */
    uint64_t error;              /* count is too large by so much at most; a quarter of firsts at most */
} strata_key_pair;

/*
 * Reads which keys follow which.
 *   ns     a namespace
 *   out    receives up to max pairs, those whose first key is read most first
 *   max    room at out
 *   count  receives how many
 * Returns: as strata_analysis_hot_keys.
 * Owns:    nothing.
 * Threads: any.
 * Blocks:  as strata_analysis_read.
 * Since:   0.1
 */
STRATA_API int32_t strata_analysis_pairs(strata_namespace *ns, strata_key_pair *out, size_t max, size_t *count);

typedef enum strata_analyzed {
    STRATA_ANALYZED_AGE = 0,       /* ms since it was written, of what L1 answered */
    STRATA_ANALYZED_TTL_LEFT = 1,  /* ms that values in L1 had left when it was last walked through */
    STRATA_ANALYZED_TTL_GIVEN = 2, /* ms between their writing and their end */
    STRATA_ANALYZED_BYTES = 3,     /* of their values */
    STRATA_ANALYZED_WRITE_INTERVAL = 4 /* ms between two writes of a key, see strata_namespace_suggested_ttl */
} strata_analyzed;
#define STRATA_ANALYZED 5

/*
 * Reads one of an analysis's histograms.
 *   ns    a namespace
 *   what  which
 *   out   struct_size set; receives it, empty where the namespace was never analysed
 * Returns: STRATA_OK; STRATA_E_INVALID; STRATA_E_CLOSED; STRATA_E_FORKED.
 * Owns:    nothing.
 * Threads: any.
 * Blocks:  as strata_analysis_read.
 * Since:   0.1
 */
STRATA_API int32_t strata_analysis_histogram(strata_namespace *ns, strata_analyzed what, strata_histogram *out);

/*
 * Suggests a time to live: half of the values are overwritten or invalidated before it. That is observed where the namespace is analysed, or
 * its policy adapts (ttl_adaptive_max_ms): writes and invalidations of single keys, by this process and, as its messages tell, by all
 * others, of a sample of the keys in bounded memory. Values not overwritten yet count too. Clears, tags and patterns don't. Of a
 * foreign namespace nothing is known.
 *   ns      a namespace
 *   ttl_ms  receives it, an eighth too large at most; STRATA_EXPIRES_NEVER where more than half of the values have outlived what was
 *           seen
 * Returns: STRATA_OK; STRATA_MISS: too little is known yet; STRATA_E_INVALID; STRATA_E_CLOSED; STRATA_E_FORKED.
 * Owns:    nothing.
 * Threads: any.
 * Blocks:  on a lock held for some microseconds.
 * Since:   0.1
 */
STRATA_API int32_t strata_namespace_suggested_ttl(strata_namespace *ns, int64_t *ttl_ms);

typedef enum strata_report_format { STRATA_REPORT_TEXT = 0, STRATA_REPORT_JSON = 1 } strata_report_format;

/*
 * Tells all of an analysis, for an operator or a program that collects. It names keys, which may be private.
 *   ns      a namespace
 *   format  lines for people, or one JSON object; bytes of keys that are not printable ASCII are written \xHH and \u00HH
 *   top     most keys and pairs of each kind, 65536 at most; 0 for 10
 *   text    receives it, zero-terminated; may be NULL where size is 0
 *   size    bytes at text
 *   needed  receives how many bytes it takes with its zero; may be NULL
 * Returns: STRATA_OK; STRATA_E_VALUE_SIZE where size is too small: text is not touched; STRATA_E_INVALID; STRATA_E_NOMEM; STRATA_E_CLOSED;
 *          STRATA_E_FORKED.
 * Owns:    nothing.
 * Threads: any.
 * Blocks:  as strata_analysis_read.
 * Since:   0.1
 */
STRATA_API int32_t strata_analysis_report(strata_namespace *ns, strata_report_format format, uint32_t top, char *text, size_t size,
                                          size_t *needed);

/*
 * Forgets what was seen of a namespace, and begins anew. What L1 holds is told again once it has been walked through.
 *   ns  a namespace
 * Returns: STRATA_OK; STRATA_E_INVALID; STRATA_E_CLOSED; STRATA_E_FORKED.
 * Owns:    nothing.
 * Threads: any.
 * Blocks:  as strata_analysis_read.
 * Since:   0.1
 */
STRATA_API int32_t strata_analysis_reset(strata_namespace *ns);

#ifdef __cplusplus
}
#endif
#endif
