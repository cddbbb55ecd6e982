#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Compares the probes that a library has in its notes with those that docs/probes.md lists, and their numbers of arguments.

Usage: probes.py READELF LIBRARY DOCUMENT ON|OFF     exit 77: the build has none, as it was told
"""
import pathlib
import re
import shutil
import subprocess
import sys


def main():
    readelf, library, document, wanted = sys.argv[1:]
    if shutil.which(readelf) is None:
        print(f"SKIPPED: no {readelf}")
        return 77
    notes = subprocess.run([readelf, "--notes", "--wide", library], check=True, stdout=subprocess.PIPE, text=True).stdout
    there = {}
    for provider, name, arguments in re.findall(r"Provider:\s*(\S+)\s+Name:\s*(\S+).*?Arguments:([^\n]*)", notes, re.S):
        if provider == "strata":
            there.setdefault(name, set()).add(len(arguments.split()))
    rows = re.findall(r"^\| `(\w+)` \| ([^|]+) \|", pathlib.Path(document).read_text(), re.M)
    if wanted == "OFF":
        print("SKIPPED: built without probes" if not there else f"built without probes, but has {sorted(there)}")
        return 77 if not there else 1
    listed = {name: {len(re.sub(r"\([^)]*\)", "", arguments).split(","))} for name, arguments in rows}
    bad = [f"{name}: not in the library" for name in listed if name not in there]
    bad += [f"{name}: not in {document}" for name in there if name not in listed]
    bad += [f"{name}: {sorted(there[name])} arguments, listed are {sorted(listed[name])}" for name in listed
            if name in there and there[name] != listed[name]]
    print("\n".join(bad) or f"{len(listed)} probes, as listed")
    return 1 if bad or not listed else 0


sys.exit(main())
