/* SPDX-License-Identifier: Apache-2.0 */
/* Options of an open engine changed together, or by a file that is read again. Included by strata.h; config.h says what options are. */
#ifndef STRATA_OPTIONS_H
#define STRATA_OPTIONS_H

#include <strata/strata.h>

#ifdef __cplusplus
extern "C" {
#endif

/*
 * Changes several hot options of an open engine: all of them or, at the first that is refused, none. Each one that is another
 * than before is logged, with both values. An operation under way may see some of them before the others.
 *   engine  an engine
 *   names   count names, "section.key"; each once
 *   values  count values, as they would stand in a file
 *   count   how many
 *   error   receives the option and its allowed range; may be NULL
 * Returns: STRATA_OK; STRATA_E_CONFIG where one is unknown, out of range, named twice or not hot; STRATA_E_INVALID; STRATA_E_NOMEM;
 *          STRATA_E_CLOSED; STRATA_E_FORKED.
 * Owns:    nothing; the texts are copied.
 * Threads: any.
 * Blocks:  on a lock held for a few instructions, or while another change is made.
 * Since:   0.1
 */
STRATA_API int32_t strata_options_set(strata *engine, const char *const *names, const char *const *values, size_t count,
                                      strata_error *error);

/*
 * Reads a file as strata_config_load_file does and has an open engine take it in the place of what the file layer held: all of it
 * or, at the first thing that is wrong, nothing. An option that the file no longer names has its default again; what the
 * environment or the program has set stays. An option that is not hot must have the value it has.
 *   engine  an engine
 *   path    the file, at most 1 MiB
 *   error   receives file, line, the option and its allowed range; may be NULL
 * Returns: STRATA_OK; STRATA_E_CONFIG; STRATA_E_SYSTEM where it can't be read; STRATA_E_INVALID; STRATA_E_NOMEM; STRATA_E_CLOSED;
 *          STRATA_E_FORKED.
 * Owns:    nothing; the text is copied.
 * Threads: any.
 * Blocks:  on the file system, and as strata_options_set.
 * Since:   0.1
 */
STRATA_API int32_t strata_options_reload(strata *engine, const char *path, strata_error *error);

/*
 * Has an open engine reload a file whenever it changes (its time, size or inode), beginning with the next change. A file that is
 * refused is logged, once, and changes nothing; one that is gone is waited for. Best replaced as a whole, by rename: what is written
 * in pieces may be read in between.
 *   engine       an engine
 *   path         the file, copied; NULL ends the watch there is, and one that is given takes its place
 *   interval_ms  how often it is looked at, 10 .. 3600000; 0 for 1000
 *   error        receives what was refused; may be NULL
 * Returns: STRATA_OK; STRATA_E_CONFIG for the interval; STRATA_E_INVALID; STRATA_E_NOMEM; STRATA_E_SYSTEM where no thread can be
 *          had; STRATA_E_CLOSED; STRATA_E_FORKED.
 * Owns:    nothing.
 * Threads: any but the engine's own and those that it logs on.
 * Blocks:  until the watch there was has ended, which may be reading a file.
 * Since:   0.1
 */
STRATA_API int32_t strata_options_watch(strata *engine, const char *path, uint32_t interval_ms, strata_error *error);

/*
 * Tells which configuration an engine has: a number that is 1 at open and grows with each call, or file, that changed any option.
 *   engine   an engine
 *   version  receives it
 * Returns: STRATA_OK; STRATA_E_INVALID; STRATA_E_FORKED.
 * Owns:    nothing.
 * Threads: any.
 * Blocks:  on a lock held for a few instructions.
 * Since:   0.1
 */
STRATA_API int32_t strata_options_version(strata *engine, uint64_t *version);

#ifdef __cplusplus
}
#endif
#endif
