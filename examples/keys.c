/* SPDX-License-Identifier: Apache-2.0 */
// ctest: run
/* Keys: segments are joined so that no two lists of them make the same key, whatever they contain; structured parameters
   become a hash that does not depend on the order in which they were written. */
#include <stdio.h>
#include <strata/strata.h>

static int show(const strata_key *key) {
    strata_bytes bytes;
    int32_t status = strata_key_finish(key, &bytes); /* what failed before is told here */
    if (status != STRATA_OK) {
        fprintf(stderr, "%s\n", strata_status_text(status));
        return 1;
    }
    printf("%.*s\n", (int)bytes.size, (const char *)bytes.data);
    return 0;
}

/* {"limit": 20, "sort": "name"} with its pairs in either order. */
static void pack_query(strata_packer *packer, int limit_first) {
    strata_packer_reset(packer);
    strata_pack_map(packer, 2);
    for (int i = 0; i < 2; i++) {
        if ((i == 0) == (limit_first != 0)) {
            strata_pack_str(packer, (strata_bytes){"limit", 5});
            strata_pack_int(packer, 20);
        } else {
            strata_pack_str(packer, (strata_bytes){"sort", 4});
            strata_pack_str(packer, (strata_bytes){"name", 4});
        }
    }
}

int main(void) {
    char buffer[256];
    strata_key key;
    strata_packer *packer;
    if (strata_packer_create(&packer) != STRATA_OK) return 1;

    strata_key_begin(&key, buffer, sizeof buffer);
    strata_key_tenant(&key, (strata_bytes){"acme", 4});
    strata_key_text(&key, "invoice");
    strata_key_int(&key, 2026);
    strata_key_text(&key, "a:b"); /* "@acme:invoice:2026:a%3Ab" */
    int failed = show(&key);

    for (int limit_first = 0; limit_first < 2; limit_first++) { /* the same key twice */
        strata_bytes query;
        pack_query(packer, limit_first);
        if (strata_packer_finish(packer, &query) != STRATA_OK) failed = 1;
        strata_key_begin(&key, buffer, sizeof buffer);
        strata_key_text(&key, "search");
        strata_key_query(&key, query);
        failed += show(&key);
    }
    strata_packer_destroy(packer);
    return failed;
}
