#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Compares what the shared library exports with the golden list; --update writes the list anew.

Update: python3 tests/build/exports.py --root . --shared build/dev/libstrata.so --update
"""
import argparse
import pathlib
import subprocess
import sys

import api

FORBIDDEN = ("malloc", "calloc", "realloc", "free", "posix_memalign", "aligned_alloc", "memalign", "mallocx",
             "rallocx", "dallocx", "sdallocx", "mallctl")


def exported(nm, library):
    output = subprocess.run([nm, "-D", "--defined-only", str(library)], check=True, text=True,
                            stdout=subprocess.PIPE).stdout
    return sorted({line.split()[-1].split("@")[0] for line in output.splitlines() if len(line.split()) >= 3})


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--root", required=True, type=pathlib.Path)
    parser.add_argument("--shared", required=True, type=pathlib.Path)
    parser.add_argument("--nm", default="nm")
    parser.add_argument("--update", action="store_true")
    args = parser.parse_args()
    names = exported(args.nm, args.shared)
    golden_path = args.root / "tests" / "build" / "exports.txt"
    bad = [f"{n}: an allocator's name must not be exported" for n in names if n in FORBIDDEN]
    bad += [f"{n}: only strata_* may be exported" for n in names if not n.startswith("strata_")]
    if args.update and not bad:
        golden_path.write_text("".join(n + "\n" for n in names))
        print(f"{golden_path}: {len(names)} names")
        return 0
    declared = set(api.functions(args.root))
    bad += [f"{n}: exported but declared in no public header" for n in names if n not in declared]
    if bad:
        print("\n".join(bad))
        return 1
    if not golden_path.exists() and set(names) != declared:
        print(f"skipped: {len(declared - set(names))} of {len(declared)} public functions are not written yet, "
              "and there is no golden list")
        return 77
    golden = golden_path.read_text().split() if golden_path.exists() else []
    bad += [f"{n}: declared but not exported" for n in sorted(declared - set(names))]
    bad += [f"{n}: exported but not in {golden_path.name} (new? then --update)" for n in names if n not in golden]
    bad += [f"{n}: in {golden_path.name} but no longer exported: an ABI break" for n in golden if n not in names]
    print("\n".join(bad) or f"{len(names)} names, as agreed")
    return 1 if bad else 0


sys.exit(main())
