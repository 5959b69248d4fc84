"""In which order of axes a file of another tool's making holds what Caffe holds in a blob."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import permutations
from math import prod
from typing import Any

from numpy.typing import NDArray

__all__ = ["Layout", "declared", "input_axes", "layouts", "named_layout"]

Array = NDArray[Any]
_MOST_AXES = 5
"""Axes, those of size 1 aside, of which all orders are tried: 120."""
_LETTERS = {3: "NCL", 4: "NCHW", 5: "NCDHW"}


@dataclass(frozen=True)
class Layout:
    """How a file's array becomes a blob: it is split to `split`, its axes are put in the order
    `axes`, and the result gets the blob's shape.  Without axes, only the last."""

    split: tuple[int, ...] = ()
    axes: tuple[int, ...] = ()
    text: str = ""
    """For people; "" where the order of elements is Caffe's own."""

    @property
    def is_caffes(self) -> bool:
        """Whether elements are in Caffe's order."""
        return not self.axes

    def to_blob(self, array: Array, shape: Sequence[int]) -> Array:
        """The file's array as Caffe holds it, in the blob's shape."""
        if self.axes:
            array = array.reshape(self.split).transpose(self.axes)
        return array.reshape(tuple(shape))


def layouts(found: Sequence[int], blob: Sequence[int]) -> Iterator[Layout]:
    """All layouts in which an array of one shape may hold a blob of another: Caffe's own first.

    Axes of size 1 come and go, neighbouring axes may have been joined into one or a joined one
    split, and the axes may be in another order.

    Args:
        found: the file's shape.
        blob: Caffe's.
    """
    if prod(found) != prod(blob):
        return
    yield Layout()
    sizes, held = [n for n in blob if n != 1], [n for n in found if n != 1]
    seen: set[tuple[tuple[int, ...], tuple[int, ...]]] = set()
    if len(sizes) <= _MOST_AXES:
        for order in permutations(range(len(sizes))):
            split = tuple(sizes[i] for i in order)
            axes = tuple(order.index(i) for i in range(len(order)))
            if list(order) != sorted(order) and _joins(split, held):
                seen.add((split, axes))
                yield Layout(split, axes, _text(blob, order))
    if len(sizes) < len(held) <= _MOST_AXES:
        for order in permutations(range(len(held))):
            moved = tuple(held[i] for i in order)
            key = (tuple(held), order)
            if list(order) != sorted(order) and _joins(moved, sizes) and key not in seen:
                yield Layout(tuple(held), order, f"axes in the order {_listed(order)}")


def _joins(fine: Sequence[int], coarse: Sequence[int]) -> bool:
    """Whether joining neighbours of the one gives the other; neither has a size of 1."""
    rest = list(fine)
    for size in coarse:
        part = 1
        while part < size and rest:
            part *= rest.pop(0)
        if part != size:
            return False
    return not rest


def _text(blob: Sequence[int], order: Sequence[int]) -> str:
    letters = _LETTERS.get(len(blob))
    if letters is None:
        return f"axes in the order {_listed(order)}"
    kept = [letter for letter, size in zip(letters, blob, strict=True) if size != 1]
    ones = [letter for letter, size in zip(letters, blob, strict=True) if size == 1]
    return "".join([*ones, *(kept[i] for i in order)])


def _listed(order: Sequence[int]) -> str:
    return ", ".join(map(str, order))


def declared(found: Sequence[int], blob: Sequence[int], permuted: bool = False) -> list[Layout]:
    """The layouts that the file's own shape tells of what it gives out: Caffe's where the sizes are
    in Caffe's order, others only where the sizes themselves are in another.  None where axes were
    joined or split: whoever reads an output by its shape reads something else then, and that is
    what a Reshape or a Flatten can do wrong.

    Args:
        found: the file's shape.
        blob: Caffe's.
        permuted: whether other orders than Caffe's may be meant, as in a file that takes its
            inputs in another; else they are a mistake, as of a wrong Permute.
    """
    all_of = list(layouts(found, blob))
    sizes, held = [n for n in blob if n != 1], [n for n in found if n != 1]
    if sorted(sizes) != sorted(held) or (sizes != held and not permuted):
        return []
    return all_of[:1] if sizes == held else all_of[1:]


def named_layout(name: str) -> tuple[int, ...] | None:
    """The axes of a blob in the order of a layout's name, as (0, 2, 3, 1) for "NHWC"; None where
    it is no order of the letters that Caffe's axes have."""
    letters = _LETTERS.get(len(name))
    if letters is None or sorted(letters) != sorted(name.upper()):
        return None
    return tuple(letters.index(letter) for letter in name.upper())


def input_axes(port: Sequence[int | None] | None, blob: Sequence[int]) -> list[tuple[int, ...]]:
    """The orders of a blob's axes that give the shape which a file declares; Caffe's own first.

    An open size fits any; a whole shape that is not declared fits Caffe's own alone.
    """
    own = tuple(range(len(blob)))
    if port is None:
        return [own]
    if len(port) != len(blob) or len(blob) > _MOST_AXES:
        return []
    orders = permutations(own)
    return [order for order in orders if all(
        size is None or size == blob[axis] for size, axis in zip(port, order, strict=True)
    )]  # fmt: skip
