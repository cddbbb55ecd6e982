/* SPDX-License-Identifier: Apache-2.0 */
/* Real traces through the real store: misses against a true LRU of as many entries. */
#ifndef BENCH_L1_REPLAY_H
#define BENCH_L1_REPLAY_H

/* Replays every trace of a folder at 1, 10 and 20 % of its distinct keys, each key counting one, and prints a table. 0, or 1
   with a text on stderr. only: NULL, or part of the names to take. */
int replay_folder(const char *folder, const char *only);

#endif
