"""Cases of refused definitions, in files that can be read: a title, the text, the exact message.

=== title
text
---
message
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple


class MessageCase(NamedTuple):
    """One case; `message` calls the text net.prototxt."""

    title: str
    text: str
    message: str


def read_cases(path: Path) -> list[MessageCase]:
    """The cases of a file, in order."""
    cases = []
    for part in ("\n" + path.read_text(encoding="utf-8")).split("\n=== ")[1:]:
        title, _, rest = part.partition("\n")
        text, _, message = rest.partition("\n---\n")
        cases.append(MessageCase(title, text, message.rstrip("\n")))
    titles = [case.title for case in cases]
    assert titles, f"{path} has no cases"
    assert len(set(titles)) == len(titles), f"{path} has a title twice"
    return cases
