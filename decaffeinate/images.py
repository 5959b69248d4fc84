"""`verify --images`: a folder of images through a net's own preprocessing, and what they say."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from decaffeinate import api
from decaffeinate.file_options import refuse_for_files, refuse_without_effect
from decaffeinate.image_inputs import MEAN, embedded_image, mean_file, mean_of
from decaffeinate.keywords import CheckOptions, WriteOptions
from prototxt.errors import FileError, UsageError
from prototxt.files import read_start
from prototxt.net import Blob, Preprocessing
from verify.detections import detection_outputs
from verify.discrete import discrete_blobs
from verify.forward import BACKENDS
from verify.image_agreement import Batch, agreement
from verify.inputs import seeded_inputs
from verify.isolation import isolation_of
from verify.report import Report
from verify.runners.runner import read_conversion
from verify.transformer import read_pixels, transform

if TYPE_CHECKING:
    from typing import Unpack

__all__ = ["Images", "read_labels", "verify_images"]

_ENDINGS = frozenset((".bmp", ".gif", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp"))
Array = NDArray[np.float32]


@dataclass(frozen=True)
class Images:
    """The images of a folder, in the order of their names, for one input of a net."""

    loaded: api.Loaded
    paths: Sequence[Path]
    input: str
    how: Preprocessing
    mean: Array | None

    @staticmethod
    def of(
        loaded: api.Loaded,
        folder: Path,
        mean: str | None,
        writing: Mapping[str, Any] | None = None,
    ) -> Images:
        """Those of `folder`, and of folders in it.

        Args:
            loaded: the net.
            folder: the folder.
            mean: as `--mean` takes it, for images that are resized to the input; None for what the
                net's own data layer does, or 104,117,123 without one.
            writing: the options of the conversion; where it embeds a preprocessing, images are
                scaled as there.

        Raises:
            FileError: no folder, no images in it, or no mean file.
            UsageError: no input of the net takes images.
        """
        if not folder.is_dir():
            raise FileError("this is no folder", where=str(folder), expected="a folder of images")
        paths = sorted(p for p in folder.rglob("*") if p.suffix.lower() in _ENDINGS and p.is_file())
        if not paths:
            raise FileError("there are no images in this folder", where=str(folder),
                            expected="files such as .jpg or .png")  # fmt: skip
        shapes = {blob.name: loaded.shapes.blobs[blob] for blob in loaded.net.inputs}
        fits = [name for name, s in shapes.items() if len(s) == 4 and s[1] in (1, 3)]
        if not fits:
            raise UsageError("no input of the net takes an image", where=str(folder),
                             expected="an input of shape (N, 1 or 3, H, W)")  # fmt: skip
        own = {entry.blob: entry for entry in loaded.net.preprocessing}
        name = next((name for name in fits if name in own), fits[0])
        embedded = embedded_image(loaded, writing or {})
        factor = 1.0 if embedded is None else embedded.scale
        if mean is not None or name not in own:
            found = mean_of(MEAN if mean is None else mean, shapes[name])
            image = np.broadcast_to(found, shapes[name][1:]).astype(np.float32)
            return Images(loaded, paths, name, Preprocessing(name, (), "", "", scale=factor), image)
        how = own[name] if embedded is None else replace(own[name], scale=factor)
        return Images(loaded, paths, name, how, mean_file(how, Path(loaded.net.path).parent))

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the input."""
        return next(self.loaded.shapes.blobs[b] for b in self.loaded.net.inputs
                    if b.name == self.input)  # fmt: skip

    def batches(self, progress: Callable[[str], None] = lambda _: None) -> Iterator[Batch]:
        """As many at once as the net takes; the last batch is filled up with its last image."""
        noise = seeded_inputs(self.loaded.net, self.loaded.shapes, self.loaded.seed)
        number = self.shape[0]
        for start in range(0, len(self.paths), number):
            paths = self.paths[start : start + number]
            progress(f"images {start + 1} to {start + len(paths)} of {len(self.paths)}")
            arrays = [self._read(path) for path in paths]
            arrays += [arrays[-1]] * (number - len(arrays))
            yield Batch([path.name for path in paths], {**noise, self.input: np.stack(arrays)})

    def _read(self, path: Path) -> Array:
        pixels = read_pixels(path, self.shape[1])
        height, width = self.shape[2:]
        return transform(pixels, self.how, (height, width), self.mean, str(path))


def read_labels(path: Path, names: Sequence[str]) -> dict[str, int]:
    """Class numbers by image, as Caffe's ImageData lists them: a line `NAME NUMBER` an image.

    Raises:
        FileError: another format, or no line for any of the images.
    """
    wanted = "a line NAME NUMBER an image, as in cat.jpg 281"
    read_start(path, wanted)
    found = {}
    for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines()):
        if not line.strip():
            continue
        name, _, label = line.strip().rpartition(" ")
        if not name or not label.isdecimal():
            raise FileError("this line is no label", where=f"{path}:{number + 1}", expected=wanted)
        found[Path(name.strip()).name] = int(label)
    if not found.keys() & set(names):
        raise FileError("this file has no label for any of the images", where=str(path),
                        expected=wanted)  # fmt: skip
    return found


def verify_images(
    loaded: api.Loaded,
    folder: Path,
    *,
    mean: str | None = None,
    labels: Path | None = None,
    backends: Sequence[str],
    manifest: Path | None = None,
    writing: WriteOptions | None = None,
    progress: Callable[[str], None] = lambda _: None,
    **checks: Unpack[CheckOptions],
) -> Report:
    """Verify a net blob by blob on the first batch of the images, and its outputs on all of them,
    which the report's `images` tell of.

    Args:
        loaded: the net.
        folder: of the images.
        mean: see `Images.of`.
        labels: see `read_labels`.
        backends: as for `decaffeinate.verify`, as what follows; `checks` are its further arguments.
        manifest: of an earlier conversion; by default the net is converted.
        writing: options of the conversion, as `decaffeinate.convert` takes them.
        progress: told what is being done.

    Raises:
        DecaffeinateError: see `prototxt.errors`.
    """
    chosen = writing or {}
    if manifest is not None:
        refuse_for_files(chosen, "--converted")
    images = Images.of(loaded, folder, mean, chosen)
    names = [path.name for path in images.paths]
    known = read_labels(labels, names) if labels is not None else {}
    targets = [backend for backend in backends if backend in BACKENDS]
    with ExitStack() as stack:
        if manifest is None:
            place = stack.enter_context(tempfile.TemporaryDirectory(prefix="decaffeinate-"))
            refuse_without_effect(chosen, targets, "--backend")
            manifest = api.convert(loaded, to=targets, output=place, progress=progress,
                                   **chosen).manifest  # fmt: skip
        first = next(images.batches())
        title = first.names[0] if len(first.names) == 1 else f"{len(first.names)} images"
        report = api.verify(loaded, backends=backends, manifest=manifest, progress=progress,
                            feeds={title: first.inputs}, **checks)  # fmt: skip
        conversion = read_conversion(manifest)
        isolation = isolation_of(backends, checks.get("isolate", False),
                                 checks.get("python") or {}, checks.get("timeout"))  # fmt: skip
        failed = {result.backend for result in report.results if result.problem is not None}
        runners = {
            name: isolation.start(name, BACKENDS[name], conversion)
            for name in targets
            if name not in failed
        }
        report.images = agreement(
            loaded.net, loaded.parameters, _outputs(images), runners,
                         images.batches(progress), known)  # fmt: skip
    report.notes += _left_out(images, [name for name in backends if name not in targets])
    return report


def _left_out(images: Images, judges: Sequence[str]) -> list[str]:
    """Notes on what is compared on the first batch alone, where there are more."""
    if len(images.paths) <= images.shape[0]:
        return []
    compared = _outputs(images)
    others = [blob.name for blob in _computed(images) if blob.name not in compared]
    alone = f"compared on the first {images.shape[0]} of {len(images.paths)} images alone"
    notes = [f'output "{name}" is {alone}: its values are positions or shares, or no image has '
             "an item of its own in it" for name in others]  # fmt: skip
    return notes + [f"{name} is {alone}: it is a judge of the source" for name in judges]


def _computed(images: Images) -> list[Blob]:
    """The net's outputs, but for inputs that no layer reads."""
    net = images.loaded.net
    return [blob for blob in net.outputs if blob not in net.inputs]


def _outputs(images: Images) -> list[str]:
    """Outputs with an item an image whose values are no choices between near equals."""
    net, shapes = images.loaded.net, images.loaded.shapes
    chosen = {*discrete_blobs(net), *detection_outputs(net)}
    return [
        blob.name
        for blob in _computed(images)
        if blob not in chosen and shapes.blobs[blob][:1] == images.shape[:1]
    ]
