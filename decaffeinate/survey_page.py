"""A survey as one page that needs nothing else."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from decaffeinate.survey import Survey
from prototxt.atomic import atomic_file
from verify.html_page import asset, environment, policy

__all__ = ["page", "write_page"]


def write_page(survey: Survey, path: Path) -> None:
    """Write the page, complete or not at all; folders are made.

    Raises:
        FileError: the file cannot be written.
    """
    content = page(survey).encode()
    with atomic_file(path) as file:
        file.write(content)


def page(survey: Survey) -> str:
    """The page's text."""
    own = files("decaffeinate").joinpath("templates", "survey.css").read_text(encoding="utf-8")
    style = asset("report.css") + own
    template = environment("decaffeinate").get_template("survey.html.jinja")
    return template.render(survey=survey, style=style, policy=policy(style))
