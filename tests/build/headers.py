#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Compiles every header alone (C11: public and room headers; C++17: public ones, alone and together)."""
import argparse
import concurrent.futures
import pathlib
import subprocess
import sys

ROOMS = ("core", "l1", "l2", "coherence")


def headers(root, folders):
    found = []
    for folder in folders:
        found += sorted(p.relative_to(root) for p in (root / folder).rglob("*.h"))
    return found


def include_line(header):
    text = str(header)
    return f"#include <{text[len('include/'):]}>\n" if text.startswith("include/") else f'#include "{text}"\n'


def compile_text(command, language, text):
    # Included twice: a header without a guard shows here too.
    run = subprocess.run(command + ["-x", language, "-fsyntax-only", "-"], input=text, text=True,
                         stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    return run.returncode, run.stdout


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--root", required=True, type=pathlib.Path)
    parser.add_argument("--cc")
    parser.add_argument("--cxx")
    parser.add_argument("--system", action="append", default=[])
    parser.add_argument("--define", action="append", default=[])
    args = parser.parse_args()
    warnings = ["-Wall", "-Wextra", "-Wpedantic", "-Wundef", "-Wshadow", "-Werror"]
    jobs = []
    public = headers(args.root, ["include"])
    if args.cc:
        rooms = headers(args.root, ROOMS)
        # A public header must do without the feature macros and include paths of ours.
        plain = [args.cc, "-std=c11", "-Wstrict-prototypes", "-I", str(args.root / "include")] + warnings
        ours = plain + ["-Wno-unused-function", "-I", str(args.root), "-D_GNU_SOURCE", "-DSX_DEBUG=1"]
        ours += [f"-D{d}" for d in args.define] + [f"-isystem{s}" for s in args.system]
        tail = "typedef int strata_header_is_not_empty;\n"
        jobs += [(plain, "c", str(h), include_line(h) * 2 + tail) for h in public]
        jobs += [(ours, "c", str(h), include_line(h) * 2 + tail) for h in rooms]
    if args.cxx:
        cxx = [args.cxx, "-std=c++17", "-I", str(args.root / "include")] + warnings
        jobs += [(cxx, "c++", str(h), include_line(h) * 2) for h in public]
        if public:
            jobs.append((cxx, "c++", "all public headers", "".join(include_line(h) for h in public)))
    if not jobs:
        print("skipped: there are no headers yet")
        return 77
    bad = 0
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        results = pool.map(lambda j: compile_text(j[0], j[1], j[3]), jobs)
        for (_, _, name, _), (code, output) in zip(jobs, results):
            if code != 0:
                bad += 1
                print(f"{name}: does not compile alone\n{output}")
    print(f"{len(jobs)} compiled, {bad} failed")
    return 1 if bad else 0


sys.exit(main())
