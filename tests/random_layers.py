"""Seeded random layers of every converted type: settings that nobody thought of, within what Caffe accepts."""

from __future__ import annotations

import random
from collections.abc import Callable

__all__ = ["MAKERS", "random_net"]

Shape = tuple[int, ...]
Maker = Callable[[random.Random], tuple[list[Shape], str]]
"""From a source of chance to the shapes of the bottoms and the text of the layer, less name, bottoms and tops."""


def _input(name: str, shape: Shape) -> str:
    dims = " ".join(f"dim: {size}" for size in shape)
    return f'layer {{ name: "{name}" type: "Input" top: "{name}" input_param {{ shape {{ {dims} }} }} }}\n'


def random_net(kind: str, seed: int) -> str:
    """A net of one random layer; the same text for the same seed."""
    # A string seeds the same everywhere, a tuple does not.
    chance = random.Random(f"{kind} {seed}")
    shapes, text = MAKERS[kind](chance)
    names = [f"x{i}" for i in range(len(shapes))]
    inputs = "".join(map(_input, names, shapes))
    bottoms = " ".join(f'bottom: "{name}"' for name in names)
    tops = 'top: "y" top: "mask"' if "MASK" in text else 'top: "y"'
    if kind == "Convolution":
        tops = " ".join(f'top: "y{i}"' for i in range(len(shapes)))
    return inputs + f'layer {{ name: "layer" {bottoms} {tops} {text.replace("MASK", "")} }}\n'


def _sizes(chance: random.Random, count: int, low: int = 1, high: int = 9) -> Shape:
    return tuple(chance.randint(low, high) for _ in range(count))


def _image(chance: random.Random, low: int = 3, high: int = 13) -> Shape:
    return (*_sizes(chance, 2, 1, 6), *_sizes(chance, 2, low, high))


def _filler(chance: random.Random) -> str:
    return chance.choice(
        ['type: "xavier"', 'type: "gaussian" std: 0.3', 'type: "uniform" min: -1 max: 1']
    )


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
    fields = "".join(
        f" {name}: {value}"
        for name, values in (
            ("kernel_size", kernel),
            ("pad", pad),
            ("stride", stride),
            ("dilation", dilation),
        )
        for value in values
    )
    wanted = axis if chance.random() < 0.5 else axis - len(shape)
    bias = chance.choice(["true", "false"])
    text = (
        f'type: "Convolution" convolution_param {{ num_output: {outputs} group: {group} axis: {wanted}{fields} '
        f"bias_term: {bias} weight_filler {{ {_filler(chance)} }} bias_filler {{ {_filler(chance)} }} }}"
    )
    return [shape] * chance.choice([1, 1, 2]), text


def _pooling(chance: random.Random) -> tuple[list[Shape], str]:
    shape = _image(chance)
    method = chance.choice(["MAX", "MAX", "AVE"])
    kernel = [chance.randint(1, min(5, size)) for size in shape[2:]]
    pad = [chance.randint(0, k - 1) for k in kernel] if chance.random() < 0.6 else [0, 0]
    # An average over a window outside the map is refused: so its stride is at most the kernel.
    stride = [chance.randint(1, 4 if method == "MAX" else k) for k in kernel]
    rounding = chance.choice(["", "", "round_mode: FLOOR"])
    mask = "MASK" if method == "MAX" and chance.random() < 0.4 else ""
    fields = (
        f"kernel_h: {kernel[0]} kernel_w: {kernel[1]} stride_h: {stride[0]} stride_w: {stride[1]} "
        f"pad_h: {pad[0]} pad_w: {pad[1]}"
    )
    return [shape], f'type: "Pooling" pooling_param {{ pool: {method} {fields} {rounding} }} {mask}'


def _global_pooling(chance: random.Random) -> tuple[list[Shape], str]:
    method = chance.choice(["MAX", "AVE"])
    return [
        _image(chance)
    ], f'type: "Pooling" pooling_param {{ pool: {method} global_pooling: true }}'


def _inner_product(chance: random.Random) -> tuple[list[Shape], str]:
    shape = _sizes(chance, chance.randint(1, 4), 1, 5)
    axis = chance.randrange(-len(shape), len(shape))
    transpose, bias = (chance.choice(["true", "false"]) for _ in range(2))
    return [shape], (
        f'type: "InnerProduct" inner_product_param {{ num_output: {chance.randint(1, 7)} axis: {axis} '
        f"transpose: {transpose} bias_term: {bias} weight_filler {{ {_filler(chance)} }} }}"
    )


def _eltwise(chance: random.Random) -> tuple[list[Shape], str]:
    count = chance.randint(2, 4)
    operation = chance.choice(["SUM", "PROD", "MAX"])
    coefficients = ""
    if operation == "SUM" and chance.random() < 0.6:
        coefficients = " ".join(
            f"coeff: {chance.choice([1, -1, 0.5, -2.25])}" for _ in range(count)
        )
    shape = _sizes(chance, chance.randint(1, 5), 1, 4)
    return [
        shape
    ] * count, f'type: "Eltwise" eltwise_param {{ operation: {operation} {coefficients} }}'


def _concat(chance: random.Random) -> tuple[list[Shape], str]:
    shape = _sizes(chance, chance.randint(1, 5), 1, 4)
    axis = chance.randrange(len(shape))
    shapes = [
        tuple(chance.randint(1, 4) if i == axis else size for i, size in enumerate(shape))
        for _ in range(chance.randint(1, 4))
    ]
    wanted = chance.choice([axis, axis - len(shape)])
    return shapes, f'type: "Concat" concat_param {{ axis: {wanted} }}'


def _scale(chance: random.Random) -> tuple[list[Shape], str]:
    shape = _sizes(chance, chance.randint(1, 5), 1, 5)
    axis = chance.randrange(len(shape))
    count = chance.randint(0, len(shape) - axis)
    bias = chance.choice(["true", "false"])
    fillers = (
        f"filler {{ {_filler(chance)} }} bias_filler {{ {_filler(chance)} }}"
        if count
        else "filler { value: 1.5 }"
    )
    if chance.random() < 0.4 and count:
        wanted = chance.choice([axis, axis - len(shape)])
        text = f'type: "Scale" scale_param {{ axis: {wanted} bias_term: {bias} {fillers.split("filler {")[0]} }}'
        return [shape, shape[axis : axis + count]], text
    number = -1 if axis + count == len(shape) and count and chance.random() < 0.5 else count
    return (
        [shape],
        f'type: "Scale" scale_param {{ axis: {axis} num_axes: {number} bias_term: {bias} {fillers} }}',
    )


def _batch_norm(chance: random.Random) -> tuple[list[Shape], str]:
    shape = _sizes(chance, chance.randint(2, 5), 2, 5)
    stats = chance.choice(["", "use_global_stats: false", "use_global_stats: true"])
    eps = chance.choice([1e-5, 1e-3, 0.25])
    return [shape], f'type: "BatchNorm" batch_norm_param {{ {stats} eps: {eps} }}'


def _lrn(chance: random.Random) -> tuple[list[Shape], str]:
    region = chance.choice(["ACROSS_CHANNELS", "WITHIN_CHANNEL"])
    size = chance.choice([1, 3, 5, 7])
    shape = (*_sizes(chance, 2, 1, 9), *_sizes(chance, 2, size, size + 6))
    return [shape], (
        f'type: "LRN" lrn_param {{ local_size: {size} alpha: {chance.choice([1e-4, 0.5, 2])} '
        f"beta: {chance.choice([0.75, 0.5, 1])} k: {chance.choice([1, 2, 0.5])} norm_region: {region} }}"
    )


def _softmax(chance: random.Random) -> tuple[list[Shape], str]:
    shape = _sizes(chance, chance.randint(1, 5), 1, 6)
    return [
        shape
    ], f'type: "Softmax" softmax_param {{ axis: {chance.randrange(-len(shape), len(shape))} }}'


def _elementwise(chance: random.Random) -> tuple[list[Shape], str]:
    texts = [
        f'type: "ReLU" relu_param {{ negative_slope: {chance.choice([0, 0.1, -0.5])} }}',
        'type: "Sigmoid"',
        'type: "TanH"',
        'type: "AbsVal"',
        'type: "BNLL"',
        f'type: "ELU" elu_param {{ alpha: {chance.choice([1, 0.3])} }}',
        f'type: "Power" power_param {{ power: {chance.choice([0, 1, 2, 3])} '
        f"scale: {chance.choice([0, 1, 0.1, -2])} shift: {chance.choice([0, 1, -0.7])} }}",
        'type: "Dropout"',
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
