"""What tests of plugins share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from decaffeinate.plugins import load_plugins
from tests.plugin_docs import NET, PLUGIN


@pytest.fixture
def plugin_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A working folder with the documented example; afterwards no plugin is known any more."""
    monkeypatch.chdir(tmp_path)
    Path("channel_gate.py").write_text(PLUGIN, encoding="utf-8")
    Path("channel_gate.prototxt").write_text(NET, encoding="utf-8")
    yield tmp_path
    load_plugins([])
