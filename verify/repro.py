"""What a backend computed wrongly, a layer or a chain that it computes as one, as a net of its own:
the smallest thing to rerun."""

from __future__ import annotations

import re
import shlex
import zipfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prototxt import caffe_pb2 as pb
from prototxt.atomic import Staging
from prototxt.blob_keys import BlobKeys
from prototxt.caffemodel import write_caffemodel
from prototxt.errors import UsageError
from prototxt.input_layer import input_layer
from prototxt.layer_text import layer_text
from prototxt.layer_weights import LayerWeights
from prototxt.net import Blob, Layer, Net
from prototxt.parameters import Parameters
from verify.local import FAILURES, expected_of, expected_of_group
from verify.provenance import conversion_words
from verify.reference.crop_offsets import misplaced
from verify.sharing import Values
from verify.tolerance import DERIVED

__all__ = ["Repros", "write_repro"]

Arrays = Mapping[Blob, NDArray[Any]]

_CONVERTED = ("onnx", "pytorch", "mxnet")
"""Backends whose command converts; judges and files of other tools are run as they are."""
_ANEW = "The command converts {what} anew: where that passes, only the files were wrong."
_NET, _WEIGHTS = "net.prototxt", "net.caffemodel"
_NAME_LENGTH = 60  # of a file's name, so that no file system refuses it


class Repros:
    """The folders that one verification leaves behind: a backend's first fault, repro-BACKEND.

    Later sets of inputs, or inputs of other sizes, do not write over it; an earlier verification's
    folder is written over.

    Args:
        folder: in which these folders are made.
        backends: of which there may be some.
        options: what the command to rerun needs besides, such as `--rtol` or `--plugin`.
        opens: words that leave sizes open where a net can; given its definition, its phase, and
            which sizes were open.

    Raises:
        FileError: a file is where a folder is wanted.
    """

    def __init__(
        self,
        folder: Path,
        backends: Sequence[str] = (),
        options: Sequence[str] = (),
        opens: Callable[[str, str, Sequence[str]], Sequence[str]] = lambda *_: (),
    ) -> None:
        self._folder = folder
        self._opens = opens
        self._options = tuple(options)
        self._left: set[str] = set()
        for backend in backends:
            place = self._place(backend)
            if place.exists() and not place.is_dir():
                raise Staging.cannot(place, FileExistsError())

    def leave(
        self,
        net: Net,
        layers: Sequence[Layer],
        parameters: Parameters,
        blobs: Arrays,
        backend: str,
        problem: str,
        options: Sequence[str] = (),
        manifest: Mapping[str, Any] | None = None,
    ) -> Path | None:
        """Write a faulty layer, unless this backend has left one, the layer cannot take what it was
        fed, or it is a crop that begins elsewhere than it should: alone it states where.

        Args:
            net: the net that failed.
            layers: its layer; or a chain of them that the backend computes as one.
            parameters: the net's parameters.
            blobs: all that the backend made.
            backend: which one.
            problem: what was found.
            options: what the command needs for this backend.
            manifest: of the conversion that wrote its files, if one did.

        Returns:
            The folder, or None.
        """
        if backend in self._left or not misplaced(net, blobs).keys().isdisjoint(layers[-1].tops):
            return None
        values, first, last = Values(net, blobs), layers[0], layers[-1]
        inputs = {blob: values.read(blob, first) for blob in first.bottoms}
        fed = list(inputs.values())
        try:
            made, _ = (
                expected_of(last, net.phase, fed, parameters[last.index], DERIVED)
                if len(layers) == 1
                else expected_of_group(layers, net.phase, fed, parameters, DERIVED)
            )
        except FAILURES:  # inputs that the layer cannot take
            return None
        self._left.add(backend)
        expected = {top: exact for top, (exact, _, _) in zip(last.tops, made, strict=True)}
        got = {top: values.written(top, last) for top in last.tops}
        made_by = conversion_words(manifest, backend) if manifest is not None else []
        dynamic = manifest.get("dynamic", ()) if manifest is not None else ()
        return write_repro(
            self._place(backend), net, layers, parameters, inputs, expected, got, backend, problem,
            (*made_by, *self._options, *options),
            opens=lambda text: self._opens(text, net.phase, dynamic),
        )  # fmt: skip

    def _place(self, backend: str) -> Path:
        return self._folder / f"repro-{backend}"


def write_repro(
    folder: str | Path,
    net: Net,
    layers: Sequence[Layer],
    parameters: Parameters,
    inputs: Arrays,
    expected: Arrays,
    got: Arrays,
    backend: str,
    problem: str = "",
    options: Sequence[str] = (),
    artifact: bool = False,
    opens: Callable[[str], Sequence[str]] = lambda _: (),
) -> Path:
    """Write a net of one layer, or of a chain of them, with its parameters, what it was fed, and
    both results.

    net.prototxt, net.caffemodel (of layers with parameters), inputs/BLOB.npy, expected.npz and
    got.npz (of a layer with tops; keys are the net's blobs) and README.txt, all or none.  Blobs
    keep their names; of an in-place layer the bottom is "x@0" and the top "x".  A name that a
    command line cannot hold, empty or with "=" or control characters, is changed.

    Args:
        folder: where to; made if it is missing.
        net: the net that failed.
        layers: its layer; or several, each of which reads the top of the one before it.
        parameters: the net's parameters.
        inputs: at least the first layer's bottoms, as the backend made them; written as float32.
        expected: at least the last layer's tops, as the reference makes them from `inputs`.
        got: the last layer's tops, as far as the backend made them.
        backend: which `--backend` failed.
        problem: what was found, for README.txt.
        options: further options of the command, such as `--rtol` or `--plugin`.
        artifact: whether `backend` is a file of another tool's making, and the command is to judge
            what that tool makes of this net.
        opens: which words of the command open sizes of the net, given its definition.

    Returns:
        The folder.

    Raises:
        UsageError: an Input layer, which computes nothing.
        FileError: the files cannot be written.
    """
    for layer in layers:
        if layer.type == "Input":
            raise UsageError("an input computes nothing that could be repeated",
                             where=layer.where, layer=layer.name)  # fmt: skip
    target, tops = Path(folder), layers[-1].tops
    names = _blob_names(layers)
    fed = {blob: np.asarray(inputs[blob], np.float32) for blob in dict.fromkeys(layers[0].bottoms)}
    files = _file_names(names[blob] for blob in fed)
    arrays = {blob: f"inputs/{files[names[blob]]}.npy" for blob in fed}
    titles = _layer_names(layers)
    own = [LayerWeights(title, layer.type, parameters[layer.index])
           for title, layer in zip(titles, layers, strict=True)
           if parameters[layer.index]]  # fmt: skip
    case = _Case(net, layers, titles, names, fed, arrays, bool(own), backend, problem, artifact)
    definition = case.definition()
    words = [*opens(definition), *options]
    with Staging(target) as staging:
        _write_text(staging.place(_NET), definition)
        if own:
            write_caffemodel(staging.place(_WEIGHTS), net.name, own)
        for blob, array in fed.items():
            with staging.place(arrays[blob]).open("wb") as file:
                np.save(file, array, allow_pickle=False)
        wide = {blob: np.asarray(expected[blob], np.float64) for blob in tops}
        made = {blob: got[blob] for blob in tops if blob in got}
        for name, values in (("expected.npz", wide), ("got.npz", made)):
            _write_npz(staging.place(name), {names[blob]: a for blob, a in values.items()})
        _write_text(staging.place("README.txt"), case.readme(words))
    return target


@dataclass(frozen=True)
class _Case:
    """What the texts of a repro tell."""

    net: Net
    layers: Sequence[Layer]
    titles: Sequence[str]
    names: Mapping[Blob, str]
    fed: Arrays
    files: Mapping[Blob, str]
    weights: bool
    backend: str
    problem: str
    artifact: bool = False

    def definition(self) -> str:
        """The net: an Input layer a bottom, and the layers, in the phase that they had."""
        count = "One layer" if len(self.layers) == 1 else f"{len(self.layers)} layers"
        parts = [f"# {count} of {_on_one_line(self.net.path)}: see README.txt.\n"]
        for number, (blob, array) in enumerate(self.fed.items()):
            given = pb.LayerParameter(name=f"input{number}")
            parts.append(layer_text(input_layer(given, [self.names[blob]], [array.shape])))
        for title, layer in zip(self.titles, self.layers, strict=True):
            parts.append(layer_text(self._message(title, layer), layer.unknown))
        return "".join(parts)

    def _message(self, title: str, layer: Layer) -> Any:
        message = pb.LayerParameter()
        message.CopyFrom(layer.message)
        message.name = title
        message.bottom[:] = [self.names[blob] for blob in layer.bottoms]
        message.top[:] = [self.names[blob] for blob in layer.named_tops]
        if not message.HasField("phase"):
            message.phase = pb.TEST if self.net.phase == "TEST" else pb.TRAIN
        # Rules have been applied, and the parameters are in the weights.
        for name in ("include", "exclude", "blobs"):
            message.ClearField(name)
        return message

    def command(self, options: Sequence[str]) -> str:
        """What reruns the case, from within the folder."""
        words = ["verify", _NET]
        if self.weights:
            words.append(_WEIGHTS)
        if self.net.phase != "TEST":
            words += ["--phase", self.net.phase]
        for blob in self.fed:
            words += ["--input", f"{self.names[blob]}={self.files[blob]}"]
        how = ["--artifact", "FILE"] if self.artifact else ["--backend", self.backend]
        return shlex.join([*words, *how, *options])

    def readme(self, options: Sequence[str]) -> str:
        """What failed, what the files are, and the command."""
        chain, renamed = len(self.layers) > 1, self._renamed()
        what, its, it = ("the layers", "their", "them") if chain else ("the layer", "its", "it")
        parts = [f"{_NET} is {what} alone"]
        parts += [f"{_WEIGHTS} {its} parameters"] if self.weights else []
        parts += [f"inputs/ what {self.backend} fed {it}"] if self.fed else []
        anew = self.backend in _CONVERTED and not self.artifact
        titles = [f'Layer "{_on_one_line(one.name)}", {one.type}, {_on_one_line(one.where)}'
                  for one in self.layers]  # fmt: skip
        lines = [
            ",\n".join(titles) + ":",
            *(["The file computes these layers as one."] if chain else []),
            f"{self.backend} does not compute what Caffe computes from the same inputs.",
            *([_on_one_line(self.problem)] if self.problem else []),
            "",
            "To judge FILE, which the tool that made that file makes of this net, in this folder:"
            if self.artifact
            else "To rerun, in this folder:",
            "",
            f"  {self.command(options)}",
            "",
            ", ".join(parts) + ".",
            *([_ANEW.format(what=what)] if anew else []),
            "expected.npz is what the float64 reference makes of that, by blob,",
            f"got.npz what {self.backend} made.",
        ]
        if renamed:
            lines += ["", "Blobs under other names:", *renamed]
        return "\n".join([*lines, ""])

    def _renamed(self) -> list[str]:
        """A line for each blob under another name."""
        blobs = [blob for one in self.layers for blob in (*one.bottoms, *one.tops)]
        return [
            f'  {self.names[blob]!r} is the blob "{_on_one_line(blob)}"'
            for blob in dict.fromkeys(blobs)
            if self.names[blob] not in (blob.name, str(blob))
        ]


def _layer_names(layers: Sequence[Layer]) -> list[str]:
    """Names by which weights are told apart, which the net's own need not be."""
    names: list[str] = []
    for layer in layers:
        names.append(_unique(layer.name, {*names}))
    return names


def _blob_names(layers: Sequence[Layer]) -> dict[Blob, str]:
    """A name of its own for each blob of the layers: an in-place layer has two of the same name,
    and names both."""
    blobs = list(dict.fromkeys(b for layer in layers for b in (*layer.bottoms, *layer.tops)))
    last = {blob.name: blob.version for blob in sorted(blobs, key=lambda blob: blob.version)}
    keys = BlobKeys(last)
    names: dict[Blob, str] = {}
    for blob in blobs:
        name = keys.key(blob.name, blob.version, last[blob.name])
        usable = re.sub(r"[=\x00-\x1f\x7f-\x9f\u2028\u2029]", "_", name) or "blob"
        taken = {*names.values(), *(other.name for other in blobs if other.name != blob.name)}
        names[blob] = usable if usable == blob.name else _unique(usable, taken)
    for layer in layers:
        # Alone too, such a layer overwrites a bottom that it does not name among its tops.
        written = {top.name: names[top] for top in layer.tops[len(layer.named_tops) :]}
        names |= {blob: written[blob.name] for blob in layer.bottoms if blob.name in written}
    return names


def _file_names(names: Iterable[str]) -> dict[str, str]:
    """A file's name, less its suffix, for each text; different ones even where case is ignored."""
    files: dict[str, str] = {}
    for name in names:
        plain = re.sub(r"[^A-Za-z0-9_.@-]", "_", name)[:_NAME_LENGTH].strip(".") or "blob"
        taken = {file.lower() for file in files.values()}
        files[name] = _unique(plain, taken, ignore_case=True)
    return files


def _unique(name: str, taken: set[str], ignore_case: bool = False) -> str:
    number, found = 1, name
    while (found.lower() if ignore_case else found) in taken:
        number += 1
        found = f"{name}_{number}"
    return found


def _on_one_line(text: object) -> str:
    """For comments and messages, whatever a name holds."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in str(text))


def _write_text(path: Path, text: str) -> None:
    path.write_bytes(text.encode("utf-8", "replace"))


def _write_npz(path: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    """As `numpy.savez`, which takes no array of the name "file"."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
                np.save(file, array, allow_pickle=False)
