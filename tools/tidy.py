#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Checks the habits of the house that a compiler does not: who includes whom, how long things are, that every
ordered access names its edge and every relaxed one its reason, contracts of public functions, licence lines.

Usage: tidy.py [root]     prints `file:line: message` for each finding; exit 1 if there is any.

A finding is silenced by a comment on its line: `tidy: allow <check>, <reason>`, where <check> is the word in
brackets at the end of the message.

Edges. An access with acquire, release, acq_rel or seq_cst carries `[order: name]` in a comment on its statement's
lines or directly above. Two names: `[order: one, two]`. An edge that is made by something other than an atomic
access (a system call, a lock, a named fence) says its side itself: `[order: name publishes]`, `[order: name
observes]`. docs/CONCURRENCY.md has a heading or a bold `name` for each.
"""
import bisect
import collections
import os
import re
import sys

FILE_LINES_MAX = 600
FUNCTION_LINES_MAX = 70
RANK = {"core/memory": 1, "core/time": 2, "core/key": 2, "core/observe": 3, "core/codec": 4, "core/config": 5,
        "core/loop": 6, "l2/redis": 7, "l1": 8, "l2": 8, "coherence": 8, "core/flow": 9}
ROOMS_LONGEST_FIRST = sorted(RANK, key=len, reverse=True)
LIBRARY = ("core", "l1", "l2", "coherence")
PUBLIC_ONLY = ("admin", "tools", "examples", "bench")
INSIDE_ALLOWED = ("bench/l1/", "bench/l2/", "bench/hitratio/")  # each measures a room by itself, beside peers, with no public way to it
FREESTANDING = {"float.h", "iso646.h", "limits.h", "stdalign.h", "stdarg.h", "stdbool.h", "stddef.h", "stdint.h",
                "stdnoreturn.h"}
CONTRACT = ("Returns:", "Owns:", "Threads:", "Blocks:", "Since:")
FENCE_HOME = "core/memory/atomic.h"
CONCURRENCY = "docs/CONCURRENCY.md"
SKIP_FOLDERS = {"build", ".git", ".cache", "__pycache__", "corpus"}
TEXT_SUFFIXES = (".c", ".h", ".cpp", ".py", ".sh", ".cmake", ".md", ".txt", ".json", ".pml", ".yml", ".in", ".map",
                 ".supp")


class Source:
    """A C file: its text, its code with comments and strings blanked (same offsets), and its comments."""

    def __init__(self, path, text):
        self.path, self.text = path, text
        self.starts = [0] + [m.end() for m in re.finditer("\n", text)]
        self.top = path.split("/")[0]
        self.room = next((r for r in ROOMS_LONGEST_FIRST if path.startswith(r + "/")), None)
        self.comments = []  # (first line, last line, text)
        self.code = self._strip()
        self._split_directives()

    def line(self, offset):
        return bisect.bisect_right(self.starts, offset)

    def _strip(self):
        token = re.compile(r"/\*.*?(?:\*/|\Z)|//(?:[^\n\\]|\\.)*|\"(?:[^\"\\\n]|\\.)*\"|'(?:[^'\\\n]|\\.)*'", re.S)

        def blank(m):
            word = m[0]
            if word[0] == "/":
                self.comments.append((self.line(m.start()), self.line(m.end() - 1), word))
                return re.sub(r"[^\n]", " ", word)
            return word[0] + re.sub(r"[^\n]", " ", word[1:-1]) + word[-1]

        return token.sub(blank, self.text)

    def _split_directives(self):
        """A directive is a statement of its own: its '#' and the newline that ends it become semicolons."""
        code = list(self.code)
        for m in re.finditer(r"^[ \t]*#(?:[^\n]*\\\n)*[^\n]*", self.code, re.M):
            code[m.start() + m[0].index("#")] = ";"
            if m.end() < len(code):
                code[m.end()] = ";"
        self.statements = "".join(code)

    def statement(self, offset):
        """First line, last line and code of the statement around an offset."""
        begin = max(self.statements.rfind(c, 0, offset) for c in ";{}") + 1
        while begin < offset and self.statements[begin].isspace():
            begin += 1
        ends = [e for e in (self.statements.find(c, offset) for c in ";{") if e >= 0]
        end = min(ends, default=len(self.text) - 1)
        return self.line(begin), self.line(end), self.code[begin:end]

    def comments_near(self, first, last, reach=0):
        """Comments on lines first..last, those within `reach` lines above, and the block that touches first."""
        near = []
        edge = first
        for begin, end, text in reversed(self.comments):
            if begin > last:
                continue
            alone = not self.code[self.starts[begin - 1]:self.starts[begin] if begin < len(self.starts)
                                  else len(self.code)].strip()
            if end >= first - reach or (alone and end == edge - 1):
                near.append(text)
                edge = min(edge, begin)
            elif end < edge - 1:
                break
        return " ".join(near)


class Tidy:
    def __init__(self, root):
        self.root = root
        self.findings = []
        self.notes = []
        self.sides = collections.defaultdict(lambda: {"publishes": [], "observes": []})
        self.mentions = {}
        self.lines_of = {}

    def report(self, path, line, check, message):
        lines = self.lines_of.get(path, [])
        if 0 < line <= len(lines) and re.search(rf"tidy: allow {check}, \w+", lines[line - 1]):
            return
        self.findings.append((path, line, f"{message} [{check}]"))

    def run(self):
        for path in self.paths():
            name = os.path.basename(path)
            self.check_name(path)
            script = "." not in name
            if not script and not name.endswith(TEXT_SUFFIXES):
                continue
            with open(os.path.join(self.root, path), encoding="utf-8", errors="replace") as f:
                text = f.read()
            self.lines_of[path] = text.split("\n")
            self.check_words(path, text)
            self.check_spdx(path, text)
            if name.endswith((".c", ".h")):
                self.check_c(Source(path, text))
        self.check_edges()
        return sorted(set(self.findings))

    def paths(self):
        for folder, folders, files in os.walk(self.root):
            folders[:] = sorted(d for d in folders if d not in SKIP_FOLDERS)
            for name in sorted(files):
                yield os.path.relpath(os.path.join(folder, name), self.root).replace(os.sep, "/")

    def check_c(self, source):
        self.check_headline(source)
        self.check_file_size(source)
        self.check_functions(source)
        self.check_includes(source)
        if source.top == "include":
            self.check_contracts(source)
        if source.top in LIBRARY:
            self.check_calls(source)
            self.check_atomics(source)
            self.check_orders(source)

    # ---- every file ----

    def check_name(self, path):
        for part in path.split("/"):
            if re.search(r"(^|[_.-])(utils?|common|misc)([_.-]|$)", part):
                self.report(path, 1, "name", f"'{part}' says nothing about what is inside")
                return

    def check_words(self, path, text):
        for number, line in enumerate(text.split("\n"), 1):
            m = re.search(r"\b(TODO|FIXME|XXX)\b(?!: \S+ \S+ \S+)", line)
            if m and not path.endswith(("tidy.py", "selftest.py")):
                self.report(path, number, "words", f"{m[1]} without an explanation (at least three words after ': ')")
            m = re.search(r"(?<![\w.)}*])/(?:work|root|home)/\w", line)
            if m:
                self.report(path, number, "words", f"path of one machine: {m[0]}...")
            if re.search(r"\bissue\s#", line, re.I):
                self.report(path, number, "words", "say what the matter is instead of giving its number")

    def check_spdx(self, path, text):
        name = os.path.basename(path)
        script = text.startswith("#!")
        if not (name.endswith((".c", ".h", ".cpp", ".py", ".sh", ".cmake")) or name == "CMakeLists.txt" or script):
            return
        lines = text.split("\n")
        if "SPDX-License-Identifier: Apache-2.0" not in (lines[1:2] if script else lines[:1] or [""])[0]:
            self.report(path, 1, "spdx", "must begin with 'SPDX-License-Identifier: Apache-2.0'")

    # ---- shape ----

    def check_headline(self, source):
        first_code = re.search(r"\S", source.code)
        limit = source.line(first_code.start()) if first_code else len(source.starts) + 1
        said = " ".join(t for first, _, t in source.comments if first < limit)
        said = re.sub(r"SPDX-License-Identifier: Apache-2.0|ctest:[^\n]*|/\*|\*/|//", " ", said)
        if not re.search(r"\w+(\W+\w+){3,}.*[.!]", said, re.S):
            self.report(source.path, 1, "headline", "a comment at the top must say in a sentence what the file is")

    def check_file_size(self, source):
        count = source.text.count("\n")
        if count > FILE_LINES_MAX:
            self.report(source.path, FILE_LINES_MAX, "size", f"{count} lines, at most {FILE_LINES_MAX}")

    def check_functions(self, source):
        for name, first, last in functions(source):
            if last - first + 1 > FUNCTION_LINES_MAX:
                self.report(source.path, first, "size",
                            f"{name}() has {last - first + 1} lines, at most {FUNCTION_LINES_MAX}")

    # ---- who includes whom ----

    def check_includes(self, source):
        for m in re.finditer(r"^[ \t]*#[ \t]*include[ \t]*([<\"])([^>\"\n]+)[>\"]", source.text, re.M):
            line, quoted, name = source.line(m.start()), m[1] == '"', m[2]
            if source.top == "include":
                self.check_public_include(source, line, quoted, name)
                continue
            target = self.include_target(source, name) if quoted else ("include/" + name)
            if ".." in name.split("/"):
                self.report(source.path, line, "include", f"include {name} by its path from the root")
            elif quoted and target != name and source.top in LIBRARY:
                self.report(source.path, line, "include", f"include \"{name}\" by its path from the root")
            self.check_direction(source, line, target, name)

    def include_target(self, source, name):
        beside = os.path.normpath(os.path.join(os.path.dirname(source.path), name)).replace(os.sep, "/")
        if not os.path.exists(os.path.join(self.root, name)) and os.path.exists(os.path.join(self.root, beside)):
            return beside
        return name

    def check_public_include(self, source, line, quoted, name):
        if quoted or not (name.startswith("strata/") or name in FREESTANDING):
            self.report(source.path, line, "include", f"a public header must do without {name}")

    def check_direction(self, source, line, target, name):
        other = next((r for r in ROOMS_LONGEST_FIRST if target.startswith(r + "/")), None)
        if source.path.startswith(INSIDE_ALLOWED):
            return
        if source.top in PUBLIC_ONLY:
            top = target.split("/")[0]
            if other or top == "core" or (top in PUBLIC_ONLY + ("tests",) and top != source.top):
                self.report(source.path, line, "include", f"{source.top} knows the public headers only, not {name}")
            return
        if source.top not in LIBRARY:
            return
        if source.room is None:
            self.report(source.path, 1, "include", "belongs to no room")
        elif target.split("/")[0] in PUBLIC_ONLY + ("tests",):
            self.report(source.path, line, "include", f"{source.room} must not include {name}")
        elif other and other != source.room:
            if RANK[other] >= RANK[source.room] or (source.room == "l1" and other == "l2/redis"):
                self.report(source.path, line, "include", f"{source.room} must not include {name}")

    # ---- the public interface ----

    def check_contracts(self, source):
        for m in re.finditer(r"\bSTRATA_API\b[^;{}]*?(\w+)\s*\(", source.statements):
            if re.match(r"\s*#", source.code[source.starts[source.line(m.start()) - 1]:]):
                continue
            line = source.line(m.start())
            above = next((t for _, last, t in reversed(source.comments) if last == line - 1), None)
            if above is None:
                self.report(source.path, line, "contract", f"{m[1]} has no contract above it")
                continue
            places = [re.search(rf"^[\s/*]*{word}", above, re.M) for word in CONTRACT]
            missing = [word for word, place in zip(CONTRACT, places) if not place]
            if missing:
                self.report(source.path, line, "contract", f"{m[1]} lacks {' '.join(missing)}")
            elif [p.start() for p in places] != sorted(p.start() for p in places):
                self.report(source.path, line, "contract", f"{m[1]}: the order is {' '.join(CONTRACT)}")
            elif not re.search(r"\w{2,}", above[:places[0].start()]):
                self.report(source.path, line, "contract", f"{m[1]} does not say what it is for")

    # ---- the library's manners ----

    def check_calls(self, source):
        words = "printf|fprintf|vprintf|vfprintf|puts|putchar|perror|exit|_exit|quick_exit|abort|setlocale|signal|sigaction"
        for m in re.finditer(rf"(?<![\w.>])({words})\s*\(", source.code):
            self.report(source.path, source.line(m.start()), "calls", f"{m[1]}() does not belong in a library")

    def check_atomics(self, source):
        implicit = r"\batomic_(?:load|store|exchange|fetch_(?:add|sub|or|xor|and)|compare_exchange_(?:strong|weak)" \
                   r"|flag_test_and_set|flag_clear)\s*\("
        for m in re.finditer(implicit, source.code):
            self.report(source.path, source.line(m.start()), "order", "implicit seq_cst: use the _explicit form")
        for m in re.finditer(r"\b(__(?:atomic|sync)_\w+)\s*\(", source.code):
            self.report(source.path, source.line(m.start()), "order", f"{m[1]}: use <stdatomic.h>")
        if source.path != FENCE_HOME:
            for m in re.finditer(r"\b(atomic_(?:thread|signal)_fence|ck_pr_fence_\w+)\b", source.code):
                self.report(source.path, source.line(m.start()), "order", f"{m[1]} belongs in {FENCE_HOME}, with a name")

    def check_orders(self, source):
        all_relaxed = "all relaxed accesses:" in " ".join(t for first, _, t in source.comments if first <= 40)
        seen = set()
        for m in re.finditer(r"\bmemory_order_(\w+)", source.code):
            first, last, statement = source.statement(m.start())
            orders = set(re.findall(r"\bmemory_order_(\w+)", statement)) or {m[1]}
            if (first, statement) in seen:
                continue
            seen.add((first, statement))
            strong = orders & {"acquire", "release", "acq_rel", "seq_cst", "consume"}
            if strong:
                self.note_edge(source, (first, last), statement, strong)
            exchange_only = strong and re.search(r"compare_exchange", statement)
            if "relaxed" in orders and not all_relaxed and not exchange_only:
                if "relaxed:" not in source.comments_near(first, last, reach=3).lower():
                    self.report(source.path, source.line(m.start()), "relaxed",
                                "a relaxed access needs its reason, 'relaxed: ...'")
        for first, _, text in source.comments:
            for mark in malformed_marks(text):
                self.report(source.path, first, "order", f"can't read {mark}")
            for name, side in names_of(text):
                self.mentions.setdefault(name, (source.path, first))
                if side:
                    self.sides[name][side].append((source.path, first))

    def note_edge(self, source, lines, statement, strong):
        names = names_of(source.comments_near(*lines))
        if not names:
            self.report(source.path, lines[0], "order", f"{'/'.join(sorted(strong))} without [order: name]")
        calls = re.findall(r"\batomic_\w+_explicit", statement)
        only_load, only_store = calls == ["atomic_load_explicit"], calls == ["atomic_store_explicit"]
        for name, said in names:
            if said:
                continue
            if strong & {"release", "acq_rel", "seq_cst"} and not only_load:
                self.sides[name]["publishes"].append((source.path, lines[0]))
            if strong & {"acquire", "consume", "acq_rel", "seq_cst"} and not only_store:
                self.sides[name]["observes"].append((source.path, lines[0]))

    def check_edges(self):
        for name, (path, line) in sorted(self.mentions.items()):
            for side in ("publishes", "observes"):
                if not self.sides[name][side]:
                    self.report(path, line, "edge", f"nothing {side} on the edge '{name}'")
        document = os.path.join(self.root, CONCURRENCY)
        if not os.path.exists(document):
            if self.mentions:
                self.notes.append(f"skipped: {CONCURRENCY} is not written yet, {len(self.mentions)} edges to describe")
            return
        described = {}
        with open(document, encoding="utf-8") as f:
            for number, line in enumerate(f, 1):
                if line.startswith("#"):
                    found = re.findall(r"`([a-z0-9]+(?:-[a-z0-9]+)*)`", line)
                else:
                    found = re.findall(r"\*\*`([a-z0-9]+(?:-[a-z0-9]+)*)`[.:]?\*\*", line)
                    found += re.findall(r"^\s*(?:[-*]\s+)?\*\*([a-z0-9]+(?:-[a-z0-9]+)+)[.:]?\*\*", line)
                for name in found:
                    described.setdefault(name, number)
        for name, (path, line) in sorted(self.mentions.items()):
            if name not in described:
                self.report(path, line, "edge", f"the edge '{name}' has no paragraph in {CONCURRENCY}")
        for name, number in sorted(described.items()):
            if name not in self.mentions:
                self.report(CONCURRENCY, number, "edge", f"nothing in the code uses the edge '{name}'")


EDGE_ITEM = re.compile(r"\s*([a-z0-9]+(?:-[a-z0-9]+)*)(?:\s+(publishes|observes))?\s*$")


def names_of(comment):
    """[(name, side or None)] of the [order: ...] marks in a comment."""
    items = [EDGE_ITEM.match(i) for inside in re.findall(r"\[order:([^\]]*)\]", comment) for i in inside.split(",")]
    return [(m[1], m[2]) for m in items if m]


def malformed_marks(comment):
    """The [order: ...] marks that hold something else than names."""
    return [f"[order:{inside}]" for inside in re.findall(r"\[order:([^\]]*)\]", comment)
            if not all(EDGE_ITEM.match(i) for i in inside.split(","))]


def first_branches(code):
    """The code with the #else/#elif branches blanked, so that braces match."""
    out, hidden = [], []
    for line in code.split("\n"):
        m = re.match(r"\s*#\s*(if|ifdef|ifndef|elif|else|endif)\b", line)
        if m and m[1].startswith("if"):
            hidden.append(False)
        elif m and m[1] in ("elif", "else") and hidden:
            hidden[-1] = True
        elif m and m[1] == "endif" and hidden:
            hidden.pop()
        out.append("" if m or any(hidden) else line)
    return "\n".join(out)


def functions(source):
    """(name, first line, last line) of every function definition."""
    code = first_branches(source.code)
    code = re.sub(r"^[ \t]*#(?:[^\n]*\\\n)*[^\n]*", lambda m: re.sub(r"[^\n]", " ", m[0]), code, flags=re.M)
    starts = [0] + [m.end() for m in re.finditer("\n", code)]
    depth, begun, after = 0, None, 0
    for m in re.finditer(r"[{};]", code):
        mark = m[0]
        if mark == "{":
            head = code[after:m.start()]
            if depth == 0 and re.search(r'\bextern\s*"[^"]*"\s*$', head):
                after = m.end()
                continue
            if depth == 0:
                name = function_name(head)
                begun = (name, bisect.bisect_right(starts, after + len(head) - len(head.lstrip()))) if name else None
            depth += 1
        elif mark == "}" and depth > 0:
            depth -= 1
            if depth == 0 and begun:
                yield begun[0], begun[1], bisect.bisect_right(starts, m.start())
                begun = None
        if depth == 0:
            after = m.end()


def function_name(head):
    """The function a head such as `static int f(int a) __attribute__((cold))` defines, or None."""
    head = head.rstrip()
    while head.endswith(")"):
        level, i = 0, len(head) - 1
        while i >= 0:
            level += {")": 1, "(": -1}.get(head[i], 0)
            if level == 0:
                break
            i -= 1
        m = re.search(r"(\w+)\s*$", head[:max(i, 0)])
        if not m:  # one that returns a pointer to a function: the innermost name
            names = re.findall(r"(\w+)\s*\(", head[:max(i, 0)])
            return names[-1] if names else None
        if m[1] == "__attribute__" or (m[1].isupper() and head[:m.start()].rstrip().endswith(")")):
            head = head[:m.start()].rstrip()
            continue
        return m[1]
    return None


def main():
    here = os.path.dirname(os.path.abspath(__file__))
    tidy = Tidy(os.path.abspath(sys.argv[1] if len(sys.argv) > 1 else os.path.join(here, "..")))
    findings = tidy.run()
    for path, line, message in findings:
        print(f"{path}:{line}: {message}")
    for note in tidy.notes:
        print(note)
    print(f"tidy: {len(tidy.lines_of)} files, {f'{len(findings)} findings' if findings else 'clean'}")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
