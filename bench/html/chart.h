/* SPDX-License-Identifier: Apache-2.0 */
/* A line chart as inline SVG: axes that choose their ticks, lines with gaps, marks on the time axis. */
#ifndef BENCH_HTML_CHART_H
#define BENCH_HTML_CHART_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

typedef enum bench_unit { BENCH_UNIT_COUNT, BENCH_UNIT_NS, BENCH_UNIT_BYTES, BENCH_UNIT_PERCENT, BENCH_UNIT_SECONDS } bench_unit;

/* LOG: powers of ten. NINES: of quantiles (0 .. 1), each further nine takes as much room. */
typedef enum bench_scale_kind { BENCH_SCALE_LINEAR, BENCH_SCALE_LOG, BENCH_SCALE_NINES } bench_scale_kind;

typedef struct bench_axis {
    bench_scale_kind scale;
    bench_unit unit;
} bench_axis;

#define BENCH_CHART_LINES_MAX 9u
#define BENCH_CHART_MARKS_MAX 64u
typedef struct bench_line {
    const char *name;
    const double *x, *y; /* y: NAN leaves a gap; on a LOG axis so does what is not above 0 */
    size_t count;
} bench_line;

typedef struct bench_mark {
    double x;
    const char *text;
} bench_mark;

typedef struct bench_chart {
    const char *title, *note; /* note: a sentence below the title, or NULL */
    bench_axis x, y;
    bench_line lines[BENCH_CHART_LINES_MAX];
    uint32_t line_count;
    bench_mark marks[BENCH_CHART_MARKS_MAX];
    uint32_t mark_count;
} bench_chart;

/* Whether there are two points to draw a line between. */
bool bench_chart_has_line(const bench_chart *chart);
/* A figure: title, legend, and the chart twice, for wide and for narrow screens; the page's style shows one of them. */
void bench_chart_draw(FILE *out, const bench_chart *chart);

/* "1.25 ms", "3.4 MiB", "12.5 k", "99.9 %": for people, in at most four digits. */
const char *bench_say(bench_unit unit, double value, char *text, size_t size);
/* Text with what HTML would take for markup escaped. */
void bench_html_text(FILE *out, const char *text);

#endif
