"""Verifying a file that another tool made of a net."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from decaffeinate.keywords import ReadOptions, passing_on
from decaffeinate.loading import Loaded, load, loaded_from
from decaffeinate.plugins import use_plugins
from decaffeinate.verification import plugin_options
from decaffeinate.version import __version__
from prototxt.errors import UsageError

if TYPE_CHECKING:
    from typing import Unpack

    from verify.report import Report

__all__ = ["artifact_noise", "read_map", "verify_artifact"]

_WEAK = 0.02
"""What the second noise is scaled by: where the first saturates a sigmoid, or leaves a ReLU no
negative value that a converter could get wrong, the second does not."""


@passing_on(ReadOptions, load)
def verify_artifact(
    net: str | Path | Loaded,
    weights: str | Path | None = None,
    *,
    artifact: str | Path,
    artifact_weights: str | Path | None = None,
    map: Mapping[str, str] | Sequence[str] = (),
    feeds: Mapping[str, Mapping[str, Any]] | None = None,
    tolerance: str | float | None = None,
    rtol: float | None = None,
    atol: float | None = None,
    repro: str | Path | None = None,
    progress: Callable[[str], None] = lambda _: None,
    **options: Unpack[ReadOptions],
) -> Report:
    """Judge a file that this tool did not write: whether it computes what Caffe computes, layer by
    layer as far as it shows the layers' values.

    Args:
        net: the prototxt, or what `load` returned.
        weights: the weights; None draws from the net's fillers.
        artifact: an ONNX file, a PyTorch module or an MXNet symbol (`verify.artifacts.opening`).
        artifact_weights: its parameters, where they are in a file of their own.
        map: what cannot be found by itself: the name of an input, an output or another value of the
            file by the key of the blob that it holds, or texts "BLOB=NAME".  Behind an input's name
            ":NHWC" says how it is laid out.
        feeds: sets of inputs by name; by default two of seeded noise, one of them weak.
        tolerance: as for `verify`.
        rtol: as for `verify`.
        atol: as for `verify`.
        repro: a folder in which the first layer that is wrong is written as a net of its own.
        progress: told what is being done.
        options: further arguments of `load`, of a net that is not loaded yet.

    Raises:
        UsageError: inputs and outputs that cannot be put to the net's; a map of what is not there.
        DecaffeinateError: see `prototxt.errors`.
    """
    from verify.artifacts.judging import verify_artifact as judged
    from verify.tolerance import Tolerance

    allowed = Tolerance.of(tolerance, rtol, atol)
    told = dict(map) if isinstance(map, Mapping) else read_map(map)
    loaded = loaded_from(net, weights, options)
    use_plugins(loaded.plugins)
    report = judged(
        loaded.net,
        loaded.shapes,
        loaded.parameters,
        Path(artifact),
        None if artifact_weights is None else Path(artifact_weights),
        told,
        artifact_noise(loaded) if feeds is None else feeds,
        allowed,
        progress,
        None if repro is None else Path(repro),
        [*allowed.options(), *plugin_options(loaded)],
    )
    report.environment = {"decaffeinate": __version__, **report.environment}
    return report


def artifact_noise(loaded: Loaded) -> dict[str, dict[str, Any]]:
    """Two sets of seeded noise, the second weak; whole numbers, such as labels, are drawn alike."""
    import numpy as np

    from verify.inputs import seeded_inputs

    strong = seeded_inputs(loaded.net, loaded.shapes, loaded.seed)
    other = seeded_inputs(loaded.net, loaded.shapes, loaded.seed + 1)
    weak = {name: array if np.array_equal(array, np.rint(array)) else array * np.float32(_WEAK)
            for name, array in other.items()}  # fmt: skip
    title = f"noise (seed {loaded.seed})"
    return {title: strong, f"weak noise (seed {loaded.seed + 1}, times {_WEAK:g})": weak}


def read_map(texts: Sequence[str]) -> dict[str, str]:
    """ "BLOB=NAME" texts as a map; a blob's name may hold "=", a value's may not.

    Raises:
        UsageError: a text of another form, or two for one blob.
    """
    found: dict[str, str] = {}
    for text in texts:
        blob, equals, name = text.rpartition("=")
        if not (blob and equals and name):
            raise UsageError(f'"{text}" is no entry of a map', where="--map",
                             expected="BLOB=NAME, or BLOB=NAME:NHWC for an input")  # fmt: skip
        if found.get(blob, name) != name:
            raise UsageError(f'two names are given for the blob "{blob}"', where="--map",
                             expected="one each")  # fmt: skip
        found[blob] = name
    return found
