/* SPDX-License-Identifier: Apache-2.0 */
/* The set of an engine's namespaces by name and version: opened under a lock, found by the loop without one. */
#ifndef SX_CORE_FLOW_NAMES_H
#define SX_CORE_FLOW_NAMES_H

#include <stddef.h>
#include <stdint.h>

#include <strata/strata.h>

#include "core/memory/alloc.h"

#define SX_NAMESPACES_MAX 1024

typedef struct sx_names sx_names;

/* Room for max namespaces, all of it taken now: the set never moves, so that nobody who looks into it can be in the way. */
int32_t sx_names_create(const sx_alloc *alloc, uint32_t max, sx_names **out);
/* The namespaces stay their owner's. NULL is nothing to do. */
void sx_names_destroy(sx_names *names);

/* Adds one that is not there; one thread at a time. It is complete, and its fields never change again. */
void sx_names_add(sx_names *names, strata_namespace *ns);
/* Any thread, lock-free; NULL where there is none. */
strata_namespace *sx_names_find(sx_names *names, const char *name, size_t size, uint32_t version);

#endif
