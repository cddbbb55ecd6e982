/* SPDX-License-Identifier: Apache-2.0 */
/* A blocking RESP2 client, as small as it gets: one command, its reply as text. Private to bench/cluster. */
#ifndef SX_BENCH_CLUSTER_WIRE_H
#define SX_BENCH_CLUSTER_WIRE_H

#include <stddef.h>
#include <stdint.h>

/* Connects to 127.0.0.1:port, authenticates where password is not empty, sends one command. Returns a text to be freed,
   as sx_cluster_command describes. */
char *sx_wire_call(uint16_t port, const char *password, uint32_t timeout_ms, size_t argc, const char *const *argv);

#endif
