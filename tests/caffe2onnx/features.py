"""One feature of Caffe each, between a convolution and a layer that reads what the feature makes.

Alone, a feature that is converted wrong can only be blamed itself; between other layers it has to
be told from them.
"""

from __future__ import annotations

from collections.abc import Iterator

from tests.random_settings import layer_text

__all__ = ["DATA", "FEATURES"]

DATA = (2, 3, 11, 13)
"""Of the net's one input."""
MAPS = (2, 6, 9, 11)
"""What "before" makes of it: a convolution 3x3."""


def layer(name: str, bottoms: str, top: str, kind: str, param: str = "", **fields: object) -> str:
    """A layer; bottoms and tops are names with spaces between; `rule` is text of its own."""
    rule = fields.pop("rule", "")
    ends = "".join(f'bottom: "{blob}" ' for blob in bottoms.split())
    ends += "".join(f'top: "{blob}" ' for blob in top.split())
    return f'layer {{ name: "{name}" {ends}{layer_text(kind, param, **fields)} {rule} }}\n'


def convolution(name: str, bottom: str, kernel: int = 1, count: int = 6, **fields: object) -> str:
    return layer(name, bottom, name, "Convolution", "convolution",
                 num_output=count, kernel_size=kernel, **fields)  # fmt: skip


def dense(name: str, bottom: str, count: int = 2, **fields: object) -> str:
    return layer(name, bottom, name, "InnerProduct", "inner_product", num_output=count, **fields)


BEFORE = convolution("before", "data", 3)
AFTER = convolution("after", "feature", count=4)
DENSE = dense("after", "feature")


def alone(kind: str, param: str = "", after: str = AFTER, **fields: object) -> str:
    """The feature is one layer."""
    return BEFORE + layer("feature", "before", "feature", kind, param, **fields) + after


def in_place(kind: str, param: str = "", **fields: object) -> str:
    """The feature is one layer, which rewrites the blob."""
    text = layer("feature", "before", "before", kind, param, **fields)
    return BEFORE + text + convolution("after", "before", count=4)


def pooling(**fields: object) -> str:
    return alone("Pooling", "pooling", **fields)


def two(kind: str, param: str = "", bottoms: str = "before beside", **fields: object) -> str:
    """The feature joins two branches."""
    beside = convolution("beside", "data", 3)
    return BEFORE + beside + layer("feature", bottoms, "feature", kind, param, **fields) + AFTER


def rule(text: str, kind: str = "Power", param: str = "power", **fields: object) -> str:
    """Between the two convolutions a layer that a rule may take out of the net."""
    return in_place(kind, param, rule=text, **(fields or {"scale": 2}))


def norm(eps: float | None = None, pair: str = "feature", bottom: str = "before") -> str:
    """BatchNorm and what has to follow it: Scale, rewriting `pair`."""
    text = layer("feature", bottom, pair, "BatchNorm", "batch_norm", eps=eps)
    return text + layer("scale", pair, pair, "Scale", "scale", bias_term="true")


def _elementwise() -> Iterator[tuple[str, str]]:
    for name, kind, param, fields in (
        ("relu", "ReLU", "", {}),
        ("relu slope", "ReLU", "relu", {"negative_slope": 0.25}),
        ("sigmoid", "Sigmoid", "", {}),
        ("tanh", "TanH", "", {}),
        ("dropout", "Dropout", "dropout", {"dropout_ratio": 0.4}),
        ("power", "Power", "power", {"scale": -0.5, "shift": 0.25, "power": 2}),
        ("prelu", "PReLU", "", {}),
        ("elu", "ELU", "elu", {"alpha": 0.5}),
    ):
        yield name, alone(kind, param, **fields)
        yield name + " in place", in_place(kind, param, **fields)
    positive = BEFORE + layer("sigmoid", "before", "sigmoid", "Sigmoid")
    for name, settings in (("e", {}), ("base 10", {"base": 10}), ("shift", {"shift": 0.5})):
        yield f"log {name}", positive + layer("feature", "sigmoid", "feature", "Log", "log",
                                              **settings) + AFTER  # fmt: skip


def _pooling() -> Iterator[tuple[str, str]]:
    for kind in ("MAX", "AVE"):
        lower = kind.lower()
        yield f"pooling {lower} ceil", pooling(pool=kind, kernel_size=3, stride=2)
        yield f"pooling {lower} overhang", pooling(pool=kind, kernel_size=2, stride=2)
        yield f"pooling {lower} clip", pooling(pool=kind, kernel_size=2, stride=2, pad=1)
        yield f"pooling {lower} pad", pooling(pool=kind, kernel_size=3, stride=1, pad=1)
        yield f"pooling {lower} floor", pooling(pool=kind, kernel_size=2, stride=2,
                                               round_mode="FLOOR")  # fmt: skip
        yield f"pooling {lower} pad_h", pooling(pool=kind, kernel_h=3, kernel_w=2, pad_h=1,
                                                pad_w=0, stride_h=2, stride_w=1)  # fmt: skip
        yield f"pooling {lower} global", pooling(pool=kind, global_pooling="true")
    yield "pooling stochastic", pooling(pool="STOCHASTIC", kernel_size=3, stride=2)
    yield "pooling k1 s2", pooling(pool="MAX", kernel_size=1, stride=2)


def _normalization() -> Iterator[tuple[str, str]]:
    yield "lrn across", alone("LRN", "lrn", local_size=5, alpha=0.5)
    yield "lrn k", alone("LRN", "lrn", local_size=3, alpha=0.5, k=2)
    yield (
        "lrn within",
        alone("LRN", "lrn", local_size=3, alpha=0.5, norm_region="WITHIN_CHANNEL"),
    )
    yield "batchnorm", alone("BatchNorm")
    yield "batchnorm in place", in_place("BatchNorm")
    yield "batchnorm batch statistics", alone("BatchNorm", "batch_norm", use_global_stats="false")
    yield "batchnorm scale", BEFORE + norm() + AFTER
    yield "batchnorm scale factor", BEFORE + norm() + AFTER
    yield "batchnorm scale factor 0", BEFORE + norm() + AFTER
    yield "batchnorm scale eps", BEFORE + norm(0.25) + AFTER
    yield "batchnorm scale in place", BEFORE + norm(pair="before") + convolution("after", "before")
    apart = layer("feature", "before", "feature", "BatchNorm")
    apart += layer("scale", "feature", "scaled", "Scale", "scale", bias_term="true")
    yield "batchnorm scale apart", BEFORE + apart + convolution("after", "scaled")
    # Neighbours in the file, but the Scale is of another branch.
    foreign = layer("feature", "before", "feature", "BatchNorm")
    foreign += layer("scale", "beside", "beside", "Scale", "scale", bias_term="true")
    foreign += layer("sum", "feature beside", "sum", "Eltwise")
    beside = convolution("beside", "data", 3)
    yield "batchnorm beside a scale", BEFORE + beside + foreign + convolution("after", "sum")
    yield "mvn", alone("MVN")
    yield "mvn eps", alone("MVN", "mvn", eps=0.5)
    yield "mvn mean only", alone("MVN", "mvn", normalize_variance="false")
    yield "scale", alone("Scale")
    yield "scale bias", alone("Scale", "scale", bias_term="true")
    yield "scale axis 0", alone("Scale", "scale", axis=0)
    weight = layer("pooled", "beside", "pooled", "Pooling", "pooling", pool="AVE",
                   global_pooling="true")  # fmt: skip
    gate = layer("flat", "pooled", "flat", "Flatten") + layer("gate", "flat", "gate", "Sigmoid")
    gated = layer("feature", "before gate", "feature", "Scale", "scale", axis=0)
    yield "scale by a blob", BEFORE + beside + weight + gate + gated + AFTER
    for axis in (0, 1, 2, 3):
        yield f"softmax axis {axis}", alone("Softmax", "softmax", axis=axis)
    yield "softmax negative axis", alone("Softmax", "softmax", axis=-1)
    yield (
        "softmax of a vector",
        BEFORE + dense("dense", "before") + layer("feature", "dense", "feature", "Softmax"),
    )


def _joins() -> Iterator[tuple[str, str]]:
    yield "eltwise sum", two("Eltwise")
    yield "eltwise coefficients", two("Eltwise", "eltwise", coeff=[1, -0.5])
    yield "eltwise coefficients of one", two("Eltwise", "eltwise", coeff=[1, 1])
    yield "eltwise product", two("Eltwise", "eltwise", operation="PROD")
    yield "eltwise max", two("Eltwise", "eltwise", operation="MAX")
    yield "eltwise of three", two("Eltwise", bottoms="before beside before")
    yield "eltwise of one twice", two("Eltwise", bottoms="before before")
    yield "concat", two("Concat")
    yield "concat axis 2", two("Concat", "concat", axis=2)
    yield "concat negative axis", two("Concat", "concat", axis=-1)
    yield "concat of one twice", two("Concat", bottoms="before before")
    wide = BEFORE + convolution("beside", "data", 5)
    for name, fields in (
        ("crop", {"axis": 2}),
        ("crop offset", {"axis": 2, "offset": [1, 2]}),
        ("crop one offset", {"axis": 2, "offset": 1}),
        ("crop negative axis", {"axis": -2, "offset": [2, 0]}),
    ):
        cut = layer("feature", "before beside", "feature", "Crop", "crop", **fields)
        yield name, wide + cut + AFTER
    cut = layer("feature", "before beside", "feature", "Crop", "crop", axis=3, offset=1)
    yield "crop axis 3", BEFORE + convolution("beside", "data", 5, pad_h=1, pad_w=0) + cut + AFTER


def _sizes() -> Iterator[tuple[str, str]]:
    for name, fields in (
        ("slice", {"slice_point": 2}),
        ("slice halves", {}),
        ("slice axis 2", {"axis": 2, "slice_point": 4}),
    ):
        cut = layer("feature", "before", "first feature", "Slice", "slice", **fields)
        yield name, BEFORE + cut + AFTER + convolution("other", "first")
    yield "flatten", alone("Flatten", after=DENSE)
    yield "flatten axis 2", alone("Flatten", "flatten", after=DENSE, axis=2)
    yield "flatten to an axis", alone("Flatten", "flatten", after=DENSE, end_axis=2)
    for name, dims, more in (
        ("reshape", "dim: 0 dim: -1", ""),
        ("reshape infer", "dim: 0 dim: 0 dim: -1 dim: 3", ""),
        ("reshape axis", "dim: 3 dim: -1", "axis: 1"),
        ("reshape num_axes", "dim: 33 dim: 3", "axis: 2 num_axes: 2"),
    ):
        shaped = f"reshape_param {{ shape {{ {dims} }} {more} }}"
        yield name, alone("Reshape", after=DENSE, rule=shaped)
    pooled = BEFORE + layer("pooled", "before", "pooled", "Pooling", "pooling", pool="AVE",
                            global_pooling="true")  # fmt: skip
    last = dense("after", "feature")
    for name, fields in (
        ("inner product", {}),
        ("inner product without bias", {"bias_term": "false"}),
        ("inner product square", {"count": 6}),
        ("inner product transposed", {"transpose": "true"}),
        ("inner product transposed square", {"transpose": "true", "count": 6}),
    ):
        yield name, pooled + dense("feature", "pooled", **fields) + last
    named = layer("score", "pooled", "feature", "InnerProduct", "inner_product", num_output=6)
    yield "inner product of another name", pooled + named + last
    column = BEFORE + layer("column", "before", "column", "Reshape",
                            rule="reshape_param { shape { dim: 2 dim: 1 dim: 594 } }")  # fmt: skip
    yield "inner product axis 2", column + dense("feature", "column", axis=2) + last


def _windows() -> Iterator[tuple[str, str]]:
    for name, fields in (
        ("pad stride", {"kernel": 3, "pad": 1, "stride": 2}),
        ("group", {"kernel": 3, "group": 3}),
        ("depthwise", {"kernel": 3, "group": 6}),
        ("dilation", {"kernel": 3, "dilation": 2}),
        ("without bias", {"bias_term": "false"}),
        ("pad_h pad_w", {"kernel": 3, "pad_h": 1, "pad_w": 2}),
        ("stride_h stride_w", {"kernel": 3, "stride_h": 2, "stride_w": 1}),
        ("dilation of each axis", {"kernel": 3, "dilation": [1, 2]}),
    ):
        yield f"convolution {name}", BEFORE + convolution("feature", "before", **fields) + AFTER
    shared = convolution("feature", "before", rule='param { name: "shared" }')
    shared += convolution("beside", "feature", rule='param { name: "shared" }')
    sum_ = layer("sum", "feature beside", "sum", "Eltwise")
    yield "convolution shared", BEFORE + shared + sum_ + convolution("after", "sum")
    for name, fields in (
        ("k2 s2", {"kernel_size": 2, "stride": 2}),
        ("k4 s2 p1", {"kernel_size": 4, "stride": 2, "pad": 1}),
        ("group", {"kernel_size": 3, "group": 2}),
        ("dilation", {"kernel_size": 3, "dilation": 2}),
        ("h and w", {"kernel_h": 2, "kernel_w": 3, "stride_h": 2, "stride_w": 1}),
    ):
        text = alone("Deconvolution", "convolution", num_output=6, **fields)
        yield f"deconvolution {name}", text


def _rules() -> Iterator[tuple[str, str]]:
    yield "include train", rule("include { phase: TRAIN }")
    yield "include test", rule("include { phase: TEST }")
    yield "exclude test", rule("exclude { phase: TEST }")
    yield "exclude train", rule("exclude { phase: TRAIN }")
    yield "include a stage", rule('include { stage: "deploy" }')
    yield "include not a stage", rule('include { not_stage: "deploy" }')
    yield "include a level", rule("include { min_level: 1 }")
    yield "include a dropout", rule("include { phase: TRAIN }", "Dropout", "dropout",
                                    dropout_ratio=0.5)  # fmt: skip
    # A branch that only training has.
    loss = dense("feature", "before", rule="include { phase: TRAIN }")
    yield "include a branch", BEFORE + loss + convolution("after", "before")


def _graphs() -> Iterator[tuple[str, str]]:
    relu = layer("feature", "before", "before", "ReLU")
    branch = convolution("branch", "before")
    sum_ = layer("sum", "branch before", "sum", "Eltwise")
    yield (
        "read before and after rewriting",
        BEFORE + branch + relu + sum_ + convolution("after", "sum"),
    )
    yield "two outputs", BEFORE + convolution("first", "before") + dense("second", "before")
    twice = layer("relu", "before", "before", "ReLU")
    yield (
        "a name twice",
        BEFORE
        + twice
        + convolution("middle", "before")
        + layer("relu", "middle", "middle", "ReLU"),
    )
    power = layer("twice", "before", "before", "Power", "power", scale=2)
    yield "rewritten twice", BEFORE + relu + power + convolution("after", "before")
    yield (
        "split",
        BEFORE + layer("feature", "before", "one two", "Split") + convolution("after", "one"),
    )


def _all() -> dict[str, str]:
    """Every net, less its input."""
    found: dict[str, str] = {}
    for group in (_elementwise, _pooling, _normalization, _joins, _sizes, _windows, _rules,
                  _graphs):  # fmt: skip
        for name, text in group():
            assert name not in found, name
            found[name] = text
    return found


FEATURES: dict[str, str] = _all()
"""Name -> layers."""
