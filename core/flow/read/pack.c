/* SPDX-License-Identifier: Apache-2.0 */
/* Compression on the way to L2 and back; L1 holds values as the application sees them. */
#include "core/flow/pack.h"

#include "core/flow/engine.h"

static void add(strata *engine, uint32_t metric, size_t amount) {
    sx_counter_add_shared(&engine->counters[metric], (int64_t)amount);
}

void sx_packed_make(strata *engine, sx_packed *packed, const void *value, size_t size) {
    sx_compression how = (sx_compression)sx_hot_read(&engine->hot.compress);
    sx_buf_init(&packed->bytes, &engine->alloc);
    if (!engine->l2_on || how == SX_COMPRESSION_NONE || (int64_t)size < sx_hot_read(&engine->hot.compress_min)) return;
    if (!sx_compress(&packed->bytes, how, value, size)) {
        sx_buf_deinit(&packed->bytes);
        add(engine, SX_FLOW_METRIC_COMPRESS_SKIPPED, 1);
        return;
    }
    packed->how = how;
    add(engine, SX_FLOW_METRIC_COMPRESSED, 1);
    add(engine, SX_FLOW_METRIC_COMPRESS_SAVED, size - packed->bytes.size);
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
                            .flags = (uint64_t)packed->how,
                            .payload = sx_item_value(item),
                            .payload_size = item->value_size};
    if ((item->flags & SX_ITEM_ABSENT) != 0) envelope.flags |= SX_ENVELOPE_ABSENT;
    if (packed->how != SX_COMPRESSION_NONE) {
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

int32_t sx_packed_item(strata *engine, const void *key, size_t key_size, const sx_envelope *envelope,
                       const sx_item_facts *facts, sx_item **out) {
    uint64_t how = envelope->flags & SX_ENVELOPE_COMPRESSION;
    if (how == SX_COMPRESSION_NONE) {
        *out = sx_item_create(engine->heap, key, key_size, envelope->payload, envelope->payload_size, facts);
        return *out == NULL ? STRATA_E_NOMEM : STRATA_OK;
    }
    size_t size = sx_decompressed_size(envelope->payload, envelope->payload_size);
    /* The claim is bounded before memory is taken for it. */
    if (size == 0 || size > (size_t)engine->value_bytes_max) return STRATA_E_CORRUPT;
    sx_item *item = sx_item_create(engine->heap, key, key_size, NULL, size, facts);
    if (item == NULL) return STRATA_E_NOMEM;
    if (!sx_decompress((sx_compression)how, envelope->payload, envelope->payload_size, sx_item_value(item), size)) {
        sx_item_release(item);
        return STRATA_E_CORRUPT;
    }
    add(engine, SX_FLOW_METRIC_DECOMPRESSED, 1);
    *out = item;
    return STRATA_OK;
}
