"""The command line: `convert` and `verify`, and `decaffeinate` with both, `inspect` and `ref`."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from decaffeinate.options import (
    CONTEXT,
    BackendOption,
    InputFile,
    TargetOption,
    dynamic_option,
    failing_cleanly,
    images_options,
    isolation_options,
    net_options,
    nets_argument,
    reading_options,
    tolerance_options,
)
from decaffeinate.progress import Progress
from decaffeinate.ref_cli import ref
from decaffeinate.version import __version__

if TYPE_CHECKING:
    from decaffeinate.jobs import Job
    from decaffeinate.pairing import Gathered
    from verify.image_agreement import ImageAgreement

__all__ = ["convert_main", "main", "verify_main"]

_COMPLETION = """
Shell completion: add to your shell's start-up file

\b
  bash:  eval "$(_DECAFFEINATE_COMPLETE=bash_source decaffeinate)"
  zsh:   eval "$(_DECAFFEINATE_COMPLETE=zsh_source decaffeinate)"
  fish:  _DECAFFEINATE_COMPLETE=fish_source decaffeinate | source

(likewise with CONVERT and VERIFY for the commands of these names).

Exit codes: 0 done (and equivalent, where verified), 1 different, 2 wrong usage or input; then
nothing is written. Of several nets: 2 if any failed, else 1 if any differs, else 0; the others'
files are written all the same. 130 after Ctrl-C.
"""


@click.group(context_settings=CONTEXT, epilog=_COMPLETION)
@click.version_option(__version__, prog_name="decaffeinate")
def main() -> None:
    """Get Caffe models out of Caffe, provably intact.

    Reads a network definition (.prototxt; V0, V1 or V2) and its weights (.caffemodel, HDF5, Deep
    Compression container), writes ONNX, PyTorch and MXNet, and verifies, blob by blob, that each
    computes what Caffe computes.
    """


@main.command(context_settings=CONTEXT)
@nets_argument
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
@dynamic_option
@tolerance_options
@net_options
@failing_cleanly
def convert(
    nets: Sequence[Path],
    jobs: int | None,
    targets: Sequence[Sequence[str]],
    output: Path,
    name: str | None,
    opset: int | None,
    verified: bool,
    as_json: bool,
    tolerance: dict[str, Any],
    **options: Any,
) -> None:
    """Convert NET, with WEIGHTS, to ONNX, PyTorch or MXNet.

    Without WEIGHTS, parameters are drawn from the fillers that NET states, and every output says
    so.

    Several nets, each perhaps followed by its weights, and folders are converted in parallel; one
    that fails does not stop the others, and a summary ends it. In a folder, and the folders below
    it, each net definition takes the weights beside it: those of the same stem, else the only ones
    that fit. Files go to one folder, or to folders that mirror those of the nets where names would
    be the same.

    Exit code: 2 if any net failed, else 1 if any differs, else 0; 130 after Ctrl-C.

    \b
    Examples:
      convert deploy.prototxt model.caffemodel --to onnx
      convert deploy.prototxt model.caffemodel --to all -o converted --verify
      convert train_val.prototxt --phase TRAIN --input-shape data=32,3,227,227
      convert a.prototxt a.caffemodel b.prototxt b.caffemodel --to all -o converted
      convert models --to onnx -o converted --jobs 2
    """
    from decaffeinate import api
    from decaffeinate.jobs import ConvertJob, conversion_json
    from decaffeinate.pairing import gather, places
    from verify.tolerance import Tolerance

    wanted = _flat(targets)
    if not verified and any(value is not None for value in tolerance.values()):
        raise _usage("a tolerance is given without --verify", "--verify, which it is for")
    Tolerance.of(**tolerance)
    _refuse_opset(opset, wanted)
    gathered = gather(nets)
    if gathered.several:
        _refuse_for_several({"--name": name})
        placed = places([found.net for found in gathered.nets])
        work = [
            ConvertJob(
                found, output / folder, stem, tuple(wanted), opset, verified, tolerance, options
            )
            for found, (folder, stem) in zip(gathered.nets, placed, strict=True)
        ]
        sys.exit(_run(gathered, work, [job.output for job in work], jobs, as_json))
    net, weights = gathered.nets[0].net, gathered.nets[0].weights
    with Progress(as_json) as progress:
        done = api.convert(net, weights, to=wanted, output=output, name=name, opset=opset,
                           verifiable=verified, progress=progress, **options)  # fmt: skip
        report = None
        if verified:
            report = api.verify(done.loaded, backends=wanted, manifest=done.manifest,
                                progress=progress, **tolerance)  # fmt: skip
            report.command = _command("convert")
    if as_json:
        click.echo(json.dumps(conversion_json(done, report), indent=1))
    else:
        _show_conversion(done)
        if report is not None:
            from decaffeinate.terminal import show_report

            show_report(report, notes=False)
    sys.exit(report.exit_code if report is not None else 0)


@main.command(context_settings=CONTEXT)
@nets_argument
@click.option("--backend", "backends", type=BackendOption(), multiple=True,
              help="onnx, pytorch, mxnet or all; or a judge of NET itself, opencv (before 5) or "
              "caffe (pycaffe); may be given several times. One that is asked for and cannot run "
              "is a failure. Default: the targets that are installed.")  # fmt: skip
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
@click.option("--mean", metavar="B,G,R|FILE",
              help="Mean for --image and --images: numbers a channel, or a .binaryproto; 0: none. "
              "Default: 104,117,123.")  # fmt: skip
@click.option("--input", "arrays", type=InputFile(), multiple=True, metavar="BLOB=FILE.npy",
              help="Feed this array to an input; inputs not given get noise.")  # fmt: skip
@click.option(
    "--report",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Write report.json and report.html there; of several nets each in a folder of its own.",
)
@click.option(
    "--repro",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Where a backend fails, write the first layer that is wrong there, as a net of its own in "
    "repro-BACKEND. Default: beside report.json.",
)
@tolerance_options
@images_options
@isolation_options
@dynamic_option
@net_options
@failing_cleanly
def verify(
    nets: Sequence[Path],
    jobs: int | None,
    backends: Sequence[Sequence[str]],
    converted: Path | None,
    image: Path | None,
    images: Path | None,
    labels: Path | None,
    mean: str | None,
    arrays: Sequence[tuple[str, Path]],
    tolerance: dict[str, Any],
    report: Path | None,
    repro: Path | None,
    dynamic: Sequence[str],
    as_json: bool,
    isolation: dict[str, Any],
    **options: Any,
) -> None:
    """Prove that conversions of NET compute what Caffe computes, blob by blob, with the same
    parameters.

    The reference executes Caffe's layers in float64, straight from NET, without the converter. The
    files are read back from disk as they were written.

    Several nets and folders are taken as `convert` takes them, and give one summary.

    Exit code: 2 if any net failed, else 1 if any differs, else 0; 130 after Ctrl-C.

    \b
    Examples:
      verify deploy.prototxt model.caffemodel --image cat.jpg
      verify deploy.prototxt model.caffemodel --converted out/deploy.manifest.json --backend onnx
      verify models --backend onnx --report reports
    """
    from decaffeinate import api
    from decaffeinate.feeds import MEAN, make_feeds, refuse_together
    from decaffeinate.jobs import VerifyJob, write_report
    from decaffeinate.pairing import gather, places
    from verify.tolerance import Tolerance

    Tolerance.of(**tolerance)
    refuse_together(images, labels, {"--image": image, "--input": arrays})
    if mean is not None and image is None and images is None:
        raise _usage("--mean is given without --image", "an image that it is subtracted from")
    if dynamic and converted is not None:
        raise _usage("--dynamic is given with --converted", "one of them: the manifest tells "
                     "which sizes the files take")  # fmt: skip
    own_mean, mean = mean, MEAN if mean is None else mean
    gathered = gather(nets)
    chosen = _flat(backends) or _default_backends(converted, isolation["python"])
    if gathered.several:
        _refuse_for_several({"--converted": converted, "--input": arrays, "--images": images})
        folders: list[Path | None] = [None] * len(gathered.nets)
        if report is not None:
            placed = places([found.net for found in gathered.nets])
            folders = [report / folder / stem for folder, stem in placed]
        repros = folders
        if repro is not None:
            placed = places([found.net for found in gathered.nets])
            repros = [repro / folder / stem for folder, stem in placed]
        work = [
            VerifyJob(
                found,
                tuple(chosen),
                image,
                mean,
                tolerance,
                dynamic,
                folder,
                options,
                isolation,
                place,
                _command("verify"),
            )
            for found, folder, place in zip(gathered.nets, folders, repros, strict=True)
        ]
        sys.exit(_run(gathered, work, [f for f in folders if f is not None], jobs, as_json))
    net, weights = gathered.nets[0].net, gathered.nets[0].weights
    with Progress(as_json) as progress:
        loaded = api.load(net, weights, **options)
        checks: dict[str, Any] = {
            "backends": chosen,
            "manifest": converted,
            "dynamic": dynamic,
            "repro": repro or report,
            "progress": progress,
            **tolerance,
            **isolation,
        }
        rows: list[ImageAgreement] = []
        if images is not None:
            from decaffeinate.images import verify_images

            outcome, rows = verify_images(loaded, images, mean=own_mean, labels=labels, **checks)
        else:
            feeds = make_feeds(loaded, dict(arrays), image, mean)
            outcome = api.verify(loaded, feeds=feeds, **checks)
        outcome.command = _command("verify")
    beside = {"images": [row.to_json() for row in rows]} if images is not None else {}
    if report is not None:
        write_report(report, outcome, beside)
    if as_json:
        click.echo(json.dumps(outcome.to_json() | beside, indent=1))
    else:
        from decaffeinate.terminal import show_report

        show_report(outcome, layers=True)
        if images is not None:
            from decaffeinate.image_terminal import show_images

            show_images(rows)
    sys.exit(outcome.exit_code or int(not all(row.passed for row in rows)))


@main.command(context_settings=CONTEXT)
@click.argument("net", type=click.Path(path_type=Path))
@reading_options
@failing_cleanly
def inspect(net: Path, as_json: bool, **options: Any) -> None:
    """Print the layers of NET: name, type, output shapes, parameters, multiply-accumulates, with
    totals.

    Layers of unknown type are shown without shapes, and so is what follows from them; likewise
    layers that read data whose shape NET does not tell.

    \b
    Examples:
      inspect deploy.prototxt
      inspect train_val.prototxt --phase TRAIN --input-shape data=1,3,227,227
    """
    from decaffeinate.inspection import inspect_net

    table = inspect_net(net, **options)
    if as_json:
        click.echo(json.dumps(table.to_json(), indent=1))
    else:
        from decaffeinate.terminal import show_inspection

        show_inspection(table)


main.add_command(ref)


def convert_main() -> None:
    """Entry point of the command `convert`."""
    convert(prog_name="convert")


def verify_main() -> None:
    """Entry point of the command `verify`."""
    verify(prog_name="verify")


# --- output ---------------------------------------------------------------------------------------


def _command(name: str) -> str:
    """The command line, to be given to a shell again."""
    words = [word for word in sys.argv[1:] if word != name]
    return shlex.join([name, *words])


def _flat(choices: Sequence[Sequence[str]]) -> list[str]:
    return list(dict.fromkeys(name for names in choices for name in names))


def _default_backends(converted: Path | None, elsewhere: Collection[str]) -> list[str]:
    """Those that are installed, or have an interpreter of their own; of an earlier conversion,
    those that it has files for."""
    from decaffeinate.feeds import installed_backends

    if converted is None:
        return installed_backends(elsewhere)
    from verify.runners.runner import read_conversion

    targets = list(read_conversion(converted).manifest["targets"])
    return [backend for backend in installed_backends(elsewhere) if backend in targets] or targets


def _show_conversion(done: Any) -> None:
    for note in done.notes:
        click.echo(f"note: {note}", err=True)
    parameters = done.loaded.parameters
    click.echo(
        f"{done.loaded.net.name or done.name}: {parameters.count:,} parameters, {parameters.source}"
    )
    for path in [*done.files, done.manifest]:
        click.echo(f"  {path}  {path.stat().st_size:,} bytes")


# --- several nets ---------------------------------------------------------------------------------


def _usage(what: str, expected: str) -> Exception:
    from prototxt.errors import UsageError

    return UsageError(what, expected=expected)


def _refuse_for_several(given: Mapping[str, object]) -> None:
    for option, value in given.items():
        if value:
            raise _usage(
                f"{option} is for one net, and several nets or a folder are given",
                "one net, with or without its weights",
            )


def _refuse_opset(opset: int | None, targets: Sequence[str]) -> None:
    if opset is not None and "onnx" not in targets:
        raise _usage("--opset is given, and ONNX is no target", "--to onnx or --to all")


def _run(
    gathered: Gathered,
    work: Sequence[Job],
    folders: Sequence[Path],
    processes: int | None,
    as_json: bool,
) -> int:
    """Do the jobs, print the summary, return the exit code."""
    from decaffeinate.batch import processors, run_jobs
    from decaffeinate.jobs import output_folders
    from decaffeinate.progress import BatchProgress
    from decaffeinate.summary import Summary

    nets = [found.net for found in gathered.nets]
    with output_folders(folders), BatchProgress(nets, as_json) as progress:
        outcomes, interrupted = run_jobs(work, processes or processors(), progress)
    summary = Summary(gathered, outcomes, interrupted)
    if as_json:
        click.echo(json.dumps(summary.to_json(), indent=1))
    else:
        from decaffeinate.terminal import show_summary

        show_summary(summary)
    return summary.exit_code
