"""Writing a net as the files of one or more targets."""

from __future__ import annotations

import json
import keyword
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from converters.emitter import Artifact, Emitter, Provenance
from converters.manifest import describe, manifest_artifact, target_entry
from converters.onnx_metadata import onnx_metadata
from converters.open_sizes import lower_open
from converters.preprocessing import in_words
from decaffeinate.class_names import read_class_names
from decaffeinate.file_options import refuse_without_effect
from decaffeinate.keywords import ReadOptions, passing_on
from decaffeinate.loading import Loaded, load, loaded_from
from decaffeinate.plugin_tables import check_references
from decaffeinate.plugins import use_plugins
from decaffeinate.version import __version__
from ir import Graph
from ir.passes import Applied
from ir.passes import optimize as run_passes
from prototxt.atomic import Staging
from prototxt.errors import UnsupportedError, UsageError
from prototxt.files import name_of, net_stem

if TYPE_CHECKING:
    from typing import Unpack

__all__ = ["TARGETS", "Conversion", "convert", "file_stem"]

TARGETS: dict[str, tuple[str, str]] = {
    "onnx": ("converters.onnx", "OnnxEmitter"),
    "pytorch": ("converters.pytorch", "PyTorchEmitter"),
    "mxnet": ("converters.mxnet", "MXNetEmitter"),
}
"""Module and class of each target's emitter; imported only when it is used."""

DTYPES = ("float32", "float16")
"""What ONNX files may store and compute in."""

_TOOL = f"decaffeinate {__version__}"
_SIGNED = b"Converted by: decaffeinate "
"""What the head of every Python file that a conversion writes says."""


@dataclass(frozen=True)
class Conversion:
    """What a conversion wrote."""

    name: str
    folder: Path
    manifest: Path
    files: tuple[Path, ...]
    loaded: Loaded
    graph: Graph
    passes: tuple[Applied, ...] = ()
    """What `optimize` did."""

    @property
    def notes(self) -> list[str]:
        """See `Loaded.notes`."""
        return self.loaded.notes


@passing_on(ReadOptions, load)
def convert(
    net: str | Path | Loaded,
    weights: str | Path | None = None,
    *,
    to: str | Sequence[str] = ("onnx",),
    output: str | Path = ".",
    name: str | None = None,
    opset: int | None = None,
    dynamic: str | Sequence[str] = (),
    labels: str | Path | None = None,
    optimize: bool = False,
    dtype: str = "float32",
    preprocess: bool = False,
    mean: str | None = None,
    scale: float | None = None,
    flat: bool = False,
    verifiable: bool = False,
    progress: Callable[[str], None] = lambda _: None,
    **options: Unpack[ReadOptions],
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
        labels: a file with the names of the classes, for ONNX's metadata; see
            `decaffeinate.class_names`.
        optimize: run the passes of `ir.passes`, for all targets: fold what scales and shifts into
            convolutions and inner products, merge such layers, drop what no output needs.
        dtype: "float32", or "float16" for ONNX files that store weights and compute in half
            precision; their inputs and outputs stay float32.
        flat: write PyTorch and Gluon layer by layer, without classes for what repeats.
        preprocess: embed the order of channels, the mean and the scale into ONNX files, which then
            take an image of uint8 (N, H, W, C), RGB; see `decaffeinate.image_inputs`.
        mean: for `preprocess`, instead of the net's.
        scale: for `preprocess`, instead of the net's.
        verifiable: refuse, before anything is written, a net that `verify` cannot judge.
        progress: told what is being done.
        options: further arguments of `load`, of a net that is not loaded yet.

    Raises:
        UsageError: an option that has no effect on these targets; see also below.
        DecaffeinateError: see `prototxt.errors`; nothing has been written then.
    """
    if dtype not in DTYPES:
        raise UsageError(f'unknown dtype "{dtype}"', expected=" or ".join(DTYPES))
    if opset is not None and not isinstance(opset, int):
        raise UsageError(f"opset {opset!r} is no whole number", expected="one, such as 17")
    targets = _known([to] if isinstance(to, str) else to)
    dynamic = [dynamic] if isinstance(dynamic, str) else dynamic
    refuse_without_effect({"opset": opset, "labels": labels, "dtype": dtype, "flat": flat,
                           "preprocess": preprocess, "mean": mean, "scale": scale},
                          targets)  # fmt: skip
    loaded = loaded_from(net, weights, options)
    use_plugins(loaded.plugins)
    if verifiable and loaded.plugins:
        check_references(loaded.net)
    stem = file_stem(name or net_stem(Path(loaded.net.path)))
    graph = lower_open(loaded.net, loaded.shapes, loaded.parameters, dynamic)
    passes = run_passes(graph) if optimize else []
    image = None
    if preprocess:
        from decaffeinate.image_inputs import image_input_of

        image = image_input_of(loaded, mean, scale)
    settings: dict[str, dict[str, Any]] = {
        "onnx": {"opset": opset, "dtype": dtype, "image": image},
        "pytorch": {"flat": flat},
        "mxnet": {"flat": flat},
    }
    emitters = {
        target: _emitter(target, graph, stem, _provenance(loaded), settings.get(target, {}))
        for target in targets
    }
    names = read_class_names(Path(labels), graph) if labels is not None else None
    planned = {target: emitter.emit() for target, emitter in emitters.items()}
    folder = Path(output)
    _spare_own_sources(
        folder / artifact.name for artifacts in planned.values() for artifact in artifacts
    )
    marks = {
        "dynamic": sorted(dynamic),
        "passes": [{"pass": one.name, "changes": list(one.changes)} for one in passes],
    }
    place = folder / f"{stem}.manifest.json"
    files = _write(loaded, graph, emitters, planned, place, names, marks, progress)
    return Conversion(stem, folder, place, files, loaded, graph, tuple(passes))


def _known(targets: Sequence[str]) -> Sequence[str]:
    for target in targets:
        if target not in TARGETS:
            raise UsageError(f'unknown target "{target}"', expected="one of " + ", ".join(TARGETS))
    return targets


def _write(
    loaded: Loaded,
    graph: Graph,
    emitters: Mapping[str, Emitter],
    planned: Mapping[str, Sequence[Artifact]],
    place: Path,
    class_names: Sequence[str] | None,
    marks: Mapping[str, Any],
    progress: Callable[[str], None],
) -> tuple[Path, ...]:
    """Write the planned files, and the manifest at `place`, which says `marks` too, all at once;
    the paths of the former."""
    folder, files = place.parent, list[Path]()
    written: dict[str, list[dict[str, Any]]] = {}
    # Hashing the weights for the manifest takes longer than writing them, so it goes on beside.
    with Staging(folder) as staging, ThreadPoolExecutor(max_workers=1) as hashing:
        description = hashing.submit(
            describe, loaded.net, graph, loaded.parameters, loaded.weights, _TOOL, loaded.seed
        )
        for emitter in emitters.values():
            emitter.metadata = lambda: onnx_metadata(description.result(), class_names)
        for target, artifacts in planned.items():
            for artifact in artifacts:
                progress(f"writing {artifact.name}")
                entry = artifact.write(staging.place(artifact.name))
                written.setdefault(target, []).append(entry)
                files.append(folder / artifact.name)
        content = description.result()
        if loaded.plugins:
            content["plugins"] = [plugin.to_json() for plugin in loaded.plugins]
        content |= marks
        entries = _kept_targets(place, content)
        for target, emitter in emitters.items():
            entries[target] = target_entry(emitter, graph, written[target])
        content["targets"] = {target: entries[target] for target in sorted(entries)}
        manifest = manifest_artifact(place.name.removesuffix(".manifest.json"), content)
        manifest.write(staging.place(manifest.name))
    return tuple(files)


def _emitter(
    target: str,
    graph: Graph,
    stem: str,
    provenance: Provenance,
    settings: Mapping[str, Any],
) -> Emitter:
    module, cls = TARGETS[target]
    try:
        emitter: type[Emitter] = getattr(import_module(module), cls)
    except ModuleNotFoundError as error:
        raise UnsupportedError(
            f'writing {target} needs the package "{error.name}"',
            hint=f"pip install 'decaffeinate[{target}]'",
        ) from None
    return emitter(graph, stem, provenance, **settings)


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
    images = "; ".join(filter(None, map(in_words, loaded.net.preprocessing)))
    return Provenance(_TOOL, net, weights, images)


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
    same = ("format", "tool", "net", "weights", "inputs", "outputs", "dynamic", "passes", "plugins")
    return targets if all(earlier.get(key) == content.get(key) for key in same) else {}
