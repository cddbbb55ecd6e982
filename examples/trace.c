/* SPDX-License-Identifier: Apache-2.0 */
/* Showing what a request's calls did as spans of its trace, and handing the trace on to the source. */
// ctest: run
#include <stdio.h>
#include <string.h>

#include <strata/strata.h>

/* What an exporter would take: on whichever thread the span ended, so it copies and returns. */
static void tell(void *context, const strata_span *span) {
    (void)context;
    printf("%s %s %lld us\n", span->name, strata_status_text(span->status), (long long)(span->end_ns - span->start_ns) / 1000);
}

/* A request to the source would carry these two headers. */
static void answer(strata_load *load, void *user) {
    (void)user;
    strata_bytes parent = strata_load_traceparent(load), state = strata_load_tracestate(load);
    printf("traceparent: %.*s\ntracestate: %.*s\n", (int)parent.size, (const char *)parent.data, (int)state.size, (const char *)state.data);
    (void)strata_load_finish(load, STRATA_OK, (strata_bytes){"Ada", 3}, NULL);
}

static strata_bytes text(const char *header) { return (strata_bytes){header, strlen(header)}; }

static int32_t run(strata *engine) {
    strata_namespace *users;
    strata_session *session;
    int32_t status = strata_namespace_open(engine, "users", 1, &users);
    if (status != STRATA_OK) return status;
    status = strata_session_open(engine, &session);
    if (status != STRATA_OK) return status;
    /* What came with the request. */
    status = strata_session_trace(session, text("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"), text("rojo=00f067aa0ba902b7"));
    for (int i = 0; i < 2 && status == STRATA_OK; i++) {
        strata_result result;
        status = strata_get_or_load_wait(session, users, (strata_bytes){"42", 2}, NULL, answer, NULL, &result);
        if (status == STRATA_OK) strata_result_release(session, &result);
    }
    (void)strata_session_trace(session, text(""), text("")); /* the request is over */
    /* One call of another request, by itself. */
    strata_op_options options = {.struct_size = sizeof options,
                                 .traceparent = text("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")};
    if (status == STRATA_OK) status = strata_set_wait(session, users, (strata_bytes){"42", 2}, (strata_bytes){"Grace", 5}, &options, NULL);
    strata_session_close(session);
    return status;
}

int main(void) {
    strata_config *config = NULL;
    strata *engine = NULL;
    strata_error error;
    int32_t status = strata_config_create(&config);
    if (status == STRATA_OK) status = strata_config_set(config, "l2.mode", "none", &error);
    strata_tracer tracer = {.struct_size = sizeof tracer, .span = tell};
    strata_open_options options = {.struct_size = sizeof options, .config = config, .tracer = &tracer};
    if (status == STRATA_OK) status = strata_open(&options, &engine, &error);
    if (status == STRATA_OK) status = run(engine);
    if (status != STRATA_OK) fprintf(stderr, "%s\n", strata_status_text(status));
    if (engine != NULL) (void)strata_close(engine, 1000);
    strata_config_destroy(config);
    return status == STRATA_OK ? 0 : 1;
}
