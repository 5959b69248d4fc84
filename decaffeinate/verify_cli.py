"""The command `verify`."""

from __future__ import annotations

import json
import sys
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import click

from decaffeinate.artifact_cli import artifact_options, refuse_beside, run_artifact
from decaffeinate.conversion_options import conversion_options, mean_option
from decaffeinate.keywords import WriteOptions
from decaffeinate.options import (
    CONTEXT,
    TARGETS,
    BackendOption,
    InputFile,
    failing_cleanly,
    images_options,
    isolation_options,
    nets_argument,
    tolerance_options,
)
from decaffeinate.progress import Progress
from decaffeinate.reading_options import net_options
from decaffeinate.several import (
    command_line,
    flat,
    folders_below,
    refuse_for_several,
    run_several,
    usage,
)

__all__ = ["verify"]


@click.command(context_settings=CONTEXT)
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
@mean_option("Mean for --image and --images; and for --preprocess, instead of the net's",
             " Default, of images: 104,117,123.")  # fmt: skip
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
    help="Where a backend fails, write the first layer that is wrong there, or the chain that "
    "--optimize made one layer, as a net of its own in repro-BACKEND. Default: beside report.json.",
)
@artifact_options
@tolerance_options
@images_options
@isolation_options
@conversion_options
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
    writing: WriteOptions,
    as_json: bool,
    isolation: dict[str, Any],
    artifact: dict[str, Any],
    **options: Any,
) -> None:
    """Prove that conversions of NET compute what Caffe computes, blob by blob, with the same
    parameters.

    The reference executes Caffe's layers in float64, straight from NET, without the converter. The
    files are read back from disk as they were written: into a temporary folder, with the options
    that `convert` takes for it, or by an earlier conversion (--converted) or another tool
    (--artifact).

    Several nets and folders are taken as `convert` takes them, and give one summary.

    Exit code: 2 if any net failed, else 1 if any differs, else 0; 130 after Ctrl-C.

    \b
    Examples:
      verify deploy.prototxt model.caffemodel --image cat.jpg
      verify deploy.prototxt model.caffemodel --converted out/deploy.manifest.json --backend onnx
      verify deploy.prototxt model.caffemodel --backend onnx --optimize --dtype float16
      verify models --backend onnx --report reports
      verify deploy.prototxt model.caffemodel --artifact theirs.onnx
    """
    from decaffeinate import api
    from decaffeinate.feeds import make_feeds, refuse_together
    from decaffeinate.file_options import refuse_for_files, refuse_without_effect
    from decaffeinate.jobs import VerifyJob, write_report
    from decaffeinate.pairing import gather
    from prototxt.atomic import output_folders
    from verify.tolerance import Tolerance

    Tolerance.of(**tolerance)
    refuse_together(images, labels, {"--image": image, "--input": arrays})
    if mean is not None and image is None and images is None and not writing["preprocess"]:
        raise usage("--mean is given without --image, --images and --preprocess",
                    "one of them: images, from which it is subtracted")  # fmt: skip
    if writing["preprocess"]:
        writing["mean"] = mean
    if artifact:
        refuse_beside(artifact, {
            "--converted": converted, "--backend": backends, "--images": images,
            "--isolate": isolation["isolate"], "--python": isolation["python"],
            "--timeout": isolation["timeout"],
        }, writing)  # fmt: skip
    if converted is not None:
        refuse_for_files(writing, "--converted")
    gathered = gather(nets)
    chosen = flat(backends) or _default_backends(converted, isolation["python"])
    if converted is None and not artifact:
        refuse_without_effect(writing, [name for name in chosen if name in TARGETS], "--backend")
    if gathered.several:
        refuse_for_several({"--converted": converted, "--input": arrays, "--images": images,
                            "--artifact": artifact})  # fmt: skip
        in_reports = folders_below(gathered, report)
        in_repros = in_reports if repro is None else folders_below(gathered, repro)
        work = [
            VerifyJob(
                found,
                tuple(chosen),
                image,
                mean,
                tolerance,
                writing,
                folder,
                options,
                isolation,
                place,
                command_line("verify"),
            )
            for found, folder, place in zip(gathered.nets, in_reports, in_repros, strict=True)
        ]
        folders = [folder for folder in (*in_reports, *in_repros) if folder is not None]
        sys.exit(run_several(gathered, work, folders, jobs, as_json))
    net, weights = gathered.nets[0].net, gathered.nets[0].weights
    kept = [folder for folder in (report, repro) if folder is not None]
    with output_folders(kept, _files(report)), Progress(as_json) as progress:
        loaded = api.load(net, weights, **options)
        common = {"repro": repro or report, "progress": progress, **tolerance}
        checks: dict[str, Any] = {
            "backends": chosen,
            "manifest": converted,
            **common,
            **isolation,
        }
        if artifact:
            outcome = run_artifact(loaded, artifact, arrays, image, mean, **common)
        elif images is not None:
            from decaffeinate.images import verify_images

            outcome = verify_images(loaded, images, mean=mean, labels=labels, writing=writing,
                                    **checks)  # fmt: skip
        else:
            feeds = make_feeds(loaded, dict(arrays), image, mean, writing)
            outcome = api.verify(loaded, feeds=feeds, **checks, **writing)
        outcome.command = command_line("verify")
        if report is not None:
            write_report(report, outcome)
    if as_json:
        click.echo(json.dumps(outcome.to_json(), indent=1))
    else:
        from decaffeinate.terminal import show_report

        show_report(outcome, layers=True)
    sys.exit(outcome.exit_code)


def _files(report: Path | None) -> list[Path]:
    return [] if report is None else [report / "report.json", report / "report.html"]


def _default_backends(converted: Path | None, elsewhere: Collection[str]) -> list[str]:
    """Those that are installed, or have an interpreter of their own; of an earlier conversion,
    those that it has files for."""
    from decaffeinate.feeds import installed_backends

    if converted is None:
        return installed_backends(elsewhere)
    from verify.runners.runner import read_conversion

    targets = list(read_conversion(converted).manifest["targets"])
    return [backend for backend in installed_backends(elsewhere) if backend in targets] or targets
