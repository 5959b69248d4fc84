"""What every runner is."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from prototxt.errors import FileError

__all__ = ["Arrays", "Conversion", "Runner", "read_conversion"]

Arrays = Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class Conversion:
    """A conversion as it lies on disk: the folder and its manifest, read again."""

    folder: Path
    manifest: Mapping[str, Any]

    def target(self, name: str) -> Mapping[str, Any]:
        """The manifest's part on one target.

        Raises:
            FileError: the conversion has no files for it.
        """
        targets = self.manifest["targets"]
        if name not in targets:
            raise FileError(
                f"the conversion has no {name} files",
                where=str(self.folder),
                expected=f"a target among {', '.join(targets)}",
                hint=f"convert with --to {name}",
            )
        found: Mapping[str, Any] = targets[name]
        return found

    def file(self, target: str, suffix: str) -> Path:
        """The path of a target's file whose name ends so."""
        names: list[str] = [entry["name"] for entry in self.target(target)["files"]]
        return self.folder / next(name for name in names if name.endswith(suffix))


def read_conversion(manifest: Path) -> Conversion:
    """Read the manifest of a conversion.

    Raises:
        FileError: it is missing or no manifest.
    """
    try:
        return Conversion(manifest.parent, json.loads(manifest.read_text(encoding="utf-8")))
    except (OSError, ValueError) as error:
        raise FileError(f"no readable manifest: {error}", where=str(manifest),
                        expected="NAME.manifest.json as `convert` writes it") from None  # fmt: skip


class Runner(Protocol):
    """Runs the converted files of one target."""

    def run(self, inputs: Mapping[str, NDArray[np.float32]]) -> dict[str, NDArray[np.float32]]:
        """One forward pass: input blobs by name in, every blob version out, keyed "blob" or
        "blob@k"."""
        ...

    def other_forms(
        self, inputs: Mapping[str, NDArray[np.float32]]
    ) -> dict[str, dict[str, NDArray[np.float32]]]:
        """Output blobs as further files of the target make them, by what those files are."""
        ...

    def parameters(self) -> dict[str, NDArray[Any]]:
        """Every stored parameter, by the name that the manifest's `parameters` gives it."""
        ...

    def version(self) -> str:
        """The framework's version."""
        ...
