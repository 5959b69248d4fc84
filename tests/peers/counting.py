"""Counts of layer types in public nets, anew: `python -m tests.peers count`.

The nets are not part of the project: facts of them lie in ../shared, or where DECAFFEINATE_SHARED
says.
"""

from __future__ import annotations

import os
from collections import Counter
from csv import DictReader
from pathlib import Path

from tests.real_models import SHARED

PLACE = Path(os.environ.get("DECAFFEINATE_SHARED", SHARED))
SURVEY = PLACE / "schema" / "layer_types_in_the_wild.tsv"
INDEX = PLACE / "wild" / "index.tsv"


def _read(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(DictReader(file, delimiter="\t", quoting=3))


def types_table() -> str:
    """types.tsv: of 1,605 distinct public nets; what is in none, or is no name of a layer, is
    left out."""
    lines = ["type\tnets\tdeploy"]
    for row in sorted(_read(SURVEY), key=lambda row: (-int(row["nets_all"]), row["type"].lower())):
        if int(row["nets_all"]) and row["type"].isidentifier():
            lines.append(f"{row['type']}\t{row['nets_all']}\t{row['nets_deploy']}")
    return "\n".join(lines) + "\n"


def nets_table() -> str:
    """nets.tsv: how many of the stored public nets to deploy have exactly these types."""
    kinds = Counter(
        ",".join(sorted(row["layer_types"].split(",")))
        for row in _read(INDEX)
        if row["kind"] == "deploy"
    )
    order = sorted(kinds, key=lambda types: (-kinds[types], types))
    return "\n".join(["nets\ttypes", *(f"{kinds[types]}\t{types}" for types in order)]) + "\n"
