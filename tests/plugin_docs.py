"""docs/plugins.md as data: its examples, and the tables in it that are generated.

python -m tests.plugin_docs update      write the generated tables anew
"""

from __future__ import annotations

import sys

from decaffeinate.plugin_reference import PARTS
from tests import readme

FILE = readme.ROOT / "docs" / "plugins.md"
EXAMPLES = readme.ROOT / "docs" / "examples"


def text() -> str:
    """The whole file."""
    return FILE.read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    """The fenced blocks in a language, in order."""
    return [block.text for block in readme.blocks(language, text())]


PLUGIN, PYTHON = blocks("python")
(NET,) = blocks("")
INPUT = """layer { name: "data" type: "Input" top: "data"
        input_param { shape { dim: 2 dim: 3 dim: 5 dim: 4 } } }
"""
"""The beginning of nets for tests."""


def current() -> str:
    """The file with its tables as the code gives them."""
    made = text()
    for name, table in PARTS.items():
        made = readme.replaced(made, name, table())
    return made


if __name__ == "__main__":
    if sys.argv[1:] != ["update"]:
        sys.exit(__doc__)
    FILE.write_text(current(), encoding="utf-8", newline="\n")
