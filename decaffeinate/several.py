"""What the commands for one net and for several share."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from decaffeinate.jobs import Job
    from decaffeinate.pairing import Gathered

__all__ = ["command_line", "flat", "folders_below", "refuse_for_several", "run_several", "usage"]


def command_line(name: str) -> str:
    """The command line, to be given to a shell again."""
    words = [word for word in sys.argv[1:] if word != name]
    return shlex.join([name, *words])


def flat(choices: Sequence[Sequence[str]]) -> list[str]:
    """The names of an option that may be given several times, each once."""
    return list(dict.fromkeys(name for names in choices for name in names))


def usage(what: str, expected: str) -> Exception:
    """A mistake in how options go together, to be raised."""
    from prototxt.errors import UsageError

    return UsageError(what, expected=expected)


def refuse_for_several(given: Mapping[str, object]) -> None:
    """Refuse options that make sense for one net only.

    Raises:
        UsageError: one of them is given.
    """
    for option, value in given.items():
        if value:
            raise usage(
                f"{option} is for one net, and several nets or a folder are given",
                "one net, with or without its weights",
            )


def folders_below(gathered: Gathered, parent: Path | None) -> list[Path | None]:
    """A folder for each net below `parent`; none without one."""
    from decaffeinate.pairing import places

    if parent is None:
        return [None] * len(gathered.nets)
    return [parent / folder / stem for folder, stem in places([n.net for n in gathered.nets])]


def run_several(
    gathered: Gathered,
    work: Sequence[Job],
    folders: Sequence[Path],
    processes: int | None,
    as_json: bool,
) -> int:
    """Do the jobs, print the summary, return the exit code."""
    from decaffeinate.batch import processors, run_jobs
    from decaffeinate.progress import BatchProgress
    from decaffeinate.summary import Summary
    from prototxt.atomic import output_folders

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
