"""`convert --labels`: what the classes are called, for files that can hold it."""

from __future__ import annotations

from pathlib import Path

from ir import Graph
from prototxt.errors import FileError, UsageError
from prototxt.files import read_start

__all__ = ["read_class_names"]

_WANTED = "a text file with the name of a class in each line, that of class 0 first"


def read_class_names(path: Path, graph: Graph) -> list[str]:
    """The lines of a file, one a class, as Caffe's synset_words.txt has them; blank lines at the
    end do not count.

    Raises:
        FileError: no text, or a blank line before the last name.
        UsageError: no output of the graph has as many channels as the file has names.
    """
    read_start(path, _WANTED)
    try:
        lines = path.read_text(encoding="utf-8-sig").rstrip().splitlines()
    except UnicodeDecodeError:
        raise FileError("this is no UTF-8 text", where=str(path), expected=_WANTED) from None
    names = [line.strip() for line in lines]
    if not all(names):
        where = f"{path}:{names.index('') + 1}" if names else str(path)
        raise FileError("this line names no class", where=where, expected=_WANTED)
    sizes = {value.name: value.shape[1] for value in graph.outputs if len(value.shape) > 1}
    if len(names) not in sizes.values():
        has = ", ".join(f'"{name}" {size}' for name, size in sizes.items())
        raise UsageError(
            f"{len(names)} names of classes fit no output",
            where=str(path),
            expected=f"as many as an output has channels: {has or 'no output has any'}",
        )
    return names
