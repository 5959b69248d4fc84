"""Which nets the arguments of a command name, which weights belong to each, and where each one's
files go."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from prototxt.bn_form import with_stored_form
from prototxt.errors import DecaffeinateError, FileError, PrototxtError, UsageError, WeightsError
from prototxt.files import is_binary, net_stem, read_start, read_text, what_it_is
from prototxt.load import load_net
from prototxt.net import Net
from prototxt.parameters import bind_parameters
from prototxt.shapes import NetShapes, infer_shapes
from prototxt.text import parse_fields
from prototxt.weights import read_weights

__all__ = ["Found", "Gathered", "choose_weights", "gather", "places"]

_LAYER = re.compile(r"\blayers?\s*:?\s*[\[{<]")
_HEAD = re.compile(r"\s*(#[^\n]*(\n\s*|\Z))*(\w+\s*[:{]|\Z)")
_WEIGHTS = (".caffemodel", ".caffemodel.h5")
"""Files of these names are meant as weights, even where a download left something else in them."""
_LISTED = 5


@dataclass(frozen=True)
class Found:
    """A net to work on.

    `weights` are those named after it.  A net found in a folder has `searched`, that folder as it
    was given, and `candidates`, the files beside the net that may hold its weights.
    """

    net: Path
    weights: Path | None = None
    searched: Path | None = None
    candidates: tuple[Path, ...] = ()


@dataclass(frozen=True)
class Gathered:
    """What the arguments come to.

    `several` tells one net, named with or without its weights, from everything else, a folder with
    one net included.  `passed_over` are texts of the folders that define no net.
    """

    nets: tuple[Found, ...]
    several: bool
    passed_over: tuple[Path, ...] = ()


# --- arguments ------------------------------------------------------------------------------------


def gather(arguments: Sequence[Path]) -> Gathered:
    """Nets, each perhaps followed by its weights, and folders, told apart by content.

    A net that is named counts as it is named, even if it is also found in a folder.

    Where there are weights alone, and neither definitions nor folders, each is the net inside it.

    Raises:
        UsageError: a net is named twice, or a folder holds none.
        FileError: a folder that cannot be read, or weights in the place of a net.
    """
    alone = all(is_binary(path) for path in arguments)
    nets: list[Found] = []
    passed_over: list[Path] = []
    takes_weights = False
    for path in arguments:
        if path.is_dir():
            found, texts = _search(path)
            nets += found
            passed_over += texts
            takes_weights = False
        elif takes_weights and not _is_net(path):
            nets[-1] = replace(nets[-1], weights=path)
            takes_weights = False
        else:
            if not alone:
                _refuse_weights(path)
            nets.append(Found(path))
            takes_weights = not alone
    folders = any(net.searched is not None for net in nets)
    kept = _once(nets)
    return Gathered(kept, folders or len(kept) > 1, tuple(dict.fromkeys(passed_over)))


def _is_net(path: Path) -> bool:
    """Whether an argument that may be weights is the next net: a text, or a missing one."""
    try:
        kind = what_it_is(read_start(path, ""))
    except FileError:
        return path.suffix == ".prototxt" and not path.exists()
    return kind.kind == "prototxt" if kind is not None else _defines_net(path)


def _refuse_weights(path: Path) -> None:
    """Refuse weights in the place of a net: pairs in the wrong order would be paired wrongly."""
    try:
        kind = what_it_is(read_start(path, ""))
    except FileError:
        return  # the net's own failure
    if kind is not None and kind.kind in ("binary", "hdf5"):
        read_text(path)  # says so


def _once(nets: Sequence[Found]) -> tuple[Found, ...]:
    """Each file once, in order."""
    named: set[str] = set()
    for net in nets:
        if net.searched is None:
            if _identity(net.net) in named:
                raise UsageError(
                    "this net is given twice",
                    where=str(net.net),
                    expected="each net once, with or without its weights",
                    hint="other weights for the same net go into a second call",
                )
            named.add(_identity(net.net))
    kept: dict[str, Found] = {}
    for net in nets:
        if net.searched is None or _identity(net.net) not in named:
            kept.setdefault(_identity(net.net), net)
    return tuple(kept.values())


def _identity(path: Path) -> str:
    return os.path.realpath(path)


# --- folders --------------------------------------------------------------------------------------


def _search(folder: Path) -> tuple[list[Found], list[Path]]:
    """The nets in and below a folder, and the texts that define none; hidden files are left out."""
    nets: list[Found] = []
    texts: list[Path] = []
    stored = 0
    for where, below, names in os.walk(folder, onerror=_unreadable):
        below[:] = sorted(name for name in below if not name.startswith("."))
        paths = [Path(where, name) for name in sorted(names) if not name.startswith(".")]
        sorts = {path: _sort(path) for path in paths if path.is_file()}
        weights = tuple(path for path, sort in sorts.items() if sort == "weights")
        stored += len(weights)
        nets += [Found(path, None, folder, weights) for path, s in sorts.items() if s == "net"]
        texts += [path for path, sort in sorts.items() if sort == "text"]
    if not nets:
        raise UsageError(
            "no network definition is in this folder or below it",
            where=str(folder),
            expected="network definitions (.prototxt), or a net and its weights as files",
            hint="name a .caffemodel itself for the net that Caffe stored in it"
            if stored
            else None,
        )
    return nets, texts


def _unreadable(error: OSError) -> None:
    raise FileError(
        f"this folder cannot be read: {error.strerror or error}", where=str(error.filename)
    )


def _sort(path: Path) -> str:
    """What a file of a folder is taken for: a "net", "weights", another protobuf "text", or "".

    A .prototxt or .caffemodel that a download spoilt (an HTML page, a git-LFS pointer) is what its
    name says: its net then fails, which is better than leaving it out without a word.
    """
    try:
        found = what_it_is(read_start(path, ""))
        kind = found.kind if found is not None else "unknown"
    except FileError:
        kind = "unreadable"
    if path.name.endswith(_WEIGHTS) or (kind in ("binary", "hdf5") and path.suffix != ".prototxt"):
        return "weights"
    if kind in ("prototxt", "unknown") and _defines_net(path):
        return "net"
    if path.suffix == ".prototxt":
        return "text" if kind in ("prototxt", "unknown") else "net"
    return "text" if kind == "prototxt" else ""


def _defines_net(path: Path) -> bool:
    """Whether a text has layers; one with layers that breaks the syntax is a net with an error."""
    try:
        # All of a file is only read where its start may be protobuf text.
        if not _HEAD.match(_decoded(read_start(path, ""))):
            return False
        text = _decoded(path.read_bytes())
    except (FileError, OSError):
        return False
    if not _LAYER.search(text):
        return False
    try:
        fields = parse_fields(text, str(path))
    except PrototxtError:
        return True
    return any(field.name in ("layer", "layers") for field in fields)


def _decoded(raw: bytes) -> str:
    wide = raw.startswith((b"\xff\xfe", b"\xfe\xff"))
    return raw.decode("utf-16" if wide else "utf-8-sig", "replace")


# --- weights --------------------------------------------------------------------------------------


def choose_weights(found: Found, options: Mapping[str, Any]) -> Path | None:
    """The weights of a net: those named; of a folder's files the one of the same stem, else the
    only one that fits; None where there is nothing to choose from, or the net has no parameters.

    Args:
        found: the net.
        options: as `decaffeinate.load` takes them.

    Raises:
        WeightsError: several files fit, or there are weights and none fits.
        DecaffeinateError: the net itself cannot be read.
    """
    if found.weights is not None or not found.candidates:
        return found.weights
    from decaffeinate.plugins import read_with_plugins

    names = ("phase", "stages", "level", "input_shapes", "input_layers", "crop_offsets")
    state = {name: options[name] for name in names if name in options}
    net, _ = read_with_plugins(options.get("plugins", ()), lambda: load_net(found.net, **state))
    shapes = infer_shapes(net)
    if not any(shapes.params.values()):
        return None
    misfits = _misfits(net, shapes, found.candidates)
    akin = [path for path in misfits if _stem(path) == _stem(found.net)]
    if len(akin) == 1:
        return akin[0]
    considered = akin or list(misfits)
    fitting = [path for path in considered if misfits[path] is None]
    if considered and len(fitting) != 1:
        raise _undecided(found.net, fitting, misfits)
    return fitting[0] if fitting else None


def _misfits(net: Net, shapes: NetShapes, files: Sequence[Path]) -> dict[Path, str | None]:
    """For each file that holds weights, or is named as if it did, why it does not fit, if so."""
    misfits: dict[Path, str | None] = {}
    for path in files:
        meant = path.name.endswith(_WEIGHTS)
        try:
            weights = read_weights(path, net, shapes)
            meant = True
            meant_net = with_stored_form(net, weights)
            bind_parameters(meant_net, infer_shapes(meant_net), weights)
        except DecaffeinateError as error:
            if meant or (isinstance(error, WeightsError) and path.suffix in (".h5", ".hdf5")):
                misfits[path] = error.details[0] if error.details else error.what
        else:
            misfits[path] = None
    return misfits


def _undecided(
    net: Path, fitting: Sequence[Path], misfits: Mapping[Path, str | None]
) -> WeightsError:
    if fitting:
        what = f"{len(fitting)} weights files beside this net fit it"
        details = [path.name for path in fitting]
    else:
        what = "no weights file beside this net fits it"
        details = [f"{path.name}: {reason}" for path, reason in misfits.items()]
    if len(details) > _LISTED:
        details[_LISTED:] = [f"and {len(details) - _LISTED} more"]
    return WeightsError(
        what,
        where=str(net),
        details=details,
        expected="one of the net's own stem, or only one that has its layers, by name and shape",
        hint=f"name the pair, alone or beside the folder: {net} WEIGHTS; "
        "or the net alone, for drawn parameters",
    )


def _stem(path: Path) -> str:
    """A name without what only tells the kind of file."""
    name = path.name.removesuffix(".prototxt")
    for ending in (".h5", ".caffemodel"):
        name = name.removesuffix(ending)
    return name if name != path.name else path.stem


# --- where files go -------------------------------------------------------------------------------


def places(nets: Sequence[Path]) -> list[tuple[Path, str]]:
    """For each net a folder, relative to that of the output, and the stem of its files.

    The folder is that of the output itself.  Where two nets would write files of one name, all go
    to folders that mirror those of the nets; where these are the same too, to one named after the
    net's file.  Names that differ in case only count as the same, since some file systems do so.

    Raises:
        UsageError: names cannot be kept apart.
    """
    from decaffeinate.conversion import file_stem

    stems = [file_stem(net_stem(net)) for net in nets]
    placed = [(Path(), stem) for stem in stems]
    if _clashing(placed):
        placed = list(zip(_mirrored(nets), stems, strict=True))
    for index in _clashing(placed):
        folder, stem = placed[index]
        placed[index] = folder / nets[index].name, stem
    clash = [str(nets[index]) for index in _clashing(placed)]
    if clash:
        raise UsageError("the files of these nets would have the same names", details=clash,
                         hint="convert them one by one, with --name")  # fmt: skip
    return placed


def _clashing(placed: Sequence[tuple[Path, str]]) -> list[int]:
    """Indices of those that share a name; NAME_gluon.py is written for NAME too."""
    claims: dict[tuple[str, str], set[int]] = {}
    for index, (folder, stem) in enumerate(placed):
        for name in (stem, f"{stem}_gluon"):
            claims.setdefault((str(folder).casefold(), name.casefold()), set()).add(index)
    return sorted(set().union(*(group for group in claims.values() if len(group) > 1)))


def _mirrored(nets: Sequence[Path]) -> list[Path]:
    """The folders of the nets, relative to the innermost folder that holds all of them."""
    folders = [Path(os.path.abspath(net)).parent for net in nets]
    try:
        base = Path(os.path.commonpath(folders))
    except ValueError:  # several drives
        return [Path(folder.drive.rstrip(":"), *folder.parts[1:]) for folder in folders]
    return [folder.relative_to(base) for folder in folders]
