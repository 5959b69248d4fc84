"""Golden ONNX files, as text: what is emitted is them, and it computes the nets; the bytes of a few
are the same on every machine, Python and run."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

from tests.emitted.cases import NETS
from tests.frameworks import require
from tests.golden_cases import Case, assert_matches
from tests.nets.drawn import drawn
from verify.reference import run as reference

onnx = require("onnx")

from tests.emitted.onnx_text import DIGESTS, GOLDENS, as_text, digests, golden, written  # noqa: E402

NODES = {
    ("squeezenet_v1_1", ""): 65,
    ("googlenet", ""): 142,
    ("resnet50", ""): 282,
    ("resnet50", "optimized"): 123,
    ("densenet121", ""): 669,
    ("densenet121", "optimized"): 430,
}
"""How many each has: of ResNet-50, 53 convolutions with BatchNorm (1 node) and Scale (2), 49 ReLU,
16 sums, 2 poolings, Flatten, Gemm and Softmax; the passes leave one node of the first four."""
SIZE = 40


@pytest.mark.parametrize(("name", "form"), GOLDENS)
def test_it_is_emitted_again_line_by_line(name, form, tmp_path):
    model = onnx.load(str(written(tmp_path, name, form)))
    onnx.checker.check_model(model)
    assert as_text(model).splitlines() == golden(name, form).read_text("utf-8").splitlines()
    assert len(model.graph.node) == NODES[name, form]


@pytest.mark.parametrize(("name", "form"), GOLDENS)
def test_it_computes_what_the_reference_does(name, form, tmp_path):
    runtime = require("onnxruntime")
    session = runtime.InferenceSession(str(written(tmp_path, name, form, SIZE)))
    net, shapes, parameters = drawn(NETS[name](SIZE))
    image = np.random.default_rng(0).normal(size=shapes.blobs[net.inputs[0]]).astype(np.float32)
    want = reference(net, parameters.arrays, {"data": image})
    blobs = {blob.name: value for blob, value in want.items()}
    (got,) = session.run(["prob"], {"data": image})
    assert_matches(got, blobs["prob"], 1e-4, "prob")
    assert 0 < float(blobs["prob"].max()) < 0.9


def test_bytes_are_those_that_were_recorded(tmp_path):
    assert digests(tmp_path) == json.loads(DIGESTS.read_text("utf-8"))


def test_bytes_do_not_depend_on_the_hash_seed(tmp_path):
    case = Case("nets/resnet_narrow")
    runs = []
    for seed in ("0", "1", "4711"):
        folder = tmp_path / seed
        done = subprocess.run(
            [sys.executable, "-m", "decaffeinate", "convert", str(case.net_path),
             str(case.weights_path), "--to", "all", "--optimize", "-o", str(folder)],
            env={**os.environ, "PYTHONHASHSEED": seed,
                 "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        runs.append({path.name: path.read_bytes() for path in folder.iterdir()})
    assert len(runs[0]) == 7
    assert runs[0] == runs[1] == runs[2]
