"""Winograd's convolutions, which torch takes without oneDNN from a batch of 16 on, are no fault."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import decaffeinate
from tests.frameworks import require
from verify.runners.runner import read_conversion

NET = """
input: "data" input_shape { dim: 16 dim: 1 dim: 24 dim: 24 }
layer { name: "c" type: "Convolution" bottom: "data" top: "c"
  convolution_param { num_output: 1 kernel_size: 3 pad: 1 weight_filler { type: "xavier" } } }
"""


def spread() -> np.ndarray:
    """Noise with numbers 1000 times as large in every tile."""
    x = np.random.default_rng(0).standard_normal((16, 1, 24, 24)).astype(np.float32)
    x[:, :, ::4, ::4] *= 1000
    return x


@pytest.mark.parametrize("onednn", [True, False])
def test_winograd_raises_no_alarm(onednn: bool, tmp_path: Path) -> None:
    require("torch")
    import torch

    path = tmp_path / "net.prototxt"
    path.write_text(NET)
    loaded = decaffeinate.load(path)
    done = decaffeinate.convert(loaded, to=["pytorch"], output=tmp_path)
    with torch.backends.mkldnn.flags(enabled=onednn):
        report = decaffeinate.verify(
            loaded, manifest=done.manifest, backends=["pytorch"],
            feeds={"spread": {"data": spread()}},
        )  # fmt: skip
    (result,) = report.results
    assert report.passed, [row.text for row in result.blobs if not row.passed]
    assert {row.kind for row in result.blobs} == {"local", "optimised"}
    assert max(row.ratio for row in result.blobs if row.kind == "local") < 1
    assert "without NNPACK" in report.environment["torch's convolutions"]
    assert read_conversion(done.manifest).changed("pytorch") == []


@pytest.mark.parametrize("onednn", [True, False])
def test_nor_in_a_file_of_another_tool(onednn: bool, tmp_path: Path) -> None:
    require("torch")
    import torch

    path = tmp_path / "net.prototxt"
    path.write_text(NET)
    loaded = decaffeinate.load(path)
    (index,) = (one.index for one in loaded.net if one.type == "Convolution")
    weight, bias = (torch.from_numpy(np.array(p, np.float32)) for p in loaded.parameters[index])
    layer = torch.nn.Conv2d(1, 1, 3, padding=1)
    layer.load_state_dict({"weight": weight, "bias": bias})
    torch.jit.trace(layer.eval(), torch.zeros(16, 1, 24, 24)).save(str(tmp_path / "theirs.pt"))
    with torch.backends.mkldnn.flags(enabled=onednn):
        report = decaffeinate.verify_artifact(
            loaded, artifact=tmp_path / "theirs.pt", feeds={"spread": {"data": spread()}}
        )
    assert report.passed, [row.text for row in report.results[0].blobs if not row.passed]
    assert "without NNPACK" in report.environment["torch's convolutions"]
