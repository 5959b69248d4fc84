"""What random layers are written with: sizes, fillers, the text of settings."""

from __future__ import annotations

import random
from collections.abc import Callable

__all__ = ["Maker", "Shape", "filler", "image", "input_layer", "layer_text", "sizes", "yes_or_no"]

Shape = tuple[int, ...]
Maker = Callable[[random.Random], tuple[list[Shape], str]]
"""From a source of chance to the shapes of the bottoms and the text of type and settings."""


def input_layer(name: str, shape: Shape) -> str:
    """The text of an Input layer."""
    dims = " ".join(f"dim: {size}" for size in shape)
    shaped = f"input_param {{ shape {{ {dims} }} }}"
    return f'layer {{ name: "{name}" type: "Input" top: "{name}" {shaped} }}\n'


def layer_text(kind: str, param: str = "", **fields: object) -> str:
    """The type of a layer and its settings; a list repeats a field, None leaves it out."""
    lines = []
    for name, value in fields.items():
        for one in value if isinstance(value, list) else [value]:
            if one is not None:
                lines.append(f"{name} {one}" if str(one).startswith("{") else f"{name}: {one}")
    return f'type: "{kind}"' + (f" {param}_param {{ {' '.join(lines)} }}" if param else "")


def sizes(chance: random.Random, count: int, low: int = 1, high: int = 9) -> Shape:
    """Sizes of so many axes."""
    return tuple(chance.randint(low, high) for _ in range(count))


def image(chance: random.Random, low: int = 3, high: int = 13) -> Shape:
    """The shape of a small batch of maps."""
    return (*sizes(chance, 2, 1, 6), *sizes(chance, 2, low, high))


def filler(chance: random.Random) -> str:
    """The text of a filler, in braces."""
    kinds = ['type: "xavier"', 'type: "gaussian" std: 0.3', 'type: "uniform" min: -1 max: 1']
    return f"{{ {chance.choice(kinds)} }}"


def yes_or_no(chance: random.Random) -> str:
    """true or false."""
    return chance.choice(["true", "false"])
