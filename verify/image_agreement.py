"""Many images: how often a backend's outputs say what the reference's say.

A net is judged blob by blob on one batch of images (`verify.harness`); this tells of all of them,
by the outputs alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prototxt.net import Net
from prototxt.parameters import Parameters
from verify import reference
from verify.runners.runner import Runner

__all__ = ["OFF", "Batch", "ImageAgreement", "agreement"]

OFF = 1e-3
"""An output that is further off than this, as a part of its greatest magnitude in the reference, is
no rounding: float32 passes of deep nets drift by 1e-6 to 1e-4."""

_BEST = 5
Array = NDArray[Any]


@dataclass(frozen=True)
class Batch:
    """Images that a net is fed at once; the first `len(names)` items of the batch are they."""

    names: Sequence[str]
    inputs: Mapping[str, NDArray[np.float32]]


@dataclass
class ImageAgreement:
    """A backend's output `output` over all images.

    `top1` and `top5` count images of which backend and reference name the same class, and the same
    five in any order; `right1`, `right5` and the two of the reference those whose label is the
    first, or among the five.  All are None where an output is no vector of classes; the latter
    also without labels.  `drift` is the greatest difference as a part of the greatest magnitude,
    met at the image `worst`, and `by_image` has the drift of each image, in order, None where it is
    no number; `off` names images beyond OFF or without finite values, `differing`
    those of another first class.
    """

    backend: str
    output: str
    images: int = 0
    labelled: int = 0
    top1: int | None = None
    top5: int | None = None
    right1: int | None = None
    right5: int | None = None
    reference_right1: int | None = None
    reference_right5: int | None = None
    drift: float = 0.0
    worst: str | None = None
    by_image: list[tuple[str, float | None]] = field(default_factory=list)
    off: list[str] = field(default_factory=list)
    differing: list[str] = field(default_factory=list)
    problem: str | None = None

    @property
    def passed(self) -> bool:
        """Whether all images were compared and none is off."""
        return self.problem is None and not self.off and self.images > 0

    def to_json(self) -> dict[str, Any]:
        """Plain data; no number is infinite or NaN."""
        return asdict(self) | {"passed": self.passed}

    def add(self, name: str, got: Array, want: Array, label: int | None) -> None:
        """Take in one image: what the backend made of it, and the reference."""
        self.images += 1
        drift = float("nan")
        if got.shape == want.shape and np.isfinite(got).all():
            error = float(np.abs(got.astype(np.float64) - want).max(initial=0.0))
            drift = error / (float(np.abs(want).max(initial=0.0)) or 1.0)
        self.by_image.append((name, drift if np.isfinite(drift) else None))
        if np.isfinite(drift) and (self.worst is None or drift > self.drift):
            self.drift, self.worst = drift, name
        if not drift <= OFF:  # NaN neither
            self.off.append(name)
        classes = max(want.shape, default=1)
        if want.size < 2 or want.size != classes or got.shape != want.shape:
            return
        made, exact = _best(got), _best(want)
        self.top1 = (self.top1 or 0) + int(made[0] == exact[0])
        self.top5 = (self.top5 or 0) + int(set(made) == set(exact))
        if made[0] != exact[0]:
            self.differing.append(name)
        if label is None:
            return
        self.labelled += 1
        self.right1 = (self.right1 or 0) + int(made[0] == label)
        self.right5 = (self.right5 or 0) + int(label in made)
        self.reference_right1 = (self.reference_right1 or 0) + int(exact[0] == label)
        self.reference_right5 = (self.reference_right5 or 0) + int(label in exact)


def _best(scores: Array) -> list[int]:
    """The best classes, best first; of equal ones the first is the better.

    Probabilities that float32 has as 0, or only with fewer digits, are 0 in the reference too.
    """
    values = np.where(np.abs(scores) < np.finfo(np.float32).tiny, 0, scores).astype(np.float32)
    order: list[int] = np.argsort(-values.ravel(), kind="stable")[:_BEST].tolist()
    return order


def agreement(
    net: Net,
    parameters: Parameters,
    outputs: Sequence[str],
    runners: Mapping[str, Runner],
    batches: Iterable[Batch],
    labels: Mapping[str, int],
) -> list[ImageAgreement]:
    """Run all images through the reference and the backends.

    Args:
        net: the net.
        parameters: its parameters.
        outputs: names of the output blobs to compare; axis 0 holds the images.
        runners: of the backends, by name.
        batches: the images.
        labels: class numbers, from 0 on, by the image's name; may lack some.
    """
    found = {(backend, output): ImageAgreement(backend, output)
             for backend in runners for output in outputs}  # fmt: skip
    finals = {output: net.finals[output] for output in outputs}
    for batch in batches:
        exact = reference.run(net, parameters, batch.inputs)
        for backend, runner in runners.items():
            rows = [found[backend, output] for output in outputs]
            if any(row.problem for row in rows):
                continue
            try:
                made = getattr(runner, "outputs", runner.run)(batch.inputs)
            except Exception as error:  # a framework may fail in any way; that is a finding
                for row in rows:
                    row.problem = f"{batch.names[0]}: {error}"
                continue
            for row in rows:
                want = exact[finals[row.output]]
                for item, name in enumerate(batch.names):
                    got = made[row.output]
                    same = got.shape[:1] == want.shape[:1]
                    row.add(name, got[item] if same else got, want[item], labels.get(name))
    return list(found.values())
