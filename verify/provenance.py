"""Whether files are those that a conversion's manifest speaks of, and what made them such."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from prototxt.net import Net
from prototxt.parameters import Parameters
from verify.runners.runner import Conversion, sha256

__all__ = ["conversion_words", "other_files"]


def other_files(
    net: Net, parameters: Parameters, conversion: Conversion, backends: Sequence[str]
) -> list[str]:
    """Notes on files that are not those of which the manifest speaks.  What they hold decides.

    Args:
        net: the net.
        parameters: its parameters.
        conversion: the converted files.
        backends: names of those that run; the files of other targets are not looked at.
    """
    manifest = conversion.manifest
    targets = [backend for backend in backends if backend in manifest["targets"]]
    notes = [
        f"{name} is no longer the file that was written: its sha256 is not the manifest's"
        for target in targets
        for name in conversion.changed(target)
    ]
    for what, path in (("net", net.path), ("weights", parameters.source)):
        entry = manifest[what]
        if what == "weights" and parameters.drawn:
            if not entry["drawn"]:
                notes.append(f"the files were converted with the weights {entry.get('name')}, "
                             "not with drawn ones")  # fmt: skip
        elif Path(path).is_file() and sha256(Path(path)) != entry.get("sha256"):
            was = entry.get("name", "drawn ones")
            notes.append(f"{path} is not the {what} that was converted ({was}): its sha256 is "
                         "not the manifest's")  # fmt: skip
    return notes


def conversion_words(manifest: Mapping[str, Any], target: str) -> list[str]:
    """The options of `verify` that convert a part of the net as a target's files were converted.

    An embedded preprocessing is left out: it is of the whole net's input.  So are open sizes, which
    a part of the net may fix.
    """
    options = manifest["targets"].get(target, {}).get("options")
    options = options if isinstance(options, dict) else {}
    words = ["--optimize"] if manifest.get("passes") else []
    words += ["--flat"] if options.get("flat") is True else []
    for name in ("dtype", "opset"):
        if name in options:
            words += [f"--{name}", str(options[name])]
    return words
