"""Which of the converter's files are wrong, and from which layer on: told without the verification.

A file is run in onnxruntime, every value kept, and held to what Caffe was recorded to compute;
where nothing was recorded, to the float64 reference, which is held to the recordings elsewhere.
The values are found by the converter's own naming, which only this module knows: a value is called
as its blob, or as its layer where that rewrites the blob or is an InnerProduct; a Scale behind a
BatchNorm is part of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from decaffeinate.loading import Loaded
from prototxt import Blob, Layer, Net
from verify.reference import run

__all__ = ["Truth", "truth"]

Array = NDArray[Any]

SHARE = 1e-6
"""The difference, as a share of a blob's greatest magnitude, that makes a value wrong.  On the
nets' own inputs float32 arithmetic in another order stays below 3e-7, and the least of the faults
is above 2e-6; `python -m tests.caffe2onnx` prints both."""
NOISY = 1e-5
"""The same on other inputs, where rounding alone reaches 3e-6: what is between is left open."""
ROUNDINGS = 10
"""On those, a difference is left open too if it is less than so many times that of the reference in
float32: where a mean is subtracted that is a thousand times the rest, say."""
FILL = float(np.finfo(np.float32).max)
"""-FLT_MAX is Caffe's maximum of nothing: it must be met exactly, and is no part of the scale."""


@dataclass(frozen=True)
class Truth:
    """What onnxruntime makes of a file."""

    refusal: str = ""
    """Why it does not run."""
    kind: str = ""
    """"right"; "wrong": an output is; "hidden": a value is, but no output shows it; or "open": the
    difference may be a fault or rounding.  Empty where the file does not run."""
    layers: tuple[str, ...] = ()
    """The first layer whose value is wrong, or may be; several where the values between them are
    not in the file."""
    worst: float = 0.0
    """The greatest difference of an output, as a share of its scale; infinite for a shape."""


def truth(
    loaded: Loaded,
    model: bytes,
    inputs: Mapping[str, Array],
    recorded: Mapping[str, Array] | None,
    own: bool,
) -> Truth:
    """Judge a file.

    Args:
        loaded: the net and its weights.
        model: the ONNX file.
        inputs: an array an input of the net.
        recorded: what Caffe was recorded to make of them, if it was.
        own: whether these are the net's own inputs, on which `SHARE` tells right from wrong.
    """
    net = loaded.net
    try:
        got, outputs = values(model, inputs)
    except Exception as error:  # onnxruntime's own types of error, for files that it refuses
        return Truth(refusal=str(error).strip().splitlines()[0])
    wanted = run(net, loaded.parameters, inputs)
    for name, array in (recorded or {}).items():
        wanted[net.finals[name]] = array
    names = dict(_names(net))
    given = {blob: got.get(names.get(blob, "")) for blob in net.outputs}
    given = {blob: value for blob, value in given.items() if names.get(blob) in outputs}
    worst = _worst(net, given, wanted)
    layers = _first_wrong(net, names, got, wanted)
    share = SHARE
    if not own:
        rounded = run(net, loaded.parameters, inputs, np.float32)
        share = max(NOISY, ROUNDINGS * _worst(net, rounded, wanted))
    kinds = ((share, "wrong"), (SHARE, "open"), (-1, "hidden" if layers else "right"))
    kind = next(kind for least, kind in kinds if worst > least)
    return Truth(kind=kind, layers=layers, worst=worst)


def _worst(net: Net, got: Mapping[Blob, Array], wanted: Mapping[Blob, Array]) -> float:
    return max(_difference(got.get(blob), wanted[blob]) for blob in net.outputs)


def values(model: bytes, inputs: Mapping[str, Array]) -> tuple[dict[str, Array], set[str]]:
    """Every value that the file's nodes make, by name, and the names of its outputs."""
    import onnx
    import onnxruntime

    loaded = onnx.load_from_string(model)
    stored = {tensor.name for tensor in loaded.graph.initializer}
    outputs = {value.name for value in loaded.graph.output}
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    # As the file is: what does not run as it stands shall not run with more outputs either.
    onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    made = [name for node in loaded.graph.node for name in node.output]
    loaded.graph.output.extend(
        onnx.ValueInfoProto(name=name) for name in made if name not in outputs
    )
    session = onnxruntime.InferenceSession(
        loaded.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    places = [value.name for value in loaded.graph.input if value.name not in stored]
    # The legacy form of an input is called "input", whatever its blob.
    by_name = {f"{name}_input": array for name, array in inputs.items()}
    fed = by_name if set(places) == set(by_name) else dict(
        zip(places, inputs.values(), strict=True)
    )  # fmt: skip
    asked = [value.name for value in session.get_outputs()]
    return dict(zip(asked, session.run(asked, fed), strict=True)), outputs


def _names(net: Net) -> Iterator[tuple[Blob, str]]:
    """What the converter calls each version of each blob that it keeps."""
    layers = [layer for layer in net if layer.type != "Input"]
    pair: Layer | None = None
    for layer, behind in zip(layers, [*layers[1:], None], strict=True):
        names = _own_names(pair or layer)
        paired = layer.type == "BatchNorm" and behind is not None and behind.type == "Scale"
        pair = layer if paired else None
        if not paired:
            yield from zip(layer.tops, names, strict=True)


def _own_names(layer: Layer) -> list[str]:
    tops, bottoms = list(layer.message.top), list(layer.message.bottom)
    by_layer = (len(tops) == 1 and tops == bottoms) or layer.type == "InnerProduct"
    return [layer.name] if by_layer else tops


def _first_wrong(
    net: Net, names: Mapping[Blob, str], got: Mapping[str, Array], wanted: Mapping[Blob, Array]
) -> tuple[str, ...]:
    unseen: list[str] = []
    for layer in net:
        if layer.type == "Input":
            continue
        seen = [top for top in layer.tops if names.get(top) in got]
        unseen.append(layer.name)
        if any(_difference(got[names[top]], wanted[top]) > SHARE for top in seen):
            return tuple(unseen)
        if seen:
            unseen.clear()
    return tuple(unseen)


def _difference(got: Array | None, wanted: Array) -> float:
    """The greatest one as a share of the greatest magnitude; infinite for another shape."""
    if got is None or got.shape != wanted.shape:
        return float("inf")
    a, w = got.astype(np.float64), wanted.astype(np.float64)
    special = ~(np.abs(w) < FILL)
    same = (a == w) | (np.isnan(a) & np.isnan(w))
    with np.errstate(invalid="ignore"):
        difference = np.where(special, np.where(same, 0.0, np.inf), np.abs(a - w))
    difference = np.where(np.isnan(difference), np.inf, difference)
    scale = float(np.abs(w[~special]).max(initial=0.0)) or 1.0
    return float(difference.max(initial=0.0)) / scale
