/* SPDX-License-Identifier: Apache-2.0 */
/* Invalidations out: the scripts that write, number and publish in one atomic step, and the readers of their replies. */
#ifndef SX_COHERENCE_PUBLISH_H
#define SX_COHERENCE_PUBLISH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/key/key.h"
#include "l2/redis/cluster.h"

/* All scripts of this room, NULL-terminated, for the connections to load. One set per engine: the sha is filled in by
   the loop that owns them. */
typedef struct sx_publish_scripts {
    sx_redis_script write;   /* set or invalidate */
    sx_redis_script lease;   /* SET NX GET for servers before 7.0 */
    sx_redis_script fill;    /* store under a lease's token; no increment, no message */
    sx_redis_script abandon; /* remove a lease by its token */
    sx_redis_script await;   /* mark a lease as awaited; answers its time, or what is there instead */
    sx_redis_script counter; /* a partition's counter and floors, created where it is missing */
    sx_redis_script beat;    /* TIME and counters, read only */
    sx_redis_script probe;   /* publish a PROBE */
    sx_redis_script replay;  /* an invalidation that a failover may have lost */
    sx_redis_script over;    /* a lease over a value judged invalid */
    sx_redis_script mark;    /* a tag's marker, created where it is missing */
    sx_redis_script clear;   /* a namespace in one partition */
    sx_redis_script writes;  /* several of write */
    sx_redis_script claim;   /* the right to refresh a value that stays where it is meanwhile */
    sx_redis_script refill;  /* store a refresh in the place of the version it refreshes */
    sx_redis_script write_if; /* set, if what is there allows it */
    sx_redis_script look;    /* what a reader of a value would learn but its bytes; may extend its life */
    sx_redis_script count;   /* add to a number */
    sx_redis_script extend;  /* a refresh that found the value unchanged */
    sx_redis_script lock;    /* a lock of the program: granted, renewed, released */
    sx_redis_script *all[21];
} sx_publish_scripts;
void sx_publish_scripts_init(sx_publish_scripts *scripts);

/* What a key is: a value of a namespace, the lease of who refreshes that, the marker of a tag, whose bytes are the key,
   a number that is counted, or a lock of the program, whose name is the key. */
typedef enum sx_publish_what { SX_PUBLISH_VALUE, SX_PUBLISH_REFRESH, SX_PUBLISH_TAG, SX_PUBLISH_COUNT, SX_PUBLISH_LOCK } sx_publish_what;

/* Where a key lives; strings are the caller's. */
typedef struct sx_publish_key {
    uint32_t partition;
    const char *ns;
    size_t ns_size;
    uint32_t ns_version;
    const void *key;
    size_t key_size;
    sx_publish_what what;
} sx_publish_key;

/* How commands are formed. const after open, but sharded is known only once a server answered. */
typedef struct sx_publish {
    const sx_alloc *alloc;
    const sx_key_tags *tags;
    bool sharded; /* SPUBLISH; else PUBLISH */
    bool set_nx_get;
} sx_publish;

/* What must be there for a set to happen. */
typedef enum sx_publish_only { SX_PUBLISH_ALWAYS, SX_PUBLISH_IF_SAME, SX_PUBLISH_IF_NEWER, SX_PUBLISH_IF_ABSENT } sx_publish_only;
typedef struct sx_publish_condition {
    sx_publish_only only;
    uint64_t n, id;       /* SAME: the version */
    uint64_t app_version; /* NEWER: of the value to be set */
} sx_publish_condition;

/* A write. deadline_ms and not_before_ms are the server's wall clock: refused when TIME > deadline_ms (0: none), or
   TIME <= not_before_ms (0: none). tail NULL: invalidate. */
typedef struct sx_publish_write {
    sx_publish_key key;
    uint64_t id;
    int64_t deadline_ms;
    int64_t not_before_ms;
    int64_t ttl_ms; /* 0: no expiry */
    const uint8_t *tail;
    size_t tail_size;
    bool carry; /* with a tail: publish VALUE, the value itself, instead of KEY */
    sx_publish_condition condition; /* with a tail, for encode_write_if alone */
} sx_publish_write;

/* Each encodes into an empty command; failures stick in command->args. */
void sx_publish_encode_write(const sx_publish *publish, const sx_publish_write *write, sx_command *command);
/* A set with a condition; its own script. */
void sx_publish_encode_write_if(const sx_publish *publish, const sx_publish_write *write, sx_command *command);
/* Whether the reply says that the condition does not hold: then the version of what is there, zeros where nothing is. */
bool sx_publish_decode_conflict(const sx_resp *reply, uint64_t *n, uint64_t *id);
/* What is known of a value, in SX_PUBLISH_LOOK_MAX bytes at most: as it is stored, up to its tags or beyond. With ttl_ms (0: no
   end; negative: only looks) its life ends no sooner than that from now on. deadline_ms as in a write. */
#define SX_PUBLISH_LOOK_MAX 5120
void sx_publish_encode_look(const sx_publish *publish, const sx_publish_key *key, int64_t deadline_ms, int64_t ttl_ms,
                            sx_command *command);
/* False: malformed. *bytes NULL where no value is there, or none that a reader would be given, had it no tags. */
bool sx_publish_decode_look(const sx_resp *reply, const char **bytes, size_t *size);
/* Adds to a number, of key->what SX_PUBLISH_COUNT; ttl_ms (0: none) is its life where it has no end. deadline_ms as in a write. */
void sx_publish_encode_count(const sx_publish *publish, const sx_publish_key *key, int64_t deadline_ms, int64_t change,
                             int64_t ttl_ms, sx_command *command);
/* Removes one; its answer is what the number was, decoded as one that was added to. */
void sx_publish_encode_uncount(const sx_publish *publish, const sx_publish_key *key, int64_t deadline_ms, sx_command *command);
/* STRATA_OK; STRATA_E_TIMEOUT, STRATA_E_RANGE or STRATA_E_TYPE: nothing was done; STRATA_E_UNKNOWN_OUTCOME: makes no sense. */
int32_t sx_publish_decode_count(const sx_resp *reply, int64_t *out);
/* Several writes of one partition and namespace, none of a tag, none that carries, none with not_before_ms, no two of one
   key: they share one n and one message. */
void sx_publish_encode_writes(const sx_publish *publish, const sx_publish_write *writes, uint32_t count,
                              sx_command *command);
/* What one of them would have been answered alone, made in scratch; NULL: the reply is malformed. */
const sx_resp *sx_publish_writes_part(const sx_resp *reply, uint32_t count, uint32_t index, sx_resp scratch[3]);
/* An invalidation that was executed as n, again: a value that is not older than it stays. deadline_ms as in a write. */
void sx_publish_encode_replay(const sx_publish *publish, const sx_publish_key *key, uint64_t id, int64_t deadline_ms,
                              uint64_t n, sx_command *command);
/* Places a lease where the key is absent; answers what is there otherwise. *script is set to the script to use, or NULL
   for a plain command. */
void sx_publish_encode_lease(const sx_publish *publish, sx_publish_scripts *scripts, const sx_publish_key *key,
                             uint64_t token, int64_t lease_ms, sx_command *command, const sx_redis_script **script);
/* The same in the place of a value with that version, and only of that one: written_ms is part of it. */
void sx_publish_encode_over(const sx_publish *publish, const sx_publish_key *key, uint64_t n, int64_t written_ms,
                            uint64_t id, uint64_t token, int64_t lease_ms, sx_command *command);
/* Reads a tag's marker; where there is none, creates and announces it: tail is the marker's behind its head, as a value's. */
void sx_publish_encode_mark(const sx_publish *publish, const sx_publish_key *key, uint64_t nonce, int64_t ttl_ms,
                            const uint8_t *tail, size_t tail_size, sx_command *command);
/* Stores a load's result if the lease with token is still there, and floor is where its namespace was cleared last; id of
   the value is the token. */
void sx_publish_encode_fill(const sx_publish *publish, const sx_publish_key *key, uint64_t token, int64_t deadline_ms,
                            int64_t ttl_ms, const uint8_t *tail, size_t tail_size, uint64_t floor, sx_command *command);
/* Clears key's namespace in key's partition; or, where the key is not empty, announces that as a pattern. deadline_ms as in a
   write. */
void sx_publish_encode_clear(const sx_publish *publish, const sx_publish_key *key, int64_t deadline_ms, sx_command *command);
/* Claims the refresh of the value with version (n, id). Answers 1 where it is ours, 0 where it is another's, else what
   encode_get would. */
void sx_publish_encode_claim(const sx_publish *publish, const sx_publish_key *key, uint64_t n, uint64_t id, uint64_t token,
                             int64_t lease_ms, sx_command *command);
/* What a refresh of (n, id) brought, if that is still there, the claim still ours, and floor as in a fill; id of the value is the token.
   Without a tail (NULL) the value is removed; or, by the script extend, lives for ttl_ms, as another version of the same bytes. */
void sx_publish_encode_refill(const sx_publish *publish, const sx_publish_key *key, uint64_t n, uint64_t id, uint64_t token,
                              int64_t deadline_ms, int64_t ttl_ms, const uint8_t *tail, size_t tail_size,
                              uint64_t floor, sx_command *command);
/* Gives a lease back; with key->what SX_PUBLISH_REFRESH a claim. */
void sx_publish_encode_abandon(const sx_publish *publish, const sx_publish_key *key, uint64_t token,
                               sx_command *command);
/* Marks the lease with token as awaited. Answers an integer, the ms it has left (negative: no end), where it is still
   there; else what encode_get would. */
void sx_publish_encode_await(const sx_publish *publish, const sx_publish_key *key, uint64_t token,
                             sx_command *command);
void sx_publish_encode_get(const sx_publish *publish, const sx_publish_key *key, sx_command *command);
/* Several keys of one partition: key by key into an empty command, the first with MGET before it. */
void sx_publish_encode_get_more(const sx_publish *publish, const sx_publish_key *key, sx_command *command);
/* One key's value of its reply; NULL: malformed. */
const sx_resp *sx_publish_get_part(const sx_resp *reply, uint32_t count, uint32_t index, sx_resp scratch[3]);
void sx_publish_encode_front(const sx_publish *publish, const sx_publish_key *key, sx_command *command); /* GETRANGE */

/* Floors that a partition keeps, one for each namespace and version that any process ever cleared; beyond that one for all takes
   their place. */
#define SX_PUBLISH_FLOORS_MAX 1024

/* One step through a node's keys, to those of key's namespace that match key's key as a pattern. cursor and count as digits. */
void sx_publish_encode_scan(const sx_publish_key *key, const char *cursor, const char *count, sx_command *command);
/* STRATA_OK where that is the name of a value of key's namespace: then key's partition and key, in place; STRATA_MISS;
   STRATA_E_NOMEM. */
int32_t sx_publish_decode_name(const sx_publish *publish, uint32_t partitions, const sx_resp *name, sx_publish_key *key);

/* A plain command that publishes UNTRUST through the slot's owner. */
void sx_publish_encode_untrust(const sx_publish *publish, uint32_t partition, sx_command *command);

/* Answers the partition's floors, see sx_publish_next_floor. */
void sx_publish_encode_counter(const sx_publish *publish, uint32_t partition, sx_command *command);

/* The room's own: see docs/WIRE.md. */
void sx_publish_encode_beat(const sx_publish *publish, const uint32_t *partitions, uint32_t count,
                            sx_command *command);
void sx_publish_encode_probe(const sx_publish *publish, uint32_t partition, uint64_t id, sx_command *command);

/* What is asked of a lock, by the identity of one acquisition. deadline_ms as in a write. */
typedef enum sx_publish_lock_step { SX_PUBLISH_LOCK_ACQUIRE, SX_PUBLISH_LOCK_RENEW, SX_PUBLISH_LOCK_RELEASE } sx_publish_lock_step;
typedef struct sx_publish_lock {
    sx_publish_key key; /* SX_PUBLISH_LOCK */
    sx_publish_lock_step step;
    uint64_t id;
    int64_t deadline_ms;
    int64_t ttl_ms;  /* how long it is held */
    int64_t keep_ms; /* and its token remembered after that */
} sx_publish_lock;
void sx_publish_encode_lock(const sx_publish *publish, const sx_publish_lock *lock, sx_command *command);

typedef enum sx_publish_verdict {
    SX_PUBLISH_DONE,     /* n and server_ms are set, the latter to -1 where the script does not tell it */
    SX_PUBLISH_LATE,     /* refused: past its deadline; nothing was done */
    SX_PUBLISH_EARLY,    /* refused: not yet after not_before; nothing was done */
    SX_PUBLISH_LOST,     /* fill: the lease is gone; nothing was stored */
    SX_PUBLISH_MALFORMED
} sx_publish_verdict;
/* What a partition holds with a smaller n is invalid: of one namespace, or (ns NULL) of all. */
typedef struct sx_publish_floor {
    const char *ns;
    size_t ns_size;
    uint32_t ns_version;
    uint64_t n;
} sx_publish_floor;
/* Walks the reply of encode_counter: *at is 0 at first. False at the end, or where the reply makes no sense: then *at is
   not the reply's count. */
bool sx_publish_next_floor(const sx_resp *reply, size_t *at, sx_publish_floor *out);

/* Reads the reply of a lock's step: DONE with the token, 0 where another holds it, and for how long it is held yet; LOST where this
   identity does not hold it (any more). */
sx_publish_verdict sx_publish_decode_lock(const sx_resp *reply, uint64_t *token, int64_t *left_ms);

/* Reads the reply of a write, a fill, a refill, a clear or a replay. */
sx_publish_verdict sx_publish_decode(const sx_resp *reply, uint64_t *n, int64_t *server_ms);

#endif
