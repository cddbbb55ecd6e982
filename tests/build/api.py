# SPDX-License-Identifier: Apache-2.0
"""Names of the public functions, read from the headers."""
import re


def functions(root):
    """Sorted names of all STRATA_API functions that include/strata declares."""
    names = set()
    for header in sorted((root / "include" / "strata").glob("*.h")):
        text = re.sub(r"/\*.*?\*/|//[^\n]*|^[ \t]*#(?:[^\n]*\\\n)*[^\n]*", " ", header.read_text(), flags=re.S | re.M)
        names.update(re.findall(r"\bSTRATA_API\b[^;{]*?\b(strata_\w+)\s*\(", text))
    return sorted(names)
