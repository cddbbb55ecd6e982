/* SPDX-License-Identifier: Apache-2.0 */
/* Histograms as lines of a HdrHistogram log, which its tools read, merge and plot. */
#ifndef BENCH_HTML_HLOG_H
#define BENCH_HTML_HLOG_H

#include <jansson.h>
#include <stdio.h>

/* The lines before the first histogram; started_s: seconds since 1970. */
void bench_hlog_begin(FILE *out, double started_s);
/* A line: a histogram of a result file, recorded for so long from the start on, under a tag without commas and spaces. -1 where there is
   no memory, or nothing was counted. */
int bench_hlog_add(FILE *out, const char *tag, double seconds, const json_t *histogram);

#endif
