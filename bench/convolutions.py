"""Which algorithm a backend's convolution is: the measurements behind docs/rounding.md on Winograd.

`python -m bench.convolutions` prints, for 3 x 3 and 5 x 5 convolutions of stride 1 of several sizes
and batches, the greatest error over gamma(n) (|W| |x| + |b|) in each framework, with its default
settings and, for torch, with oneDNN off.  A direct sum stays below 1.  Winograd's does not where
magnitudes differ within a tile: the second column of each has a 1000 in every tile of numbers of
size 1.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from importlib import import_module
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from verify.rounding_array import gamma

Array = NDArray[Any]
Convolution = Callable[[Array, Array], Array]

SIZES = (
    # batch, channels, filters, side, kernel
    (1, 1, 1, 24, 3), (1, 64, 64, 56, 3), (1, 256, 256, 14, 3), (16, 1, 1, 24, 3),
    (16, 64, 64, 28, 3), (32, 128, 128, 14, 3), (64, 16, 32, 28, 3), (16, 32, 32, 28, 5),
)  # fmt: skip


def onnxruntime(x: Array, w: Array) -> Array:
    """Conv of onnxruntime's CPU provider."""
    onnx, runtime = import_module("onnx"), import_module("onnxruntime")
    helper, kind = onnx.helper, onnx.TensorProto.FLOAT
    names = {"x": x, "w": w}
    given = [helper.make_tensor_value_info(n, kind, array.shape) for n, array in names.items()]
    pads = [w.shape[2] // 2] * 4
    node = helper.make_node("Conv", ["x", "w"], ["y"], pads=pads)
    top = helper.make_tensor_value_info("y", kind, None)
    graph = helper.make_graph([node], "one", given[:1], [top],
                              [onnx.numpy_helper.from_array(w, "w")])  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
    session = runtime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    made: Array = session.run(None, {"x": x})[0]
    return made


def torch(x: Array, w: Array, onednn: bool = True) -> Array:
    """conv2d of torch, in inference mode."""
    t = import_module("torch")
    off = nullcontext() if onednn else t.backends.mkldnn.flags(enabled=False)
    with t.inference_mode(), off:
        made: Array = t.nn.functional.conv2d(
            t.from_numpy(x), t.from_numpy(w), padding=w.shape[2] // 2
        ).numpy()
    return made


def mxnet(x: Array, w: Array) -> Array:
    """Convolution of MXNet."""
    nd = import_module("mxnet").nd
    made: Array = nd.Convolution(
        nd.array(x), nd.array(w), kernel=w.shape[2:], pad=(w.shape[2] // 2,) * 2,
        num_filter=w.shape[0], no_bias=True,
    ).asnumpy()  # fmt: skip
    return made


def opencv(x: Array, w: Array) -> Array:
    """Convolution of OpenCV's importer as it comes, which is known to use Winograd."""
    cv2, onnx = import_module("cv2"), import_module("onnx")
    helper, kind = onnx.helper, onnx.TensorProto.FLOAT
    node = helper.make_node("Conv", ["x", "w"], ["y"], pads=[w.shape[2] // 2] * 4,
                            kernel_shape=list(w.shape[2:]))  # fmt: skip
    info = [helper.make_tensor_value_info(n, kind, a.shape) for n, a in (("x", x), ("y", x))]
    info[1] = helper.make_tensor_value_info("y", kind, (x.shape[0], w.shape[0], *x.shape[2:]))
    graph = helper.make_graph([node], "one", info[:1], info[1:],
                              [onnx.numpy_helper.from_array(w, "w")])  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 11)], ir_version=7)
    net = cv2.dnn.readNetFromONNX(np.frombuffer(model.SerializeToString(), np.uint8))
    net.setInput(x)
    made: Array = net.forward()
    return made


BACKENDS: dict[str, Convolution] = {
    "onnxruntime": onnxruntime,
    "torch": torch,
    "torch, oneDNN off": lambda x, w: torch(x, w, onednn=False),
    "mxnet": mxnet,
    "OpenCV (a judge, Winograd on)": opencv,
}


def exact(x: Array, w: Array) -> tuple[Array, Array]:
    """The float64 result and gamma(n) |W| |x|."""
    pad = w.shape[2] // 2
    padded = np.pad(x.astype(np.float64), [(0, 0), (0, 0), (pad, pad), (pad, pad)])
    last: Any = (2, 3)  # a tuple is fine, whatever NumPy's stubs say
    windows = sliding_window_view(padded, w.shape[2:], last)
    wide = w.astype(np.float64)
    axes = ((1, 4, 5), (1, 2, 3))
    value = np.moveaxis(np.tensordot(windows, wide, axes), -1, 1)
    mass = np.moveaxis(np.tensordot(np.abs(windows), np.abs(wide), axes), -1, 1)
    return value, gamma(int(np.prod(w.shape[1:]))) * mass


def inputs(size: tuple[int, int, int, int, int], spread: bool) -> tuple[Array, Array]:
    """x and w; with `spread`, each fourth row and column of x is 1000 times as large."""
    batch, channels, filters, side, kernel = size
    draw = np.random.default_rng(0)
    x = draw.standard_normal((batch, channels, side, side)).astype(np.float32)
    if spread:
        x[:, :, ::4, ::4] *= 1000
    return x, draw.standard_normal((filters, channels, kernel, kernel)).astype(np.float32)


def rows() -> Iterator[str]:
    """The table's lines, as Markdown."""
    yield "| Batch, channels, filters, side, kernel | " + " | ".join(BACKENDS) + " |"
    yield "|---" * (len(BACKENDS) + 1) + "|"
    for size in SIZES:
        cells = []
        for run in BACKENDS.values():
            shares = []
            for spread in (False, True):
                x, w = inputs(size, spread)
                value, bound = exact(x, w)
                shares.append(float((np.abs(run(x, w) - value) / bound).max()))
            cells.append(f"{shares[0]:.2g}, {shares[1]:.2g}")
        yield f"| {', '.join(map(str, size))} | {' | '.join(cells)} |"


if __name__ == "__main__":
    warnings.filterwarnings("ignore")
    for row in rows():
        print(row, flush=True)
