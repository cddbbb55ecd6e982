/* SPDX-License-Identifier: Apache-2.0 */
/* A result as one HTML page that needs nothing else: no network, no script. */
#ifndef BENCH_HTML_PAGE_H
#define BENCH_HTML_PAGE_H

#include <jansson.h>
#include <stddef.h>

/* Writes the page of a result file of any subcommand; more of it is drawn the more the result holds. 0, or -1 with a text. */
int bench_html_write(const char *json_path, const char *html_path, char *error, size_t error_size);

/* One of several results on a page. */
typedef struct bench_html_part {
    const char *title;
    const json_t *root;
} bench_html_part;

/* A page of several results, each with its curves; screen: text that comes first, as it is. 0, or -1 with a text. */
int bench_html_write_parts(const char *title, const char *screen, const bench_html_part *parts, size_t count, const char *html_path,
                           char *error, size_t error_size);

#endif
