#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The example in README.md is examples/readme.c, line for line (which the build compiles)."""
import pathlib
import sys

root = pathlib.Path(sys.argv[1])
code = (root / "examples/readme.c").read_text().split("\n", 2)[2].strip("\n")
if f"```c\n{code}\n```" not in (root / "README.md").read_text():
    sys.exit("README.md does not show examples/readme.c as it is")
