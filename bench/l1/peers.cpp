/* SPDX-License-Identifier: Apache-2.0 */
/* Peers that are packaged for C++: RocksDB's two block caches, and TBB's hash map, which evicts nothing. Each part is there
   where its package is. */
#include <cstdint>
#include <cstring>
#include <memory>

extern "C" {
#include "bench/l1/cache.h"
}

#ifdef BENCH_HAS_ROCKSDB
#include <rocksdb/cache.h>

namespace {

struct value_of_cache {
    uint8_t bytes[CACHE_VALUE_BYTES];
};

/* Every entry counts one: so the limit is a number of entries, as for the others. */
struct block_cache {
    std::shared_ptr<rocksdb::Cache> cache;
};

void *block_create(std::shared_ptr<rocksdb::Cache> cache) {
    if (cache == nullptr) return nullptr;
    return new block_cache{std::move(cache)};
}
void *lru_create(uint64_t entries_max) {
    rocksdb::LRUCacheOptions options(entries_max, 6, false, 0.0);
    options.metadata_charge_policy = rocksdb::kDontChargeCacheMetadata;
    return block_create(rocksdb::NewLRUCache(options));
}
void *clock_create(uint64_t entries_max) {
    rocksdb::HyperClockCacheOptions options(entries_max, 1, 4, false, nullptr, rocksdb::kDontChargeCacheMetadata);
    return block_create(options.MakeSharedCache());
}
void block_destroy(void *cache) { delete static_cast<block_cache *>(cache); }
void *no_part(void *) { return nullptr; }
void no_leave(void *, void *) {}

rocksdb::Slice slice_of(const cache_key *key) {
    return rocksdb::Slice(reinterpret_cast<const char *>(key->bytes), CACHE_KEY_BYTES);
}
void value_delete(const rocksdb::Slice &, void *value) { delete static_cast<value_of_cache *>(value); }

bool block_get(void *cache, void *, const cache_key *key, uint8_t *value) {
    rocksdb::Cache *c = static_cast<block_cache *>(cache)->cache.get();
    rocksdb::Cache::Handle *handle = c->Lookup(slice_of(key));
    if (handle == nullptr) return false;
    std::memcpy(value, static_cast<value_of_cache *>(c->Value(handle))->bytes, CACHE_VALUE_BYTES);
    c->Release(handle);
    return true;
}
void block_set(void *cache, void *, const cache_key *key, const uint8_t *value) {
    auto *copy = new value_of_cache;
    std::memcpy(copy->bytes, value, CACHE_VALUE_BYTES);
    /* Without a handle asked for it takes the value in any case. */
    (void)static_cast<block_cache *>(cache)->cache->Insert(slice_of(key), copy, 1, value_delete);
}
uint64_t block_entries(void *cache) { return static_cast<block_cache *>(cache)->cache->GetUsage(); }

cache_kind block_kind(const char *name, void *(*create)(uint64_t)) {
    cache_kind kind = {};
    kind.name = name;
    kind.evicts = true;
    kind.create = create;
    kind.destroy = block_destroy;
    kind.enter = no_part;
    kind.leave = no_leave;
    kind.get = block_get;
    kind.set = block_set;
    kind.entries = block_entries;
    return kind;
}

} // namespace

extern "C" const cache_kind cache_rocks_lru, cache_rocks_clock;
const cache_kind cache_rocks_lru = block_kind("rocks_lru", lru_create);
const cache_kind cache_rocks_clock = block_kind("hyperclock", clock_create);
#endif

#ifdef BENCH_HAS_TBB
#include <tbb/concurrent_hash_map.h>
#include <tbb/concurrent_unordered_map.h>
#include <tbb/spin_mutex.h>

namespace {

struct key_compare {
    size_t hash(const cache_key &key) const {
        uint64_t mixed; /* the key's second half is mixed from its first */
        std::memcpy(&mixed, key.bytes + 8, 8);
        return static_cast<size_t>(mixed);
    }
    bool equal(const cache_key &a, const cache_key &b) const { return std::memcmp(a.bytes, b.bytes, CACHE_KEY_BYTES) == 0; }
};
struct value_of_map {
    uint8_t bytes[CACHE_VALUE_BYTES];
};
using map = tbb::concurrent_hash_map<cache_key, value_of_map, key_compare>;

void *map_create(uint64_t entries_max) { return new map(2 * entries_max); }
void map_destroy(void *cache) { delete static_cast<map *>(cache); }
void *map_enter(void *) { return nullptr; }
void map_leave(void *, void *) {}
bool map_get(void *cache, void *, const cache_key *key, uint8_t *value) {
    map::const_accessor found;
    if (!static_cast<map *>(cache)->find(found, *key)) return false;
    std::memcpy(value, found->second.bytes, CACHE_VALUE_BYTES);
    return true;
}
void map_set(void *cache, void *, const cache_key *key, const uint8_t *value) {
    map::accessor found;
    static_cast<map *>(cache)->insert(found, *key);
    std::memcpy(found->second.bytes, value, CACHE_VALUE_BYTES);
}
uint64_t map_entries(void *cache) { return static_cast<map *>(cache)->size(); }

/* The other one finds and inserts without a lock and leaves values to its user: here each has a spin lock. */
struct key_hash {
    size_t operator()(const cache_key &key) const { return key_compare().hash(key); }
};
struct key_equal {
    bool operator()(const cache_key &a, const cache_key &b) const { return key_compare().equal(a, b); }
};
struct locked_value {
    tbb::spin_mutex lock;
    value_of_map value;
    explicit locked_value(const uint8_t *bytes) { std::memcpy(value.bytes, bytes, CACHE_VALUE_BYTES); }
};
using unordered = tbb::concurrent_unordered_map<cache_key, locked_value, key_hash, key_equal>;

void *unordered_create(uint64_t entries_max) { return new unordered(2 * entries_max); }
void unordered_destroy(void *cache) { delete static_cast<unordered *>(cache); }
bool unordered_get(void *cache, void *, const cache_key *key, uint8_t *value) {
    auto found = static_cast<unordered *>(cache)->find(*key);
    if (found == static_cast<unordered *>(cache)->end()) return false;
    tbb::spin_mutex::scoped_lock held(found->second.lock);
    std::memcpy(value, found->second.value.bytes, CACHE_VALUE_BYTES);
    return true;
}
void unordered_set(void *cache, void *, const cache_key *key, const uint8_t *value) {
    auto outcome = static_cast<unordered *>(cache)->emplace(*key, value);
    if (outcome.second) return;
    tbb::spin_mutex::scoped_lock held(outcome.first->second.lock);
    std::memcpy(outcome.first->second.value.bytes, value, CACHE_VALUE_BYTES);
}
uint64_t unordered_entries(void *cache) { return static_cast<unordered *>(cache)->size(); }

/* Neither evicts; members of cache_kind in its order. */
const cache_kind hash_map_kind = {"tbb_hash", false, map_create, map_destroy, map_enter, map_leave, map_get, map_set, nullptr, map_entries,
                                  nullptr};
const cache_kind unordered_kind = {"tbb_unordered", false,          unordered_create,  unordered_destroy, map_enter, map_leave,
                                   unordered_get,   unordered_set, nullptr,           unordered_entries, nullptr};

} // namespace

extern "C" const cache_kind cache_tbb_hash, cache_tbb_unordered;
const cache_kind cache_tbb_hash = hash_map_kind;
const cache_kind cache_tbb_unordered = unordered_kind;
#endif
