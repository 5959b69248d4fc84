"""Verifying the files of a conversion."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from converters.open_sizes import lower_open, other_sizes
from decaffeinate.conversion import TARGETS, convert
from decaffeinate.file_options import refuse_for_files, refuse_without_effect
from decaffeinate.keywords import ConvertOptions, apart, passing_on
from decaffeinate.loading import Loaded, load, loaded_from
from decaffeinate.plugins import other_plugins, use_plugins
from decaffeinate.version import __version__
from prototxt.atomic import output_folders
from prototxt.errors import DecaffeinateError, UsageError
from prototxt.load import parse_net
from prototxt.parameters import bind_parameters
from prototxt.shapes import infer_shapes

if TYPE_CHECKING:
    from typing import Unpack

    from verify.isolation import Isolation
    from verify.report import Report
    from verify.repro import Repros
    from verify.tolerance import Tolerance

__all__ = ["plugin_options", "verify"]


@passing_on(ConvertOptions, load, convert)
def verify(
    net: str | Path | Loaded,
    weights: str | Path | None = None,
    *,
    backends: str | Sequence[str] = ("onnx", "pytorch", "mxnet"),
    manifest: str | Path | None = None,
    feeds: Mapping[str, Mapping[str, Any]] | None = None,
    tolerance: str | float | None = None,
    rtol: float | None = None,
    atol: float | None = None,
    repro: str | Path | None = None,
    isolate: bool = False,
    python: Mapping[str, str | Path] | None = None,
    timeout: float | None = None,
    progress: Callable[[str], None] = lambda _: None,
    **options: Unpack[ConvertOptions],
) -> Report:
    """Prove that converted files compute what Caffe computes, blob by blob, and hold its
    parameters.

    Args:
        net: the prototxt, or what `load` returned.
        weights: the weights; None draws from the net's fillers.
        backends: a name of TARGETS, or several; and "opencv" or "caffe", which read the net's own
            files (`verify.judges`).
        manifest: of an earlier conversion whose files are to be verified; by default the net is
            converted into a temporary folder first.  Either way the files are read back from disk.
        feeds: sets of inputs by name, each an array an input blob; by default one of seeded noise.
        tolerance: "derived", which is the default: each value of each layer has a rounding bound of
            its own (`verify.rounding`), given what the backend fed the layer; or a number, the
            greatest error as a part of a blob's greatest magnitude.
        rtol: with `atol` instead of a tolerance: |got - want| <= atol + rtol * |want|.
        atol: see `rtol`.
        repro: a folder in which, where a backend fails, the first layer that is wrong, or the chain
            that passes made one layer, is written as a net of its own, as repro-BACKEND; of several
            sets of inputs, on the first that fails.
        isolate: run each backend in a process of its own; one that crashes or hangs has failed
            then, and the others go on.
        python: interpreters, by backend, to run in (and in a process of its own in any case).
        timeout: seconds that an isolated backend may take for one answer.
        progress: told what is being done.
        options: further arguments of `load`, of a net that is not loaded yet; and those of
            `convert` about what files compute: `opset`, `dynamic`, `optimize`, `dtype`,
            `preprocess`, `mean`, `scale`, `flat`; not with a manifest, whose files are as they are.
            Files that take other sizes (`dynamic`) are verified at three: the declared one and two
            others, which the report names.

    Raises:
        UsageError: an option that has no effect; see also below.
        DecaffeinateError: see `prototxt.errors`.
    """
    from verify.isolation import isolation_of
    from verify.judges import JUDGES
    from verify.repro import Repros
    from verify.tolerance import Tolerance

    backends = [backends] if isinstance(backends, str) else backends
    for name in backends:
        if name not in {*TARGETS, *JUDGES}:
            raise UsageError(f'unknown backend "{name}"',
                             expected="one of " + ", ".join((*TARGETS, *JUDGES)))  # fmt: skip
    targets = [backend for backend in backends if backend not in JUDGES]
    reading, writing = apart(options)
    if manifest is not None:
        refuse_for_files(writing, "--converted")
    else:
        refuse_without_effect(writing, targets, "--backend")
    allowed = Tolerance.of(tolerance, rtol, atol)
    isolation = isolation_of(backends, isolate, python or {}, timeout)
    with ExitStack() as stack:
        if repro is not None:
            stack.enter_context(output_folders([Path(repro)]))
        loaded = loaded_from(net, weights, reading)
        use_plugins(loaded.plugins)
        repros = None
        if repro is not None:
            words = [*allowed.options(), *plugin_options(loaded)]
            repros = Repros(Path(repro), backends, words, opening_words)
        if manifest is None:
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="decaffeinate-"))
            manifest = convert(loaded, to=targets, output=folder, progress=progress,
                               **writing).manifest  # fmt: skip
        return _judged(
            loaded, Path(manifest), backends, feeds, allowed, progress, isolation, repros
        )


def plugin_options(loaded: Loaded) -> list[str]:
    """What loads the net's plugins on a command line; those of packages need nothing."""
    files = [plugin.file for plugin in loaded.plugins if plugin.package is None]
    return [word for file in files for word in ("--plugin", str(Path(file).resolve()))]


def opening_words(definition: str, phase: str, dynamic: Sequence[str]) -> list[str]:
    """What opens sizes of a net on a command line: of those that were open in a net that it is a
    part of, the ones that it can leave open by itself."""
    if not dynamic:
        return []

    def opens(kinds: Sequence[str]) -> bool:
        # By itself a part may be no net at all: of 0 samples, as behind a Filter.
        try:
            net = parse_net(definition, phase=phase)
            shapes = infer_shapes(net)
            lower_open(net, shapes, bind_parameters(net, shapes), kinds)
            return bool(other_sizes(net, shapes, kinds))
        except DecaffeinateError:
            return False

    kinds = dynamic if opens(dynamic) else [kind for kind in dynamic if opens([kind])]
    return [word for kind in kinds for word in ("--dynamic", kind)]


def _judged(
    loaded: Loaded,
    manifest: Path,
    backends: Sequence[str],
    feeds: Mapping[str, Mapping[str, Any]] | None,
    tolerance: Tolerance,
    progress: Callable[[str], None],
    isolation: Isolation,
    repro: Repros | None,
) -> Report:
    """The verification of a conversion's files at the declared sizes, and at others where they take
    others."""
    from verify.harness import verify_conversion
    from verify.image_feed import embedded
    from verify.inputs import seeded_inputs
    from verify.runners.runner import read_conversion

    conversion = read_conversion(manifest)
    images = embedded(conversion.manifest["targets"].get("onnx", {}))

    def noise(at: Loaded, label: str) -> dict[str, Mapping[str, Any]]:
        fed: Mapping[str, Any] = seeded_inputs(at.net, at.shapes, at.seed)
        if images is not None and "onnx" in backends:
            from decaffeinate.image_inputs import noise_images

            return {f"image of {label}": noise_images(at, images, fed)}
        return {label: fed}

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
