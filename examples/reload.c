/* SPDX-License-Identifier: Apache-2.0 */
/* Options changed while the engine is open: two at once by the program, what one namespace is given, and by a file that is watched. */
// ctest: run
#include <stdio.h>

#include <strata/strata.h>

static int32_t show(strata *engine, const char *name) {
    char text[64];
    int32_t status = strata_option_get(engine, name, text, sizeof text);
    if (status == STRATA_OK) printf("%s = %s\n", name, text);
    return status;
}

static int32_t run(strata *engine) {
    strata_error error;
    const char *names[] = {"l1.bytes", "flow.deadline"}, *values[] = {"1GiB", "250ms"};
    int32_t status = strata_options_set(engine, names, values, 2, &error); /* both or none */
    if (status == STRATA_OK) status = show(engine, "l1.bytes");
    values[1] = "soon";
    if (status == STRATA_OK && strata_options_set(engine, names, values, 2, &error) == STRATA_E_CONFIG) printf("refused: %s\n", error.text);
    if (status == STRATA_OK) status = strata_option_set(engine, "namespace.users.ttl", "10m", &error); /* or ttl below [namespace.users] in a file */
    strata_namespace *users;
    strata_namespace_policy policy = {.struct_size = sizeof policy};
    if (status == STRATA_OK) status = strata_namespace_open(engine, "users", 1, &users);
    if (status == STRATA_OK) status = strata_namespace_policy_effective(users, &policy);
    if (status == STRATA_OK) printf("users live for %lld ms\n", (long long)policy.ttl_ms);
    uint64_t version;
    if (status == STRATA_OK) status = strata_options_version(engine, &version);
    if (status == STRATA_OK) printf("configuration %llu\n", (unsigned long long)version);
    if (status == STRATA_OK) status = strata_options_watch(engine, "/etc/app/strata.conf", 0, &error); /* whenever the file changes */
    return status;
}

int main(void) {
    strata_config *config = NULL;
    strata *engine = NULL;
    strata_error error;
    int32_t status = strata_config_create(&config);
    if (status == STRATA_OK) status = strata_config_set(config, "l2.mode", "none", &error);
    strata_open_options options = {.struct_size = sizeof options, .config = config};
    if (status == STRATA_OK) status = strata_open(&options, &engine, &error);
    if (status == STRATA_OK) status = run(engine);
    if (status != STRATA_OK) fprintf(stderr, "%s\n", strata_status_text(status));
    if (engine != NULL) (void)strata_close(engine, 1000);
    strata_config_destroy(config);
    return status == STRATA_OK ? 0 : 1;
}
