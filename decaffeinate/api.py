"""The public functions: load, convert, verify."""

from __future__ import annotations

import json
import keyword
import re
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from converters.emitter import Artifact, Emitter, Provenance
from converters.manifest import describe, manifest_artifact, target_entry
from converters.open_sizes import lower_open, other_sizes
from decaffeinate.plugin_tables import check_references
from decaffeinate.plugins import Plugin, other_plugins, read_with_plugins, use_plugins
from decaffeinate.version import __version__
from ir import Graph
from prototxt.atomic import Staging
from prototxt.errors import UnsupportedError, UsageError
from prototxt.files import name_of
from prototxt.load import load_net, with_input_shapes
from prototxt.net import Layer, Net
from prototxt.parameters import Parameters, bind_parameters
from prototxt.shapes import NetShapes, infer_shapes
from prototxt.weights import read_weights

if TYPE_CHECKING:
    from verify.isolation import Isolation
    from verify.report import Report
    from verify.tolerance import Tolerance

__all__ = ["TARGETS", "Conversion", "Loaded", "convert", "load", "verify"]

TARGETS: dict[str, tuple[str, str]] = {
    "onnx": ("converters.onnx", "OnnxEmitter"),
    "pytorch": ("converters.pytorch", "PyTorchEmitter"),
    "mxnet": ("converters.mxnet", "MXNetEmitter"),
}
"""Module and class of each target's emitter; imported only when it is used."""

_TOOL = f"decaffeinate {__version__}"
_SIGNED = b"Converted by: decaffeinate "
"""What the head of every Python file that a conversion writes says."""


@dataclass(frozen=True)
class Loaded:
    """A net with its shapes and parameters, ready to be converted or verified."""

    net: Net
    shapes: NetShapes
    parameters: Parameters
    weights: Path | None
    seed: int
    plugins: tuple[Plugin, ...] = ()
    """Those that have layers in the net."""

    @property
    def notes(self) -> list[str]:
        """What the user should know: unknown fields, drawn parameters, layers of the weights left
        out."""
        return [*self.net.warnings, *self.parameters.notes, *_state_notes(self.net)]

    def resized(self, input_shapes: Mapping[str, Sequence[int]]) -> Loaded:
        """The same for inputs of other shapes, by blob.

        Raises:
            NetError: the net does not take them.
        """
        net = with_input_shapes(self.net, input_shapes)
        return replace(self, net=net, shapes=infer_shapes(net))


@dataclass(frozen=True)
class Conversion:
    """What a conversion wrote."""

    name: str
    folder: Path
    manifest: Path
    files: tuple[Path, ...]
    loaded: Loaded
    graph: Graph

    @property
    def notes(self) -> list[str]:
        """See `Loaded.notes`."""
        return self.loaded.notes


def load(
    net: str | Path,
    weights: str | Path | None = None,
    *,
    phase: str = "TEST",
    stages: Sequence[str] = (),
    level: int = 0,
    input_shapes: Mapping[str, Sequence[int]] | None = None,
    seed: int = 0,
    input_layers: str = "input",
    plugins: Sequence[str | Path] = (),
) -> Loaded:
    """Read a net and its weights; without weights, parameters are drawn from the net's fillers with
    `seed`.

    Args:
        net: the prototxt.
        weights: the weights file.
        phase: "TEST" or "TRAIN".
        stages: stages of the net's state.
        level: level of the net's state.
        input_shapes: shapes to use instead of the declared ones, by input blob.
        seed: seed of drawn parameters.
        input_layers: what becomes of layers that read data from files: "input" or "error".
        plugins: Python files that register further layer types; see `decaffeinate.plugins`.

    Raises:
        DecaffeinateError: anything wrong with the files; see `prototxt.errors`.
    """
    if seed < 0:
        raise UsageError(f"seed {seed} cannot be used", expected="a whole number from 0 on")
    parsed, used = read_with_plugins(
        plugins, lambda: load_net(net, phase, stages, level, input_shapes, input_layers)
    )
    shapes = infer_shapes(parsed)
    stored = read_weights(weights, parsed, shapes) if weights is not None else None
    parameters = bind_parameters(parsed, shapes, stored, seed)
    source = Path(weights) if weights is not None else None
    return Loaded(parsed, shapes, parameters, source, seed, used)


def convert(
    net: str | Path | Loaded,
    weights: str | Path | None = None,
    *,
    to: str | Sequence[str] = ("onnx",),
    output: str | Path = ".",
    name: str | None = None,
    opset: int | None = None,
    dynamic: Sequence[str] = (),
    verifiable: bool = False,
    progress: Callable[[str], None] = lambda _: None,
    **options: Any,
) -> Conversion:
    """Convert a net to one or more targets; all files are written, or none.

    Args:
        net: the prototxt, or what `load` returned.
        weights: the weights; None draws from the net's fillers.
        to: a name of TARGETS, or several.
        output: the folder; made if it is missing.
        name: stem of the files; the prototxt's by default.
        opset: ONNX operator set; by default the newest that current runtimes run.
        dynamic: which sizes the files are to take beside the declared ones: "batch", "spatial" or
            both; see `converters.open_sizes`.
        verifiable: refuse, before anything is written, a net that `verify` cannot judge.
        progress: told what is being done.
        options: further arguments of `load`.

    Raises:
        DecaffeinateError: see `prototxt.errors`; nothing has been written then.
    """
    loaded = net if isinstance(net, Loaded) else load(net, weights, **options)
    use_plugins(loaded.plugins)
    if verifiable and loaded.plugins:
        check_references(loaded.net)
    stem = file_stem(name or Path(loaded.net.path).name.removesuffix(".prototxt"))
    graph = lower_open(loaded.net, loaded.shapes, loaded.parameters, dynamic)
    targets = [to] if isinstance(to, str) else to
    emitters = {
        target: _emitter(target, graph, stem, _provenance(loaded), opset) for target in targets
    }
    planned = {target: emitter.emit() for target, emitter in emitters.items()}
    folder = Path(output)
    _spare_own_sources(
        folder / artifact.name for artifacts in planned.values() for artifact in artifacts
    )
    files: list[Path] = []
    # Hashing the files for the manifest takes longer than writing them, so it goes on beside.
    with Staging(folder) as staging, ThreadPoolExecutor(max_workers=2) as hashing:
        description = hashing.submit(
            describe, loaded.net, graph, loaded.parameters, loaded.weights, _TOOL, loaded.seed
        )
        described = {}
        for target, artifacts in planned.items():
            written = {}
            for artifact in artifacts:
                progress(f"writing {artifact.name}")
                written[artifact.name] = _write(artifact, staging)
            described[target] = hashing.submit(target_entry, emitters[target], graph, written)
            files += [folder / artifact for artifact in written]
        content = description.result()
        if loaded.plugins:
            content["plugins"] = [plugin.to_json() for plugin in loaded.plugins]
        content["dynamic"] = sorted(dynamic)
        entries = _kept_targets(folder / f"{stem}.manifest.json", content)
        entries |= {target: entry.result() for target, entry in described.items()}
        content["targets"] = {target: entries[target] for target in sorted(entries)}
        manifest = manifest_artifact(stem, content)
        _write(manifest, staging)
    return Conversion(stem, folder, folder / manifest.name, tuple(files), loaded, graph)


def verify(
    net: str | Path | Loaded,
    weights: str | Path | None = None,
    *,
    backends: Sequence[str] = ("onnx", "pytorch", "mxnet"),
    manifest: str | Path | None = None,
    feeds: Mapping[str, Mapping[str, Any]] | None = None,
    tolerance: str | float | None = None,
    rtol: float | None = None,
    atol: float | None = None,
    repro: str | Path | None = None,
    opset: int | None = None,
    dynamic: Sequence[str] = (),
    isolate: bool = False,
    python: Mapping[str, str | Path] | None = None,
    timeout: float | None = None,
    progress: Callable[[str], None] = lambda _: None,
    **options: Any,
) -> Report:
    """Prove that converted files compute what Caffe computes, blob by blob, and hold its
    parameters.

    Args:
        net: the prototxt, or what `load` returned.
        weights: the weights; None draws from the net's fillers.
        backends: names of TARGETS; and "opencv" or "caffe", which read the net's own files
            (`verify.judges`).
        manifest: of an earlier conversion whose files are to be verified; by default the net is
            converted into a temporary folder first.  Either way the files are read back from disk.
        feeds: sets of inputs by name, each an array an input blob; by default one of seeded noise.
        tolerance: "derived", which is the default: each value of each layer has a rounding bound of
            its own (`verify.rounding`), given what the backend fed the layer; or a number, the
            greatest error as a part of a blob's greatest magnitude.
        rtol: with `atol` instead of a tolerance: |got - want| <= atol + rtol * |want|.
        atol: see `rtol`.
        repro: a folder in which, where a backend fails, the first layer that is wrong is written as
            a net of its own, as repro-BACKEND.
        opset: as for `convert`.
        dynamic: as for `convert`.  Files that take other sizes are verified at three: the declared
            one and two others, which the report names.
        isolate: run each backend in a process of its own; one that crashes or hangs has failed
            then, and the others go on.
        python: interpreters, by backend, to run in (and in a process of its own in any case).
        timeout: seconds that an isolated backend may take for one answer.
        progress: told what is being done.
        options: further arguments of `load`.

    Raises:
        DecaffeinateError: see `prototxt.errors`.
    """
    from verify.isolation import isolation_of
    from verify.judges import JUDGES
    from verify.tolerance import Tolerance

    allowed = Tolerance.of(tolerance, rtol, atol)
    place = None if repro is None else Path(repro)
    isolation = isolation_of(backends, isolate, python or {}, timeout)
    loaded = net if isinstance(net, Loaded) else load(net, weights, **options)
    use_plugins(loaded.plugins)
    if manifest is not None:
        return _judged(loaded, Path(manifest), backends, feeds, allowed, progress, isolation, place)
    with tempfile.TemporaryDirectory(prefix="decaffeinate-") as folder:
        targets = [backend for backend in backends if backend not in JUDGES]
        done = convert(loaded, to=targets, output=folder, opset=opset, dynamic=dynamic,
                       progress=progress)  # fmt: skip
        return _judged(loaded, done.manifest, backends, feeds, allowed, progress, isolation, place)


def _judged(
    loaded: Loaded,
    manifest: Path,
    backends: Sequence[str],
    feeds: Mapping[str, Mapping[str, Any]] | None,
    tolerance: Tolerance,
    progress: Callable[[str], None],
    isolation: Isolation,
    repro: Path | None,
) -> Report:
    """The verification of a conversion's files at the declared sizes, and at others where they take
    others."""
    from verify.harness import verify_conversion
    from verify.inputs import seeded_inputs
    from verify.runners.runner import read_conversion

    def noise(at: Loaded, label: str) -> dict[str, Mapping[str, Any]]:
        return {label: seeded_inputs(at.net, at.shapes, at.seed)}

    conversion = read_conversion(manifest)
    fed = feeds if feeds is not None else noise(loaded, f"noise (seed {loaded.seed})")
    cases = [(loaded, fed)]
    for sizes in other_sizes(loaded.net, loaded.shapes, conversion.manifest.get("dynamic", ())):
        label = " ".join(f"{name}={','.join(map(str, n))}" for name, n in sizes.items())
        resized = loaded.resized(sizes)
        cases.append((resized, noise(resized, f"noise at {label}")))
    report, *others = (
        verify_conversion(
            at.net,
            at.shapes,
            at.parameters,
            conversion,
            backends,
            fed,
            tolerance,
            progress,
            isolation,
            repro,
        )
        for at, fed in cases
    )
    report.environment = {"decaffeinate": __version__, **report.environment}
    report.notes += other_plugins(loaded.plugins, conversion.manifest)
    for other in others:
        report.add(other)
    return report


def _state_notes(net: Net) -> list[str]:
    """Where Caffe's result is random, or depends on the pass before, and ours cannot."""

    def names(layers: list[Layer]) -> str:
        return ", ".join(f'"{layer.name}"' for layer in layers)

    notes = []
    dropped = [layer for layer in net if layer.type == "Dropout"]
    if net.phase == "TRAIN" and dropped:
        notes.append(f"Dropout is random at TRAIN ({names(dropped)}): what is verified is its "
                     "expectation, the identity")  # fmt: skip
    going_on = [
        layer
        for layer in net
        if layer.type in ("LSTM", "RNN") and not layer.message.recurrent_param.expose_hidden
    ]
    if going_on:
        begun = f"each pass starts from a state of 0 ({names(going_on)})"
        notes.append(f"{begun}; Caffe goes on from the pass before where cont is not 0: "
                     "expose_hidden makes the state an input")  # fmt: skip
    return notes


def _emitter(
    target: str, graph: Graph, stem: str, provenance: Provenance, opset: int | None
) -> Emitter:
    if target not in TARGETS:
        raise UsageError(f'unknown target "{target}"', expected="one of " + ", ".join(TARGETS))
    module, cls = TARGETS[target]
    try:
        emitter: type[Emitter] = getattr(import_module(module), cls)
    except ModuleNotFoundError as error:
        raise UnsupportedError(
            f'writing {target} needs the package "{error.name}"',
            hint=f"pip install 'decaffeinate[{target}]'",
        ) from None
    settings = {"opset": opset} if target == "onnx" else {}
    return emitter(graph, stem, provenance, **settings)


def _write(artifact: Artifact, staging: Staging) -> Path:
    part = staging.place(artifact.name)
    artifact.write(part)
    return part


def _spare_own_sources(paths: Iterable[Path]) -> None:
    """Refuse to write over a Python file that no conversion wrote, such as the net's plugin."""
    for path in paths:
        if path.suffix == ".py" and path.is_file() and _SIGNED not in path.read_bytes():
            raise UsageError(
                "this file was not written by a conversion, and would be overwritten",
                where=str(path),
                expected="a place for the files where nothing of yours has the same name",
                hint="choose another folder with --output, or another stem with --name",
            )


def _provenance(loaded: Loaded) -> Provenance:
    weights = name_of(loaded.weights) if loaded.weights is not None else loaded.parameters.source
    net = f"{loaded.net.name or 'net'} ({name_of(Path(loaded.net.path))})"
    return Provenance(_TOOL, net, weights)


_TAKEN = frozenset(("mxnet", "numpy", "pathlib", "safetensors", "torch", "typing"))
"""Modules that emitted files import; a file of such a name would stand in for them."""


def file_stem(name: str) -> str:
    """A name for files: also a valid module name, since Python files are imported by it."""
    stem = re.sub(r"\W", "_", name, flags=re.ASCII)
    if not stem or stem[0].isdigit():
        stem = f"_{stem}"
    return f"{stem}_net" if keyword.iskeyword(stem) or stem in _TAKEN else stem


def _kept_targets(manifest: Path, content: Mapping[str, Any]) -> dict[str, Any]:
    """Targets that an earlier conversion of the very same files wrote there."""
    try:
        earlier = json.loads(manifest.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    targets = earlier.get("targets") if isinstance(earlier, dict) else None
    if not isinstance(targets, dict):
        return {}
    same = ("format", "tool", "net", "weights", "inputs", "outputs", "dynamic", "plugins")
    return targets if all(earlier.get(key) == content.get(key) for key in same) else {}
