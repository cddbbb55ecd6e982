/* SPDX-License-Identifier: Apache-2.0 */
/* TLS by OpenSSL 3, from 1.2 on: certificates and names are verified, sessions resumed. Bytes go through buffers, never
   through a socket, so that whoever owns the socket keeps its rules. tls_absent.c stands in where OpenSSL is not there. */
#include "l2/redis/tls.h"

#if SX_TLS_OPENSSL

#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <unistd.h>

#include <arpa/inet.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include <strata/status.h>

enum { SESSIONS_MAX = 128, ERROR_MAX = 300, WRITE_MAX = 1 << 30, ALERT_FIRST = SSL_AD_REASON_OFFSET };

/* The newest session that a server gave us. */
typedef struct session {
    sx_redis_address address;
    SSL_SESSION *ssl; /* NULL: free */
} session;

/* owner: loop, once streams are opened. */
struct sx_redis_tls {
    const sx_alloc *alloc;
    SSL_CTX *context;
    BIO_METHOD *method;
    bool verify_name;
    char name[SX_REDIS_HOST_MAX];
    session sessions[SESSIONS_MAX];
    uint32_t session_next; /* to be replaced when none is free */
    sx_counter handshakes, resumptions;
};

struct sx_redis_tls_stream {
    sx_redis_tls *tls;
    SSL *ssl;
    sx_redis_address address;
    const uint8_t *given;
    size_t given_size;
    sx_buf out;
    bool done; /* the handshake is */
    char error[ERROR_MAX];
};

/* ---- words for what went wrong ---- */

/* The oldest error in OpenSSL's queue, which is empty then. */
static unsigned long take_error(char *text, size_t size) {
    unsigned long error = ERR_get_error();
    ERR_clear_error();
    const char *reason = ERR_SYSTEM_ERROR(error) ? strerror(ERR_GET_REASON(error)) : ERR_reason_error_string(error);
    snprintf(text, size, "%.150s", reason == NULL ? "no reason given" : reason);
    return error;
}

static const char *name_of(const sx_redis_tls_stream *stream) {
    return stream->tls->name[0] != '\0' ? stream->tls->name : stream->address.host;
}

/* Whether an alert says that our certificate, or its absence, is what the server does not like. */
static bool is_about_certificates(int alert) {
    return (alert >= SSL_AD_NO_CERTIFICATE && alert <= SSL_AD_CERTIFICATE_UNKNOWN) || alert == SSL_AD_UNKNOWN_CA ||
           alert == SSL_AD_ACCESS_DENIED || alert == SSL_AD_CERTIFICATE_REQUIRED;
}

static int32_t fail_verification(sx_redis_tls_stream *stream, long result) {
    const char *why = X509_verify_cert_error_string(result);
    bool name = result == X509_V_ERR_HOSTNAME_MISMATCH || result == X509_V_ERR_IP_ADDRESS_MISMATCH;
    if (name) {
        snprintf(stream->error, sizeof stream->error, "TLS: the server's certificate is not for '%.120s' (see l2.tls_name): %s",
                 name_of(stream), why);
    } else {
        snprintf(stream->error, sizeof stream->error, "TLS: the server's certificate: %s", why);
    }
    return STRATA_E_AUTH;
}

/* What a call that did not succeed means. */
static int32_t judge(sx_redis_tls_stream *stream, int result) {
    int kind = SSL_get_error(stream->ssl, result);
    if (stream->out.failed) {
        snprintf(stream->error, sizeof stream->error, "TLS: out of memory");
        return STRATA_E_NOMEM;
    }
    if (kind == SSL_ERROR_WANT_READ) return STRATA_PENDING;
    if (kind == SSL_ERROR_ZERO_RETURN) {
        snprintf(stream->error, sizeof stream->error, "closed by the server");
        return STRATA_E_UNAVAILABLE;
    }
    char text[200];
    unsigned long error = take_error(text, sizeof text);
    long verified = SSL_get_verify_result(stream->ssl);
    int reason = ERR_GET_REASON(error), alert = reason - ALERT_FIRST;
    if (!stream->done && verified != X509_V_OK) return fail_verification(stream, verified);
    if (ERR_GET_LIB(error) == ERR_LIB_SSL && is_about_certificates(alert)) {
        snprintf(stream->error, sizeof stream->error, "TLS: the server refuses our certificate (l2.tls_cert_file): %s", text);
        return STRATA_E_AUTH;
    }
    if (alert == SSL_AD_HANDSHAKE_FAILURE && SSL_get_certificate(stream->ssl) == NULL) { /* 1.2 has no better word */
        snprintf(stream->error, sizeof stream->error, "TLS: %s: does the server want a certificate (l2.tls_cert_file)?", text);
        return STRATA_E_AUTH;
    }
    bool plain = !stream->done && (reason == SSL_R_WRONG_VERSION_NUMBER || reason == SSL_R_HTTP_REQUEST);
    snprintf(stream->error, sizeof stream->error, "TLS: %s%s", text, plain ? ": the server does not speak TLS here" : "");
    return STRATA_E_PROTOCOL;
}

/* ---- the bytes' way in and out ---- */

static int take_out(BIO *bio, const char *bytes, int size) {
    sx_redis_tls_stream *stream = BIO_get_data(bio);
    BIO_clear_retry_flags(bio);
    sx_buf_append(&stream->out, bytes, (size_t)size);
    return stream->out.failed ? -1 : size;
}

static int hand_in(BIO *bio, char *room, int size) {
    sx_redis_tls_stream *stream = BIO_get_data(bio);
    BIO_clear_retry_flags(bio);
    size_t taken = stream->given_size < (size_t)size ? stream->given_size : (size_t)size;
    if (taken == 0) {
        BIO_set_retry_read(bio);
        return -1;
    }
    memcpy(room, stream->given, taken);
    stream->given += taken;
    stream->given_size -= taken;
    return (int)taken;
}

static long control(BIO *bio, int command, long number, void *pointer) {
    (void)bio, (void)number, (void)pointer;
    return command == BIO_CTRL_FLUSH; /* nothing is kept back */
}

/* ---- sessions ---- */

static session *find_session(sx_redis_tls *tls, const sx_redis_address *address) {
    for (uint32_t i = 0; i < SESSIONS_MAX; i++) {
        session *one = &tls->sessions[i];
        if (one->ssl != NULL && sx_redis_address_same(&one->address, address)) return one;
    }
    return NULL;
}

static void forget_session(session *one) {
    if (one == NULL) return;
    SSL_SESSION_free(one->ssl);
    one->ssl = NULL;
}

/* OpenSSL tells of a session that may be resumed; 1: it is ours now. */
static int keep_session(SSL *ssl, SSL_SESSION *given) {
    sx_redis_tls_stream *stream = SSL_get_app_data(ssl);
    sx_redis_tls *tls = stream->tls;
    session *place = find_session(tls, &stream->address);
    for (uint32_t i = 0; place == NULL && i < SESSIONS_MAX; i++) {
        if (tls->sessions[i].ssl == NULL) place = &tls->sessions[i];
    }
    if (place == NULL) place = &tls->sessions[tls->session_next++ % SESSIONS_MAX];
    forget_session(place);
    place->address = stream->address;
    place->ssl = given;
    return 1;
}

/* ---- what all share ---- */

static int key_password(char *out, int size, int writing, void *context) {
    const char *password = context;
    size_t length = password == NULL ? 0 : strlen(password);
    if (writing != 0 || length > (size_t)size) return 0;
    if (length > 0) memcpy(out, password, length);
    return (int)length;
}

/* The option whose file is of no use, or NULL. */
static const char *load_files(SSL_CTX *context, const sx_redis_tls_settings *settings, const char **path) {
    *path = settings->ca_path;
    if (**path != '\0' && (access(*path, R_OK | X_OK) != 0 || SSL_CTX_load_verify_dir(context, *path) != 1)) {
        if (ERR_peek_error() == 0) ERR_raise(ERR_LIB_SYS, errno);
        return "l2.tls_ca_path";
    }
    *path = settings->ca_file;
    if (**path != '\0' && SSL_CTX_load_verify_file(context, *path) != 1) return "l2.tls_ca_file";
    if (settings->ca_file[0] == '\0' && settings->ca_path[0] == '\0' && SSL_CTX_set_default_verify_paths(context) != 1)
        return "l2.tls_ca_file";
    *path = settings->cert_file;
    if (**path == '\0') {
        *path = settings->key_file;
        return **path == '\0' ? NULL : "l2.tls_key_file without l2.tls_cert_file";
    }
    if (SSL_CTX_use_certificate_chain_file(context, *path) != 1) return "l2.tls_cert_file";
    if (settings->key_file[0] != '\0') *path = settings->key_file;
    SSL_CTX_set_default_passwd_cb(context, key_password);
    SSL_CTX_set_default_passwd_cb_userdata(context, (void *)(uintptr_t)settings->key_password);
    int ok = SSL_CTX_use_PrivateKey_file(context, *path, SSL_FILETYPE_PEM);
    SSL_CTX_set_default_passwd_cb_userdata(context, NULL);
    return ok == 1 && SSL_CTX_check_private_key(context) == 1 ? NULL : "l2.tls_key_file";
}

static bool create_context(sx_redis_tls *tls) {
    SSL_CTX *context = tls->context = SSL_CTX_new(TLS_client_method());
    BIO_METHOD *method = tls->method = BIO_meth_new(BIO_TYPE_SOURCE_SINK, "strata");
    if (context == NULL || method == NULL) return false;
    BIO_meth_set_write(method, take_out);
    BIO_meth_set_read(method, hand_in);
    BIO_meth_set_ctrl(method, control);
    SSL_CTX_set_options(context, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER, NULL);
    SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_sess_set_new_cb(context, keep_session);
    return SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION) == 1;
}

int32_t sx_redis_tls_create(const sx_redis_tls_settings *settings, sx_redis_tls **out, char *error, size_t error_size) {
    sx_redis_tls *tls = sx_allocate_zero(settings->alloc, sizeof *tls);
    snprintf(error, error_size, "l2.tls: out of memory");
    if (tls == NULL) return STRATA_E_NOMEM;
    tls->alloc = settings->alloc;
    tls->verify_name = settings->verify_name;
    snprintf(tls->name, sizeof tls->name, "%s", settings->name);
    ERR_clear_error();
    int32_t status = create_context(tls) ? STRATA_OK : STRATA_E_NOMEM;
    const char *path = "";
    const char *option = status == STRATA_OK ? load_files(tls->context, settings, &path) : NULL;
    if (option != NULL) {
        char text[200];
        (void)take_error(text, sizeof text);
        snprintf(error, error_size, "%s: '%.120s': %s", option, path, text);
        status = STRATA_E_CONFIG;
    }
    if (status == STRATA_OK) *out = tls;
    else sx_redis_tls_destroy(tls);
    return status;
}

void sx_redis_tls_destroy(sx_redis_tls *tls) {
    if (tls == NULL) return;
    for (uint32_t i = 0; i < SESSIONS_MAX; i++) forget_session(&tls->sessions[i]);
    SSL_CTX_free(tls->context);
    BIO_meth_free(tls->method);
    sx_release(tls->alloc, tls, sizeof *tls);
}

int64_t sx_redis_tls_handshakes(const sx_redis_tls *tls) { return sx_counter_read(&tls->handshakes); }
int64_t sx_redis_tls_resumptions(const sx_redis_tls *tls) { return sx_counter_read(&tls->resumptions); }

/* ---- one stream ---- */

/* Whom to expect, and whom to ask for: an address is verified too, but not asked for by name. */
static bool set_name(sx_redis_tls_stream *stream) {
    const sx_redis_tls *tls = stream->tls;
    const char *name = name_of(stream);
    uint8_t binary[sizeof(struct in6_addr)];
    bool address = inet_pton(AF_INET, name, binary) == 1 || inet_pton(AF_INET6, name, binary) == 1;
    if (address) return !tls->verify_name || X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(stream->ssl), name) == 1;
    /* What SSL_set_tlsext_host_name is, whose cast drops a const. */
    if (SSL_ctrl(stream->ssl, SSL_CTRL_SET_TLSEXT_HOSTNAME, TLSEXT_NAMETYPE_host_name, (void *)(uintptr_t)name) != 1) return false;
    SSL_set_hostflags(stream->ssl, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    return !tls->verify_name || SSL_set1_host(stream->ssl, name) == 1;
}

int32_t sx_redis_tls_stream_open(sx_redis_tls *tls, const sx_redis_address *address, sx_redis_tls_stream **out) {
    sx_redis_tls_stream *stream = sx_allocate_zero(tls->alloc, sizeof *stream);
    if (stream == NULL) return STRATA_E_NOMEM;
    stream->tls = tls;
    stream->address = *address;
    sx_buf_init(&stream->out, tls->alloc);
    stream->ssl = SSL_new(tls->context);
    BIO *bio = stream->ssl == NULL ? NULL : BIO_new(tls->method);
    if (bio != NULL) {
        BIO_set_data(bio, stream);
        BIO_set_init(bio, 1);
        SSL_set_bio(stream->ssl, bio, bio);
        SSL_set_app_data(stream->ssl, stream);
        SSL_set_connect_state(stream->ssl);
    }
    if (bio == NULL || !set_name(stream)) {
        ERR_clear_error();
        sx_redis_tls_stream_close(stream);
        return STRATA_E_NOMEM;
    }
    session *known = find_session(tls, address);
    if (known != NULL) (void)SSL_set_session(stream->ssl, known->ssl); /* refused: a whole handshake */
    ERR_clear_error();
    *out = stream;
    return STRATA_OK;
}

void sx_redis_tls_stream_close(sx_redis_tls_stream *stream) {
    if (stream == NULL) return;
    const sx_alloc *alloc = stream->tls->alloc;
    if (stream->ssl != NULL) SSL_set_quiet_shutdown(stream->ssl, 1); /* or a later one may not resume the session */
    if (stream->done) (void)SSL_shutdown(stream->ssl);
    SSL_free(stream->ssl);
    sx_buf_deinit(&stream->out);
    sx_release(alloc, stream, sizeof *stream);
}

void sx_redis_tls_stream_give(sx_redis_tls_stream *stream, const uint8_t *bytes, size_t size) {
    assert(stream->given_size == 0);
    stream->given = bytes;
    stream->given_size = size;
}

int32_t sx_redis_tls_stream_handshake(sx_redis_tls_stream *stream) {
    ERR_clear_error(); /* whatever the host left there, or the answer is about that */
    int result = SSL_do_handshake(stream->ssl);
    if (result != 1) {
        int32_t status = judge(stream, result);
        if (status != STRATA_PENDING) forget_session(find_session(stream->tls, &stream->address));
        return status;
    }
    stream->done = true;
    sx_counter_add(&stream->tls->handshakes, 1);
    if (SSL_session_reused(stream->ssl) == 1) sx_counter_add(&stream->tls->resumptions, 1);
    return STRATA_OK;
}

int32_t sx_redis_tls_stream_read(sx_redis_tls_stream *stream, uint8_t *to, size_t room, size_t *size) {
    ERR_clear_error();
    int result = SSL_read(stream->ssl, to, room > INT_MAX ? INT_MAX : (int)room);
    if (result <= 0) return judge(stream, result);
    *size = (size_t)result;
    return STRATA_OK;
}

int32_t sx_redis_tls_stream_write(sx_redis_tls_stream *stream, const uint8_t *bytes, size_t size) {
    assert(size > 0 && size <= WRITE_MAX);
    ERR_clear_error();
    int result = SSL_write(stream->ssl, bytes, (int)size);
    return result > 0 ? STRATA_OK : judge(stream, result);
}

sx_buf *sx_redis_tls_stream_out(sx_redis_tls_stream *stream) { return &stream->out; }
const char *sx_redis_tls_stream_error(const sx_redis_tls_stream *stream) { return stream->error; }

#else

typedef int sx_redis_tls_is_absent; /* see tls_absent.c; a file must declare something */

#endif
