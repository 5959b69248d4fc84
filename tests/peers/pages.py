"""docs/coverage.md and README's summary of it, written from the tables of this folder."""

from __future__ import annotations

from pathlib import Path

from tests.peers import facts
from tests.peers.facts import OURS, TAKEN, Support

PAGE = Path(__file__).parents[2] / "docs" / "coverage.md"
NETS = "1,605"
"""Distinct public nets whose types were counted for types.tsv."""

HEAD = """\
# What readers of Caffe nets take, by layer type

`python -m tests.peers update` writes this page and README's summary from `tests/peers/*.tsv` and,
for this project, from its registries.

Facts of the other readers are from their own sources, at the version and day given. Each was also
given nets of one feature that the original Caffe was recorded on, in the programs named; "comes out
otherwise" is what was seen then. Types and forms that no recorded net has are as the sources say:
what a source does not read is noted, and a "yes" is worth less there. This project's own is
[proved](../CONTRIBUTING.md#three-readings-kept-apart-on-purpose) for each type in its table.

"""

NETS_TAKEN = """\
"Nets" are those of {} public nets to deploy all of whose types are taken. What settings and shapes
they have is not looked at, nor what their Python layers are: ncnn and MNN take one such layer, the
proposals of Faster R-CNN.
"""


def _row(cells: list[str]) -> str:
    return "| " + " | ".join(cells).rstrip() + " |"


def _table(head: list[str], rows: list[list[str]], right: int = 0) -> str:
    rule = ["---"] * (len(head) - right) + ["--:"] * right
    return "\n".join([_row(head), "|" + "|".join(rule) + "|", *map(_row, rows)]) + "\n"


def summary() -> str:
    """README's part: by reader, how many types of each family, and how many nets."""
    families, table, nets = facts.types(), facts.support(), facts.nets()
    versions = {peer.peer: f"{peer.peer} {_short(peer.version)}" for peer in facts.peers()}
    rows = []
    for reader, types in table.items():
        cells = [f"**{OURS}**" if reader == OURS else versions[reader]]
        cells += [_count(types, names) for names in families.values()]
        rows.append([*cells, str(_whole(types, nets))])
    head = ["reader"]
    head += [f"{kind}: of {len(names)}" for kind, names in families.items()]
    head.append(f"nets: of {sum(nets.values())}")
    return _table(head, rows, right=len(head) - 1)


def _short(version: str) -> str:
    return version.replace(" and ", ", ").partition(",")[0]


def _count(types: dict[str, Support], names: list[str]) -> str:
    taken = [types[name] for name in names if name in types and types[name].support in TAKEN]
    partly = sum(found.support == "partly" for found in taken)
    return f"{len(taken)} ({partly} partly)" if partly else str(len(taken))


def _whole(types: dict[str, Support], nets: dict[frozenset[str], int]) -> int:
    """How many nets have only types that are taken."""
    known = {name for name, found in types.items() if found.support in TAKEN}
    return sum(count for names, count in nets.items() if names <= known)


def page() -> str:
    """docs/coverage.md."""
    parts = [HEAD + summary() + _legend(), _readers()]
    for kind, names in facts.types().items():
        parts.append(f"## {kind[0].upper()}{kind[1:]}\n\n{_by_type(names)}")
    parts += [_remarks(), _gaps()]
    return "\n".join(parts)


def _legend() -> str:
    lines = ["", "A column counts the types that are taken, which are these:", ""]
    lines += [f"- **{word}**: {facts.MEANINGS[word]}" for word in TAKEN]
    lines += ["", "and these are not counted:", ""]
    lines += [f"- **{word}**: {text}" for word, text in facts.MEANINGS.items() if word not in TAKEN]
    return "\n".join([*lines, "", NETS_TAKEN.format(sum(facts.nets().values()))])


def _readers() -> str:
    rows = [
        [
            peer.peer,
            peer.version,
            peer.of,
            peer.files.replace(", ", "<br>"),
            peer.read,
            peer.run,
            peer.remark,
        ]
        for peer in facts.peers()
    ]
    head = ["reader", "version", "of", "read in", "on", "run with", "remarks"]
    return "## The readers\n\n" + _table(head, rows)


def _by_type(names: list[str]) -> str:
    used, table = facts.uses(), facts.support()
    readers = [OURS, *(peer.peer for peer in facts.peers())]
    rows = []
    for name in names:
        use = used.get(name)
        counts = [str(use.nets), str(use.deploy)] if use else ["", ""]
        cells = [table[reader].get(name) for reader in readers]
        rows.append([name, *(found.support if found else "" for found in cells), *counts])
    return _table(["type", *readers, f"nets, of {NETS}", "to deploy"], rows, right=2)


def _remarks() -> str:
    lines = ["## Remarks", ""]
    for peer in facts.peers():
        lines += [f"### {peer.peer}", ""]
        for name, found in facts.theirs()[peer.peer].items():
            if found.remark:
                lines.append(f"- {name}: {found.remark}")
        lines.append("")
    return "\n".join(lines)


def _gaps() -> str:
    """What public nets to deploy have and this project does not take."""
    ours, used = facts.ours(), facts.uses()
    rows = [
        [name, str(used[name].nets), str(used[name].deploy)]
        for names in facts.types().values()
        for name in names
        if name in used
        and used[name].deploy
        and (name not in ours or ours[name].support not in TAKEN)
    ]
    rows.sort(key=lambda row: (-int(row[2]), row[0]))
    head = "## What this project lacks\n\nTypes of nets to deploy.\n\n"
    return head + _table(["type", f"nets, of {NETS}", "to deploy"], rows, right=2)
