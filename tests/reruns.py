"""What a failing verification left behind, and running it again as its README says."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import pytest

from tests.command_line import invoke

__all__ = ["command", "content", "rerun"]


def content(folder: Path) -> dict[str, bytes]:
    """Every file, by its place."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def command(folder: Path) -> list[str]:
    """The words of the one command in README.txt."""
    lines = (folder / "README.txt").read_text(encoding="utf-8").splitlines()
    (line,) = [line for line in lines if line.startswith("  verify ")]
    return shlex.split(line)


def rerun(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The command's result, run in the folder."""
    with monkeypatch.context() as inside:
        inside.chdir(folder)
        return invoke(*command(folder))
