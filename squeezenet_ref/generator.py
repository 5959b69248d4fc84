"""Caffe definitions of the SqueezeNet family, as text for people and for Caffe."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from prototxt.errors import UsageError
from squeezenet_ref.design import (
    ARCHITECTURES,
    POOL_KERNEL,
    POOL_STRIDE,
    Architecture,
    Fire,
    architecture,
)

__all__ = ["FILLERS", "Fillers", "Training", "generate"]


@dataclass(frozen=True)
class Fillers:
    """Fields of a FillerParameter as text; "" leaves the filler out, and Caffe fills with 0."""

    weight: str = ""
    final_weight: str = ""
    bias: str = ""


FILLERS: dict[str, Fillers] = {
    "none": Fillers(),
    "training": Fillers('type: "xavier"', 'type: "gaussian" mean: 0.0 std: 0.01'),
    # Draws only uniformly, which needs no library function whose last bit depends on the platform,
    # and gives every bias a value, so that a conversion that loses one is found out.
    "reference": Fillers('type: "xavier"', 'type: "xavier"', 'type: "uniform" min: -0.1 max: 0.1'),
}
"""none: as the published deploy nets; training: as the published train_val nets; reference: for
seeded weights."""


@dataclass(frozen=True)
class Training:
    """What a train_val definition has besides the net.

    Args:
        train_source, test_source: LMDB folders.
        train_batch, test_batch: images a batch.
        mirror: whether training flips images at random; None leaves the field out.
        phase_rules: whether the loss is for TRAIN only and the accuracies for TEST only, as in
            v1.0.
        top1: name of the top-1 accuracy layer and blob.
        explicit_top1: whether `top_k: 1`, the default, is written out.
    """

    train_source: str = "examples/imagenet/ilsvrc12_train_lmdb"
    test_source: str = "examples/imagenet/ilsvrc12_val_lmdb"
    train_batch: int = 32
    test_batch: int = 25
    mirror: bool | None = None
    phase_rules: bool = False
    top1: str = "accuracy"
    explicit_top1: bool = False


_RESIDUAL = Training(test_batch=50, mirror=True, top1="accuracy_top1", explicit_top1=True)
_TRAINING = {
    ARCHITECTURES["1.0"]: Training(phase_rules=True),
    ARCHITECTURES["simple-bypass"]: _RESIDUAL,
    ARCHITECTURES["complex-bypass"]: _RESIDUAL,
}


def generate(
    net: str | Architecture = "1.1",
    *,
    kind: str = "deploy",
    fillers: str | None = None,
    training: Training | None = None,
    **changes: Any,
) -> str:
    """The definition of a SqueezeNet as prototxt text.

    Args:
        net: a name of `ARCHITECTURES`, or any point of the design space.
        kind: "deploy" (Input ... Softmax `prob`) or "train_val" (Data ... loss and accuracies).
        fillers: a name of `FILLERS`; by default none in a deploy net, the published ones in a
            train_val net.
        training: data layers, losses and accuracies of a train_val net; by default as published.
        changes: fields of `Architecture` to change, as `input_size=64`.

    With the defaults, "1.0" and "1.1" are equal, as parsed nets, to the published deploy and
    train_val files, "simple-bypass" to the published residual net.  Layer names are theirs; a
    complex bypass, which was never published, has `fire2/proj` and `fire2/bypass`.

    Raises:
        UsageError: an unknown name, or a value out of its range.
    """
    shape = architecture(net, **changes)
    if kind not in ("deploy", "train_val"):
        raise UsageError(f'unknown kind "{kind}" of definition', expected="deploy or train_val")
    chosen = fillers if fillers is not None else "none" if kind == "deploy" else "training"
    if chosen not in FILLERS:
        raise UsageError(f'unknown fillers "{chosen}"', expected="one of " + ", ".join(FILLERS))
    text = _Text(shape, FILLERS[chosen])
    if kind == "deploy":
        return text.header() + _input(shape) + text.body() + _softmax(shape)
    base = ARCHITECTURES.get(net.removeprefix("v"), shape) if isinstance(net, str) else net
    details = training or _TRAINING.get(base, Training())
    return text.header() + _data(shape, details) + text.body() + _losses(shape, details)


class _Text:
    """Writes the layers between the input and the classifier's pooled scores."""

    def __init__(self, shape: Architecture, fillers: Fillers) -> None:
        self.shape = shape
        self.fillers = fillers
        self.sizes = shape.sizes()

    def header(self) -> str:
        shape = self.shape
        title = next(
            (f" {n}" for n, known in ARCHITECTURES.items() if _same_layers(known, shape)), ""
        )
        pools = ", ".join(map(str, shape.pools)) or "none"
        ratios = f"SR={shape.sr:g} pct_3x3={shape.pct_3x3:g}"
        lines = [
            f"# SqueezeNet{title}: {shape.modules} Fire modules, {shape.parameters:,} parameters.",
            "# Expand filters e_i = base_e + incr_e * floor(i / freq), arXiv:1602.07360, with",
            f"# base_e={shape.base_e} incr_e={shape.incr_e} freq={shape.freq} {ratios};",
            f"# pools after layers {pools}; bypass: {shape.bypass}.",
        ]
        if shape.net_name:
            name = shape.net_name.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
            lines.append(f'name: "{name}"')
        return "\n".join(lines) + "\n"

    def body(self) -> str:
        shape = self.shape
        high, wide = self.sizes["conv1"]
        text = f"\n# conv1: {shape.conv1_channels} channels, {high}x{wide}\n"
        text += self._convolution(
            "conv1",
            "data",
            shape.conv1_channels,
            shape.conv1_kernel,
            shape.conv1_stride,
            shape.conv1_pad,
        )
        text += _relu("relu_conv1", "conv1")
        text, top = self._pooled(text, 1, "conv1")
        for fire in shape.fires:
            text += self._fire_title(fire)
            layers, top = self._fire(fire, top)
            text, top = self._pooled(text + layers, fire.number, top)
        return text + self._classifier(top)

    def _pooled(self, text: str, number: int, top: str) -> tuple[str, str]:
        if number not in self.shape.pools:
            return text, top
        window = f"pooling_param {{ pool: MAX kernel_size: {POOL_KERNEL} stride: {POOL_STRIDE} }}"
        return text + _layer(f"pool{number}", "Pooling", [top], param=window), f"pool{number}"

    def _fire_title(self, fire: Fire) -> str:
        high, wide = self.sizes[fire.name]
        return (
            f"\n# {fire.name}: {fire.inputs} channels -> squeeze {fire.squeeze} -> expand "
            f"{fire.expand1x1} + {fire.expand3x3} = {fire.outputs} channels, {high}x{wide}\n"
        )

    def _fire(self, fire: Fire, bottom: str) -> tuple[str, str]:
        name, squeeze = fire.name, f"{fire.name}/squeeze1x1"
        text = self._convolution(squeeze, bottom, fire.squeeze, 1)
        text += _relu(f"{name}/relu_squeeze1x1", squeeze)
        for kind, filters, kernel in (("1x1", fire.expand1x1, 1), ("3x3", fire.expand3x3, 3)):
            expand = f"{name}/expand{kind}"
            text += self._convolution(expand, squeeze, filters, kernel, pad=kernel // 2)
            text += _relu(f"{name}/relu_expand{kind}", expand)
        concat = f"{name}/concat"
        text += _layer(concat, "Concat", [f"{name}/expand1x1", f"{name}/expand3x3"])
        if not fire.bypass:
            return text, concat
        if fire.bypass == "projection":
            text += self._convolution(f"{name}/proj", bottom, fire.outputs, 1)
            bottom = f"{name}/proj"
        # The published residual net names the sum after the two modules that it joins.
        layer, top = f"bypass_{fire.number - 1}{fire.number}", f"{name}_EltAdd"
        if self.shape.bypass == "complex":
            layer = top = f"{name}/bypass"
        return text + _layer(layer, "Eltwise", [bottom, concat], top), top

    def _classifier(self, top: str) -> str:
        shape = self.shape
        conv, last = f"conv{shape.final}", shape.final - 1
        high, wide = self.sizes[conv]
        text = f"\n# {conv}: {shape.classes} classes, {high}x{wide}, averaged\n"
        ratio = f"dropout_param {{ dropout_ratio: {shape.dropout:g} }}"
        text += _layer(f"drop{last}", "Dropout", [top], top, ratio)
        text += self._convolution(conv, top, shape.classes, 1, pad=shape.final_pad)
        text += _relu(f"relu_{conv}", conv)
        average = "pooling_param { pool: AVE global_pooling: true }"
        return text + _layer(f"pool{shape.final}", "Pooling", [conv], param=average)

    def _convolution(
        self, name: str, bottom: str, filters: int, kernel: int, stride: int = 1, pad: int = 0
    ) -> str:
        fields = [f"num_output: {filters}", f"kernel_size: {kernel}"]
        fields += [f"pad: {pad}"] * (pad > 0) + [f"stride: {stride}"] * (stride > 1)
        final = name == f"conv{self.shape.final}"
        weight = self.fillers.final_weight if final else self.fillers.weight
        lines = [" ".join(fields)]
        lines += [f"weight_filler {{ {weight} }}"] * bool(weight)
        lines += [f"bias_filler {{ {self.fillers.bias} }}"] * bool(self.fillers.bias)
        inner = (
            f" {lines[0]} " if len(lines) == 1 else "".join(f"\n    {x}" for x in lines) + "\n  "
        )
        return _layer(name, "Convolution", [bottom], param=f"convolution_param {{{inner}}}")


def _same_layers(one: Architecture, other: Architecture) -> bool:
    """Whether two architectures differ in nothing but names and the shape of the input."""
    return one == replace(
        other,
        net_name=one.net_name,
        input_layer=one.input_layer,
        batch=one.batch,
        input_size=one.input_size,
    )


def _layer(name: str, kind: str, bottoms: list[str], top: str = "", param: str = "") -> str:
    lines = [f'name: "{name}"', f'type: "{kind}"', *(f'bottom: "{b}"' for b in bottoms)]
    lines += [f'top: "{top or name}"'] + [param] * bool(param)
    return "layer {\n" + "".join(f"  {line}\n" for line in lines) + "}\n"


def _relu(name: str, blob: str) -> str:
    return _layer(name, "ReLU", [blob], blob)


def _input(shape: Architecture) -> str:
    dims = " ".join(f"dim: {d}" for d in (shape.batch, shape.input_channels, *shape.size))
    return "\n" + _layer(
        shape.input_layer, "Input", [], "data", f"input_param {{ shape {{ {dims} }} }}"
    )


def _softmax(shape: Architecture) -> str:
    return _layer("prob", "Softmax", [f"pool{shape.final}"])


def _data(shape: Architecture, details: Training) -> str:
    high, wide = shape.size
    if high != wide:
        raise UsageError(
            f"a train_val net crops squares, not {high}x{wide}", expected="one number as input_size"
        )
    means = "mean_value: 104 mean_value: 117 mean_value: 123"  # B, G, R, of ImageNet
    text = ""
    for phase, source, batch in (
        ("TRAIN", details.train_source, details.train_batch),
        ("TEST", details.test_source, details.test_batch),
    ):
        mirror = details.mirror if phase == "TRAIN" or details.mirror is None else False
        flip = "" if mirror is None else f"mirror: {str(mirror).lower()} "
        text += (
            '\nlayer {\n  name: "data"\n  type: "Data"\n  top: "data"\n  top: "label"\n'
            f"  include {{ phase: {phase} }}\n"
            f"  transform_param {{ {flip}crop_size: {high} {means} }}\n"
            f'  data_param {{ source: "{source}" batch_size: {batch} backend: LMDB }}\n}}\n'
        )
    return text


def _losses(shape: Architecture, details: Training) -> str:
    bottoms = [f"pool{shape.final}", "label"]

    def rule(phase: str) -> str:
        return f"include {{ phase: {phase} }}" if details.phase_rules else ""

    top1 = "accuracy_param { top_k: 1 }" if details.explicit_top1 else ""
    return (
        _layer("loss", "SoftmaxWithLoss", bottoms, "loss", rule("TRAIN"))
        + _layer(details.top1, "Accuracy", bottoms, "", _both(rule("TEST"), top1))
        + _layer(
            "accuracy_top5",
            "Accuracy",
            bottoms,
            "",
            _both(rule("TEST"), "accuracy_param { top_k: 5 }"),
        )
    )


def _both(rule: str, param: str) -> str:
    return "\n  ".join(part for part in (rule, param) if part)
