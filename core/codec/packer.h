/* SPDX-License-Identifier: Apache-2.0 */
/* A packer over any allocator: strata_packer_create takes the default one. */
#ifndef SX_CORE_CODEC_PACKER_H
#define SX_CORE_CODEC_PACKER_H

#include <stdint.h>

#include <strata/value.h>

#include "core/memory/alloc.h"

int32_t sx_packer_create(const sx_alloc *alloc, strata_packer **out);

#endif
