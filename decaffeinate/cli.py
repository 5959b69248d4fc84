"""The command line: `convert` and `verify`, and `decaffeinate` with both, `inspect` and `ref`."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click

from decaffeinate.options import (
    BackendOption,
    InputFile,
    TargetOption,
    failing_cleanly,
    net_options,
)
from decaffeinate.version import __version__

__all__ = ["convert_main", "main", "verify_main"]

_CONTEXT = {"help_option_names": ["--help", "-h"], "max_content_width": 100}

_COMPLETION = """
Shell completion: add to your shell's start-up file

\b
  bash:  eval "$(_DECAFFEINATE_COMPLETE=bash_source decaffeinate)"
  zsh:   eval "$(_DECAFFEINATE_COMPLETE=zsh_source decaffeinate)"
  fish:  _DECAFFEINATE_COMPLETE=fish_source decaffeinate | source

(likewise with CONVERT and VERIFY for the commands of these names).

Exit codes: 0 done (and equivalent, where verified), 1 different, 2 wrong usage or input; then
nothing is written.
"""


@click.group(context_settings=_CONTEXT, epilog=_COMPLETION)
@click.version_option(__version__, prog_name="decaffeinate")
def main() -> None:
    """Get Caffe models out of Caffe, provably intact.

    Reads a network definition (.prototxt; V0, V1 or V2) and its weights (.caffemodel, HDF5, Deep
    Compression container), writes ONNX, PyTorch and MXNet, and verifies, blob by blob, that each
    computes what Caffe computes.
    """


@main.command(context_settings=_CONTEXT)
@click.argument("net", type=click.Path(path_type=Path))
@click.argument("weights", required=False, type=click.Path(path_type=Path))
@click.option(
    "--to",
    "targets",
    type=TargetOption(),
    multiple=True,
    default=["onnx"],
    show_default=True,
    help="Target: onnx, pytorch, mxnet or all. May be given several times.",
)
@click.option("-o", "--output", type=click.Path(path_type=Path), default=Path(), metavar="DIR",
              help="Folder for the files; made if missing. Default: the current one.")  # fmt: skip
@click.option(
    "--name",
    help="Stem of the files; what is no letter, digit or underscore becomes one, since the files "
    "are also modules. Default: that of NET.",
)
@click.option(
    "--opset",
    type=int,
    help="ONNX operator set, 13 or later. Default: 26, the newest that the "
    "last three onnxruntime releases run.",
)
@click.option(
    "--verify",
    "verified",
    is_flag=True,
    help="Verify the written files; exit with 1 if they differ.",
)
@net_options
@failing_cleanly
def convert(
    net: Path,
    weights: Path | None,
    targets: Sequence[Sequence[str]],
    output: Path,
    name: str | None,
    opset: int | None,
    verified: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Convert NET, with WEIGHTS, to ONNX, PyTorch or MXNet.

    Without WEIGHTS, parameters are drawn from the fillers that NET states, and every output says
    so.

    \b
    Examples:
      convert deploy.prototxt model.caffemodel --to onnx
      convert deploy.prototxt model.caffemodel --to all -o converted --verify
      convert train_val.prototxt --input-shape data=1,3,227,227 --input-shape label=1
    """
    from decaffeinate import api

    wanted = _flat(targets)
    with _progress(as_json) as progress:
        done = api.convert(net, weights, to=wanted, output=output, name=name, opset=opset,
                           progress=progress, **options)  # fmt: skip
        report = None
        if verified:
            report = api.verify(
                done.loaded, backends=wanted, manifest=done.manifest, progress=progress
            )
    if as_json:
        click.echo(json.dumps(_conversion_json(done, report), indent=1))
    else:
        _show_conversion(done)
        if report is not None:
            from decaffeinate.terminal import show_report

            show_report(report, notes=False)
    sys.exit(report.exit_code if report is not None else 0)


@main.command(context_settings=_CONTEXT)
@click.argument("net", type=click.Path(path_type=Path))
@click.argument("weights", required=False, type=click.Path(path_type=Path))
@click.option("--backend", "backends", type=BackendOption(), multiple=True,
              help="onnx, pytorch, mxnet or all; may be given several times. One that is asked for "
              "and cannot run is a failure. Default: those that are installed.")  # fmt: skip
@click.option(
    "--converted",
    type=click.Path(path_type=Path),
    metavar="MANIFEST",
    help="Verify the files of an earlier conversion, given its NAME.manifest.json. Default: "
    "convert into a temporary folder first.",
)
@click.option("--image", type=click.Path(path_type=Path), metavar="FILE",
              help="Feed this image to the net's image input: resized, BGR, 0 to 255, "
 "--mean subtracted.")  # fmt: skip
@click.option("--mean", metavar="B,G,R|FILE", default="104,117,123", show_default=True,
              help="Mean for --image: numbers a channel, or a .binaryproto; 0: none.")  # fmt: skip
@click.option("--input", "arrays", type=InputFile(), multiple=True, metavar="BLOB=FILE.npy",
              help="Feed this array to an input; inputs not given get noise.")  # fmt: skip
@click.option(
    "--tolerance",
    type=click.FloatRange(min=0),
    help="Greatest error allowed, as a part of a blob's greatest magnitude. Default: 1e-4.",
)
@click.option(
    "--report", type=click.Path(path_type=Path), metavar="DIR", help="Write report.json there."
)
@net_options
@failing_cleanly
def verify(
    net: Path,
    weights: Path | None,
    backends: Sequence[Sequence[str]],
    converted: Path | None,
    image: Path | None,
    mean: str,
    arrays: Sequence[tuple[str, Path]],
    tolerance: float | None,
    report: Path | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Prove that conversions of NET compute what Caffe computes, blob by blob, with the same
    parameters.

    The reference executes Caffe's layers in float64, straight from NET, without the converter. The
    files are read back from disk as they were written.

    \b
    Examples:
      verify deploy.prototxt model.caffemodel --image cat.jpg
      verify deploy.prototxt model.caffemodel --converted out/deploy.manifest.json --backend onnx
    """
    from decaffeinate import api
    from decaffeinate.feeds import make_feeds

    chosen = _flat(backends) or _default_backends(converted)
    with _progress(as_json) as progress:
        loaded = api.load(net, weights, **options)
        feeds = make_feeds(loaded, dict(arrays), image, mean)
        outcome = api.verify(loaded, backends=chosen, manifest=converted, feeds=feeds,
                             tolerance=tolerance, progress=progress)  # fmt: skip
    if report is not None:
        _write_json(report / "report.json", outcome.to_json())
    if as_json:
        click.echo(json.dumps(outcome.to_json(), indent=1))
    else:
        from decaffeinate.terminal import show_report

        show_report(outcome, layers=True)
    sys.exit(outcome.exit_code)


@main.command(context_settings=_CONTEXT)
@click.argument("net", type=click.Path(path_type=Path))
@net_options
@failing_cleanly
def inspect(net: Path, as_json: bool, **options: Any) -> None:
    """Print the layers of NET: name, type, output shapes, parameters, multiply-accumulates, with
    totals.

    Layers of unknown type are shown without shapes, and so is what follows from them.
    """
    from decaffeinate.inspection import inspect_net

    options.pop("seed")
    table = inspect_net(net, **options)
    if as_json:
        click.echo(json.dumps(table.to_json(), indent=1))
    else:
        from decaffeinate.terminal import show_inspection

        show_inspection(table)


@main.group(context_settings=_CONTEXT)
def ref() -> None:
    """The reference family: SqueezeNet definitions, seeded weights, and the published weights."""


@ref.command(name="list", context_settings=_CONTEXT)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@failing_cleanly
def list_(as_json: bool) -> None:
    """List the definitions that `write` makes and the published weights that `fetch` gets."""
    from decaffeinate.reference_family import catalogue

    content = catalogue()
    if as_json:
        click.echo(json.dumps(content, indent=1))
        return
    for title, rows in content.items():
        click.echo(f"{title}:")
        width = max(map(len, rows))
        for name, text in rows.items():
            click.echo(f"  {name:<{width}}  {text}")


@ref.command(context_settings=_CONTEXT)
@click.argument("name")
@click.option("-o", "--output", type=click.Path(path_type=Path), default=Path(), metavar="DIR",
              help="Folder for the two files. Default: the current one.")  # fmt: skip
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of the weights.")
@click.option(
    "--input-size", type=int, help="Height and width of the input. Default: the published one."
)
@click.option("--batch", type=int, help="Batch size. Default: the published one.")
@failing_cleanly
def write(name: str, output: Path, seed: int, input_size: int | None, batch: int | None) -> None:
    """Write the definition NAME and seeded weights: the same bits on every machine. For names see
    `ref list`."""
    from decaffeinate.reference_family import write_reference

    for path in write_reference(name, output, seed, input_size, batch):
        click.echo(str(path))


@ref.command(context_settings=_CONTEXT)
@click.argument("name")
@click.option(
    "--mirror", metavar="URL", help="Fetch from this base address instead of the authors' own."
)
@failing_cleanly
def fetch(name: str, mirror: str | None) -> None:
    """Download the published weights NAME into the cache, checked against their hash. For names see
    `ref list`."""
    from decaffeinate.reference_family import fetch_published

    with _progress(False) as progress:
        paths = fetch_published(name, mirror, progress)
    for path in paths:
        click.echo(str(path))


def convert_main() -> None:
    """Entry point of the command `convert`."""
    convert(prog_name="convert")


def verify_main() -> None:
    """Entry point of the command `verify`."""
    verify(prog_name="verify")


# --- output ---------------------------------------------------------------------------------------


class _Progress:
    """Says on a terminal what is being done; quiet when piped."""

    def __init__(self, show: bool) -> None:
        self._show = show
        self._status: Any = None

    def __enter__(self) -> Callable[[str], None]:
        return self

    def __call__(self, text: str) -> None:
        if not self._show:
            return
        if self._status is None:
            from rich.console import Console

            self._status = Console(stderr=True).status(text)
            self._status.start()
        self._status.update(text)

    def __exit__(self, *_: object) -> None:
        if self._status is not None:
            self._status.stop()


def _progress(as_json: bool) -> _Progress:
    return _Progress(sys.stderr.isatty() and not as_json)


def _flat(choices: Sequence[Sequence[str]]) -> list[str]:
    return list(dict.fromkeys(name for names in choices for name in names))


def _default_backends(converted: Path | None) -> list[str]:
    """Those that are installed; of an earlier conversion, those that it has files for."""
    from decaffeinate.feeds import installed_backends

    if converted is None:
        return installed_backends()
    from verify.runners.runner import read_conversion

    targets = list(read_conversion(converted).manifest["targets"])
    return [backend for backend in installed_backends() if backend in targets] or targets


def _show_conversion(done: Any) -> None:
    for note in done.notes:
        click.echo(f"note: {note}", err=True)
    parameters = done.loaded.parameters
    click.echo(
        f"{done.loaded.net.name or done.name}: {parameters.count:,} parameters, {parameters.source}"
    )
    for path in [*done.files, done.manifest]:
        click.echo(f"  {path}  {path.stat().st_size:,} bytes")


def _conversion_json(done: Any, report: Any) -> dict[str, Any]:
    return {
        "name": done.name,
        "files": [str(path) for path in done.files],
        "manifest": str(done.manifest),
        "parameters": done.loaded.parameters.count,
        "weights": done.loaded.parameters.source,
        "drawn": done.loaded.parameters.drawn,
        "notes": done.notes,
        "report": report.to_json() if report is not None else None,
    }


def _write_json(path: Path, content: object) -> None:
    from prototxt.atomic import atomic_file

    with atomic_file(path) as file:
        file.write((json.dumps(content, indent=1) + "\n").encode())
