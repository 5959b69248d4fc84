"""The tables of this folder, and what this project's registries say."""

from __future__ import annotations

from collections import Counter
from csv import DictReader
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).parent
OURS = "decaffeinate"

TAKEN = ("yes", "partly", "input")
"""Ways of taking a type that give a net which may be right."""
MEANINGS = {
    "yes": "taken",
    "partly": "taken in some forms, or with settings left out: see the remarks",
    "input": "a layer that reads data becomes an input",
    "own": "written as an operator that only the reader's own runtime could have",
    "plugin": "with a [plugin](plugins.md) that says what it computes",
    "broken": "known by name, but no form of it comes out right, or none that was recorded",
}

_BVLC = """AbsVal Accuracy ArgMax BatchNorm BatchReindex Bias BNLL Clip Concat ContrastiveLoss
    Convolution Crop Data Deconvolution Dropout DummyData Eltwise ELU Embed EuclideanLoss Exp
    Filter Flatten HDF5Data HDF5Output HingeLoss Im2col ImageData InfogainLoss InnerProduct Input
    Log LRN LSTM LSTMUnit MemoryData MultinomialLogisticLoss MVN Parameter Pooling Power PReLU
    Python Reduction ReLU Reshape RNN Scale Sigmoid SigmoidCrossEntropyLoss Silence Slice Softmax
    SoftmaxWithLoss Split SPP Swish TanH Threshold Tile WindowData"""
BVLC = tuple(_BVLC.split())
"""What BVLC Caffe registers (9b891540)."""
_SSD = """AnnotatedData DetectionEvaluate DetectionOutput MultiBoxLoss Normalize Permute PriorBox
    SmoothL1Loss VideoData"""
SSD = tuple(_SSD.split())
"""What the SSD fork registers beyond that (4817bf8b)."""
FAMILIES = ("BVLC", "SSD", "other forks")


@dataclass(frozen=True)
class Peer:
    """A reader of Caffe nets, as it was read."""

    peer: str
    version: str
    of: str
    files: str
    read: str
    run: str
    remark: str


@dataclass(frozen=True)
class Support:
    """How a reader takes a layer type: one of MEANINGS."""

    support: str
    remark: str = ""


@dataclass(frozen=True)
class Use:
    """How many public nets have a type, and how many of these are to deploy."""

    nets: int
    deploy: int


def _rows(name: str) -> list[dict[str, str]]:
    with (FOLDER / name).open(encoding="utf-8", newline="") as file:
        return list(DictReader(file, delimiter="\t", quotechar=None, quoting=3))


def peers() -> list[Peer]:
    """The other readers, in the order of the table."""
    return [Peer(**row) for row in _rows("peers.tsv")]


def theirs() -> dict[str, dict[str, Support]]:
    """By reader and type: how the other readers take it."""
    found: dict[str, dict[str, Support]] = {peer.peer: {} for peer in peers()}
    for row in _rows("support.tsv"):
        found[row["peer"]][row["type"]] = Support(row["support"], row["remark"])
    return found


def support() -> dict[str, dict[str, Support]]:
    """By reader and type: the other readers, and this project, from its registries."""
    return theirs() | {OURS: ours()}


def ours() -> dict[str, Support]:
    """What this project converts to every target; needs ONNX, whose emitter is asked."""
    from decaffeinate.layer_table import layer_rows
    from prototxt.measures import MEASURES
    from prototxt.raw_detections import RAW

    found = {name: Support("partly", "left out where nothing reads it") for name in MEASURES}
    for row in layer_rows():
        if row.type == RAW:  # what an option makes of another type: no net has it
            continue
        targets = set(row.targets.values())
        if row.type == "Python":
            found[row.type] = Support("plugin", row.note)
        else:
            found[row.type] = Support(targets.pop() if len(targets) == 1 else "partly", row.note)
    return found


def uses() -> dict[str, Use]:
    """By type, of the public nets that were counted."""
    return {row["type"]: Use(int(row["nets"]), int(row["deploy"])) for row in _rows("types.tsv")}


def nets() -> Counter[frozenset[str]]:
    """Public nets to deploy, by the types that they have."""
    return Counter(
        {frozenset(row["types"].split(",")): int(row["nets"]) for row in _rows("nets.tsv")}
    )


def family(name: str) -> str:
    """Where a type comes from."""
    return "BVLC" if name in BVLC else "SSD" if name in SSD else "other forks"


def types() -> dict[str, list[str]]:
    """All that there is a row for, by family: of public nets or taken by one of the readers; those
    that more nets have come first."""
    used = uses()
    known = {*BVLC, *SSD, *used, *(name for table in support().values() for name in table)}
    none = Use(0, 0)
    order = sorted(known, key=lambda name: (-used.get(name, none).nets, name.lower(), name))
    return {kind: [name for name in order if family(name) == kind] for kind in FAMILIES}
