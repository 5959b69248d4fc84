"""The command `survey`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from decaffeinate.options import CONTEXT, failing_cleanly
from decaffeinate.reading_options import state_options

__all__ = ["survey"]


@click.command(context_settings=CONTEXT)
@click.argument(
    "folders", nargs=-1, required=True, metavar="FOLDER ...", type=click.Path(path_type=Path)
)
@click.option("--jobs", type=click.IntRange(min=1), metavar="N",
              help="Processes. Default: the number of processors.")  # fmt: skip
@click.option("--json", "json_file", type=click.Path(path_type=Path), metavar="FILE",
              help="Write all of it there, for machines.")  # fmt: skip
@click.option("--html", "html_file", type=click.Path(path_type=Path), metavar="FILE",
              help="Write a page there, which needs nothing else.")  # fmt: skip
@state_options
@failing_cleanly
def survey(
    folders: Sequence[Path],
    jobs: int | None,
    json_file: Path | None,
    html_file: Path | None,
    **options: Any,
) -> None:
    """Tell how many of the nets in FOLDER, and in the folders below it, can be converted.

    Each definition is parsed, upgraded, given its shapes, and its parameters are counted; nothing
    is converted, and no weights are read. A net passes if all of this succeeds and all its layer
    types convert. A table tells, for each layer type, how many nets use it and how many of those
    pass; a second one why the others do not. Solvers and other texts are counted apart.

    \b
    Examples:
      decaffeinate survey models
      decaffeinate survey models --phase TRAIN --html survey.html --json survey.json
    """
    from decaffeinate.batch import processors, run_jobs
    from decaffeinate.jobs import write_json
    from decaffeinate.pairing import gather
    from decaffeinate.progress import BatchProgress
    from decaffeinate.survey import Survey
    from decaffeinate.survey_job import SurveyJob
    from decaffeinate.survey_terminal import show_survey
    from prototxt.atomic import output_folders
    from prototxt.files import read_start

    for path in folders:
        if not path.is_dir():
            read_start(path, "a folder with network definitions (.prototxt), or one of them")
    files = [path for path in (json_file, html_file) if path is not None]
    gathered = gather(folders)
    work = [SurveyJob(found.net, options) for found in gathered.nets]
    nets = [found.net for found in gathered.nets]
    with output_folders([], files), BatchProgress(nets, False) as progress:
        outcomes, interrupted = run_jobs(work, jobs or processors(), progress)
    found = Survey(gathered, outcomes, interrupted)
    if json_file is not None:
        write_json(json_file, found.to_json())
    if html_file is not None:
        from decaffeinate.survey_page import write_page

        write_page(found, html_file)
    show_survey(found)
    sys.exit(found.exit_code)
