/* SPDX-License-Identifier: Apache-2.0 */
/* One msgpack value in the form that strata_query_hash hashes. */
#ifndef SX_CORE_CODEC_CANONICAL_H
#define SX_CORE_CODEC_CANONICAL_H

#include "core/memory/buf.h"

/* Appends the value, rewritten as include/strata/key.h says. STRATA_OK; STRATA_E_CORRUPT where it is not exactly one well-
   formed value; STRATA_E_INVALID where a map has a key twice; STRATA_E_NOMEM. On failure what was appended means nothing. */
int32_t sx_msgpack_write_canonical(sx_buf *buf, const void *value, size_t size);

#endif
