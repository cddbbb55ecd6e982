/* SPDX-License-Identifier: Apache-2.0 */
/* Prints docs/CONFIG.md or docs/METRICS.md from the tables that the library itself reads; a test compares. */
#include <stdio.h>
#include <string.h>

#include <strata/strata.h>

/* ---- text ---------------------------------------------------------------------------------------------------- */

#define SECTION_BYTES_MAX 32

/* The part of a name before its dot. */
static void section_of(const char *name, char out[SECTION_BYTES_MAX]) {
    (void)snprintf(out, SECTION_BYTES_MAX, "%.*s", (int)strcspn(name, "."), name);
}

/* `a`, `b` for "a|b": a bar would end a table's cell. */
static void print_code(const char *text) {
    (void)putchar('`');
    for (; *text != '\0'; text++) {
        if (*text == '|') (void)fputs("`, `", stdout);
        else (void)putchar(*text);
    }
    (void)putchar('`');
}

/* One line of documentation as a sentence, whoever wrote it how. A first word that is a name stays as it is. */
static void print_sentence(const char *text) {
    size_t word = strcspn(text, " ,.-_");
    size_t size = strlen(text);
    if (size == 0) return;
    char first = text[0];
    if (first >= 'a' && first <= 'z' && (text[word] == ' ' || text[word] == ',')) first = (char)(first - 'a' + 'A');
    (void)printf("%c%s%s", first, text + 1, text[size - 1] == '.' ? "" : ".");
}

/* ---- options -------------------------------------------------------------------------------------------------- */

static const char config_head[] =
    "# Configuration\n"
    "\n"
    "Every option there is, printed from the tables in the source by `strata-reference config`. The test `docs.config`\n"
    "fails when this page and the tables differ; don't edit it by hand.\n"
    "\n"
    "## Layers\n"
    "\n"
    "A value comes from the highest layer that has one: **program** (`strata_config_set`, and `strata_option_set` while\n"
    "open), **environment** (`strata_config_load_environment`), **file** (`strata_config_load_file`), **default**. The\n"
    "order of the calls does not matter: a lower layer never replaces a higher one. Loading a file or the environment\n"
    "takes all of it or, at the first thing that is wrong, nothing. `strata_config_get` says a value and its layer.\n"
    "\n"
    "`strata_open` copies the configuration it is given. Given none, it takes the defaults and the environment.\n"
    "\n"
    "The environment's name of `section.key` is `STRATA_SECTION_KEY`. A variable that begins with `STRATA_` and names no\n"
    "option is refused: a misspelt option must not be a silent one. `STRATA_TEST_` and `STRATA_BENCH_` are left alone.\n"
    "\n"
    "*Hot* options may be changed while an engine is open: one by `strata_option_set`, several, all or none, by `strata_options_set`, and by a\n"
    "file that is read again (`strata_options_reload`) or watched (`strata_options_watch`); the others are read once, at open. Each change is\n"
    "logged with old and new value, and has a number (`strata_options_version`).\n"
    "\n"
    "## The file\n"
    "\n"
    "```ini\n"
    "# A comment: a '#' at the start of a line or after a blank.\n"
    "[l1]\n"
    "bytes = 512MiB\n"
    "\n"
    "[l2]\n"
    "mode = cluster\n"
    "nodes = 10.0.0.1:6379,10.0.0.2:6379,[fd00::3]:6379\n"
    "password = \"with a # or blanks at the end: \"\n"
    "\n"
    "[coherence]\n"
    "max_staleness = 250ms\n"
    "\n"
    "[namespace.users]\n"
    "ttl = 10m\n"
    "stale_if_failing = 1h\n"
    "```\n"
    "\n"
    "- A line is blank, a comment, `[section]`, or `key = value` below a section. Everything else is refused, with file\n"
    "  and line: unknown sections and keys, a key set twice, a value out of its range, a NUL byte.\n"
    "- A bare value ends before blanks and a comment. A value in double quotes may hold both; inside, `\\\"` and `\\\\` stand\n"
    "  for those two characters and no other escape exists.\n"
    "- A section may come more than once. Names are lower case and values case sensitive.\n"
    "- At most 1 MiB, lines of at most 4096 bytes. CR LF is taken for LF.\n"
    "\n"
    "## Types\n"
    "\n"
    "| type | written as |\n"
    "|---|---|\n"
    "| integer | `12` |\n"
    "| bytes | `4096`, `64KiB`, `256MiB`, `2GiB`, `1TiB`: powers of 1024, whole numbers, no blank before the unit |\n"
    "| duration | `250us`, `500ms`, `30s`, `5m`, `2h`, `7d`: a whole number and always a unit |\n"
    "| percent | `10%` or `10` |\n"
    "| boolean | `true`, `false`, `on`, `off` |\n"
    "| choice | one of the words listed |\n"
    "| string | without control characters; the range is its length |\n"
    "| secret | as string, and never printed: `***` |\n";

static const char config_namespaces[] =
    "\n"
    "## `[namespace.NAME]`\n"
    "\n"
    "What one namespace is given, all versions of it, whether it is open yet or not: `ttl` below `[namespace.users]` in a file, or\n"
    "`namespace.users.ttl` for `strata_config_set`, `strata_option_set` and `strata_option_get`; not in the environment. All are hot, of at most 1024\n"
    "namespaces. What a program gives a namespace itself stands above these, field by field: a field of `strata_namespace_policy` that is not\n"
    "0, and a limit (`strata_namespace_limit`). Parts of keys bound each other instead: a key uses a tier only if the program\n"
    "(`strata_namespace_rollout_set`), this section and `flow.l1_part` or `flow.l2_part` all let it in, so that a namespace can always be switched off\n"
    "here. `strata_namespace_policy_effective` tells what holds. A foreign namespace takes `ttl`, `l1_ttl`, `ttl_jitter`, timeouts and L1's part. In an L1\n"
    "of few MiB the first namespaces alone are counted, and limited.\n"
    "\n"
    "| option | type | range | while not set | what it does |\n"
    "|---|---|---|---|---|\n";

static void print_option(const strata_option_info *option) {
    (void)printf("| `%s` | `%s` | %s | ", option->name, option->environment, option->type);
    print_code(option->range);
    (void)fputs(" | ", stdout);
    if (option->default_text[0] == '\0') (void)fputs("empty", stdout);
    else print_code(option->default_text);
    (void)printf(" | %s | ", option->hot ? "yes" : "no");
    print_sentence(option->doc);
    (void)puts(" |");
}

/* All options of a section, wherever in the tables they stand. */
static void print_option_section(const char *section) {
    strata_option_info option;
    char other[SECTION_BYTES_MAX];
    (void)printf("\n## `[%s]`\n\n| option | environment | type | range | default | hot | what it does |\n", section);
    (void)puts("|---|---|---|---|---|---|---|");
    for (size_t i = 0; strata_config_option(i, &option) == STRATA_OK; i++) {
        section_of(option.name, other);
        if (strcmp(section, other) == 0) print_option(&option);
    }
}

/* What every namespace may be given. */
static void print_namespace_options(void) {
    strata_option_info option;
    (void)fputs(config_namespaces, stdout);
    for (size_t i = 0; strata_config_namespace_option(i, &option) == STRATA_OK; i++) {
        (void)printf("| `%s` | %s | ", option.name, option.type);
        print_code(option.range);
        (void)fputs(" | ", stdout);
        print_code(option.default_text);
        (void)fputs(" | ", stdout);
        print_sentence(option.doc);
        (void)puts(" |");
    }
}

static int print_config(void) {
    strata_option_info option, earlier;
    char section[SECTION_BYTES_MAX], other[SECTION_BYTES_MAX];
    (void)fputs(config_head, stdout);
    for (size_t i = 0; strata_config_option(i, &option) == STRATA_OK; i++) {
        int seen = 0;
        section_of(option.name, section);
        for (size_t j = 0; j < i && strata_config_option(j, &earlier) == STRATA_OK; j++) {
            section_of(earlier.name, other);
            seen |= strcmp(section, other) == 0;
        }
        if (!seen) print_option_section(section);
    }
    print_namespace_options();
    return 0;
}

/* ---- metrics -------------------------------------------------------------------------------------------------- */

static const char metrics_head[] =
    "# Metrics\n"
    "\n"
    "Every number there is, printed from the tables in the source by `strata-reference metrics`. The test `docs.metrics`\n"
    "fails when this page and the tables differ; don't edit it by hand.\n"
    "\n"
    "`strata_stats_read` reads all, `strata_stats_value` one by its name; neither stops anybody, and each number is exact\n"
    "for some moment during the call. A *counter* counts since open, or since\n"
    "`strata_stats_reset`, and never falls; a *gauge* is a level. `strata_stats_namespace` tells one namespace's part of those that are\n"
    "counted by namespace, `strata_stats_node` what is counted for one server, `strata_stats_latency` how long operations took.\n"
    "\n"
    "## At night\n"
    "\n"
    "| look at | it means | then |\n"
    "|---|---|---|\n";

/* What an operator looks at first. Every name must be a metric's. */
static const struct advice {
    const char *metric, *when, *means, *then;
} advices[] = {
    {"coherence.partitions_trusted", "below `coherence.partitions`",
     "For the partitions that are missing L1 proves nothing: reads go to L2, correct but slower.",
     "The log's lines that begin with `coherence:` name the node and the reason. It comes back by itself."},
    {"l2.nodes_connected", "below the number of primaries", "A server can't be reached, or refuses us.",
     "The log; credentials; `l2.nodes`."},
    {"l2.breakers_open", "above 0",
     "A server failed `l2.breaker_failures` times in a row; operations for it fail at once with `STRATA_E_UNAVAILABLE`.",
     "That server. Every `l2.breaker_open` one operation tries it again."},
    {"flow.unknown_keys", "above 0, and staying",
     "Writes were sent and not answered. Their keys stay out of L1, later writes of them wait.",
     "It ends when the server takes an invalidation again: repair the server."},
    {"coherence.beats_late", "rising", "A heartbeat's answer took longer than the bound: a server or this process stalls.",
     "Load and latency of both; if the network is that slow, a larger `coherence.max_staleness`."},
    {"coherence.holes", "rising", "Messages were lost on a subscription that stayed up, or somebody flushed a server.",
     "Who writes to `{*}s1:n`; `FLUSHALL` in the server's log."},
    {"coherence.malformed", "rising", "Somebody publishes on our channels what is no message.",
     "Processes of another version; access lists."},
    {"coherence.generation_bumps", "rising with `l2.revalidated`",
     "Subscriptions come and go; each time what is used is proven again by a small read.",
     "Connections that break: output buffer limits of class pubsub, proxies, time limits."},
    {"l1.refused", "rising", "Values longer than `l1.item_bytes_max`, a session that holds a pinned result for long, a guest's limit or its priority.",
     "`l1.too_large` counts the first kind, `l1.limit_refused` and `l1.priority_refused` the last two. With `l1.bytes_used` near `l1.bytes_max`: find the result that is not released."},
    {"l1.limit_evictions", "most of `l1.evictions`", "A tenant or a namespace wants more than its limit allows: it evicts its own entries, nobody else's.",
     "`strata_tenant_usage`, `strata_namespace_usage`: who is at its limit. Then the limit, `flow.tenant_part`, or that guest."},
    {"l1.limit_refused", "rising", "The same, so fast that new entries are not even kept; their values are answered all the same.",
     "As for `l1.limit_evictions`."},
    {"l1.priority_refused", "rising", "L1 is full of what has a higher priority: values of less are answered, and not kept.",
     "`l1_priority` and limits of namespaces; `strata_namespace_usage` tells who has the room."},
    {"l1.evictions", "as many as `l1.inserts`", "L1 is smaller than what is used.", "`l1.bytes`, which is hot."},
    {"flow.pending", "near `flow.pending_max`", "Operations come faster than L2 and the loaders answer.",
     "`l2.timeouts`, `flow.loads`, the database behind the loaders."},
    {"flow.timeouts", "rising", "Operations end at their deadline.",
     "`l2.timeouts` rises too: the servers. It doesn't: the loaders."},
    {"l2.corrupt", "above 0", "Something that no Strata wrote stands at one of our names.", "Who else writes to this L2."},
    {"l2.script_reloads", "rising", "Servers forget their scripts: restarts, failovers, `SCRIPT FLUSH`.",
     "Harmless; the restarts may not be."},
};

static int is_metric(const char *name) {
    strata_metric metric;
    for (size_t i = 0; strata_metric_describe(i, &metric) == STRATA_OK; i++) {
        if (strcmp(metric.name, name) == 0) return 1;
    }
    return 0;
}

static void print_metric_section(const char *section) {
    strata_metric metric;
    char other[SECTION_BYTES_MAX];
    (void)printf("\n## `%s`\n\n| metric | kind | unit | what it says |\n|---|---|---|---|\n", section);
    for (size_t i = 0; strata_metric_describe(i, &metric) == STRATA_OK; i++) {
        section_of(metric.name, other);
        if (strcmp(section, other) != 0) continue;
        (void)printf("| `%s` | %s | %s | ", metric.name, metric.gauge ? "gauge" : metric.by_namespace ? "counter, by namespace" : "counter", metric.unit);
        print_sentence(metric.doc);
        (void)puts(" |");
    }
}

static int print_metrics(void) {
    strata_metric metric, earlier;
    char section[SECTION_BYTES_MAX], other[SECTION_BYTES_MAX];
    (void)fputs(metrics_head, stdout);
    for (size_t i = 0; i < sizeof advices / sizeof *advices; i++) {
        const struct advice *advice = &advices[i];
        if (!is_metric(advice->metric)) {
            (void)fprintf(stderr, "strata-reference: there is no metric %s any more\n", advice->metric);
            return 1;
        }
        (void)printf("| `%s` %s | %s | %s |\n", advice->metric, advice->when, advice->means, advice->then);
    }
    for (size_t i = 0; strata_metric_describe(i, &metric) == STRATA_OK; i++) {
        int seen = 0;
        section_of(metric.name, section);
        for (size_t j = 0; j < i && strata_metric_describe(j, &earlier) == STRATA_OK; j++) {
            section_of(earlier.name, other);
            seen |= strcmp(section, other) == 0;
        }
        if (!seen) print_metric_section(section);
    }
    return 0;
}

/* ---- the program ---------------------------------------------------------------------------------------------- */

int main(int argc, char **argv) {
    int status = 2;
    if (argc == 2 && strcmp(argv[1], "config") == 0) status = print_config();
    else if (argc == 2 && strcmp(argv[1], "metrics") == 0) status = print_metrics();
    else (void)fputs("usage: strata-reference config|metrics\nPrints a reference page as Markdown.\n", stderr);
    if (fflush(stdout) != 0 || ferror(stdout)) return 1;
    return status;
}
