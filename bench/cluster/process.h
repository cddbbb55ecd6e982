/* SPDX-License-Identifier: Apache-2.0 */
/* One server process: where its binary is, a port nobody else takes, its start and its end. Private to bench/cluster. */
#ifndef SX_BENCH_CLUSTER_PROCESS_H
#define SX_BENCH_CLUSTER_PROCESS_H

#include <stdbool.h>
#include <stdint.h>

#include <sys/types.h>

#define SX_PROCESS_ARGS_MAX 96

/* Path to execute, with *name for argv[0]; NULL where there is none. The answer is computed once. */
const char *sx_process_binary(const char **name);

/* A free port, reserved against other users of this library until the returned descriptor is closed; -1 none. */
int sx_process_port_reserve(uint16_t *port);

/* Runs path with args (args[0] is the name), output appended to log; killed with the calling thread. -1 on failure. */
pid_t sx_process_spawn(const char *path, const char *const *args, const char *log);
/* SIGKILL and wait. Only for children of ours. */
void sx_process_end(pid_t pid);
/* Whether the child has ended (it is reaped then). */
bool sx_process_has_ended(pid_t pid);

#endif
