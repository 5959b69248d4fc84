"""The nets of the golden files, and how these are emitted."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import squeezenet_ref
from converters.caffe import lower
from converters.emitter import Artifact, Provenance
from converters.pytorch import PyTorchEmitter
from tests.nets.drawn import drawn
from tests.nets.published import densenet121, googlenet, resnet50

__all__ = ["FOLDER", "NETS", "emitted", "golden", "update"]

FOLDER = Path(__file__).parent / "pytorch"


def _squeezenet(size: int = 227) -> str:
    return squeezenet_ref.generate("1.1", fillers="reference", input_size=size, batch=1)


NETS: dict[str, Callable[..., str]] = {
    "squeezenet_v1_1": _squeezenet,
    "googlenet": googlenet,
    "resnet50": resnet50,
    "densenet121": densenet121,
}
"""By the stem of the file, from the size of an image, or none for the published one, to the
definition."""


def golden(name: str) -> Path:
    """Where the golden file of a net lies."""
    return FOLDER / f"{name}.py"


def emitted(name: str, *size: int) -> list[Artifact]:
    """The files of a net with drawn weights."""
    provenance = Provenance("decaffeinate", f"{name} (tests/nets)", "drawn, not trained")
    return PyTorchEmitter(lower(*drawn(NETS[name](*size))), name, provenance).emit()


def update() -> None:
    """Write all golden files anew."""
    FOLDER.mkdir(exist_ok=True)
    for name in NETS:
        source, _ = emitted(name)
        source.write(golden(name))
