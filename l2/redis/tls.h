/* SPDX-License-Identifier: Apache-2.0 */
/* TLS without sockets: what all connections of an engine share, and one connection's stream between plain bytes and
   those on the wire. */
#ifndef SX_L2_REDIS_TLS_H
#define SX_L2_REDIS_TLS_H

#include "core/memory/buf.h"
#include "core/observe/metric.h"
#include "l2/redis/conn.h"

typedef struct sx_redis_tls_settings {
    const sx_alloc *alloc;
    const char *ca_file, *ca_path; /* both "": the system's */
    const char *cert_file;         /* our certificate and those that lead to its issuer; "" none */
    const char *key_file;          /* "": in cert_file too */
    const char *key_password;      /* "" where the key is not encrypted */
    const char *name;              /* every server's, to be verified and asked for; "": the host of its address */
    bool verify_name;              /* false: any certificate of the authorities will do */
} sx_redis_tls_settings;

/* Reads the files. STRATA_E_CONFIG with a text that names option and reason, also where this build has no TLS. */
int32_t sx_redis_tls_create(const sx_redis_tls_settings *settings, sx_redis_tls **out, char *error, size_t error_size);
/* After all streams. */
void sx_redis_tls_destroy(sx_redis_tls *tls);
/* Handshakes that succeeded, and those of them that resumed a session. Any thread. */
int64_t sx_redis_tls_handshakes(const sx_redis_tls *tls);
int64_t sx_redis_tls_resumptions(const sx_redis_tls *tls);

/* All below: owner: loop. After any failure only the error and close are of use. */
typedef struct sx_redis_tls_stream sx_redis_tls_stream;

int32_t sx_redis_tls_stream_open(sx_redis_tls *tls, const sx_redis_address *address, sx_redis_tls_stream **out);
void sx_redis_tls_stream_close(sx_redis_tls_stream *stream);
/* Bytes from the wire: to be used up, by handshake and read until they answer STRATA_PENDING, before they go away. */
void sx_redis_tls_stream_give(sx_redis_tls_stream *stream, const uint8_t *bytes, size_t size);
/* STRATA_OK once it is done and the server is who it should be; STRATA_PENDING; STRATA_E_AUTH for certificates that one
   side refuses; STRATA_E_PROTOCOL; STRATA_E_NOMEM. */
int32_t sx_redis_tls_stream_handshake(sx_redis_tls_stream *stream);
/* STRATA_OK with at least one byte; STRATA_PENDING; STRATA_E_UNAVAILABLE where the server ended it; else as above. */
int32_t sx_redis_tls_stream_read(sx_redis_tls_stream *stream, uint8_t *to, size_t room, size_t *size);
int32_t sx_redis_tls_stream_write(sx_redis_tls_stream *stream, const uint8_t *bytes, size_t size);
/* What is to be sent; the caller takes it out. */
sx_buf *sx_redis_tls_stream_out(sx_redis_tls_stream *stream);
const char *sx_redis_tls_stream_error(const sx_redis_tls_stream *stream);

#endif
