/* SPDX-License-Identifier: Apache-2.0 */
/* The fields of INFO that are read, and a server that does not answer. */
#include "bench/servers.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static void test_info(void **state) {
    (void)state;
    bench_server_info info;
    bench_server_info_parse(&info, "# Server\r\nredis_version:7.0.15\r\n# Clients\r\nconnected_clients:4\r\n# Memory\r\n"
                                   "not_used_memory:1\r\nused_memory_rss:9000\r\nused_memory:8000\r\n# Stats\r\ntotal_commands_processed:77\r\n"
                                   "total_net_input_bytes:11\r\ntotal_net_output_bytes:12\r\nevicted_keys:3\r\npubsub_channels:1\r\n"
                                   "pubsubshard_channels:86\r\n# CPU\r\nused_cpu_sys:1.5\r\nused_cpu_user:0.25\r\n"
                                   "# Keyspace\r\ndb0:keys=123,expires=1,avg_ttl=0\r\n");
    assert_true(info.known && info.clients == 4 && info.resident_bytes == 9000 && info.memory_bytes == 8000);
    assert_true(info.commands == 77 && info.net_in_bytes == 11 && info.net_out_bytes == 12 && info.evicted_keys == 3);
    assert_true(info.channels == 87 && info.cpu_system_us == 1500000 && info.cpu_user_us == 250000 && info.keys == 123);
    bench_server_info_parse(&info, "-IO refused");
    assert_true(!info.known && info.memory_bytes == 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_info)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
