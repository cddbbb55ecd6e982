/* SPDX-License-Identifier: Apache-2.0 */
/* Compression on the way to L2 and back, and in L1 where a namespace wishes it: then an item holds the bytes that L2 holds, checked as it was
   made, and each that is shown to somebody is undone on that one's thread. */
#include "core/flow/pack.h"

#include "core/flow/dictionaries.h"
#include "core/flow/engine.h"
#include "core/flow/foreign.h"

_Static_assert(SX_ITEM_LZ4 >> 6 == SX_COMPRESSION_LZ4 && SX_ITEM_ZSTD >> 6 == SX_COMPRESSION_ZSTD, "an item's flags say how");

static uint16_t flag_of(sx_compression how) { return (uint16_t)(how << 6); }
static sx_compression how_of(const sx_item *item) { return (sx_compression)((item->flags & SX_ITEM_PACKED) >> 6); }

static void add(strata *engine, uint32_t metric, size_t amount) {
    sx_counter_add_shared(&engine->counters[metric], (int64_t)amount);
}

/* ---- making ---------------------------------------------------------------------------------------------------- */

static bool is_kept(const sx_policy *policy) { return (policy->flags & STRATA_POLICY_L1_COMPRESSED) != 0; }

static sx_compression wanted(const strata_namespace *ns, const sx_policy *policy, size_t size) {
    const strata *engine = ns->engine;
    if (sx_namespace_is_foreign(ns) || (!engine->l2_on && !is_kept(policy))) return SX_COMPRESSION_NONE;
    int64_t least = policy->compress_min_bytes != 0 ? policy->compress_min_bytes : sx_hot_read(&engine->hot.compress_min);
    if ((int64_t)size < least) return SX_COMPRESSION_NONE;
    return (sx_compression)(policy->compress != 0 ? policy->compress - STRATA_COMPRESS_NONE : sx_hot_read(&engine->hot.compress));
}

/* Into one that is all zero. */
static void pack(const strata_namespace *ns, sx_packed *packed, sx_compression how, const void *value, size_t size) {
    strata *engine = ns->engine;
    sx_buf_init(&packed->bytes, &engine->alloc);
    if (how == SX_COMPRESSION_NONE) return;
    if (!sx_compress_with(&packed->bytes, how, sx_dictionary_of(ns), value, size)) {
        sx_buf_deinit(&packed->bytes);
        add(engine, SX_FLOW_METRIC_COMPRESS_SKIPPED, 1);
        return;
    }
    packed->how = how;
    add(engine, SX_FLOW_METRIC_COMPRESSED, 1);
    add(engine, SX_FLOW_METRIC_COMPRESS_SAVED, size - packed->bytes.size);
}

sx_item *sx_packed_create(const strata_namespace *ns, const sx_policy *policy, strata_bytes key, strata_bytes value, bool stored,
                          sx_item_facts *facts, sx_packed *packed) {
    strata *engine = ns->engine;
    pack(ns, packed, stored ? wanted(ns, policy, value.size) : SX_COMPRESSION_NONE, value.data, value.size);
    bool keeps = packed->how != SX_COMPRESSION_NONE && is_kept(policy);
    if (keeps) {
        facts->packed = flag_of(packed->how);
        value = (strata_bytes){packed->bytes.data, packed->bytes.size};
    }
    sx_item *item = sx_item_create(engine->heap, key.data, key.size, value.size == 0 ? "" : value.data, value.size, facts);
    if (keeps || item == NULL) sx_packed_deinit(packed);
    return item;
}

void sx_packed_deinit(sx_packed *packed) {
    if (packed->bytes.alloc != NULL) sx_buf_deinit(&packed->bytes);
    *packed = (sx_packed){0};
}

sx_envelope sx_packed_envelope(const sx_item *item, const sx_packed *packed, uint64_t id, const sx_lifetime *life) {
    sx_envelope envelope = {.id = id,
                            .app_version = sx_item_app_version(item),
                            .ttl_ms = life->ttl_ms,
                            .stale_ms = life->ttl_ms == 0 ? 0 : life->stale_ms,
                            .flags = (uint64_t)(sx_item_is_packed(item) ? how_of(item) : packed->how),
                            .payload = sx_item_value(item),
                            .payload_size = item->value_size};
    if ((item->flags & SX_ITEM_ABSENT) != 0) envelope.flags |= SX_ENVELOPE_ABSENT;
    if (packed->how != SX_COMPRESSION_NONE) {
        assert(!sx_item_is_packed(item));
        envelope.payload = packed->bytes.data;
        envelope.payload_size = packed->bytes.size;
    }
    envelope.etag = sx_item_etag(item, &envelope.etag_size);
    const sx_item_tagging *tagging = sx_item_tagging_of(item);
    if (tagging != NULL) {
        envelope.tags = tagging->bytes;
        envelope.tags_size = tagging->size;
    }
    return envelope;
}

/* ---- undoing --------------------------------------------------------------------------------------------------- */

static int32_t unpack(strata *engine, strata_bytes key, sx_compression how, const void *bytes, size_t bytes_size, size_t size,
                      const sx_item_facts *facts, sx_item **out) {
    uint32_t id = sx_compressed_dictionary(how, bytes, bytes_size);
    const sx_dictionary *dictionary = id == 0 ? NULL : sx_dictionaries_find(engine, id);
    if (id != 0 && dictionary == NULL) {
        add(engine, SX_FLOW_METRIC_DICTIONARY_UNKNOWN, 1);
        return STRATA_E_CORRUPT;
    }
    sx_item *item = sx_item_create(engine->heap, key.data, key.size, NULL, size, facts);
    if (item == NULL) return STRATA_E_NOMEM;
    if (!sx_decompress_with(how, dictionary, bytes, bytes_size, sx_item_value(item), size)) {
        sx_item_release(item);
        return STRATA_E_CORRUPT;
    }
    *out = item;
    return STRATA_OK;
}

int32_t sx_packed_item(strata *engine, const void *key, size_t key_size, const sx_envelope *envelope, bool keeps, sx_item_facts *facts,
                       sx_item **out) {
    sx_compression how = (sx_compression)(envelope->flags & SX_ENVELOPE_COMPRESSION);
    if (how == SX_COMPRESSION_NONE) {
        *out = sx_item_create(engine->heap, key, key_size, envelope->payload, envelope->payload_size, facts);
        return *out == NULL ? STRATA_E_NOMEM : STRATA_OK;
    }
    size_t size = sx_decompressed_size(envelope->payload, envelope->payload_size);
    /* The claim is bounded before memory is taken for it. */
    if (size == 0 || size > (size_t)engine->value_bytes_max) return STRATA_E_CORRUPT;
    /* Also where it is kept as it is: what enters L1 is known to be sound, so that no hit is the first to find out. */
    int32_t status = unpack(engine, (strata_bytes){key, key_size}, how, envelope->payload, envelope->payload_size, size, facts, out);
    if (status != STRATA_OK) return status;
    add(engine, SX_FLOW_METRIC_DECOMPRESSED, 1);
    if (!keeps) return STRATA_OK;
    facts->packed = flag_of(how);
    sx_item *item = sx_item_create(engine->heap, key, key_size, envelope->payload, envelope->payload_size, facts);
    if (item == NULL) return STRATA_OK;
    sx_item_release(*out);
    *out = item;
    return STRATA_OK;
}

int32_t sx_packed_undo(strata *engine, const sx_item *item, sx_item **out) {
    const uint8_t *bytes = sx_item_value(item);
    sx_item_facts facts = {.n = item->n, .id = item->id, .written_ms = item->written_ms, .ns = item->ns, .partition = item->partition};
    return unpack(engine, (strata_bytes){NULL, 0}, how_of(item), bytes, item->value_size, sx_decompressed_size(bytes, item->value_size),
                  &facts, out);
}
