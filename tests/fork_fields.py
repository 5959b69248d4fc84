"""docs/fork_fields.md: `python -m tests.fork_fields` writes it from prototxt/fork_fields.tsv."""

from __future__ import annotations

from pathlib import Path

from prototxt.fork_fields import ForkField, fork_fields

PAGE = Path(__file__).parent.parent / "docs" / "fork_fields.md"
HEAD = """\
# Fields that forks of Caffe add

{count} fields that about fifty public forks add to messages of BVLC's Caffe and of SSD, and what
`decaffeinate` makes of each. `python -m tests.fork_fields` writes this page from
`prototxt/fork_fields.tsv`, which the program itself reads.

- **honoured**: read, as the fork means it.
- **ignored**: nothing that is computed at inference depends on it.
- **noted**: it belongs to a layer that reads data, whose tops become inputs; a note names it.
- **refused**: it changes what is computed and is not converted, so the net is refused, with the
  place of the field. The values under "as good as none" are taken.

A field that is in no table is named in a note, and refused with `--strict`. Messages of their own,
such as `roi_pooling_param`, belong to layer types: see README's table. Fields of solvers and of
stored blobs are not here. A `.caffemodel` without a prototxt has numbers for names: see README.

| message | field | handling | as good as none | why | forks |
|---|---|---|---|---|---|
"""


def _row(key: tuple[str, str], field: ForkField) -> str:
    neutral = ", ".join(f"`{value}`" for value in field.neutral)
    return (
        f"| {key[0]} | `{key[1]}` | {field.handling} | {neutral} | {field.reason} | {field.forks} |"
    )


def page() -> str:
    """The page's text."""
    table = fork_fields()
    rows = [_row(key, field) for key, field in table.items()]
    return HEAD.format(count=len(rows)) + "\n".join(rows) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
