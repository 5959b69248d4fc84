"""The golden Gluon files, and how these are emitted."""

from __future__ import annotations

from pathlib import Path

from converters.caffe import lower
from converters.emitter import Artifact, Provenance
from converters.mxnet import MXNetEmitter
from tests.emitted.cases import NETS
from tests.nets.drawn import drawn

__all__ = ["FOLDER", "emitted", "golden", "update"]

FOLDER = Path(__file__).parent / "gluon"


def golden(name: str) -> Path:
    """Where the golden file of a net lies."""
    return FOLDER / f"{name}.py"


def emitted(name: str, *size: int, flat: bool = False) -> list[Artifact]:
    """The symbol, the parameters and the source of a net with drawn weights."""
    provenance = Provenance("decaffeinate", f"{name} (tests/nets)", "drawn, not trained")
    graph = lower(*drawn(NETS[name](*size)))
    return MXNetEmitter(graph, name, provenance, flat=flat).emit()


def update() -> None:
    """Write all golden files anew."""
    FOLDER.mkdir(exist_ok=True)
    for name in NETS:
        emitted(name)[-1].write(golden(name))
