"""No silent skip: what DECAFFEINATE_REQUIRE names is here, or nothing runs; every skip is listed.

A skip must give one of the reasons below.  Any other one fails, so that a test can only be skipped
for a reason that somebody has looked at.
"""

from __future__ import annotations

import re
from collections.abc import Generator

import pytest

from tests.frameworks import unmet

ACCEPTED = re.compile(
    r"cannot be imported"  # a framework that this environment does not name
    r"|ruff is not installed"
    r"|the project ships no models|published (models|definitions) are not shipped"
    r"|the collected public nets are not here"
    r"|tox -e (onnx-readers|huge) has it"
    r"|Windows"
    r"|regenerating needs grpcio-tools"  # tox -e proto does more
)


def pytest_sessionstart() -> None:
    """Refuse to run where something required is missing, rather than skip its tests."""
    reasons = unmet()
    if reasons:
        raise pytest.UsageError("this environment lacks what it requires: " + "; ".join(reasons))


def _judge(report: pytest.TestReport | pytest.CollectReport) -> None:
    if report.outcome != "skipped" or hasattr(report, "wasxfail"):
        return
    reason = str(report.longrepr[2]) if isinstance(report.longrepr, tuple) else ""
    if not ACCEPTED.search(reason):
        report.outcome = "failed"
        report.longrepr = f"skipped for a reason that tests/conftest.py does not know: {reason}"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A skip of a test."""
    report = yield
    _judge(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """A skip of a whole file."""
    report = yield
    _judge(report)
    return report


GOLDENS = re.compile(
    r"test_reference_goldens\.py::test_every_blob_is_caffes\["
    r"|test_backends\.py::test_goldens\[(?P<backend>\w+)-"
)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """How many of Caffe's recorded nets each target reproduced; how near each comes to its bounds
    on SqueezeNet."""
    counts: dict[str, int] = {}
    for report in terminalreporter.stats.get("passed", []):
        found = GOLDENS.search(report.nodeid)
        if found:
            target = found["backend"] or "reference"
            counts[target] = counts.get(target, 0) + 1
    if counts:
        shown = ", ".join(f"{target} {count}" for target, count in counts.items())
        terminalreporter.write_line(f"goldens of Caffe 1.0 reproduced: {shown}")
    bounds = [text for report in terminalreporter.stats.get("passed", [])
              for name, text in report.user_properties if name == "bound"]  # fmt: skip
    if bounds:
        terminalreporter.write_line(
            f"greatest error / bound of SqueezeNet v1.0 on the cat: {', '.join(bounds)}"
        )
