"""An ONNX file past protobuf's limit of 2 GiB, in its real size: takes 5 GB of disk and of memory.

What only decides between one file and two is tested small, in test_onnx.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import decaffeinate
from prototxt.weights import LayerWeights, write_caffemodel
from tests.frameworks import require, required

if "huge" not in required():
    pytest.skip("tox -e huge has it: it takes 5 GB of disk and of memory", allow_module_level=True)

INPUTS, UNITS = 130_000, 2_049
"""Two layers of these are 2,131 MB: more than fits beside a graph in 2 GiB, and less than the most
that a .caffemodel may hold."""
NET = f"""
layer {{ name: "data" type: "Input" top: "data" input_param {{ shape {{ dim: [1, {INPUTS}] }} }} }}
layer {{ name: "fc1" type: "InnerProduct" bottom: "data" top: "fc1"
        inner_product_param {{ num_output: {UNITS} }} }}
layer {{ name: "fc2" type: "InnerProduct" bottom: "data" top: "fc2"
        inner_product_param {{ num_output: {UNITS} }} }}
"""


def _weights() -> Iterator[LayerWeights]:
    for seed, name in enumerate(("fc1", "fc2")):
        generator = np.random.default_rng(seed)
        weight = generator.standard_normal((UNITS, INPUTS), np.float32)
        yield LayerWeights(
            name, "InnerProduct", (weight, generator.standard_normal(UNITS, np.float32))
        )


def test_a_file_past_2_gib(tmp_path: Path) -> None:
    require("onnx")
    runtime = require("onnxruntime")
    net, model = tmp_path / "huge.prototxt", tmp_path / "huge.caffemodel"
    net.write_text(NET)
    write_caffemodel(model, "Huge", list(_weights()))
    decaffeinate.convert(net, model, to="onnx", output=tmp_path / "out")
    model.unlink()
    assert (tmp_path / "out/huge.onnx").stat().st_size < 10_000
    assert (tmp_path / "out/huge.onnx.data").stat().st_size > 2**31 - 2**24
    data = np.random.default_rng(2).standard_normal((1, INPUTS), np.float32)
    session = runtime.InferenceSession(str(tmp_path / "out/huge.onnx"))
    found = dict(zip(("fc1", "fc2"), session.run(["fc1", "fc2"], {"data": data}), strict=True))
    for layer in _weights():
        weight, bias = layer.blobs
        expected = weight @ data[0] + bias
        magnitude = np.abs(weight) @ np.abs(data[0])
        # Sums of 130,000 products, here and there: each within the bound of any order of them.
        allowed = 2 * INPUTS * 2.0**-24 * (magnitude + np.abs(bias))
        assert np.all(np.abs(found[layer.name][0] - expected) <= allowed)
        # And nowhere near it, or another row's sum would pass as well.
        assert np.max(np.abs(found[layer.name][0] - expected)) < 1e-2
