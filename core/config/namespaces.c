/* SPDX-License-Identifier: Apache-2.0 */
/* What namespaces are given by a configuration: "namespace.NAME.row", for rows of one table, and names that need not be open yet. */
#include <assert.h>
#include <string.h>

#include "core/config/values.h"

#define PREFIX_SIZE (sizeof SX_CONFIG_NAMESPACE - 1)

/* ---- names ----------------------------------------------------------------------------------------------------- */

typedef struct name_parts {
    const char *ns;
    size_t ns_size;
    size_t row;
} name_parts;

/* Names of namespaces may hold dots, rows don't. */
static bool split(const char *name, size_t size, name_parts *out) {
    assert(sx_namespace_options.count <= SX_NAMESPACE_OPTIONS_MAX);
    if (size <= PREFIX_SIZE || memcmp(name, SX_CONFIG_NAMESPACE, PREFIX_SIZE) != 0) return false;
    const char *dot = memrchr(name + PREFIX_SIZE, '.', size - PREFIX_SIZE);
    if (dot == NULL) return false;
    *out = (name_parts){.ns = name + PREFIX_SIZE, .ns_size = (size_t)(dot - name) - PREFIX_SIZE};
    size_t row_size = size - (size_t)(dot + 1 - name);
    for (; out->row < sx_namespace_options.count; out->row++) {
        const char *row = sx_namespace_options.rows[out->row].name;
        if (strlen(row) == row_size && memcmp(row, dot + 1, row_size) == 0) return sx_key_namespace_is_good(out->ns, out->ns_size);
    }
    return false;
}

static sx_config_namespace *find(const sx_config_namespaces *namespaces, const char *name, size_t size) {
    for (size_t i = 0; i < namespaces->count; i++) {
        sx_config_namespace *ns = &namespaces->all[i];
        if (strncmp(ns->name, name, size) == 0 && ns->name[size] == '\0') return ns;
    }
    return NULL;
}

/* ---- memory ---------------------------------------------------------------------------------------------------- */

static bool grow(const sx_alloc *alloc, sx_config_namespaces *namespaces, size_t capacity) {
    sx_config_namespace *all = sx_allocate_zero(alloc, capacity * sizeof *all);
    if (all == NULL) return false;
    if (namespaces->count != 0) memcpy(all, namespaces->all, namespaces->count * sizeof *all);
    sx_release(alloc, namespaces->all, namespaces->capacity * sizeof *all);
    namespaces->all = all;
    namespaces->capacity = capacity;
    return true;
}

bool sx_config_namespaces_copy(const sx_alloc *alloc, const sx_config_namespaces *from, sx_config_namespaces *to) {
    if (from->count == 0) return true;
    if (!grow(alloc, to, from->count)) return false;
    memcpy(to->all, from->all, from->count * sizeof *from->all);
    to->count = from->count;
    return true;
}

void sx_config_namespaces_deinit(const sx_alloc *alloc, sx_config_namespaces *namespaces) {
    sx_release(alloc, namespaces->all, namespaces->capacity * sizeof *namespaces->all);
    *namespaces = (sx_config_namespaces){0};
}

sx_config_value *sx_config_namespaces_place(const sx_alloc *alloc, sx_config_namespaces *namespaces, const char *name, size_t size,
                                            const sx_option **option, int32_t *status) {
    name_parts parts;
    *status = STRATA_E_CONFIG;
    if (!split(name, size, &parts)) return NULL;
    sx_config_namespace *ns = find(namespaces, parts.ns, parts.ns_size);
    if (ns == NULL) {
        *status = STRATA_E_OVERLOADED;
        if (namespaces->count == SX_CONFIG_NAMESPACES_MAX) return NULL;
        *status = STRATA_E_NOMEM;
        if (namespaces->count == namespaces->capacity && !grow(alloc, namespaces, 2 * namespaces->capacity + 4)) return NULL;
        ns = &namespaces->all[namespaces->count++];
        memcpy(ns->name, parts.ns, parts.ns_size);
    }
    *status = STRATA_OK;
    *option = &sx_namespace_options.rows[parts.row];
    return &ns->values[parts.row];
}

const sx_config_value *sx_config_namespaces_find(const sx_config_namespaces *namespaces, const char *name, size_t size,
                                                 const sx_option **option) {
    name_parts parts;
    *option = NULL;
    if (!split(name, size, &parts)) return NULL;
    *option = &sx_namespace_options.rows[parts.row];
    const sx_config_namespace *ns = find(namespaces, parts.ns, parts.ns_size);
    return ns == NULL ? NULL : &ns->values[parts.row];
}

/* So that a file which names others each time it is read again does not fill the room there is. */
void sx_config_namespaces_forget_file(sx_config_namespaces *namespaces) {
    size_t kept = 0;
    for (size_t i = 0; i < namespaces->count; i++) {
        sx_config_namespace *ns = &namespaces->all[i];
        bool given = false;
        for (size_t row = 0; row < sx_namespace_options.count; row++) {
            if (ns->values[row].source == STRATA_CONFIG_FILE) ns->values[row] = (sx_config_value){0};
            given |= ns->values[row].source != STRATA_CONFIG_DEFAULT;
        }
        if (!given) continue;
        if (kept != i) namespaces->all[kept] = *ns;
        kept++;
    }
    if (kept != namespaces->count) memset(namespaces->all + kept, 0, (namespaces->count - kept) * sizeof *namespaces->all);
    namespaces->count = kept;
}

/* ---- what they were given -------------------------------------------------------------------------------------- */

const sx_config_namespace *sx_config_namespace_at(const sx_config *config, size_t index) {
    return index < config->namespaces.count ? &config->namespaces.all[index] : NULL;
}

const char *sx_config_namespace_name(const sx_config_namespace *ns) { return ns->name; }

const sx_config_namespace *sx_config_namespace_find(const sx_config *config, const char *name, size_t size) {
    return find(&config->namespaces, name, size);
}

bool sx_config_namespace_int(const sx_config_namespace *ns, size_t row, int64_t *number) {
    if (ns == NULL || ns->values[row].source == STRATA_CONFIG_DEFAULT) return false;
    *number = ns->values[row].number;
    return true;
}

bool sx_config_namespace_differs(const sx_config_namespace *a, const sx_config_namespace *b, size_t row) {
    int64_t left = 0, right = 0;
    return sx_config_namespace_int(a, row, &left) != sx_config_namespace_int(b, row, &right) || left != right;
}

/* Whether one holds a value that the other has not. */
static bool has_another(const sx_config *a, const sx_config *b) {
    for (size_t i = 0; i < a->namespaces.count; i++) {
        const sx_config_namespace *ns = &a->namespaces.all[i], *other = find(&b->namespaces, ns->name, strlen(ns->name));
        for (size_t row = 0; row < sx_namespace_options.count; row++) {
            if (sx_config_namespace_differs(ns, other, row)) return true;
        }
    }
    return false;
}

bool sx_config_namespaces_differ(const sx_config *a, const sx_config *b) { return has_another(a, b) || has_another(b, a); }

void sx_config_swap_namespaces(sx_config *a, sx_config *b) {
    sx_config_namespaces namespaces = a->namespaces;
    a->namespaces = b->namespaces;
    b->namespaces = namespaces;
}
