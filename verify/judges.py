"""Judges of the source: other implementations of Caffe, where there are any.

They read the prototxt and the weights themselves, know nothing of a conversion, and each of their
layers is held to the reference as a backend's are.  What a judge is known to compute otherwise than
Caffe is neither held against the net nor passed over: it is named.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from prototxt import caffe_pb2 as pb
from prototxt.caffemodel import write_caffemodel
from prototxt.errors import DecaffeinateError, FileError, WeightsError
from prototxt.layer_text import layer_text
from prototxt.layer_weights import LayerWeights
from prototxt.net import Blob, Layer, Net
from prototxt.parameters import Parameters
from prototxt.weights import read_weights
from verify import local
from verify.compare import BlobComparison
from verify.detection_candidates import is_detector
from verify.detections import detection_outputs, match_detections, matched_rows
from verify.drift import Agreement, boxes_beyond, class_axes, measure, top_agreement
from verify.isolation import Isolation
from verify.report import BackendResult, Fault
from verify.repro import Repros
from verify.rounding import ratios
from verify.runners.caffe import CaffeJudge
from verify.runners.judge import Array, Forward, Judge, KnownFault
from verify.runners.opencv import OpenCVJudge
from verify.sharing import rewrites
from verify.tolerance import Tolerance

__all__ = ["JUDGES", "judge"]

JUDGES: dict[str, type[OpenCVJudge] | type[CaffeJudge]] = {
    "opencv": OpenCVJudge,
    "caffe": CaffeJudge,
}
"""What `--backend` takes beside the targets."""


def judge(
    name: str,
    net: Net,
    parameters: Parameters,
    inputs: Mapping[str, Array],
    feed: str,
    names: Mapping[Blob, str],
    exact: Mapping[Blob, Array],
    tolerance: Tolerance,
    isolation: Isolation | None = None,
    repro: Repros | None = None,
) -> BackendResult:
    """What a judge makes of the net's own files, each layer held to the reference.

    Args:
        name: a key of JUDGES.
        net: the net.
        parameters: its parameters.
        inputs: by blob name, float32.
        feed: what the report calls the inputs.
        names: what the report calls each blob.
        exact: what the reference makes of the whole net.
        tolerance: what is allowed.
        isolation: whether it runs in a process of its own; None is in this one.
        repro: where its first fault is left as a net of its own; None is nowhere.

    Returns:
        A row for the report; a judge that cannot run, or of which nothing could be compared, has a
        `problem`.
    """
    try:
        apart = isolation or Isolation()
        runner = _judge(name, apart)
        version = runner.version()
    except DecaffeinateError as error:
        return BackendResult(name, feed, problem=str(error), judge=True)
    try:
        with tempfile.TemporaryDirectory(prefix="decaffeinate-") as folder:
            weights, notes = _weights(net, parameters, Path(folder), runner.name)
            made = runner.forward(_as_text(net, Path(folder)), weights, inputs)
    except DecaffeinateError as error:
        return BackendResult(name, feed, version, problem=str(error), judge=True)
    except Exception as error:  # a framework may fail in any way; that is a finding
        problem = f"the judge failed: {type(error).__name__}: {error}"
        return BackendResult(name, feed, version, problem=problem, judge=True)
    for blob, array in zip(net.inputs, (inputs[blob.name] for blob in net.inputs), strict=True):
        made.blobs[blob] = np.asarray(array, np.float32)
    court = _Court(runner, net, parameters, names, exact, tolerance, made)
    rows, found = court.rows()
    notes += found
    nothing = f"nothing could be compared with {runner.name}: {'; '.join(notes)}"
    fault, left = _first(net, rows), None
    if fault is not None and repro is not None:
        left = repro.leave(net, [net.layers[fault.index]], parameters, court.blobs, name,
                           fault.text, apart.options(name))  # fmt: skip
    return BackendResult(
        name, feed, version, tuple(rows), problem=None if rows else nothing, first_fault=fault,
        outputs=court.agreements(rows), repro=None if left is None else str(left),
        notes=tuple(notes), judge=True,
    )  # fmt: skip


def _judge(name: str, isolation: Isolation) -> Judge:
    """The judge, whose framework may be in another process."""
    kind: Any = JUDGES[name]
    made: Judge = kind(isolation.start(name, kind.engine))
    return made


@dataclass(frozen=True)
class _Court:
    """A judge's blobs on one set of inputs."""

    judge: Judge
    net: Net
    parameters: Parameters
    names: Mapping[Blob, str]
    exact: Mapping[Blob, Array]
    tolerance: Tolerance
    made: Forward

    @property
    def blobs(self) -> dict[Blob, Array]:
        """All of the net's, the judge's own where it has them."""
        return {blob: self._blob(blob) for blob in self.exact}

    def rows(self) -> tuple[list[BlobComparison], list[str]]:
        """The blobs that are held against the judge, and notes on all others."""
        shared = _rewritten(self.net, self.exact)
        reasons = dict.fromkeys(shared, "an in-place layer rewrites memory that it shares")
        reasons |= self.made.absent
        got = self.blobs
        found = local.judge(self.net, self.parameters, self.names, got, self.exact, self.tolerance)
        rows, notes = [], list(found.notes)
        for layer in self._layers():
            unknown = [blob for blob in layer.bottoms if blob in reasons]
            for top in layer.tops:
                if unknown and top not in reasons:
                    notes.append(self._left_out(top, f'its bottom "{unknown[0]}" is not known'))
                elif top in reasons:
                    notes.append(self._left_out(top, reasons[top]))
                else:
                    row = found.rows[top]
                    fault = None if row.passed else self._known(layer, got)
                    if fault is not None:
                        notes.append(f"known fault of {self.judge.name}: {fault.type}: "
                                     f'{fault.what} (layer "{layer.name}", blob '
                                     f"{self.names[top]}: {row.text})")  # fmt: skip
                    else:
                        pair = (got[top], self.exact[top])
                        drift = measure(*(matched_rows(*pair) if is_detector(layer) else pair))
                        notes += boxes_beyond(self.judge.name, [row])
                        rows.append(replace(row, drift=drift.share, cosine=drift.cosine,
                                            snr_db=drift.snr_db))  # fmt: skip
        return rows, notes

    def agreements(self, rows: Sequence[BlobComparison]) -> tuple[Agreement, ...]:
        """What the judge's outputs say, beside the reference's, where they are compared."""
        axes, boxes, found = class_axes(self.net), detection_outputs(self.net), []
        drifts = {row.blob: row.drift for row in rows}
        for blob in self.net.outputs:
            name, want = self.names[blob], self.exact[blob]
            if name in drifts:
                got = self._blob(blob)
                top = top_agreement(got, want, axes[blob]) if blob in axes else None
                first, five = top or (None, None)
                matched = match_detections(got, want) if blob in boxes else None
                found.append(Agreement(name, first, five, drifts[name], matched))
        return tuple(found)

    def _layers(self) -> list[Layer]:
        inputs = set(self.net.inputs)
        return [one for one in self.net if one.tops and not inputs.issuperset(one.tops)]

    def _left_out(self, blob: Blob, reason: str) -> str:
        return f"{self.names[blob]} cannot be compared with {self.judge.name}: {reason}"

    def _blob(self, blob: Blob) -> Array:
        """The judge's; where it has none the reference's, which is not judged."""
        want = self.exact[blob]
        found = self.made.blobs.get(blob)
        if found is None:
            return np.asarray(want, np.float32)
        # OpenCV's arrays have two axes at least.
        return found.reshape(want.shape) if want.ndim < 2 and found.size == want.size else found

    def _known(self, layer: Layer, got: Mapping[Blob, Array]) -> KnownFault | None:
        """The known fault that explains all that the judge made of this layer."""
        inputs = [got[blob] for blob in layer.bottoms]
        for fault in self.judge.faults:
            if fault.type != layer.type or not fault.applies(layer):
                continue
            try:
                tops = fault.instead(layer, self.net.phase, inputs, self.parameters[layer.index])
            except (DecaffeinateError, ValueError, IndexError):
                continue
            pairs = [(got[top], value, bound)
                     for top, (value, bound) in zip(layer.tops, tops, strict=True)]  # fmt: skip
            if all(
                made.shape == value.shape and (ratios(made, value, bound) <= 1).all()
                for made, value, bound in pairs
            ):
                return fault
        return None


def _rewritten(net: Net, exact: Mapping[Blob, Array]) -> list[Blob]:
    lengths = {blob: len(array) if array.ndim else 1 for blob, array in exact.items()}
    return list(rewrites(net, lengths))


def _first(net: Net, rows: list[BlobComparison]) -> Fault | None:
    for row in rows:
        if not row.passed and row.layer is not None:
            layer = net.layers[row.layer]
            return Fault(layer.name, layer.index, layer.type, row.blob, row.ratio, row.text)
    return None


def _as_text(net: Net, folder: Path) -> Net:
    """The net as a judge reads it: the one inside a .caffemodel is written as a prototxt, and one
    with crops whose offsets were worked out with these, which no judge works out."""
    if not net.stored and not net.cuts:
        return net
    texts = []
    for layer in net:
        message = pb.LayerParameter()
        message.CopyFrom(layer.message)
        for name in ("include", "exclude"):  # the net has the layer, whatever its rules say
            message.ClearField(name)
        texts.append(layer_text(message))
    path = folder / "net.prototxt"
    path.write_text("".join(texts), encoding="ascii")
    return replace(net, path=str(path))


def _weights(
    net: Net, parameters: Parameters, folder: Path, name: str
) -> tuple[Path | None, list[str]]:
    """The weights as the judge reads them: the source where it is a .caffemodel, else one with the
    same values."""
    if not any(True for _ in parameters.owned()):
        return None, []
    if not parameters.drawn and _is_caffemodel(parameters.source):
        return Path(parameters.source), []
    path = folder / "weights.caffemodel"
    layers = [LayerWeights(one.name, one.type, parameters[one.index]) for one in net]
    write_caffemodel(path, net.name, [one for one in layers if one.blobs])
    what = "has no weights file" if parameters.drawn else f"{parameters.source} is no .caffemodel"
    return path, [f"{what}: {name} was given the same values in one"]


def _is_caffemodel(path: str) -> bool:
    try:
        return read_weights(path).format.startswith("caffemodel")
    except (FileError, WeightsError):  # a container, which only its net can tell
        return False
