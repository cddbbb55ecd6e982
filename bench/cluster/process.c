/* SPDX-License-Identifier: Apache-2.0 */
/* Finding, starting and ending one server process, and reserving its port. */
#include "bench/cluster/process.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

enum { PORT_FIRST = 20000, PORT_LAST = 22765, PORT_BUS = 10000 };

static bool find_in_path(const char *program, char *out, size_t size) {
    const char *path = getenv("PATH");
    while (path != NULL && *path != '\0') {
        size_t length = strcspn(path, ":");
        int written = snprintf(out, size, "%.*s/%s", (int)length, path, program);
        if (length > 0 && written > 0 && (size_t)written < size && access(out, X_OK) == 0) return true;
        path += length;
        if (*path == ':') path++;
    }
    return false;
}

const char *sx_process_binary(const char **name) {
    static char path[PATH_MAX];
    static const char *as;
    if (path[0] == '\0') {
        const char *wanted = getenv("STRATA_TEST_SERVER");
        if (wanted != NULL && wanted[0] != '\0') {
            snprintf(path, sizeof path, "%s", wanted);
            as = path;
        } else if (find_in_path("redis-server", path, sizeof path)) {
            as = "redis-server";
        } else if (access("/usr/bin/redis-check-rdb", X_OK) == 0) {
            snprintf(path, sizeof path, "/usr/bin/redis-check-rdb"); /* one binary, chosen by its name */
            as = "redis-server";
        } else {
            path[0] = '\0';
        }
    }
    if (path[0] == '\0' || access(path, X_OK) != 0) return NULL;
    *name = as;
    return path;
}

static bool can_bind(int port) {
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) return false;
    int on = 1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on); /* as the server does: TIME_WAIT is no obstacle */
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    bool free_port = bind(fd, (struct sockaddr *)&address, sizeof address) == 0 && listen(fd, 1) == 0;
    close(fd);
    return free_port;
}

/* A name in the abstract socket namespace is a lock that the kernel drops with the process. */
static int lock_port(int port) {
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) return -1;
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int length = snprintf(address.sun_path + 1, sizeof address.sun_path - 1, "strata-test-port-%d", port);
    socklen_t size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)length);
    if (bind(fd, (struct sockaddr *)&address, size) == 0) return fd;
    close(fd);
    return -1;
}

int sx_process_port_reserve(uint16_t *port) {
    static uint32_t next;
    const uint32_t count = PORT_LAST - PORT_FIRST + 1;
    if (next == 0) next = (uint32_t)getpid() * 37u + 1;
    for (uint32_t tried = 0; tried < count; tried++) {
        int candidate = (int)(PORT_FIRST + next++ % count);
        int lock = lock_port(candidate);
        if (lock < 0) continue;
        if (can_bind(candidate) && can_bind(candidate + PORT_BUS)) {
            *port = (uint16_t)candidate;
            return lock;
        }
        close(lock);
    }
    return -1;
}

pid_t sx_process_spawn(const char *path, const char *const *args, const char *log) {
    char *argv[SX_PROCESS_ARGS_MAX + 1];
    size_t count = 0;
    while (args[count] != NULL && count < SX_PROCESS_ARGS_MAX) {
        argv[count] = strdup(args[count]);
        count++;
    }
    argv[count] = NULL;
    int output = open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    pid_t parent = getpid();
    pid_t pid = output < 0 ? -1 : fork();
    if (pid == 0) { /* async-signal-safe calls only: the parent may have threads */
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != parent) _exit(126);
        sigset_t none;
        sigemptyset(&none);
        sigprocmask(SIG_SETMASK, &none, NULL);
        signal(SIGPIPE, SIG_DFL);
        setpgid(0, 0); /* a terminal's interrupt is for the test, which then ends us */
        int nothing = open("/dev/null", O_RDONLY);
        if (nothing >= 0) dup2(nothing, STDIN_FILENO);
        dup2(output, STDOUT_FILENO);
        dup2(output, STDERR_FILENO);
        execv(path, argv);
        _exit(127);
    }
    if (output >= 0) close(output);
    for (size_t i = 0; i < count; i++) free(argv[i]);
    return pid;
}

void sx_process_end(pid_t pid) {
    if (pid <= 0) return;
    kill(pid, SIGKILL);
    while (waitpid(pid, NULL, 0) < 0 && errno == EINTR) {
    }
}

bool sx_process_has_ended(pid_t pid) { return waitpid(pid, NULL, WNOHANG) == pid; }
