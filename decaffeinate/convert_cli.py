"""The command `convert`."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from decaffeinate.conversion_options import conversion_options, mean_option
from decaffeinate.options import (
    CONTEXT,
    TargetOption,
    failing_cleanly,
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

__all__ = ["convert"]


@click.command(context_settings=CONTEXT)
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
    "--labels",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Names of the classes, one a line, class 0 first; they go into ONNX's metadata.",
)
@conversion_options
@mean_option("For --preprocess, instead of the net's")
@click.option(
    "--verify",
    "verified",
    is_flag=True,
    help="Verify the written files; exit with 1 if they differ.",
)
@click.option(
    "--repro",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="With --verify: where a target fails, write the first layer that is wrong there, or the "
    "chain that --optimize made one layer, as a net of its own in repro-TARGET; of several nets "
    "each in a folder of its own.",
)
@tolerance_options
@net_options
@failing_cleanly
def convert(
    nets: Sequence[Path],
    jobs: int | None,
    targets: Sequence[Sequence[str]],
    output: Path,
    name: str | None,
    labels: Path | None,
    mean: str | None,
    writing: dict[str, Any],
    verified: bool,
    repro: Path | None,
    as_json: bool,
    tolerance: dict[str, Any],
    **options: Any,
) -> None:
    """Convert NET, with WEIGHTS, to ONNX, PyTorch or MXNet.

    Without WEIGHTS, parameters are drawn from the fillers that NET states, and every output says
    so.

    A .caffemodel alone is the net inside it, mostly the one that was trained: what reads data
    becomes an input.

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
      convert model.caffemodel --to onnx --input-shape data=1,3,224,224
      convert train_val.prototxt --phase TRAIN --input-shape data=32,3,227,227
      convert a.prototxt a.caffemodel b.prototxt b.caffemodel --to all -o converted
      convert models --to onnx -o converted --jobs 2
    """
    from decaffeinate import api
    from decaffeinate.file_options import refuse_without_effect
    from decaffeinate.jobs import ConvertJob, conversion_json
    from decaffeinate.pairing import gather, places
    from prototxt.atomic import output_folders
    from verify.tolerance import Tolerance

    wanted = flat(targets)
    if not verified and any(value is not None for value in tolerance.values()):
        raise usage("a tolerance is given without --verify", "--verify, which it is for")
    if not verified and repro is not None:
        raise usage("--repro is given without --verify", "--verify, which may find a fault")
    Tolerance.of(**tolerance)
    options |= {"labels": labels, "mean": mean, **writing}
    refuse_without_effect(options, wanted)
    gathered = gather(nets)
    if gathered.several:
        refuse_for_several({"--name": name})
        placed = places([found.net for found in gathered.nets])
        work = [
            ConvertJob(
                found, output / folder, stem, tuple(wanted), verified, tolerance, options, place,
            )
            for found, (folder, stem), place in zip(
                gathered.nets, placed, folders_below(gathered, repro), strict=True
            )
        ]  # fmt: skip
        folders = [job.output for job in work]
        folders += [job.repro for job in work if job.repro is not None]
        sys.exit(run_several(gathered, work, folders, jobs, as_json))
    net, weights = gathered.nets[0].net, gathered.nets[0].weights
    kept = [] if repro is None else [repro]
    with output_folders(kept), Progress(as_json) as progress:
        done = api.convert(net, weights, to=wanted, output=output, name=name,
                           verifiable=verified, progress=progress, **options)  # fmt: skip
        report = None
        if verified:
            report = api.verify(done.loaded, backends=wanted, manifest=done.manifest,
                                repro=repro, progress=progress, **tolerance)  # fmt: skip
            report.command = command_line("convert")
    if as_json:
        click.echo(json.dumps(conversion_json(done, report), indent=1))
    else:
        _show_conversion(done)
        if report is not None:
            from decaffeinate.terminal import show_report

            show_report(report, notes=False)
    sys.exit(report.exit_code if report is not None else 0)


def _show_conversion(done: Any) -> None:
    for note in done.notes:
        click.echo(f"note: {note}", err=True)
    parameters = done.loaded.parameters
    click.echo(
        f"{done.loaded.net.name or done.name}: {parameters.count:,} parameters, {parameters.source}"
    )
    for applied in done.passes:
        click.echo(f"  {applied.name}: {len(applied.changes)} changes")
        for change in applied.changes:
            click.echo(f"    {change}")
    for path in [*done.files, done.manifest]:
        click.echo(f"  {path}  {path.stat().st_size:,} bytes")
