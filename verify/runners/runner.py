"""What every runner is."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from prototxt.errors import FileError

__all__ = ["FORMAT", "Arrays", "Conversion", "Runner", "read_conversion", "sha256"]

FORMAT = 1
"""Number of the manifests' format that is read."""
_BLOCK = 1 << 18  # bytes read at a time: few enough for the processor's cache

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
        found = [name for name in names if name.endswith(suffix)]
        if not found:
            raise FileError(f"the manifest names no {target} file that ends in {suffix}",
                            where=str(self.folder), hint="convert again")  # fmt: skip
        return self.folder / found[0]

    def changed(self, target: str) -> list[str]:
        """Names of a target's files that are no longer what the manifest says was written."""
        return [
            entry["name"]
            for entry in self.target(target)["files"]
            if (self.folder / entry["name"]).is_file()
            and sha256(self.folder / entry["name"]) != entry["sha256"]
        ]


def sha256(path: Path) -> str:
    """The file's SHA-256 in hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb", buffering=0) as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def read_conversion(manifest: Path) -> Conversion:
    """Read the manifest of a conversion.

    Raises:
        FileError: it is missing, no manifest, or one of another format.
    """
    wanted = "NAME.manifest.json as `convert` writes it"
    try:
        content = json.loads(manifest.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise FileError(f"no readable manifest: {error}", where=str(manifest),
                        expected=wanted) from None  # fmt: skip
    if isinstance(content, dict) and content.get("format", FORMAT) != FORMAT:
        raise FileError(
            f"a manifest of format {content['format']!r}",
            where=str(manifest),
            expected=f"format {FORMAT}",
            hint="convert again with this version",
        )
    given = content if isinstance(content, dict) else {}
    further = {key: part for key, part in _FURTHER.items() if key in given}
    wrong = _misfit(content, _MANIFEST | further, "")
    if wrong is not None:
        raise FileError(f"no manifest of a conversion: {wrong}", where=str(manifest),
                        expected=wanted, hint="convert again")  # fmt: skip
    return Conversion(manifest.parent, content)


_BLOB = {"blob": str, "shape": [int]}
_TARGET = {
    "files": [{"name": str, "bytes": int, "sha256": str}],
    "inputs": {None: str},
    "outputs": [str],
    "blobs": {None: str},
    "parameters": [
        {"layer": str, "position": int, "index": int, "name": str, "shape": [int],
         "change": str | None},
    ],
    "constants": [{"name": str, "shape": [int]}],
}  # fmt: skip
_MANIFEST: Any = {
    "format": int,
    "net": {"name": str, "crops": [{"layer": str, "offset": [int]}]},
    "weights": {"drawn": bool},
    "inputs": [_BLOB],
    "outputs": [_BLOB],
    "folded": [{"layer": str, "position": int, "index": int, "reason": str}],
    "targets": {None: _TARGET},
}
_PARAMETER = {"layer": str, "position": int, "index": int}
_FURTHER: Any = {
    "dynamic": [str],
    "shared": [{**_PARAMETER, "owner": _PARAMETER}],
    "plugins": [{"name": str, "sha256": str}],
    "passes": [{"pass": str, "changes": [str]}],
}
"""What of a manifest is read; the latter where it is there.  A dict with the key None stands for
any keys."""
_NAMES: Mapping[Any, str] = {
    dict: "an object", list: "a list", str: "text", int: "a whole number", bool: "true or false",
    str | None: "text or null",
}  # fmt: skip


def _misfit(content: Any, wanted: Any, place: str) -> str | None:
    """The first place at which a manifest is not as wanted, and what is; None if there is none."""
    kind = type(wanted) if isinstance(wanted, (dict, list)) else wanted
    if not isinstance(content, kind) or (kind is int and isinstance(content, bool)):
        return f"{place or 'the file'} is not {_NAMES[kind]}"
    parts: list[tuple[Any, Any, str]]
    if isinstance(wanted, list):
        parts = [(entry, wanted[0], f"{place}[{i}]") for i, entry in enumerate(content)]
    elif isinstance(wanted, dict) and None in wanted:
        parts = [(entry, wanted[None], f"{place}.{key}") for key, entry in dict(content).items()]
    elif isinstance(wanted, dict):
        lacking = [key for key in wanted if key not in content]
        if lacking:
            return f'{place or "the file"} has no "{lacking[0]}"'
        parts = [(content[key], part, f"{place}.{key}") for key, part in wanted.items()]
    else:
        return None
    found = (_misfit(part, shape, at.lstrip(".")) for part, shape, at in parts)
    return next((problem for problem in found if problem is not None), None)


class Runner(Protocol):
    """Runs the converted files of one target."""

    def run(self, inputs: Mapping[str, NDArray[np.float32]]) -> dict[str, NDArray[np.float32]]:
        """One forward pass of the file with every blob made visible: input blobs by name in, every
        blob version out, by its key in the manifest's `blobs`.

        All are of this one pass, so that each is what the file's operators made of the others.
        """
        ...

    def outputs(self, inputs: Mapping[str, NDArray[np.float32]]) -> dict[str, NDArray[np.float32]]:
        """The output blobs as the untouched file gives them to a user, with all optimisations."""
        ...

    def interface(self) -> tuple[list[str], list[str]]:
        """What the file itself, untouched, declares as its inputs and outputs, in its order: names
        as the manifest's `inputs` and `blobs` have them."""
        ...

    def other_forms(
        self, inputs: Mapping[str, NDArray[np.float32]]
    ) -> dict[str, dict[str, NDArray[np.float32]]]:
        """Output blobs as further files of the target make them, by what those files are."""
        ...

    def parameters(self) -> dict[str, NDArray[Any]]:
        """Every array that the files store, by the name that the manifest's `parameters` or
        `constants` gives it."""
        ...

    def version(self) -> str:
        """The framework's version."""
        ...
