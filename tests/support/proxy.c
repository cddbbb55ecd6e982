/* SPDX-License-Identifier: Apache-2.0 */
/* The proxy's thread: links between a client and a server, each two directions of bytes with the time when they are due. */
#include "tests/support/proxy.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "bench/cluster/process.h"

enum { LEFT = 1 << 30 }; /* instead of the descriptor of a client that is gone */
enum { SERVERS_MAX = 16, LINKS_MAX = 400, CHUNKS = 64, BYTES = 1 << 18, TICK_MS = 2 };

typedef struct chunk {
    int64_t due_ns;
    size_t size;
} chunk;

/* Bytes on their way from one end to the other. */
typedef struct way {
    uint8_t *bytes; /* BYTES */
    size_t size;    /* read */
    size_t whole;   /* of it: complete frames, that may go on */
    size_t planned; /* of it: in chunks */
    chunk chunks[CHUNKS];
    uint32_t first, count;
    int64_t last_due_ns;
} way;

typedef struct passage {
    int client, server; /* -1, -1: a free place */
    uint32_t node;
    uint64_t id;
    bool connecting, known, replication, bus, subscription, doomed, late;
    way up, down; /* up: to the server */
} passage;

struct proxy {
    uint32_t count;
    uint16_t server_port[SERVERS_MAX], port[SERVERS_MAX];
    int reserved[SERVERS_MAX], listener[SERVERS_MAX];
    pthread_t thread;
    pthread_mutex_t mutex;
    proxy_fault fault[SERVERS_MAX]; /* lock: mutex */
    _Atomic bool stop;
    _Atomic uint64_t harm, rounds;
    uint64_t next_id, random; /* owner: the thread, as all below */
    proxy_fault now[SERVERS_MAX];
    passage links[LINKS_MAX];
};

static int64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static uint64_t mix(uint64_t x) {
    x ^= x >> 30;
    x *= 0xbf58476d1ce4e5b9u;
    x ^= x >> 27;
    x *= 0x94d049bb133111ebu;
    return x ^ x >> 31;
}

/* ---- frames ---- */

/* The size of the first RESP frame; 0 where it is not complete. */
static size_t frame_size(const uint8_t *bytes, size_t size) {
    size_t at = 0;
    for (int64_t wanted = 1; wanted > 0; wanted--) {
        const uint8_t *end = size > at ? memchr(bytes + at, '\n', size - at) : NULL;
        if (end == NULL) return 0;
        char type = (char)bytes[at];
        long long number = strtoll((const char *)bytes + at + 1, NULL, 10); /* ends at the '\r' */
        at = (size_t)(end - bytes) + 1;
        if (number < 0) continue;
        if (type == '$' || type == '=' || type == '!') at += (size_t)number + 2;
        else if (type == '*' || type == '~' || type == '>') wanted += number;
        else if (type == '%') wanted += 2 * number;
        if (at > size) return 0;
    }
    return at;
}

static bool is_message(const uint8_t *bytes, size_t size) {
    static const char head[] = ">3\r\n$8\r\nsmessage\r\n";
    return size > sizeof head && memcmp(bytes, head, sizeof head - 1) == 0;
}

/* ---- links ---- */

static void close_link(passage *l, bool reset) {
    if (reset) {
        struct linger none = {.l_onoff = 1, .l_linger = 0};
        setsockopt(l->client, SOL_SOCKET, SO_LINGER, &none, sizeof none);
        setsockopt(l->server, SOL_SOCKET, SO_LINGER, &none, sizeof none);
    }
    if (l->client != LEFT) close(l->client);
    close(l->server);
    l->client = l->server = -1;
    free(l->up.bytes);
    free(l->down.bytes);
    l->up = l->down = (way){.bytes = NULL};
}

static int to_server(uint16_t port) {
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int on = 1;
    if (fd >= 0) setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (fd < 0 || (connect(fd, (struct sockaddr *)&address, sizeof address) != 0 && errno != EINPROGRESS)) {
        if (fd >= 0) close(fd);
        return -1;
    }
    return fd;
}

static void take(proxy *p, uint32_t node) {
    int client = accept4(p->listener[node], NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (client < 0) return;
    passage *l = NULL;
    for (int i = 0; i < LINKS_MAX && l == NULL; i++)
        if (p->links[i].client < 0) l = &p->links[i];
    int server = l == NULL ? -1 : to_server(p->server_port[node]);
    if (server < 0) {
        close(client);
        return;
    }
    int on = 1;
    setsockopt(client, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    *l = (passage){.client = client, .server = server, .node = node, .id = p->next_id++, .connecting = true};
    l->up.bytes = malloc(BYTES + 1);
    l->down.bytes = malloc(BYTES + 1);
    if (l->up.bytes == NULL || l->down.bytes == NULL) abort();
}

/* Whether the fault of its server concerns this link. */
static bool suffers(const proxy *p, const passage *l, proxy_fault_kind kind) {
    const proxy_fault *f = &p->now[l->node];
    if (kind == PROXY_LAG || l->replication) return f->kind == PROXY_LAG && kind == PROXY_LAG && l->replication;
    if (f->kind != kind || (f->whose != PROXY_ALL && l->subscription != (f->whose == PROXY_SUBSCRIPTIONS))) return false;
    return kind == PROXY_LOSE || mix(f->seed ^ mix(l->id)) % 100 < f->percent;
}

static bool directed(const proxy *p, const passage *l, const way *w) {
    const proxy_fault *f = &p->now[l->node];
    return w == &l->up ? f->to_server : f->to_client;
}

/* ---- bytes ---- */

/* Who is there, from what a client says. */
static void recognise(passage *l, size_t from) {
    way *w = &l->up;
    static const char ping[] = "*1\r\n$4\r\nPING";
    if (!l->known && w->size >= sizeof ping - 1) {
        l->known = true;
        l->replication = memcmp(w->bytes, ping, sizeof ping - 1) == 0;
        l->bus = memcmp(w->bytes, "RCmb", 4) == 0;
    }
    if (!l->subscription && !l->bus && memmem(w->bytes + from, w->size - from, "SUBSCRIBE", 9) != NULL) l->subscription = true; /* or SSUBSCRIBE */
}

/* Finds complete frames of the server, and loses some. */
static void frames(proxy *p, passage *l) {
    way *w = &l->down;
    while (!l->replication && !l->bus && w->whole < w->size) {
        w->bytes[w->size] = 0;
        size_t size = frame_size(w->bytes + w->whole, w->size - w->whole);
        if (size == 0 && w->size < BYTES) return;
        if (size == 0) size = w->size - w->whole; /* longer than we can hold: it goes on as it is */
        bool lost = l->subscription && suffers(p, l, PROXY_LOSE) && is_message(w->bytes + w->whole, size);
        p->random = mix(p->random + 1);
        if (lost && p->random % 100 < p->now[l->node].percent) {
            memmove(w->bytes + w->whole, w->bytes + w->whole + size, w->size - w->whole - size);
            w->size -= size;
            atomic_fetch_add(&p->harm, 1);
        } else {
            w->whole += size;
        }
    }
    w->whole = w->size;
}

/* Gives what may go on its time. */
static void plan(proxy *p, passage *l, way *w) {
    if (w->whole == w->planned || w->count == CHUNKS) return;
    int64_t due_ns = now_ns();
    if (suffers(p, l, PROXY_DELAY)) due_ns += (int64_t)p->now[l->node].delay_ms * 1000000;
    if (w == &l->down && suffers(p, l, PROXY_LAG)) due_ns = p->now[l->node].until_ns;
    if (suffers(p, l, PROXY_LATE) && w == &l->up) {
        due_ns += (int64_t)p->now[l->node].delay_ms * 1000000;
        l->late = true;
    }
    if (due_ns < w->last_due_ns) due_ns = w->last_due_ns;
    w->last_due_ns = due_ns;
    w->chunks[(w->first + w->count++) % CHUNKS] = (chunk){due_ns, w->whole - w->planned};
    w->planned = w->whole;
}

/* False: the link has ended. */
static bool receive(proxy *p, passage *l, way *w, int fd) {
    if (w->size == BYTES || w->count == CHUNKS) return true;
    ssize_t got = recv(fd, w->bytes + w->size, BYTES - w->size, MSG_DONTWAIT);
    if (got < 0) return errno == EAGAIN || errno == EINTR;
    if (got == 0) return false;
    if (suffers(p, l, PROXY_DROP) && directed(p, l, w)) {
        if (!l->doomed) atomic_fetch_add(&p->harm, 1);
        l->doomed = true;
        return true;
    }
    size_t from = w->size;
    w->size += (size_t)got;
    if (w == &l->up) {
        recognise(l, from);
        w->whole = w->size;
    } else {
        frames(p, l);
    }
    plan(p, l, w);
    return true;
}

static bool transmit(proxy *p, passage *l, way *w, int fd) {
    int64_t time_ns = now_ns();
    if (suffers(p, l, PROXY_STALL) && directed(p, l, w)) return true;
    while (w->count > 0 && w->chunks[w->first].due_ns <= time_ns) {
        size_t size = w->chunks[w->first].size;
        bool cut = w == &l->down && suffers(p, l, PROXY_CUT) && size > 1;
        if (cut) size = 1 + mix(p->random++) % (size - 1);
        ssize_t sent = send(fd, w->bytes, size, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (sent < 0) return errno == EAGAIN || errno == EINTR;
        if (cut) {
            atomic_fetch_add(&p->harm, 1);
            return false;
        }
        size_t gone = (size_t)sent;
        memmove(w->bytes, w->bytes + gone, w->size - gone);
        w->size -= gone;
        w->whole -= gone;
        w->planned -= gone;
        w->chunks[w->first].size -= gone;
        if (w->chunks[w->first].size > 0) return true;
        w->first = (w->first + 1) % CHUNKS;
        w->count--;
        plan(p, l, w);
    }
    return true;
}

static bool has_due(const way *w, int64_t time_ns) { return w->count > 0 && w->chunks[w->first].due_ns <= time_ns; }

static bool may_read(const proxy *p, const passage *l, const way *w) {
    (void)p;
    return w->size < BYTES && w->count < CHUNKS && l->client != LEFT;
}

/* The client is gone; what it had sent is still under way. */
static void leave(passage *l) {
    struct linger none = {.l_onoff = 1, .l_linger = 0};
    setsockopt(l->client, SOL_SOCKET, SO_LINGER, &none, sizeof none);
    close(l->client);
    l->client = LEFT;
}

static void serve(proxy *p, passage *l, short client, short server) {
    bool alive = true;
    if (l->late && p->now[l->node].kind != PROXY_LATE && l->client != LEFT) {
        atomic_fetch_add(&p->harm, 1);
        leave(l);
    }
    if (l->client == LEFT) {
        if (l->up.count == 0 || !transmit(p, l, &l->up, l->server)) close_link(l, false);
        return;
    }
    if (l->connecting && (server & (POLLOUT | POLLERR | POLLHUP)) != 0) {
        int error = 0;
        socklen_t size = sizeof error;
        getsockopt(l->server, SOL_SOCKET, SO_ERROR, &error, &size);
        alive = error == 0;
        l->connecting = false;
    }
    if (alive && (client & (POLLIN | POLLHUP | POLLERR)) != 0 && may_read(p, l, &l->up))
        alive = receive(p, l, &l->up, l->client);
    if (!alive && l->up.count > 0 && !l->connecting && !l->doomed) {
        leave(l);
        return;
    }
    if (alive && !l->connecting && (server & (POLLIN | POLLHUP | POLLERR)) != 0 && may_read(p, l, &l->down))
        alive = receive(p, l, &l->down, l->server);
    if (alive && !l->connecting) alive = transmit(p, l, &l->up, l->server);
    if (alive) alive = transmit(p, l, &l->down, l->client);
    if (!alive || (l->doomed && p->now[l->node].kind != PROXY_DROP)) close_link(l, true);
}

/* ---- the thread ---- */

static short interest(const proxy *p, const passage *l, bool of_client, int64_t time_ns) {
    const way *in = of_client ? &l->up : &l->down, *out = of_client ? &l->down : &l->up;
    short events = may_read(p, l, in) ? POLLIN : 0;
    if (has_due(out, time_ns) || (!of_client && l->connecting)) events |= POLLOUT;
    return events;
}

static void look_at_faults(proxy *p) {
    int64_t time_ns = now_ns();
    pthread_mutex_lock(&p->mutex);
    for (uint32_t i = 0; i < p->count; i++) {
        if (p->fault[i].kind != PROXY_GOOD && time_ns >= p->fault[i].until_ns) p->fault[i].kind = PROXY_GOOD;
        p->now[i] = p->fault[i];
    }
    pthread_mutex_unlock(&p->mutex);
    atomic_fetch_add(&p->rounds, 1);
}

static void *run(void *argument) {
    proxy *p = argument;
    static struct pollfd polls[SERVERS_MAX + 2 * LINKS_MAX];
    static int places[LINKS_MAX];
    while (!atomic_load(&p->stop)) {
        look_at_faults(p);
        nfds_t count = 0;
        int64_t time_ns = now_ns();
        for (uint32_t i = 0; i < p->count; i++) polls[count++] = (struct pollfd){.fd = p->listener[i], .events = POLLIN};
        int used = 0;
        bool timed = false;
        for (int i = 0; i < LINKS_MAX; i++) {
            passage *l = &p->links[i];
            if (l->client < 0) continue;
            places[used++] = i;
            /* A descriptor that we don't want to read is not asked for: its end would be reported again and again. */
            short client = interest(p, l, true, time_ns), server = interest(p, l, false, time_ns);
            polls[count++] = (struct pollfd){.fd = client == 0 || l->client == LEFT ? -1 : l->client, .events = client};
            polls[count++] = (struct pollfd){.fd = server == 0 ? -1 : l->server, .events = server};
            timed |= l->up.count + l->down.count > 0;
        }
        if (poll(polls, count, timed ? TICK_MS : 20) < 0 && errno != EINTR) abort();
        for (int i = 0; i < used; i++) {
            const struct pollfd *pair = &polls[p->count + 2 * (uint32_t)i];
            serve(p, &p->links[places[i]], pair[0].revents, pair[1].revents);
        }
        for (uint32_t i = 0; i < p->count; i++)
            if ((polls[i].revents & POLLIN) != 0) take(p, i);
    }
    return NULL;
}

/* ---- life ---- */

static int listen_on(uint16_t port) {
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), on = 1;
    if (fd < 0) return -1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (bind(fd, (struct sockaddr *)&address, sizeof address) == 0 && listen(fd, 128) == 0) return fd;
    close(fd);
    return -1;
}

proxy *proxy_start(const uint16_t *server_ports, uint32_t count) {
    if (count > SERVERS_MAX) return NULL;
    proxy *p = calloc(1, sizeof *p);
    if (p == NULL) return NULL;
    pthread_mutex_init(&p->mutex, NULL);
    for (int i = 0; i < LINKS_MAX; i++) p->links[i].client = p->links[i].server = -1;
    for (uint32_t i = 0; i < count; i++) {
        p->server_port[i] = server_ports[i];
        p->reserved[i] = sx_process_port_reserve(&p->port[i]);
        p->listener[i] = p->reserved[i] < 0 ? -1 : listen_on(p->port[i]);
        if (p->listener[i] < 0) return NULL; /* the process ends */
    }
    p->count = count;
    p->random = 1;
    if (pthread_create(&p->thread, NULL, run, p) != 0) return NULL;
    return p;
}

void proxy_stop(proxy *p) {
    atomic_store(&p->stop, true);
    pthread_join(p->thread, NULL);
    for (int i = 0; i < LINKS_MAX; i++)
        if (p->links[i].client >= 0) close_link(&p->links[i], true);
    for (uint32_t i = 0; i < p->count; i++) {
        close(p->listener[i]);
        close(p->reserved[i]);
    }
    pthread_mutex_destroy(&p->mutex);
    free(p);
}

uint16_t proxy_port(const proxy *p, uint32_t server) { return p->port[server]; }

void proxy_set(proxy *p, uint32_t server, const proxy_fault *fault) {
    pthread_mutex_lock(&p->mutex);
    p->fault[server] = *fault;
    pthread_mutex_unlock(&p->mutex);
}

void proxy_settle(const proxy *p) {
    uint64_t rounds = atomic_load(&p->rounds); /* the first of two may have looked before */
    while (atomic_load(&p->rounds) < rounds + 2) (void)nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
}

uint64_t proxy_harm(const proxy *p) { return atomic_load(&p->harm); }
