#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Proves that each check of tools/tidy.py can fail: a clean little tree, then one violation at a time."""
import importlib.util
import pathlib
import re
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
spec = importlib.util.spec_from_file_location("tidy", ROOT / "tools" / "tidy.py")
tidy = importlib.util.module_from_spec(spec)
spec.loader.exec_module(tidy)

TOP = "/* SPDX-License-Identifier: Apache-2.0 */\n/* A file of the fixture, which says one thing. */\n"
CONTRACT = ("/*\n * Does a thing.\n * Returns: nothing.\n * Owns:    nothing.\n * Threads: any.\n * Blocks:  no.\n"
            " * Since:   0.1.\n */\n")
PUBLIC = TOP + "#include <stdint.h>\n#define STRATA_API\n" + CONTRACT + "STRATA_API int strata_do(int a);\n"
STORE = "void put(void) {\n    atomic_store_explicit(&x, 1, memory_order_release); /* [order: a-edge] */\n}\n"
LOAD = ("int get(void) {\n    // [order: a-edge]\n    return atomic_load_explicit(&x,\n"
        "                                memory_order_acquire);\n}\n")
DOC = "# Concurrency\n\n## Edges\n\n**`a-edge`** publishes an entry.\n"
CLEAN = {
    "include/strata/strata.h": PUBLIC,
    "core/memory/alloc.h": TOP,
    "core/memory/atomic.h": TOP + "#define F() atomic_thread_fence(memory_order_seq_cst) /* [order: a-edge] */\n",
    "core/codec/codec.h": TOP + '#include "core/memory/alloc.h"\n',
    "l1/l1.h": TOP,
    "l1/l1.c": TOP + '#include "l1/l1.h"\n#include "core/memory/alloc.h"\n' + STORE + LOAD
               + '/* "printf(" in a comment */ const char *s = "abort() { exit(";\n'
               + "void stat(void) {\n    /* relaxed: statistic */\n"
               + "    atomic_fetch_add_explicit(&n, 1, memory_order_relaxed);\n}\n",
    "l2/redis/conn.h": TOP,
    "l2/l2.c": TOP + '#include "l2/redis/conn.h"\n',
    "core/flow/get.c": TOP + '#include "l1/l1.h"\n',
    "bench/main.c": TOP + '#include <strata/strata.h>\n#include "bench/cluster/cluster.h"\nint main(void) {\n'
                    '    printf("x");\n}\n',
    "bench/l2/wire.c": TOP + '#include "l2/redis/conn.h"\n',
    "docs/CONCURRENCY.md": DOC,
}
LONG = "void long_one(int a) {\n" + "    a++; /* { */\n" * 80 + "}\n"

# name of the case, file, its new text (None: take the file away), what must be found
CASES = [
    ("util", "core/memory/util.h", TOP, r"util\.h:1: .*\[name\]"),
    ("common folder", "l1/common/a.h", TOP, r"\[name\]"),
    ("no licence", "l1/a.c", "/* A file that says something here. */\n", r"l1/a\.c:1: .*\[spdx\]"),
    ("no licence in a script", "tools/run", "#!/bin/bash\necho\n", r"\[spdx\]"),
    ("no licence in cmake", "l1/CMakeLists.txt", "add_x()\n", r"\[spdx\]"),
    ("no headline", "l1/a.c", TOP.split("\n")[0] + "\nint x;\n", r"\[headline\]"),
    ("file size", "l1/a.c", TOP + "\n" * 700, r"702 lines.*\[size\]"),
    ("function size", "l1/a.c", TOP + LONG, r"a\.c:3: long_one\(\) has 82 lines.*\[size\]"),
    ("function size after a branch", "l1/a.c",
     TOP + "#if A\nvoid f(void) {\n#else\nvoid g(void) {\n#endif\n}\n" + LONG, r"long_one\(\).*\[size\]"),
    ("function size in extern C", "l1/a.c", TOP + 'extern "C" {\n' + LONG + "}\n", r"long_one\(\).*\[size\]"),
    ("function with attribute", "l1/a.c", TOP + LONG.replace(") {", ") __attribute__((cold)) {"), r"long_one\(\)"),
    ("function that returns a function", "l1/a.c", TOP + LONG.replace("void long_one(int a)", "int (*long_one(int a))(void)"),
     r"long_one\(\)"),
    ("room upward", "core/memory/b.h", TOP + '#include "core/codec/codec.h"\n', r"core/memory must not.*\[include\]"),
    ("room sideways", "l2/b.c", TOP + '#include "l1/l1.h"\n', r"l2 must not include l1"),
    ("equal floors", "core/key/b.c", TOP + '#include "core/time/clock.h"\n', r"core/key must not"),
    ("l1 and redis", "l1/b.c", TOP + '#include "l2/redis/conn.h"\n', r"l1 must not include l2/redis"),
    ("redis upward", "l2/redis/b.c", TOP + '#include "l2/l2.h"\n', r"l2/redis must not include l2/l2"),
    ("short path", "l1/b.c", TOP + '#include "l1.h"\n', r"by its path from the root"),
    ("bench inside", "bench/b.c", TOP + '#include "core/memory/alloc.h"\n', r"bench knows the public headers only"),
    ("example inside", "examples/b.c", TOP + '#include "l1/l1.h"\n', r"examples knows"),
    ("no room", "core/b.c", TOP + '#include "core/memory/alloc.h"\n', r"belongs to no room"),
    ("public libuv", "include/strata/b.h", TOP + "#include <uv.h>\n", r"must do without uv\.h"),
    ("public atomics", "include/strata/b.h", TOP + "#include <stdatomic.h>\n", r"must do without stdatomic"),
    ("contract lacks", "include/strata/strata.h", PUBLIC.replace(" * Blocks:  no.\n", ""), r"strata_do lacks Blocks:"),
    ("contract order", "include/strata/strata.h",
     PUBLIC.replace("Owns:    nothing", "Threads: any").replace("Threads: any.\n * Blocks", "Owns: no.\n * Blocks"),
     r"strata_do: the order is"),
    ("no contract", "include/strata/strata.h", PUBLIC.replace("*/\nSTRATA_API int", "*/\n\n\nSTRATA_API int"),
     r"strata_do has no contract"),
    ("no purpose", "include/strata/strata.h", PUBLIC.replace(" * Does a thing.\n", ""), r"what it is for"),
    ("printf", "l1/b.c", TOP + 'void f(void) {\n    printf("x");\n}\n', r"b\.c:4: printf\(\).*\[calls\]"),
    ("abort", "core/memory/b.c", TOP + "void f(void) { abort(); }\n", r"abort\(\)"),
    ("signal", "coherence/b.c", TOP + "void f(void) { signal(1, h); }\n", r"signal\(\)"),
    ("implicit order", "l1/b.c", TOP + "int f(void) { return atomic_load(&x); }\n", r"implicit seq_cst"),
    ("builtin", "l1/b.c", TOP + "int f(void) { return __atomic_load_n(&x, 2); }\n", r"use <stdatomic\.h>"),
    ("fence", "l1/b.c", TOP + "void f(void) { atomic_thread_fence(o); }\n", r"belongs in core/memory/atomic\.h"),
    ("no name", "l1/b.c", TOP + STORE.replace("[order: a-edge]", "x"), r"b\.c:4: release without \[order: name\]"),
    ("name of another statement", "l1/b.c", TOP + STORE.replace("}\n", "    x();\n    " + STORE.split("\n")[1]
     .replace("[order: a-edge]", "none").strip() + "\n}\n"), r"b\.c:6: release without"),
    ("bad name", "l1/b.c", TOP + STORE.replace("a-edge", "A Edge!"), r"can't read \[order: A Edge!\]"),
    ("one side", "l1/b.c", TOP + STORE.replace("a-edge", "b-edge"), r"nothing observes on the edge 'b-edge'"),
    ("other side", "l1/b.c", TOP + LOAD.replace("a-edge", "b-edge"), r"nothing publishes on the edge 'b-edge'"),
    ("only mentioned", "l1/b.c", TOP + "_Atomic int y; /* [order: b-edge] */\n", r"nothing publishes .* 'b-edge'"),
    ("not described", "docs/CONCURRENCY.md", "# Concurrency\n", r"'a-edge' has no paragraph"),
    ("described in vain", "docs/CONCURRENCY.md", DOC + "\n### `c-edge`\n", r"MD:7|md:7: nothing in the code uses"),
    ("relaxed", "l1/b.c", TOP + "void f(void) {\n    a();\n    b();\n    c();\n"
     "    atomic_load_explicit(&x, memory_order_relaxed);\n}\n", r"b\.c:7: a relaxed access needs its reason"),
    ("to-do", "l1/b.c", TOP + "/* TO" "DO */\n", r"without an explanation"),
    ("machine path", "docs/a.md", "see /wo" "rk/main\n", r"path of one machine"),
    ("number", "docs/a.md", "see issue" " #12\n", r"say what the matter is"),
]

# What must pass: name, file, text
GOOD = [
    ("several edges", "l1/b.c", TOP + STORE.replace("a-edge", "a-edge, b-edge") + LOAD.replace("a-edge", "b-edge"),
     r"'b-edge' has no paragraph"),
    ("allowed", "core/memory/b.c", TOP + "void f(void) { abort(); } /* tidy: allow calls, an assert ends here */\n", ""),
    ("all relaxed", "l1/b.c", TOP[:-4] + "\n   all relaxed accesses: statistics. */\nint f(void) {\n    a();\n"
     "    return atomic_load_explicit(&x, memory_order_relaxed);\n}\n", ""),
    ("exchange", "l1/b.c", TOP + "void f(void) {\n    while (!atomic_compare_exchange_weak_explicit(&x, &e, 1,\n"
     "           memory_order_acq_rel, memory_order_relaxed)) { /* [order: a-edge] */\n    }\n}\n", ""),
    ("system call", "l1/b.c", TOP + "/* [order: b-edge publishes] */\nvoid f(void);\n/* [order: b-edge observes] */\n",
     r"'b-edge' has no paragraph"),
    ("explained", "l1/b.c", TOP + "/* TO" "DO: wait for the packaged release */\n", ""),
    ("member", "l1/b.c", TOP + "void f(struct s *s) { s->exit(); snprintf(b, 1, q); }\n", ""),
    ("test inside", "tests/l1/test_a.c", TOP + '#include "l1/l1.h"\nint main(void) { abort(); }\n', ""),
]


def findings(files):
    with tempfile.TemporaryDirectory() as folder:
        for name, text in files.items():
            path = pathlib.Path(folder) / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return [f"{p}:{n}: {m}" for p, n, m in tidy.Tidy(folder).run()]


def main():
    failed = 0
    clean = findings(CLEAN)
    if clean:
        print("the clean tree:", *clean, sep="\n  ")
        failed += 1
    for name, path, text, expected in CASES:
        found = findings({**CLEAN, path: text})
        if not any(re.search(expected, f) for f in found):
            print(f"{name}: nothing matches /{expected}/ in", *found, sep="\n  ")
            failed += 1
    for name, path, text, but in GOOD:
        found = [f for f in findings({**CLEAN, path: text}) if not (but and re.search(but, f))]
        if found:
            print(f"{name}: should pass, but", *found, sep="\n  ")
            failed += 1
    print(f"{1 + len(CASES) + len(GOOD)} cases, {failed} failed")
    return 1 if failed else 0


sys.exit(main())
