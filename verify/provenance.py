"""Whether files are those that a conversion's manifest speaks of."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from prototxt.net import Net
from prototxt.parameters import Parameters
from verify.runners.runner import Conversion, sha256

__all__ = ["other_files"]


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
