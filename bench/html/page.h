/* SPDX-License-Identifier: Apache-2.0 */
/* A result as one HTML page that needs nothing else: no network, no script. */
#ifndef BENCH_HTML_PAGE_H
#define BENCH_HTML_PAGE_H

#include <stddef.h>

/* Writes the page of a result file of any subcommand; more of it is drawn the more the result holds. 0, or -1 with a text. */
int bench_html_write(const char *json_path, const char *html_path, char *error, size_t error_size);

#endif
