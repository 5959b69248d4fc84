"""The outcome of a verification as data; it owns the exit code."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from verify.compare import BlobComparison
from verify.parity import Parity

__all__ = ["BackendResult", "CrossComparison", "Report"]


@dataclass(frozen=True)
class BackendResult:
    """One backend on one set of inputs: every blob against the reference, and its parameters."""

    backend: str
    inputs: str
    version: str = ""
    blobs: tuple[BlobComparison, ...] = ()
    parity: Parity | None = None
    problem: str | None = None

    @property
    def passed(self) -> bool:
        """Whether blobs were compared, all of them passed, and the parameters are the source's."""
        if self.problem is not None or not self.blobs or self.parity is None:
            return False
        return self.parity.passed and all(blob.passed for blob in self.blobs)

    @property
    def worst(self) -> BlobComparison | None:
        """The blob with the greatest share of its tolerance; one that could not be compared comes
        first."""
        failed = [blob for blob in self.blobs if blob.problem]
        return failed[0] if failed else max(self.blobs, key=lambda blob: blob.ratio, default=None)


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
    tolerance: float
    parameters: int
    results: list[BackendResult] = field(default_factory=list)
    across: list[CrossComparison] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    environment: Mapping[str, str] = field(default_factory=dict)

    @property
    def passed(self) -> bool:
        """Whether every backend that was asked for is equivalent."""
        return bool(self.results) and all(
            row.passed for rows in (self.results, self.across) for row in rows
        )

    @property
    def verdict(self) -> str:
        """What a person is told: a difference, or that nothing could be said."""
        if self.passed:
            return "equivalent"
        differ = any(row.problem is None and not row.passed for row in self.results)
        if differ or not all(pair.passed for pair in self.across):
            return "NOT equivalent"
        return "NOT verified: not every backend could be compared"

    @property
    def exit_code(self) -> int:
        """0 equivalent, 1 different or not verified."""
        return 0 if self.passed else 1

    def add(self, other: Report) -> None:
        """Take in a verification of the same files on inputs of other sizes."""
        self.results += other.results
        self.across += other.across
        self.notes += [note for note in other.notes if note not in self.notes]

    def to_json(self) -> dict[str, Any]:
        """The report as plain data for report.json; values that are not finite become None."""
        data = asdict(self)
        data["passed"] = self.passed
        for row, result in zip(data["results"], self.results, strict=True):
            row["passed"] = result.passed
            for blob, comparison in zip(row["blobs"], result.blobs, strict=True):
                blob["passed"] = comparison.passed
            if result.parity is not None:
                row["parity"]["passed"] = result.parity.passed
        for row, pair in zip(data["across"], self.across, strict=True):
            row["passed"] = pair.passed
        plain: dict[str, Any] = _finite(data)
        return plain


def _finite(data: Any) -> Any:
    if isinstance(data, Mapping):
        return {key: _finite(value) for key, value in data.items()}
    if isinstance(data, (list, tuple)):
        return [_finite(value) for value in data]
    if isinstance(data, float) and (data != data or data in (float("inf"), float("-inf"))):
        return None
    return data
