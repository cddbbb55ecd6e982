/* SPDX-License-Identifier: Apache-2.0 */
/* Tenants: told apart by a hash of their names in a table of fixed size, from which none ever leaves, so that an entry is counted as
   its tenant's from its put to its end. Namespaces come first among L1's parts, then tenants, then those for whom there was no room. */
#include "core/flow/tenants.h"

#include <stdio.h>
#include <string.h>

#include "core/flow/configured.h"
#include "core/flow/foreign.h"

#define PROBES    8u             /* places where a tenant may be */
#define PART_COST 512            /* bytes of the budget for each part, about */
#define SHARE     32             /* of the budget, namespaces' parts take one such part at most */
#define TENANTS_SHARE 4          /* and tenants' one such part: else little, or nothing, of it were left for values */

#define PAGE      64u            /* places whose reads a session counts in one piece of memory */
#define CHUNK     4096u          /* places that are looked at under the engine's lock at once */

/* Reads of one tenant, as one session counts them. writer: its thread */
typedef struct counts {
    sx_counter hits, misses;
} counts;
/* Those of PAGE places, made as the first of them is read. */
typedef struct page {
    counts at[PAGE];
} page;
/* A session's pages. atomic: release by the session's thread, acquire by who sums up [order: tenant-reads]; NULL: nothing was read there */
struct sx_tenant_reads {
    uint32_t count; /* const */
    _Atomic(page *) pages[];
};
/* The same, summed up. */
typedef struct reads {
    int64_t hits, misses;
} reads;

struct sx_tenants {
    const strata *engine;
    uint32_t namespaces; /* parts of namespaces; those beyond are not counted. const, as max */
    uint32_t max;
    reads *past, *base;  /* lock: engine; by place, then the rest: of closed sessions; subtracted from what is told */
    int64_t *own;        /* lock: engine; by place, then for the rest: limits that the program has set; 0 none */
    _Atomic uint64_t hashes[]; /* atomic: relaxed; who is at a place, for ever; 0 nobody yet. A number that stands for itself */
};

static size_t size_of(uint32_t max) { return sizeof(sx_tenants) + max * sizeof(_Atomic uint64_t); }

/* ---- who it is ----------------------------------------------------------------------------------------------- */

/* The name that a key begins with, escaped as it is there: all before the first ':'. Empty where it names none. */
static strata_bytes name_in(const uint8_t *key, size_t size) {
    strata_bytes name = {key, 0};
    if (size < 2 || key[0] != '@') return name;
    const uint8_t *end = memchr(key, ':', size);
    name.size = end == NULL ? size : (size_t)(end - key);
    return name;
}

static uint64_t hash_of(const sx_tenants *tenants, strata_bytes name) {
    uint64_t hash = sx_key_hash(&tenants->engine->secret, UINT16_MAX, name.data, name.size);
    return hash == 0 ? 1 : hash;
}

/* The tenant's place; max where there is none for it, and, without claim, where it has none yet: *met says which. */
static uint32_t place_of(sx_tenants *tenants, uint64_t hash, bool claim, bool *met) {
    *met = true;
    for (uint32_t i = 0; i < PROBES && i < tenants->max; i++) {
        uint32_t at = (uint32_t)((hash + i) % tenants->max);
        uint64_t who = atomic_load_explicit(&tenants->hashes[at], memory_order_relaxed); /* relaxed: a number that stands for itself */
        if (who == 0 && !claim) {
            *met = false;
            return tenants->max;
        }
        /* relaxed: as above; where another was faster, who says who */
        if (who == 0 && atomic_compare_exchange_strong_explicit(&tenants->hashes[at], &who, hash, memory_order_relaxed, memory_order_relaxed))
            return at;
        if (who == hash) return at;
    }
    return tenants->max;
}

/* L1's hook. */
static uint32_t parts_of(void *context, const sx_item *item, uint32_t parts[SX_L1_PARTS_EACH]) {
    sx_tenants *tenants = context;
    uint32_t count = 0;
    bool met;
    if (item->ns < tenants->namespaces) parts[count++] = item->ns;
    strata_bytes name = name_in(sx_item_key(item), item->key_size);
    if (name.size != 0) parts[count++] = tenants->namespaces + place_of(tenants, hash_of(tenants, name), true, &met);
    return count;
}

int32_t sx_tenants_create(strata *engine, strata_error *error) {
    if (sx_config_int(engine->config, "flow.l1_usage") == 0) return STRATA_OK;
    uint32_t max = (uint32_t)sx_config_int(engine->config, "flow.tenants_max");
    int64_t bytes = sx_config_int(engine->config, "l1.bytes"), room = bytes / SHARE / PART_COST;
    if (max > bytes / TENANTS_SHARE / PART_COST)
        return sx_config_refuse(error, STRATA_E_CONFIG, "option 'flow.tenants_max': %u tenants, at %d bytes each, are more than a quarter of l1.bytes (%lld)",
                                (unsigned)max, PART_COST, (long long)bytes);
    sx_tenants *tenants = sx_allocate_zero(&engine->alloc, size_of(max));
    if (tenants == NULL) return STRATA_E_NOMEM;
    engine->tenants = tenants;
    tenants->engine = engine;
    tenants->max = max;
    tenants->namespaces = room < SX_NAMESPACES_MAX ? (uint32_t)room : SX_NAMESPACES_MAX;
    tenants->own = sx_allocate_zero(&engine->alloc, (max + 1) * sizeof *tenants->own);
    tenants->past = sx_allocate_zero(&engine->alloc, (max + 1) * sizeof *tenants->past);
    tenants->base = sx_allocate_zero(&engine->alloc, (max + 1) * sizeof *tenants->base);
    if (tenants->own == NULL || tenants->past == NULL || tenants->base == NULL) return STRATA_E_NOMEM;
    sx_l1_parts parts = {.count = tenants->namespaces + max + 1, .of = parts_of, .context = tenants};
    return sx_l1_watch_parts(engine->l1, &parts);
}

/* The least budget of which so many parts, at PART_COST each, are no more than namespaces' and tenants' shares together. */
static int64_t least_for(int64_t parts) { return (parts * PART_COST * SHARE + SHARE / TENANTS_SHARE) / (SHARE / TENANTS_SHARE + 1); }

int32_t sx_tenants_check_locked(const strata *engine, const sx_config *next, strata_error *error) {
    const sx_tenants *tenants = engine->tenants;
    int64_t bytes = sx_config_int(next, "l1.bytes");
    if (tenants == NULL || bytes >= sx_config_int(engine->config, "l1.bytes")) return STRATA_OK;
    int64_t parts = (int64_t)tenants->namespaces + tenants->max;
    if (bytes >= least_for(parts)) return STRATA_OK;
    return sx_config_refuse(error, STRATA_E_CONFIG, "option 'l1.bytes': %lld is less than counting %lld namespaces and tenants leaves room in; %lld or more",
                            (long long)bytes, (long long)parts, (long long)least_for(parts));
}

void sx_tenants_destroy(strata *engine) {
    sx_tenants *tenants = engine->tenants;
    if (tenants == NULL) return;
    sx_release(&engine->alloc, tenants->own, (tenants->max + 1) * sizeof *tenants->own);
    sx_release(&engine->alloc, tenants->past, (tenants->max + 1) * sizeof *tenants->past);
    sx_release(&engine->alloc, tenants->base, (tenants->max + 1) * sizeof *tenants->base);
    sx_release(&engine->alloc, tenants, size_of(tenants->max));
    engine->tenants = NULL;
}

/* ---- reads --------------------------------------------------------------------------------------------------- */

static size_t reads_size(uint32_t count) { return sizeof(struct sx_tenant_reads) + count * sizeof(_Atomic(page *)); }

static page *page_at(const strata_session *session, uint32_t number) {
    return atomic_load_explicit(&session->reads->pages[number], memory_order_acquire); /* [order: tenant-reads] observes it as it was made */
}

bool sx_tenants_session_add(strata_session *session) {
    const strata *engine = session->engine;
    if (engine->tenants == NULL || session->apart) return true;
    uint32_t count = engine->tenants->max / PAGE + 1;
    session->reads = sx_allocate_zero(&engine->alloc, reads_size(count));
    if (session->reads == NULL) return false;
    session->reads->count = count;
    return true;
}

void sx_tenants_session_free(strata_session *session) {
    const strata *engine = session->engine;
    if (session->reads == NULL) return;
    for (uint32_t i = 0; i < session->reads->count; i++) sx_release(&engine->alloc, page_at(session, i), sizeof(page));
    sx_release(&engine->alloc, session->reads, reads_size(session->reads->count));
}

static void add_reads(reads *sum, const counts *more) {
    sum->hits += sx_counter_read(&more->hits);
    sum->misses += sx_counter_read(&more->misses);
}

void sx_tenants_session_end_locked(const strata_session *session) {
    sx_tenants *tenants = session->engine->tenants;
    for (uint32_t i = 0; session->reads != NULL && i <= tenants->max; i += PAGE) {
        const page *counted = page_at(session, i / PAGE);
        for (uint32_t k = 0; counted != NULL && k < PAGE && i + k <= tenants->max; k++) add_reads(&tenants->past[i + k], &counted->at[k]);
    }
}

/* The counts of a place; NULL when out of memory: then nothing is counted. On the session's thread. */
static counts *counts_at(strata_session *session, uint32_t place) {
    page *there = page_at(session, place / PAGE);
    if (SX_UNLIKELY(there == NULL)) {
        there = sx_allocate_zero(&session->engine->alloc, sizeof *there);
        if (there == NULL) return NULL;
        atomic_store_explicit(&session->reads->pages[place / PAGE], there, memory_order_release); /* [order: tenant-reads] publishes it */
    }
    return &there->at[place % PAGE];
}

void sx_tenants_read(strata_session *session, strata_bytes key, bool hit) {
    sx_tenants *tenants = session->engine->tenants;
    strata_bytes name = name_in(key.data, key.size);
    if (name.size == 0 || session->reads == NULL) return;
    bool met;
    uint32_t place = place_of(tenants, hash_of(tenants, name), false, &met); /* who only reads takes no place from others */
    counts *counted = met ? counts_at(session, place) : NULL;
    if (counted != NULL) (void)sx_counter_add(hit ? &counted->hits : &counted->misses, 1);
}

/* Since open. */
static reads reads_at_locked(const strata *engine, uint32_t place) {
    reads sum = engine->tenants->past[place];
    for (const strata_session *s = engine->sessions; s != NULL; s = s->next) {
        const page *counted = s->reads == NULL ? NULL : page_at(s, place / PAGE);
        if (counted != NULL) add_reads(&sum, &counted->at[place % PAGE]);
    }
    return sum;
}

void sx_tenants_reset(strata *engine) {
    for (uint32_t from = 0; engine->tenants != NULL && from <= engine->tenants->max; from += CHUNK) {
        sx_lock_acquire(&engine->lock);
        for (uint32_t i = from; i <= engine->tenants->max && i < from + CHUNK; i++) engine->tenants->base[i] = reads_at_locked(engine, i);
        sx_lock_release(&engine->lock);
    }
}

/* ---- limits -------------------------------------------------------------------------------------------------- */

/* What a tenant may occupy that has no limit of its own. */
static int64_t share_locked(const strata *engine) {
    int64_t percent = sx_config_int(engine->config, "flow.tenant_part");
    if (percent == 100) return INT64_MAX;
    int64_t share = sx_config_int(engine->config, "l1.bytes") / 100 * percent;
    return share < SX_TENANTS_LIMIT_MIN ? SX_TENANTS_LIMIT_MIN : share;
}

static int64_t limit_at_locked(const strata *engine, uint32_t place) {
    int64_t own = engine->tenants->own[place];
    return own != 0 ? own : share_locked(engine);
}

void sx_tenants_apply_locked(strata *engine) {
    sx_tenants *tenants = engine->tenants;
    if (tenants == NULL) return;
    int64_t share = share_locked(engine); /* options are found by their names: once, as there may be many tenants */
    for (uint32_t i = 0; i <= tenants->max; i++)
        sx_l1_limit_part(engine->l1, tenants->namespaces + i, tenants->own[i] != 0 ? tenants->own[i] : share);
}

/* What the program said, or else the configuration; INT64_MAX: none. */
static int64_t limit_or(int64_t own, int64_t configured) {
    int64_t limit = own != 0 ? own : configured;
    return limit == 0 ? INT64_MAX : limit;
}

static sx_quota quota_locked(const strata_namespace *ns, const sx_quota *configured) {
    uint32_t priority = ns->quota.priority != STRATA_PRIORITY_DEFAULT ? ns->quota.priority : configured->priority;
    return (sx_quota){.bytes_max = limit_or(ns->quota.bytes_max, configured->bytes_max),
                      .entries_max = limit_or(ns->quota.entries_max, configured->entries_max),
                      .priority = priority != STRATA_PRIORITY_DEFAULT ? priority : STRATA_PRIORITY_NORMAL};
}

_Static_assert(STRATA_PRIORITY_LOW - 1 == (int)SX_L1_RANK_LOW && STRATA_PRIORITY_HIGH - 1 == (int)SX_L1_RANK_HIGH, "priorities are ranks and one");

void sx_tenants_limit_locked(strata_namespace *ns, const sx_quota *configured) {
    const strata *engine = ns->engine;
    sx_quota quota = quota_locked(ns, configured);
    if (ns->index >= engine->tenants->namespaces) return;
    sx_l1_limit_part(engine->l1, ns->index, quota.bytes_max);
    sx_l1_limit_part_entries(engine->l1, ns->index, quota.entries_max);
    sx_l1_rank_part(engine->l1, ns->index, (sx_l1_rank)(quota.priority - 1));
}

static int32_t refuse(strata_error *error, int32_t status, const char *text) {
    return sx_config_refuse(error, status, "%s", text);
}

static int32_t check_limit(const strata *engine, int64_t bytes_max, strata_error *error) {
    int32_t status = sx_engine_alive(engine);
    if (status != STRATA_OK) return status;
    if (engine->tenants == NULL) return refuse(error, STRATA_E_CONFIG, "option 'flow.l1_usage' is off: nothing is counted that could be limited");
    if (bytes_max != 0 && bytes_max < SX_TENANTS_LIMIT_MIN) return refuse(error, STRATA_E_CONFIG, "a limit must be 64KiB or more, or 0");
    return STRATA_OK;
}

/* The name as it stands in keys. */
static int32_t escaped(strata_bytes tenant, char buffer[SX_KEY_BYTES_MAX], strata_bytes *out) {
    strata_key key;
    strata_key_begin(&key, buffer, SX_KEY_BYTES_MAX);
    (void)strata_key_tenant(&key, tenant);
    return strata_key_finish(&key, out);
}

static int32_t find(strata *engine, strata_bytes tenant, bool claim, uint32_t *place, bool *met) {
    char buffer[SX_KEY_BYTES_MAX];
    strata_bytes name;
    int32_t status = escaped(tenant, buffer, &name);
    if (status != STRATA_OK) return STRATA_E_INVALID;
    *place = place_of(engine->tenants, hash_of(engine->tenants, name), claim, met);
    return *place == engine->tenants->max && *met ? STRATA_E_OVERLOADED : STRATA_OK;
}

int32_t strata_tenant_limit(strata *engine, strata_bytes tenant, int64_t bytes_max, strata_error *error) {
    if (engine == NULL) return STRATA_E_INVALID;
    int32_t status = check_limit(engine, bytes_max, error);
    if (status != STRATA_OK) return status;
    uint32_t place;
    bool met;
    status = find(engine, tenant, true, &place, &met);
    if (status == STRATA_E_OVERLOADED) return refuse(error, status, "no room for another tenant: option 'flow.tenants_max'");
    if (status != STRATA_OK) return status;
    sx_lock_acquire(&engine->lock);
    engine->tenants->own[place] = bytes_max;
    sx_l1_limit_part(engine->l1, engine->tenants->namespaces + place, limit_at_locked(engine, place));
    sx_lock_release(&engine->lock);
    return STRATA_OK;
}

/* What a namespace is to have; NULL leaves the rest of it. */
static int32_t set_quota(strata_namespace *ns, const sx_quota *all, int64_t bytes_max, strata_error *error) {
    strata *engine = ns->engine;
    int32_t status = check_limit(engine, bytes_max, error);
    if (status != STRATA_OK) return status;
    if (ns->index >= engine->tenants->namespaces)
        return refuse(error, STRATA_E_OVERLOADED, "l1.bytes is too small to count as many namespaces");
    sx_lock_acquire(&engine->lock);
    if (all != NULL) ns->quota = *all;
    ns->quota.bytes_max = bytes_max;
    sx_configured_apply_locked(ns);
    sx_lock_release(&engine->lock);
    return STRATA_OK;
}

int32_t strata_namespace_limit(strata_namespace *ns, int64_t bytes_max, strata_error *error) {
    return ns == NULL ? STRATA_E_INVALID : set_quota(ns, NULL, bytes_max, error);
}

int32_t strata_namespace_quota_set(strata_namespace *ns, const strata_quota *given, strata_error *error) {
    strata_quota whole;
    const strata_quota *quota = sx_struct_whole(given, &whole, sizeof whole);
    if (ns == NULL || quota == NULL || !sx_struct_fits(quota, quota->struct_size, sizeof *quota)) return STRATA_E_INVALID;
    if (quota->priority > STRATA_PRIORITY_HIGH) return refuse(error, STRATA_E_CONFIG, "a priority must be one of strata_priority");
    if (quota->entries_max != 0 && quota->entries_max < SX_TENANTS_ENTRIES_MIN)
        return refuse(error, STRATA_E_CONFIG, "a limit of entries must be 64 or more, or 0");
    sx_quota all = {.entries_max = quota->entries_max, .priority = quota->priority};
    return set_quota(ns, &all, quota->bytes_max, error);
}

/* ---- usage --------------------------------------------------------------------------------------------------- */

bool sx_tenants_usage(const strata_namespace *ns, sx_l1_usage *out) {
    const strata *engine = ns->engine;
    if (engine->tenants == NULL || ns->index >= engine->tenants->namespaces) return false;
    *out = sx_l1_usage_read(engine->l1, ns->index);
    return true;
}

static void tell(strata_usage *out, const sx_l1_usage *usage, const sx_quota *quota, reads read) {
    strata_usage whole = {.struct_size = sizeof whole, .priority = quota->priority, .entries = usage->entries, .bytes = usage->bytes,
                          .bytes_max = quota->bytes_max, .hits = read.hits, .misses = read.misses, .entries_max = quota->entries_max};
    sx_struct_fill(out, &whole, sizeof whole);
}

int32_t strata_namespace_usage(const strata_namespace *ns, strata_usage *out) {
    if (ns == NULL || out == NULL || !sx_struct_receives(out->struct_size)) return STRATA_E_INVALID;
    strata *engine = ns->engine;
    int32_t status = check_limit(engine, 0, NULL);
    if (status != STRATA_OK) return status;
    sx_l1_usage usage;
    if (!sx_tenants_usage(ns, &usage)) return STRATA_E_OVERLOADED;
    sx_lock_acquire(&engine->lock);
    sx_configured configured;
    sx_configured_read(engine->config, ns->name, ns->name_size, &configured);
    reads read;
    sx_stats_reads_locked(ns, &read.hits, &read.misses);
    sx_quota quota = quota_locked(ns, &configured.quota);
    tell(out, &usage, &quota, read);
    sx_lock_release(&engine->lock);
    return STRATA_OK;
}

int32_t strata_tenant_usage(strata *engine, strata_bytes tenant, strata_usage *out) {
    if (engine == NULL || out == NULL || !sx_struct_receives(out->struct_size)) return STRATA_E_INVALID;
    int32_t status = check_limit(engine, 0, NULL);
    uint32_t place;
    bool met;
    if (status == STRATA_OK) status = find(engine, tenant, false, &place, &met);
    if (status != STRATA_OK) return status;
    sx_l1_usage usage = {0};
    reads read = {0};
    if (met) usage = sx_l1_usage_read(engine->l1, engine->tenants->namespaces + place);
    sx_lock_acquire(&engine->lock);
    if (met) {
        read = reads_at_locked(engine, place);
        read.hits -= engine->tenants->base[place].hits;
        read.misses -= engine->tenants->base[place].misses;
    }
    tell(out, &usage, &(sx_quota){.bytes_max = limit_at_locked(engine, place), .entries_max = INT64_MAX, .priority = STRATA_PRIORITY_NORMAL}, read);
    sx_lock_release(&engine->lock);
    return STRATA_OK;
}

/* ---- a tenant's end ------------------------------------------------------------------------------------------ */

/* What matches all keys of the tenant but the one that is its name alone: that one is in name. */
static int32_t pattern_of(const strata_namespace *ns, strata_bytes tenant, char buffer[SX_KEY_BYTES_MAX], strata_bytes *name, char pattern[STRATA_PATTERN_BYTES_MAX],
                          strata_bytes *out) {
    if (ns == NULL) return STRATA_E_INVALID;
    if (sx_namespace_is_foreign(ns)) return STRATA_E_FOREIGN;
    int32_t status = escaped(tenant, buffer, name);
    size_t size = 0;
    for (size_t i = 0; i < name->size && status == STRATA_OK; i++) {
        char c = ((const char *)name->data)[i];
        bool special = strchr("*?[]\\^", c) != NULL && c != '\0';
        if (size + special + 3 > STRATA_PATTERN_BYTES_MAX) return STRATA_E_KEY_SIZE;
        if (special) pattern[size++] = '\\';
        pattern[size++] = c;
    }
    if (status != STRATA_OK) return status;
    pattern[size++] = ':';
    pattern[size++] = '*';
    *out = (strata_bytes){pattern, size};
    return STRATA_OK;
}

static int32_t clear(strata_session *session, strata_namespace *ns, strata_bytes tenant, const strata_pattern_options *options,
                     strata_done_fn done, void *user, bool sync) {
    char buffer[SX_KEY_BYTES_MAX], text[STRATA_PATTERN_BYTES_MAX];
    strata_bytes name = {0}, pattern = {0};
    int32_t status = pattern_of(ns, tenant, buffer, &name, text, &pattern);
    if (SX_BROKEN(tenant_name)) name.size = 0;
    return status == STRATA_OK ? sx_sweep_with(session, ns, pattern, name, options, done, user, sync) : status;
}

int32_t strata_tenant_clear(strata_session *session, strata_namespace *ns, strata_bytes tenant, const strata_pattern_options *options,
                            strata_done_fn done, void *user) {
    return clear(session, ns, tenant, options, done, user, false);
}

int32_t strata_tenant_clear_wait(strata_session *session, strata_namespace *ns, strata_bytes tenant,
                                 const strata_pattern_options *options) {
    return clear(session, ns, tenant, options, NULL, NULL, true);
}
