"""OpenCV before 5, whose `cv2.dnn` reads Caffe's own files: a judge of the source."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from prototxt.errors import UnsupportedError
from prototxt.net import Net
from verify.runners.judge import Array, Forward, KnownFault
from verify.runners.opencv_faults import FAULTS

__all__ = ["OpenCVEngine", "OpenCVJudge"]


class OpenCVEngine:
    """`cv2.dnn` on the CPU, layer for layer: without fusing, and without Winograd's convolutions,
    whose rounding is not bounded by the sum's.

    Raises:
        UnsupportedError: no OpenCV, or one that reads Caffe no longer.
    """

    def __init__(self) -> None:
        hint = "pip install 'decaffeinate[opencv]'"
        try:
            self._cv2: Any = import_module("cv2")
        except ImportError as error:
            raise UnsupportedError(f"OpenCV cannot be used: {error}", hint=hint) from None
        if int(self._cv2.__version__.partition(".")[0]) >= 5:
            raise UnsupportedError(
                f"OpenCV {self._cv2.__version__} reads Caffe nets no longer",
                expected="OpenCV before 5", hint=hint,
            )  # fmt: skip

    def version(self) -> str:
        """The version of OpenCV."""
        return f"OpenCV {self._cv2.__version__}"

    def run(
        self, net: Path, weights: Path | None, inputs: Mapping[str, Array]
    ) -> tuple[list[str], list[Sequence[Array]]]:
        """One forward pass: what OpenCV calls the layers, and the tops of each.

        Args:
            net: the prototxt.
            weights: a .caffemodel, None where there are no parameters.
            inputs: by blob name.

        Raises:
            UnsupportedError: OpenCV cannot read or run the net.
        """
        with self._silence():
            try:
                return self._run(net, weights, inputs)
            except self._cv2.error as error:
                reason = " ".join((error.err or str(error)).split())
                raise UnsupportedError(
                    f"OpenCV cannot run this net: {reason}", where=str(net),
                    hint="leave out --backend opencv",
                ) from None  # fmt: skip

    def _run(
        self, net: Path, weights: Path | None, inputs: Mapping[str, Array]
    ) -> tuple[list[str], list[Sequence[Array]]]:
        dnn = self._cv2.dnn
        files = [str(net)] if weights is None else [str(net), str(weights)]
        loaded = dnn.readNetFromCaffe(*files)
        loaded.setPreferableBackend(dnn.DNN_BACKEND_OPENCV)
        loaded.setPreferableTarget(dnn.DNN_TARGET_CPU)
        loaded.enableFusion(False)
        if hasattr(loaded, "enableWinograd"):
            loaded.enableWinograd(False)
        for name, array in inputs.items():
            loaded.setInput(np.ascontiguousarray(array), name)
        names = list(loaded.getLayerNames())
        return names, list(loaded.forwardAndRetrieve(names)) if names else []

    @contextmanager
    def _silence(self) -> Iterator[None]:
        """What fails is raised; there is no need to print it too."""
        # Releases differ in where they have it; 0 is silence.
        logging = getattr(self._cv2.utils, "logging", self._cv2)
        before = logging.getLogLevel()
        logging.setLogLevel(0)
        try:
            yield
        finally:
            logging.setLogLevel(before)


class OpenCVJudge:
    """Runs the prototxt in OpenCV, as `OpenCVEngine` does."""

    name = "OpenCV"
    faults: Sequence[KnownFault] = FAULTS
    engine = OpenCVEngine

    def __init__(self, engine: OpenCVEngine | None = None) -> None:
        self._engine = OpenCVEngine() if engine is None else engine

    def version(self) -> str:
        """See `Judge`."""
        return self._engine.version()

    def forward(self, net: Net, weights: Path | None, inputs: Mapping[str, Array]) -> Forward:
        """See `Judge`."""
        if net.phase != "TEST":
            raise UnsupportedError("OpenCV computes the phase TEST only", where=net.path,
                                   hint="leave out --phase TRAIN, or --backend opencv")  # fmt: skip
        names, made = self._engine.run(Path(net.path), weights, dict(inputs))
        called = _opencv_names(net)
        foreign = sorted(set(names).difference(*called.values()), key=names.index)
        if foreign:
            raise UnsupportedError(
                f"known fault of OpenCV: it ignores the rules of layers, and also runs "
                f"{', '.join(foreign)}",
                where=net.path, expected="a net of which rules leave out nothing",
            )  # fmt: skip
        return _by_blob(net, called, dict(zip(names, made, strict=True)))


def _opencv_names(net: Net) -> dict[int, tuple[str, ...]]:
    """By layer index, what OpenCV calls the layer: of the same names, all but the first are
    numbered.  A Convolution becomes a layer for each of its tops, called as that is."""
    seen: Counter[str] = Counter()
    names: dict[int, tuple[str, ...]] = {}
    for layer in net:
        number, seen[layer.name] = seen[layer.name], seen[layer.name] + 1
        names[layer.index] = (f"{layer.name}_{number}" if number else layer.name,)
        if layer.type == "Convolution":
            names[layer.index] = tuple(top.name for top in layer.tops)
    return names


def _by_blob(
    net: Net, called: Mapping[int, tuple[str, ...]], made: Mapping[str, Sequence[Array]]
) -> Forward:
    found = Forward()
    for layer in net:
        if not layer.tops or set(net.inputs).issuperset(layer.tops):
            continue
        own = [array for name in called[layer.index] for array in made.get(name, ())]
        for top, array in zip(layer.tops, own, strict=False):
            found.blobs[top] = np.array(array, np.float32)
        for top in layer.tops[len(own) :]:
            given = f"OpenCV gives {len(own)} of the layer's {len(layer.tops)} tops"
            found.absent[top] = given if own else "OpenCV runs no such layer"
    return found
