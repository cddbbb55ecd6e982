/* SPDX-License-Identifier: Apache-2.0 */
/* The JSON writer: nesting, commas, escapes, and numbers that JSON does not have. */
#include "bench/json.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void test_document(void **state) {
    (void)state;
    static const char expected[] =
        "{\n  \"a\\\"b\\\\\": \"line\\u000a\",\n  \"empty\": {},\n  \"list\": [\n    1,\n    -2,\n"
        "    {\n      \"x\": 0.5\n    }\n  ],\n  \"none\": null,\n  \"yes\": true,\n"
        "  \"large\": 9223372036854775807\n}\n";
    char *text = NULL;
    size_t size = 0;
    FILE *file = open_memstream(&text, &size);
    bench_json json;
    assert_non_null(file);
    bench_json_init(&json, file);
    bench_json_object_begin(&json, NULL);
    bench_json_text(&json, "a\"b\\", "line\n");
    bench_json_object_begin(&json, "empty");
    bench_json_object_end(&json);
    bench_json_array_begin(&json, "list");
    bench_json_integer(&json, NULL, 1);
    bench_json_integer(&json, NULL, -2);
    bench_json_object_begin(&json, NULL);
    bench_json_number(&json, "x", 0.5);
    bench_json_object_end(&json);
    bench_json_array_end(&json);
    bench_json_number(&json, "none", (double)INFINITY);
    bench_json_boolean(&json, "yes", true);
    bench_json_integer(&json, "large", INT64_MAX);
    bench_json_object_end(&json);
    assert_int_equal(fclose(file), 0);
    assert_string_equal(text, expected);
    free(text);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_document)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
