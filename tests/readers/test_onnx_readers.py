"""OpenCV 5, onnx2torch and Netron take what `convert` writes: every golden, the published models
and the nets of the papers, but for those that a table names with the reader's reason."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import decaffeinate
from converters.caffe import lower
from converters.emitter import Provenance
from prototxt.errors import UnsupportedError
from tests import real_models
from tests.converters.test_lowering import LOWERED
from tests.emitted.cases import NETS
from tests.frameworks import require
from tests.golden_cases import CASES, Case, assert_matches, case_id
from tests.nets.drawn import drawn
from tests.readers.reading import MISSING, OPSETS, READERS, UNREAD, netron
from tests.readme import ROOT

onnx = require("onnx")
onnxruntime = require("onnxruntime")

from converters.onnx import OnnxEmitter  # noqa: E402

CONVERTIBLE = [c for c in CASES if {layer.type for layer in c.net()} <= LOWERED]
SIZE = 64


@pytest.fixture(params=READERS)
def reader(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    if name in MISSING:
        pytest.skip(f"{MISSING[name]}: tox -e onnx-readers has it")
    return name


def check(
    reader: str,
    id_: str,
    path: Path,
    inputs: Mapping[str, np.ndarray],
    want: Mapping[str, Any],
    tolerance: float = 1e-4,
) -> None:
    """A reader computes what is wanted, or refuses as the table says it does."""
    graph = onnx.load(str(path)).graph
    fed = {value.name: inputs[value.name] for value in graph.input}
    outputs = [value.name for value in graph.output]

    def run() -> None:
        for name, array in READERS[reader](path, fed, outputs).items():
            wanted = want[name]
            got = array.reshape(wanted.shape) if wanted.size == array.size == 1 else array
            assert_matches(got, wanted, tolerance, name)

    reason = unread(reader, id_)
    if reason is None:
        run()
        return
    with pytest.raises(Exception) as caught:  # noqa: PT011  # of any kind: the reason is checked
        run()
    assert re.search(reason, str(caught.value), re.DOTALL)


def unread(reader: str, id_: str) -> str | None:
    """Why a reader does not take a file."""
    table = UNREAD[reader]
    return table.get(id_, table.get(id_.partition("/")[0]))


@pytest.mark.parametrize("case", CONVERTIBLE, ids=case_id)
def test_goldens(reader: str, case: Case, tmp_path: Path) -> None:
    try:
        done = decaffeinate.convert(
            case.net_path, case.weights_path, to="onnx", output=tmp_path, opset=OPSETS[reader],
            phase=case.phase, stages=case.stages, level=case.level,
        )  # fmt: skip
    except UnsupportedError as error:
        refused = str(error)
    else:
        refused = ""
    if refused:
        assert re.search(unread(reader, case.id) or "-", refused)
        return
    named = {value.name: case.expected()[blob] for blob, value in done.graph.blobs.items()
             if blob in case.expected()}  # fmt: skip
    check(reader, case.id, done.files[0], case.inputs(), named)


def test_readme_says_how_many_are_taken() -> None:
    text = " ".join((ROOT / "README.md").read_text(encoding="utf-8").split())
    taken = {name: sum(unread(name, case.id) is None for case in CONVERTIBLE) for name in READERS}
    assert f"Of the {len(CONVERTIBLE)} goldens that convert, **OpenCV 5.0** takes" in text
    assert f"**OpenCV 5.0** takes {taken['opencv']}, " in text
    assert f"**onnx2torch** 1.5 takes {taken['onnx2torch']} " in text


@pytest.mark.parametrize("options", [{}, {"optimize": True}], ids=["plain", "optimised"])
@pytest.mark.parametrize("name", sorted(real_models.FILES))
def test_published_models(reader: str, name: str, options: dict[str, bool], tmp_path: Path) -> None:
    done = decaffeinate.convert(*real_models.paths(name), to="onnx", output=tmp_path,
                                opset=OPSETS[reader], **options)  # fmt: skip
    shapes = {value.name: value.shape for value in done.graph.inputs}
    as_onnxruntime(reader, name, done.files[0], shapes)


@pytest.mark.parametrize("name", NETS)
def test_nets_of_the_papers(reader: str, name: str, tmp_path: Path) -> None:
    graph = lower(*drawn(NETS[name](SIZE)))
    source = Provenance("decaffeinate", "a net", "its weights")
    (artifact,) = OnnxEmitter(graph, name, source, opset=OPSETS[reader]).emit()
    artifact.write(tmp_path / "net.onnx")
    shapes = {value.name: value.shape for value in graph.inputs}
    as_onnxruntime(reader, name, tmp_path / "net.onnx", shapes)


def as_onnxruntime(
    reader: str, name: str, path: Path, shapes: Mapping[str, tuple[int, ...]]
) -> None:
    generator = np.random.default_rng(0)
    inputs = {key: generator.normal(size=shape).astype(np.float32)
              for key, shape in shapes.items()}  # fmt: skip
    session = onnxruntime.InferenceSession(str(path))
    outputs = [value.name for value in session.get_outputs()]
    want = dict(zip(outputs, session.run(outputs, inputs), strict=True))
    check(reader, name, path, inputs, want)


def test_a_detector_of_open_sizes_in_opencv(tmp_path: Path) -> None:
    """Its priors are computed from the size of what it is fed."""
    if "opencv" in MISSING:
        pytest.skip(f"{MISSING['opencv']}: tox -e onnx-readers has it")
    done = decaffeinate.convert(*real_models.paths("wechat_qr_detect"), to="onnx", output=tmp_path,
                                opset=OPSETS["opencv"], dynamic=["spatial"])  # fmt: skip
    (image,) = real_models.recorded("wechat_qr_detect", "qr")[0].values()
    session = onnxruntime.InferenceSession(str(done.files[0]))
    for part in (image, image[..., 32:, 64:], image[..., :352, :320]):
        fed = {"data": np.ascontiguousarray(part)}
        (want,) = session.run(["detection_output"], fed)
        assert want[..., 2].min() > 0.9
        check("opencv", "a detector", done.files[0], fed, {"detection_output": want})


@pytest.mark.parametrize("half", [False, True], ids=["float32", "float16"])
def test_images_of_bytes(reader: str, half: bool, tmp_path: Path) -> None:
    case = Case("nets/squeezenet")
    done = decaffeinate.convert(
        case.net_path, case.weights_path, to="onnx", output=tmp_path, opset=OPSETS[reader],
        preprocess=True, mean="104,117,123", dtype="float16" if half else "float32",
    )  # fmt: skip
    image = np.random.default_rng(0).integers(0, 256, (2, 51, 51, 3)).astype(np.uint8)
    session = onnxruntime.InferenceSession(str(done.files[0]))
    (want,) = session.run(["prob"], {"image": image})
    id_ = "images of bytes, in halves" if half else "images of bytes"
    check(reader, id_, done.files[0], {"image": image}, {"prob": want}, 1e-2 if half else 1e-4)


@pytest.mark.parametrize("id_", ["nets/squeezenet", "nets/resnet_narrow", "lstm/plain"])
@pytest.mark.parametrize("apart", [False, True], ids=["one file", "external data"])
def test_netron_shows_the_net(id_: str, apart: bool, tmp_path: Path) -> None:
    if "netron" in MISSING:
        pytest.skip(f"{MISSING['netron']}: tox -e onnx-readers has it")
    graph = lower(*Case(id_).load())
    source = Provenance("decaffeinate 1", "the net", "the weights")
    past = {"external_past": 1000} if apart else {}
    for artifact in OnnxEmitter(graph, "net", source, **past).emit():
        artifact.write(tmp_path / artifact.name)
    model = onnx.load(str(tmp_path / "net.onnx"))
    shown = netron(tmp_path / "net.onnx")
    assert shown["producer"] == "decaffeinate 1"
    assert ["caffe_net", "the net"] in shown["metadata"]
    assert [[n[0], n[1]] for n in shown["nodes"]] == [[n.name, n.op_type] for n in model.graph.node]
    assert [n[3] for n in shown["nodes"]] == [list(n.output) for n in model.graph.node]
    assert [name for name, _ in shown["inputs"]] == [value.name for value in model.graph.input]
    assert [name for name, _ in shown["outputs"]] == [value.name for value in model.graph.output]
    stored = {tensor.name: list(tensor.dims) for tensor in model.graph.initializer}
    assert shown["stored"].keys() == stored.keys()
    for name, dims in stored.items():
        assert shown["stored"][name].endswith(f"[{','.join(map(str, dims))}]" if dims else "")
