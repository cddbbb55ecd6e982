/* SPDX-License-Identifier: Apache-2.0 */
/* What can be configured about coherence, and what is counted. */
#include "coherence/trust.h"

static const sx_option rows[] = {
    {.name = "coherence.max_staleness", .type = SX_OPTION_DURATION, .min = 10 * SX_NS_PER_MS, .max = 60 * SX_NS_PER_S,
     .default_text = "500ms",
     .doc = "a value served as fresh misses no write older than this; at most half of cluster-node-timeout"},
    {.name = "coherence.partitions", .type = SX_OPTION_INTEGER, .min = 1, .max = SX_PARTITIONS_MAX,
     .default_text = "256", .power_of_two = true,
     .doc = "units of ordering and subscription; the same for all processes of one L2, forever"},
    {.name = "coherence.node_timeout", .type = SX_OPTION_DURATION, .min = 20 * SX_NS_PER_MS, .max = 3600 * SX_NS_PER_S,
     .default_text = "15s",
     .doc = "cluster-node-timeout of the servers, where they do not let us read it"},
    {.name = "coherence.beat_counters", .type = SX_OPTION_INTEGER, .min = 1, .max = SX_PARTITIONS_MAX,
     .default_text = "256", .doc = "partition counters read with each heartbeat, in rotation"},
    {.name = "coherence.lease", .type = SX_OPTION_DURATION, .min = 10 * SX_NS_PER_MS, .max = 3600 * SX_NS_PER_S,
     .default_text = "10s", .doc = "how long a loader may take before another process may load the key too"},
    {.name = "coherence.replay_window", .type = SX_OPTION_DURATION, .min = 0, .max = 3600 * SX_NS_PER_S,
     .default_text = "30s",
     .doc = "how long an acknowledged invalidation is kept, to be replayed if a failover lost it; twice cluster-node-timeout"},
    {.name = "coherence.recovery_ops_max", .type = SX_OPTION_INTEGER, .min = 1, .max = 1 << 24, .default_text = "65536",
     .doc = "most invalidations remembered because they failed, and most of those acknowledged and kept for a failover"},
    {.name = "coherence.recovery_bytes_max", .type = SX_OPTION_BYTES, .min = 4096, .max = INT64_C(1) << 40,
     .default_text = "64MiB", .doc = "most bytes for each of the two kinds"},
    {.name = "coherence.audit_per_s", .type = SX_OPTION_INTEGER, .min = 0, .max = 1000000, .default_text = "0",
     .hot = true, .doc = "entries of L1 compared with L2 a second, in the background; what differs is counted by cause"},
    {.name = "coherence.untrusted", .type = SX_OPTION_CHOICE, .min = 0, .max = 2, .default_text = "revalidate",
     .choices = "revalidate|bypass|serve_stale", .hot = true,
     .doc = "what a read does with an entry that can't be proven fresh"},
    {.name = "coherence.tags_max", .type = SX_OPTION_INTEGER, .min = 16, .max = 1 << 24, .default_text = "65536",
     .doc = "tags whose markers this process keeps; entries with others are proven through L2"},
    {.name = "coherence.value_bytes_max", .type = SX_OPTION_BYTES, .min = 0, .max = 65536, .default_text = "0", .hot = true,
     .doc = "values up to this size, as stored, travel with the message that announces them; 0: none"},
    {.name = "coherence.foreign", .type = SX_OPTION_CHOICE, .min = 0, .max = 1, .default_text = "tracking",
     .choices = "none|tracking",
     .doc = "whether L1 holds values of foreign namespaces, which Redis's client tracking then invalidates"},
    {.name = "coherence.serve_stale_max", .type = SX_OPTION_DURATION, .min = 0, .max = 7 * 86400 * SX_NS_PER_S,
     .default_text = "30s", .hot = true, .doc = "with serve_stale: how long after trust ended an entry may be served"},
};

const sx_option_table sx_coherence_options = {rows, sizeof rows / sizeof rows[0]};

const sx_metric_row sx_trust_metrics[SX_TRUST_METRIC_COUNT] = {
    [SX_TRUST_METRIC_PARTITIONS_TRUSTED] = {"coherence.partitions_trusted", "1", "partitions proven fresh now", 1},
    [SX_TRUST_METRIC_MESSAGES] = {"coherence.messages", "messages", "invalidation messages received", 0},
    [SX_TRUST_METRIC_HOLES] = {"coherence.holes", "1", "messages found missing, or out of order", 0},
    [SX_TRUST_METRIC_GAINED] = {"coherence.gained", "1", "times a partition became trusted", 0},
    [SX_TRUST_METRIC_LOST] = {"coherence.lost", "1", "times a partition lost its trust", 0},
    [SX_TRUST_METRIC_GENERATION_BUMPS] = {"coherence.generation_bumps", "1",
                                          "times a partition's entries became unproven", 0},
    [SX_TRUST_METRIC_BEATS] = {"coherence.beats", "1", "heartbeats answered", 0},
    [SX_TRUST_METRIC_BEATS_LATE] = {"coherence.beats_late", "1", "leases of a node that ran out", 0},
    [SX_TRUST_METRIC_COUNTER_MISMATCHES] = {"coherence.counter_mismatches", "1",
                                            "heartbeats whose counter was not the last message's", 0},
    [SX_TRUST_METRIC_MALFORMED] = {"coherence.malformed", "1", "messages and heartbeats that made no sense", 0},
};
