"""Errors as shares of the derived bounds: every layer on its own, fed with what a backend made.

`python -m tests.verify.rounding_survey [backend ...] [--seeds N] [--write]` verifies conversions of
all goldens, and of the published models that are at hand, with inputs of N seeds and three scales.
It prints what was flagged (exit code 1 if anything), and the nearest that anything came to its
bound, by backend, scale and layer type.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

import decaffeinate
from prototxt.blob_keys import BlobKeys
from prototxt.net import Blob, Layer, Net
from tests.golden_cases import Case
from tests.verify.alarm_survey import Tally, by_type, scaled, survey, table
from verify.box_choices import chooses, compare_choices
from verify.discrete import discrete_blobs
from verify.forward import BACKENDS
from verify.inputs import seeded_inputs
from verify.reference.registry import FUNCTIONS
from verify.reference.storage import Storage
from verify.rounding import bounded, ratios
from verify.rounding_array import Bounded
from verify.runners.mxnet import MXNetRunner, _scalars, environment
from verify.runners.onnxruntime import OnnxRuntimeRunner
from verify.runners.runner import Conversion, read_conversion
from verify.tolerance import DERIVED

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "rounding.md"
BEGIN, END = "<!-- survey -->\n", "<!-- end of survey -->\n"
Blobs = Mapping[Blob, np.ndarray]


@dataclass(frozen=True)
class Share:
    """A top's errors over its bounds: greatest, median; `unbounded` elements have no bound."""

    type: str
    where: str
    greatest: float
    median: float
    unbounded: int
    size: int


def layer_shares(net: Net, parameters: Any, blobs: Blobs, where: str) -> Iterator[Share]:
    """Every layer whose bottoms are all at hand, against what it makes of them; discrete blobs are
    left to `verify.discrete`."""
    discrete = discrete_blobs(net)
    sources = set(net.inputs)
    rewritten = rewritten_blobs(net)
    for layer in net:
        if not layer.tops or sources.issuperset(layer.tops):
            continue
        late = any(rewritten.get(bottom, -1) > layer.index for bottom in layer.bottoms)
        if late or not all(bottom in blobs for bottom in layer.bottoms):
            continue
        inputs = [blobs[bottom] for bottom in layer.bottoms]
        if chooses(layer):
            yield from choice_shares(layer, inputs, [blobs.get(top) for top in layer.tops], where)
            continue
        made = bounded(layer, net.phase, inputs, parameters[layer.index])
        for top, (exact, bound) in zip(layer.tops, made, strict=True):
            if top in blobs and top not in discrete and top not in rewritten:
                yield share_of(layer, blobs[top], exact, bound, f"{where} {top.name}")


def choice_shares(
    layer: Layer, inputs: Sequence[np.ndarray], got: Sequence[np.ndarray | None], where: str
) -> Iterator[Share]:
    """Rows of boxes, where all tops are at hand: of no error, or of one without end where rounding
    does not explain them."""
    made = [top for top in got if top is not None]
    if len(made) < len(got):
        return
    bottoms = [Bounded(np.asarray(array, np.float64)) for array in inputs]
    exact = FUNCTIONS[layer.type](layer, [bottom.value for bottom in bottoms], ())
    names = [top.name for top in layer.tops]
    for row in compare_choices(names, layer, bottoms, made, exact, DERIVED):
        greatest = 0.0 if row.passed else np.inf
        yield Share(layer.type, f"{where} {row.blob}", greatest, 0.0, 0, row.size)


def rewritten_blobs(net: Net) -> dict[Blob, int]:
    """Blobs whose memory an in-place layer on another blob rewrites, and that layer's index: what
    is recorded of them is what that layer made."""
    marks: dict[Blob, np.ndarray] = {blob: np.zeros(1) for blob in net.inputs}
    storage, rewritten = Storage(), {}
    for layer in net:
        marks |= {top: np.zeros(1) for top in layer.tops}
        before = dict(marks)
        storage.after(layer, marks)
        rewritten |= {blob: layer.index for blob in marks if marks[blob] is not before[blob]}
    return rewritten


def share_of(
    layer: Layer, got: np.ndarray, exact: np.ndarray, bound: np.ndarray, where: str
) -> Share:
    assert got.shape == exact.shape == bound.shape, f"{where}: {got.shape} for {exact.shape}"
    parts = ratios(got, exact, bound)
    unbounded = int(np.isposinf(bound).sum())
    if not parts.size:
        return Share(layer.type, where, 0.0, 0.0, 0, 0)
    return Share(layer.type, where, float(parts.max()), float(np.median(parts)), unbounded,
                 parts.size)  # fmt: skip


def caffe_blobs(case: Case, net: Net) -> dict[Blob, np.ndarray]:
    """What Caffe recorded: the inputs as fed, and the last version of each blob."""
    recorded = {net.finals[name]: array for name, array in case.expected().items()}
    fed = case.inputs()
    return recorded | {blob: fed[blob.name] for blob in net.inputs if blob.name in fed}


def scaled_inputs(case: Case, seed: int, scale: float) -> dict[str, np.ndarray]:
    """The net's seeded noise times `scale`; labels, indices and flags as they are."""
    net, shapes, _ = case.load()
    return scaled(seeded_inputs(net, shapes, seed), scale)


def converted(case: Case, folder: Path, backends: Sequence[str]) -> Conversion:
    done = decaffeinate.convert(
        case.net_path, case.weights_path, to=list(backends), output=folder,
        phase=case.phase, stages=case.stages, level=case.level,
    )  # fmt: skip
    return read_conversion(done.manifest)


def backend_blobs(
    net: Net, conversion: Conversion, backend: str, inputs: Mapping[str, np.ndarray]
) -> dict[Blob, np.ndarray]:
    """Every version of every blob that the backend has."""
    part = conversion.target(backend)
    fed = {name: array for name, array in inputs.items() if name in part["inputs"]}
    with np.errstate(all="ignore"):
        got = one_run(BACKENDS[backend](conversion), part, fed)
    keys = BlobKeys(net.finals)
    every = {*net.inputs, *(top for layer in net for top in layer.tops)}
    named = {blob: keys.key(blob.name, blob.version, net.finals[blob.name].version)
             for blob in every}  # fmt: skip
    return {blob: got[key] for blob, key in named.items() if key in got}


def one_run(
    runner: Any, part: Mapping[str, Any], fed: Mapping[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """The blobs of one forward pass.

    The runners of ONNX and MXNet take the outputs from a second pass, over the untouched file with
    all fusions: these were not made of the other blobs.
    """
    feed = {part["inputs"][name]: array for name, array in fed.items()}
    names: Mapping[str, str] = part["blobs"]
    wanted = sorted(set(names.values()) - set(feed))
    if isinstance(runner, OnnxRuntimeRunner):
        values = feed | runner._run(runner._instrumented(set(wanted)), feed)
    elif isinstance(runner, MXNetRunner) and wanted:
        content = json.loads(runner._symbol.read_text(encoding="utf-8"))
        with environment(MXNET_SUBGRAPH_BACKEND="default"):
            made = runner._forward(runner._with_heads(content, wanted), feed, runner._stored())
        values = feed | dict(zip(wanted, made, strict=True))
        for name in _scalars(content).intersection(values):
            values[name] = values[name].reshape(())
    else:
        return runner.run(fed)
    return {blob: values[name] for blob, name in names.items()}


def shares(
    case: Case, backend: str, conversion: Conversion, seed: int, scale: float
) -> Iterator[Share]:
    net, _, parameters = case.load()
    blobs = backend_blobs(net, conversion, backend, scaled_inputs(case, seed, scale))
    yield from layer_shares(net, parameters, blobs, f"{case.id} seed {seed} scale {scale:g}")


def printed(rows: Sequence[Share], title: str) -> None:
    print(f"{title}: {len(rows)} tops")
    for name in sorted({row.type for row in rows}):
        own = [row for row in rows if row.type == name]
        worst = max(own, key=lambda row: row.greatest)
        median = float(np.median([row.median for row in own]))
        unbounded, size = sum(row.unbounded for row in own), sum(row.size for row in own)
        print(f"  {name:26} {len(own):5} tops, greatest {worst.greatest:8.3g} ({worst.where}), "
              f"median {median:8.2g}, unbounded {unbounded} of {size}")  # fmt: skip


def main() -> None:
    """Survey, print, and write the figures into the document where asked to."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("backends", nargs="*", default=list(BACKENDS))
    parser.add_argument("--seeds", type=int, default=5, help="seeds 0 to N - 1")
    parser.add_argument("--only", default="", help="how the names of cases begin")
    parser.add_argument("--write", action="store_true", help=f"write the tables into {DOCUMENT}")
    arguments = parser.parse_args()
    parts: dict[str, dict[str, dict[float, Tally]]] = {"goldens": {}, "models": {}}
    # A process a backend: their libraries do not meet.
    with ProcessPoolExecutor(len(arguments.backends), get_context("spawn")) as pool:
        waiting = {
            (part, backend): pool.submit(
                survey, backend, range(arguments.seeds), arguments.only, part == "models"
            )
            for part in parts
            for backend in arguments.backends
        }
        for (part, backend), future in waiting.items():
            parts[part][backend] = future.result()
    text = document_part(parts, arguments.seeds)
    print(text)
    alarms = [alarm for part in parts.values() for tallies in part.values()
              for tally in tallies.values() for alarm in tally.alarms]  # fmt: skip
    print(*alarms, sep="\n")
    nothing = [backend for backend, tallies in parts["goldens"].items()
               if not all(tally.blobs for tally in tallies.values())]  # fmt: skip
    print(*(f"{backend}: nothing was compared" for backend in nothing), sep="\n")
    if arguments.write:
        before, _, rest = DOCUMENT.read_text(encoding="utf-8").partition(BEGIN)
        DOCUMENT.write_text(before + BEGIN + text + END + rest.partition(END)[2], encoding="utf-8")
    sys.exit(1 if alarms or nothing else 0)


def document_part(parts: Mapping[str, Mapping[str, Mapping[float, Tally]]], seeds: int) -> str:
    """The survey's figures as the document has them."""
    drawn = "seed 0" if seeds == 1 else f"seeds 0 to {seeds - 1}"
    return (
        f"\nAll goldens, {drawn}; blobs without bound are judged by 1e-4 of their scale:\n\n"
        f"{table(parts['goldens'])}"
        f"\nThe published models, {drawn}:\n\n{table(parts['models'])}"
        "\nBy layer type, goldens: blobs held to their bounds, on all seeds and scales, each"
        "\nlayer alone on what the backend fed it, and the greatest error / bound:\n\n"
        f"{by_type(parts['goldens'])}\n"
    )


if __name__ == "__main__":
    main()
