#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What L1 could do on more cores than were measured: a simulation of who writes which cache line.

Each thread has a clock. An operation adds its own time and then takes the shared lines that it writes, one after the other: a
line that was last written by another core costs a transfer, between sockets a dearer one, and is given to one at a time.
A latch is held for as long as its owner works. Nothing else is modelled: no memory bandwidth, no scheduler, no hyperthreads.

Usage: scale-l1.py [--writes SHARE] [--own-get NS] [--own-put NS] [--keys N] [--skew S]
"""
import argparse
import bisect
import random

LINE_NEAR_NS, LINE_FAR_NS, LINE_OWN_NS = 60, 150, 5  # from a core of the same socket, of another, of the same core
CORES_A_SOCKET = 32
SHARDS, SHARDS_OWN = 64, 48  # of counters, and of them those with one writer each: l1/table.h
LATCH_NS = 150         # how long a put holds its group
KEYS_A_GROUP = 20
HITS_UNTIL_QUIET = 3   # a policy byte is written so often, then left alone until the entry is aged
AGED_EVERY = 50        # hits between two agings of a hot entry's byte, for a table that evicts


class Line:
    __slots__ = ("owner", "free_ns")

    def __init__(self):
        self.owner, self.free_ns = None, 0.0

    def take(self, core, now_ns, held_ns=0.0):
        start = max(now_ns, self.free_ns)
        if self.owner == core or self.owner is None:
            cost = LINE_OWN_NS
        else:
            near = self.owner // CORES_A_SOCKET == core // CORES_A_SOCKET
            cost = LINE_NEAR_NS if near else LINE_FAR_NS
        self.owner, self.free_ns = core, start + cost + held_ns
        return self.free_ns


def zipf_sums(keys, skew):
    sums, total = [], 0.0
    for i in range(keys):
        total += 1 / (i + 1) ** skew
        sums.append(total)
    return sums


def simulate(cores, options, sums, operations=40000):
    rng = random.Random(1)
    clocks = [rng.random() * 100 for _ in range(cores)]
    groups, shards, hits = {}, [Line() for _ in range(SHARDS)], {}
    waited = 0.0
    for _ in range(operations):
        core = min(range(cores), key=clocks.__getitem__)
        key = bisect.bisect_left(sums, rng.random() * sums[-1])
        group = groups.setdefault(hash((key, 7)) % max(1, options.keys // KEYS_A_GROUP), Line())
        if rng.random() < options.writes:
            now = clocks[core] + options.own_put
            done = group.take(core, now, LATCH_NS)
            number = core + 2  # before it come the keeper and the loop
            done = shards[number if number < SHARDS_OWN else SHARDS_OWN + number % (SHARDS - SHARDS_OWN)].take(core, done)
            waited += done - now
            hits[key] = 0
        else:
            now = done = clocks[core] + options.own_get
            seen = hits.get(key, 0)
            hits[key] = seen + 1
            if seen < HITS_UNTIL_QUIET or (options.evicts and seen % AGED_EVERY == 0):
                done = group.take(core, now)
            elif group.owner not in (None, core) and options.writes > 0 and rng.random() < options.writes:
                done = now + LINE_NEAR_NS  # somebody wrote the line since this core read it
            waited += done - now
        clocks[core] = done
    return operations / max(clocks) * 1e3, waited / operations


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--writes", type=float, default=0.05, help="share of puts")
    parser.add_argument("--own-get", type=float, default=110, help="ns of a get that no other core feels")
    parser.add_argument("--own-put", type=float, default=250, help="ns of a put without latch and counters")
    parser.add_argument("--keys", type=int, default=100000)
    parser.add_argument("--skew", type=float, default=0.99)
    parser.add_argument("--evicts", action="store_true", help="entries are aged: hot policy bytes are written now and then")
    options = parser.parse_args()
    sums = zipf_sums(options.keys, options.skew)
    print(f"{'cores':>5} {'M/s':>8} {'of linear':>9} {'ns for others':>13}")
    one = None
    for cores in (1, 2, 4, 8, 16, 32, 48, 64):
        rate, waited = simulate(cores, options, sums)
        one = one or rate
        print(f"{cores:5} {rate:8.1f} {rate / one / cores:9.2f} {waited:13.1f}")


if __name__ == "__main__":
    main()
