/* SPDX-License-Identifier: Apache-2.0 */
// ctest: run
/* Structured values: packed as msgpack straight into the library's buffer, and read in place where they are cached, field by
   field, without unpacking or copying. */
#include <inttypes.h>
#include <stdio.h>
#include <strata/strata.h>
#include <string.h>

static strata_bytes text(const char *string) {
    return (strata_bytes){string, strlen(string)};
}

/* {"name": ..., "age": ..., "tags": [...]}; errors stick to the packer, so only the last call is looked at. */
static int32_t pack_person(strata_packer *packer, strata_bytes *out) {
    strata_packer_reset(packer);
    strata_pack_map(packer, 3);
    strata_pack_str(packer, text("name"));
    strata_pack_str(packer, text("Grace"));
    strata_pack_str(packer, text("age"));
    strata_pack_int(packer, 85);
    strata_pack_str(packer, text("tags"));
    strata_pack_array(packer, 2);
    strata_pack_str(packer, text("navy"));
    strata_pack_str(packer, text("compilers"));
    return strata_packer_finish(packer, out);
}

static int32_t print_person(strata_bytes bytes) {
    strata_field person, field, tag;
    strata_bytes name, word;
    int64_t age;
    uint32_t count;
    int32_t status = strata_field_root(bytes, &person); /* checks all of it, once */
    if (status == STRATA_OK) status = strata_field_get(person, "name", &field);
    if (status == STRATA_OK) status = strata_field_bytes(field, &name);
    if (status == STRATA_OK) status = strata_field_get(person, "age", &field);
    if (status == STRATA_OK) status = strata_field_int(field, &age);
    if (status != STRATA_OK) return status;
    printf("%.*s, %" PRId64 "\n", (int)name.size, (const char *)name.data, age);
    status = strata_field_get(person, "tags", &field);
    if (status == STRATA_OK) status = strata_field_count(field, &count);
    for (uint32_t i = 0; status == STRATA_OK && i < count; i++) {
        status = strata_field_at(field, i, &tag);
        if (status == STRATA_OK) status = strata_field_bytes(tag, &word);
        if (status == STRATA_OK) printf("  %.*s\n", (int)word.size, (const char *)word.data);
    }
    return status;
}

static int32_t run(strata_session *session, strata_namespace *people, strata_packer *packer) {
    strata_bytes packed;
    strata_result result;
    int32_t status = pack_person(packer, &packed);
    if (status == STRATA_OK) status = strata_set_wait(session, people, text("grace"), packed, NULL, NULL);
    if (status == STRATA_OK) status = strata_get_wait(session, people, text("grace"), NULL, &result);
    if (status != STRATA_OK) return status;
    status = print_person(result.value); /* the bytes in the cache itself */
    strata_result_release(session, &result);
    return status;
}

int main(void) {
    strata_config *config = NULL;
    strata_config_create(&config);
    strata_config_set(config, "l2.mode", "none", NULL);
    strata_open_options options = {.struct_size = sizeof options, .config = config};
    strata *engine = NULL;
    strata_session *session = NULL;
    strata_namespace *people = NULL;
    strata_packer *packer = NULL;
    if (strata_open(&options, &engine, NULL) != STRATA_OK) return 1;
    strata_config_destroy(config);
    int32_t status = strata_session_open(engine, &session);
    if (status == STRATA_OK) status = strata_namespace_open(engine, "people", 1, &people);
    if (status == STRATA_OK) status = strata_packer_create(&packer);
    if (status == STRATA_OK) status = run(session, people, packer);
    if (status != STRATA_OK)
        fprintf(stderr, "%s: %s\n", strata_status_name(status), strata_status_text(status));
    strata_packer_destroy(packer);
    strata_session_close(session);
    return strata_close(engine, 1000) == STRATA_OK && status == STRATA_OK ? 0 : 1;
}
