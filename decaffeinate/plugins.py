"""Layer types that users bring themselves, from Python files or installed packages."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

__all__ = ["load_plugins"]


def load_plugins(files: Sequence[str | Path]) -> None:
    """Run each file, which registers its layer types."""
