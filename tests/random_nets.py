"""Seeded random nets: branches, joins, in-place chains, shared memory, odd names."""

from __future__ import annotations

import random
from collections.abc import Callable

from prototxt import parse_net
from prototxt.errors import NetError
from prototxt.shapes import infer_shapes
from tests.random_settings import filler, input_layer, layer_text

__all__ = ["random_net"]

Shapes = dict[str, tuple[int, ...]]
Kind = Callable[[random.Random, str, Shapes], str]
"""From a source of chance, a name for a new blob and the blobs so far to the text of a layer."""

_ODD_NAMES = ["data", "x@0", "conv1.weight", "self", "a/b", "torch", "F", "b0_output"]


def random_net(seed: int) -> str:
    """The text of a net, the same for the same seed; what Caffe would refuse is left out."""
    chance = random.Random(f"net {seed}")
    shape = tuple(chance.randint(low, high) for low, high in ((1, 3), (1, 6), (3, 12), (3, 12)))
    names = chance.sample(_ODD_NAMES, chance.choice([1, 1, 2, 3]))
    text = "".join(input_layer(name, shape) for name in names)
    for number in range(chance.randint(3, 9)):
        kind = chance.choice(_KINDS)
        more = kind(chance, f"b{number}", _shapes(text))
        try:
            _shapes(text + more)
        except NetError:
            continue
        text += more
    return text + _classifier(chance, _shapes(text))


def _shapes(text: str) -> Shapes:
    net = parse_net(text)
    shapes = infer_shapes(net)
    return {name: shapes.blobs[blob] for name, blob in net.finals.items()}


def _pick(chance: random.Random, shapes: Shapes) -> str:
    return chance.choice(list(shapes)[-4:])


def _layer(name: str, bottoms: list[str], tops: list[str], text: str) -> str:
    ends = [f'bottom: "{blob}"' for blob in bottoms] + [f'top: "{blob}"' for blob in tops]
    return f'layer {{ name: "layer {name}" {" ".join(ends)} {text} }}\n'


def _convolution(chance: random.Random, name: str, shapes: Shapes) -> str:
    text = layer_text(
        "Convolution",
        "convolution",
        num_output=chance.randint(1, 6),
        kernel_size=chance.randint(1, 3),
        pad=chance.randint(0, 2),
        stride=chance.randint(1, 2),
        group=chance.choice([1, 1, 1, 2, 3]),
        bias_term=chance.choice(["true", "false"]),
        weight_filler=filler(chance),
    )
    return _layer(name, [_pick(chance, shapes)], [name], text)


def _deconvolution(chance: random.Random, name: str, shapes: Shapes) -> str:
    text = layer_text(
        "Deconvolution",
        "convolution",
        num_output=chance.randint(1, 4),
        kernel_size=chance.randint(1, 3),
        pad=chance.randint(0, 1),
        stride=chance.randint(1, 2),
        group=chance.choice([1, 1, 2]),
        bias_term=chance.choice(["true", "false"]),
        weight_filler=filler(chance),
    )
    return _layer(name, [_pick(chance, shapes)], [name], text)


def _pooling(chance: random.Random, name: str, shapes: Shapes) -> str:
    kernel, method = chance.randint(1, 4), chance.choice(["MAX", "MAX", "AVE"])
    text = layer_text(
        "Pooling",
        "pooling",
        pool=method,
        kernel_size=kernel,
        stride=chance.randint(1, kernel),
        pad=chance.randint(0, kernel - 1),
    )
    return _layer(name, [_pick(chance, shapes)], [name], text)


def _in_place(chance: random.Random, name: str, shapes: Shapes) -> str:
    blob = _pick(chance, shapes)
    texts = [
        layer_text("ReLU", "relu", negative_slope=chance.choice([0, 0.1])),
        layer_text("Dropout"),
        layer_text("Scale", "scale", bias_term="true", filler=filler(chance)),
        layer_text("BatchNorm"),
        layer_text("PReLU", "prelu", channel_shared=chance.choice(["true", "false"])),
        layer_text("Bias", "bias", filler=filler(chance)),
        layer_text("Swish"),
        layer_text("Dropout") + " phase: TRAIN",
    ]
    return _layer(name, [blob], [blob], chance.choice(texts))


def _to_another(chance: random.Random, name: str, shapes: Shapes) -> str:
    texts = [layer_text(kind) for kind in ("Sigmoid", "TanH", "ReLU", "Dropout", "BatchNorm")]
    texts.append(layer_text("Softmax", "softmax", axis=chance.choice([1, -1])))
    texts.append(layer_text("Clip", "clip", min=-0.5, max=1))
    texts.append(layer_text("Im2col", "convolution", kernel_size=chance.randint(1, 2)))
    region = chance.choice(["ACROSS_CHANNELS", "WITHIN_CHANNEL"])
    texts.append(layer_text("LRN", "lrn", local_size=3, alpha=0.5, norm_region=region))
    return _layer(name, [_pick(chance, shapes)], [name], chance.choice(texts))


def _split(chance: random.Random, name: str, shapes: Shapes) -> str:
    return _layer(name, [_pick(chance, shapes)], [name, f"{name}'"], layer_text("Split"))


def _eltwise(chance: random.Random, name: str, shapes: Shapes) -> str:
    first = _pick(chance, shapes)
    alike = [blob for blob, shape in shapes.items() if shape == shapes[first]]
    operation = chance.choice(["SUM", "PROD", "MAX"])
    bottoms = [chance.choice(alike) for _ in range(chance.randint(2, 3))]
    coeff = [chance.choice([1, -1, 0.5]) for _ in bottoms] if operation == "SUM" else None
    return _layer(
        name, bottoms, [name], layer_text("Eltwise", "eltwise", operation=operation, coeff=coeff)
    )


def _concat(chance: random.Random, name: str, shapes: Shapes) -> str:
    bottoms = [_pick(chance, shapes) for _ in range(chance.randint(1, 3))]
    return _layer(name, bottoms, [name], layer_text("Concat", "concat", axis=chance.randrange(2)))


def _classifier(chance: random.Random, shapes: Shapes) -> str:
    text = layer_text(
        "InnerProduct",
        "inner_product",
        num_output=chance.randint(2, 7),
        transpose=chance.choice(["true", "false"]),
        weight_filler=filler(chance),
    )
    return _layer("prob", [_pick(chance, shapes)], ["prob"], text)


_KINDS: list[Kind] = [
    _convolution,
    _convolution,
    _deconvolution,
    _pooling,
    _in_place,
    _in_place,
    _to_another,
    _split,
    _eltwise,
    _concat,
]
