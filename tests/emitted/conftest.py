"""Line counts of what is emitted, at the end of pytest's output."""

import pytest

from tests.emitted import gluon_cases
from tests.emitted.cases import NETS, golden


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for framework, path in (("PyTorch", golden), ("Gluon", gluon_cases.golden)):
        counts = {name: len(path(name).read_text(encoding="ascii").splitlines()) for name in NETS}
        text = ", ".join(f"{name} {count}" for name, count in counts.items())
        terminalreporter.write_line(f"lines of emitted {framework}: {text}")
