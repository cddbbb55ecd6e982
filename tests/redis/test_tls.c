/* SPDX-License-Identifier: Apache-2.0 */
/* TLS: real servers that are who they should be or not, and streams that are cut, changed and made up. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#if !SX_TLS_OPENSSL

int main(void) { return 77; }

#else

#include <arpa/inet.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <sys/socket.h>
#include <unistd.h>

#include <strata/status.h>

#include "bench/cluster/certs.h"
#include "bench/cluster/cluster.h"
#include "l2/redis/conn.h"
#include "l2/redis/tls.h"
#include "tests/support/drive.h"

/* A cluster's folder, with certificates that are wrong in their ways beside the good ones. */
static sx_cluster *cluster, *single;
static const char *folder;

static void start(const sx_cluster_options *options, sx_cluster **out) {
    char error[256];
    if (sx_cluster_start(options, out, error, sizeof error) != 0) fail_msg("%s", error);
}

static int setup(void **state) {
    (void)state;
    start(&(sx_cluster_options){.primaries = 3, .tls = true}, &cluster);
    start(&(sx_cluster_options){.primaries = 0, .tls = true}, &single);
    folder = sx_cluster_certs(single);
    assert_int_equal(sx_certs_authority(folder, "other"), 0);
    assert_int_equal(sx_certs_issue(folder, "other", "foreign", "IP:127.0.0.1", 1), 0);
    assert_int_equal(sx_certs_issue(folder, "ca", "expired", "IP:127.0.0.1", -1), 0);
    assert_int_equal(sx_certs_issue(folder, "ca", "named", "DNS:redis.example,DNS:*.wild.example", 1), 0);
    return 0;
}

static int teardown(void **state) {
    (void)state;
    sx_cluster_stop(cluster);
    sx_cluster_stop(single);
    return 0;
}

typedef struct paths {
    char ca[300], cert[300], key[300];
} paths;

/* cert: whose certificate and key; NULL none. */
static sx_redis_tls_settings settings_of(paths *p, const char *in, const char *ca, const char *cert) {
    snprintf(p->ca, sizeof p->ca, "%s/%s.crt", in, ca);
    snprintf(p->cert, sizeof p->cert, "%s/%s.crt", in, cert == NULL ? "" : cert);
    snprintf(p->key, sizeof p->key, "%s/%s.key", in, cert == NULL ? "" : cert);
    return (sx_redis_tls_settings){.alloc = sx_alloc_default(), .ca_file = p->ca, .ca_path = "",
                                   .cert_file = cert == NULL ? "" : p->cert, .key_file = cert == NULL ? "" : p->key,
                                   .key_password = "", .name = "", .verify_name = true};
}

static sx_redis_tls *create(const sx_redis_tls_settings *settings) {
    char error[256] = "";
    sx_redis_tls *tls = NULL;
    if (sx_redis_tls_create(settings, &tls, error, sizeof error) != STRATA_OK) fail_msg("%s", error);
    return tls;
}

static sx_redis_tls *create_good(const sx_cluster *servers) {
    paths p;
    sx_redis_tls_settings settings = settings_of(&p, sx_cluster_certs(servers), "ca", "server");
    return create(&settings);
}

/* ---- real servers ---- */

static void a_cluster_under_tls(void **state) {
    (void)state;
    test_drive drive;
    test_drive_init(&drive);
    drive.settings.tls = create_good(cluster);
    test_drive_open(&drive, SX_REDIS_MODE_AUTO, sx_cluster_seeds(cluster));
    assert_true(test_drive_wait_map(&drive, 5000));
    assert_true(sx_redis_cluster_is_cluster(drive.cluster));
    for (uint32_t i = 0; i < 30; i++) { /* every node */
        char words[64], reply[256];
        snprintf(words, sizeof words, "SET key%u %u", i, i);
        assert_int_equal(test_drive_call(&drive, words, 1, 2000, NULL), SX_REDIS_OK);
        snprintf(words, sizeof words, "INCR key%u", i);
        assert_int_equal(test_drive_call(&drive, words, 1, 2000, reply), SX_REDIS_OK);
        assert_int_equal(strtoul(reply + 1, NULL, 10), i + 1);
    }
    for (uint32_t i = 0; i < 3; i++) {
        const sx_redis_node *node = sx_redis_cluster_node(drive.cluster, i);
        bool tls_port = false;
        for (uint32_t n = 0; n < 3; n++) tls_port = tls_port || node->address.port == sx_cluster_tls_port(cluster, n);
        assert_true(tls_port);
    }
    assert_in_range(sx_redis_metric_read(drive.cluster, SX_REDIS_METRIC_TLS_HANDSHAKES), 4, 8); /* the probe, three nodes; some fail on a slow machine */

    /* Lost connections come back under the sessions that they had. */
    int64_t resumed = sx_redis_metric_read(drive.cluster, SX_REDIS_METRIC_TLS_RESUMED);
    int64_t connects = sx_redis_metric_read(drive.cluster, SX_REDIS_METRIC_CONNECTS);
    for (uint32_t n = 0; n < 3; n++) free(sx_cluster_command(cluster, n, "CLIENT KILL TYPE normal"));
    for (int i = 0; i < 6000 && sx_redis_metric_read(drive.cluster, SX_REDIS_METRIC_CONNECTS) < connects + 3; i++)
        sx_loop_turn(drive.loop, 5);
    assert_in_range(sx_redis_metric_read(drive.cluster, SX_REDIS_METRIC_CONNECTS), connects + 3, connects + 6);
    assert_true(sx_redis_metric_read(drive.cluster, SX_REDIS_METRIC_TLS_RESUMED) >= resumed + 3);
    sx_redis_tls *tls = drive.settings.tls;
    test_drive_close(&drive);
    sx_redis_tls_destroy(tls);
}

static void large_values_pass_both_ways(void **state) {
    (void)state;
    enum { SIZE = 20 << 20 };
    char *words = malloc(SIZE + 16), reply[256];
    memcpy(words, "SET big ", 8);
    for (size_t i = 0; i < SIZE; i++) words[8 + i] = (char)('a' + i % 23);
    words[8 + SIZE] = '\0';
    test_drive drive;
    test_drive_init(&drive);
    drive.settings.tls = create_good(single);
    test_drive_open(&drive, SX_REDIS_MODE_STANDALONE, sx_cluster_seeds(single));
    assert_true(test_drive_wait_map(&drive, 5000));
    assert_int_equal(test_drive_call(&drive, words, 1, 20000, NULL), SX_REDIS_OK);
    assert_int_equal(test_drive_call(&drive, "STRLEN big", 1, 5000, reply), SX_REDIS_OK);
    assert_int_equal(strtol(reply + 1, NULL, 10), SIZE);
    assert_int_equal(test_drive_call(&drive, "GETRANGE big 20971510 20971519", 1, 5000, reply), SX_REDIS_OK);
    assert_memory_equal(reply, words + 8 + SIZE - 10, 10);
    assert_int_equal(test_drive_call(&drive, "GET big", 1, 20000, reply), SX_REDIS_OK);
    assert_memory_equal(reply, words + 8, 200);
    assert_int_equal(test_drive_call(&drive, "DEL big", 1, 5000, NULL), SX_REDIS_OK);
    assert_true(sx_redis_metric_read(drive.cluster, SX_REDIS_METRIC_BYTES_OUT) > SIZE);
    free(words);
    sx_redis_tls *tls = drive.settings.tls;
    test_drive_close(&drive);
    sx_redis_tls_destroy(tls);
}

/* Replies come in while the socket takes no more of what goes out. */
static void both_ways_at_once(void **state) {
    (void)state;
    enum { SIZE = 512 << 10, PAIRS = 60 };
    test_drive drive;
    test_drive_init(&drive);
    drive.settings.tls = create_good(single);
    test_drive_open(&drive, SX_REDIS_MODE_STANDALONE, sx_cluster_seeds(single));
    assert_true(test_drive_wait_map(&drive, 5000));
    char *words = malloc(SIZE + 16);
    memcpy(words, "SET k00 ", 8);
    memset(words + 8, 'a', SIZE);
    words[8 + SIZE] = '\0';
    static test_request requests[2 * PAIRS];
    assert_int_equal(test_drive_call(&drive, "PING", 0, 5000, NULL), SX_REDIS_OK);
    assert_int_equal(sx_cluster_pause(single, 0), 0); /* until its socket is full */
    for (int i = 0; i < PAIRS; i++) {
        char get[16];
        words[5] = (char)('0' + i % 7), words[6] = (char)('0' + i % 10);
        memset(words + 8, 'a' + i % 26, SIZE);
        snprintf(get, sizeof get, "GET k%c%c", words[5], words[6]);
        test_request_init(&drive, &requests[2 * i], words, 1, 30000);
        test_request_init(&drive, &requests[2 * i + 1], get, 1, 30000);
        test_request_submit(&drive, &requests[2 * i]);
        test_request_submit(&drive, &requests[2 * i + 1]);
        sx_loop_turn(drive.loop, 0);
    }
    assert_int_equal(sx_cluster_resume(single, 0), 0);
    for (int i = 0; i < 2 * PAIRS; i++) {
        assert_int_equal(test_request_wait(&drive, &requests[i]), SX_REDIS_OK);
        if (i % 2 == 1) {
            char wanted[201] = "";
            memset(wanted, 'a' + i / 2 % 26, 200);
            assert_string_equal(requests[i].reply, wanted);
        }
        test_request_deinit(&requests[i]);
    }
    free(words);
    assert_int_equal(sx_redis_metric_read(drive.cluster, SX_REDIS_METRIC_DISCONNECTS), 0);
    free(sx_cluster_command(single, 0, "FLUSHALL"));
    sx_redis_tls *tls = drive.settings.tls;
    test_drive_close(&drive);
    sx_redis_tls_destroy(tls);
}

/* What no socket took may be forgotten, and is then never executed; the rest is, in order. */
static void what_waits_can_be_forgotten(void **state) {
    (void)state;
    test_drive drive;
    test_drive_init(&drive);
    drive.settings.connect_timeout_ns = 20 * SX_NS_PER_S; /* or timeouts in a row would end the connection */
    drive.settings.tls = create_good(single);
    test_drive_open(&drive, SX_REDIS_MODE_STANDALONE, sx_cluster_seeds(single));
    assert_true(test_drive_wait_map(&drive, 5000));
    assert_int_equal(test_drive_call(&drive, "SET count 0", 1, 2000, NULL), SX_REDIS_OK);
    assert_int_equal(sx_cluster_pause(single, 0), 0);
    enum { SIZE = 16 << 20 }; /* more than sockets hold */
    char *words = malloc(SIZE + 16);
    memcpy(words, "SET big ", 8);
    memset(words + 8, 'x', SIZE);
    words[8 + SIZE] = '\0';
    test_request big, early, late;
    test_request_init(&drive, &big, words, 1, 2000);
    test_request_init(&drive, &early, "INCR count", 1, 500);
    test_request_init(&drive, &late, "INCRBY count 10", 1, 20000);
    test_request_submit(&drive, &big);
    test_drive_turn(&drive, 20);
    test_request_submit(&drive, &early);
    test_request_submit(&drive, &late);
    assert_int_equal(test_request_wait(&drive, &early), SX_REDIS_TIMEOUT_UNSENT);
    assert_int_equal(test_request_wait(&drive, &big), SX_REDIS_TIMEOUT_SENT); /* a part of it is out, the rest must follow */
    assert_int_equal(sx_cluster_resume(single, 0), 0);
    assert_int_equal(test_request_wait(&drive, &late), SX_REDIS_OK);
    assert_string_equal(late.reply, ":10");
    assert_true(sx_cluster_answers(single, 0, "16777216", "STRLEN big"));
    test_request_deinit(&big);
    test_request_deinit(&early);
    test_request_deinit(&late);
    free(words);
    free(sx_cluster_command(single, 0, "DEL big count"));
    sx_redis_tls *tls = drive.settings.tls;
    test_drive_close(&drive);
    sx_redis_tls_destroy(tls);
}

/* Has the standalone server show another certificate from now on. */
static void show(const char *name) {
    char line[800];
    snprintf(line, sizeof line, "CONFIG SET tls-cert-file %s/%s.crt tls-key-file %s/%s.key", folder, name, folder, name);
    assert_true(sx_cluster_answers(single, 0, "OK", line));
}

static void expect_refusal(sx_redis_tls *tls, uint16_t port, int32_t status, const char *why) {
    test_drive drive;
    test_drive_init(&drive);
    drive.settings.tls = tls;
    drive.settings.connect_timeout_ns = 300 * SX_NS_PER_MS;
    char nodes[64];
    snprintf(nodes, sizeof nodes, "127.0.0.1:%u", port);
    test_drive_open(&drive, SX_REDIS_MODE_AUTO, nodes);
    int32_t said = STRATA_OK;
    const char *text = "";
    for (int i = 0; i < 400 && text[0] == '\0'; i++) {
        sx_loop_turn(drive.loop, 5);
        text = sx_redis_cluster_last_error(drive.cluster, &said);
    }
    if (said != status || strstr(text, why) == NULL) fail_msg("wanted %d '%s', not %d '%s'", status, why, said, text);
    assert_false(sx_redis_cluster_has_map(drive.cluster));
    test_drive_close(&drive);
    sx_redis_tls_destroy(tls);
}

static void expect_welcome(sx_redis_tls *tls) {
    test_drive drive;
    test_drive_init(&drive);
    drive.settings.tls = tls;
    test_drive_open(&drive, SX_REDIS_MODE_AUTO, sx_cluster_seeds(single));
    if (!test_drive_wait_map(&drive, 3000)) fail_msg("%s", sx_redis_cluster_last_error(drive.cluster, NULL));
    test_drive_close(&drive);
    sx_redis_tls_destroy(tls);
}

static void who_is_not_who_it_should_be_is_refused(void **state) {
    (void)state;
    const uint16_t port = sx_cluster_tls_port(single, 0);
    paths p;
    sx_redis_tls_settings good = settings_of(&p, folder, "ca", "server"), bad = good;
    paths q;
    bad = settings_of(&q, folder, "other", "server");
    expect_refusal(create(&bad), port, STRATA_E_AUTH, "the server's certificate: ");
    bad = good;
    bad.name = "elsewhere.example";
    expect_refusal(create(&bad), port, STRATA_E_AUTH, "not for 'elsewhere.example' (see l2.tls_name)");
    bad.verify_name = false;
    expect_welcome(create(&bad));
    show("expired");
    expect_refusal(create(&good), port, STRATA_E_AUTH, "certificate has expired");
    show("named");
    expect_refusal(create(&good), port, STRATA_E_AUTH, "not for '127.0.0.1' (see l2.tls_name)");
    good.name = "redis.example";
    expect_welcome(create(&good));
    good.name = "one.wild.example";
    expect_welcome(create(&good));
    good.name = "wild.example";
    expect_refusal(create(&good), port, STRATA_E_AUTH, "not for 'wild.example'");
    good.name = "";
    show("foreign");
    expect_refusal(create(&good), port, STRATA_E_AUTH, "the server's certificate: ");
    show("server");
    expect_welcome(create(&good));
}

static void our_certificate_may_be_refused_too(void **state) {
    (void)state;
    static const char *const versions[] = {"TLSv1.3", "TLSv1.2"};
    for (size_t i = 0; i < 2; i++) {
        char line[64];
        snprintf(line, sizeof line, "CONFIG SET tls-protocols %s", versions[i]);
        assert_true(sx_cluster_answers(single, 0, "OK", line));
        paths p;
        sx_redis_tls_settings settings = settings_of(&p, folder, "ca", "foreign");
        expect_refusal(create(&settings), sx_cluster_tls_port(single, 0), STRATA_E_AUTH, "the server refuses our certificate");
        settings = settings_of(&p, folder, "ca", NULL);
        if (i == 0) expect_refusal(create(&settings), sx_cluster_tls_port(single, 0), STRATA_E_AUTH, "certificate required");
        else expect_refusal(create(&settings), sx_cluster_tls_port(single, 0), STRATA_E_AUTH, "does the server want a certificate");
        settings = settings_of(&p, folder, "ca", "server");
        expect_welcome(create(&settings));
    }
    assert_true(sx_cluster_answers(single, 0, "OK", "CONFIG SET tls-protocols TLSv1.1"));
    expect_refusal(create_good(single), sx_cluster_tls_port(single, 0), STRATA_E_PROTOCOL, "TLS: ");
    free(sx_cluster_command_argv(single, 0, 4, (const char *const[]){"CONFIG", "SET", "tls-protocols", ""}));
    expect_welcome(create_good(single));
}

static void plain_and_tls_tell_each_other_apart(void **state) {
    (void)state;
    /* A Redis waits for the end of the line that it takes the greeting for. */
    expect_refusal(create_good(single), sx_cluster_port(single, 0), STRATA_E_TIMEOUT, "no TLS handshake (does it speak TLS?) within 300 ms");
    expect_refusal(NULL, sx_cluster_tls_port(single, 0), STRATA_E_UNAVAILABLE, "does it expect TLS? l2.tls is off");
}

/* ---- files ---- */

static void refuse_files(const sx_redis_tls_settings *settings, const char *why) {
    char error[256] = "";
    sx_redis_tls *tls = NULL;
    assert_int_equal(sx_redis_tls_create(settings, &tls, error, sizeof error), STRATA_E_CONFIG);
    if (strstr(error, why) == NULL) fail_msg("'%s' is not in '%s'", why, error);
    assert_null(tls);
}

static void write_encrypted_key(const char *path, const char *from, char *password) {
    FILE *in = fopen(from, "r"), *out = fopen(path, "w");
    assert_true(in != NULL && out != NULL);
    EVP_PKEY *key = PEM_read_PrivateKey(in, NULL, NULL, NULL);
    assert_int_equal(PEM_write_PKCS8PrivateKey(out, key, EVP_aes_128_cbc(), password, (int)strlen(password), NULL, NULL), 1);
    EVP_PKEY_free(key);
    fclose(in);
    fclose(out);
}

static void files_that_are_of_no_use_are_named(void **state) {
    (void)state;
    paths p, q;
    sx_redis_tls_settings good = settings_of(&p, folder, "ca", "server"), bad = good;
    bad.ca_file = "/nowhere/ca.crt";
    refuse_files(&bad, "l2.tls_ca_file: '/nowhere/ca.crt': ");
    bad.ca_file = good.key_file;
    refuse_files(&bad, "l2.tls_ca_file: ");
    bad = good;
    bad.ca_path = "/nowhere";
    refuse_files(&bad, "l2.tls_ca_path: '/nowhere': No such file");
    bad.ca_path = folder;
    sx_redis_tls_destroy(create(&bad));
    bad = good;
    bad.cert_file = "/nowhere.crt";
    refuse_files(&bad, "l2.tls_cert_file: '/nowhere.crt': ");
    bad = settings_of(&q, folder, "ca", "foreign");
    bad.cert_file = good.cert_file; /* another's key */
    refuse_files(&bad, "l2.tls_key_file: ");
    bad = good;
    bad.key_file = "";
    refuse_files(&bad, "l2.tls_key_file: "); /* the certificate's file holds none */
    bad = good;
    bad.cert_file = "";
    refuse_files(&bad, "l2.tls_key_file without l2.tls_cert_file");
    char locked[300], password[] = "open sesame";
    snprintf(locked, sizeof locked, "%s/locked.key", folder);
    write_encrypted_key(locked, good.key_file, password);
    bad = good;
    bad.key_file = locked;
    refuse_files(&bad, "l2.tls_key_file: "); /* and nobody is asked at a terminal */
    bad.key_password = "shut sesame";
    refuse_files(&bad, "l2.tls_key_file: ");
    bad.key_password = password;
    sx_redis_tls_destroy(create(&bad));
    good.ca_file = ""; /* the system's, whatever they are */
    sx_redis_tls_destroy(create(&good));
}

/* ---- streams without sockets ---- */

typedef struct server {
    SSL_CTX *context;
    SSL *ssl;
    BIO *in, *out;
} server;

static void server_init(server *s, SSL_CTX *context) {
    s->context = context;
    s->ssl = SSL_new(context);
    s->in = BIO_new(BIO_s_mem());
    s->out = BIO_new(BIO_s_mem());
    SSL_set_bio(s->ssl, s->in, s->out);
    SSL_set_accept_state(s->ssl);
}

static SSL_CTX *server_context(void) {
    paths p;
    sx_redis_tls_settings settings = settings_of(&p, folder, "ca", "server");
    SSL_CTX *context = SSL_CTX_new(TLS_server_method());
    assert_int_equal(SSL_CTX_use_certificate_chain_file(context, settings.cert_file), 1);
    assert_int_equal(SSL_CTX_use_PrivateKey_file(context, settings.key_file, SSL_FILETYPE_PEM), 1);
    return context;
}

/* Both sides speak in turns until nothing moves. Of the server's bytes the one at wrong is changed; none from cut on
   arrive. Returns how many bytes the server sent; *status is the client's last word. */
static size_t converse(SSL_CTX *context, sx_redis_tls *tls, size_t wrong, size_t cut, uint8_t change, int32_t *status) {
    const sx_redis_address address = {.host = "127.0.0.1", .port = 1};
    sx_redis_tls_stream *stream = NULL;
    server s;
    uint8_t bytes[32768], plain[64];
    size_t sent = 0, plain_size = 0;
    bool shaken = false, told = false;
    assert_int_equal(sx_redis_tls_stream_open(tls, &address, &stream), STRATA_OK);
    server_init(&s, context);
    *status = STRATA_PENDING;
    for (int turn = 0; turn < 12 && *status == STRATA_PENDING; turn++) {
        if (!shaken) {
            *status = sx_redis_tls_stream_handshake(stream);
            shaken = *status == STRATA_OK;
        }
        if (shaken) *status = sx_redis_tls_stream_read(stream, plain, sizeof plain, &plain_size);
        sx_buf *out = sx_redis_tls_stream_out(stream);
        if (out->size > 0) BIO_write(s.in, out->data, (int)out->size);
        sx_buf_clear(out, SIZE_MAX);
        if (*status != STRATA_PENDING) break;
        if (SSL_do_handshake(s.ssl) == 1 && !told) told = SSL_write(s.ssl, "+PONG\r\n", 7) == 7;
        int size = BIO_read(s.out, bytes, sizeof bytes);
        if (size <= 0) continue;
        if (wrong >= sent && wrong < sent + (size_t)size) bytes[wrong - sent] ^= change;
        size_t arrive = sent >= cut ? 0 : (size_t)size;
        if (arrive > 0 && sent + arrive > cut) arrive = cut - sent;
        sent += (size_t)size;
        sx_redis_tls_stream_give(stream, bytes, arrive);
    }
    if (*status == STRATA_OK) {
        assert_int_equal(plain_size, 7);
        assert_memory_equal(plain, "+PONG\r\n", 7);
    } else if (*status != STRATA_PENDING) {
        assert_true(strlen(sx_redis_tls_stream_error(stream)) > 0);
    }
    sx_redis_tls_stream_close(stream);
    SSL_free(s.ssl);
    return sent;
}

/* Each byte changed, each end cut off: never another text, never a crash, never an answer without its proof. */
static void changed_and_cut_streams(void **state) {
    (void)state;
    SSL_CTX *context = server_context();
    paths p;
    sx_redis_tls_settings settings = settings_of(&p, folder, "ca", NULL);
    int32_t status;
    static const int versions[] = {TLS1_3_VERSION, TLS1_2_VERSION};
    for (size_t v = 0; v < 2; v++) {
        SSL_CTX_set_max_proto_version(context, versions[v]);
        sx_redis_tls *tls = create(&settings);
        size_t whole = converse(context, tls, SIZE_MAX, SIZE_MAX, 0, &status);
        assert_int_equal(status, STRATA_OK);
        assert_true(whole > 500);
        assert_int_equal(sx_redis_tls_handshakes(tls), 1);
        (void)converse(context, tls, SIZE_MAX, SIZE_MAX, 0, &status);
        assert_int_equal(status, STRATA_OK);
        assert_int_equal(sx_redis_tls_resumptions(tls), 1);
        sx_redis_tls_destroy(tls);
        int passed = 0;
        for (size_t at = 0; at < whole; at += 1 + at % 3) {
            tls = create(&settings); /* no session: a whole handshake */
            (void)converse(context, tls, at, SIZE_MAX, (uint8_t)(1u << at % 8), &status);
            passed += status == STRATA_OK;
            (void)converse(context, tls, SIZE_MAX, at, 0, &status);
            if (status == STRATA_OK) assert_true(at > whole - 600); /* what follows the answer is missing only */
            sx_redis_tls_destroy(tls);
        }
        /* A change that passes is one that says nothing: the version in a record's head, say. */
        if (passed > 8) fail_msg("%d changed streams passed", passed);
    }
    SSL_CTX_free(context);
}

static void made_up_streams(void **state) {
    (void)state;
    paths p;
    sx_redis_tls_settings settings = settings_of(&p, folder, "ca", NULL);
    sx_redis_tls *tls = create(&settings);
    const sx_redis_address address = {.host = "redis.example", .port = 1};
    uint64_t random = 88172645463325252u;
    for (int round = 0; round < 3000; round++) {
        uint8_t bytes[300];
        for (size_t i = 0; i < sizeof bytes; i++) {
            random ^= random << 13, random ^= random >> 7, random ^= random << 17;
            bytes[i] = (uint8_t)random;
        }
        if (round % 2 == 0) memcpy(bytes, "\x16\x03\x03", 3); /* a record's head, so that more of it is read */
        if (round % 4 == 0) bytes[3] = 0, bytes[4] = (uint8_t)(bytes[4] & 0x7f), bytes[5] = 2;
        sx_redis_tls_stream *stream = NULL;
        assert_int_equal(sx_redis_tls_stream_open(tls, &address, &stream), STRATA_OK);
        assert_int_equal(sx_redis_tls_stream_handshake(stream), STRATA_PENDING);
        assert_true(sx_redis_tls_stream_out(stream)->size > 100);
        sx_redis_tls_stream_give(stream, bytes, sizeof bytes);
        int32_t status = sx_redis_tls_stream_handshake(stream);
        assert_true(status == STRATA_PENDING || status == STRATA_E_PROTOCOL || status == STRATA_E_AUTH);
        sx_redis_tls_stream_close(stream);
    }
    assert_int_equal(sx_redis_tls_handshakes(tls), 0);
    sx_redis_tls_destroy(tls);
}

static int32_t open_once(test_alloc *alloc, void *context) {
    const sx_redis_address address = {.host = "127.0.0.1", .port = 1};
    sx_redis_tls_settings settings = *(const sx_redis_tls_settings *)context;
    settings.alloc = &alloc->table;
    char error[128];
    sx_redis_tls *tls = NULL;
    sx_redis_tls_stream *stream = NULL;
    int32_t status = sx_redis_tls_create(&settings, &tls, error, sizeof error);
    if (status == STRATA_OK) status = sx_redis_tls_stream_open(tls, &address, &stream);
    if (status == STRATA_OK) status = sx_redis_tls_stream_handshake(stream);
    sx_redis_tls_stream_close(stream);
    sx_redis_tls_destroy(tls);
    return status == STRATA_PENDING ? STRATA_OK : status;
}

static void failed_allocations(void **state) {
    (void)state;
    paths p;
    sx_redis_tls_settings settings = settings_of(&p, folder, "ca", "server");
    assert_true(test_alloc_sweep(open_once, &settings) > 2);
}

int main(void) {
    if (!sx_cluster_available()) return 77;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_cluster_under_tls),
        cmocka_unit_test(large_values_pass_both_ways),
        cmocka_unit_test(both_ways_at_once),
        cmocka_unit_test(what_waits_can_be_forgotten),
        cmocka_unit_test(who_is_not_who_it_should_be_is_refused),
        cmocka_unit_test(our_certificate_may_be_refused_too),
        cmocka_unit_test(plain_and_tls_tell_each_other_apart),
        cmocka_unit_test(files_that_are_of_no_use_are_named),
        cmocka_unit_test(changed_and_cut_streams),
        cmocka_unit_test(made_up_streams),
        cmocka_unit_test(failed_allocations),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}

#endif
