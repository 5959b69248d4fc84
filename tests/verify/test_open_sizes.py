"""Files of open sizes, on every backend, at three sizes each, against the reference."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import decaffeinate
from prototxt.errors import UnsupportedError
from tests.frameworks import require
from tests.real_models import paths
from tests.verify.test_backends import PACKAGES
from verify.forward import BACKENDS

FILLERS = "weight_filler { type: 'xavier' } bias_filler { type: 'gaussian' std: 0.1 }"


def net_of(shape: str, *layers: str) -> str:
    dims = " ".join(f"dim: {n}" for n in shape.split())
    head = 'name: "n" layer { name: "in" type: "Input" top: "data" input_param { shape { %s } } }'
    return "\n".join([head % dims, *layers])


def conv(name: str, bottom: str, settings: str, kind: str = "Convolution") -> str:
    return (
        f'layer {{ name: "{name}" type: "{kind}" bottom: "{bottom}" top: "{name}" '
        f"convolution_param {{ {settings} {FILLERS} }} }}"
    )


def layer(name: str, kind: str, bottoms: str, settings: str = "") -> str:
    reads = " ".join(f'bottom: "{bottom}"' for bottom in bottoms.split())
    return f'layer {{ name: "{name}" type: "{kind}" {reads} top: "{name}" {settings} }}'


def pool(name: str, bottom: str, settings: str) -> str:
    return layer(name, "Pooling", bottom, f"pooling_param {{ {settings} }}")


def correlation(name: str, settings: str) -> str:
    return layer(name, "Correlation", "a b", f"correlation_param {{ {settings} }}")


NETS = {
    "proposals": net_of(
        "1 3 31 42",
        conv("c1", "data", "num_output: 5 kernel_size: 3"),
        layer("p1", "PReLU", "c1"),
        pool("pool", "p1", "pool: MAX kernel_size: 2 stride: 2"),
        conv("c2", "pool", "num_output: 4 kernel_size: 3"),
        layer("p2", "PReLU", "c2", "prelu_param { channel_shared: true }"),
        conv("cls", "p2", "num_output: 2 kernel_size: 1"),
        layer("prob", "Softmax", "cls"),
    ),
    "squeeze": net_of(
        "2 3 45 53",
        conv("c1", "data", "num_output: 6 kernel_size: 3 stride: 2"),
        pool("pool1", "c1", "pool: MAX kernel_size: 3 stride: 2"),
        conv("s1", "pool1", "num_output: 3 kernel_size: 1"),
        conv("e1", "s1", "num_output: 4 kernel_size: 1"),
        conv("e3", "s1", "num_output: 4 kernel_size: 3 pad: 1"),
        layer("fire", "Concat", "e1 e3"),
        layer("relu", "ReLU", "fire"),
        layer("drop", "Dropout", "relu"),
        pool("last", "drop", "pool: AVE global_pooling: true"),
        layer("prob", "Softmax", "last"),
    ),
    "fcn": net_of(
        "1 3 40 37",
        conv("c1", "data", "num_output: 4 kernel_size: 3 pad: 10"),
        pool("p1", "c1", "pool: MAX kernel_size: 2 stride: 2"),
        pool("p2", "p1", "pool: MAX kernel_size: 3 stride: 2 pad: 1"),
        conv("score", "p2", "num_output: 2 kernel_size: 1"),
        conv("up2", "score", "num_output: 2 kernel_size: 4 stride: 2", "Deconvolution"),
        conv("skip", "p1", "num_output: 2 kernel_size: 1"),
        layer("up2c", "Crop", "up2 skip", "crop_param { axis: 2 offset: 0 }"),
        layer("sum", "Eltwise", "up2c skip"),
        conv("up", "sum", "num_output: 2 kernel_size: 4 stride: 2", "Deconvolution"),
        layer("out", "Crop", "up data", "crop_param { axis: 2 offset: 4 offset: 3 }"),
    ),
    "averages": net_of(
        "2 2 17 22",
        pool("a", "data", "pool: AVE kernel_size: 3 stride: 2"),
        pool("b", "data", "pool: AVE kernel_size: 3 stride: 2 pad: 1"),
        pool(
            "c",
            "data",
            "pool: AVE kernel_h: 4 kernel_w: 2 stride_h: 3 stride_w: 2 pad_h: 2 pad_w: 0",
        ),
        pool("d", "data", "pool: AVE kernel_size: 5 stride: 2 pad: 2 round_mode: FLOOR"),
    ),
    "maxima": net_of(
        "2 2 17 22",
        pool("a", "data", "pool: MAX kernel_size: 2 stride: 2 pad: 1"),
        pool("b", "data", "pool: MAX kernel_size: 1 stride: 2"),
        pool("c", "data", "pool: MAX kernel_size: 3 stride: 2 round_mode: FLOOR"),
        pool("d", "data", "pool: MAX kernel_h: 2 kernel_w: 4 stride: 3 pad_h: 0 pad_w: 1"),
        pool("e", "data", "pool: MAX kernel_size: 5 stride: 4 pad: 2"),
    ),
    "correlations": net_of(
        "2 3 9 11",
        conv("a", "data", "num_output: 4 kernel_size: 3 pad: 1"),
        conv("b", "data", "num_output: 4 kernel_size: 3 pad: 1"),
        correlation("flownet", "max_displacement: 4 kernel_size: 1 pad: 4 stride_2: 2"),
        correlation("cut", "max_displacement: 3 kernel_size: 1 pad: 1 stride_1: 2"),
        correlation("wide", "max_displacement: 1 kernel_size: 3 pad: 3 stride_1: 3"),
        correlation("apart", "max_displacement: 2 kernel_size: 1 correlation_type: SUBTRACT"),
    ),
    "warps": net_of(
        "2 3 9 11",
        conv("a", "data", "num_output: 4 kernel_size: 3 pad: 1"),
        conv("b", "data", "num_output: 2 kernel_size: 3 pad: 1"),
        layer("wide", "FlowWarp", "a b"),
        layer("same", "FlowWarp", "data b"),
    ),
    "normalisation": net_of(
        "2 4 9 11",
        layer("lrn", "LRN", "data", "lrn_param { local_size: 3 alpha: 0.5 }"),
        layer(
            "within",
            "LRN",
            "data",
            "lrn_param { local_size: 3 alpha: 0.5 norm_region: WITHIN_CHANNEL }",
        ),
        layer("mvn", "MVN", "data"),
        layer("across", "MVN", "data", "mvn_param { across_channels: true }"),
        layer("bn", "BatchNorm", "data", "batch_norm_param { use_global_stats: false }"),
        layer("scale", "Scale", "data", "scale_param { bias_term: true }"),
        layer("flat", "Flatten", "data"),
        layer("rows", "Flatten", "data", "flatten_param { axis: 2 }"),
        layer("shaped", "Reshape", "data", "reshape_param { shape { dim: 0 dim: 2 dim: -1 } }"),
        layer("mean", "Reduction", "data", "reduction_param { operation: MEAN axis: 1 }"),
        layer("sums", "Reduction", "data", "reduction_param { operation: ASUM axis: 2 }"),
        layer("best", "ArgMax", "data", "argmax_param { axis: 1 }"),
        layer("tiled", "Tile", "data", "tile_param { axis: 2 tiles: 3 }"),
    ),
}
BATCH = {
    "classifier": net_of(
        "3 2 9 8",
        conv("c", "data", "num_output: 4 kernel_size: 3"),
        layer(
            "ip",
            "InnerProduct",
            "c",
            "inner_product_param { num_output: 6 weight_filler { type: 'xavier' } }",
        ),
        layer("slice", "Slice", "ip", 'top: "rest" slice_param { slice_point: 2 }'),
        layer("prob", "Softmax", "slice"),
    ),
}
CASES = [(name, text, ("batch", "spatial")) for name, text in NETS.items()]
CASES += [(name, text, ("batch",)) for name, text in BATCH.items()]


@pytest.mark.parametrize(("name", "text", "dynamic"), CASES, ids=[case[0] for case in CASES])
@pytest.mark.parametrize("backend", BACKENDS)
def test_one_conversion_serves_three_sizes(
    backend: str, name: str, text: str, dynamic: tuple[str, ...], tmp_path: Path
) -> None:
    require(PACKAGES[backend])
    path = tmp_path / f"{name}.prototxt"
    path.write_text(text)
    done = decaffeinate.convert(path, to=[backend], output=tmp_path / "out", dynamic=dynamic)
    manifest = json.loads(done.manifest.read_text())
    assert manifest["dynamic"] == sorted(dynamic)
    assert any(isinstance(dim, str) for dim in manifest["inputs"][0]["dims"])
    report = decaffeinate.verify(done.loaded, backends=[backend], manifest=done.manifest)
    failed = [
        (result.inputs, result.problem, [row for row in result.blobs if not row.passed])
        for result in report.results
        if not result.passed
    ]
    assert not failed
    assert len({result.inputs for result in report.results}) == 3
    assert report.passed


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("model", ["mtcnn_det1", "squeezenet_v1.0_83px"])
def test_published_models_serve_three_sizes(model: str, backend: str, tmp_path: Path) -> None:
    require(PACKAGES[backend])
    report = decaffeinate.verify(*paths(model), backends=[backend], dynamic=("batch", "spatial"))
    assert len(report.results) == 3
    assert report.passed


def test_a_published_classifier_says_which_layer_fixes_its_size(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedError) as caught:
        decaffeinate.convert(*paths("lenet_v1binary"), output=tmp_path, dynamic=["spatial"])
    assert 'layer "ip1": InnerProduct fixes the size' in str(caught.value)
    assert not list(tmp_path.iterdir())
