"""Names of blobs in the files of other tools: what converters commonly make of them.

A name is a hint where to look first, and never a proof: values decide.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

__all__ = ["likeness", "plain"]

_ENDINGS = re.compile(
    r"(:\d+|_y\d*|_input|_output\d*|_out\d*|_fwd|_blob\d*|_top\d*|__\d+|_relu|\.\d+)$"
)
"""What converters put behind a name: TensorFlow's ":0", caffe2onnx's "_Y" and "_input",
MXNet's "_output"."""


def plain(name: str) -> str:
    """A name without case and marks that converters change."""
    return re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")


def likeness(name: str, wanted: Iterable[str]) -> int:
    """How much a file's name looks like one of those wanted: 3 the same, 2 the same but for marks,
    1 the same but for what is put before or behind it, 0 another."""
    best = 0
    given = _forms(name)
    for want in wanted:
        if name == want:
            return 3
        target = plain(want)
        if not target:
            continue
        if plain(name) == target:
            best = max(best, 2)
        elif target in given or target in _parts(name):
            best = max(best, 1)
    return best


def _forms(name: str) -> list[str]:
    """The name, with one ending after the other taken away."""
    forms, rest = [], name.lower()
    while True:
        forms.append(plain(rest))
        shorter = _ENDINGS.sub("", rest)
        if shorter == rest:
            return forms
        rest = shorter


def _parts(name: str) -> Sequence[str]:
    """Of a path such as PyTorch's "features/conv1.conv", its steps."""
    return [plain(part) for part in re.split(r"[/.:]", name) if part]
