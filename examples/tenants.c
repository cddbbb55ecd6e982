/* SPDX-License-Identifier: Apache-2.0 */
/* Two tenants in one cache: one is limited, both are counted, and one of them leaves. */
// ctest: run
#include <stdio.h>
#include <string.h>

#include <strata/strata.h>

static strata_bytes name_of(const char *tenant) { return (strata_bytes){tenant, strlen(tenant)}; }

static int32_t put(strata_session *session, strata_namespace *ns, const char *tenant, int64_t number) {
    char buffer[64];
    strata_key key;
    strata_bytes bytes;
    strata_key_begin(&key, buffer, sizeof buffer);
    (void)strata_key_tenant(&key, name_of(tenant));
    (void)strata_key_int(&key, number);
    int32_t status = strata_key_finish(&key, &bytes);
    return status == STRATA_OK ? strata_set_wait(session, ns, bytes, name_of("an invoice"), NULL, NULL) : status;
}

static int32_t show(strata *engine, const char *tenant) {
    strata_usage usage = {.struct_size = sizeof usage};
    int32_t status = strata_tenant_usage(engine, name_of(tenant), &usage);
    if (status == STRATA_OK) printf("%s: %lld entries, %lld bytes\n", tenant, (long long)usage.entries, (long long)usage.bytes);
    return status;
}

static int32_t run(strata *engine) {
    strata_namespace *invoices;
    strata_session *session;
    strata_error error;
    int32_t status = strata_namespace_open(engine, "invoices", 1, &invoices);
    if (status != STRATA_OK) return status;
    status = strata_session_open(engine, &session);
    if (status != STRATA_OK) return status;
    status = strata_tenant_limit(engine, name_of("acme"), 8 << 20, &error); /* the others have what flow.tenant_part leaves them */
    strata_quota quota = {.struct_size = sizeof quota, .priority = STRATA_PRIORITY_LOW, .entries_max = 100000};
    if (status == STRATA_OK) status = strata_namespace_quota_set(invoices, &quota, &error); /* leaves first, and has no more than that */
    for (int64_t i = 0; i < 100 && status == STRATA_OK; i++) status = put(session, invoices, i % 4 == 0 ? "globex" : "acme", i);
    if (status == STRATA_OK) status = show(engine, "acme");
    if (status == STRATA_OK) status = show(engine, "globex");
    if (status == STRATA_OK) status = strata_tenant_clear_wait(session, invoices, name_of("globex"), NULL);
    strata_session_close(session);
    return status;
}

int main(void) {
    strata_config *config = NULL;
    strata *engine = NULL;
    strata_error error;
    int32_t status = strata_config_create(&config);
    if (status == STRATA_OK) status = strata_config_set(config, "l2.mode", "none", &error);
    if (status == STRATA_OK) status = strata_config_set(config, "flow.l1_usage", "on", &error);
    strata_open_options options = {.struct_size = sizeof options, .config = config};
    if (status == STRATA_OK) status = strata_open(&options, &engine, &error);
    if (status == STRATA_OK) status = run(engine);
    if (status != STRATA_OK) fprintf(stderr, "%s\n", strata_status_text(status));
    if (engine != NULL) (void)strata_close(engine, 1000);
    strata_config_destroy(config);
    return status == STRATA_OK ? 0 : 1;
}
