/* SPDX-License-Identifier: Apache-2.0 */
/* Dictionaries: a list that only grows, so that what was compressed with one can be read as long as the engine lives. Values say by an id in their
   zstd frame which one that was. */
#include "core/flow/dictionaries.h"

#include <string.h>

#include "core/config/option.h"

static const sx_known_dictionary *first_of(const strata *engine) {
    return atomic_load_explicit(&engine->dictionaries, memory_order_acquire); /* [order: dictionary] observes it and all behind it */
}

const sx_dictionary *sx_dictionaries_find(const strata *engine, uint32_t id) {
    for (const sx_known_dictionary *k = first_of(engine); k != NULL; k = k->next) {
        if (sx_dictionary_id(k->dictionary) == id) return k->dictionary;
    }
    return NULL;
}

/* Known already, or made. ns: whose it is to be, "" nobody's. Lock: engine, once it is open */
static int32_t know(strata *engine, strata_bytes bytes, const char *ns, size_t ns_size, const sx_dictionary **out, strata_error *error) {
    sx_dictionary *made = NULL;
    uint32_t count = 0;
    int32_t status = sx_dictionary_create(&engine->alloc, bytes.data, bytes.size, &made, error);
    if (status != STRATA_OK) return status;
    const sx_dictionary *known = sx_dictionaries_find(engine, sx_dictionary_id(made));
    const bool needs_place = known == NULL || ns_size != 0; /* one that is a namespace's stands there under its name */
    for (const sx_known_dictionary *k = first_of(engine); k != NULL; k = k->next) count++;
    if (known != NULL && !sx_dictionary_is_of(known, bytes.data, bytes.size))
        status = sx_config_refuse(error, STRATA_E_CONFIG, "another dictionary with the id %u is known already", (unsigned)sx_dictionary_id(made));
    else if (count == SX_DICTIONARIES_MAX && needs_place)
        status = sx_config_refuse(error, STRATA_E_OVERLOADED, "%u dictionaries are known already, and no more can be", SX_DICTIONARIES_MAX);
    sx_known_dictionary *place = status != STRATA_OK || !needs_place ? NULL : sx_allocate_zero(&engine->alloc, sizeof *place);
    if (status == STRATA_OK && needs_place && place == NULL) status = sx_config_refuse(error, STRATA_E_NOMEM, "out of memory");
    if (place == NULL) {
        sx_dictionary_destroy(made);
        *out = known;
        return status;
    }
    place->dictionary = made;
    memcpy(place->ns, ns, ns_size);
    place->next = atomic_load_explicit(&engine->dictionaries, memory_order_relaxed);       /* relaxed: written under the same lock */
    atomic_store_explicit(&engine->dictionaries, place, memory_order_release); /* [order: dictionary] publishes it */
    *out = made;
    return STRATA_OK;
}

/* ---- those of the configuration -------------------------------------------------------------------------------- */

/* One NAME=FILE. */
static int32_t open_one(strata *engine, const char *text, size_t size, strata_error *error) {
    char path[4096];
    const char *equals = memchr(text, '=', size);
    size_t name_size = equals == NULL ? 0 : (size_t)(equals - text), path_size = equals == NULL ? 0 : size - name_size - 1;
    if (path_size == 0 || path_size >= sizeof path || !sx_key_namespace_is_good(text, name_size))
        return sx_config_refuse(error, STRATA_E_CONFIG, "option 'flow.dictionaries': '%.*s' is not NAMESPACE=FILE", (int)(size < 200 ? size : 200), text);
    memcpy(path, equals + 1, path_size);
    path[path_size] = '\0';
    sx_buf bytes;
    sx_buf_init(&bytes, &engine->alloc);
    strata_error why = {0};
    const sx_dictionary *dictionary;
    int32_t status = sx_config_read_file(path, &bytes, &why);
    if (status == STRATA_OK) status = know(engine, (strata_bytes){bytes.data, bytes.size}, text, name_size, &dictionary, &why);
    sx_buf_deinit(&bytes);
    if (status == STRATA_OK) return STRATA_OK;
    return sx_config_refuse(error, status, "option 'flow.dictionaries': %.200s: %.200s", path, why.text);
}

int32_t sx_dictionaries_open(strata *engine, strata_error *error) {
    int32_t status = STRATA_OK;
    const char *text = sx_config_text(engine->config, "flow.dictionaries");
    while (status == STRATA_OK && *text != '\0') {
        size_t size = strcspn(text, ",");
        status = open_one(engine, text, size, error);
        text += size + (text[size] == ',');
    }
    return status;
}

void sx_dictionaries_destroy(strata *engine) {
    sx_known_dictionary *k = atomic_load_explicit(&engine->dictionaries, memory_order_relaxed); /* relaxed: nobody else is left */
    while (k != NULL) {
        sx_known_dictionary *next = k->next;
        sx_dictionary_destroy(k->dictionary);
        sx_release(&engine->alloc, k, sizeof *k);
        k = next;
    }
}

void sx_dictionaries_apply_locked(strata_namespace *ns) {
    const sx_dictionary *configured = NULL;
    if (ns->dictionary_given) return;
    for (const sx_known_dictionary *k = first_of(ns->engine); k != NULL && configured == NULL; k = k->next) {
        if (strcmp(k->ns, ns->name) == 0) configured = k->dictionary;
    }
    atomic_store_explicit(&ns->dictionary, configured, memory_order_release); /* [order: dictionary] publishes it */
}

/* ---- public ---------------------------------------------------------------------------------------------------- */

int32_t strata_namespace_dictionary(strata_namespace *ns, strata_bytes dictionary, strata_error *error) {
    if (ns == NULL || (dictionary.data == NULL && dictionary.size != 0)) return STRATA_E_INVALID;
    strata *engine = ns->engine;
    int32_t status = sx_engine_alive(engine);
    if (status != STRATA_OK) return status;
    const sx_dictionary *known = NULL;
    sx_lock_acquire(&engine->lock);
    if (dictionary.size != 0) status = know(engine, dictionary, "", 0, &known, error);
    if (status == STRATA_OK) {
        ns->dictionary_given = dictionary.size != 0;
        atomic_store_explicit(&ns->dictionary, known, memory_order_release); /* [order: dictionary] publishes it */
        sx_dictionaries_apply_locked(ns);
    }
    sx_lock_release(&engine->lock);
    return status;
}
