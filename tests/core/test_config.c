/* SPDX-License-Identifier: Apache-2.0 */
/* Configuration: layers, exact messages for everything that is refused, all or nothing, printing back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "core/config/values.h"
#include "tests/support/alloc.h"
#include "tests/support/options.h"

static sx_config *config;

static int setup(void **state) {
    (void)state;
    /* Nobody else's variables. Unsetting moves the rest up, so begin again after each. */
    for (char **at = environ; *at != NULL;) {
        char name[256];
        if (strncmp(*at, "STRATA_", 7) != 0) {
            at++;
            continue;
        }
        (void)snprintf(name, sizeof name, "%.*s", (int)strcspn(*at, "="), *at);
        (void)unsetenv(name);
        at = environ;
    }
    return strata_config_create(&config) == STRATA_OK ? 0 : -1;
}

static int teardown(void **state) {
    (void)state;
    strata_config_destroy(config);
    config = NULL;
    return 0;
}

static void expect(const char *name, const char *value, strata_config_source source) {
    char text[300];
    strata_config_source from = STRATA_CONFIG_PROGRAM;
    assert_int_equal(strata_config_get(config, name, text, sizeof text, &from), STRATA_OK);
    assert_string_equal(text, value);
    assert_int_equal(from, source);
}

static int32_t load(const char *text, strata_error *error) {
    return sx_config_load_text(config, "a.conf", text, strlen(text), error);
}

static void refused(const char *text, const char *message) {
    strata_error error = {0};
    assert_int_equal(load(text, &error), STRATA_E_CONFIG);
    assert_int_equal(error.status, STRATA_E_CONFIG);
    assert_string_equal(error.text, message);
    assert_int_equal(load(text, NULL), STRATA_E_CONFIG);
}

static void refused_set(const char *name, const char *value, const char *message) {
    strata_error error = {0};
    assert_int_equal(strata_config_set(config, name, value, &error), STRATA_E_CONFIG);
    assert_string_equal(error.text, message);
}

static void test_defaults(void **state) {
    (void)state;
    expect("l1.bytes", "256MiB", STRATA_CONFIG_DEFAULT);
    expect("l1.bias", "-2", STRATA_CONFIG_DEFAULT);
    expect("l2.mode", "cluster", STRATA_CONFIG_DEFAULT);
    expect("l2.password", "***", STRATA_CONFIG_DEFAULT);
    assert_int_equal(sx_config_int(config, "l1.bytes"), 256 << 20);
    assert_int_equal(sx_config_int(config, "l2.timeout"), 500 * SX_NS_PER_MS);
    assert_int_equal(sx_config_int(config, "l2.mode"), 2);
    assert_int_equal(sx_config_int(config, "l1.enabled"), 1);
    assert_string_equal(sx_config_text(config, "l2.endpoint"), "127.0.0.1:6379");
}

static void test_canonical_forms(void **state) {
    (void)state;
    static const char *const forms[][3] = {
        {"l1.bytes", "1048576", "1MiB"},
        {"l1.bytes", "1024KiB", "1MiB"},
        {"l1.bytes", "1048577", "1048577"},
        {"l1.bytes", "1536MiB", "1536MiB"},
        {"l1.bytes", "16TiB", "16TiB"},
        {"l1.bytes", "2048GiB", "2TiB"},
        {"l2.timeout", "1000us", "1ms"},
        {"l2.timeout", "1500us", "1500us"},
        {"l2.timeout", "60s", "1m"},
        {"l2.timeout", "90s", "90s"},
        {"l2.timeout", "120m", "2h"},
        {"l2.timeout", "48h", "2d"},
        {"l1.window", "0", "0%"},
        {"l1.window", "7", "7%"},
        {"l1.window", "100%", "100%"},
        {"l1.enabled", "on", "true"},
        {"l1.enabled", "off", "false"},
        {"l1.bias", "0", "0"},
        {"l1.bias", "-5", "-5"},
        {"l1.shards", "4096", "4096"},
        {"l2.mode", "off", "off"},
        {"l2.mode", "standalone", "standalone"},
        {"l2.endpoint", "", ""},
        {"l2.endpoint", "a b # c", "a b # c"},
        {"l2.password", "secret", "***"},
    };
    for (size_t i = 0; i < sizeof forms / sizeof forms[0]; i++) {
        assert_int_equal(strata_config_set(config, forms[i][0], forms[i][1], NULL), STRATA_OK);
        expect(forms[i][0], forms[i][2], STRATA_CONFIG_PROGRAM);
        if (strcmp(forms[i][2], "***") == 0) continue;
        assert_int_equal(strata_config_set(config, forms[i][0], forms[i][2], NULL),
                         STRATA_OK); /* reads its own print */
        expect(forms[i][0], forms[i][2], STRATA_CONFIG_PROGRAM);
    }
    assert_string_equal(sx_config_text(config, "l2.password"), "secret");
    char text[6];
    assert_int_equal(strata_config_get(config, "l1.bytes", text, 4, NULL), STRATA_E_VALUE_SIZE);
    assert_int_equal(strata_config_get(config, "l1.bytes", text, 5, NULL), STRATA_OK);
    assert_int_equal(strata_config_get(config, "l1.byte", text, 5, NULL), STRATA_E_CONFIG);
}

static void test_refused_values(void **state) {
    (void)state;
    refused_set("l1.bytes", "3 parsecs",
                "option 'l1.bytes': '3 parsecs' is not a size; allowed 1MiB .. 16TiB");
    refused_set("l1.bytes", "", "option 'l1.bytes': '' is not a size; allowed 1MiB .. 16TiB");
    refused_set("l1.bytes", "1mib", "option 'l1.bytes': '1mib' is not a size; allowed 1MiB .. 16TiB");
    refused_set("l1.bytes", "1.5GiB", "option 'l1.bytes': '1.5GiB' is not a size; allowed 1MiB .. 16TiB");
    refused_set("l1.bytes", " 1GiB", "option 'l1.bytes': ' 1GiB' is not a size; allowed 1MiB .. 16TiB");
    refused_set("l1.bytes", "1048575", "option 'l1.bytes': '1048575' is out of range; allowed 1MiB .. 16TiB");
    refused_set("l1.bytes", "17TiB", "option 'l1.bytes': '17TiB' is out of range; allowed 1MiB .. 16TiB");
    refused_set("l1.bytes", "-1MiB", "option 'l1.bytes': '-1MiB' is out of range; allowed 1MiB .. 16TiB");
    /* Numbers that would wrap to something allowed. */
    refused_set("l1.bytes", "18446744073710600192",
                "option 'l1.bytes': '18446744073710600192' is out of range; allowed 1MiB .. 16TiB");
    refused_set("l1.bytes", "16777217TiB",
                "option 'l1.bytes': '16777217TiB' is out of range; allowed 1MiB .. 16TiB");
    refused_set("l1.shards", "255",
                "option 'l1.shards': '255' is not a power of two; allowed 1 .. 4096, a power of two");
    refused_set("l1.shards", "0",
                "option 'l1.shards': '0' is out of range; allowed 1 .. 4096, a power of two");
    refused_set("l1.shards", "1KiB",
                "option 'l1.shards': '1KiB' is not an integer; allowed 1 .. 4096, a power of two");
    refused_set("l1.bias", "+1", "option 'l1.bias': '+1' is not an integer; allowed -5 .. 5");
    refused_set("l1.enabled", "yes",
                "option 'l1.enabled': 'yes' is not a boolean; allowed true|false|on|off");
    refused_set("l1.window", "101%", "option 'l1.window': '101%' is out of range; allowed 0% .. 100%");
    refused_set("l2.timeout", "5", "option 'l2.timeout': '5' is not a duration; allowed 1ms .. 7d");
    refused_set("l2.timeout", "8d", "option 'l2.timeout': '8d' is out of range; allowed 1ms .. 7d");
    refused_set("l2.mode", "clust",
                "option 'l2.mode': 'clust' is not one of the choices; allowed off|standalone|cluster");
    refused_set("l2.mode", "",
                "option 'l2.mode': '' is not one of the choices; allowed off|standalone|cluster");
    refused_set("l2.endpoint", "a\nb",
                "option 'l2.endpoint': 'a?b' contains a control character; allowed 0 .. 64 bytes");
    refused_set("l2.password", "hunter2hunter2hunter2",
                "option 'l2.password': the value is out of range; allowed 0 .. 16 bytes");
    refused_set("l9.bytes", "1", "unknown option 'l9.bytes'");
    expect("l1.bytes", "256MiB", STRATA_CONFIG_DEFAULT);
}

static void test_file(void **state) {
    (void)state;
    assert_int_equal(load("", NULL), STRATA_OK);
    assert_int_equal(load("# comment\n\n[l1]\nbytes = 1GiB # much\n\tshards=512\r\n [ l2 ] # the far one\n"
                          "password = \"a # \\\"b\\\\\"   # quoted\nendpoint = "
                          "host#1:6379\n[l2_tls]\nca_file = /x y/ca\n[l1]\n"
                          "enabled = off",
                          NULL),
                     STRATA_OK);
    expect("l1.bytes", "1GiB", STRATA_CONFIG_FILE);
    expect("l1.shards", "512", STRATA_CONFIG_FILE);
    expect("l1.enabled", "false", STRATA_CONFIG_FILE);
    expect("l2.endpoint", "host#1:6379", STRATA_CONFIG_FILE);
    expect("l2_tls.ca_file", "/x y/ca", STRATA_CONFIG_FILE);
    expect("l1.window", "10%", STRATA_CONFIG_DEFAULT);
    assert_string_equal(sx_config_text(config, "l2.password"), "a # \"b\\");
}

static void test_refused_files(void **state) {
    (void)state;
    refused("[l1]\nbytes = 3 parsecs\n",
            "a.conf:2: option 'l1.bytes': '3 parsecs' is not a size; allowed 1MiB .. 16TiB");
    refused("[l1]\nbyte = 3\n", "a.conf:2: unknown option 'l1.byte'");
    refused("\n[l9]\n", "a.conf:2: unknown section 'l9'");
    refused("[l]\n", "a.conf:1: unknown section 'l'");
    refused("[]\n", "a.conf:1: unknown section ''");
    refused("[l1\n", "a.conf:1: a section without its ']'");
    refused("[l1] bytes = 1GiB\n", "a.conf:1: something follows the ']' of a section");
    refused("bytes = 1GiB\n", "a.conf:1: a key before the first [section]");
    refused("[l1]\nbytes\n", "a.conf:2: expected '[section]', 'key = value' or a '#' comment");
    refused("[l1]\nl1.bytes = 1GiB\n", "a.conf:2: a key is made of a-z, 0-9 and '_'");
    refused("[l1]\n= 1GiB\n", "a.conf:2: a key is made of a-z, 0-9 and '_'");
    refused("[l1]\nbytes = 1GiB\n[l2]\n[l1]\nbytes = 1GiB\n",
            "a.conf:5: option 'l1.bytes': set twice, first in line 2");
    refused("[l2]\nendpoint = \"a\n", "a.conf:2: a value without its closing quote");
    refused("[l2]\nendpoint = \"a\\", "a.conf:2: a backslash that is followed by neither '\"' nor '\\'");
    refused("[l2]\nendpoint = \"a\\n\"", "a.conf:2: a backslash that is followed by neither '\"' nor '\\'");
    refused("[l2]\nendpoint = \"a\" b", "a.conf:2: something follows the closing quote of a value");
    strata_error error;
    assert_int_equal(sx_config_load_text(config, "a.conf", "[l1]\n#\0\n", 8, &error), STRATA_E_CONFIG);
    assert_string_equal(error.text, "a.conf:2: the line holds a NUL byte");
    static char line[4200];
    memset(line, 'x', sizeof line - 1);
    memcpy(line, "#", 1);
    refused(line, "a.conf:1: the line is longer than 4096 bytes");
    line[4096] = '\0';
    assert_int_equal(load(line, NULL), STRATA_OK);
    /* All or nothing: a good line before a bad one leaves no trace. */
    refused("[l1]\nbytes = 1GiB\nshards = 3\n",
            "a.conf:3: option 'l1.shards': '3' is not a power of two; allowed 1 .. 4096, a power of two");
    expect("l1.bytes", "256MiB", STRATA_CONFIG_DEFAULT);
    char name[400];
    memset(name, 'd', sizeof name);
    memcpy(name + 390, "/b.conf", 8);
    assert_int_equal(sx_config_load_text(config, name, "x", 1, &error), STRATA_E_CONFIG);
    assert_non_null(strstr(error.text, "d/b.conf:1: expected"));
}

static void test_layers(void **state) {
    (void)state;
    assert_int_equal(strata_config_set(config, "l1.bytes", "3MiB", NULL), STRATA_OK);
    assert_int_equal(setenv("STRATA_L1_BYTES", "2MiB", 1), 0);
    assert_int_equal(setenv("STRATA_L2_TLS_CA_FILE", "/env", 1), 0);
    assert_int_equal(setenv("STRATA_TEST_ANYTHING", "1", 1), 0);
    assert_int_equal(setenv("STRATA_BENCH_ANYTHING", "1", 1), 0);
    assert_int_equal(strata_config_load_environment(config, NULL), STRATA_OK);
    assert_int_equal(load("[l1]\nbytes = 1MiB\nshards = 2\n[l2_tls]\nca_file = /file\n", NULL), STRATA_OK);
    expect("l1.bytes", "3MiB", STRATA_CONFIG_PROGRAM);
    expect("l2_tls.ca_file", "/env", STRATA_CONFIG_ENVIRONMENT);
    expect("l1.shards", "2", STRATA_CONFIG_FILE);
    assert_int_equal(load("[l1]\nshards = 4\n", NULL),
                     STRATA_OK); /* a later file replaces within its layer */
    expect("l1.shards", "4", STRATA_CONFIG_FILE);
    assert_int_equal(setenv("STRATA_L1_SHARDS", "8", 1), 0);
    assert_int_equal(strata_config_load_environment(config, NULL), STRATA_OK);
    expect("l1.shards", "8", STRATA_CONFIG_ENVIRONMENT);
}

static void test_refused_environment(void **state) {
    (void)state;
    strata_error error;
    assert_int_equal(setenv("STRATA_L1_BYTES", "2MiB", 1), 0);
    assert_int_equal(setenv("STRATA_L2_TIMEOUT", "soon", 1), 0);
    assert_int_equal(strata_config_load_environment(config, &error), STRATA_E_CONFIG);
    assert_string_equal(
        error.text, "STRATA_L2_TIMEOUT: option 'l2.timeout': 'soon' is not a duration; allowed 1ms .. 7d");
    expect("l1.bytes", "256MiB", STRATA_CONFIG_DEFAULT);
    assert_int_equal(unsetenv("STRATA_L2_TIMEOUT"), 0);
    assert_int_equal(setenv("STRATA_L1_BYTE", "2MiB", 1), 0);
    assert_int_equal(strata_config_load_environment(config, &error), STRATA_E_CONFIG);
    assert_string_equal(error.text, "STRATA_L1_BYTE: no option has this variable");
    assert_int_equal(unsetenv("STRATA_L1_BYTE"), 0);
}

static void test_files_on_disk(void **state) {
    (void)state;
    strata_error error;
    assert_int_equal(strata_config_load_file(config, "/nonexistent/x", &error), STRATA_E_SYSTEM);
    assert_string_equal(error.text, "/nonexistent/x: can't be read: No such file or directory");
    assert_int_equal(strata_config_load_file(config, "/", &error), STRATA_E_SYSTEM);
    char path[] = "/tmp/strata-test-config-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    static const char text[] = "[l1]\nbytes = 1GiB\n";
    assert_int_equal(write(fd, text, sizeof text - 1), sizeof text - 1);
    assert_int_equal(strata_config_load_file(config, path, &error), STRATA_OK);
    expect("l1.bytes", "1GiB", STRATA_CONFIG_FILE);
    assert_int_equal(ftruncate(fd, 0), 0);
    assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
    char line[64];
    memset(line, '#', sizeof line);
    line[63] = '\n';
    for (size_t i = 0; i < (1u << 20) / sizeof line; i++)
        assert_int_equal(write(fd, line, sizeof line), sizeof line);
    assert_int_equal(strata_config_load_file(config, path, &error), STRATA_OK); /* 1 MiB to the byte */
    assert_int_equal(write(fd, "\n", 1), 1);
    assert_int_equal(strata_config_load_file(config, path, &error), STRATA_E_CONFIG);
    assert_non_null(strstr(error.text, ": the file is longer than 1MiB"));
    assert_int_equal(close(fd), 0);
    assert_int_equal(unlink(path), 0);
}

static void test_descriptions(void **state) {
    (void)state;
    assert_int_equal(strata_config_option_count(), 10);
    strata_option_info info;
    assert_int_equal(strata_config_option(0, &info), STRATA_OK);
    assert_string_equal(info.name, "l1.bytes");
    assert_string_equal(info.environment, "STRATA_L1_BYTES");
    assert_string_equal(info.type, "bytes");
    assert_string_equal(info.range, "1MiB .. 16TiB");
    assert_string_equal(info.default_text, "256MiB");
    assert_string_equal(info.doc, "Budget.");
    assert_int_equal(info.hot, 1);
    assert_int_equal(strata_config_option(6, &info), STRATA_OK);
    assert_string_equal(info.range, "off|standalone|cluster");
    assert_int_equal(strata_config_option(9, &info), STRATA_OK);
    assert_string_equal(info.environment, "STRATA_L2_TLS_CA_FILE");
    assert_int_equal(strata_config_option(10, &info), STRATA_E_END);
    assert_ptr_equal(sx_option_find("l1.bytes"), &test_l1_rows[0]);
    assert_null(sx_option_find("l1.byte"));
    assert_null(sx_option_find(""));
}

/* ---- namespaces ------------------------------------------------------------------------------------------------ */

static int64_t given(const sx_config *c, const char *ns, size_t row) {
    int64_t number = -1;
    (void)sx_config_namespace_int(sx_config_namespace_find(c, ns, strlen(ns)), row, &number);
    return number;
}

static void test_namespaces(void **state) {
    (void)state;
    expect("namespace.users.ttl", "l1.ttl", STRATA_CONFIG_DEFAULT);
    assert_int_equal(load("[namespace.users]\nttl = 60s # a minute\n[l1]\nbytes = 1GiB\n[ namespace.a.B-c_9 ]\npart = \"5%\"\nenabled = off\n"
                          "[namespace.users]\npart = 0%\n",
                          NULL),
                     STRATA_OK);
    expect("namespace.users.ttl", "1m", STRATA_CONFIG_FILE);
    expect("namespace.users.part", "0%", STRATA_CONFIG_FILE);
    expect("namespace.users.enabled", "true", STRATA_CONFIG_DEFAULT);
    expect("namespace.a.B-c_9.enabled", "false", STRATA_CONFIG_FILE);
    expect("l1.bytes", "1GiB", STRATA_CONFIG_FILE);
    assert_int_equal(given(config, "users", 0), 60 * SX_NS_PER_S);
    assert_int_equal(given(config, "users", 1), 0);
    assert_int_equal(given(config, "users", 2), -1);
    assert_int_equal(given(config, "user", 0), -1);
    /* A lower layer never replaces a higher one, field by field. */
    assert_int_equal(strata_config_set(config, "namespace.users.ttl", "2m", NULL), STRATA_OK);
    assert_int_equal(load("[namespace.users]\nttl = 3m\npart = 7%\n", NULL), STRATA_OK);
    expect("namespace.users.ttl", "2m", STRATA_CONFIG_PROGRAM);
    expect("namespace.users.part", "7%", STRATA_CONFIG_FILE);
    sx_config *copy = sx_config_copy(config);
    assert_non_null(copy);
    assert_false(sx_config_namespaces_differ(config, copy));
    assert_int_equal(sx_config_forget_file(config), STRATA_OK);
    expect("namespace.users.ttl", "2m", STRATA_CONFIG_PROGRAM);
    expect("namespace.users.part", "none", STRATA_CONFIG_DEFAULT);
    expect("namespace.a.B-c_9.part", "none", STRATA_CONFIG_DEFAULT);
    assert_null(sx_config_namespace_at(config, 1));
    assert_true(sx_config_namespaces_differ(config, copy));
    assert_true(sx_config_namespaces_differ(copy, config));
    assert_int_equal(given(copy, "users", 1), 7);
    strata_config_destroy(copy);
}

static void test_refused_namespaces(void **state) {
    (void)state;
    refused("[namespace.users]\nttl = 60\n", "a.conf:2: option 'namespace.users.ttl': '60' is not a duration; allowed 1ms .. 1d");
    refused("[l1]\nbytes = 1GiB\n[namespace.users]\npart = 5%\n\npart = 6%\n",
            "a.conf:6: option 'namespace.users.part': set twice, first in line 4");
    refused("[namespace.users]\nparts = 5%\n", "a.conf:2: unknown option 'namespace.users.parts'");
    refused("[namespace.a b]\n", "a.conf:1: unknown section 'namespace.a b'");
    refused("[namespace.]\n", "a.conf:1: unknown section 'namespace.'");
    refused("[namespace]\n", "a.conf:1: unknown section 'namespace'");
    refused("[namespace.12345678901234567890123456789012345678901234567890123456789012345]\n",
            "a.conf:1: unknown section 'namespace.12345678901234567890123456789012345678901234567890123456789012345'");
    refused("[namespace.users]\nttl = 5s\nenabled = maybe\n",
            "a.conf:3: option 'namespace.users.enabled': 'maybe' is not a boolean; allowed true|false|on|off");
    refused_set("namespace.users.tll", "1s", "unknown option 'namespace.users.tll'");
    refused_set("namespace.ttl", "1s", "unknown option 'namespace.ttl'");
    refused_set("namespace.a b.ttl", "1s", "unknown option 'namespace.a b.ttl'");
    refused_set("namespace.users.ttl", "2d", "option 'namespace.users.ttl': '2d' is out of range; allowed 1ms .. 1d");
    assert_null(sx_config_namespace_at(config, 0)); /* of none of these anything is left */
    char text[40];
    assert_int_equal(strata_config_get(config, "namespace.users.tll", text, sizeof text, NULL), STRATA_E_CONFIG);
    assert_int_equal(strata_config_get(config, "namespace.users.ttl", text, 3, NULL), STRATA_E_VALUE_SIZE);
}

static void test_so_many_namespaces(void **state) {
    (void)state;
    char name[64];
    strata_error error;
    for (int turn = 0; turn < 2; turn++) { /* what a file names no more leaves its room */
        assert_int_equal(sx_config_forget_file(config), STRATA_OK);
        static char text[64 * 1024];
        size_t size = 0;
        for (int i = 0; i < 1024; i++) size += (size_t)snprintf(text + size, sizeof text - size, "[namespace.n%d.%d]\nttl=1s\n", turn, i);
        assert_int_equal(sx_config_load_text(config, "a.conf", text, size, &error), STRATA_OK);
    }
    expect("namespace.n1.1023.ttl", "1s", STRATA_CONFIG_FILE);
    expect("namespace.n0.1023.ttl", "l1.ttl", STRATA_CONFIG_DEFAULT);
    refused("[namespace.more]\nttl = 1s\n", "a.conf:2: options for more than 1024 namespaces");
    (void)snprintf(name, sizeof name, "namespace.n1.%d.part", 5);
    assert_int_equal(strata_config_set(config, name, "3%", &error), STRATA_OK);
    strata_option_info info;
    assert_int_equal(strata_config_namespace_option(1, &info), STRATA_OK);
    assert_string_equal(info.name, "part");
    assert_string_equal(info.environment, "");
    assert_string_equal(info.range, "0% .. 90%");
    assert_int_equal(strata_config_namespace_option(3, &info), STRATA_E_END);
}

static void test_copy(void **state) {
    (void)state;
    assert_int_equal(strata_config_set(config, "l2.endpoint", "one", NULL), STRATA_OK);
    sx_config *copy = sx_config_copy(config);
    assert_non_null(copy);
    assert_int_equal(strata_config_set(config, "l2.endpoint", "two", NULL), STRATA_OK);
    assert_string_equal(sx_config_text(copy, "l2.endpoint"), "one");
    strata_config_destroy(copy);
    strata_config_destroy(NULL);
}

/* ---- without memory ------------------------------------------------------------------------------------------- */

static int32_t use_everything(sx_config *c) {
    static const char text[] = "[l1]\nbytes = 1GiB\n[l2]\nendpoint = far\npassword = word\n"
                               "[namespace.a]\nttl = 1s\n[namespace.b]\nttl = 2s\n[namespace.c]\nttl = 3s\n[namespace.d]\nttl = 3s\n"
                               "[namespace.e]\nttl = 5s\n";
    strata_error error;
    int32_t status = sx_config_load_text(c, "a.conf", text, sizeof text - 1, &error);
    if (status != STRATA_OK) { /* nothing of it */
        assert_null(sx_config_namespace_at(c, 0));
        assert_int_equal(error.status, status);
        assert_int_equal(sx_config_int(c, "l1.bytes"), 256 << 20);
        assert_string_equal(sx_config_text(c, "l2.endpoint"), "127.0.0.1:6379");
        return status;
    }
    status = strata_config_set(c, "l2.endpoint", "near", NULL);
    if (status != STRATA_OK) {
        assert_string_equal(sx_config_text(c, "l2.endpoint"), "far");
        return status;
    }
    status = strata_config_load_environment(c, NULL);
    if (status != STRATA_OK) return status;
    sx_config *copy = sx_config_copy(c);
    if (copy == NULL) return STRATA_E_NOMEM;
    assert_string_equal(sx_config_text(copy, "l2.endpoint"), "near");
    assert_int_equal(given(copy, "e", 0), 5 * SX_NS_PER_S);
    strata_config_destroy(copy);
    return STRATA_OK;
}

static int32_t config_step(test_alloc *alloc, void *context) {
    (void)context;
    sx_config *c = NULL;
    int32_t status = sx_config_create(&alloc->table, &c);
    if (status != STRATA_OK) return status;
    status = use_everything(c);
    strata_config_destroy(c);
    return status;
}

static void test_allocation_failures(void **state) {
    (void)state;
    assert_true(test_alloc_sweep(config_step, NULL) > 12);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(test_defaults),
        TEST(test_canonical_forms),
        TEST(test_refused_values),
        TEST(test_file),
        TEST(test_refused_files),
        TEST(test_layers),
        TEST(test_refused_environment),
        TEST(test_files_on_disk),
        TEST(test_descriptions),
        TEST(test_namespaces),
        TEST(test_refused_namespaces),
        TEST(test_so_many_namespaces),
        TEST(test_copy),
        TEST(test_allocation_failures),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
