"""Files that appear complete or not at all."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

from prototxt.errors import FileError

__all__ = ["Staging", "atomic_file", "output_folders"]


class Staging:
    """Files of one folder that appear all together or not at all.

    Used as a context: inside it each file is written at the temporary path that `place` gives;
    leaving it puts all of them in place, an exception removes them.

    Raises:
        FileError: the folder or a file cannot be written.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._suffix = f".{secrets.token_hex(4)}.part"
        self._parts: dict[Path, Path] = {}
        self._made: list[Path] = []

    def __enter__(self) -> Staging:
        self._made = [path for path in (self.folder, *self.folder.parents) if not path.exists()]
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            self._forget()
            raise self.cannot(self.folder, error) from None
        return self

    def place(self, name: str) -> Path:
        """Where to write the file `name`, beside its final place; "a/b" makes the folder "a"."""
        final = self.folder / name
        if not final.parent.exists():
            final.parent.mkdir()
            self._made.insert(0, final.parent)
        part = final.with_name(f".{final.name}{self._suffix}")
        self._parts[final] = part
        return part

    def __exit__(self, kind: type[BaseException] | None, error: object, _: object) -> None:
        try:
            if kind is None:
                self._put_in_place()
                self._made = []
            elif isinstance(error, OSError):
                raise self.cannot(self.folder, error) from None
        finally:
            self._forget()

    def _forget(self) -> None:
        """Remove what is temporary, and folders that were made for nothing."""
        for part in self._parts.values():
            with contextlib.suppress(OSError):
                part.unlink()
        for folder in self._made:
            with contextlib.suppress(OSError):
                folder.rmdir()

    def _put_in_place(self) -> None:
        # What can be foreseen is refused before the first file is replaced.
        for final in self._parts:
            if final.is_dir():
                raise self.cannot(final, IsADirectoryError("there is a folder of that name"))
        for final, part in self._parts.items():
            try:
                os.replace(part, final)
            except OSError as error:
                raise self.cannot(final, error) from None

    @staticmethod
    def cannot(path: Path, error: OSError) -> FileError:
        """What a user is told where a file or folder cannot be written."""
        if isinstance(error, (FileExistsError, NotADirectoryError)):
            return FileError(
                "cannot be written: a file is where a folder is wanted",
                where=str(path),
                hint="choose another folder",
            )
        return FileError(
            f"cannot be written: {error.strerror or error}",
            where=str(path),
            hint="check that the folder may be written to and has room, or choose another",
        )


@contextlib.contextmanager
def atomic_file(path: str | Path) -> Iterator[BinaryIO]:
    """A binary file for writing that takes the place of `path` once the block has succeeded.

    Raises:
        FileError: the folder or the file cannot be written.
    """
    target = Path(path)
    with Staging(target.parent) as staging, staging.place(target.name).open("wb") as file:
        yield file


@contextlib.contextmanager
def output_folders(folders: Iterable[Path], files: Iterable[Path] = ()) -> Iterator[None]:
    """Folders that are there, and can be written to, before the work for them begins; those that
    were made and stayed empty are removed.

    So no work is lost to a place that cannot be written; and of several processes that write to
    one, one that fails does not remove the folder as the next begins to write there.

    Args:
        folders: made where they are missing.
        files: in these folders; no folder may be in the place of one.

    Raises:
        FileError: a folder cannot be made or written to.
    """
    made: dict[Path, None] = {}
    try:
        for folder in dict.fromkeys(folders):
            made.update((path, None) for path in (folder, *folder.parents) if not path.exists())
            with Staging(folder) as staging:
                _probe(staging)
        for file in files:
            if file.is_dir():
                raise Staging.cannot(file, IsADirectoryError("there is a folder of that name"))
        yield
    finally:
        for path in sorted(made, key=lambda path: -len(path.parts)):
            with contextlib.suppress(OSError):
                path.rmdir()


def _probe(staging: Staging) -> None:
    """Write to the folder, and leave nothing there."""
    probe = staging.folder / f".{secrets.token_hex(8)}.part"
    try:
        probe.write_bytes(b"1")
    except OSError as error:
        raise Staging.cannot(staging.folder, error) from None
    finally:
        with contextlib.suppress(OSError):
            probe.unlink()
