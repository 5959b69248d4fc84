"""Caffe itself, as far as there is one: any pycaffe on PYTHONPATH, a judge of the source."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from prototxt.errors import UnsupportedError
from prototxt.net import Net
from verify.runners.judge import Array, Forward, KnownFault

__all__ = ["CaffeJudge"]


class CaffeJudge:
    """Runs the prototxt in pycaffe, one layer after the other, so that what an in-place layer
    rewrites is seen as well.  What Caffe refuses ends the whole process: its checks abort.

    Raises:
        UnsupportedError: no pycaffe can be imported.
    """

    name = "Caffe"
    faults: Sequence[KnownFault] = ()

    def __init__(self) -> None:
        try:
            self._caffe: Any = import_module("caffe")
        except Exception as error:  # an old pycaffe fails in many ways under a new Python
            raise UnsupportedError(
                f"pycaffe cannot be used: {type(error).__name__}: {error}",
                expected="a pycaffe that this Python can import",
                hint="put the folder python/ of a built Caffe on PYTHONPATH",
            ) from None

    def version(self) -> str:
        """The version of pycaffe, which old ones do not tell."""
        return f"Caffe {getattr(self._caffe, '__version__', '(of unknown version)')}"

    def forward(self, net: Net, weights: Path | None, inputs: Mapping[str, Array]) -> Forward:
        """See `Judge`."""
        if net.preprocessing or net.unsized:
            raise UnsupportedError(
                "Caffe would read the data of this net's data layers itself", where=net.path,
                expected="a net with inputs, such as its deploy.prototxt",
            )  # fmt: skip
        self._caffe.set_mode_cpu()
        try:
            loaded = self._load(net, weights)
            for name, array in inputs.items():
                loaded.blobs[name].reshape(*array.shape)
            loaded.reshape()
            for name, array in inputs.items():
                loaded.blobs[name].data[...] = array
            return _by_layer(net, loaded)
        except (RuntimeError, KeyError, ValueError) as error:
            raise UnsupportedError(f"Caffe cannot run this net: {error}", where=net.path) from None

    def _load(self, net: Net, weights: Path | None) -> Any:
        phase = self._caffe.TEST if net.phase == "TEST" else self._caffe.TRAIN
        stored = () if weights is None else (str(weights),)
        if not net.level and not net.stages:
            return self._caffe.Net(net.path, *stored, phase)  # as every pycaffe takes it
        given = {"weights": stored[0]} if stored else {}
        return self._caffe.Net(net.path, phase, level=net.level, stages=list(net.stages), **given)


def _by_layer(net: Net, loaded: Any) -> Forward:
    """The tops of each layer right after it ran; Caffe's list has Split layers of its own in it."""
    found = Forward()
    rest = [layer for layer in net if layer.type != "Input"]
    for index, name in enumerate(loaded._layer_names):
        loaded._forward(index, index)
        if rest and rest[0].name == name:
            for top in rest.pop(0).tops:
                found.blobs[top] = np.array(loaded.blobs[top.name].data, np.float32)
    for layer in rest:
        found.absent |= dict.fromkeys(layer.tops, "Caffe runs no such layer")
    return found
