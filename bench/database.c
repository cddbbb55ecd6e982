/* SPDX-License-Identifier: Apache-2.0 */
/* Rows, their writer locks and acknowledgements, and the floors of each process. */
#include "bench/database.h"

#include <string.h>
#include <sys/mman.h>

/* Accesses are sequentially consistent where nothing else is said: a referee must be above suspicion before it is fast. */

void *bench_shared_allocate(size_t size) {
    void *memory =
        mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return memory == MAP_FAILED ? NULL : memory;
}

void bench_shared_release(void *memory, size_t size) {
    if (memory != NULL) munmap(memory, size);
}

int bench_database_create(bench_database *database, uint32_t count, uint32_t processes,
                          int64_t staleness_max_ns) {
    size_t rows = sizeof(bench_row) * count, floors = sizeof(bench_floor) * count * processes;
    *database =
        (bench_database){.count = count, .processes = processes, .staleness_max_ns = staleness_max_ns};
    database->mapped_bytes = rows + floors;
    char *memory = bench_shared_allocate(database->mapped_bytes);
    if (memory == NULL) return -1;
    database->rows = (bench_row *)(void *)memory;
    database->floors = (bench_floor *)(void *)(memory + rows);
    for (uint32_t i = 0; i < count; i++) atomic_init(&database->rows[i].version, 1);
    return 0;
}

void bench_database_destroy(bench_database *database) {
    bench_shared_release(database->rows, database->mapped_bytes);
    memset(database, 0, sizeof *database);
}

uint32_t bench_database_version(const bench_database *database, uint32_t key) {
    return atomic_load(&database->rows[key].version);
}

uint32_t bench_database_write_begin(bench_database *database, uint32_t process, uint32_t key) {
    bench_row *row = &database->rows[key];
    uint32_t nobody = 0;
    if (!atomic_compare_exchange_strong(&row->locked, &nobody, process + 1)) return 0;
    return atomic_fetch_add(&row->version, 1) + 1;
}

static void raise(bench_floor *floor, uint32_t version, int shift) {
    uint64_t old = atomic_load(floor);
    while ((uint32_t)(old >> shift) < version) {
        uint64_t renewed = (old & ~((uint64_t)UINT32_MAX << shift)) | (uint64_t)version << shift;
        if (atomic_compare_exchange_weak(floor, &old, renewed)) return;
    }
}

static bench_floor *floor_of(const bench_database *database, uint32_t process, uint32_t key) {
    return &database->floors[(size_t)process * database->count + key];
}

void bench_database_write_end(bench_database *database, uint32_t process, uint32_t key, uint32_t version,
                              bool acknowledged, int64_t now_ns) {
    bench_row *row = &database->rows[key];
    if (acknowledged) {
        raise(floor_of(database, process, key), version, 0);
        atomic_fetch_add(&row->sequence, 1);
        bool aged = now_ns - atomic_load(&row->middle_ns) >= database->staleness_max_ns;
        if (atomic_load(&row->middle_version) == 0 || aged) {
            atomic_store(&row->settled_version, atomic_load(&row->middle_version));
            atomic_store(&row->settled_ns, atomic_load(&row->middle_ns));
            atomic_store(&row->middle_version, atomic_load(&row->latest_version));
            atomic_store(&row->middle_ns, atomic_load(&row->latest_ns));
        }
        atomic_store(&row->latest_version, version);
        atomic_store(&row->latest_ns, now_ns);
        atomic_fetch_add(&row->sequence, 1);
    }
    atomic_store(&row->locked, 0);
}

void bench_database_forget_process(bench_database *database, uint32_t process) {
    for (uint32_t key = 0; key < database->count; key++) {
        bench_row *row = &database->rows[key];
        atomic_store(floor_of(database, process, key), 0);
        if (atomic_load(&row->locked) != process + 1) continue;
        if ((atomic_load(&row->sequence) & 1) != 0) atomic_fetch_add(&row->sequence, 1); /* it died while it acknowledged */
        atomic_store(&row->locked, 0);
    }
}

uint32_t bench_database_acknowledged(const bench_database *database, uint32_t key, int64_t by_ns) {
    const bench_row *row = &database->rows[key];
    for (uint32_t tries = 0; tries < 1000; tries++) { /* a writer may have died in the middle */
        uint32_t sequence = atomic_load(&row->sequence);
        uint32_t latest = atomic_load(&row->latest_version), middle = atomic_load(&row->middle_version);
        uint32_t settled = atomic_load(&row->settled_version);
        int64_t latest_ns = atomic_load(&row->latest_ns), middle_ns = atomic_load(&row->middle_ns);
        int64_t settled_ns = atomic_load(&row->settled_ns);
        if ((sequence & 1) != 0 || sequence != atomic_load(&row->sequence)) continue;
        if (latest != 0 && latest_ns <= by_ns) return latest;
        if (middle != 0 && middle_ns <= by_ns) return middle;
        return settled != 0 && settled_ns <= by_ns ? settled : 0;
    }
    return 0;
}

int64_t bench_database_overtaken_ns(const bench_database *database, uint32_t key, uint32_t version) {
    const bench_row *row = &database->rows[key];
    for (uint32_t tries = 0; tries < 1000; tries++) {
        uint32_t sequence = atomic_load(&row->sequence);
        bool by_settled = atomic_load(&row->settled_version) > version, by_middle = atomic_load(&row->middle_version) > version;
        bool by_latest = atomic_load(&row->latest_version) > version;
        int64_t settled_ns = atomic_load(&row->settled_ns), middle_ns = atomic_load(&row->middle_ns), latest_ns = atomic_load(&row->latest_ns);
        if ((sequence & 1) != 0 || sequence != atomic_load(&row->sequence)) continue;
        return by_settled ? settled_ns : by_middle ? middle_ns : by_latest ? latest_ns : 0;
    }
    return 0;
}

uint64_t bench_database_floor(const bench_database *database, uint32_t process, uint32_t key) {
    return atomic_load(floor_of(database, process, key));
}

void bench_database_saw(bench_database *database, uint32_t process, uint32_t key, uint32_t version) {
    raise(floor_of(database, process, key), version, 32);
}
