"""SSD at open sizes: priors computed from the sizes of maps and image, and the choice among as many
boxes as there then are, on every backend against the reference and against Caffe."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import decaffeinate
from prototxt.errors import UnsupportedError
from tests.frameworks import require
from tests.golden_cases import CASES, Case, assert_blobs_match, case_id
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


def detector(batch: int, settings: str, each: int) -> str:
    """Two boxes a place of one map and one a place of another, of 4 classes."""
    heads = []
    for head, boxes in (("a", 2), ("b", 1)):
        maps = "data" if head == "a" else "low"
        heads += [
            conv(f"{head}_loc", maps, f"num_output: {boxes * 4 * each} kernel_size: 1"),
            conv(f"{head}_conf", maps, f"num_output: {boxes * 4} kernel_size: 1"),
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
        'layer { name: "image" type: "Input" top: "image" '
        f"input_param {{ shape {{ dim: {batch} dim: 3 dim: 40 dim: 56 }} }} }}",
        layer("low", "Pooling", "data", "pooling_param { kernel_size: 3 stride: 2 pad: 1 }"),
        *heads,
        layer("loc", "Concat", "a_loc_f b_loc_f"),
        layer("conf", "Concat", "a_conf_f b_conf_f"),
        layer("rows", "Reshape", "conf", "reshape_param { shape { dim: 0 dim: -1 dim: 4 } }"),
        layer("soft", "Softmax", "rows", "softmax_param { axis: 2 }"),
        layer("scores", "Flatten", "soft"),
        layer("prior", "Concat", "a_prior b_prior", "concat_param { axis: 2 }"),
        layer("found", "DetectionOutput", "loc scores prior",
              f"detection_output_param {{ num_classes: 4 {settings} }}"),
    ])  # fmt: skip


SMALL, LARGE = (1, 3, 2, 1), (2, 3, 5, 7)
"""6 boxes an image, and 82."""
DETECTORS = {
    "all": ("nms_param { nms_threshold: 0.4 }", 1),
    "top_k": ("nms_param { nms_threshold: 0.4 top_k: 20 } confidence_threshold: 0.2", 1),
    "keep_top_k": ("nms_param { nms_threshold: 0.6 top_k: 30 } keep_top_k: 25", 1),
    "keep_of_all": ("nms_param { nms_threshold: 0.6 } keep_top_k: 25 code_type: CENTER_SIZE", 1),
    "of_each_class": (
        "share_location: false background_label_id: -1 nms_param { nms_threshold: 0.4 top_k: 9 } "
        "keep_top_k: 30 code_type: CENTER_SIZE", 4,
    ),
    "one_class": ("nms_param { nms_threshold: 0.4 top_k: 20 } confidence_threshold: 0.9", 1),
    "eta": ("nms_param { nms_threshold: 0.7 eta: 0.9 top_k: 20 } keep_top_k: 9", 1),
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
    path.write_text(net_of(" ".join(map(str, declared)), detector(declared[0], *DETECTORS[name])))
    loaded = decaffeinate.load(path)
    if backend == "mxnet" and name == "eta":
        with pytest.raises(UnsupportedError, match='layer "found".*box_nms has one threshold'):
            decaffeinate.convert(loaded, to=[backend], output=tmp_path, dynamic=BOTH)
        return
    done = decaffeinate.convert(loaded, to=[backend], output=tmp_path / "out", dynamic=BOTH)
    for size in (SMALL, LARGE):
        at = loaded.resized({"data": size, "image": (*size[:2], 40, 56)})
        feeds = {"noise": seeded_inputs(at.net, at.shapes, at.seed)}
        conversion = read_conversion(done.manifest)
        report = verify_conversion(at.net, at.shapes, at.parameters, conversion, [backend], feeds)
        assert_verified(report, 1)
