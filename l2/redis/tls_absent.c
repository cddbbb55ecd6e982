/* SPDX-License-Identifier: Apache-2.0 */
/* A build without OpenSSL: no TLS can be created, so nothing else here is ever reached. */
#include "l2/redis/tls.h"

#if !SX_TLS_OPENSSL

#include <stdio.h>

#include <strata/status.h>

int32_t sx_redis_tls_create(const sx_redis_tls_settings *settings, sx_redis_tls **out, char *error, size_t error_size) {
    (void)settings, (void)out;
    snprintf(error, error_size, "l2.tls: this build has no TLS: it was configured without OpenSSL 3 (STRATA_TLS)");
    return STRATA_E_CONFIG;
}

void sx_redis_tls_destroy(sx_redis_tls *tls) { (void)tls; }

int64_t sx_redis_tls_handshakes(const sx_redis_tls *tls) {
    (void)tls;
    return 0;
}

int64_t sx_redis_tls_resumptions(const sx_redis_tls *tls) {
    (void)tls;
    return 0;
}

int32_t sx_redis_tls_stream_open(sx_redis_tls *tls, const sx_redis_address *address, sx_redis_tls_stream **out) {
    (void)tls, (void)address, (void)out;
    return STRATA_E_CONFIG;
}

void sx_redis_tls_stream_close(sx_redis_tls_stream *stream) { (void)stream; }

void sx_redis_tls_stream_give(sx_redis_tls_stream *stream, const uint8_t *bytes, size_t size) {
    (void)stream, (void)bytes, (void)size;
}

int32_t sx_redis_tls_stream_handshake(sx_redis_tls_stream *stream) {
    (void)stream;
    return STRATA_E_CONFIG;
}

int32_t sx_redis_tls_stream_read(sx_redis_tls_stream *stream, uint8_t *to, size_t room, size_t *size) {
    (void)stream, (void)to, (void)room, (void)size;
    return STRATA_E_CONFIG;
}

int32_t sx_redis_tls_stream_write(sx_redis_tls_stream *stream, const uint8_t *bytes, size_t size) {
    (void)stream, (void)bytes, (void)size;
    return STRATA_E_CONFIG;
}

sx_buf *sx_redis_tls_stream_out(sx_redis_tls_stream *stream) {
    (void)stream;
    return NULL;
}

const char *sx_redis_tls_stream_error(const sx_redis_tls_stream *stream) {
    (void)stream;
    return "";
}

#else

typedef int sx_redis_tls_is_there; /* a file must declare something */

#endif
