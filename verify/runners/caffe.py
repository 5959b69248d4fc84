"""Caffe itself, as far as there is one: any pycaffe on PYTHONPATH or in another Python, a judge of
the source."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from prototxt.errors import UnsupportedError
from prototxt.net import Net
from verify.runners import caffe_process
from verify.runners.caffe_process import CaffeError, CaffeProcess
from verify.runners.judge import Array, Forward, KnownFault

__all__ = ["CaffeEngine", "CaffeJudge"]


class CaffeEngine:
    """pycaffe in this process.

    Raises:
        UnsupportedError: no pycaffe can be imported.
    """

    program = Path(caffe_process.__file__)
    needs = "a Python from 3.6 on that has NumPy and pycaffe"

    def __init__(self) -> None:
        self._process: CaffeProcess = self._told(CaffeProcess)

    def version(self) -> str:
        """See `CaffeProcess`."""
        return self._process.version()

    def run(self, *arguments: Any) -> list[list[Array]]:
        """See `CaffeProcess`.

        Raises:
            UnsupportedError: where `CaffeProcess` refuses.
        """
        made: list[list[Array]] = self._told(self._process.run, *arguments)
        return made

    @staticmethod
    def _told(call: Any, *arguments: Any) -> Any:
        try:
            return call(*arguments)
        except CaffeError as error:
            raise UnsupportedError(
                error.what, where=error.where, expected=error.expected, hint=error.hint
            ) from None


class CaffeJudge:
    """Runs the prototxt in pycaffe, one layer after the other."""

    name = "Caffe"
    faults: Sequence[KnownFault] = ()
    engine = CaffeEngine

    def __init__(self, engine: CaffeEngine | None = None) -> None:
        self._engine = CaffeEngine() if engine is None else engine

    def version(self) -> str:
        """See `Judge`."""
        return self._engine.version()

    def forward(self, net: Net, weights: Path | None, inputs: Mapping[str, Array]) -> Forward:
        """See `Judge`."""
        if net.preprocessing or net.unsized:
            raise UnsupportedError(
                "Caffe would read the data of this net's data layers itself", where=net.path,
                expected="a net with inputs, such as its deploy.prototxt",
            )  # fmt: skip
        layers = [layer for layer in net if layer.type != "Input"]
        asked = [(layer.name, [top.name for top in layer.tops]) for layer in layers]
        made = self._engine.run(Path(net.path), weights, net.phase, net.level, list(net.stages),
                                dict(inputs), asked)  # fmt: skip
        found = Forward()
        for layer, tops in zip(layers, made, strict=False):  # up to the first that did not run
            found.blobs |= dict(zip(layer.tops, tops, strict=True))
        for layer in layers[len(made) :]:
            found.absent |= dict.fromkeys(layer.tops, "Caffe runs no such layer")
        return found
