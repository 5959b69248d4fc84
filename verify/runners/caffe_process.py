"""Caffe itself: what runs in the Python that has pycaffe, here or as a program of its own.

A pycaffe lives in the Python that it was built for, seldom one that runs the rest of this project.
So this file imports nothing of ours, only NumPy and caffe, and is written for Python 3.6 and later:
`python caffe_process.py FOLDER` talks as docs/isolation.md describes.
"""

import json
import os
import sys
import threading
from queue import Queue
from typing import Any

import numpy as np

__all__ = ["CaffeError", "CaffeProcess", "main"]


class CaffeError(Exception):
    """What a user is to be told: `what`, and `where`, `expected` and `hint` or None."""

    def __init__(self, what: str, where: Any = None, expected: Any = None, hint: Any = None):
        Exception.__init__(self, what)
        self.what = what
        self.where, self.expected, self.hint = where, expected, hint


class CaffeProcess:
    """Runs a prototxt in pycaffe.  What Caffe refuses ends the whole process: its checks abort.

    Raises:
        CaffeError: no pycaffe can be imported.
    """

    def __init__(self) -> None:
        try:
            import caffe  # type: ignore[import-not-found, unused-ignore]
        except Exception as error:  # an old pycaffe fails in many ways under a new Python
            raise CaffeError(
                f"pycaffe cannot be used: {type(error).__name__}: {error}",
                expected="a pycaffe that this Python can import",
                hint="put the folder python/ of a built Caffe on PYTHONPATH, or name the Python "
                "that has it: --python caffe=PATH",
            ) from None
        self._caffe: Any = caffe

    def version(self) -> str:
        """The version of pycaffe, which old ones do not tell."""
        return f"Caffe {getattr(self._caffe, '__version__', '(of unknown version)')}"

    def run(
        self, path: Any, weights: Any, phase: str, level: int, stages: Any, inputs: Any, layers: Any
    ) -> Any:
        """One forward pass, layer after layer, so that what an in-place layer rewrites is seen too.

        Args:
            path: the prototxt.
            weights: a .caffemodel, or None.
            phase: TEST or TRAIN.
            level: of the net's state.
            stages: of the net's state.
            inputs: arrays by blob.
            layers: name and tops of each layer that is asked for, in order.

        Returns:
            The tops, float32, of each of `layers` right after it ran, up to the first that did not.

        Raises:
            CaffeError: Caffe cannot run the net, and has not ended the process.
        """
        self._caffe.set_mode_cpu()
        try:
            net = self._load(str(path), weights, phase, level, list(stages))
            for name, array in inputs.items():
                net.blobs[name].reshape(*array.shape)
            net.reshape()
            for name, array in inputs.items():
                net.blobs[name].data[...] = array
            return _by_layer(net, layers)
        except (RuntimeError, KeyError, ValueError) as error:
            raise CaffeError(f"Caffe cannot run this net: {error}", where=str(path)) from None

    def _load(self, path: str, weights: Any, phase: str, level: int, stages: Any) -> Any:
        number = self._caffe.TEST if phase == "TEST" else self._caffe.TRAIN
        stored = () if weights is None else (str(weights),)
        if not level and not stages:
            return self._caffe.Net(path, *stored, number)  # as every pycaffe takes it
        given = {"weights": stored[0]} if stored else {}
        return self._caffe.Net(path, number, level=level, stages=stages, **given)


def _by_layer(net: Any, layers: Any) -> Any:
    """Caffe's list has Split layers of its own in it."""
    found: Any = []
    for index, name in enumerate(net._layer_names):
        net._forward(index, index)
        if len(found) < len(layers) and layers[len(found)][0] == name:
            tops = layers[len(found)][1]
            found.append([np.array(net.blobs[top].data, np.float32) for top in tops])
    return found


# --- as a program ---------------------------------------------------------------------------------


def main(folder: str) -> None:
    """Answer requests until the standard input ends."""
    requests: Any = Queue()
    threading.Thread(target=_listen, args=(requests,), daemon=True).start()
    caffe: Any = None
    while True:
        number = requests.get()
        asked = os.path.join(folder, number + ".in.npz")
        try:
            message = _read(asked)
            os.remove(asked)
            if caffe is None:
                caffe = CaffeProcess()
                answer = {"result": None}
            else:
                answer = {"result": getattr(caffe, message["call"])(*message["arguments"])}
            _write(folder, number, answer)
        except BaseException as error:  # whatever it is, the caller is told
            _write(folder, number, {"error": _described(error)})


def _listen(requests: Any) -> None:
    """The process ends with its standard input, whatever Caffe is busy with; the caller removes the
    folder."""
    for line in sys.stdin:
        requests.put(line.strip())
    os._exit(0)


def _described(error: BaseException) -> Any:
    if not isinstance(error, CaffeError):
        return {"kind": None, "what": f"{type(error).__name__}: {error}"}
    return {"kind": "UnsupportedError", "what": error.what, "where": error.where, "layer": None,
            "expected": error.expected, "hint": error.hint, "details": []}  # fmt: skip


def _read(path: str) -> Any:
    with np.load(path, allow_pickle=False) as file:
        return _unpacked(json.loads(file["message"].tobytes().decode()), file)


def _unpacked(value: Any, arrays: Any) -> Any:
    if isinstance(value, list):
        return [_unpacked(item, arrays) for item in value]
    if not isinstance(value, dict):
        return value
    kind = value["$"]
    if kind == "array":
        return arrays[value["name"]]
    if kind == "path":
        return value["path"]
    if kind == "dict":
        return {key: _unpacked(item, arrays) for key, item in value["items"]}
    if kind == "tuple":
        return tuple(_unpacked(item, arrays) for item in value["items"])
    raise ValueError(f"a value of the unknown kind {kind!r}")


def _write(folder: str, number: str, content: Any) -> None:
    arrays: Any = {}
    text = json.dumps(_packed(content, arrays)).encode()
    part = os.path.join(folder, "." + number + ".part")
    with open(part, "wb") as file:
        np.savez(file, message=np.frombuffer(text, np.uint8), **arrays)
    os.replace(part, os.path.join(folder, number + ".out.npz"))


def _packed(value: Any, arrays: Any) -> Any:
    if isinstance(value, np.ndarray):
        name = f"a{len(arrays)}"
        arrays[name] = value
        return {"$": "array", "name": name}
    if isinstance(value, list):
        return [_packed(item, arrays) for item in value]
    if isinstance(value, dict):
        return {"$": "dict", "items": [[key, _packed(item, arrays)] for key, item in value.items()]}
    return value


if __name__ == "__main__":
    main(sys.argv[1])
