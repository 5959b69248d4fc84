"""The goldens: small nets and what the original Caffe 1.0 computed for them (CPU, float32).

A case is a folder `goldens/<group>/<case>`: net.prototxt; weights.caffemodel, where the net has
parameters; state.txt, a NetState where it is not the default; blobs.npz with `in/<blob>` as fed and
`out/<blob>`, the last version of every blob.

Left out on purpose: softmaxwithloss/prob_top, whose net was never recorded (it came without
blobs.npz); its numbers are worked out by hand in tests/verify/test_reference_layers.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from prototxt import Net, load_net
from prototxt.bn_form import with_stored_form
from prototxt.parameters import Parameters, bind_parameters
from prototxt.shapes import NetShapes, infer_shapes
from prototxt.weights import read_weights

GOLDENS = Path(__file__).parent / "goldens"

LAYER_TOLERANCE = 2e-5
"""Allowed difference of a single layer's blob, as a share of its scale: max |x|, at least 1."""
NET_TOLERANCE = 1e-4
"""The same for the blobs of whole nets."""
EXACT = {"accuracy": None, "argmax": None, "threshold": None, "pooling/max_mask": {"mask"}}
"""Group or case -> its blobs (None: all) that hold indices, choices or shares of a count."""
FILL = float(np.finfo(np.float32).max)
"""What Caffe leaves in a MAX window with nothing in it is -FLT_MAX; it must be met exactly, and
says nothing about the scale of the blob."""

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Case:
    """One golden; `id` is "group/case"."""

    id: str

    @property
    def group(self) -> str:
        return self.id.partition("/")[0]

    @property
    def folder(self) -> Path:
        return GOLDENS / self.id

    @property
    def net_path(self) -> Path:
        return self.folder / "net.prototxt"

    @property
    def weights_path(self) -> Path | None:
        path = self.folder / "weights.caffemodel"
        return path if path.exists() else None

    def _state(self, field: str) -> list[str]:
        """The values of one field of the NetState; the recordings leave strings unquoted."""
        path = self.folder / "state.txt"
        lines = path.read_text().splitlines() if path.exists() else []
        pairs = [line.split(":", 1) for line in lines if line.strip()]
        return [value.strip() for name, value in pairs if name.strip() == field]

    @property
    def phase(self) -> str:
        return (self._state("phase") or ["TEST"])[-1]

    @property
    def stages(self) -> tuple[str, ...]:
        return tuple(self._state("stage"))

    @property
    def level(self) -> int:
        return int((self._state("level") or ["0"])[-1])

    def inputs(self) -> dict[str, Array]:
        """Blob name -> what Caffe was fed, float32."""
        return self._arrays("in/")

    def expected(self) -> dict[str, Array]:
        """Blob name -> the last version that Caffe computed, float32; inputs included."""
        return self._arrays("out/")

    def _arrays(self, prefix: str) -> dict[str, Array]:
        with np.load(self.folder / "blobs.npz") as blobs:
            names = [key for key in blobs.files if key.startswith(prefix)]
            return {key.removeprefix(prefix): blobs[key] for key in names}

    def tolerance(self, blob: str) -> float:
        """The allowed difference of a blob as a share of its scale; 0 is exact, once rounded to
        float32."""
        for key in (self.group, self.id):
            names = EXACT.get(key, set())
            if names is None or blob in names:
                return 0.0
        return NET_TOLERANCE if self.group == "nets" else LAYER_TOLERANCE

    def net(self) -> Net:
        """The net in the case's state."""
        return load_net(self.net_path, phase=self.phase, stages=self.stages, level=self.level)

    def load(self) -> tuple[Net, NetShapes, Parameters]:
        """The net, its shapes and its parameters."""
        net = self.net()
        path = self.weights_path
        weights = None if path is None else read_weights(path, net)
        net = with_stored_form(net, weights)
        shapes = infer_shapes(net)
        return net, shapes, bind_parameters(net, shapes, weights)


def _listed() -> list[Case]:
    nets = sorted(GOLDENS.glob("*/*/net.prototxt"))
    return [Case(f"{path.parent.parent.name}/{path.parent.name}") for path in nets]


CASES: list[Case] = _listed()


UNRECORDED = {
    "Add",
    "BoxGroupOutput",
    "BoxOutput",
    "DecodeBBox",
    "MaskPooling",
    "Pad",
    "PriorBoxClustered",
    "Python",
    "Region",
    "ResizeBilinear",
    "ResizeNearestNeighbor",
    "ScaleRoute",
    "Shift",
    "SmoothL1Loss",
    "YoloDetectionOutput",
}
"""Layer types of forks of which nothing is recorded: their numbers are worked out by hand from the
forks' sources, in tests/verify/test_reference_forks.py and test_proposals.py."""


def case_id(case: Case) -> str:
    """For pytest's `ids`."""
    return case.id


def ratio(got: npt.ArrayLike, want: npt.ArrayLike, tolerance: float) -> float:
    """The greatest difference as a share of what `assert_matches` allows; at most 1 passes."""
    difference, allowed = _differences(np.asarray(got), np.asarray(want), tolerance)
    if difference.size == 0 or difference.max() == 0:
        return 0.0
    return float(difference.max() / allowed) if allowed else float("inf")


def assert_matches(got: npt.ArrayLike, want: npt.ArrayLike, tolerance: float, what: str) -> None:
    """Assert that `got` has the shape of `want` and each element within tolerance * max(1, max
    |want|).

    NaN must be where NaN is wanted, and likewise infinities and Caffe's -FLT_MAX; these do not
    count for the scale.  Tolerance 0 asks for equality once rounded to the type of `want`.
    Comparing nothing is a failure.
    """
    actual, wanted = np.asarray(got), np.asarray(want)
    assert actual.shape == wanted.shape, f"{what}: shape {actual.shape}, not {wanted.shape}"
    assert wanted.size, f"{what}: no element to compare"
    difference, allowed = _differences(actual, wanted, tolerance)
    wrong = int((difference > allowed).sum())
    if wrong:
        worst = np.unravel_index(int(difference.argmax()), difference.shape)
        place = tuple(int(index) for index in worst)
        raise AssertionError(
            f"{what}: {wrong} of {wanted.size} elements mismatch; greatest difference "
            f"{difference[worst]:.3g} at {place}: {actual[worst]:.9g}, not {wanted[worst]:.9g}; "
            f"allowed {allowed:.3g} ({tolerance:g} of the scale)"
        )


def assert_blobs_match(
    got: Mapping[str, npt.ArrayLike],
    want: Mapping[str, npt.ArrayLike],
    case: Case,
    at_least: float = 0.0,
) -> None:
    """`assert_matches` for every wanted blob of a case, by the case's tolerances or `at_least`; a
    blob that is missing, or no blob at all, is a failure."""
    assert want, f"{case.id}: no blob to compare"
    missing = [name for name in want if name not in got]
    assert not missing, f"{case.id}: blobs missing: {', '.join(missing)}"
    for name, value in want.items():
        tolerance = case.tolerance(name)
        tolerance = max(tolerance, at_least) if tolerance else 0.0
        assert_matches(got[name], value, tolerance, f"{case.id} {name}")


def _differences(actual: Array, wanted: Array, tolerance: float) -> tuple[Array, float]:
    """Element-wise difference (inf where only one of two is special) and the difference that is
    allowed."""
    if tolerance == 0:
        actual = actual.astype(wanted.dtype)
    a, w = actual.astype(np.float64), wanted.astype(np.float64)
    special = ~(np.abs(w) < FILL)
    same = (a == w) | (np.isnan(a) & np.isnan(w))
    with np.errstate(invalid="ignore"):
        difference = np.where(special, np.where(same, 0.0, np.inf), np.abs(a - w))
    difference = np.where(np.isnan(difference), np.inf, difference)
    scale = max(1.0, float(np.abs(w[~special]).max(initial=0.0)))
    return difference, tolerance * scale
