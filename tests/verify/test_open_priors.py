"""SSD at open sizes: priors computed from the sizes of maps and image, and the choice among as many
boxes as there then are, on every backend against the reference and against Caffe."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import decaffeinate
from ir.ops import PriorBoxes
from prototxt.errors import UnsupportedError
from tests.frameworks import require
from tests.golden_cases import CASES, Case, assert_blobs_match, case_id
from tests.real_models import paths, recorded
from tests.verify.passes import every_blob
from tests.verify.test_backends import PACKAGES
from tests.verify.test_open_sizes import conv, layer, net_of
from verify.forward import BACKENDS
from verify.harness import verify_conversion
from verify.inputs import seeded_inputs
from verify.report import Report
from verify.runners.runner import read_conversion

SPATIAL = ("spatial",)
BOTH = ("batch", "spatial")


def prior(name: str, bottoms: str, fields: str, kind: str = "PriorBox") -> str:
    return layer(name, kind, bottoms, f"prior_box_param {{ {fields} }}")


MAPS = conv("maps", "data", "num_output: 3 kernel_size: 3 stride: 4")
PRIORS = {
    "usual": prior("p", "maps data", "min_size: 9 max_size: 21 aspect_ratio: 2 aspect_ratio: 3"),
    "several": prior("p", "maps data", "min_size: 9.7 min_size: 14 aspect_ratio: 2 flip: false"),
    "step": prior("p", "maps data", "min_size: 9 step: 4 offset: 0 variance: 0.3"),
    "steps": prior("p", "maps data", "min_size: 9 step_h: 3.7 step_w: 5.1 offset: -1.5 clip: true"),
    "sized": prior("p", "maps", "min_size: 9 img_size: 300 clip: true"),
    "of_both": prior("p", "maps data", "min_size: 9 img_h: 37 img_w: 61 variance: 0.1 "
                     "variance: 0.2 variance: 0.3 variance: 0.4"),
    "all_stated": prior("p", "maps", "min_size: 9 img_h: 37 img_w: 61 step: 8"),
    "clustered": prior("p", "maps data", "width: 9.3 width: 20 height: 17 height: 5.5 clip: true",
                       "PriorBoxClustered"),
    "of_a_line": layer("line", "Reshape", "maps", "reshape_param { shape { dim: 0 dim: 3 "
                       "dim: -1 } }") + prior("p", "line data", "min_size: 9 aspect_ratio: 2"),
    "of_a_column": layer("rows", "Reduction", "maps", "reduction_param { axis: 3 }")
                   + prior("p", "rows data", "min_size: 9"),
    "of_one_place": layer("one", "Pooling", "maps", "pooling_param { global_pooling: true }")
                    + prior("p", "one data", "min_size: 9 max_size: 30"),
}  # fmt: skip


def assert_verified(report: Report, sizes: int = 3) -> None:
    failed = [
        (result.inputs, result.problem, [row for row in result.blobs if not row.passed])
        for result in report.results
        if not result.passed
    ]
    assert not failed
    assert len({result.inputs for result in report.results}) == sizes


@pytest.mark.parametrize("dynamic", [SPATIAL, BOTH], ids="-".join)
@pytest.mark.parametrize("name", PRIORS)
@pytest.mark.parametrize("backend", BACKENDS)
def test_priors_of_any_size(
    backend: str, name: str, dynamic: tuple[str, ...], tmp_path: Path
) -> None:
    require(PACKAGES[backend])
    path = tmp_path / "net.prototxt"
    path.write_text(net_of("2 3 33 46", MAPS, PRIORS[name]))
    assert_verified(decaffeinate.verify(path, backends=[backend], dynamic=dynamic))


def layer_of_image(batch: int) -> str:
    shape = f"shape {{ dim: {batch} dim: 3 dim: 40 dim: 56 }}"
    return f'layer {{ name: "image" type: "Input" top: "image" input_param {{ {shape} }} }}'


def detector(batch: int, settings: str) -> str:
    """Two boxes a place of one map and one a place of another."""
    heads, classes = [], int(settings.split()[1])
    each = classes if "share_location: false" in settings else 1
    for head, boxes in (("a", 2), ("b", 1)):
        maps = "data" if head == "a" else "low"
        heads += [
            conv(f"{head}_loc", maps, f"num_output: {boxes * 4 * each} kernel_size: 1"),
            conv(f"{head}_conf", maps, f"num_output: {boxes * classes} kernel_size: 1"),
            *(
                layer(f"{head}_{what}_p", "Permute", f"{head}_{what}",
                      "permute_param { order: 0 order: 2 order: 3 order: 1 }")
                + layer(f"{head}_{what}_f", "Flatten", f"{head}_{what}_p")
                for what in ("loc", "conf")
            ),
            prior(f"{head}_prior", f"{maps} image", "min_size: 30 step: 8"
                  + (" max_size: 60" if boxes == 2 else "")),
        ]  # fmt: skip
    return "\n".join([
        layer_of_image(batch),
        layer("low", "Pooling", "data", "pooling_param { kernel_size: 3 stride: 2 pad: 1 }"),
        *heads,
        layer("loc", "Concat", "a_loc_f b_loc_f"),
        layer("conf", "Concat", "a_conf_f b_conf_f"),
        layer("rows", "Reshape", "conf",
              f"reshape_param {{ shape {{ dim: 0 dim: -1 dim: {classes} }} }}"),
        layer("soft", "Softmax", "rows", "softmax_param { axis: 2 }"),
        layer("scores", "Flatten", "soft"),
        layer("prior", "Concat", "a_prior b_prior", "concat_param { axis: 2 }"),
        layer("found", "DetectionOutput", "loc scores prior",
              f"detection_output_param {{ {settings} }}"),
    ])  # fmt: skip


SMALL, LARGE = (1, 3, 2, 1), (2, 3, 5, 7)
"""6 boxes an image, and 82."""
DETECTORS = {
    "all": "num_classes: 4 nms_param { nms_threshold: 0.4 }",
    "top_k": "num_classes: 4 nms_param { nms_threshold: 0.4 top_k: 20 } confidence_threshold: 0.2",
    "keep_top_k": "num_classes: 4 nms_param { nms_threshold: 0.6 top_k: 30 } keep_top_k: 25",
    "keep_of_all": "num_classes: 4 nms_param { nms_threshold: 0.6 } keep_top_k: 25 "
                   "code_type: CENTER_SIZE",
    "of_each_class": "num_classes: 4 share_location: false background_label_id: -1 "
                     "nms_param { nms_threshold: 0.4 top_k: 9 } keep_top_k: 30",
    "one_class": "num_classes: 2 nms_param { nms_threshold: 0.4 top_k: 20 } keep_top_k: 15",
    "eta": "num_classes: 4 nms_param { nms_threshold: 0.7 eta: 0.9 top_k: 20 } keep_top_k: 9",
}  # fmt: skip


@pytest.mark.parametrize("declared", [SMALL, LARGE], ids=["from_few", "from_many"])
@pytest.mark.parametrize("name", DETECTORS)
@pytest.mark.parametrize("backend", BACKENDS)
def test_detections_of_any_size(
    backend: str, name: str, declared: tuple[int, ...], tmp_path: Path
) -> None:
    """Converted for few boxes or for many, run for both: as many as top_k and keep_top_k ask for
    are there at one size and not at the other."""
    require(PACKAGES[backend])
    path = tmp_path / "net.prototxt"
    path.write_text(net_of(" ".join(map(str, declared)), detector(declared[0], DETECTORS[name])))
    loaded = decaffeinate.load(path)
    if backend == "mxnet" and name == "eta":
        with pytest.raises(UnsupportedError, match=r'layer "found".*box_nms has one'):
            decaffeinate.convert(loaded, to=[backend], output=tmp_path, dynamic=BOTH)
        return
    done = decaffeinate.convert(loaded, to=[backend], output=tmp_path / "out", dynamic=BOTH)
    for size in (SMALL, LARGE):
        at = loaded.resized({"data": size, "image": (*size[:2], 40, 56)})
        feeds = {"noise": seeded_inputs(at.net, at.shapes, at.seed)}
        conversion = read_conversion(done.manifest)
        report = verify_conversion(at.net, at.shapes, at.parameters, conversion, [backend], feeds)
        assert_verified(report, 1)


GOLDENS = [case for case in CASES if any(one.type.startswith("PriorBox") for one in case.net())]


@pytest.mark.parametrize("case", GOLDENS, ids=case_id)
@pytest.mark.parametrize("backend", BACKENDS)
def test_computed_priors_are_caffes(backend: str, case: Case, tmp_path: Path) -> None:
    require(PACKAGES[backend])
    done = decaffeinate.convert(
        case.net_path, case.weights_path, to=[backend], output=tmp_path, dynamic=SPATIAL
    )
    assert any(isinstance(node.op, PriorBoxes) for node in done.graph.nodes)
    runner = BACKENDS[backend](read_conversion(done.manifest))
    assert_blobs_match(every_blob(runner, case.inputs()), case.expected(), case)
    resized = {value.name: (*value.shape[:2], 53, 71) for value in done.graph.inputs}
    at = done.loaded.resized(resized)
    feeds = {"noise": seeded_inputs(at.net, at.shapes, at.seed)}
    conversion = read_conversion(done.manifest)
    report = verify_conversion(at.net, at.shapes, at.parameters, conversion, [backend], feeds)
    assert_verified(report, 1)


@pytest.mark.parametrize("backend", BACKENDS)
def test_float32_arithmetic_is_that_of_caffes_code(backend: str, tmp_path: Path) -> None:
    """prior_box_layer.cpp: steps and centres in float, the corners in double, stored as float."""
    require(PACKAGES[backend])
    path = tmp_path / "net.prototxt"
    fields = "min_size: 30 max_size: 60 aspect_ratio: 2 clip: false offset: 0.3"
    path.write_text(net_of("1 3 33 46", MAPS, prior("p", "maps data", fields)))
    done = decaffeinate.convert(path, to=[backend], output=tmp_path / "out", dynamic=SPATIAL)
    runner = BACKENDS[backend](read_conversion(done.manifest))
    one = np.float32
    root = np.sqrt(one(2))
    sides = [(one(30), one(30)), (np.sqrt(one(30 * 60)),) * 2,
             (one(30) * root, one(30) / root), (one(30) / root, one(30) * root)]  # fmt: skip
    for height, width in ((33, 46), (299, 301), (1023, 77)):
        got = every_blob(runner, {"data": np.zeros((1, 3, height, width), one)})
        rows, columns = got["maps"].shape[2:]
        down, along = one(height) / one(rows), one(width) / one(columns)
        want = []
        for row in range(rows):
            for column in range(columns):
                x, y = (one(column) + one(0.3)) * along, (one(row) + one(0.3)) * down
                for w, h in sides:
                    for sign in (-1, 1):
                        want.append((float(x) + sign * float(w) / 2) / width)
                        want.append((float(y) + sign * float(h) / 2) / height)
        made = got["p"][0, 0]
        assert made.shape == (len(want),)
        # Two roundings more, of numbers up to 1.2.
        np.testing.assert_allclose(made, np.float32(want), rtol=0, atol=4 * 2.0**-24 * 1.2)
        np.testing.assert_array_equal(got["p"][0, 1], one(0.1))


@pytest.mark.parametrize("dynamic", [(), ("batch",)], ids=["none", "batch"])
def test_where_the_sizes_are_known_priors_are_a_constant(
    dynamic: tuple[str, ...], tmp_path: Path
) -> None:
    case = Case("nets/ssd_narrow")
    done = decaffeinate.convert(
        case.net_path, case.weights_path, to=["pytorch"], output=tmp_path, dynamic=dynamic
    )
    assert not any(isinstance(node.op, PriorBoxes) for node in done.graph.nodes)
    assert "def prior_boxes" not in (tmp_path / "net.py").read_text()


@pytest.mark.parametrize("raw", [False, True], ids=["rows", "raw"])
@pytest.mark.parametrize("backend", BACKENDS)
def test_a_detector_with_its_detections_raw_or_not(backend: str, raw: bool, tmp_path: Path) -> None:
    require(PACKAGES[backend])
    case = Case("nets/ssd_narrow")
    loaded = decaffeinate.load(
        case.net_path, case.weights_path, detections="raw" if raw else "rows"
    )
    for dynamic in (SPATIAL, BOTH):
        assert_verified(decaffeinate.verify(loaded, backends=[backend], dynamic=dynamic))


@pytest.mark.parametrize("backend", ["onnx"])
@pytest.mark.parametrize("opset", [13, 15, 17, 18])
def test_older_operator_sets(backend: str, opset: int, tmp_path: Path) -> None:
    require(PACKAGES[backend])
    case = Case("nets/ssd_narrow")
    loaded = decaffeinate.load(case.net_path, case.weights_path)
    report = decaffeinate.verify(loaded, backends=[backend], dynamic=SPATIAL, opset=opset)
    assert_verified(report)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_published_detector_finds_the_qr_code_at_any_size(backend: str, tmp_path: Path) -> None:
    """WeChat's, on an image with a QR code and on parts of it."""
    require(PACKAGES[backend])
    inputs, outputs = recorded("wechat_qr_detect", "qr")
    done = decaffeinate.convert(
        *paths("wechat_qr_detect"), to=[backend], output=tmp_path, dynamic=SPATIAL
    )
    conversion = read_conversion(done.manifest)
    runner = BACKENDS[backend](conversion)
    (image,) = inputs.values()
    got = every_blob(runner, {"data": image})["detection_output"]
    (rows,) = (one for one in outputs.values() if one.shape[-1:] == (7,))
    assert got.shape == rows.shape
    np.testing.assert_allclose(got, rows, atol=1e-4)
    for part in (image[..., 32:, 64:], image[..., :352, :320]):
        at = done.loaded.resized({"data": part.shape})
        feeds = {"part": {"data": np.ascontiguousarray(part)}}
        report = verify_conversion(at.net, at.shapes, at.parameters, conversion, [backend], feeds)
        assert_verified(report, 1)


FAULTS = {
    "an offset": ("+ offset)", "+ offset * 1.00001)", (33, 70, 36)),
    "a step of the declared size": ("height / maps.shape[2]", "33 / 8", (70, 36)),
    "the image's other size": ("(width, height, width, height)", "(width, height, width, width)",
                               (33, 70, 36)),
}  # fmt: skip
"""What is written for what, and the heights at which that is wrong."""


@pytest.mark.parametrize("name", FAULTS)
def test_a_prior_that_is_computed_otherwise_is_found(name: str, tmp_path: Path) -> None:
    require("torch")
    right, wrong, heights = FAULTS[name]
    path = tmp_path / "net.prototxt"
    path.write_text(net_of("1 3 33 46", MAPS, prior("p", "maps data", "min_size: 9 offset: 0.25")))
    done = decaffeinate.convert(path, to=["pytorch"], output=tmp_path / "out", dynamic=SPATIAL)
    source = tmp_path / "out" / "net.py"
    assert source.read_text().count(right) == 1
    source.write_text(source.read_text().replace(right, wrong))
    report = decaffeinate.verify(done.loaded, backends=["pytorch"], manifest=done.manifest)
    found = {}
    for result in report.results:
        size = result.inputs.rpartition("=")[2].split(",")
        found[int(size[2]) if len(size) > 1 else 33] = [
            row.blob for row in result.blobs if not row.passed
        ]
    wanted = {height: ["p"] if height in heights else [] for height in found}
    assert len(found) == 3
    assert {height: blobs[:1] for height, blobs in found.items()} == wanted


REFUSED = {
    "a part of them": (
        layer("cut", "Slice", "p", 'top: "rest" slice_param { axis: 2 slice_point: 40 }'),
        'layer "cut": Slice fixes the size',
    ),
    "a product with all of them": (
        layer("ip", "InnerProduct", "p", "inner_product_param { num_output: 2 }"),
        'layer "ip": InnerProduct fixes the size',
    ),
    "maps of one size": (
        layer(
            "big",
            "ResizeBilinear",
            "maps",
            "resize_bilinear_param { scale_height: 2 scale_width: 2 data_format: 'NCHW' }",
        )
        + prior("q", "big data", "min_size: 9"),
        'layer "big": ResizeBilinear fixes the size',
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_fixes_the_size_is_named(name: str, tmp_path: Path) -> None:
    text, message = REFUSED[name]
    path = tmp_path / "net.prototxt"
    path.write_text(net_of("2 3 33 46", MAPS, PRIORS["usual"], text))
    with pytest.raises(UnsupportedError) as caught:
        decaffeinate.convert(path, to=["pytorch"], output=tmp_path / "out", dynamic=SPATIAL)
    assert message in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_halves_hold_no_positions(tmp_path: Path) -> None:
    require("onnx")
    path = tmp_path / "net.prototxt"
    path.write_text(net_of("2 3 33 46", MAPS, PRIORS["usual"]))
    settings = {"to": ["onnx"], "dtype": "float16"}
    decaffeinate.convert(path, output=tmp_path / "sized", **settings)
    with pytest.raises(UnsupportedError) as caught:
        decaffeinate.convert(path, output=tmp_path / "out", dynamic=SPATIAL, **settings)
    assert 'layer "p": it compares numbers or counts positions' in str(caught.value)
    assert not (tmp_path / "out").exists()
