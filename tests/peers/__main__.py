"""Writes what is generated.

python -m tests.peers update    docs/coverage.md, and its part of README; needs all targets
python -m tests.peers count     types.tsv and nets.tsv, from the facts of public nets in ../shared
"""

from __future__ import annotations

import sys

from tests import readme
from tests.peers import counting, pages
from tests.peers.facts import FOLDER


def _write() -> None:
    pages.PAGE.write_text(pages.page(), encoding="utf-8", newline="\n")
    text = readme.README.read_text(encoding="utf-8")
    text = readme.replaced(text, "coverage", pages.summary())
    readme.README.write_text(text, encoding="utf-8", newline="\n")


def _count() -> None:
    for name, text in (("types", counting.types_table()), ("nets", counting.nets_table())):
        (FOLDER / f"{name}.tsv").write_text(text, encoding="utf-8", newline="\n")


match sys.argv[1:]:
    case ["update"]:
        _write()
    case ["count"]:
        _count()
    case _:
        sys.exit(__doc__)
