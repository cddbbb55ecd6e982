/* SPDX-License-Identifier: Apache-2.0 */
/* Lines through measured points, and what they say of a fleet that nobody has here. */
#include "bench/scale.h"

#include <math.h>

bench_fit bench_fit_line(const double *x, const double *y, size_t count) {
    double n = (double)count, x_sum = 0, y_sum = 0, xx = 0, xy = 0;
    for (size_t i = 0; i < count; i++) {
        x_sum += x[i];
        y_sum += y[i];
        xx += x[i] * x[i];
        xy += x[i] * y[i];
    }
    double spread = n * xx - x_sum * x_sum;
    bench_fit fit = {.slope = spread > 0 ? (n * xy - x_sum * y_sum) / spread : 0};
    fit.base = n > 0 ? (y_sum - fit.slope * x_sum) / n : NAN;
    return fit;
}

static double at(const bench_fit *fit, double x) { return fit->base + fit->slope * x; }

bench_scale_prediction bench_scale_predict(const bench_scale_model *model, double processes, double nodes, double writes_per_second) {
    double partitions = model->partitions / nodes, write_us = at(&model->write_us, processes);
    bench_scale_prediction p = {
        .node_idle_share = processes * at(&model->idle_server_us, partitions) / 1e6,
        .process_idle_share = nodes * at(&model->idle_process_us, partitions) / 1e6,
        .node_memory_bytes = processes * at(&model->memory_bytes, partitions),
        .node_write_share = writes_per_second / nodes * write_us / 1e6,
        .process_message_share = writes_per_second * model->message_us / 1e6,
    };
    double left = 1 - p.node_idle_share, left_of_loop = 1 - p.process_idle_share;
    p.node_writes_max = left > 0 ? left * 1e6 / write_us : 0;
    p.fleet_writes_max = p.node_writes_max * nodes;
    p.process_messages_max = left_of_loop > 0 ? left_of_loop * 1e6 / model->message_us : 0;
    return p;
}
