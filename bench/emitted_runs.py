"""Running converted nets against their peers: `python -m bench.emitted_runs FRAMEWORK FOLDER RUNS`.

A process of its own for each framework, since two in one process share neither threads nor memory
well.  It prints the seconds of each run as JSON, by what was run.  All run on one thread.  A peer
that does not give the converted net's results is no peer: that is an error.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import numpy as np

from bench.measure import in_turn

BATCHES = (1, 8)
STEM = "squeezenet_v1_1"
_SIZE = 227
Found = dict[str, list[float]]


def images(batch: int, size: int = _SIZE) -> np.ndarray:
    """Seeded images as the nets take them, (N, 3, size, size) float32."""
    values = np.random.default_rng(batch).uniform(-128, 128, (batch, 3, size, size))
    return values.astype(np.float32)


def folder_of(work: Path, batch: int) -> Path:
    """Where the net that was converted for a batch is."""
    return work / f"batch{batch}"


def _module(path: Path) -> Any:
    spec = spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _check(what: str, ours: np.ndarray, theirs: np.ndarray) -> None:
    """Both are the same function: probabilities agree to a small part of the greatest."""
    distance = float(np.abs(ours.ravel() - theirs.ravel()).max())
    if not distance <= 1e-4 * float(np.abs(ours).max()):
        sys.exit(f"error: {what} differs from the converted net by {distance:g}")


# --- PyTorch --------------------------------------------------------------------------------------


def pytorch(work: Path, runs: int) -> Found:
    """The emitted module and the hand-written one, eager and compiled."""
    import torch

    from bench.squeezenet_pytorch import SqueezeNet

    torch.set_num_threads(1)
    ours = _module(folder_of(work, 1) / f"{STEM}.py").load()
    theirs = SqueezeNet().eval()
    # Both keep their convolutions in the order in which they run.
    values = zip(theirs.state_dict(), ours.state_dict().values(), strict=True)
    theirs.load_state_dict(dict(values))
    found: Found = {}
    with torch.inference_mode():
        for batch in BATCHES:
            x = torch.from_numpy(images(batch))
            _check("the hand-written module", ours(x).numpy(), theirs(x).numpy())
            nets = {"eager": (ours, theirs)}
            if _compiles(torch):
                nets["compiled"] = (torch.compile(ours), torch.compile(theirs))
            for how, (mine, other) in nets.items():
                found |= in_turn(
                    {
                        f"emitted, {how}, batch {batch}": lambda net=mine, x=x: net(x),
                        f"hand-written, {how}, batch {batch}": lambda net=other, x=x: net(x),
                    },
                    runs,
                )
    return found


def _compiles(torch: Any) -> bool:
    """Whether torch.compile works here; it wants a C++ compiler."""
    try:
        torch.compile(torch.nn.ReLU())(torch.ones(2))
    except Exception as error:
        print(f"torch.compile does not work here: {error}", file=sys.stderr)
        return False
    return True


# --- ONNX -----------------------------------------------------------------------------------------


def onnx(work: Path, runs: int) -> Found:
    """SqueezeNet in onnxruntime and in OpenCV's Caffe importer; ResNet-50 plain and optimised."""
    import cv2

    cv2.setNumThreads(1)
    found: Found = {}
    x = images(1)
    net = cv2.dnn.readNetFromCaffe(
        str(work / "squeezenet_v1.1.prototxt"), str(work / "squeezenet_v1.1.caffemodel")
    )

    def opencv() -> np.ndarray:
        net.setInput(x)
        result: np.ndarray = net.forward()
        return result

    session = _session(folder_of(work, 1) / f"{STEM}.onnx")
    _check("OpenCV", session(x), opencv())
    found |= in_turn({"onnxruntime": lambda: session(x), "opencv": opencv}, runs)
    x = images(1, 224)
    plain, optimized = (_session(work / kind / "resnet50.onnx") for kind in ("plain", "optimized"))
    _check("the optimised net", plain(x), optimized(x))
    return found | in_turn({"optimised": lambda: optimized(x), "plain": lambda: plain(x)}, runs)


def _session(path: Path) -> Callable[[np.ndarray], np.ndarray]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    (entry,) = session.get_inputs()

    def run(x: np.ndarray) -> np.ndarray:
        result: np.ndarray = session.run(None, {entry.name: x})[0]
        return result

    return run


# --- MXNet ----------------------------------------------------------------------------------------


def mxnet(work: Path, runs: int) -> Found:
    """The emitted symbol, the emitted Gluon source, and a hand-written Gluon net, hybridized."""
    import mxnet as mx

    from bench.squeezenet_gluon import SqueezeNet

    found: Found = {}
    for batch in BATCHES:
        folder = folder_of(work, batch)
        ours = _module(folder / f"{STEM}_gluon.py").load()
        symbol = mx.gluon.SymbolBlock.imports(
            str(folder / f"{STEM}-symbol.json"), ["data"], str(folder / f"{STEM}-0000.params")
        )
        theirs = SqueezeNet()
        theirs.initialize()
        values = mx.nd.load(str(folder / f"{STEM}-0000.params")).values()
        for parameter, value in zip(theirs.collect_params().values(), values, strict=True):
            parameter.set_data(value)
        nets = {"emitted symbol": symbol, "emitted Gluon": ours, "hand-written Gluon": theirs}
        x = mx.nd.array(images(batch))
        for net in nets.values():
            net.hybridize(static_alloc=True, static_shape=True)
        for name, net in nets.items():
            _check(name, ours(x).asnumpy(), net(x).asnumpy())
        functions = {
            f"{name}, batch {batch}": lambda net=net, x=x: net(x).wait_to_read()
            for name, net in nets.items()
        }
        found |= in_turn(functions, runs)
    return found


FRAMEWORKS = {"pytorch": pytorch, "onnx": onnx, "mxnet": mxnet}


if __name__ == "__main__":
    print(json.dumps(FRAMEWORKS[sys.argv[1]](Path(sys.argv[2]), int(sys.argv[3]))))
