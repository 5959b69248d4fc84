"""Files that appear complete or not at all."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from prototxt.errors import FileError

__all__ = ["atomic_file"]


@contextlib.contextmanager
def atomic_file(path: str | Path) -> Iterator[BinaryIO]:
    """A binary file for writing that takes the place of `path` once the block has succeeded.

    It is written beside `path` under a temporary name, which is removed if anything fails.

    Raises:
        FileError: the folder or the file cannot be written.
    """
    target = Path(path)
    try:
        descriptor, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    except OSError as error:
        raise _cannot_write(target, error) from None
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
        # mkstemp makes private files; give what a plain open() would have given.
        mask = os.umask(0)
        os.umask(mask)
        os.chmod(name, 0o666 & ~mask)
        os.replace(name, target)
    except BaseException as error:
        with contextlib.suppress(OSError):
            os.unlink(name)
        if isinstance(error, OSError):
            raise _cannot_write(target, error) from None
        raise


def _cannot_write(path: Path, error: OSError) -> FileError:
    return FileError(
        f"cannot be written: {error.strerror or error}",
        where=str(path),
        hint="check that the folder exists, may be written to, and has room",
    )
