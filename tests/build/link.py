#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Links a C++ program that names every public function with the library, and asks it whose malloc it has."""
import argparse
import os
import pathlib
import subprocess
import sys
import tempfile

import api

PROGRAM = """
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
%(includes)s
static void *volatile functions[] = {%(functions)s};
int main() {
    size_t present = 0;
    for (void *f : functions) present += f != nullptr;
    Dl_info info;
    memset(&info, 0, sizeof info);
    void *address = dlsym(RTLD_DEFAULT, "malloc");
    if (address == nullptr || dladdr(address, &info) == 0) return 2;
    printf("%%zu functions; malloc is in %%s\\n", present, info.dli_fname);
    return strstr(info.dli_fname, "libc.so") != nullptr ? 0 : 3;
}
"""


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--root", required=True, type=pathlib.Path)
    parser.add_argument("--cxx", required=True)
    parser.add_argument("--library", required=True, type=pathlib.Path)
    parser.add_argument("--libs", nargs="*", default=[])
    parser.add_argument("--private-malloc", action="store_true", help="the host's malloc must stay that of libc")
    args = parser.parse_args()
    names = api.functions(args.root)
    if not names:
        print("skipped: no public functions yet")
        return 77
    if not (args.root / "tests" / "build" / "exports.txt").exists():
        print("skipped: no golden list yet, so the public functions are not complete")
        return 77
    includes = "".join(f"#include <strata/{h.name}>\n" for h in sorted((args.root / "include/strata").glob("*.h")))
    text = PROGRAM % {"includes": includes,
                      "functions": ", ".join(f"reinterpret_cast<void *>(&{n})" for n in names)}
    with tempfile.TemporaryDirectory() as work:
        source, program = os.path.join(work, "link.cpp"), os.path.join(work, "link")
        pathlib.Path(source).write_text(text)
        command = [args.cxx, "-std=c++17", "-O0", "-D_GNU_SOURCE", f"-I{args.root / 'include'}", source, "-o", program,
                   str(args.library), f"-Wl,-rpath,{args.library.parent}"]
        if args.library.suffix == ".a":
            command += args.libs
        command += ["-pthread", "-ldl", "-lm"]
        build = subprocess.run(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        if build.returncode != 0:
            print(build.stdout)
            return 1
        run = subprocess.run([program], text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        print(run.stdout, end="")
        if run.returncode == 3 and not args.private_malloc:
            print("(jemalloc is not embedded in this build: the static archive brings its malloc along)")
            return 0
        return run.returncode


sys.exit(main())
