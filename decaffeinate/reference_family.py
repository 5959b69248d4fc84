"""The reference family for the command line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import squeezenet_ref

__all__ = ["catalogue", "fetch_published", "write_reference"]


def catalogue() -> dict[str, dict[str, str]]:
    """What can be written and what can be fetched, each by name with a line about it."""
    return {
        "definitions with seeded weights (ref write)": {
            name: squeezenet_ref.describe(name) for name in squeezenet_ref.names()
        },
        "published weights (ref fetch)": {
            one.name: f"{one.summary}; {one.licence}; {one.weights.repository}"
            for one in squeezenet_ref.published()
        },
    }


def write_reference(
    name: str, output: Path, seed: int, input_size: int | None, batch: int | None
) -> tuple[Path, Path]:
    """Write a definition and its seeded weights; the two paths."""
    changes: dict[str, Any] = {}
    if input_size is not None:
        changes["input_size"] = input_size
    if batch is not None:
        changes["batch"] = batch
    written = squeezenet_ref.write(name, output, seed, **changes)
    return written.prototxt, written.caffemodel


def fetch_published(
    name: str, mirror: str | None, progress: Callable[[str], None]
) -> tuple[Path, Path]:
    """Fetch published weights into the cache; the paths of the definition and the weights."""

    def received(file: str, done: int, total: int | None) -> None:
        share = f" ({done / total:.0%})" if total else ""
        progress(f"fetching {file}: {done:,} bytes{share}")

    fetched = squeezenet_ref.fetch(name, base_url=mirror, progress=received)
    return fetched.prototxt, fetched.weights
