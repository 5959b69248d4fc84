"""Running the command line inside a test."""

from __future__ import annotations

import inspect

from click.testing import CliRunner, Result

from decaffeinate import cli

__all__ = ["invoke"]

# Before click 8.2, standard error is mixed into standard output unless it is asked for.
_APART = {"mix_stderr": False} if "mix_stderr" in inspect.signature(CliRunner).parameters else {}


def invoke(*args: object) -> Result:
    """`decaffeinate` with these arguments."""
    words = [str(arg) for arg in args]
    return CliRunner(**_APART).invoke(cli.main, words, prog_name="decaffeinate")
