"""Seeded random layers of every converted type: settings that nobody thought of, all legal."""

from __future__ import annotations

import random
from math import prod

from tests import (
    random_detectors,
    random_flow,
    random_forks,
    random_ristretto,
    random_roi,
    random_volumes,
    random_windows,
)
from tests.random_settings import (
    Maker,
    Shape,
    filler,
    input_layer,
    layer_text,
    sizes,
    yes_or_no,
)

__all__ = ["MAKERS", "random_net"]


def random_net(kind: str, seed: int) -> str:
    """A net of one random layer; the same text for the same seed."""
    # A string seeds the same everywhere, a tuple does not.
    chance = random.Random(f"{kind} {seed}")
    shapes, text = MAKERS[kind](chance)
    names = [f"x{i}" for i in range(len(shapes))]
    inputs = "".join(map(input_layer, names, shapes))
    bottoms = " ".join(f'bottom: "{name}"' for name in names)
    tops = 'top: "y" top: "mask"' if "MASK" in text else 'top: "y"'
    if kind.removesuffix("Ristretto") in ("Convolution", "Deconvolution"):
        tops = " ".join(f'top: "y{i}"' for i in range(len(shapes)))
    if kind == "Shift" and "stride" in text:
        tops = " ".join(f'top: "{side}"' for side in ("left", "up", "right", "down"))
    return inputs + f'layer {{ name: "layer" {bottoms} {tops} {text.replace("MASK", "")} }}\n'


def _inner_product(chance: random.Random) -> tuple[list[Shape], str]:
    shape = sizes(chance, chance.randint(1, 4), 1, 5)
    return [shape], layer_text(
        "InnerProduct",
        "inner_product",
        num_output=chance.randint(1, 7),
        axis=chance.randrange(-len(shape), len(shape)),
        transpose=yes_or_no(chance),
        bias_term=yes_or_no(chance),
        weight_filler=filler(chance),
    )


def _eltwise(chance: random.Random) -> tuple[list[Shape], str]:
    count = chance.randint(2, 4)
    operation = chance.choice(["SUM", "PROD", "MAX"])
    coefficients = None
    if operation != "PROD" and chance.random() < 0.6:
        coefficients = [chance.choice([1, -1, 0.5, -2.25]) for _ in range(count)]
    shape = sizes(chance, chance.randint(1, 5), 1, 4)
    return [shape] * count, layer_text(
        "Eltwise",
        "eltwise",
        operation=operation,
        coeff=coefficients,
        stable_prod_grad=yes_or_no(chance),
    )


def _concat(chance: random.Random) -> tuple[list[Shape], str]:
    shape = sizes(chance, chance.randint(1, 5), 1, 4)
    axis = chance.randrange(len(shape))
    shapes = [
        tuple(chance.randint(1, 4) if i == axis else size for i, size in enumerate(shape))
        for _ in range(chance.randint(1, 4))
    ]
    wanted = chance.choice([axis, axis - len(shape)])
    return shapes, layer_text("Concat", "concat", axis=wanted)


def _scale(chance: random.Random) -> tuple[list[Shape], str]:
    shape = sizes(chance, chance.randint(1, 5), 1, 5)
    axis = chance.randrange(len(shape))
    count = chance.randint(0, len(shape) - axis)
    fields: dict[str, object] = {
        "axis": chance.choice([axis, axis - len(shape)]) if count else axis,
        "bias_term": yes_or_no(chance),
        "bias_filler": filler(chance) if count else None,
    }
    if chance.random() < 0.4 and count:
        return [shape, shape[axis : axis + count]], layer_text("Scale", "scale", **fields)
    to_the_end = axis + count == len(shape) and count and chance.random() < 0.5
    fields |= {"num_axes": -1 if to_the_end else count}
    fields |= {"filler": filler(chance) if count else "{ value: 1.5 }"}
    return [shape], layer_text("Scale", "scale", **fields)


def _bias(chance: random.Random) -> tuple[list[Shape], str]:
    shape = sizes(chance, chance.randint(1, 5), 1, 5)
    axis = chance.randrange(len(shape))
    count = chance.randint(0, len(shape) - axis)
    wanted = chance.choice([axis, axis - len(shape)]) if count else axis
    if chance.random() < 0.4 and count:
        return [shape, shape[axis : axis + count]], layer_text("Bias", "bias", axis=wanted)
    to_the_end = axis + count == len(shape) and count and chance.random() < 0.5
    return [shape], layer_text("Bias", "bias", axis=wanted, num_axes=-1 if to_the_end else count)


def _prelu(chance: random.Random) -> tuple[list[Shape], str]:
    shape = sizes(chance, chance.randint(2, 5), 1, 5)
    shared = chance.choice([None, "false", "true"])
    return [shape], layer_text("PReLU", "prelu", channel_shared=shared)


def _mvn(chance: random.Random) -> tuple[list[Shape], str]:
    # Of few values the deviation may be tiny, and what is divided by it mere rounding.
    shape = (*sizes(chance, 2, 1, 5), *sizes(chance, chance.randint(0, 2), 4, 9))
    return [shape], layer_text(
        "MVN",
        "mvn",
        normalize_variance=chance.choice([None, "false"]),
        across_channels=chance.choice([None, "true"]) if len(shape) > 2 else None,
        eps=chance.choice([None, 1e-3, 0.5]),
    )


def _reduction(chance: random.Random) -> tuple[list[Shape], str]:
    shape = sizes(chance, chance.randint(1, 5), 1, 5)
    return [shape], layer_text(
        "Reduction",
        "reduction",
        operation=chance.choice(["SUM", "ASUM", "SUMSQ", "MEAN"]),
        axis=chance.randrange(-len(shape), len(shape)),
        coeff=chance.choice([None, 0.5, -3]),
    )


def _permute(chance: random.Random) -> tuple[list[Shape], str]:
    shape = sizes(chance, chance.randint(1, 6), 1, 5)
    order = chance.sample(range(len(shape)), chance.randint(0, len(shape)))
    return [shape], layer_text("Permute", "permute", order=order)


def _prior_box(chance: random.Random) -> tuple[list[Shape], str]:
    maps, picture = sizes(chance, chance.randint(2, 4), 1, 5), sizes(chance, 4, 20, 90)
    least = [chance.choice([4, 9.75, 20, 31.5]) for _ in range(chance.randint(1, 3))]
    image = chance.choice([{}, {"img_size": 70}, {"img_h": 50, "img_w": 81}])
    step = chance.choice([{}, {"step": 8}, {"step_h": 7.5, "step_w": 11}])
    ratios = chance.sample([1, 2, 3, 0.5, 1.5], chance.randint(0, 4))
    text = layer_text(
        "PriorBox",
        "prior_box",
        min_size=least,
        max_size=chance.choice([None, [size * 1.75 for size in least]]),
        aspect_ratio=ratios,
        flip=chance.choice([None, "true", "false"]),
        clip=yes_or_no(chance),
        variance=chance.choice([[], [0.2], [0.1, 0.1, 0.2, 0.25]]),
        offset=chance.choice([None, 0, 0.3, -1.5]),
        **image,
        **step,
    )
    return [maps] if image and chance.random() < 0.5 else [maps, (*maps[:1], *picture[1:])], text


def _arg_max(chance: random.Random) -> tuple[list[Shape], str]:
    shape = sizes(chance, chance.randint(1, 5), 1, 5)
    axis = chance.choice([None, *range(-len(shape), len(shape))])
    values = prod(shape[1:]) if axis is None else shape[axis]
    return [shape], layer_text(
        "ArgMax",
        "argmax",
        axis=axis,
        top_k=chance.randint(1, values),
        out_max_val=yes_or_no(chance),
    )


def _batch_norm(chance: random.Random) -> tuple[list[Shape], str]:
    shape = sizes(chance, chance.randint(2, 5), 2, 5)
    return [shape], layer_text(
        "BatchNorm",
        "batch_norm",
        use_global_stats=chance.choice([None, "false", "true"]),
        eps=chance.choice([1e-5, 1e-3, 0.25]),
    ) + chance.choice(["", " phase: TRAIN", " phase: TEST"])


def _batch_norm_of_nvidia(chance: random.Random) -> tuple[list[Shape], str]:
    """With a scale and a bias of its own."""
    shape = sizes(chance, chance.randint(2, 5), 2, 5)
    told = chance.choice(["scale_bias: true", "scale_filler { }", "bias_filler { value: 1 }"])
    eps = chance.choice([1e-3, 1e-6])
    stats = chance.choice(["", "use_global_stats: false"])
    fields = f"batch_norm_param {{ {told} eps: {eps} {stats} }}"
    return [shape], 'type: "BatchNorm" ' + fields + chance.choice(["", " phase: TRAIN"])


def _lrn(chance: random.Random) -> tuple[list[Shape], str]:
    size = chance.choice([1, 3, 5, 7])
    shape = (*sizes(chance, 2, 1, 9), *sizes(chance, 2, size, size + 6))
    return [shape], layer_text(
        "LRN",
        "lrn",
        local_size=size,
        alpha=chance.choice([1e-4, 0.5, 2]),
        beta=chance.choice([0.75, 0.5, 1]),
        k=chance.choice([1, 2, 0.5]),
        norm_region=chance.choice(["ACROSS_CHANNELS", "WITHIN_CHANNEL"]),
    )


def _normalize(chance: random.Random) -> tuple[list[Shape], str]:
    return [sizes(chance, chance.randint(2, 4), 1, 6)], layer_text(
        "Normalize",
        "norm",
        across_spatial=chance.choice(["true", "false"]),
        channel_shared=chance.choice(["true", "false"]),
        eps=chance.choice([None, 1e-3]),
    )


def _axpy(chance: random.Random) -> tuple[list[Shape], str]:
    maps = sizes(chance, chance.randint(2, 5), 1, 6)
    factor = (*maps[:2], *(1,) * chance.randint(0, 3))
    return [factor, maps, maps], layer_text("Axpy")


def _softmax(chance: random.Random) -> tuple[list[Shape], str]:
    shape = sizes(chance, chance.randint(1, 5), 1, 6)
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
        layer_text("Dropout", "dropout", dropout_ratio=chance.choice([0, 0.3])) + " phase: TRAIN",
        layer_text("Mish"),
        layer_text("HardSwish"),
        layer_text("HardSigmoid", "hard_sigmoid", alpha=chance.choice([None, 0.5, -0.3])),
        layer_text("ReLU6", "relu6", negative_slope=chance.choice([None, 0.1, -0.5])),
        layer_text("Swish", "swish", beta=chance.choice([None, 0.5, -2, 0])),
        layer_text("Clip", "clip", **chance.choice(_BOUNDS)),
    ]
    return [sizes(chance, chance.randint(1, 5), 1, 6)], chance.choice(texts)


_BOUNDS = [{"min": -1, "max": 0.5}, {"min": 0, "max": 6}, {"min": 1, "max": -1}]


def _exp(chance: random.Random) -> tuple[list[Shape], str]:
    return [sizes(chance, chance.randint(1, 5), 1, 6)], layer_text(
        "Exp",
        "exp",
        base=chance.choice([None, -1, 2, 0.5, 1]),
        scale=chance.choice([None, 0.25, -1.5, 0]),
        shift=chance.choice([None, 1, -2.5]),
    )


def _log(chance: random.Random) -> tuple[list[Shape], str]:
    # Near 0 a logarithm has no accuracy: shifted, it stays away from there.
    return [sizes(chance, chance.randint(1, 5), 1, 6)], layer_text(
        "Log",
        "log",
        base=chance.choice([None, -1, 2, 0.5, 10]),
        scale=chance.choice([None, 0.25, -1, 0]),
        shift=chance.choice([12, 20.5]),
    )


def _threshold(chance: random.Random) -> tuple[list[Shape], str]:
    limit = chance.choice([None, 0, 0.5, -1])
    shape = sizes(chance, chance.randint(1, 5), 1, 6)
    return [shape], layer_text("Threshold", "threshold", threshold=limit)


MAKERS: dict[str, Maker] = (
    random_windows.MAKERS
    | random_detectors.MAKERS
    | random_forks.MAKERS
    | random_volumes.MAKERS
    | random_flow.MAKERS
    | random_ristretto.MAKERS
    | random_roi.MAKERS
    | {
        "InnerProduct": _inner_product,
        "Eltwise": _eltwise,
        "Concat": _concat,
        "Scale": _scale,
        "Bias": _bias,
        "PReLU": _prelu,
        "BatchNorm": _batch_norm,
        "BatchNorm of NVIDIA": _batch_norm_of_nvidia,
        "LRN": _lrn,
        "MVN": _mvn,
        "Normalize": _normalize,
        "Axpy": _axpy,
        "Softmax": _softmax,
        "Reduction": _reduction,
        "Permute": _permute,
        "PriorBox": _prior_box,
        "ArgMax": _arg_max,
        "Exp": _exp,
        "Log": _log,
        "Threshold": _threshold,
        "elementwise": _elementwise,
    }
)
