"""What a file really is, told from its first bytes: the accidents that happen to downloads."""

from __future__ import annotations

import re
from dataclasses import dataclass
from difflib import SequenceMatcher
from pathlib import Path

from prototxt.errors import FileError

__all__ = ["Kind", "is_binary", "name_of", "net_stem", "read_start", "read_text", "what_it_is"]

_START = 4096


@dataclass(frozen=True)
class Kind:
    """A recognised kind of file: a stable word, the name to show, and what the user can do."""

    kind: str
    name: str
    hint: str


_KINDS: tuple[tuple[re.Pattern[bytes], Kind], ...] = tuple(
    (re.compile(pattern, re.IGNORECASE | re.DOTALL), Kind(kind, name, hint))
    for pattern, kind, name, hint in (
        (rb"\s*version https://git-lfs", "lfs", "a git-LFS pointer",
         "fetch the real file with `git lfs pull`"),
        (rb"(\xef\xbb\xbf)?\s*(<!--.*?-->\s*)?<(!doctype|html|head|\?xml)", "html",
         "an HTML or XML page",
         "download the raw file: on GitHub use the \"Raw\" button, not the page about the file"),
        (rb"404: Not Found\s*\Z", "missing", "the answer of a server that has no such file",
         "correct the address that it was downloaded from"),
        (rb"\x89HDF\r\n\x1a\n", "hdf5", "an HDF5 file", "give it as the weights, not as the net"),
        (rb"\xff\xd8\xff", "image", "a JPEG image", "an image goes to --image"),
        (rb"\x89PNG\r\n", "image", "a PNG image", "an image goes to --image"),
        (rb"\x1f\x8b", "gzip", "a gzip archive", "unpack it first"),
        (rb"PK\x03\x04", "zip", "a zip archive (PyTorch and NumPy .npz files are zip archives too)",
         "unpack it first, or give the file that Caffe wrote"),
        (rb"\x80[\x02-\x05]", "pickle", "a Python pickle",
         "give the file that Caffe wrote; pickles are never loaded"),
        (rb"\x93NUMPY", "npy", "a NumPy array", "give the file that Caffe wrote"),
        (rb".{4}\0{4}\{\"", "safetensors", "a safetensors file", "give the file that Caffe wrote"),
        (rb"[\x01-\x0f]*\x08[\x01-\x14]\x12.\w+", "onnx", "an ONNX model",
         "it is already out of Caffe"),
    )
)  # fmt: skip
_TEXT = re.compile(rb"[\t-\r\x20-\x7e\x80-\xff]*")
_PROTOTXT = re.compile(rb"\s*(#[^\n]*\n\s*)*\w+\s*[:{]")


def name_of(path: Path) -> str:
    """A file's name to be written into texts; bytes that are no UTF-8 are replaced."""
    return path.name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def read_start(path: Path, wanted: str) -> bytes:
    """The first bytes of a file.

    Raises:
        FileError: the file is missing, a folder, unreadable or empty.
    """
    try:
        with path.open("rb") as file:
            start = file.read(_START)
    except FileNotFoundError:
        near = _beside(path)
        hint = "found beside it: " + ", ".join(near) if near else "check the path"
        raise FileError("no such file", where=str(path), expected=wanted, hint=hint) from None
    except IsADirectoryError:
        raise FileError("this is a folder", where=str(path), expected=wanted) from None
    except (OSError, ValueError) as error:  # ValueError: a null byte in the path
        reason = getattr(error, "strerror", None) or str(error)
        raise FileError(f"cannot be read: {reason}", where=str(path), expected=wanted) from None
    if not start:
        raise FileError(
            "the file is empty", where=str(path), expected=wanted, hint="download or copy it again"
        )
    return start


def _beside(path: Path) -> list[str]:
    """Names of files of the same kind in the same folder, the most alike first."""
    if not path.suffix:
        return []
    try:
        names = sorted(p.name for p in path.parent.iterdir() if p.suffix == path.suffix)
    except OSError:
        return []
    names.sort(key=lambda name: -SequenceMatcher(None, path.name, name).ratio())
    return names[:5]


def what_it_is(start: bytes) -> Kind | None:
    """The kind of a file by its first bytes, or None where they tell nothing."""
    for pattern, kind in _KINDS:
        if pattern.match(start):
            return kind
    if start.startswith((b"\xff\xfe", b"\xfe\xff")):
        return None
    if b"\0" in start or not _TEXT.fullmatch(start):
        return Kind(
            "binary", "a binary file", "if it holds weights, give it after the net's .prototxt"
        )
    if _PROTOTXT.match(start):
        return Kind(
            "prototxt", "a text file such as a .prototxt", "give the binary weights instead"
        )
    return None


def is_binary(path: Path) -> bool:
    """Whether a file is none of the kinds that are told by their first bytes, and no text; False if
    it cannot be read."""
    try:
        found = what_it_is(read_start(path, ""))
    except FileError:
        return False
    return found is not None and found.kind == "binary"


def net_stem(path: Path) -> str:
    """The name of a net's file without what tells its kind."""
    return path.name.removesuffix(".prototxt").removesuffix(".caffemodel")


def read_text(path: Path) -> str:
    """The text of a `.prototxt`, in whatever encoding.

    Raises:
        FileError: the file is missing, empty, or evidently something else.
    """
    start = read_start(path, "a network definition (.prototxt)")
    found = what_it_is(start)
    if found is not None and found.kind != "prototxt":
        raise FileError(
            f"this is {found.name}, not a network definition",
            where=str(path),
            expected="protobuf text such as `layer { ... }`",
            hint=found.hint,
        )
    raw = path.read_bytes()
    if raw.startswith((b"\xff\xfe", b"\xfe\xff")):
        return raw.decode("utf-16", "replace")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        return raw.decode("latin-1")  # comments in any encoding are common; names stay distinct
