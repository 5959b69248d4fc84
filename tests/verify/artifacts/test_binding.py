"""Inputs and outputs of a file put to the net's: by the map, by name, by shape; never by a
guess."""

from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import pytest

from prototxt import parse_net
from prototxt.errors import UsageError
from prototxt.shapes import infer_shapes
from verify.artifacts.binding import Binding, bind
from verify.artifacts.trace import Port

NET = """
layer { name: "in" type: "Input" top: "data" top: "info"
  input_param { shape { dim: 2 dim: 3 dim: 5 dim: 7 } shape { dim: 2 dim: 3 } } }
layer { name: "f" type: "Flatten" bottom: "data" top: "flat" }
layer { name: "r" type: "ReLU" bottom: "info" top: "rest" }
"""
TWINS = """
layer { name: "in" type: "Input" top: "left" top: "right"
  input_param { shape { dim: 2 dim: 3 } shape { dim: 2 dim: 3 } } }
layer { name: "a" type: "ReLU" bottom: "left" top: "a" }
layer { name: "b" type: "TanH" bottom: "right" top: "b" }
"""
ONE = """
layer { name: "in" type: "Input" top: "left" input_param { shape { dim: 2 dim: 3 } } }
layer { name: "a" type: "ReLU" bottom: "left" top: "a" }
"""
Shape = tuple[int | None, ...] | None


def bound(
    text: str,
    inputs: Mapping[str, Shape],
    outputs: Mapping[str, Shape],
    told: Mapping[str, str] | None = None,
    made: Mapping[str, tuple[int, ...]] | None = None,
) -> Binding:
    net = parse_net(text)
    shapes = infer_shapes(net).blobs
    artifact: Any = SimpleNamespace(
        inputs=tuple(Port(name, shape, "float32") for name, shape in inputs.items()),
        outputs=tuple(Port(name, shape, "float32") for name, shape in outputs.items()),
    )
    keys = {blob: blob.name for blob in shapes}
    sizes = None if made is None else lambda *_: made
    return bind(net, shapes, keys, artifact, told or {}, "file.onnx", sizes)


def names(ports: Mapping[Any, Port]) -> dict[str, str]:
    return {blob.name: port.name for blob, port in ports.items()}


def axes(found: Binding) -> dict[str, tuple[int, ...]]:
    return {blob.name: order for blob, order in found.axes.items()}


DATA, INFO, FLAT = (2, 3, 5, 7), (2, 3), (2, 105)


def test_by_name_in_any_order() -> None:
    found = bound(NET, {"info:0": INFO, "Data_input": DATA}, {"rest_Y": INFO, "flat": FLAT})
    assert names(found.inputs) == {"data": "Data_input", "info": "info:0"}
    assert names(found.outputs) == {"flat": "flat", "rest": "rest_Y"}
    assert not found.missing
    assert not found.notes


def test_by_shape_where_it_leaves_no_choice() -> None:
    found = bound(NET, {"x": INFO, "y": (None, 3, 5, 7)}, {"u": INFO, "v": FLAT})
    assert names(found.inputs) == {"data": "y", "info": "x"}
    assert names(found.outputs) == {"flat": "v", "rest": "u"}


def test_shapes_that_are_not_declared_are_those_of_a_run() -> None:
    inputs = {"data": DATA, "info": INFO}
    found = bound(NET, inputs, {"u": None, "v": None}, made={"u": INFO, "v": FLAT})
    assert names(found.outputs) == {"flat": "v", "rest": "u"}
    with pytest.raises(UsageError, match="which output of the file"):
        bound(NET, inputs, {"u": None, "v": None}, made={})
    with pytest.raises(UsageError, match="which output of the file"):
        bound(NET, inputs, {"u": None, "v": None})


def test_a_permuted_input_is_told() -> None:
    found = bound(NET, {"x": INFO, "y": (2, 5, 7, 3)}, {"flat": FLAT, "rest": INFO})
    assert axes(found) == {"data": (0, 2, 3, 1), "info": (0, 1)}
    assert found.permuted
    assert any('"y" is fed "data"' in note for note in found.notes)


def test_where_sizes_allow_several_orders_caffes_is_taken_and_noted() -> None:
    text = NET.replace("dim: 5 dim: 7", "dim: 3 dim: 3")
    shape, flat = (2, 3, 3, 3), (2, 27)
    found = bound(text, {"data": shape, "info": INFO}, {"flat": flat, "rest": INFO})
    assert axes(found)["data"] == (0, 1, 2, 3)
    assert any("--map" in note for note in found.notes)
    told = {"data": "data:NHWC"}
    found = bound(text, {"data": shape, "info": INFO}, {"flat": flat, "rest": INFO}, told)
    assert axes(found)["data"] == (0, 2, 3, 1)


def test_a_file_that_declares_no_shape_is_fed_as_the_map_says() -> None:
    told = {"data": "x:NHWC", "info": "y"}
    found = bound(NET, {"x": None, "y": None}, {"flat": None, "rest": None}, told)
    assert axes(found) == {"data": (0, 2, 3, 1), "info": (0, 1)}


@pytest.mark.parametrize(
    ("inputs", "outputs"),
    [
        ({"x": INFO, "y": INFO}, {"a": INFO, "b": INFO}),
        ({"left": INFO, "right": INFO}, {"x": INFO, "y": INFO}),
    ],
)
def test_what_cannot_be_told_apart_is_asked_for(
    inputs: Mapping[str, Shape], outputs: Mapping[str, Shape]
) -> None:
    with pytest.raises(UsageError) as error:
        bound(TWINS, inputs, outputs)
    text = str(error.value)
    for part in ("x (2x3)", "y (2x3)", "--map "):
        assert part in text
    told = {"left": "x", "right": "y"} if "x" in inputs else {"a": "x", "b": "y"}
    assert bound(TWINS, inputs, outputs, told)
    # One of two is enough.
    assert bound(TWINS, inputs, outputs, dict(list(told.items())[:1]))


@pytest.mark.parametrize(
    ("inputs", "part"),
    [
        ({"data": (1, 3, 5, 7), "info": INFO}, "--input-shape"),
        ({"data": (2, 4, 5, 7), "info": INFO}, "data (2x4x5x7)"),
        ({"data": DATA, "info": INFO, "more": (2, 3)}, "more (2x3)"),
    ],
)
def test_inputs_that_do_not_fit_are_refused(inputs: Mapping[str, Shape], part: str) -> None:
    with pytest.raises(UsageError) as error:
        bound(NET, inputs, {"flat": FLAT, "rest": INFO})
    assert part in str(error.value)


@pytest.mark.parametrize(
    ("shape", "told", "parts"),
    [
        ((1, 3), {}, ["x (1x3)", "left (2x3)", "--input-shape left=1,3"]),
        ((1, 3), {"left": "x"}, ["--input-shape left=1,3"]),
        ((None, 4), {}, ["x (?x4)", "--input-shape left=N,4"]),
        ((2, 3, 1), {}, ["x (2x3x1)"]),
    ],
)
def test_the_only_input_of_other_sizes(
    shape: Shape, told: Mapping[str, str], parts: list[str]
) -> None:
    with pytest.raises(UsageError) as error:
        bound(ONE, {"x": shape}, {"a": None}, told)
    for part in ("the sizes do not fit", *parts):
        assert part in str(error.value)
    assert "--map" not in str(error.value)


def test_an_order_of_axes_that_does_not_give_the_sizes() -> None:
    net = ONE.replace("dim: 2 dim: 3", "dim: 2 dim: 3 dim: 5 dim: 7")
    with pytest.raises(UsageError) as error:
        bound(net, {"x": DATA}, {"a": DATA}, {"left": "x:NHWC"})
    assert "does not give the sizes of the file's input x (2x3x5x7)" in str(error.value)


def test_an_input_that_the_file_does_not_read_is_noted() -> None:
    found = bound(NET, {"data": DATA}, {"flat": FLAT, "rest": INFO})
    assert found.notes == ['the file has no input "info": it reads none']


def test_outputs_that_the_file_has_not_and_others() -> None:
    found = bound(NET, {"data": DATA, "info": INFO}, {"flat": FLAT})
    assert [blob.name for blob in found.missing] == ["rest"]
    outputs = {"flat": FLAT, "rest": INFO, "extra": (9,)}
    found = bound(NET, {"data": DATA, "info": INFO}, outputs)
    assert any('"extra"' in note for note in found.notes)


@pytest.mark.parametrize(
    ("told", "part"),
    [
        ({"nothing": "x"}, 'the map names "nothing", which is no blob of the net'),
        ({"data": "x"}, "the file has no input of that name"),
    ],
)
def test_a_map_of_what_is_not_there(told: Mapping[str, str], part: str) -> None:
    with pytest.raises(UsageError, match=part):
        bound(NET, {"data": DATA, "info": INFO}, {"flat": FLAT, "rest": INFO}, told)


def test_the_map_may_name_values_between() -> None:
    found = bound(NET, {"data": DATA, "info": INFO}, {"flat": FLAT, "rest": INFO}, {"rest": "v7"})
    assert {blob.name: name for blob, name in found.told.items()} == {"rest": "v7"}
