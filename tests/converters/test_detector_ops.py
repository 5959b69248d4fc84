"""The ops of detectors in every target, written once for open sizes, and run at several."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from converters.emitter import Provenance
from ir import Graph, Node, Op, Parameter, Value, constant
from ir import ops as o
from tests.converters.graph_interpreter import MEANINGS
from tests.frameworks import require

Array = np.ndarray
Dims = tuple[int | str, ...]


def boxes_of(count: int, each: int, images: int, seed: int) -> Array:
    """Boxes (N, P, each, 4) of which many overlap."""
    generator = np.random.default_rng(seed)
    low = generator.uniform(0, 0.6, (images, count, each, 2))
    return np.concatenate([low, low + generator.uniform(0.1, 0.5, low.shape)], 3).astype(np.float32)


NMS = {
    "every_class": (o.MulticlassNms(0, 0.1, 0.4), 1),
    "top_k": (o.MulticlassNms(1, 0.2, 0.4, top_k=7, keep_top_k=11), 3),
    "keep_top_k": (o.MulticlassNms(-1, 0.0, 0.5, keep_top_k=20), 1),
    "eta": (o.MulticlassNms(0, 0.1, 0.7, eta=0.9, top_k=9, keep_top_k=8), 1),
    "agnostic": (o.MulticlassNms(-1, 0.1, 0.4, agnostic=True, first_label=2), 1),
    "agnostic_top_k": (o.MulticlassNms(-1, 0.1, 0.4, 1.0, 10, 6, agnostic=True), 3),
}
TARGETS = ("onnx", "pytorch", "mxnet")
CHOICES = [
    (target, name) for target in TARGETS for name in NMS if (target, name) != ("mxnet", "eta")
]
"""MXNet refuses `eta`, which tests/verify/test_open_priors.py shows."""


@pytest.mark.parametrize("batch", [2, "batch"], ids=["batch_2", "any_batch"])
@pytest.mark.parametrize("declared", [3, 40])
@pytest.mark.parametrize(("target", "name"), CHOICES)
def test_a_choice_among_any_number_of_boxes(
    target: str, name: str, declared: int, batch: int | str, tmp_path: Path
) -> None:
    op, each = NMS[name]
    values = [
        Value("boxes", (2, declared, each, 4), (batch, "count", each, 4)),
        Value("scores", (2, declared, 3), (batch, "count", 3)),
    ]
    run = _runner(target, op, values, (1, 1, "found", 7), tmp_path)
    for count in (1, 3, 12, 40, 50):
        images = 2 if batch == 2 else 1 + count % 3
        scores = np.random.default_rng(count).uniform(size=(images, count, 3)).astype(np.float32)
        given = boxes_of(count, each, images, count), scores
        want = MEANINGS[o.MulticlassNms](op, *(array.astype(float) for array in given))
        got = run(*given)
        assert got.shape == want.shape
        np.testing.assert_allclose(got, want, atol=1e-6)


PRIORS = {
    "of_both_sizes": o.PriorBoxes(),
    "stepped": o.PriorBoxes(0.25, 7.5, 11.0, clip=True),
    "stated": o.PriorBoxes(image_h=50, image_w=81),
    "all_stated": o.PriorBoxes(-1.5, 8.0, 4.0, 50, 81),
}
AROUND = constant("around", [[-9, -5.5, 9, 5.5], [-2, -3, 4, 5]])
VARIANCES = constant("variances", [0.1, 0.2, 0.3, 0.4])


@pytest.mark.parametrize("opened", ["both", "height", "width", "image", "none"])
@pytest.mark.parametrize("name", PRIORS)
@pytest.mark.parametrize("target", TARGETS)
def test_priors_where_some_sizes_are_open(
    target: str, name: str, opened: str, tmp_path: Path
) -> None:
    op = PRIORS[name]
    height, width = opened in ("both", "height"), opened in ("both", "width")
    maps = Value("maps", (1, 3, 4, 5), (1, 3, "h" if height else 4, "w" if width else 5))
    image = Value("image", (1, 3, 60, 80), (1, 3, "H", "W") if opened != "none" else None)
    values: list[Value] = [maps, AROUND, VARIANCES] + ([] if op.image_h else [image])
    made: Dims = (1, 2, "length" if height or width else 160)
    run = _runner(target, op, values, made, tmp_path)
    for rows, columns, tall, wide in ((4, 5, 60, 80), (1, 7, 33, 41), (6, 1, 299, 7)):
        given = [np.zeros((1, 3, rows if height else 4, columns if width else 5), np.float32)]
        if not op.image_h:
            size = (tall, wide) if opened != "none" else (60, 80)
            given.append(np.zeros((1, 3, *size), np.float32))
        want = MEANINGS[o.PriorBoxes](op, given[0], AROUND.data, VARIANCES.data, *given[1:])
        got = run(*given)
        assert got.shape == want.shape
        np.testing.assert_allclose(got, want, rtol=1e-6, atol=1e-6)


def _runner(
    target: str, op: Op, values: Sequence[Value], made: Dims, folder: Path
) -> Callable[..., Array]:
    """What runs the op, written for a target, on arrays of the inputs."""
    inputs = [value for value in values if not isinstance(value, Parameter)]
    (shape,) = op.infer([value.shape for value in values])
    y = Value("y", shape, made if any(isinstance(size, str) for size in made) else None)
    graph = Graph("net", inputs, [y], blobs={"y": y}, versions={("y", 0): y})
    graph.nodes = [Node(op, tuple(values), (y,), "y")]
    graph.validate()
    names = [value.name for value in inputs]
    if target == "onnx":
        onnxruntime = require("onnxruntime")
        from converters.onnx import OnnxEmitter

        (file,) = OnnxEmitter(graph, "net", Provenance("test 0", "net", "weights")).emit()
        file.write(folder / "net.onnx")
        session = onnxruntime.InferenceSession(str(folder / "net.onnx"))
        known = {entry.name for entry in session.get_inputs()}

        def onnx_run(*arrays: Array) -> Array:
            feed = {n: a for n, a in zip(names, arrays, strict=True) if n in known}
            return np.asarray(session.run(None, feed)[0])

        return onnx_run
    from tests.verify.passes import every_blob

    if target == "pytorch":
        require("torch")
        from tests.converters import pytorch_conversion
        from verify.runners.pytorch import PyTorchRunner

        torch_runner = PyTorchRunner(pytorch_conversion.write(graph, folder))
        return lambda *arrays: every_blob(torch_runner, dict(zip(names, arrays, strict=True)))["y"]
    require("mxnet")
    from tests.converters import mxnet_conversion
    from tests.converters.test_mxnet_open import runs

    conversion = mxnet_conversion.write(graph, folder)
    return lambda *arrays: runs(conversion, *arrays)
