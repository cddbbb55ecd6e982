/* SPDX-License-Identifier: Apache-2.0 */
/* Every way an attempt can end, with its rule; which error replies are which; the room's options and metrics. */
#include "l2/redis/cluster_private.h"

#include <strata/status.h>

#include "l2/redis/tls.h"

/* executed: an error reply without a rule may come from the middle of a script, after some of its writes. */
static const sx_redis_rule rules[] = {
    /*                          status                  executed retry  node_fault name */
    [SX_REDIS_OK]             = {STRATA_OK,             true,  false, false, "ok"},
    [SX_REDIS_ERROR]          = {STRATA_E_REFUSED,      true,  false, false, "error"},
    [SX_REDIS_TRYAGAIN]       = {STRATA_E_L2_DOWN,      false, true,  false, "tryagain"},
    [SX_REDIS_CLUSTERDOWN]    = {STRATA_E_L2_DOWN,      false, true,  false, "clusterdown"},
    [SX_REDIS_LOADING]        = {STRATA_E_L2_DOWN,      false, true,  false, "loading"},
    [SX_REDIS_MASTERDOWN]     = {STRATA_E_L2_DOWN,      false, true,  false, "masterdown"},
    [SX_REDIS_READONLY]       = {STRATA_E_L2_DOWN,      false, true,  false, "readonly"},
    [SX_REDIS_BUSY]           = {STRATA_E_L2_DOWN,      false, true,  false, "busy"},
    [SX_REDIS_OOM]            = {STRATA_E_L2_FULL,      false, false, false, "oom"},
    [SX_REDIS_NOREPLICAS]     = {STRATA_E_L2_DOWN,      false, true,  false, "noreplicas"},
    [SX_REDIS_NOAUTH]         = {STRATA_E_AUTH,         false, false, false, "noauth"},
    [SX_REDIS_NOPERM]         = {STRATA_E_AUTH,         false, false, false, "noperm"},
    [SX_REDIS_REDIRECTS]      = {STRATA_E_L2_DOWN,      false, true,  false, "redirects"},
    [SX_REDIS_NO_OWNER]       = {STRATA_E_L2_DOWN,      false, true,  false, "no_owner"},
    [SX_REDIS_UNREACHABLE]    = {STRATA_E_UNAVAILABLE,  false, true,  true,  "unreachable"},
    [SX_REDIS_BACKING_OFF]    = {STRATA_E_UNAVAILABLE,  false, true,  true,  "backing_off"},
    [SX_REDIS_LOST]           = {STRATA_E_UNAVAILABLE,  true,  true,  true,  "lost"},
    [SX_REDIS_TIMEOUT_UNTRIED]= {STRATA_E_TIMEOUT,      false, false, true,  "timeout_untried"},
    [SX_REDIS_TIMEOUT_UNSENT] = {STRATA_E_TIMEOUT,      false, false, true,  "timeout_unsent"},
    [SX_REDIS_TIMEOUT_SENT]   = {STRATA_E_TIMEOUT,      true,  false, true,  "timeout_sent"},
    [SX_REDIS_OVERLOADED]     = {STRATA_E_OVERLOADED,   false, false, false, "overloaded"},
    [SX_REDIS_NOMEM]          = {STRATA_E_NOMEM,        false, false, false, "nomem"},
    [SX_REDIS_CLOSED]         = {STRATA_E_CLOSED,       false, false, false, "closed"},
};
_Static_assert(sizeof rules / sizeof rules[0] == SX_REDIS_CLOSED + 1, "a rule for each outcome");

const sx_redis_rule *sx_redis_rule_of(sx_redis_outcome outcome) { return &rules[outcome]; }

/* First words of error replies. */
static const struct {
    const char *word;
    sx_redis_outcome outcome;
} words[] = {
    {"TRYAGAIN", SX_REDIS_TRYAGAIN},     {"CLUSTERDOWN", SX_REDIS_CLUSTERDOWN}, {"LOADING", SX_REDIS_LOADING},
    {"MASTERDOWN", SX_REDIS_MASTERDOWN}, {"READONLY", SX_REDIS_READONLY},       {"BUSY", SX_REDIS_BUSY},
    {"OOM", SX_REDIS_OOM},               {"NOREPLICAS", SX_REDIS_NOREPLICAS},   {"MISCONF", SX_REDIS_NOREPLICAS},
    {"NOAUTH", SX_REDIS_NOAUTH},         {"WRONGPASS", SX_REDIS_NOAUTH},        {"NOPERM", SX_REDIS_NOPERM},
};

bool sx_redis_error_begins(const sx_resp *error, const char *word) {
    size_t size = strlen(word);
    return error->size >= size && memcmp(error->text, word, size) == 0 &&
           (error->size == size || error->text[size] == ' ');
}

sx_redis_outcome sx_redis_outcome_of_error(const sx_resp *error) {
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        if (sx_redis_error_begins(error, words[i].word)) return words[i].outcome;
    }
    return SX_REDIS_ERROR;
}

static const sx_option option_rows[] = {
    {"l2.nodes", SX_OPTION_STRING, 1, 4096, "127.0.0.1:6379", NULL, false, false,
     "Addresses to find the servers by: host:port, separated by commas; an IPv6 address in brackets; unix:/path for a "
     "standalone server on this machine."},
    {"l2.nat", SX_OPTION_STRING, 0, 4096, "", NULL, false, false,
     "Where servers are that a cluster tells of by addresses which can't be reached from here: told=reached, as "
     "10.0.0.5:6379=203.0.113.7:16379, separated by commas; others are reached as told."},
    {"l2.username", SX_OPTION_STRING, 0, 256, "", NULL, false, false, "User of the server's access list; empty: default."},
    {"l2.password", SX_OPTION_SECRET, 0, 512, "", NULL, false, false, "Password; empty: no authentication."},
    {"l2.password_file", SX_OPTION_STRING, 0, 4096, "", NULL, false, false,
     "File that holds the password, without the line's end; read again for each connection, so that it may be replaced while "
     "the program runs; empty: l2.password."},
    {"l2.tls", SX_OPTION_BOOLEAN, 0, 1, "off", NULL, false, false,
     "Whether all connections are under TLS (1.2 or later), which Unix sockets can't be; the files below are read when the engine opens."},
    {"l2.tls_ca_file", SX_OPTION_STRING, 0, 4096, "", NULL, false, false,
     "PEM file of the authorities that servers' certificates must come from; empty, as l2.tls_ca_path: the system's."},
    {"l2.tls_ca_path", SX_OPTION_STRING, 0, 4096, "", NULL, false, false,
     "Folder of such authorities, named by openssl rehash; empty: none."},
    {"l2.tls_cert_file", SX_OPTION_STRING, 0, 4096, "", NULL, false, false,
     "PEM file of our certificate and those between it and its authority; empty: none is shown."},
    {"l2.tls_key_file", SX_OPTION_STRING, 0, 4096, "", NULL, false, false,
     "PEM file of our certificate's key; empty: in l2.tls_cert_file too."},
    {"l2.tls_key_password", SX_OPTION_SECRET, 0, 512, "", NULL, false, false, "Of an encrypted key; empty: it is not."},
    {"l2.tls_name", SX_OPTION_STRING, 0, 255, "", NULL, false, false,
     "Name that every server's certificate must be for, and that is asked for (SNI); empty: each server's host, as l2.nodes or "
     "the cluster gives it, be it a name or an address."},
    {"l2.tls_verify_name", SX_OPTION_BOOLEAN, 0, 1, "on", NULL, false, false,
     "off: any certificate of the authorities is accepted from any server, whatever name it is for."},
    {"l2.connect_timeout", SX_OPTION_DURATION, 10 * SX_NS_PER_MS, 60 * SX_NS_PER_S, "1s", NULL, false, false,
     "Longest time to connect and agree with one server."},
    {"l2.queue_ops_max", SX_OPTION_INTEGER, 16, 16777216, "65536", NULL, false, false,
     "Most commands waiting for one server; beyond it an operation fails at once."},
    {"l2.queue_bytes_max", SX_OPTION_BYTES, 65536, INT64_C(1) << 40, "256MiB", NULL, false, false,
     "Most bytes waiting for one server; beyond it an operation fails at once."},
    {"l2.bulk_bytes", SX_OPTION_BYTES, 0, INT64_C(1) << 40, "64KiB", NULL, false, false,
     "What is known to be larger is read over a second connection to its server, so that small values don't wait behind it; "
     "0: never."},
};
const sx_option_table sx_redis_options = {option_rows, sizeof option_rows / sizeof option_rows[0]};

const sx_metric_row sx_redis_metrics[SX_REDIS_METRIC_COUNT] = {
    [SX_REDIS_METRIC_NODES_CONNECTED] = {"l2.nodes_connected", "1", "Servers with a usable data connection.", 1},
    [SX_REDIS_METRIC_COMMANDS] = {"l2.commands", "operations", "Commands sent, redirected ones again.", 0},
    [SX_REDIS_METRIC_BYTES_OUT] = {"l2.bytes_out", "bytes", "Bytes written to data connections.", 0},
    [SX_REDIS_METRIC_BYTES_IN] = {"l2.bytes_in", "bytes", "Bytes read from data connections.", 0},
    [SX_REDIS_METRIC_CONNECTS] = {"l2.connects", "operations", "Data connections that became usable.", 0},
    [SX_REDIS_METRIC_DISCONNECTS] = {"l2.disconnects", "operations", "Usable data connections that were lost.", 0},
    [SX_REDIS_METRIC_MOVED] = {"l2.moved", "operations", "Commands answered with MOVED.", 0},
    [SX_REDIS_METRIC_ASK] = {"l2.ask", "operations", "Commands answered with ASK.", 0},
    [SX_REDIS_METRIC_MAP_REFRESHES] = {"l2.map_refreshes", "operations", "Slot maps read.", 0},
    [SX_REDIS_METRIC_TIMEOUTS] = {"l2.timeouts", "operations", "Commands whose deadline passed.", 0},
    [SX_REDIS_METRIC_SCRIPT_RELOADS] = {"l2.script_reloads", "operations", "Scripts a server no longer knew.", 0},
    [SX_REDIS_METRIC_TLS_HANDSHAKES] = {"l2.tls_handshakes", "operations", "Connections secured by TLS, subscriptions too.", 0},
    [SX_REDIS_METRIC_TLS_RESUMED] = {"l2.tls_resumed", "operations",
                                     "TLS handshakes that resumed a session: no certificates were exchanged.", 0},
    [SX_REDIS_METRIC_BULK] = {"l2.bulk_commands", "operations",
                              "Commands sent on a server's second connection, for large replies.", 0},
    [SX_REDIS_METRIC_GROUPED] = {"l2.grouped", "operations", "Operations that were sent with others as one command.", 0},
};

int64_t sx_redis_metric_read(const sx_redis_cluster *cluster, uint32_t metric) {
    const sx_redis_tls *tls = cluster->settings->tls;
    if (tls != NULL && metric == SX_REDIS_METRIC_TLS_HANDSHAKES) return sx_redis_tls_handshakes(tls);
    if (tls != NULL && metric == SX_REDIS_METRIC_TLS_RESUMED) return sx_redis_tls_resumptions(tls);
    return sx_counter_read(&cluster->counters[metric]);
}
