"""How a backend's files hold the net: which layers they compute as one, which numbers they store;
and what they are therefore held to."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prototxt.batch_norm import has_scale_bias
from prototxt.net import Blob, Net
from prototxt.parameters import Parameters
from verify.compare import impossible
from verify.fused import ALONE, Fusion, Recomputed, fusion_of, recomputed
from verify.image_feed import embedded
from verify.local import Local, judge
from verify.precision import FLOAT16, FLOAT32, Precision, named, using
from verify.reference import ByLayer, with_phase
from verify.reference.ristretto import PLAIN as RISTRETTO
from verify.reference.ristretto import quantised_parameters
from verify.tolerance import Tolerance

__all__ = ["PLAIN", "Form", "form_of", "rounded_inputs"]

Array = NDArray[Any]


@dataclass(frozen=True)
class Form:
    """`fusion` tells the layers that are computed as one; `precision` the numbers between."""

    fusion: Fusion = ALONE
    precision: Precision = FLOAT32

    @property
    def notes(self) -> list[str]:
        """What a report says of it."""
        return [*self.fusion.notes, *self.precision.notes]

    def values(
        self, names: Mapping[Blob, str], got: Mapping[str, Array], want: Mapping[Blob, Array]
    ) -> dict[Blob, Array]:
        """A backend's blobs; one that it lacks is NaN, so that nothing can pass that was read from
        it."""
        return {
            blob: np.full(want[blob].shape, np.nan, np.float32)
            if blob in self.fusion.missing
            else got[name]
            for blob, name in names.items()
        }

    def judge(
        self,
        net: Net,
        parameters: Parameters,
        names: Mapping[Blob, str],
        got: Mapping[str, Array],
        want: Mapping[Blob, Array],
        tolerance: Tolerance,
    ) -> Local:
        """As `verify.local.judge`, of a backend's blobs by their keys."""
        values = self.values(names, got, want)
        with using(self.precision):
            stored = _stored(net, parameters, self)
            local = judge(net, stored, names, values, want, tolerance, self.fusion)
        if self.precision is FLOAT16:
            _refuse_overflow(local, names, values)
        return local

    def recomputed(self, net: Net, parameters: Parameters) -> Recomputed:
        """What the files store that is not the source's as it is."""
        return recomputed(net, parameters, self.fusion, self.precision.dtype)


def _refuse_overflow(local: Local, names: Mapping[Blob, str], values: Mapping[Blob, Array]) -> None:
    """Fail blobs that halves cannot hold: a runtime that computes in float32 may give them, and one
    that does not gives infinities."""
    for blob, row in local.rows.items():
        sizes = np.abs(values[blob])
        beyond = int((sizes > FLOAT16.greatest).sum())
        if beyond:
            what = f"{beyond} of {sizes.size} values are beyond 65504, the greatest half"
            local.rows[blob] = impossible(names[blob], row.shape, what, row.kind, row.layer)


PLAIN = Form()
"""Every layer on its own, in float32."""


def form_of(
    net: Net, names: Mapping[Blob, str], got: Collection[str], manifest: Mapping[str, Any], of: str
) -> Form:
    """The form of a target's files, by what the manifest says and the blobs that they have.

    Raises:
        FileError: a blob is missing that no pass takes away.
    """
    optimised = any(one["changes"] for one in manifest.get("passes", ()))
    return Form(fusion_of(net, names, got, optimised), _precision(manifest, of))


def _precision(manifest: Mapping[str, Any], target: str) -> Precision:
    """What a target stores; a judge, or a target that is not there, has nothing to say."""
    options = manifest["targets"].get(target, {}).get("options")
    return named(str(options.get("dtype"))) if isinstance(options, dict) else FLOAT32


def rounded_inputs(
    manifest: Mapping[str, Any], targets: Collection[str], inputs: Mapping[str, Array]
) -> Mapping[str, NDArray[np.float32]]:
    """Inputs as they are; where one of the targets stores halves, such as halves hold, so that what
    its file makes of them first changes nothing."""
    if all(_precision(manifest, target) is not FLOAT16 for target in targets):
        return inputs
    images = [how for target in targets
              if (how := embedded(manifest["targets"].get(target, {}))) is not None]  # fmt: skip
    kept = {how["blob"] for how in images}  # what a file makes of an image it rounds itself
    return {
        name: array if name in kept else np.asarray(array, np.float16).astype(np.float32)
        for name, array in inputs.items()
    }


def _stored(net: Net, parameters: Parameters, form: Form) -> ByLayer:
    """The parameters as the files have them: rounded, a BatchNorm's sums divided before, and what
    Ristretto quantises quantised.

    Those of layers that are computed as one are the source's: what is rounded is what the passes
    made of them, a rounding of the products that the bound of the group counts.  So are the shifts
    of an ActiveShift, of which the files have what its four places count for.
    """
    if form.precision is FLOAT32:
        return parameters
    fused = {layer.index for group in form.fusion.groups.values() for layer in group}
    found: dict[int, tuple[Array, ...]] = {}
    for layer in net:
        given = [np.asarray(array, np.float32) for array in parameters[layer.index]]
        if layer.index in fused or layer.type == "ActiveShift":
            found[layer.index] = tuple(given)
            continue
        if layer.type == "BatchNorm" and not has_scale_bias(layer.message.batch_norm_param):
            total = given[2].reshape(-1)[0]
            factor = np.float32(0) if total == 0 else np.float32(1) / total
            given = [given[0] * factor, given[1] * factor, np.ones_like(given[2])]
        if layer.type in RISTRETTO:  # a power of 2 that is rounded anew stays the same
            given = list(quantised_parameters(with_phase(layer, net.phase), tuple(given)))
        with np.errstate(over="ignore"):
            found[layer.index] = tuple(a.astype(np.float16).astype(np.float32) for a in given)
    return found
