/* SPDX-License-Identifier: Apache-2.0 */
/* Dictionaries of zstd that an engine knows: what values were compressed with, or are from now on. Included by engine.h's users. */
#ifndef SX_CORE_FLOW_DICTIONARIES_H
#define SX_CORE_FLOW_DICTIONARIES_H

#include "core/codec/compress.h"
#include "core/flow/engine.h"

#define SX_DICTIONARIES_MAX 64u /* each stays until the engine's end, for values that were compressed with it */

typedef struct sx_known_dictionary {
    struct sx_known_dictionary *next; /* const */
    sx_dictionary *dictionary;        /* const */
    char ns[SX_NAMESPACE_BYTES_MAX + 1]; /* const; whose it is by flow.dictionaries; "" nobody's */
} sx_known_dictionary;

/* Those of flow.dictionaries. At open */
int32_t sx_dictionaries_open(strata *engine, strata_error *error);
void sx_dictionaries_destroy(strata *engine);
/* NULL: not known here. Any thread. */
const sx_dictionary *sx_dictionaries_find(const strata *engine, uint32_t id);
/* A namespace that is opened has its own by flow.dictionaries, unless the program gave it one. Lock: engine */
void sx_dictionaries_apply_locked(strata_namespace *ns);
/* What the namespace compresses with; NULL: none. Any thread. */
static inline const sx_dictionary *sx_dictionary_of(const strata_namespace *ns) {
    return atomic_load_explicit(&ns->dictionary, memory_order_acquire); /* [order: dictionary] observes it as it was made */
}

#endif
