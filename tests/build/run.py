#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What tests/run makes of tests that fail: in a project of its own, whose tests pass, fail, or fail once only."""
import os
import re
import shutil
import subprocess
import sys
import tempfile

ROOT = sys.argv[1]
PRESETS = """{"version": 3, "configurePresets": [
 {"name": "dev", "generator": "Ninja", "binaryDir": "${sourceDir}/build/dev"}]}"""
ONCE = 'if [ -e {0} ]; then exit 0; fi; touch {0}; echo "{1}"; exit 1'


def once(says=""):
    """Fails the first time it is run."""
    once.count += 1
    return ONCE.format(f"done.{once.count}", says)


once.count = 0


def run(tests, **environment):
    """Runs tests/run over the given name -> shell command or (command, label); gives its status and its lines."""
    with tempfile.TemporaryDirectory() as folder:
        for name in ("tests", "tools"):
            os.mkdir(os.path.join(folder, name))
        shutil.copy(os.path.join(ROOT, "tests", "run"), os.path.join(folder, "tests", "run"))
        with open(os.path.join(folder, "tools", "install-deps"), "w") as out:
            out.write("#!/bin/sh\necho nothing to install\n")
        os.chmod(out.name, 0o755)
        with open(os.path.join(folder, "CMakePresets.json"), "w") as out:
            out.write(PRESETS)
        with open(os.path.join(folder, "CMakeLists.txt"), "w") as out:
            out.write("cmake_minimum_required(VERSION 3.20)\nproject(p NONE)\nenable_testing()\n")
            for name, what in tests.items():
                command, label = what if isinstance(what, tuple) else (what, "unit")
                out.write(f"add_test(NAME {name} COMMAND sh -c [==[{command}]==])\n")
                out.write(f"set_tests_properties({name} PROPERTIES LABELS {label} SKIP_RETURN_CODE 77)\n")
        done = subprocess.run([os.path.join(folder, "tests", "run"), "--preset", "dev"], text=True, stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env={**os.environ, **environment})
    return done.returncode, done.stdout.splitlines()


def expect(what, result, status, last, named=()):
    """The status, the last line (the build is one of the passed), and the tests that the lines before it name."""
    got_status, lines = result
    got = [" ".join(line.split()[:3]) for line in lines if re.match(r"(failed|unsteady): dev: (?!\d+ of)", line)]
    if (got_status, lines[-1], got) != (status, last, list(named)):
        sys.exit(f"{what}: ended with {got_status}, '{lines[-1]}' and {got}; wanted {status}, '{last}' and {list(named)}:\n"
                 + "\n".join(lines))


expect("all pass", run({"a.b": "exit 0", "c": "exit 77"}), 0, "2 passed, 0 failed, 1 skipped")
expect("one fails always", run({"a.b": "exit 1", "c": "exit 0"}), 1, "2 passed, 1 failed", ["failed: dev: a.b"])
expect("one fails once", run({"a.b": once(), "c": "exit 0"}), 0, "3 passed, 0 failed", ["unsteady: dev: a.b"])
expect("its neighbour by name fails", run({"a.b": once(), "a.bc": "exit 1", "axb": "exit 0"}), 1, "3 passed, 1 failed",
       ["unsteady: dev: a.b", "failed: dev: a.bc"])
expect("no second try when strict", run({"a.b": once(), "c": "exit 0"}, STRATA_STRICT="1"), 1, "2 passed, 1 failed",
       ["failed: dev: a.b"])
for report in ("WARNING: ThreadSanitizer: data race", "ERROR: AddressSanitizer: heap-use-after-free", "x.c:1: runtime error: y",
               "ERROR: LeakSanitizer: detected memory leaks"):
    expect(report, run({"a.b": once(report), "c": "exit 0"}), 1, "2 passed, 1 failed", ["failed: dev: a.b"])
expect("the tormentor is judged once", run({"torment": (once(), "torment"), "c": once()}), 1, "2 passed, 1 failed",
       ["unsteady: dev: c", "failed: dev: torment"])
expect("more than three are no accident", run({name: once() for name in "abcd"}), 1, "1 passed, 4 failed",
       [f"failed: dev: {name}" for name in "abcd"])
expect("a test that can't be run", run({"a.b": "kill -9 $$", "c": "exit 0"}), 1, "2 passed, 1 failed", ["failed: dev: a.b"])
