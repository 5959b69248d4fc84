"""What a batch does with one net: plain data that goes to another process, and plain data that
comes back."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from decaffeinate import api
from decaffeinate.feeds import make_feeds
from decaffeinate.keywords import WriteOptions
from decaffeinate.pairing import Found, choose_weights
from prototxt.atomic import atomic_file

if TYPE_CHECKING:
    from verify.report import Report

__all__ = [
    "ConvertJob",
    "Job",
    "VerifyJob",
    "conversion_json",
    "write_json",
    "write_report",
]

Progress = Callable[[str], None]


class Job(Protocol):
    """A piece of work that can be pickled."""

    def run(self, progress: Progress) -> dict[str, Any]:
        """Do it, and return what is to be told of it, as JSON takes it.

        Raises:
            DecaffeinateError: the user's mistake.
        """

    def clean_up(self) -> None:
        """Remove what a process that died in `run` may have left; called in another process."""


@dataclass(frozen=True)
class ConvertJob:
    """Convert a net; verify the files where `verified`.

    `options` are those of `decaffeinate.load`, and further ones of `decaffeinate.convert`;
    `tolerance` and `repro` those of `decaffeinate.verify`.
    """

    found: Found
    output: Path
    name: str
    targets: tuple[str, ...]
    verified: bool
    tolerance: Mapping[str, Any]
    options: Mapping[str, Any]
    repro: Path | None = None

    def run(self, progress: Progress) -> dict[str, Any]:
        """See `Job`."""
        progress("reading")
        weights = choose_weights(self.found, self.options)
        done = api.convert(
            self.found.net,
            weights,
            to=self.targets,
            output=self.output,
            name=self.name,
            verifiable=self.verified,
            progress=progress,
            **self.options,
        )
        report = None
        if self.verified:
            report = api.verify(
                done.loaded,
                backends=self.targets,
                manifest=done.manifest,
                repro=self.repro,
                progress=progress,
                **self.tolerance,
            )
        return conversion_json(done, report) | _verdict(report)

    def clean_up(self) -> None:
        """See `Job`; files that were being written have hidden names until they are complete."""
        part = re.compile(rf"\.{re.escape(self.name)}(_gluon)?[.-].*\.[0-9a-f]{{8}}\.part")
        with suppress(OSError):
            for path in self.output.iterdir():
                if part.fullmatch(path.name):
                    path.unlink()


@dataclass(frozen=True)
class VerifyJob:
    """Verify a net; `report` is the folder for report.json.  `options` are those of
    `decaffeinate.load`, `writing` those of `decaffeinate.convert`, `tolerance` and `isolation`
    those of `decaffeinate.verify` about what is allowed and about processes; `repro` is a folder
    too."""

    found: Found
    backends: tuple[str, ...]
    image: Path | None
    mean: str | None
    tolerance: Mapping[str, Any]
    writing: WriteOptions
    report: Path | None
    options: Mapping[str, Any]
    isolation: Mapping[str, Any]
    repro: Path | None
    command: str

    def run(self, progress: Progress) -> dict[str, Any]:
        """See `Job`."""
        progress("reading")
        weights = choose_weights(self.found, self.options)
        loaded = api.load(self.found.net, weights, **self.options)
        feeds = make_feeds(loaded, {}, self.image, self.mean, self.writing)
        report = api.verify(
            loaded,
            backends=self.backends,
            feeds=feeds,
            repro=self.repro,
            progress=progress,
            **self.tolerance,
            **self.isolation,
            **self.writing,
        )
        report.command = self.command
        content = report.to_json()
        if self.report is not None:
            write_report(self.report, report)
        return {
            "parameters": loaded.parameters.count,
            "weights": loaded.parameters.source,
            "drawn": loaded.parameters.drawn,
            "notes": loaded.notes,
            "report": content,
        } | _verdict(report)

    def clean_up(self) -> None:
        """See `Job`."""
        with suppress(OSError):
            for path in self.report.iterdir() if self.report is not None else ():
                if re.fullmatch(r"\.report\.(json|html)\.[0-9a-f]{8}\.part", path.name):
                    path.unlink()


def _verdict(report: Report | None) -> dict[str, Any]:
    """What the summary says of a verification; `worst` is an error over what is allowed."""
    if report is None:
        return {"exit_code": 0, "verdict": None, "worst": None}
    ratios = [blob.ratio for result in report.results for blob in result.blobs if not blob.problem]
    worst = max(ratios, default=None)
    if worst == float("inf"):  # which JSON cannot say
        worst = None
    return {"exit_code": report.exit_code, "verdict": report.verdict, "worst": worst}


def conversion_json(done: api.Conversion, report: Report | None) -> dict[str, Any]:
    """A conversion as `convert --json` prints it."""
    return {
        "name": done.name,
        "files": [str(path) for path in done.files],
        "manifest": str(done.manifest),
        "parameters": done.loaded.parameters.count,
        "weights": done.loaded.parameters.source,
        "drawn": done.loaded.parameters.drawn,
        "notes": done.notes,
        "passes": [{"pass": one.name, "changes": list(one.changes)} for one in done.passes],
        "report": report.to_json() if report is not None else None,
    }


def write_report(folder: Path, report: Report) -> None:
    """Write report.json, and report.html, which shows it to a person.

    Raises:
        FileError: one of them cannot be written.
    """
    from verify.html_report import write_html

    content = report.to_json()
    write_json(folder / "report.json", content)
    write_html(content, folder / "report.html", report.maps)


def write_json(path: Path, content: object) -> None:
    """Write a JSON file, complete or not at all; folders are made.

    Raises:
        FileError: it cannot be written.
    """
    with atomic_file(path) as file:
        file.write((json.dumps(content, indent=1) + "\n").encode())
