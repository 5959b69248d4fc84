"""Lowerings of layers that move values, of sources, losses and recurrent layers: the graph, run by
its ops' meanings, against the reference."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest

from converters.caffe import lower
from converters.layers.loss import _is
from converters.lowering import LOWERINGS, Lowering
from converters.open_sizes import lower_open, other_sizes
from ir import Graph, Value
from ir.ops import Linear, Reshape
from prototxt import Blob, parse_net
from prototxt import caffe_pb2 as pb
from prototxt.errors import FileError, UnsupportedError, WeightsError, Where
from prototxt.load import with_input_shapes
from prototxt.net import Layer
from prototxt.parameters import bind_parameters
from prototxt.shapes import infer_shapes
from tests.converters.graph_interpreter import blobs, run
from tests.converters.moving_cases import NETS, fed, loaded, text_of
from tests.golden_cases import assert_matches
from verify import reference
from verify.reference.registry import FUNCTIONS

ROUNDING = 1e-9
"""Float64 on both sides, with a few sums in other orders."""


def assert_agrees(graph: Graph, net, parameters, inputs) -> None:
    got = blobs(graph, inputs)
    want = reference.run(net, parameters, inputs)
    tops = net.layers[-1].tops
    assert tops
    for top in tops:
        assert_matches(got[top.name], want[top], ROUNDING, top.name)


@pytest.mark.parametrize("title", NETS)
def test_lowering_is_what_the_reference_computes(title: str) -> None:
    net, shapes, parameters = loaded(title)
    assert_agrees(lower(net, shapes, parameters), net, parameters, fed(NETS[title][0]))


@pytest.mark.parametrize("title", NETS)
def test_no_value_goes_unread(title: str) -> None:
    graph = lower(*loaded(title))
    read = {*graph.uses(), *graph.outputs}
    assert {value for node in graph.nodes for value in node.outputs} <= read


BATCHES = [
    title for title, (inputs, kind, *_) in NETS.items()
    if (kind.endswith("Loss") or kind in ("Accuracy", "Flatten", "Tile", "Slice"))
    and "first axis" not in title and "infogain axis" not in title
]  # fmt: skip


@pytest.mark.parametrize("title", BATCHES)
def test_any_batch_goes_through_one_graph(title: str) -> None:
    net, shapes, parameters = loaded(title)
    graph = lower_open(net, shapes, parameters, ["batch"])
    for sizes in other_sizes(net, shapes, ["batch"]):
        inputs = fed({name: sizes.get(name, shape) for name, shape in NETS[title][0].items()})
        assert_agrees(graph, with_input_shapes(net, sizes), parameters, inputs)


# --- labels ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("whole", [0, 1, -1, 255, -3, 2**24 + 1, 2**31 - 1, -(2**31)])
def test_cut_as_c_does(whole: int) -> None:
    near = np.float32(whole)
    candidates = {near}
    for step in (0.5, 0.9999, 1, 1.5):
        candidates |= {np.float32(whole + step), np.float32(whole - step)}
    for value in list(candidates):
        candidates |= {np.nextafter(value, np.float32(to)) for to in (-np.inf, np.inf)}
    x = np.array(sorted(candidates), np.float32)
    graph = Graph("cut", [Value("x", x.shape)])
    net = parse_net('layer { name: "op" type: "Input" top: "x" input_param { shape {} } }')
    step_of = Lowering(graph, net.layers[0], "TEST", graph.inputs, (), (), {})
    found = _is(step_of, "k", graph.inputs[0], whole)
    # In float64, which holds each `whole`; float32 rounds the greatest ones.
    wanted = np.trunc(x.astype(np.float64)) == whole
    np.testing.assert_array_equal(run(graph, {"x": x})[found], wanted)


def test_a_loss_without_a_top_adds_nothing() -> None:
    text = text_of("softmax none").replace(' top: "y"', "")
    net = parse_net(text + 'layer { name: "r" type: "ReLU" bottom: "x" top: "r" }')
    shapes = infer_shapes(net)
    graph = lower(net, shapes, bind_parameters(net, shapes))
    assert [node.layer for node in graph.nodes] == ["r"]
    inputs = fed(NETS["softmax none"][0])
    assert set(reference.run(net, bind_parameters(net, shapes), inputs)) == set(shapes.blobs)


@pytest.mark.parametrize(
    ("kind", "bottoms"),
    [("HingeLoss", {"x": (3, 4), "label": (3, 2)}),
     ("ContrastiveLoss", {"a": (3, 4), "b": (3, 4), "label": (5,)})],
)  # fmt: skip
def test_spare_labels_are_read_by_the_reference_and_refused_by_name(
    kind: str, bottoms: dict[str, tuple[int, ...]]
) -> None:
    NETS["spare"] = (bottoms, kind, " ".join(bottoms), "y", "")
    try:
        net, shapes, parameters = loaded("spare")
    finally:
        del NETS["spare"]
    inputs = fed(bottoms)
    spare = reference.run(net, parameters, inputs)[net.layers[-1].tops[0]]
    assert np.isfinite(spare)
    with pytest.raises(UnsupportedError, match=r"for 3 items, of which Caffe reads the first 3"):
        lower(net, shapes, parameters)


# --- files and refusals ---------------------------------------------------------------------------


def blob_proto(values: np.ndarray, *dims: int) -> bytes:
    """A BlobProto: shape (7) with packed dims, and packed float data (5)."""
    data = values.astype("<f4").tobytes()
    sizes = bytes(dims)
    shape = b"\x0a" + bytes([len(sizes)]) + sizes
    return b"\x3a" + bytes([len(shape)]) + shape + b"\x2a" + bytes([len(data)]) + data


INFOGAIN = """
layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 3 dim: 4 } } }
layer { name: "label" type: "Input" top: "label" input_param { shape { dim: 3 } } }
layer { name: "loss" type: "InfogainLoss" bottom: "x" bottom: "label" top: "y"
        infogain_loss_param { source: "H.binaryproto" } }
"""


def infogain(folder: Path):
    net = parse_net(INFOGAIN, str(folder / "net.prototxt"))
    shapes = infer_shapes(net)
    return net, shapes, bind_parameters(net, shapes)


def test_an_infogain_matrix_comes_from_its_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    beside, working = tmp_path / "net", tmp_path / "run"
    beside.mkdir()
    working.mkdir()
    monkeypatch.chdir(working)
    matrix = np.arange(16).reshape(4, 4) / 8
    (beside / "H.binaryproto").write_bytes(blob_proto(matrix, 1, 1, 4, 4))
    net, shapes, parameters = infogain(beside)
    inputs = {**fed({"x": (3, 4)}), "label": np.array([3, 0, 1], np.float32)}
    graph = lower(net, shapes, parameters)
    assert_agrees(graph, net, parameters, inputs)
    logs = inputs["x"] - np.log(np.exp(inputs["x"]).sum(1, keepdims=True))
    wanted = -(matrix[[3, 0, 1]] * logs).sum() / 3
    assert blobs(graph, inputs)["y"] == pytest.approx(wanted, rel=1e-5)
    # Caffe's own place comes first.
    (working / "H.binaryproto").write_bytes(blob_proto(2 * matrix, 1, 1, 4, 4))
    graph = lower(net, shapes, parameters)
    assert blobs(graph, inputs)["y"] == pytest.approx(2 * wanted, rel=1e-5)


def test_an_infogain_matrix_that_is_missing_or_wrong_is_refused(tmp_path: Path) -> None:
    net, shapes, parameters = infogain(tmp_path)
    inputs = {**fed({"x": (3, 4)}), "label": np.zeros(3, np.float32)}
    with pytest.raises(FileError, match="no such file"):
        lower(net, shapes, parameters)
    with pytest.raises(FileError, match="no such file"):
        reference.run(net, parameters, inputs)
    (tmp_path / "H.binaryproto").write_bytes(blob_proto(np.ones(9), 3, 3))
    with pytest.raises(WeightsError, match=r"the infogain matrix has shape \(3, 3\)"):
        lower(net, shapes, parameters)
    (tmp_path / "H.binaryproto").write_bytes(struct.pack("<I", 7))
    with pytest.raises(WeightsError, match="damaged"):
        reference.run(net, parameters, inputs)


def test_random_dummy_data_is_refused_by_name() -> None:
    # A net that is read has inputs in its place.
    message = pb.LayerParameter(name="d", type="DummyData", top=["y"])
    message.dummy_data_param.data_filler.add(type="gaussian")
    layer = Layer(0, "d", "DummyData", (), (Blob("y"),), message, Where("net.prototxt", 1))
    step = Lowering(Graph("random"), layer, "TEST", [], (), ((2,),), {})
    with pytest.raises(UnsupportedError, match='fills "y" with gaussian values'):
        LOWERINGS["DummyData"](step)
    with pytest.raises(UnsupportedError, match="filled with gaussian values is random"):
        FUNCTIONS["DummyData"](layer, [], ())


def test_crop_to_a_blob_of_more_axes_is_refused_by_name() -> None:
    bottoms = {"x": (2, 3, 4), "like": (9, 1, 2, 7)}
    NETS["deep"] = (bottoms, "Crop", "x like", "y", "crop_param { axis: 1 }")
    try:
        net, shapes, parameters = loaded("deep")
    finally:
        del NETS["deep"]
    with pytest.raises(UnsupportedError, match="cropping 3 axes to the sizes of a blob that has 4"):
        lower(net, shapes, parameters)


# --- recurrent ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("title", "products"), [("lstm", 1 + 4), ("rnn exposed", 1 + 1 + 4 + 1)])
def test_what_needs_no_state_is_multiplied_for_all_steps_at_once(title: str, products: int) -> None:
    graph = lower(*loaded(title))
    assert sum(isinstance(node.op, Linear) for node in graph.nodes) == products


@pytest.mark.parametrize("title", ["lstm one step", "rnn one step"])
def test_the_weight_of_a_state_that_is_0_is_stored_all_the_same(title: str) -> None:
    net, shapes, parameters = loaded(title)
    stored = {p.origin.name for p in lower(net, shapes, parameters).parameters() if p.origin}
    assert stored == {param.name for param in shapes.params[net.layers[-1].index]}


def test_the_number_of_streams_may_be_open() -> None:
    # Streams are the second axis of x and cont, which is no batch: the graph takes them all the
    # same, since its constants and shapes name no number of them but in reshapes.
    net, shapes, parameters = loaded("lstm")
    wide = with_input_shapes(net, {"x": (4, 6, 2, 5), "cont": (4, 6)})
    graph, other = (
        lower(one, found, parameters) for one, found in ((net, shapes), (wide, infer_shapes(wide)))
    )
    pairs = zip(graph.nodes, other.nodes, strict=True)
    assert {type(a.op) for a, b in pairs if a.op != b.op} == {Reshape}
