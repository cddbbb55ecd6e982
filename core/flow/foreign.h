/* SPDX-License-Identifier: Apache-2.0 */
/* Foreign namespaces, whose keys are plain ones of Redis: what the rest of the flow asks of them. */
#ifndef SX_CORE_FLOW_FOREIGN_H
#define SX_CORE_FLOW_FOREIGN_H

#include "core/flow/engine.h"

static inline bool sx_namespace_is_foreign(const strata_namespace *ns) { return SX_UNLIKELY(ns->prefix_size != 0); }

/* namespace.c */
/* prefix: of a foreign one, copied; else NULL. Lock: engine. */
int32_t sx_namespace_add_locked(strata *engine, const char *name, size_t size, uint32_t version, const strata_bytes *prefix,
                                strata_namespace **out);

/* foreign.c: namespaces that programs without Strata write */
/* The partition of a foreign key: behind the others', by its slot. */
uint32_t sx_foreign_partition(const strata_namespace *ns, const void *key, size_t key_size);
static inline uint32_t sx_namespace_partition(const strata_namespace *ns, const void *key, size_t key_size) {
    if (sx_namespace_is_foreign(ns)) return sx_foreign_partition(ns, key, key_size);
    return sx_key_partition(key, key_size, ns->engine->partitions);
}
/* Trust words: of the partitions, then of foreign keys. */
static inline uint32_t sx_words_count(const strata *engine) { return engine->partitions + SX_FOREIGN_WORDS; }
/* The whole name of a key, at out: SX_FOREIGN_NAME_BYTES_MAX. Answers its size. */
size_t sx_foreign_name(const strata_namespace *ns, const void *key, size_t key_size, uint8_t *out);
/* What options must not ask of a foreign namespace. */
bool sx_foreign_allows(const strata_namespace *ns, const strata_op_options *options);
/* A server says that the key was changed. */
void sx_foreign_changed_on_loop(void *engine, void *ns, const void *key, size_t key_size);

/* raw.c: reads and writes of foreign keys, on the loop */
/* Asks L2, as sx_fetch_begin_on_loop goes on. */
void sx_raw_fetch_on_loop(sx_flight *flight);
/* Goes on with a write, to its end. */
void sx_raw_write_on_loop(sx_write *write);

#endif
