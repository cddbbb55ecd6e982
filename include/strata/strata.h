/* SPDX-License-Identifier: Apache-2.0 */
/* Strata: a two-tier cache, L1 in this process and Redis as L2, whose L1 answers are never older than a stated bound. */
#ifndef STRATA_STRATA_H
#define STRATA_STRATA_H

#include <stddef.h>
#include <stdint.h>
#include <strata/config.h>
#include <strata/stats.h>
#include <strata/status.h>
#include <strata/value.h>

#ifdef __cplusplus
extern "C" {
#endif

#define STRATA_VERSION_MAJOR 0
#define STRATA_VERSION_MINOR 1
#define STRATA_VERSION_PATCH 0

#define STRATA_KEY_BYTES_MAX 4096
#define STRATA_NAMESPACE_BYTES_MAX 64
#define STRATA_TAGS_MAX 16      /* of one entry */
#define STRATA_TAG_BYTES_MAX 256

/* One cache engine: an L1, its connections to L2, one loop thread and one keeper thread. */
typedef struct strata strata;

/* One thread's way in: epoch record, statistics and completion mailbox. Used by one thread at a time. */
typedef struct strata_session strata_session;

/* A named class of entries with its own policy. Lives as long as its engine. */
typedef struct strata_namespace strata_namespace;

/* One run of a loader for one key. */
typedef struct strata_load strata_load;

/* ---- what a program may bring ------------------------------------------------------------------------------- */

typedef enum strata_log_level {
    STRATA_LOG_ERROR = 0, /* something needs an operator */
    STRATA_LOG_WARN = 1,  /* degraded, and being dealt with */
    STRATA_LOG_INFO = 2,  /* state changes */
    STRATA_LOG_DEBUG = 3
} strata_log_level;

/* Receives one line without a newline, valid during the call. Called from any thread, under no lock of Strata; must be
   quick and must not call Strata. */
typedef void (*strata_log_fn)(void *context, strata_log_level level, const char *line);

/* Memory for everything but the event loop's own. Called from any thread, at the same time. */
typedef struct strata_allocator {
    void *context;
    void *(*allocate)(void *context, size_t size, size_t alignment); /* NULL when out of memory; alignment <= 128 */
    void (*release)(void *context, void *memory, size_t size);       /* size as it was asked for */
} strata_allocator;

/* A clock that never goes back and counts while the machine sleeps, in nanoseconds. Called from any thread. */
typedef struct strata_clock {
    void *context;
    int64_t (*now_ns)(void *context);
} strata_clock;

/* Runs task(argument) exactly once, soon, on any thread of the application; must not run it before returning. */
typedef struct strata_executor {
    void *context;
    void (*execute)(void *context, void (*task)(void *argument), void *argument);
} strata_executor;

/* Says who the engine is at L2: called for each connection that is opened, so that what it says may change while the
   engine is open. username and password hold what l2.username and l2.password (or its file) say, and may be replaced by
   texts of at most 256 and 512 bytes; an empty password: no authentication. Returns STRATA_OK, or any other status: the
   connection is not opened now, and tried again later, as one whose credentials the server refused.
   Called on the engine's own loop, which waits for it: it must return at once and call no function of Strata. What it has
   to fetch from elsewhere another thread fetches before. */
typedef struct strata_credentials {
    void *context;
    int32_t (*get)(void *context, char *username, size_t username_size, char *password, size_t password_size);
} strata_credentials;

struct strata_tracer; /* strata/trace.h */

/* How to open an engine. Zero what is not used; struct_size first: it tells what header the program was built with. An older one's
   shorter struct is taken as if the fields that it lacks were zero, a newer one's longer struct where those beyond ours are; so
   with every struct of this library that starts with its size. */
typedef struct strata_open_options {
    uint32_t struct_size;         /* sizeof(strata_open_options) */
    uint32_t reserved;            /* 0 */
    const strata_config *config;  /* copied; NULL for defaults and the environment */
    strata_log_fn log;            /* NULL for silence */
    void *log_context;
    strata_allocator allocator;   /* all NULL for the built-in one */
    strata_clock clock;           /* all NULL for CLOCK_BOOTTIME */
    strata_executor executor;     /* all NULL: loaders run in strata_session_dispatch and the waiting calls */
    strata_credentials credentials; /* all NULL: the options say all */
    const struct strata_tracer *tracer; /* copied; NULL: nobody is told of spans */
} strata_open_options;

/* ---- engine ------------------------------------------------------------------------------------------------- */

/*
 * Opens an engine. An L2 that does not answer is no failure: operations say so, and the engine keeps trying.
 *   options  how; NULL for all defaults
 *   out      receives the engine
 *   error    receives what was refused; may be NULL
 * Returns: STRATA_OK; STRATA_E_INVALID; STRATA_E_CONFIG; STRATA_E_NOMEM; STRATA_E_SYSTEM; STRATA_E_OVERLOADED where the process
 *          has 1023 engines already, with those that are closed and whose values it keeps; STRATA_E_LAYOUT, STRATA_E_AUTH
 *          or STRATA_E_VERSION where L2 answers within l2.open_wait and can't be used.
 * Owns:    the caller owns *out: strata_close.
 * Threads: any.
 * Blocks:  up to l2.open_wait for L2's first answer.
 * Since:   0.1
 */
STRATA_API int32_t strata_open(const strata_open_options *options, strata **out, strata_error *error);

/*
 * Closes an engine: refuses new operations, waits for those under way, completes what is left with STRATA_E_CLOSED.
 * Sessions still open stay valid handles that answer STRATA_E_CLOSED until strata_session_close; the last one frees
 * what they share.
 *   engine       an engine, or NULL
 *   deadline_ms  how long operations under way may take
 * Returns: STRATA_OK; STRATA_E_TIMEOUT where operations had to be cut off (the engine is closed all the same);
 *          STRATA_E_FORKED.
 * Owns:    takes the engine.
 * Threads: any but the engine's own (no callback may close it); no other thread may be inside a call on the engine.
 * Blocks:  up to deadline_ms and a little.
 * Since:   0.1
 */
STRATA_API int32_t strata_close(strata *engine, uint32_t deadline_ms);

/*
 * Opens a namespace, or finds it where it is already open.
 *   engine  an engine
 *   name    1 .. STRATA_NAMESPACE_BYTES_MAX bytes of [A-Za-z0-9_.-]
 *   version the version of its keys: entries of another version are invisible
 *   out     receives the namespace
 * Returns: STRATA_OK; STRATA_E_INVALID for the name, or that of a foreign one; STRATA_E_OVERLOADED at the limit of 1024 namespaces;
 *          STRATA_E_NOMEM; STRATA_E_CLOSED; STRATA_E_FORKED.
 * Owns:    nothing; *out lives as long as the engine.
 * Threads: any.
 * Blocks:  on a lock held for a few instructions.
 * Since:   0.1
 */
STRATA_API int32_t strata_namespace_open(strata *engine, const char *name, uint32_t version, strata_namespace **out);

/*
 * Prints the value an option has now, in the form a file would hold; a secret prints as "***".
 *   engine     an engine
 *   name       "section.key"
 *   text       receives the value, zero-terminated
 *   text_size  bytes at text
 * Returns: STRATA_OK; STRATA_E_CONFIG for an unknown name; STRATA_E_VALUE_SIZE where text_size is too small;
 *          STRATA_E_FORKED.
 * Owns:    nothing.
 * Threads: any.
 * Blocks:  on a lock held for a few instructions.
 * Since:   0.1
 */
STRATA_API int32_t strata_option_get(strata *engine, const char *name, char *text, size_t text_size);

/*
 * Changes a hot option of an open engine.
 *   engine  an engine
 *   name    "section.key"
 *   value   as it would stand in a file
 *   error   receives the option and its allowed range; may be NULL
 * Returns: STRATA_OK; STRATA_E_CONFIG where unknown, out of range or not hot; STRATA_E_NOMEM; STRATA_E_FORKED.
 * Owns:    nothing; the text is copied.
 * Threads: any.
 * Blocks:  on a lock held for a few instructions.
 * Since:   0.1
 */
STRATA_API int32_t strata_option_set(strata *engine, const char *name, const char *value, strata_error *error);

/* ---- sessions ----------------------------------------------------------------------------------------------- */

/*
 * Opens a session for the calling thread. A thread that ends without closing its sessions has them closed.
 *   engine  an engine
 *   out     receives the session
 * Returns: STRATA_OK; STRATA_E_NOMEM; STRATA_E_SYSTEM; STRATA_E_CLOSED; STRATA_E_FORKED.
 * Owns:    the caller owns *out: strata_session_close.
 * Threads: any; the session then belongs to this thread.
 * Blocks:  on a lock held for a few instructions.
 * Since:   0.1
 */
STRATA_API int32_t strata_session_open(strata *engine, strata_session **out);

/*
 * Closes a session: its operations under way are completed with STRATA_E_CANCELLED inside this call (the cache is
 * still filled by them), pinned results end.
 *   session  a session, or NULL
 * Returns: nothing.
 * Owns:    takes the session; counted references outlive it.
 * Threads: its thread, outside its callbacks.
 * Blocks:  on a lock held for a few instructions.
 * Since:   0.1
 */
STRATA_API void strata_session_close(strata_session *session);

/*
 * A descriptor that is readable while completions wait, for poll, epoll or a foreign event loop. Never read from it:
 * strata_session_dispatch does.
 *   session  a session
 * Returns: the descriptor.
 * Owns:    nothing; it closes with the session.
 * Threads: its thread.
 * Blocks:  never.
 * Since:   0.1
 */
STRATA_API int strata_session_fd(const strata_session *session);

/*
 * Runs the callbacks of completed operations, and loaders where the engine has no executor.
 *   session  a session
 *   max      most completions to run; 0 for all that are there
 * Returns: how many ran; STRATA_E_FORKED.
 * Owns:    nothing.
 * Threads: its thread, outside its callbacks.
 * Blocks:  never, beyond what the callbacks do.
 * Since:   0.1
 */
STRATA_API int32_t strata_session_dispatch(strata_session *session, uint32_t max);

/*
 * Waits until completions are there, then runs them.
 *   session     a session
 *   timeout_ms  longest wait
 * Returns: how many ran, 0 at the timeout; STRATA_E_FORKED.
 * Owns:    nothing.
 * Threads: its thread, outside its callbacks.
 * Blocks:  up to timeout_ms.
 * Since:   0.1
 */
STRATA_API int32_t strata_session_wait(strata_session *session, uint32_t timeout_ms);

/* ---- results ------------------------------------------------------------------------------------------------ */

typedef enum strata_source {
    STRATA_FROM_NONE = 0,
    STRATA_FROM_L1 = 1,
    STRATA_FROM_L2 = 2,
    STRATA_FROM_LOADER = 3
} strata_source;

#define STRATA_EXPIRES_NEVER INT64_MAX
#define STRATA_AGE_UNKNOWN (-1)

/* Why a result is what it is, where its status does not say it all. */
typedef enum strata_reason {
    STRATA_REASON_NONE = 0,
    STRATA_REASON_UNPROVEN = 1,   /* stale: it can't be proven fresh, see strata_untrusted */
    STRATA_REASON_REFRESHING = 2, /* stale: past its end, and being refreshed, see strata_namespace_policy */
    STRATA_REASON_FAILED = 3,     /* stale: past its end or not provable, and loading it anew failed */
    STRATA_REASON_SLOW = 4,       /* stale: as before, and loading it anew took longer than the soft timeout */
    STRATA_REASON_ABSENT = 5,     /* miss: the source is known to have nothing, see strata_namespace_policy */
    STRATA_REASON_CROWDED = 6     /* stale: past its end, and too many wait already (waiters_max, flow.pending_max) */
} strata_reason;

/* The answer to one operation on one key. */
typedef struct strata_result {
    int32_t status;        /* STRATA_OK, STRATA_MISS, STRATA_STALE or a failure */
    uint8_t source;        /* strata_source */
    uint8_t reason;        /* strata_reason */
    uint8_t reserved[2];
    strata_bytes value;    /* empty without a value; never change it */
    uint64_t version_n;    /* order of the value's version within its partition; 0 where it has none */
    uint64_t version_id;   /* identity of the value's version; 0 where it has none */
    uint64_t app_version;  /* as its writer gave it; 0 for none */
    int64_t age_ms;        /* since it was written, by the server's clock; STRATA_AGE_UNKNOWN */
    int64_t ttl_ms;        /* until it expires; STRATA_EXPIRES_NEVER */
    int64_t staleness_us;  /* L1: no write older than this is missing from the value; 0 from L2 or a loader */
    void *private_[2];
} strata_result;

/*
 * Ends a result: unpins or releases its value. A result without a value needs it as little as it minds it. A pinned
 * result (strata_peek, and strata_get answered at once) holds back the freeing of memory: release it soon, or keep it
 * by strata_result_retain.
 *   session  the session it came from
 *   result   a result; its value becomes empty
 * Returns: nothing.
 * Owns:    takes the result's hold on the value.
 * Threads: the session's.
 * Blocks:  never.
 * Since:   0.1
 */
STRATA_API void strata_result_release(strata_session *session, strata_result *result);

/*
 * Turns a result's value into a counted reference that may be kept and handed to other threads.
 *   session  the session it came from
 *   result   a result that has not been released
 *   out      receives the reference
 * Returns: STRATA_OK; STRATA_E_INVALID where it has no value.
 * Owns:    the caller owns *out: strata_value_release. The result stays to be released.
 * Threads: the session's.
 * Blocks:  never.
 * Since:   0.1
 */
STRATA_API int32_t strata_result_retain(strata_session *session, const strata_result *result,
                                        strata_value **out);

/* Receives the answer of one operation; the result is released after it returns (retain what is to be kept). Runs on
   the session's thread in dispatch, wait or close, or with STRATA_ON_LOOP on the loop thread, where it must be quick
   and must not use the session. */
typedef void (*strata_done_fn)(void *user, const strata_result *result);

/* ---- operations --------------------------------------------------------------------------------------------- */

#define STRATA_BYPASS_L1 0x1u /* read: don't answer from L1, don't fill it */
#define STRATA_BYPASS_L2 0x4u /* read: don't ask L2, don't fill it; what is not answered by L1 is by the loader, for who waits */
#define STRATA_BYPASS 0x5u    /* both: get_or_load runs a loader, or waits for one under way */
#define STRATA_REFRESH 0x8u   /* read: don't answer from L1, but fill it; get_or_load runs a loader that starts after the call, whatever
                                 the tiers hold, and stores its value in the place of that; other processes keep what they hold for as long
                                 as it lives (where that is wrong: strata_invalidate). Not with STRATA_BYPASS_L2 */
#define STRATA_ON_LOOP 0x2u   /* run the callback on the loop thread instead of the session's */

/* How to do one operation. Zero what is not used; struct_size first. NULL stands for all zero. */
typedef struct strata_op_options {
    uint32_t struct_size; /* sizeof(strata_op_options) */
    uint32_t flags;       /* STRATA_BYPASS_L1 .. STRATA_REFRESH, STRATA_ON_LOOP */
    uint32_t deadline_ms; /* 0 for flow.deadline */
    uint32_t reserved;    /* 0 */
    int64_t ttl_ms;       /* set and load: 0 for the namespace's, STRATA_EXPIRES_NEVER for none where that allows it */
    uint64_t app_version; /* set: a number the program orders its versions by, 0 for none; stored and shown */
    const strata_bytes *tags; /* set and load: what the entry depends on, see strata_invalidate_tags; copied */
    uint32_t tag_count;   /* up to STRATA_TAGS_MAX, each of 1 .. STRATA_TAG_BYTES_MAX bytes */
    uint32_t reserved_2;  /* 0 */
    uint64_t cancel_id;   /* by which strata_cancel ends it, 0 for none; several operations may have the same */
    strata_bytes traceparent; /* the trace that this call belongs to, as for strata_session_trace, in the place of its session's;
                                 empty: the session's. Copied, as is tracestate */
    strata_bytes tracestate;  /* what came with that; ignored without it */
} strata_op_options;

/*
 * Looks into L1 only. No lock, no allocation, no system call; but memory for what L1 keeps compressed (STRATA_POLICY_L1_COMPRESSED).
 *   session  a session
 *   ns       a namespace
 *   key      1 .. STRATA_KEY_BYTES_MAX bytes
 *   out      receives a pinned result on STRATA_OK and STRATA_STALE
 * Returns: STRATA_OK; STRATA_STALE where the policy serves what can't be proven fresh; STRATA_MISS where L1 has
 *          nothing it may answer with; STRATA_E_KEY_SIZE; STRATA_E_NOMEM for that memory; STRATA_E_CLOSED; STRATA_E_FORKED.
 * Owns:    the caller owns a result: strata_result_release, soon.
 * Threads: the session's.
 * Blocks:  never; wait-free.
 * Since:   0.1
 */
STRATA_API int32_t strata_peek(strata_session *session, strata_namespace *ns, strata_bytes key,
                               strata_result *out);

/*
 * Reads a key: at once where L1 can answer, else from L2.
 *   session  a session
 *   ns       a namespace
 *   key      1 .. STRATA_KEY_BYTES_MAX bytes, copied where needed
 *   options  how, or NULL
 *   out      receives a pinned result where the answer comes at once
 *   done     receives the answer otherwise
 *   user     handed to done
 * Returns: STRATA_OK or STRATA_STALE with *out filled and no completion; STRATA_PENDING: exactly one completion, with
 *          STRATA_OK, STRATA_MISS, STRATA_STALE, STRATA_E_CANCELLED (strata_cancel) or another failure; STRATA_MISS at once where there is no L2, or the source is known to have nothing;
 *          STRATA_E_KEY_SIZE, STRATA_E_INVALID, STRATA_E_NOMEM, STRATA_E_OVERLOADED, STRATA_E_CLOSED, STRATA_E_FORKED:
 *          no completion.
 * Owns:    the caller owns a result: strata_result_release, soon.
 * Threads: the session's.
 * Blocks:  on a lock held for a few instructions, not on an L1 hit.
 * Since:   0.1
 */
STRATA_API int32_t strata_get(strata_session *session, strata_namespace *ns, strata_bytes key,
                              const strata_op_options *options, strata_result *out, strata_done_fn done,
                              void *user);

/*
 * Reads a key and waits for the answer.
 *   session  a session
 *   ns       a namespace
 *   key      1 .. STRATA_KEY_BYTES_MAX bytes
 *   options  how, or NULL
 *   out      receives the result on STRATA_OK and STRATA_STALE
 * Returns: STRATA_OK; STRATA_STALE; STRATA_MISS; a failure.
 * Owns:    the caller owns a result: strata_result_release.
 * Threads: the session's, outside its callbacks.
 * Blocks:  up to the deadline.
 * Since:   0.1
 */
STRATA_API int32_t strata_get_wait(strata_session *session, strata_namespace *ns, strata_bytes key,
                                   const strata_op_options *options, strata_result *out);

/* Produces the value of a key that neither tier holds. Runs on the engine's executor, or where there is none on the
   session's thread. Must see that strata_load_finish is called exactly once, now or later, on any thread. */
typedef void (*strata_loader_fn)(strata_load *load, void *user);

/*
 * Reads a key, and where neither tier has it loads it: one load per key and process at a time, the others wait for it.
 * A load that began before an invalidation answers its waiters but never gets into a cache.
 *   session  a session
 *   ns       a namespace
 *   key      1 .. STRATA_KEY_BYTES_MAX bytes, copied where needed
 *   options  how, or NULL
 *   loader   produces the value
 *   loader_user  handed to loader
 *   out      receives a pinned result where the answer comes at once
 *   done     receives the answer otherwise
 *   user     handed to done
 * Returns: as strata_get; a completion may also carry STRATA_E_LOAD_FAILED, and STRATA_MISS where the loader found
 *          nothing; either may come at once, where the policy has that remembered, without a completion.
 * Owns:    the caller owns a result: strata_result_release, soon. loader_user must live until done, and until the loader
 *          has finished where it was started before that: after done it is not started.
 * Threads: the session's.
 * Blocks:  on a lock held for a few instructions, not on an L1 hit.
 * Since:   0.1
 */
STRATA_API int32_t strata_get_or_load(strata_session *session, strata_namespace *ns, strata_bytes key,
                                      const strata_op_options *options, strata_loader_fn loader,
                                      void *loader_user, strata_result *out, strata_done_fn done,
                                      void *user);

/*
 * Reads or loads a key and waits for the answer.
 *   session  a session
 *   ns       a namespace
 *   key      1 .. STRATA_KEY_BYTES_MAX bytes
 *   options  how, or NULL
 *   loader   produces the value; without an executor it runs inside this call
 *   loader_user  handed to loader; must live until a loader that was started has finished, which may be after a timeout
 *                (after the return it is not started)
 *   out      receives the result on STRATA_OK and STRATA_STALE
 * Returns: STRATA_OK; STRATA_STALE; STRATA_MISS; STRATA_E_LOAD_FAILED; a failure.
 * Owns:    the caller owns a result: strata_result_release.
 * Threads: the session's, outside its callbacks.
 * Blocks:  up to the deadline, and as long as a loader that runs inside it takes.
 * Since:   0.1
 */
STRATA_API int32_t strata_get_or_load_wait(strata_session *session, strata_namespace *ns, strata_bytes key,
                                           const strata_op_options *options, strata_loader_fn loader,
                                           void *loader_user, strata_result *out);

/*
 * The key that a load is for.
 *   load  a load that is not finished
 * Returns: the key's bytes, alive until strata_load_finish.
 * Owns:    nothing.
 * Threads: any.
 * Blocks:  never.
 * Since:   0.1
 */
STRATA_API strata_bytes strata_load_key(const strata_load *load);

#define STRATA_ETAG_BYTES_MAX 255

#define STRATA_LOAD_DONT_CACHE 0x1u /* the value is for those who wait: no cache takes it, and what caches hold stays there */

/* What else a loader says of its value. Zero what is not used; struct_size first. */
typedef struct strata_load_result {
    uint32_t struct_size; /* sizeof(strata_load_result) */
    uint32_t flags;       /* STRATA_LOAD_DONT_CACHE */
    int64_t ttl_ms;       /* 0 for the operation's, STRATA_EXPIRES_NEVER for none */
    uint64_t app_version; /* 0 for none */
    const strata_bytes *tags; /* besides the operation's; one that was not known here before the loader was asked comes
                                 too late: the value answers who waits, but is cached only by the next load */
    uint32_t tag_count;
    uint32_t reserved_2;  /* 0 */
    strata_bytes etag;    /* what the source calls this state of the value (an ETag, a Last-Modified date, a digest): up to
                             STRATA_ETAG_BYTES_MAX bytes, kept with it for the load that refreshes it, see strata_load_etag; copied */
} strata_load_result;

/*
 * Ends a load.
 *   load     a load
 *   status   STRATA_OK with a value; STRATA_MISS where there is none; any failure; STRATA_E_CANCELLED: see strata_load_is_cancelled
 *   value    the value, copied before the call returns; ignored unless STRATA_OK
 *   details  more about it, or NULL
 * Returns: STRATA_OK; STRATA_E_VALUE_SIZE, STRATA_E_NOMEM, STRATA_E_TTL or STRATA_E_INVALID: the load ended with that
 *          failure.
 * Owns:    takes the load.
 * Threads: any, exactly once per load.
 * Blocks:  on a lock held for a few instructions.
 * Since:   0.1
 */
STRATA_API int32_t strata_load_finish(strata_load *load, int32_t status, strata_bytes value,
                                      const strata_load_result *details);

/*
 * Writes a key in L2, tells every other process, and then keeps the value in this L1.
 *   session  a session
 *   ns       a namespace
 *   key      1 .. STRATA_KEY_BYTES_MAX bytes, copied
 *   value    up to l2.value_bytes_max bytes, copied
 *   options  how, or NULL
 *   done     receives the outcome: its status and the new version, no value; NULL to not be told
 *   user     handed to done
 * Returns: STRATA_PENDING: exactly one completion (none where done is NULL), with STRATA_OK, STRATA_E_UNKNOWN_OUTCOME
 *          (the key is then bypassed until that is resolved) or a failure: nothing was written; STRATA_OK at once
 *          where there is no L2; STRATA_E_KEY_SIZE, STRATA_E_VALUE_SIZE, STRATA_E_TTL, STRATA_E_INVALID,
 *          STRATA_E_NOMEM, STRATA_E_OVERLOADED, STRATA_E_CLOSED, STRATA_E_FORKED: no completion.
 * Owns:    nothing.
 * Threads: the session's.
 * Blocks:  on a lock held for a few instructions.
 * Since:   0.1
 */
STRATA_API int32_t strata_set(strata_session *session, strata_namespace *ns, strata_bytes key,
                              strata_bytes value, const strata_op_options *options, strata_done_fn done,
                              void *user);

/*
 * Writes a key and waits for the outcome.
 *   session  a session
 *   ns       a namespace
 *   key      1 .. STRATA_KEY_BYTES_MAX bytes
 *   value    up to l2.value_bytes_max bytes
 *   options  how, or NULL
 *   out      receives the outcome's details, no value; may be NULL
 * Returns: STRATA_OK; STRATA_E_UNKNOWN_OUTCOME; a failure.
 * Owns:    nothing.
 * Threads: the session's, outside its callbacks.
 * Blocks:  up to the deadline.
 * Since:   0.1
 */
STRATA_API int32_t strata_set_wait(strata_session *session, strata_namespace *ns, strata_bytes key,
                                   strata_bytes value, const strata_op_options *options,
                                   strata_result *out);

/*
 * Removes a key from L2 and from every process's L1; loads under way can't bring the old value back. One that was started
 * and fails is repeated in the background until it is executed (coherence.recovery_ops_max); meanwhile this process
 * reads the key from nowhere but the loader.
 *   session  a session
 *   ns       a namespace
 *   key      1 .. STRATA_KEY_BYTES_MAX bytes, copied
 *   options  how, or NULL
 *   done     receives the outcome; NULL to not be told
 *   user     handed to done
 * Returns: as strata_set.
 * Owns:    nothing.
 * Threads: the session's.
 * Blocks:  on a lock held for a few instructions.
 * Since:   0.1
 */
STRATA_API int32_t strata_invalidate(strata_session *session, strata_namespace *ns, strata_bytes key,
                                     const strata_op_options *options, strata_done_fn done, void *user);

/*
 * Removes a key everywhere and waits for the outcome.
 *   session  a session
 *   ns       a namespace
 *   key      1 .. STRATA_KEY_BYTES_MAX bytes
 *   options  how, or NULL
 * Returns: STRATA_OK; STRATA_E_UNKNOWN_OUTCOME; a failure.
 * Owns:    nothing.
 * Threads: the session's, outside its callbacks.
 * Blocks:  up to the deadline.
 * Since:   0.1
 */
STRATA_API int32_t strata_invalidate_wait(strata_session *session, strata_namespace *ns, strata_bytes key,
                                          const strata_op_options *options);

#ifdef __cplusplus
}
#endif

#include <strata/analysis.h>
#include <strata/batch.h>
#include <strata/cancel.h>
#include <strata/conditions.h>
#include <strata/entries.h>
#include <strata/events.h>
#include <strata/foreign.h>
#include <strata/groups.h>
#include <strata/key.h>
#include <strata/load.h>
#include <strata/options.h>
#include <strata/lock.h>
#include <strata/policy.h>
#include <strata/rollout.h>
#include <strata/tenant.h>
#include <strata/rules.h>
#include <strata/trace.h>
#include <strata/warm.h>

#endif
