/* SPDX-License-Identifier: Apache-2.0 */
/* Draws charts: maps values to places, chooses ticks, writes SVG. */
#include "bench/html/chart.h"

#include <math.h>
#include <string.h>

#define TICKS_MAX 24u

void bench_html_text(FILE *out, const char *text) {
    for (; *text != '\0'; text++) {
        switch (*text) {
        case '&': fputs("&amp;", out); break;
        case '<': fputs("&lt;", out); break;
        case '>': fputs("&gt;", out); break;
        case '"': fputs("&quot;", out); break;
        default: fputc(*text, out);
        }
    }
}

const char *bench_say(bench_unit unit, double value, char *text, size_t size) {
    static const struct {
        double step;
        const char *names[6];
    } units[] = {
        [BENCH_UNIT_COUNT] = {1000, {"", " k", " M", " G", " T", NULL}},
        [BENCH_UNIT_NS] = {1000, {" ns", " µs", " ms", " s", NULL}},
        [BENCH_UNIT_BYTES] = {1024, {" B", " KiB", " MiB", " GiB", " TiB", NULL}},
        [BENCH_UNIT_PERCENT] = {1e300, {" %", NULL}},
        [BENCH_UNIT_SECONDS] = {1e300, {" s", NULL}},
    };
    int i = 0;
    if (!isfinite(value)) return "–";
    while (fabs(value) >= units[unit].step * 0.9995 && units[unit].names[i + 1] != NULL) {
        value /= units[unit].step;
        i++;
    }
    double size_of = fabs(value);
    int digits = size_of >= 99.95 || value == floor(value) ? 0 : size_of >= 9.995 ? 1 : size_of >= 0.0995 ? 2 : 4;
    snprintf(text, size, "%.*f%s", digits, value, units[unit].names[i]);
    return text;
}

/* ---- axes --------------------------------------------------------------------------------------------------- */

typedef struct extent {
    bench_axis axis;
    double low, high; /* in the axis' own measure */
    double from, to;  /* places in the picture */
} extent;

/* A value in the measure that the axis is even in. */
static double measure(bench_scale_kind scale, double value) {
    if (scale == BENCH_SCALE_LOG) return value > 0 ? log10(value) : NAN;
    if (scale == BENCH_SCALE_NINES) return value < 1 ? -log10(1 - value) : NAN;
    return value;
}

static double place(const extent *e, double value) {
    return e->from + (measure(e->axis.scale, value) - e->low) / (e->high - e->low) * (e->to - e->from);
}

static extent extent_of(const bench_chart *chart, bool vertical, double from, double to) {
    extent e = {.axis = vertical ? chart->y : chart->x, .low = INFINITY, .high = -INFINITY, .from = from, .to = to};
    for (uint32_t i = 0; i < chart->line_count; i++) {
        const bench_line *line = &chart->lines[i];
        for (size_t j = 0; j < line->count; j++) {
            double x = measure(chart->x.scale, line->x[j]), y = measure(chart->y.scale, line->y[j]);
            double value = vertical ? y : x;
            if (!isfinite(x) || !isfinite(y)) continue;
            if (value < e.low) e.low = value;
            if (value > e.high) e.high = value;
        }
    }
    if (e.axis.scale == BENCH_SCALE_LOG) {
        e.low = floor(e.low * 3) / 3;
        e.high = ceil(e.high * 3) / 3;
    } else if (vertical || e.axis.scale == BENCH_SCALE_NINES || e.axis.unit == BENCH_UNIT_SECONDS) {
        e.low = 0;
        e.high *= vertical ? 1.06 : 1;
    }
    if (e.axis.unit == BENCH_UNIT_PERCENT && vertical) e.high = 100;
    if (!(e.high > e.low)) e.high = e.low + 1;
    return e;
}

/* Values for ticks, at most wanted of them more or less; returns how many. */
static uint32_t ticks_of(const extent *e, uint32_t wanted, double *ticks) {
    uint32_t count = 0;
    if (e->axis.scale == BENCH_SCALE_NINES) {
        static const double quantiles[] = {0, 0.5, 0.9, 0.99, 0.999, 0.9999, 0.99999, 0.999999};
        for (size_t i = 0; i < sizeof quantiles / sizeof quantiles[0]; i++)
            if (measure(e->axis.scale, quantiles[i]) <= e->high + 1e-9) ticks[count++] = quantiles[i];
    } else if (e->axis.scale == BENCH_SCALE_LOG) {
        bool fine = e->high - e->low <= 2;
        for (double decade = floor(e->low); decade <= e->high && count + 3 < TICKS_MAX; decade++) {
            static const double parts[] = {1, 2, 5};
            for (size_t i = 0; i < (fine ? 3 : 1); i++) {
                double value = parts[i] * pow(10, decade), at = log10(value);
                if (at >= e->low - 1e-9 && at <= e->high + 1e-9) ticks[count++] = value;
            }
        }
    } else {
        double base = e->axis.unit == BENCH_UNIT_BYTES ? 1024 : 1000, span = (e->high - e->low) / wanted;
        double power = e->axis.unit == BENCH_UNIT_BYTES ? pow(base, floor(log(span) / log(base))) : 1;
        double step = pow(10, floor(log10(span / power)));
        double times = span / power / step;
        step *= power * (times > 5 ? 10 : times > 2 ? 5 : times > 1 ? 2 : 1);
        for (double value = ceil(e->low / step) * step; value <= e->high * (1 + 1e-9) && count < TICKS_MAX; value += step)
            ticks[count++] = value;
    }
    return count;
}

static void say_tick(const bench_axis *axis, double value, char *text, size_t size) {
    if (axis->scale == BENCH_SCALE_NINES) snprintf(text, size, value == 0 ? "min" : "p%.6g", value * 100);
    else bench_say(axis->unit, value, text, size);
}

/* ---- drawing ------------------------------------------------------------------------------------------------ */

static void draw_axes(FILE *out, const extent *x, const extent *y) {
    double ticks[TICKS_MAX];
    char text[32];
    uint32_t count = ticks_of(y, 5, ticks);
    for (uint32_t i = 0; i < count; i++) {
        double at = place(y, ticks[i]);
        say_tick(&y->axis, ticks[i], text, sizeof text);
        fprintf(out, "<line class='grid' x1='%.1f' x2='%.1f' y1='%.1f' y2='%.1f'/><text x='%.1f' y='%.1f' class='tick end'>%s</text>\n",
                x->from, x->to, at, at, x->from - 6, at + 4, text);
    }
    count = ticks_of(x, x->to - x->from > 500 ? 8 : 4, ticks);
    double last = -INFINITY;
    for (uint32_t i = 0; i < count; i++) {
        double at = place(x, ticks[i]);
        say_tick(&x->axis, ticks[i], text, sizeof text);
        if (at - last < 12 + 7 * (double)strlen(text)) continue; /* would touch the one before */
        last = at;
        fprintf(out, "<line class='grid' x1='%.1f' x2='%.1f' y1='%.1f' y2='%.1f'/><text x='%.1f' y='%.1f' class='tick mid'>%s</text>\n",
                at, at, y->from, y->to, at, y->from + 18, text);
    }
    fprintf(out, "<line class='axis' x1='%.1f' x2='%.1f' y1='%.1f' y2='%.1f'/>\n", x->from, x->to, y->from, y->from);
}

static void draw_line(FILE *out, const bench_line *line, uint32_t index, const extent *x, const extent *y) {
    bool pen = false;
    fprintf(out, "<path class='line c%u' d='", index);
    for (size_t i = 0; i < line->count; i++) {
        double at_x = place(x, line->x[i]), at_y = place(y, line->y[i]);
        bool good = isfinite(at_x) && isfinite(at_y);
        if (good) fprintf(out, "%c%.1f %.1f", pen ? 'L' : 'M', at_x, at_y);
        pen = good;
    }
    fputs("'><title>", out);
    bench_html_text(out, line->name);
    fputs("</title></path>\n", out);
}

static void draw_marks(FILE *out, const bench_chart *chart, const extent *x, const extent *y) {
    for (uint32_t i = 0; i < chart->mark_count; i++) {
        double at = place(x, chart->marks[i].x);
        if (at < x->from - 1 || at > x->to + 1) continue;
        fprintf(out, "<line class='mark' x1='%.1f' x2='%.1f' y1='%.1f' y2='%.1f'/><text class='mark %s' x='%.1f' y='%.1f'>", at, at,
                y->from, y->to, at > (x->from + x->to) / 2 ? "end" : "", at + (at > (x->from + x->to) / 2 ? -4 : 4),
                y->to + 12 + 13 * (i % 3));
        bench_html_text(out, chart->marks[i].text);
        fputs("</text>\n", out);
    }
}

static void draw_size(FILE *out, const bench_chart *chart, const char *name, double width, double height) {
    extent x = extent_of(chart, false, 66, width - 14), y = extent_of(chart, true, height - 28, 12);
    fprintf(out, "<svg class='%s' viewBox='0 0 %.0f %.0f' role='img' aria-label='", name, width, height);
    bench_html_text(out, chart->title);
    fputs("'>\n", out);
    draw_axes(out, &x, &y);
    draw_marks(out, chart, &x, &y);
    for (uint32_t i = 0; i < chart->line_count; i++) draw_line(out, &chart->lines[i], i, &x, &y);
    fputs("</svg>\n", out);
}

bool bench_chart_has_line(const bench_chart *chart) {
    for (uint32_t i = 0; i < chart->line_count; i++) {
        size_t good = 0;
        for (size_t j = 0; j < chart->lines[i].count; j++)
            good += isfinite(measure(chart->x.scale, chart->lines[i].x[j])) && isfinite(measure(chart->y.scale, chart->lines[i].y[j]));
        if (good >= 2) return true;
    }
    return false;
}

void bench_chart_draw(FILE *out, const bench_chart *chart) {
    if (!bench_chart_has_line(chart)) return;
    fputs("<figure><figcaption><b>", out);
    bench_html_text(out, chart->title);
    fputs("</b>", out);
    if (chart->note != NULL) {
        fputs(" <span class='note'>", out);
        bench_html_text(out, chart->note);
        fputs("</span>", out);
    }
    fputs("<div class='legend'>", out);
    for (uint32_t i = 0; i < chart->line_count; i++) {
        fprintf(out, "<span><i class='b%u'></i>", i);
        bench_html_text(out, chart->lines[i].name);
        fputs("</span>", out);
    }
    fputs("</div></figcaption>\n", out);
    draw_size(out, chart, "wide", 960, 320);
    draw_size(out, chart, "narrow", 380, 260);
    fputs("</figure>\n", out);
}
