/* SPDX-License-Identifier: Apache-2.0 */
/* One option of each kind, as the option tables of a program that has no rooms. Include in one file of a program. */
#ifndef SX_TESTS_SUPPORT_OPTIONS_H
#define SX_TESTS_SUPPORT_OPTIONS_H

#include "core/config/option.h"
#include "core/time/clock.h"

static const sx_option test_l1_rows[] = {
    {"l1.bytes", SX_OPTION_BYTES, INT64_C(1) << 20, INT64_C(16) << 40, "256MiB", NULL, true, false,
     "Budget."},
    {"l1.shards", SX_OPTION_INTEGER, 1, 4096, "256", NULL, false, true, "Shards."},
    {"l1.enabled", SX_OPTION_BOOLEAN, 0, 1, "true", NULL, false, false, "Whether."},
    {"l1.window", SX_OPTION_PERCENT, 0, 100, "10%", NULL, true, false, "Part."},
    {"l1.bias", SX_OPTION_INTEGER, -5, 5, "-2", NULL, true, false, "Bias."},
};
static const sx_option test_l2_rows[] = {
    {"l2.timeout", SX_OPTION_DURATION, SX_NS_PER_MS, 7 * 86400 * SX_NS_PER_S, "500ms", NULL, true, false,
     "Wait."},
    {"l2.mode", SX_OPTION_CHOICE, 0, 0, "cluster", "off|standalone|cluster", false, false, "Kind."},
    {"l2.endpoint", SX_OPTION_STRING, 0, 64, "127.0.0.1:6379", NULL, false, false, "Where."},
    {"l2.password", SX_OPTION_SECRET, 0, 16, "", NULL, false, false, "Word."},
    {"l2_tls.ca_file", SX_OPTION_STRING, 0, 255, "", NULL, false, false, "File."},
};
static const sx_option_table test_l1_table = {test_l1_rows, sizeof test_l1_rows / sizeof test_l1_rows[0]};
static const sx_option_table test_l2_table = {test_l2_rows, sizeof test_l2_rows / sizeof test_l2_rows[0]};
const sx_option_table *const sx_option_tables[] = {&test_l1_table, &test_l2_table};
const size_t sx_option_table_count = 2;

static const sx_option test_namespace_rows[] = {
    {"ttl", SX_OPTION_DURATION, SX_NS_PER_MS, 86400 * SX_NS_PER_S, "l1.ttl", NULL, true, false, "Time."},
    {"part", SX_OPTION_PERCENT, 0, 90, "none", NULL, true, false, "Part."},
    {"enabled", SX_OPTION_BOOLEAN, 0, 1, "true", NULL, true, false, "Whether."},
};
const sx_option_table sx_namespace_options = {test_namespace_rows, sizeof test_namespace_rows / sizeof test_namespace_rows[0]};

#endif
