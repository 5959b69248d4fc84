"""The outcome of a verification as data; it owns the exit code.  docs/report.md describes what
`to_json` gives."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from verify.compare import BlobComparison
from verify.drift import Agreement
from verify.image_agreement import ImageAgreement
from verify.parity import Parity
from verify.tolerance import DERIVED, Tolerance

__all__ = [
    "FORMAT",
    "BackendResult",
    "CrossComparison",
    "Fault",
    "LayerEntry",
    "Matching",
    "Report",
    "StoredParameters",
]

FORMAT = 2
"""Number of report.json's format."""


@dataclass(frozen=True)
class LayerEntry:
    """A layer of the net; `parameters` counts its values, shared ones at each layer."""

    index: int
    name: str
    type: str
    where: str
    bottoms: tuple[str, ...]
    tops: tuple[str, ...]
    parameters: int


@dataclass(frozen=True)
class Fault:
    """The first layer, in the net's order, that computes something else than it should."""

    layer: str
    index: int
    type: str
    blob: str
    ratio: float
    text: str
    among: tuple[str, ...] = ()
    """The layers, this one among them, that the file computes as one, so that no more can be said
    than that one of them is wrong; empty where it is this one."""

    def __str__(self) -> str:
        where = f'layer "{self.layer}" ({self.type}, number {self.index})'
        if self.among:
            where = f"one of the layers {', '.join(self.among)}"
        return f"first fault at {where}, blob {self.blob}: {self.text}"


@dataclass(frozen=True)
class StoredParameters:
    """Parameters of the source that a file of another tool's making stores bit for bit, in whatever
    shape and order of axes, and those that it does not: changed, or folded into others."""

    source: int
    stored: int
    memory_bytes: int
    """Of all arrays that the file stores."""
    changed: tuple[str, ...]
    """Layer and number of each parameter that is not there as it is."""


@dataclass(frozen=True)
class Matching:
    """A file of another tool's making: its inputs and outputs by blob, how many of the net's blobs
    it holds as values of its own (`matched`) and how many it computes within others (`fused`)."""

    file: str
    inputs: Mapping[str, str]
    outputs: Mapping[str, str]
    matched: int
    fused: int
    values: int
    """How many values its forward pass makes."""
    parameters: StoredParameters


@dataclass(frozen=True)
class BackendResult:
    """One backend on one set of inputs: every blob, and its parameters."""

    backend: str
    inputs: str
    version: str = ""
    blobs: tuple[BlobComparison, ...] = ()
    parity: Parity | None = None
    problem: str | None = None
    first_fault: Fault | None = None
    outputs: tuple[Agreement, ...] = ()
    repro: str | None = None
    notes: tuple[str, ...] = ()
    judge: bool = False
    """Whether this is another implementation of Caffe that read the source (`verify.judges`), and
    no backend that ran converted files."""
    artifact: Matching | None = None
    """Of a file of another tool's making, how its values were matched (`verify.artifacts`)."""

    @property
    def passed(self) -> bool:
        """Whether blobs were compared, all of them passed, and the parameters are the source's."""
        if self.problem is not None or not self.blobs:
            return False
        same = self.parity.passed if self.parity else self.judge or self.artifact is not None
        return same and all(blob.passed for blob in self.blobs)

    @property
    def worst(self) -> BlobComparison | None:
        """The blob with the greatest ratio of error to what is allowed; one that could not be
        compared comes first, and of those that passed the ones judged by their layer, as outputs of
        untouched files are allowed more than a rounding bound."""
        failed = [blob for blob in self.blobs if not blob.passed]
        if any(blob.problem for blob in failed):
            return next(blob for blob in failed if blob.problem)
        by_layer = [blob for blob in self.blobs if blob.kind != "optimised"]
        return max(failed or by_layer or self.blobs, key=lambda blob: blob.ratio, default=None)


@dataclass(frozen=True)
class CrossComparison:
    """The blob on which two backends differ most."""

    first: str
    second: str
    inputs: str
    worst: BlobComparison
    compared: int

    @property
    def passed(self) -> bool:
        """Whether the two agree."""
        return self.worst.passed


@dataclass
class Report:
    """A whole verification.  Nothing compared is a failure."""

    net: str
    weights: str
    drawn: bool
    parameters: int
    title: str = ""
    tolerance: Tolerance = DERIVED
    layers: tuple[LayerEntry, ...] = ()
    results: list[BackendResult] = field(default_factory=list)
    across: list[CrossComparison] = field(default_factory=list)
    images: list[ImageAgreement] = field(default_factory=list)
    """Of many images, what the outputs said of all of them; none where none were given."""
    notes: list[str] = field(default_factory=list)
    environment: Mapping[str, str] = field(default_factory=dict)
    command: str | None = None

    @property
    def passed(self) -> bool:
        """Whether every backend that was asked for is equivalent."""
        return bool(self.results) and all(
            row.passed for rows in (self.results, self.across, self.images) for row in rows
        )

    @property
    def verdict(self) -> str:
        """What a person is told: a difference, or that nothing could be said."""
        if self.passed:
            return "equivalent"
        differ = any(row.problem is None and not row.passed for row in self.results)
        if differ or not all(row.passed for rows in (self.across, self.images) for row in rows):
            return "NOT equivalent"
        return "NOT verified: not every backend could be compared"

    @property
    def exit_code(self) -> int:
        """0 equivalent, 1 different or not verified."""
        return 0 if self.passed else 1

    @property
    def maps(self) -> dict[tuple[str, str, str], NDArray[np.float32]]:
        """Error over what is allowed at each place of the blobs that are maps and not exact, by
        backend, inputs and blob."""
        return {
            (result.backend, result.inputs, blob.blob): blob.map
            for result in self.results
            for blob in result.blobs
            if blob.map is not None and blob.ratio > 0
        }

    def add(self, other: Report) -> None:
        """Take in a verification of the same files on inputs of other sizes."""
        self.results += other.results
        self.across += other.across
        self.notes += [note for note in other.notes if note not in self.notes]

    def to_json(self) -> dict[str, Any]:
        """The report as plain data for report.json; values that are not finite become None."""
        data = {
            "format": FORMAT,
            **{name: getattr(self, name) for name in ("net", "title", "weights", "drawn")},
            "parameters": self.parameters,
            "tolerance": self.tolerance.to_json(),
            "command": self.command,
            "environment": self.environment,
            "notes": self.notes,
            "verdict": self.verdict,
            "passed": self.passed,
            "layers": [asdict(layer) for layer in self.layers],
            "results": [_result(result) for result in self.results],
            "across": [_pair(pair) for pair in self.across],
            "images": [row.to_json() for row in self.images],
        }
        plain: dict[str, Any] = _finite(data)
        return plain


def _result(result: BackendResult) -> dict[str, Any]:
    data = asdict(replace(result, blobs=()))
    data["passed"] = result.passed
    data["blobs"] = [_blob(blob) for blob in result.blobs]
    if result.parity is not None:
        data["parity"]["passed"] = result.parity.passed
    return data


def _blob(blob: BlobComparison) -> dict[str, Any]:
    data = asdict(replace(blob, map=None)) | {"passed": blob.passed}
    del data["map"]
    return data


_ACROSS = ("blob", "shape", "error", "scale", "allowed", "mismatched", "size", "where", "problem")


def _pair(pair: CrossComparison) -> dict[str, Any]:
    data = asdict(replace(pair, worst=replace(pair.worst, map=None)))
    data["worst"] = {name: getattr(pair.worst, name) for name in _ACROSS}
    return data | {"passed": pair.passed}


def _finite(data: Any) -> Any:
    if isinstance(data, Mapping):
        return {key: _finite(value) for key, value in data.items()}
    if isinstance(data, (list, tuple)):
        return [_finite(value) for value in data]
    if isinstance(data, float) and (data != data or data in (float("inf"), float("-inf"))):
        return None
    return data
