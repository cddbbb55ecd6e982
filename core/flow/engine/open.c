/* SPDX-License-Identifier: Apache-2.0 */
/* Opening an engine: its rooms created from the ground floor up, connected, and taken down again where one fails. */
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "core/flow/configured.h"
#include "core/flow/dictionaries.h"
#include "core/flow/engine.h"
#include "core/flow/foreign.h"
#include "core/flow/rules/rules.h"
#include "core/flow/warm/warm.h"

/* ---- references ---------------------------------------------------------------------------------------------- */

void sx_engine_retain(strata *engine) {
    /* relaxed: whoever retains holds a reference already */
    atomic_fetch_add_explicit(&engine->refs, 1, memory_order_relaxed);
}

static void engine_free(strata *engine) {
    sx_alloc alloc = engine->alloc;
    if (engine->l1 != NULL) sx_l1_destroy(engine->l1);
    sx_marks_destroy(engine);
    if (engine->epoch != NULL) sx_epoch_destroy(engine->epoch);
    sx_tenants_destroy(engine);
    sx_events_destroy(engine);
    sx_analysis_destroy(engine);
    sx_dictionaries_destroy(engine);
    sx_flights_destroy(&alloc, engine->flights);
    if (engine->tags != NULL) sx_key_tags_destroy(engine->tags);
    sx_floors_destroy(engine);
    for (uint32_t i = 0; i < engine->namespace_count; i++) {
        strata_namespace *ns = engine->namespaces[i];
        sx_stats_namespace_free(engine, ns);
        sx_intervals_destroy(ns);
        sx_release(&alloc, (void *)(uintptr_t)ns->prefix, ns->prefix_size);
        sx_release(&alloc, ns, sizeof *ns);
    }
    sx_release(&alloc, engine->base, strata_metric_count() * sizeof *engine->base);
    sx_names_destroy(engine->names);
    sx_cascades_destroy(engine);
    sx_release(&alloc, engine->words, sx_words_count(engine) * sizeof *engine->words);
    strata_config_destroy(engine->config);
    if (engine->heap != NULL) sx_heap_release(engine->heap);
    if (engine->live != NULL) munmap(engine->live, (size_t)sysconf(_SC_PAGESIZE));
    pthread_key_delete(engine->thread_key);
    pthread_cond_destroy(&engine->changed);
    sx_lock_deinit(&engine->lock);
    sx_release(&alloc, engine, sizeof *engine);
}

void sx_engine_release(strata *engine) {
    if (atomic_fetch_sub_explicit(&engine->refs, 1, memory_order_acq_rel) == 1) /* [order: engine-free] */
        engine_free(engine);
}

/* ---- events from the rooms ----------------------------------------------------------------------------------- */

static void on_topology(void *context) {
    strata *engine = context;
    const sx_redis_server *server = sx_redis_cluster_server(engine->cluster);
    engine->publish.sharded = sx_redis_cluster_is_cluster(engine->cluster);
    engine->publish.set_nx_get = server != NULL && server->set_nx_get;
    sx_trust_topology_on_loop(engine->trust);
    sx_foreign_topology_on_loop(engine->foreign);
}

static void on_redirect(void *context, uint16_t slot, bool asking) {
    strata *engine = context;
    sx_trust_redirect_on_loop(engine->trust, slot, asking);
}

static void on_refused(void *context, int32_t status, const char *text) {
    strata *engine = context;
    sx_log_write(&engine->log, SX_LOG_ERROR, "L2 can't be used as configured: %s", text);
    if (status == STRATA_E_LAYOUT) /* another layout's keys are not ours to write */
        atomic_store_explicit(&engine->refused, status, memory_order_relaxed); /* relaxed: a status */
    sx_lock_acquire(&engine->lock);
    engine->refused_at_open = true;
    engine->refusal.status = status;
    strncpy(engine->refusal.text, text, sizeof engine->refusal.text - 1);
    sx_lock_release(&engine->lock);
}

static void on_agreed(void *context) {
    strata *engine = context;
    atomic_store_explicit(&engine->refused, STRATA_OK, memory_order_relaxed); /* relaxed: a status */
}

static void on_word(void *context) { sx_marks_watch_on_loop(context); }

static bool is_used(void *context) { return sx_stats_used_on_loop(context); }

static void at_thread_exit(void *sessions) {
    for (strata_session *session = sessions, *next; session != NULL; session = next) {
        next = session->thread_next;
        strata_session_close(session);
    }
}

/* ---- building ------------------------------------------------------------------------------------------------ */

static int32_t create_memory(strata *engine, const strata_open_options *options, strata_error *error) {
    bool injected = options->allocator.allocate != NULL;
    engine->live = mmap(NULL, (size_t)sysconf(_SC_PAGESIZE), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (engine->live == MAP_FAILED) {
        engine->live = NULL;
        return STRATA_E_NOMEM;
    }
    /* A kernel without it leaves a forked child unrecognised; nothing else depends on it. */
    (void)madvise(engine->live, (size_t)sysconf(_SC_PAGESIZE), MADV_WIPEONFORK);
    atomic_store_explicit(engine->live, SX_LIVE_OPEN, memory_order_relaxed); /* relaxed: nobody else has the handle */
    int32_t status = sx_heap_create(injected ? &engine->alloc : NULL, &engine->heap);
    if (status == STRATA_E_OVERLOADED && error != NULL)
        (void)snprintf(error->text, sizeof error->text,
                       "no room for another engine: a process has at most %u, with those that are closed and whose values it keeps",
                       SX_HEAPS_MAX - 1);
    if (status == STRATA_OK && sx_config_int(engine->config, "l1.huge_pages") != 0 &&
        sx_config_int(engine->config, "l1.bytes") >= SX_L1_HUGE_BYTES_MIN)
        sx_alloc_arena_huge_pages(&engine->heap->alloc);
    if (status == STRATA_OK) status = sx_key_secret_init(&engine->secret);
    if (status == STRATA_OK) status = sx_key_random_init(&engine->random);
    if (status == STRATA_OK) status = sx_epoch_create(&engine->alloc, &engine->epoch);
    if (status == STRATA_OK) status = sx_epoch_register(engine->epoch, &engine->loop_record);
    if (status == STRATA_OK) sx_events_record(engine->loop_record, &engine->events.loop);
    if (status == STRATA_OK) status = sx_flights_create(&engine->alloc, &engine->flights);
    if (status == STRATA_OK) status = sx_names_create(&engine->alloc, SX_NAMESPACES_MAX, &engine->names);
    if (status == STRATA_OK) status = sx_marks_create(engine, (uint32_t)sx_config_int(engine->config, "coherence.tags_max"));
    return status;
}

static int32_t create_l1(strata *engine, strata_error *error) {
    engine->words = sx_allocate_zero(&engine->alloc, sx_words_count(engine) * sizeof *engine->words);
    if (engine->words == NULL) return STRATA_E_NOMEM;
    for (uint32_t i = 0; i < engine->partitions; i++) { /* without L2 all that is here is the truth */
        atomic_init(&engine->words[i].lease_until_ns, INT64_MAX);
        atomic_init(&engine->words[i].generation, 1);
        atomic_init(&engine->words[i].proven_ns, INT64_MIN);
    }
    if (!engine->l1_on) return STRATA_OK;
    sx_l1_settings settings = {sx_config_int(engine->config, "l1.bytes"),
                               sx_config_int(engine->config, "l1.item_bytes_max"),
                               (sx_l1_policy)sx_config_int(engine->config, "l1.policy")};
    int32_t status = sx_l1_create(engine->heap, engine->epoch, &engine->clock, &engine->secret, &settings, &engine->l1);
    if (status == STRATA_OK) sx_events_watch_l1(engine);
    return status == STRATA_OK ? sx_tenants_create(engine, error) : status;
}

static sx_redis_settings redis_settings(strata *engine) {
    const sx_config *config = engine->config;
    sx_redis_settings settings = {
        .alloc = &engine->alloc,
        .clock = &engine->clock,
        .log = &engine->log,
        .username = sx_config_text(config, "l2.username"),
        .password = sx_config_text(config, "l2.password"),
        .password_file = sx_config_text(config, "l2.password_file"),
        .login = engine->credentials.get,
        .login_context = engine->credentials.context,
        .nat = sx_config_text(config, "l2.nat"),
        .client_name = "strata",
        .tls = engine->tls,
        .connect_timeout_ns = sx_config_int(config, "l2.connect_timeout"),
        .limits = {.depth_max = 8,
                   .elements_max = 1 << 20,
                   .bulk_bytes_max = (size_t)engine->value_bytes_max + 65536},
        .queue_bytes_max = (size_t)sx_config_int(config, "l2.queue_bytes_max"),
        .queue_ops_max = (uint32_t)sx_config_int(config, "l2.queue_ops_max"),
        .scripts = engine->scripts.all,
    };
    return settings;
}

static int32_t create_tls(strata *engine, strata_error *error) {
    const sx_config *config = engine->config;
    if (sx_config_int(config, "l2.tls") == 0) return STRATA_OK;
    const sx_redis_tls_settings settings = {.alloc = &engine->alloc,
                                            .ca_file = sx_config_text(config, "l2.tls_ca_file"),
                                            .ca_path = sx_config_text(config, "l2.tls_ca_path"),
                                            .cert_file = sx_config_text(config, "l2.tls_cert_file"),
                                            .key_file = sx_config_text(config, "l2.tls_key_file"),
                                            .key_password = sx_config_text(config, "l2.tls_key_password"),
                                            .name = sx_config_text(config, "l2.tls_name"),
                                            .verify_name = sx_config_int(config, "l2.tls_verify_name") != 0};
    char text[256] = "";
    int32_t status = sx_redis_tls_create(&settings, &engine->tls, text, sizeof text);
    if (status != STRATA_OK && error != NULL) strncpy(error->text, text, sizeof error->text - 1);
    return status;
}

static int32_t create_l2(strata *engine, strata_error *error) {
    const sx_config *config = engine->config;
    char text[256] = "";
    sx_publish_scripts_init(&engine->scripts);
    engine->gets = sx_fetch_group();
    engine->writes = sx_write_group(engine);
    int32_t status = sx_key_tags_create(&engine->alloc, engine->partitions, &engine->tags);
    if (status == STRATA_OK) status = create_tls(engine, error);
    if (status != STRATA_OK) return status;
    engine->redis_settings = redis_settings(engine);
    engine->publish = (sx_publish){.alloc = &engine->alloc, .tags = engine->tags};
    sx_redis_cluster_events cluster_events = {engine, on_topology, on_redirect};
    sx_redis_mode mode = (sx_redis_mode)(sx_config_int(config, "l2.mode") - 1); /* none|auto|standalone|cluster */
    status = sx_redis_cluster_create(engine->loop, &engine->redis_settings, mode, sx_config_text(config, "l2.nodes"),
                                     &cluster_events, &engine->cluster, text, sizeof text);
    if (status != STRATA_OK) {
        if (error != NULL) strncpy(error->text, text, sizeof error->text - 1);
        return status;
    }
    sx_store_settings store = {.retry_base_ns = sx_config_int(config, "l2.retry_base"),
                               .retry_max_ns = sx_config_int(config, "l2.retry_max"),
                               .breaker = &engine->hot.breaker,
                               .on_breaker = sx_events_breaker_on_loop,
                               .context = engine};
    status = sx_store_create(engine->loop, &engine->alloc, engine->cluster, &store, &engine->store);
    if (status != STRATA_OK) return status;
    sx_trust_settings trust = {.redis = &engine->redis_settings,
                               .partitions = engine->partitions,
                               .max_staleness_ns = sx_config_int(config, "coherence.max_staleness"),
                               .node_timeout_ns = sx_config_int(config, "coherence.node_timeout"),
                               .beat_counters = (uint32_t)sx_config_int(config, "coherence.beat_counters")};
    sx_trust_events trust_events = {engine, sx_apply_message_on_loop, on_refused, on_agreed,
                                    sx_recovery_replaced_on_loop, on_word, is_used, sx_events_trust_on_loop};
    /* Until L2 has said that its layout is ours, nothing is written there. */
    atomic_init(&engine->refused, STRATA_E_UNAVAILABLE);
    status = sx_trust_create(engine->loop, &engine->alloc, &engine->log, engine->cluster, engine->tags, &engine->publish,
                             &engine->scripts, &trust, &trust_events, engine->words, &engine->trust);
    if (status != STRATA_OK) return status;
    sx_foreign_events foreign_events = {engine, sx_foreign_changed_on_loop};
    return sx_foreign_create(engine->loop, &engine->alloc, &engine->log, engine->cluster, engine->trust, &engine->redis_settings,
                             sx_config_int(config, "coherence.foreign") != 0, &foreign_events,
                             engine->words + engine->partitions, &engine->foreign);
}

static void start_on_loop(sx_task *task) {
    strata *engine = SX_CONTAINER(task, strata, start_task);
    sx_redis_cluster_start_on_loop(engine->cluster);
    sx_trust_start_on_loop(engine->trust);
    if (engine->l1_on) sx_audit_start_on_loop(engine);
}

static int32_t create_rooms(strata *engine, const strata_open_options *options, strata_error *error) {
    const sx_config *config = engine->config;
    engine->l2_on = sx_config_int(config, "l2.mode") != 0;
    engine->l1_on = sx_config_int(config, "l1.enabled") != 0;
    engine->partitions = (uint32_t)sx_config_int(config, "coherence.partitions");
    engine->value_bytes_max = sx_config_int(config, "l2.value_bytes_max");
    engine->bulk_bytes = sx_config_int(config, "l2.bulk_bytes");
    engine->pending_max = sx_config_int(config, "flow.pending_max");
    engine->pending_bytes_max = sx_config_int(config, "flow.pending_bytes_max");
    engine->lease_ms = sx_config_int(config, "coherence.lease") / SX_NS_PER_MS;
    int32_t status = create_memory(engine, options, error);
    if (status == STRATA_OK) status = create_l1(engine, error);
    if (status == STRATA_OK) status = sx_loop_create(&engine->alloc, &engine->clock, &engine->log, &engine->loop);
    if (status == STRATA_OK && engine->l2_on) status = sx_recovery_init(engine);
    if (status == STRATA_OK && engine->l2_on) status = sx_floors_create(engine);
    if (status == STRATA_OK && engine->l2_on) status = create_l2(engine, error);
    if (status == STRATA_OK) status = sx_configured_check(engine, engine->config, error);
    if (status == STRATA_OK) status = sx_dictionaries_open(engine, error);
    if (status != STRATA_OK) return status;
    sx_engine_apply_hot(engine);
    status = sx_cascades_open(engine, error);
    if (status == STRATA_OK) status = sx_keeper_start(engine);
    if (status == STRATA_OK) status = sx_snapshots_start(engine);
    if (status == STRATA_OK) status = sx_loop_start(engine->loop);
    return status;
}

/* Takes down what create_rooms left behind; what sessions may still need goes with the last reference. */
void sx_engine_take_down(strata *engine) {
    sx_prefetch_stop(engine);
    sx_snapshots_stop(engine);
    sx_keeper_stop(engine);
    /* The loop knows no flight any more, but a load that was finished before may still be about to post its own. */
    while (atomic_load_explicit(&engine->posters, memory_order_acquire) != 0) /* [order: loop-posters] */
        sched_yield();
    if (engine->loop != NULL) sx_loop_stop(engine->loop);
    sx_foreign_destroy(engine->foreign);
    if (engine->trust != NULL) sx_trust_destroy(engine->trust);
    if (engine->store != NULL) sx_store_destroy(engine->store);
    if (engine->cluster != NULL) sx_redis_cluster_destroy(engine->cluster);
    sx_redis_tls_destroy(engine->tls);
    if (engine->window.replaced != NULL) sx_recovery_deinit(engine);
    if (engine->loop != NULL) sx_loop_destroy(engine->loop);
    engine->foreign = NULL;
    engine->trust = NULL;
    engine->store = NULL;
    engine->cluster = NULL;
    engine->tls = NULL;
    engine->loop = NULL;
    if (engine->loop_record != NULL) sx_epoch_unregister(engine->loop_record);
    engine->loop_record = NULL;
}

/* ---- opening ------------------------------------------------------------------------------------------------- */

static int32_t copy_config(strata *engine, const strata_open_options *options, strata_error *error) {
    if (options->config != NULL) {
        engine->config = sx_config_copy(options->config);
        return engine->config == NULL ? STRATA_E_NOMEM : STRATA_OK;
    }
    int32_t status = strata_config_create(&engine->config);
    return status != STRATA_OK ? status : strata_config_load_environment(engine->config, error);
}

static bool tracer_is_good(const strata_tracer *given) {
    strata_tracer whole;
    const strata_tracer *tracer = sx_struct_whole(given, &whole, sizeof whole);
    if (tracer == NULL) return true;
    return sx_struct_fits(tracer, tracer->struct_size, sizeof *tracer) && tracer->span != NULL && (tracer->flags & ~STRATA_TRACE_KEYS) == 0;
}

static int32_t check_options(const strata_open_options *options, strata_error *error) {
    const strata_allocator *allocator = &options->allocator;
    const char *wrong = NULL;
    if (!sx_struct_fits(options, options->struct_size, sizeof *options))
        wrong = "strata_open_options.struct_size is too small, or fields beyond those known are not zero";
    else if (options->reserved != 0) wrong = "strata_open_options.reserved is not 0";
    else if ((allocator->allocate == NULL) != (allocator->release == NULL))
        wrong = "strata_open_options.allocator has only one of its two functions";
    else if (!tracer_is_good(options->tracer))
        wrong = "strata_open_options.tracer has no function, flags that are not known, or a wrong struct_size";
    if (wrong == NULL) return STRATA_OK;
    if (error != NULL) strncpy(error->text, wrong, sizeof error->text - 1);
    return STRATA_E_INVALID;
}

static int32_t engine_create(const strata_open_options *options, strata **out) {
    sx_alloc alloc = *sx_alloc_default();
    if (options->allocator.allocate != NULL)
        sx_alloc_wrap(&alloc, options->allocator.context, options->allocator.allocate, options->allocator.release);
    strata *engine = sx_allocate_zero(&alloc, sizeof *engine);
    if (engine == NULL) return STRATA_E_NOMEM;
    engine->alloc = alloc;
    engine->clock = (sx_clock){options->clock.context, options->clock.now_ns};
    engine->log.context = options->log_context;
    engine->log.write = (void (*)(void *, int, const char *))options->log;
    engine->executor = options->executor;
    engine->credentials = options->credentials;
    strata_tracer whole;
    if (options->tracer != NULL) memcpy(&engine->tracer, sx_struct_whole(options->tracer, &whole, sizeof whole), sizeof engine->tracer);
    engine->config_version = 1;
    atomic_init(&engine->refs, 1);
    int32_t status = sx_lock_init(&engine->lock, SX_RANK_ENGINE);
    if (status == STRATA_OK && pthread_key_create(&engine->thread_key, at_thread_exit) != 0) {
        sx_lock_deinit(&engine->lock);
        status = STRATA_E_SYSTEM;
    }
    if (status != STRATA_OK) {
        sx_release(&alloc, engine, sizeof *engine);
        return status;
    }
    pthread_cond_init(&engine->changed, NULL);
    *out = engine;
    return STRATA_OK;
}

static void pause_ms(long ms) {
    struct timespec time = {0, ms * 1000000};
    (void)nanosleep(&time, NULL);
}

typedef struct why_task {
    sx_task task;
    strata *engine;
    int32_t status;
    char text[256];
    _Atomic int done; /* atomic: release / acquire [order: open-why] */
} why_task;

static void why_on_loop(sx_task *task) {
    why_task *why = SX_CONTAINER(task, why_task, task);
    const char *text = sx_redis_cluster_last_error(why->engine->cluster, &why->status);
    strncpy(why->text, text, sizeof why->text - 1);
    atomic_store_explicit(&why->done, 1, memory_order_release); /* [order: open-why] */
}

/* Waits for L2's first answer. A failure only where L2 answered that it can't be used; an answer that nobody waits for is none. */
static int32_t await_l2(strata *engine, strata_error *error) {
    sx_clock clock = {NULL, NULL};
    int64_t wait_ns = sx_config_int(engine->config, "l2.open_wait"), end_ns = sx_clock_now_ns(&clock) + wait_ns;
    if (wait_ns == 0) return STRATA_OK;
    bool refused = false;
    do {
        if (sx_trust_metric_read(engine->trust, SX_TRUST_METRIC_PARTITIONS_TRUSTED) == (int64_t)engine->partitions)
            return STRATA_OK;
        pause_ms(1);
        sx_lock_acquire(&engine->lock);
        refused = engine->refused_at_open;
        if (refused && error != NULL) *error = engine->refusal;
        int32_t status = engine->refusal.status;
        sx_lock_release(&engine->lock);
        if (refused) return status;
    } while (sx_clock_now_ns(&clock) < end_ns);
    why_task why = {.task = {.run_on_loop = why_on_loop}, .engine = engine};
    sx_loop_post(engine->loop, &why.task);
    while (atomic_load_explicit(&why.done, memory_order_acquire) == 0) pause_ms(1); /* [order: open-why] */
    if (why.status == STRATA_E_AUTH || why.status == STRATA_E_VERSION) {
        if (error != NULL) strncpy(error->text, why.text, sizeof error->text - 1);
        return why.status;
    }
    sx_log_write(&engine->log, SX_LOG_WARN, "opened without a proven L2, still trying: %s",
                 why.text[0] == 0 ? "not all partitions are subscribed yet" : why.text);
    return STRATA_OK;
}

int32_t strata_open(const strata_open_options *options, strata **out, strata_error *error) {
    strata_open_options defaults = {.struct_size = sizeof defaults}, whole;
    strata_error local;
    if (error == NULL) error = &local;
    memset(error, 0, sizeof *error);
    if (out == NULL) return error->status = STRATA_E_INVALID;
    options = options == NULL ? &defaults : sx_struct_whole(options, &whole, sizeof whole);
    strata *engine = NULL;
    int32_t status = check_options(options, error);
    if (status == STRATA_OK) status = engine_create(options, &engine);
    if (status == STRATA_OK) status = copy_config(engine, options, error);
    if (status == STRATA_OK) {
        status = create_rooms(engine, options, error);
        if (status == STRATA_OK && engine->l2_on) {
            engine->start_task.run_on_loop = start_on_loop;
            sx_loop_post(engine->loop, &engine->start_task);
            status = await_l2(engine, error);
            if (status != STRATA_OK) {
                (void)strata_close(engine, 0);
                engine = NULL;
            }
        }
    }
    if (status == STRATA_OK) {
        *out = engine;
        return STRATA_OK;
    }
    if (engine != NULL) {
        sx_engine_take_down(engine);
        sx_engine_release(engine);
    }
    error->status = status;
    if (error->text[0] == 0) strncpy(error->text, strata_status_text(status), sizeof error->text - 1);
    return status;
}
