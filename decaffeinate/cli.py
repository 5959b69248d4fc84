"""The command line: `convert` and `verify`, and `decaffeinate` with both, `inspect`, `survey` and
`ref`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from decaffeinate.convert_cli import convert
from decaffeinate.options import CONTEXT, failing_cleanly
from decaffeinate.reading_options import reading_options
from decaffeinate.ref_cli import ref
from decaffeinate.survey_cli import survey
from decaffeinate.verify_cli import verify
from decaffeinate.version import __version__

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
@click.argument("net", type=click.Path(path_type=Path))
@reading_options
@failing_cleanly
def inspect(net: Path, as_json: bool, **options: Any) -> None:
    """Print the layers of NET: name, type, output shapes, parameters, multiply-accumulates, with
    totals.

    Of a .caffemodel it is the net inside. Layers of unknown type are shown without shapes, and so
    is what follows from them; likewise layers that read data whose shape NET does not tell.

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


main.add_command(convert)
main.add_command(verify)
main.add_command(survey)
main.add_command(ref)


def convert_main() -> None:
    """Entry point of the command `convert`."""
    convert(prog_name="convert")


def verify_main() -> None:
    """Entry point of the command `verify`."""
    verify(prog_name="verify")
