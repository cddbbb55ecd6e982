/* SPDX-License-Identifier: Apache-2.0 */
/* Which rules this process runs without: empty but in a build that can. */
#include "core/observe/broken.h"

#ifdef STRATA_BROKEN_RULES

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool sx_broken_rules[SX_RULE_COUNT];

#define SX_RULE_NAME(name, section) #name,
static const char *const names[] = {SX_RULES(SX_RULE_NAME)};

__attribute__((constructor)) static void read_rules(void) {
    char list[1024] = "";
    const char *wanted = getenv("STRATA_TEST_BROKEN");
    if (wanted != NULL) snprintf(list, sizeof list, "%s", wanted);
    char *rest = NULL;
    for (char *name = strtok_r(list, ",", &rest); name != NULL; name = strtok_r(NULL, ",", &rest)) {
        int rule = 0;
        while (rule < SX_RULE_COUNT && strcmp(name, names[rule]) != 0) rule++;
        if (rule == SX_RULE_COUNT) {
            fprintf(stderr, "STRATA_TEST_BROKEN: no rule '%s'\n", name); /* tidy: allow calls, test builds only */
            abort();                                                    /* tidy: allow calls, test builds only */
        }
        sx_broken_rules[rule] = true;
    }
}

const char *sx_broken_text(bool broken, const char *text, const char *what, const char *instead) {
    if (!broken) return text;
    size_t size = strlen(text) + 64 * strlen(instead) + 1, used = 0;
    char *out = malloc(size);
    const char *found;
    if (out == NULL) abort(); /* tidy: allow calls, test builds only */
    for (bool any = false; (found = strstr(text, what)) != NULL || !any; any = true) {
        if (found == NULL) abort(); /* the text has changed: so must the switch. tidy: allow calls, test builds only */
        used += (size_t)snprintf(out + used, size - used, "%.*s%s", (int)(found - text), text, instead);
        text = found + strlen(what);
    }
    snprintf(out + used, size - used, "%s", text);
    return out;
}

#else
typedef int sx_broken_nothing; /* a translation unit is never empty */
#endif
