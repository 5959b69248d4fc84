"""Seeded random layers of every converted type: settings that nobody thought of, all legal."""

from __future__ import annotations

import random
from collections.abc import Callable

__all__ = ["MAKERS", "filler", "input_layer", "layer_text", "random_net"]

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


def random_net(kind: str, seed: int) -> str:
    """A net of one random layer; the same text for the same seed."""
    # A string seeds the same everywhere, a tuple does not.
    chance = random.Random(f"{kind} {seed}")
    shapes, text = MAKERS[kind](chance)
    names = [f"x{i}" for i in range(len(shapes))]
    inputs = "".join(map(input_layer, names, shapes))
    bottoms = " ".join(f'bottom: "{name}"' for name in names)
    tops = 'top: "y" top: "mask"' if "MASK" in text else 'top: "y"'
    if kind == "Convolution":
        tops = " ".join(f'top: "y{i}"' for i in range(len(shapes)))
    return inputs + f'layer {{ name: "layer" {bottoms} {tops} {text.replace("MASK", "")} }}\n'


def _sizes(chance: random.Random, count: int, low: int = 1, high: int = 9) -> Shape:
    return tuple(chance.randint(low, high) for _ in range(count))


def _image(chance: random.Random, low: int = 3, high: int = 13) -> Shape:
    return (*_sizes(chance, 2, 1, 6), *_sizes(chance, 2, low, high))


def filler(chance: random.Random) -> str:
    """The text of a filler, in braces."""
    kinds = ['type: "xavier"', 'type: "gaussian" std: 0.3', 'type: "uniform" min: -1 max: 1']
    return f"{{ {chance.choice(kinds)} }}"


def _convolution(chance: random.Random) -> tuple[list[Shape], str]:
    rank = chance.choice([1, 2, 2, 2, 3])
    group = chance.choice([1, 1, 2, 3])
    channels, outputs = group * chance.randint(1, 3), group * chance.randint(1, 4)
    axis = chance.choice([1, 1, 1, 2]) if rank < 3 else 1
    dilation = [chance.choice([1, 1, 2, 3]) for _ in range(rank)]
    kernel = [chance.randint(1, 4) for _ in range(rank)]
    pad = [chance.randint(0, 4) for _ in range(rank)]
    stride = [chance.randint(1, 3) for _ in range(rank)]
    size = [max(1, d * (k - 1) + 1 - 2 * p) + chance.randint(0, 6)
            for d, k, p in zip(dilation, kernel, pad, strict=True)]  # fmt: skip
    shape = (*_sizes(chance, axis, 1, 3), channels, *size)
    text = layer_text(
        "Convolution",
        "convolution",
        num_output=outputs,
        group=group,
        axis=axis if chance.random() < 0.5 else axis - len(shape),
        kernel_size=kernel,
        pad=pad,
        stride=stride,
        dilation=dilation,
        bias_term=chance.choice(["true", "false"]),
        weight_filler=filler(chance),
        bias_filler=filler(chance),
    )
    return [shape] * chance.choice([1, 1, 2]), text


def _pooling(chance: random.Random) -> tuple[list[Shape], str]:
    shape = _image(chance)
    method = chance.choice(["MAX", "MAX", "AVE"])
    kernel = [chance.randint(1, min(5, size)) for size in shape[2:]]
    pad = [chance.randint(0, k - 1) for k in kernel] if chance.random() < 0.6 else [0, 0]
    # An average over a window outside the map is refused: so its stride is at most the kernel.
    stride = [chance.randint(1, 4 if method == "MAX" else k) for k in kernel]
    text = layer_text(
        "Pooling",
        "pooling",
        pool=method,
        kernel_h=kernel[0],
        kernel_w=kernel[1],
        stride_h=stride[0],
        stride_w=stride[1],
        pad_h=pad[0],
        pad_w=pad[1],
        round_mode=chance.choice([None, None, "FLOOR"]),
    )
    mask = " MASK" if method == "MAX" and chance.random() < 0.4 else ""
    return [shape], text + mask


def _global_pooling(chance: random.Random) -> tuple[list[Shape], str]:
    method = chance.choice(["MAX", "AVE"])
    return [_image(chance)], layer_text("Pooling", "pooling", pool=method, global_pooling="true")


def _inner_product(chance: random.Random) -> tuple[list[Shape], str]:
    shape = _sizes(chance, chance.randint(1, 4), 1, 5)
    return [shape], layer_text(
        "InnerProduct",
        "inner_product",
        num_output=chance.randint(1, 7),
        axis=chance.randrange(-len(shape), len(shape)),
        transpose=chance.choice(["true", "false"]),
        bias_term=chance.choice(["true", "false"]),
        weight_filler=filler(chance),
    )


def _eltwise(chance: random.Random) -> tuple[list[Shape], str]:
    count = chance.randint(2, 4)
    operation = chance.choice(["SUM", "PROD", "MAX"])
    coefficients = None
    if operation == "SUM" and chance.random() < 0.6:
        coefficients = [chance.choice([1, -1, 0.5, -2.25]) for _ in range(count)]
    shape = _sizes(chance, chance.randint(1, 5), 1, 4)
    return [shape] * count, layer_text(
        "Eltwise", "eltwise", operation=operation, coeff=coefficients
    )


def _concat(chance: random.Random) -> tuple[list[Shape], str]:
    shape = _sizes(chance, chance.randint(1, 5), 1, 4)
    axis = chance.randrange(len(shape))
    shapes = [
        tuple(chance.randint(1, 4) if i == axis else size for i, size in enumerate(shape))
        for _ in range(chance.randint(1, 4))
    ]
    wanted = chance.choice([axis, axis - len(shape)])
    return shapes, layer_text("Concat", "concat", axis=wanted)


def _scale(chance: random.Random) -> tuple[list[Shape], str]:
    shape = _sizes(chance, chance.randint(1, 5), 1, 5)
    axis = chance.randrange(len(shape))
    count = chance.randint(0, len(shape) - axis)
    fields: dict[str, object] = {
        "axis": chance.choice([axis, axis - len(shape)]) if count else axis,
        "bias_term": chance.choice(["true", "false"]),
        "bias_filler": filler(chance) if count else None,
    }
    if chance.random() < 0.4 and count:
        return [shape, shape[axis : axis + count]], layer_text("Scale", "scale", **fields)
    to_the_end = axis + count == len(shape) and count and chance.random() < 0.5
    fields |= {"num_axes": -1 if to_the_end else count}
    fields |= {"filler": filler(chance) if count else "{ value: 1.5 }"}
    return [shape], layer_text("Scale", "scale", **fields)


def _batch_norm(chance: random.Random) -> tuple[list[Shape], str]:
    shape = _sizes(chance, chance.randint(2, 5), 2, 5)
    return [shape], layer_text(
        "BatchNorm",
        "batch_norm",
        use_global_stats=chance.choice([None, "false", "true"]),
        eps=chance.choice([1e-5, 1e-3, 0.25]),
    )


def _lrn(chance: random.Random) -> tuple[list[Shape], str]:
    size = chance.choice([1, 3, 5, 7])
    shape = (*_sizes(chance, 2, 1, 9), *_sizes(chance, 2, size, size + 6))
    return [shape], layer_text(
        "LRN",
        "lrn",
        local_size=size,
        alpha=chance.choice([1e-4, 0.5, 2]),
        beta=chance.choice([0.75, 0.5, 1]),
        k=chance.choice([1, 2, 0.5]),
        norm_region=chance.choice(["ACROSS_CHANNELS", "WITHIN_CHANNEL"]),
    )


def _softmax(chance: random.Random) -> tuple[list[Shape], str]:
    shape = _sizes(chance, chance.randint(1, 5), 1, 6)
    axis = chance.randrange(-len(shape), len(shape))
    return [shape], layer_text("Softmax", "softmax", axis=axis)


def _elementwise(chance: random.Random) -> tuple[list[Shape], str]:
    power, scale, shift = (
        chance.choice(values) for values in ([0, 1, 2, 3], [0, 1, 0.1, -2], [0, 1, -0.7])
    )
    texts = [
        layer_text("ReLU", "relu", negative_slope=chance.choice([0, 0.1, -0.5])),
        layer_text("Sigmoid"),
        layer_text("TanH"),
        layer_text("AbsVal"),
        layer_text("BNLL"),
        layer_text("ELU", "elu", alpha=chance.choice([1, 0.3])),
        layer_text("Power", "power", power=power, scale=scale, shift=shift),
        layer_text("Dropout"),
    ]
    return [_sizes(chance, chance.randint(1, 5), 1, 6)], chance.choice(texts)


MAKERS: dict[str, Maker] = {
    "Convolution": _convolution,
    "Pooling": _pooling,
    "GlobalPooling": _global_pooling,
    "InnerProduct": _inner_product,
    "Eltwise": _eltwise,
    "Concat": _concat,
    "Scale": _scale,
    "BatchNorm": _batch_norm,
    "LRN": _lrn,
    "Softmax": _softmax,
    "elementwise": _elementwise,
}
