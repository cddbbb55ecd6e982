/* SPDX-License-Identifier: Apache-2.0 */
/* A result for other programs: its course as CSV, its histograms as HdrHistogram's percentile tables. */
#ifndef BENCH_HTML_EXPORT_H
#define BENCH_HTML_EXPORT_H

#include <stddef.h>

/* One line per point of the series, one column per number of it. 0, or -1 with a text. */
int bench_export_csv(const char *json_path, const char *csv_path, char *error, size_t error_size);
/* PREFIX.latency.l1_hit.hgrm and so on, in milliseconds, as HdrHistogram's plotting page reads them. 0, or -1 with a text. */
int bench_export_hgrm(const char *json_path, const char *prefix, char *error, size_t error_size);

/* strata-bench report; argv without the program and subcommand. Returns the exit status. */
/* All histograms as a HdrHistogram log, a line each, tagged latency.l1_hit and so on. 0, or -1 with a text. */
int bench_export_hlog(const char *json_path, const char *hlog_path, char *error, size_t error_size);
int bench_report_main(int argc, char **argv);

#endif
