"""Weights put to the layers that own them: sharing, misfits together, holes, drawn values."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from prototxt import Net, parse_net
from prototxt.errors import NetError, WeightsError
from prototxt.parameters import Parameters, bind_parameters
from prototxt.shapes import infer_shapes
from prototxt.weights import LayerWeights, Weights

INPUT = 'layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 2 dim: 3 } } }\n'
XAVIER = 'weight_filler { type: "xavier" }'


def ip(name: str, bottom: str = "data", outputs: int = 3, more: str = "", param: str = "") -> str:
    return (
        f'layer {{ name: "{name}" type: "InnerProduct" bottom: "{bottom}" top: "{name}" {more} '
        f"inner_product_param {{ num_output: {outputs} {param} }} }}\n"
    )


def net_of(*layers: str) -> Net:
    return parse_net('name: "n" ' + INPUT + "".join(layers), "net.prototxt")


def stored(name: str, *blobs: NDArray[Any]) -> LayerWeights:
    return LayerWeights(name, "InnerProduct", blobs)


def values(*shape: int, start: float = 0.0) -> NDArray[np.float32]:
    return (start + np.arange(np.prod(shape), dtype=np.float32)).reshape(shape)


def bind(net: Net, *layers: LayerWeights, net_name: str = "") -> Parameters:
    weights = Weights("w.caffemodel", "caffemodel-v2", layers, net_name)
    return bind_parameters(net, infer_shapes(net), weights)


def refusal(net: Net, *layers: LayerWeights, net_name: str = "") -> str:
    with pytest.raises(WeightsError) as caught:
        bind(net, *layers, net_name=net_name)
    return str(caught.value)


def test_each_layer_gets_its_own() -> None:
    net = net_of(ip("a"), ip("b", outputs=4))
    parameters = bind(
        net, stored("b", values(4, 3), values(4)), stored("a", values(3, 3), values(3))
    )
    assert [array.shape for array in parameters[1]] == [(3, 3), (3,)]
    assert [array.shape for array in parameters[2]] == [(4, 3), (4,)]
    assert parameters[0] == ()
    assert parameters.count == 3 * 3 + 3 + 4 * 3 + 4
    assert (parameters.source, parameters.drawn, parameters.notes) == ("w.caffemodel", False, ())


def test_nothing_is_copied() -> None:
    weight = values(3, 3)
    parameters = bind(net_of(ip("a")), stored("a", weight, values(3)))
    assert np.shares_memory(parameters[1][0], weight)


def test_legacy_shapes_of_four_axes() -> None:
    blobs = values(1, 1, 3, 3), values(1, 1, 1, 3)
    parameters = bind(net_of(ip("a")), stored("a", *blobs))
    assert [array.shape for array in parameters[1]] == [(3, 3), (3,)]


def test_doubles_become_float32() -> None:
    blobs = (np.full((3, 3), 0.1), np.full(3, 0.1))
    parameters = bind(net_of(ip("a")), stored("a", *blobs))
    assert {array.dtype for array in parameters[1]} == {np.dtype(np.float32)}
    assert parameters[1][0][0, 0] == np.float32(0.1)


# --- misfits --------------------------------------------------------------------------------------


def test_all_misfits_are_listed_together() -> None:
    net = net_of(
        ip("fc1"),
        ip("fc2", outputs=4),
        ip("fc3"),
        ip("fc4"),
        'layer { name: "relu" type: "ReLU" bottom: "fc4" top: "relu" }\n',
    )
    message = refusal(
        net,
        stored("fc2", values(5, 3), values(5)),
        stored("fc3", values(3, 3)),
        stored("fc4", values(3, 3), values(3), values(3)),
        stored("relu", values(1)),
        stored("fc1_b", values(3, 3), values(3)),
        net_name="other",
    )
    assert message == (
        'w.caffemodel: the weights of the net "other" do not fit the net "n" (net.prototxt)\n'
        '  - layer "fc2": weight is (5, 3) in the weights, (4, 3) in the net; '
        "bias is (5,) in the weights, (4,) in the net\n"
        '  - layer "fc3": 1 parameter in the weights, 2 in the net (weight, bias)\n'
        '  - layer "fc4": 3 parameters in the weights, 2 in the net (weight, bias)\n'
        '  - layer "relu": 1 parameter in the weights, none in the net\n'
        '  - layer "fc1": not in the weights; the nearest there is "fc1_b"\n'
        "  expected: each layer that has parameters, by name and with the net's shapes; "
        "the file has 5 layers with weights\n"
        "  to do: give the weights that were trained for this definition, "
        "or the definition they belong to"
    )


def test_a_long_list_is_cut() -> None:
    net = net_of(*(ip(f"layer{i}") for i in range(25)))
    lines = refusal(net, stored("x", values(1))).splitlines()
    assert lines[0] == 'w.caffemodel: the weights do not fit the net "n" (net.prototxt)'
    assert lines[20:22] == ['  - layer "layer19": not in the weights', "  - and 5 more"]


def test_layers_that_the_net_has_not_are_noted() -> None:
    spare = [stored(f"s{i}", values(1)) for i in range(23)]
    parameters = bind(net_of(ip("a")), stored("a", values(3, 3), values(3)), *spare)
    shown = ", ".join(f"s{i}" for i in range(20)) + ", ..."
    assert parameters.left_out == tuple(f"s{i}" for i in range(23))
    assert parameters.notes == (f"23 layers of the weights not in the net, left out: {shown}",)
    parameters = bind(net_of(ip("a")), stored("a", values(3, 3), values(3)), spare[0])
    assert parameters.notes == ("1 layer of the weights not in the net, left out: s0",)


def test_a_transposed_weight_is_a_misfit() -> None:
    net = net_of(ip("a", outputs=4))
    assert "weight is (3, 4) in the weights, (4, 3) in the net" in refusal(
        net, stored("a", values(3, 4), values(4))
    )


def test_two_layers_of_one_name() -> None:
    net = net_of(ip("a"), ip("a").replace('top: "a"', 'top: "b"'))
    assert (
        '  - layer "a" (net.prototxt:3:1): the net has two layers of this name with parameters, '
        "and Caffe would fill only the first\n"
    ) in refusal(net, stored("a", values(3, 3), values(3)))


def test_of_two_stored_layers_of_one_name_the_last_counts() -> None:
    first, last = (stored("a", values(3, 3, start=s), values(3)) for s in (0, 100))
    assert bind(net_of(ip("a")), first, last)[1][0][0, 0] == 100


# --- sharing --------------------------------------------------------------------------------------

SHARED = 'param { name: "w" } param { name: "b" }'


def test_a_shared_parameter_is_one_array() -> None:
    net = net_of(ip("a", more=SHARED), ip("b", "a", more=SHARED))
    parameters = bind(
        net, stored("a", values(3, 3), values(3)), stored("b", values(3, 3), values(3))
    )
    assert np.shares_memory(parameters[1][0], parameters[2][0])
    assert parameters.count == 3 * 3 + 3
    assert [key for key, _ in parameters.owned()] == [(1, 0), (1, 1)]
    assert parameters.owners[2, 1] == (1, 1)
    assert parameters.notes == ()


def test_a_sharer_may_be_absent_from_the_weights() -> None:
    net = net_of(ip("a", more=SHARED), ip("b", "a", more=SHARED))
    parameters = bind(net, stored("a", values(3, 3), values(3)))
    assert np.shares_memory(parameters[1][0], parameters[2][0])


def test_other_values_of_a_shared_parameter_are_noted_and_the_last_count() -> None:
    net = net_of(ip("a", more=SHARED), ip("b", "a", more=SHARED))
    parameters = bind(
        net, stored("a", values(3, 3), values(3)), stored("b", values(3, 3, start=9), values(3))
    )
    assert parameters[1][0][0, 0] == 9
    assert parameters.notes == (
        (
            'layer "b" stores other values for a parameter that it shares with "a"; '
            "as in Caffe, the last ones count"
        ),
    )


def test_strict_sharing_needs_equal_shapes() -> None:
    net = net_of(
        ip("a", outputs=4, more='param { name: "w" }'), ip("b", more='param { name: "w" }')
    )
    with pytest.raises(NetError) as caught:
        bind_parameters(net, infer_shapes(net))
    assert str(caught.value) == (
        'net.prototxt:3:1: layer "b": shared parameter "w" has shape (3, 3) here and (4, 3) in '
        'layer "a", which owns it\n'
        "  expected: the same shape\n"
        "  to do: share_mode: PERMISSIVE allows another shape of the same size"
    )


def test_permissive_sharing_reshapes() -> None:
    other = 'param { name: "w" share_mode: PERMISSIVE }'
    wide = (
        'layer { name: "wide" type: "Input" top: "wide" input_param { shape { dim: 2 dim: 4 } } }'
    )
    net = net_of(wide, ip("a", outputs=4, more='param { name: "w" }'), ip("b", "wide", more=other))
    parameters = bind_parameters(net, infer_shapes(net))
    assert [parameters[2][0].shape, parameters[3][0].shape] == [(4, 3), (3, 4)]
    assert np.shares_memory(parameters[2][0], parameters[3][0])


def test_permissive_sharing_needs_equal_sizes() -> None:
    other = 'param { name: "w" share_mode: PERMISSIVE }'
    net = net_of(ip("a", outputs=4, more='param { name: "w" }'), ip("b", outputs=5, more=other))
    with pytest.raises(NetError) as caught:
        bind_parameters(net, infer_shapes(net))
    assert str(caught.value) == (
        'net.prototxt:3:1: layer "b": shared parameter "w" has shape (5, 3) here and (4, 3) in '
        'layer "a", which owns it\n'
        "  expected: the same number of values"
    )


HOLE = np.zeros(0, np.float32)


@pytest.mark.parametrize("blobs", [(HOLE, values(3, start=5)), (HOLE, HOLE), (HOLE,), ()])
def test_holes_of_hdf5_are_filled_by_their_owners(blobs: tuple[NDArray[Any], ...]) -> None:
    net = net_of(ip("a", more=SHARED), ip("b", "a", more=SHARED))
    parameters = bind(net, stored("a", values(3, 3), values(3)), stored("b", *blobs))
    assert np.array_equal(parameters[2][0], values(3, 3))


def test_a_hole_that_no_other_layer_fills_is_a_misfit() -> None:
    net = net_of(ip("a"))
    message = refusal(net, stored("a", HOLE, values(3)))
    assert '  - layer "a": weight is not in the weights\n' in message


# --- drawn ----------------------------------------------------------------------------------------


def drawn(net: Net, seed: int = 0) -> dict[str, list[NDArray[np.float32]]]:
    parameters = bind_parameters(net, infer_shapes(net), seed=seed)
    return {layer.name: list(parameters[layer.index]) for layer in net if parameters[layer.index]}


def test_drawn_values_depend_on_seed_and_name_alone() -> None:
    a, b, c = (ip(name, param=XAVIER) for name in "abc")
    first, second = drawn(net_of(a, b)), drawn(net_of(c, b, a))
    assert all(np.array_equal(first[name][0], second[name][0]) for name in "ab")
    assert not np.array_equal(first["a"][0], first["b"][0])
    assert not np.array_equal(first["a"][0], drawn(net_of(a), seed=1)["a"][0])
    assert np.array_equal(first["a"][0], drawn(net_of(a), seed=0)["a"][0])


def test_drawn_values_say_so() -> None:
    net = net_of(ip("a", param=XAVIER))
    parameters = bind_parameters(net, infer_shapes(net), seed=7)
    assert parameters.drawn
    assert parameters.source == "drawn from the net's fillers (seed 7), not trained"
    assert parameters.notes == ()


def test_weights_that_are_zero_for_want_of_fillers_are_noted() -> None:
    net = net_of(ip("a", param=XAVIER), ip("b"), ip("c"))
    parameters = bind_parameters(net, infer_shapes(net))
    (note,) = parameters.notes
    assert note == (
        "the drawn weights of 2 of 3 layers are all zero, since the net states no weight_filler "
        "for them and Caffe's default is 0: comparing zeros proves little; give the weights file, "
        'or add fillers such as weight_filler { type: "xavier" }'
    )


def test_a_filler_that_caffe_refuses_is_an_error_of_its_layer() -> None:
    net = net_of(ip("a", param='weight_filler { type: "xavierr" }'))
    with pytest.raises(NetError) as caught:
        bind_parameters(net, infer_shapes(net))
    assert str(caught.value) == (
        'net.prototxt:2:1: layer "a": filler of weight: unknown type "xavierr"\n'
        "  expected: one of constant, uniform, gaussian, positive_unitball, xavier, msra, bilinear"
    )


def test_parameters_that_no_memory_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr("prototxt.parameters.draw", refuse)
    net = net_of(ip("a"))
    with pytest.raises(NetError) as caught:
        bind_parameters(net, infer_shapes(net))
    assert str(caught.value) == (
        'net.prototxt:2:1: layer "a": weight has 9 values, more than memory holds\n'
        "  expected: parameters of a size that fits"
    )


# --- written in the prototxt ----------------------------------------------------------------------

BLOBS = (
    "blobs { shape { dim: 2 dim: 3 } data: [1, 2, 3, 4, 5, 6] } "
    "blobs { num: 1 channels: 1 height: 1 width: 2 double_data: [7, 8] }"
)


def test_blobs_in_the_prototxt_stand_in_for_fillers() -> None:
    net = net_of(ip("a", outputs=2, more=BLOBS, param=XAVIER), ip("b", param=XAVIER))
    parameters = bind_parameters(net, infer_shapes(net))
    weight, bias = parameters[1]
    assert weight.tolist() == [[1, 2, 3], [4, 5, 6]]
    assert bias.tolist() == [7, 8]
    assert parameters.notes == ("not drawn, but taken from blobs in the prototxt: a",)


def test_old_definitions_hold_blobs_too() -> None:
    text = (
        'layers { name: "a" type: INNER_PRODUCT bottom: "data" top: "a" blobs { num: 1 channels: 1 '
        "height: 2 width: 3 data: [1, 2, 3, 4, 5, 6] } "
        "inner_product_param { num_output: 2 bias_term: false } }"
    )
    net = parse_net('input: "data" input_shape { dim: 2 dim: 3 } ' + text)
    assert drawn(net)["a"][0].tolist() == [[1, 2, 3], [4, 5, 6]]


def test_weights_go_before_blobs_in_the_prototxt() -> None:
    net = net_of(ip("a", outputs=2, more=BLOBS), ip("b", outputs=2, more=BLOBS))
    parameters = bind(net, stored("a", values(2, 3), values(2)))
    assert parameters[1][0].tolist() == values(2, 3).tolist()
    assert parameters[2][0].tolist() == [[1, 2, 3], [4, 5, 6]]
    assert parameters.notes == ('layer "b": not in the weights; taken from blobs in the prototxt',)


def test_the_owner_of_a_shared_parameter_has_the_blobs_that_count() -> None:
    share = 'param { name: "w" } param { name: "b" } '
    net = net_of(ip("a", outputs=2, more=share + BLOBS), ip("b", outputs=2, more=share))
    assert drawn(net)["b"][0].tolist() == [[1, 2, 3], [4, 5, 6]]


def test_recurrent_layers_forget_blobs() -> None:
    net = parse_net(
        'layer { name: "x" type: "Input" top: "x" top: "c" '
        "input_param { shape { dim: 1 dim: 1 dim: 1 } shape { dim: 1 dim: 1 } } }"
        'layer { name: "h" type: "RNN" bottom: "x" bottom: "c" top: "h" blobs { data: 3 } '
        "recurrent_param { num_output: 1 } }"
    )
    assert drawn(net)["h"][0].tolist() == [[0]]


@pytest.mark.parametrize(
    ("outputs", "expected"),
    [
        (
            3,
            (
                'layer "a": the definition holds 6 values of shape (2, 3) for weight\n'
                "  expected: 9 of shape (3, 3)"
            ),
        ),
        (
            "2 bias_term: false",
            'layer "a": 2 blobs in the definition\n  expected: 1 (weight)',
        ),
    ],
)
def test_blobs_in_the_prototxt_that_do_not_fit(outputs: int, expected: str) -> None:
    net = net_of(ip("a", outputs=outputs, more=BLOBS))
    with pytest.raises(NetError) as caught:
        bind_parameters(net, infer_shapes(net))
    assert str(caught.value) == f"net.prototxt:2:1: {expected}"
