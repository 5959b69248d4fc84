"""Caffe's net to the neutral graph: names, sharing, storage, refusals."""

from __future__ import annotations

import numpy as np
import pytest

from converters.caffe import lower
from converters.lowering import LOWERINGS
from ir import Graph
from ir.ops import PRIMITIVES, Affine, Conv, Dropout, Mul, Relu, Reshape
from prototxt import parse_net
from prototxt.errors import NetError, UnsupportedError
from prototxt.parameters import bind_parameters
from prototxt.shapes import infer_shapes, known_types
from tests.golden_cases import CASES, Case, case_id

INPUT = (
    'layer { name: "in" type: "Input" top: "data" '
    "input_param { shape { dim: 2 dim: 4 dim: 7 dim: 5 } } }\n"
)
LOWERED = set(LOWERINGS) | {"Input"}


def graph_of(text: str, **options: str) -> Graph:
    net = parse_net(INPUT + text, **options)
    shapes = infer_shapes(net)
    return lower(net, shapes, bind_parameters(net, shapes, seed=3))


def names(graph: Graph) -> list[str]:
    return [value.name for node in graph.nodes for value in node.outputs]


def test_every_known_type_is_lowered() -> None:
    assert set(known_types()) == LOWERED


@pytest.mark.parametrize(
    "case", [c for c in CASES if {layer.type for layer in c.net()} <= LOWERED], ids=case_id
)
def test_goldens_lower_to_primitive_ops_only(case: Case) -> None:
    graph = lower(*case.load())
    graph.validate()
    assert {type(node.op) for node in graph.nodes} <= set(PRIMITIVES)


def test_last_versions_carry_the_names_of_their_blobs() -> None:
    graph = graph_of(
        """
        layer { name: "c" type: "Convolution" bottom: "data" top: "c"
                convolution_param { num_output: 3 kernel_size: 1 } }
        layer { name: "r" type: "ReLU" bottom: "c" top: "c" }
        layer { name: "d" type: "Dropout" bottom: "c" top: "c" }
        layer { name: "s" type: "Sigmoid" bottom: "c" top: "c" }
        """
    )
    assert names(graph) == ["c@0", "c@1", "c@2", "c"]
    assert graph.versions["c", 3] is graph.blobs["c"]
    assert [value.name for value in graph.outputs] == ["c"]


def test_an_input_rewritten_in_place_keeps_its_name_and_the_result_gets_a_version() -> None:
    graph = graph_of('layer { name: "r" type: "ReLU" bottom: "data" top: "data" }')
    assert [value.name for value in graph.inputs] == ["data"]
    assert [value.name for value in graph.outputs] == ["data@1"]
    assert graph.blobs["data"].name == "data@1"


def test_outputs_that_are_one_value_become_two() -> None:
    graph = graph_of(
        """
        layer { name: "r" type: "ReLU" bottom: "data" top: "r" }
        layer { name: "s" type: "Split" bottom: "r" top: "a" top: "b" }
        """
    )
    assert sorted(value.name for value in graph.outputs) == ["a", "b"]
    assert len(set(graph.outputs)) == 2


def test_an_input_handed_through_becomes_an_output_of_its_own() -> None:
    graph = graph_of('layer { name: "d" type: "Dropout" bottom: "data" top: "out" }')
    assert [value.name for value in graph.outputs] == ["out"]
    assert graph.outputs[0] is not graph.inputs[0]


def test_blobs_that_share_memory_follow_an_in_place_rewrite() -> None:
    # Caffe's Split copies nothing, so the ReLU on one top is seen through the others.
    graph = graph_of(
        """
        layer { name: "s" type: "Split" bottom: "data" top: "a" top: "b" }
        layer { name: "before" type: "Sigmoid" bottom: "b" top: "before" }
        layer { name: "r" type: "ReLU" bottom: "a" top: "a" }
        layer { name: "after" type: "Sigmoid" bottom: "b" top: "after" }
        """
    )
    before, relu, after = graph.nodes[:3]
    assert before.inputs == (graph.inputs[0],)
    assert after.inputs == relu.outputs
    assert graph.blobs["data"] is relu.output


@pytest.mark.parametrize(("order", "shares"), [("order: 0 order: 1", True), ("order: 1", False)])
def test_a_permute_that_moves_nothing_shares_its_bottoms_memory(order: str, shares: bool) -> None:
    graph = graph_of(
        f"""
        layer {{ name: "p" type: "Permute" bottom: "data" top: "a" permute_param {{ {order} }} }}
        layer {{ name: "r" type: "ReLU" bottom: "a" top: "a" }}
        layer {{ name: "after" type: "Sigmoid" bottom: "data" top: "after" }}
        """
    )
    assert graph.nodes[-1].inputs == ((graph.nodes[-2].output,) if shares else (graph.inputs[0],))


def test_a_permute_that_moves_nothing_may_be_in_place() -> None:
    graph = graph_of(
        """
        layer { name: "p" type: "Permute" bottom: "data" top: "data" permute_param { order: 0 } }
        layer { name: "r" type: "ReLU" bottom: "data" top: "r" }
        """
    )
    assert [node.inputs for node in graph.nodes] == [(graph.inputs[0],)]


def test_shared_parameters_are_one_value() -> None:
    layer = (
        'layer {{ name: "{0}" type: "Convolution" bottom: "data" top: "{0}" '
        'param {{ name: "w" }} param {{ name: "b" }} '
        "convolution_param {{ num_output: 3 kernel_size: 3 "
        "weight_filler {{ type: 'xavier' }} }} }}\n"
    )
    graph = graph_of(layer.format("one") + layer.format("two"))
    first, second = graph.nodes
    assert first.inputs[1:] == second.inputs[1:]
    assert [p.name for p in graph.parameters()] == ["one.weight", "one.bias"]


def test_shared_scales_are_one_value() -> None:
    layer = (
        'layer {{ name: "{0}" type: "Scale" bottom: "data" top: "{0}" param {{ name: "w" }} }}\n'
    )
    graph = graph_of(layer.format("one") + layer.format("two"))
    assert len(graph.parameters()) == 1


def test_batch_norm_records_its_folded_factor() -> None:
    graph = graph_of('layer { name: "bn" type: "BatchNorm" bottom: "data" top: "bn" }')
    assert [(origin.layer, origin.index, size) for origin, size, _ in graph.folded] == [
        ("bn", 2, 1)
    ]
    mean, variance = graph.parameters()
    assert mean.change == "divided by scale_factor 0"
    assert not np.any(variance.data)


def test_hostile_names_stay_apart() -> None:
    graph = graph_of(
        """
        layer { name: "c" type: "ReLU" bottom: "data" top: "x@0" }
        layer { name: "c" type: "ReLU" bottom: "x@0" top: "x" }
        layer { name: "c" type: "Sigmoid" bottom: "x" top: "x" }
        layer { name: "" type: "TanH" bottom: "x" top: "\\"); import os #" }
        """
    )
    assert len(set(names(graph))) == len(graph.nodes)
    assert graph.blobs["x@0"].name == "x@0"


def test_all_refused_layers_are_named_together() -> None:
    pool = (
        'layer {{ name: "{0}" type: "Pooling" bottom: "data" top: "{0}" '
        "pooling_param {{ {1} }} }}\n"
    )
    with pytest.raises(UnsupportedError) as caught:
        graph_of(
            pool.format("p", "pool: STOCHASTIC kernel_size: 2 stride: 2")
            + pool.format("q", "pool: AVE kernel_size: 1 stride: 3"),
            phase="TRAIN",
        )
    assert str(caught.value) == (
        "<text>: 2 layers cannot be converted\n"
        '  - layer "p" (<text>:2:1): stochastic pooling is random at TRAIN\n'
        '  - layer "q" (<text>:3:1): an average over a window outside the map: '
        "kernel (1, 1), stride (3, 3) on (7, 5), which Caffe divides by zero"
    )


def test_what_caffe_makes_of_windows_outside_is_said() -> None:
    with pytest.raises(UnsupportedError) as caught:
        graph_of(
            'layer { name: "p" type: "Pooling" bottom: "data" top: "p" '
            "pooling_param { pool: STOCHASTIC kernel_size: 1 stride: 3 } }"
        )
    assert "outside the map" in caught.value.what
    assert caught.value.what.endswith("on (7, 5), which Caffe makes 0")


def test_dropout_at_train_is_an_op() -> None:
    layer = (
        'layer {{ name: "d" type: "Dropout" bottom: "data" top: "d" '
        "dropout_param {{ dropout_ratio: {0} }} }}"
    )
    (node,) = graph_of(layer.format(0.25), phase="TRAIN").nodes
    assert node.op == Dropout(0.25)
    with pytest.raises(UnsupportedError, match="dropout_ratio 1 at TRAIN"):
        graph_of(layer.format(1), phase="TRAIN")


def test_a_net_of_inputs_only_is_refused() -> None:
    with pytest.raises(NetError, match="the net computes nothing"):
        graph_of("")


def test_a_net_that_ends_in_a_loss_without_a_top_says_so() -> None:
    with pytest.raises(NetError) as caught:
        graph_of(
            'layer { name: "loss" type: "EuclideanLoss" bottom: "data" bottom: "data" }\n'
            'layer { name: "void" type: "Silence" bottom: "data" }'
        )
    assert str(caught.value) == (
        "<text>: the net has no outputs: its last layers have no tops\n"
        '  - layer "loss" (<text>:2:1): EuclideanLoss\n'
        '  - layer "void" (<text>:3:1): Silence\n'
        "  expected: a layer that makes an output\n"
        '  to do: give layer "loss" a top'
    )


def test_a_product_in_place_is_what_caffe_computes() -> None:
    graph = graph_of(
        """
        layer { name: "a" type: "Sigmoid" bottom: "data" top: "a" }
        layer { name: "p" type: "Eltwise" bottom: "a" bottom: "data" top: "a"
                eltwise_param { operation: PROD } }
        """
    )
    assert names(graph) == ["a@0", "a"]


def test_a_parameter_shared_in_two_shapes_is_stored_once() -> None:
    graph = graph_of(
        """
        layer { name: "c" type: "Convolution" bottom: "data" top: "c"
                param { name: "w" } param { name: "b" }
                convolution_param { num_output: 4 kernel_size: 1 } }
        layer { name: "s" type: "Scale" bottom: "c" top: "s" param { name: "b" } }
        """
    )
    assert [p.name for p in graph.parameters()] == ["c.weight", "c.bias"]
    assert [type(node.op) for node in graph.nodes] == [Conv, Reshape, Mul]


def test_statistics_that_one_layer_folds_and_another_stores_are_stored() -> None:
    layer = (
        'layer {{ name: "{0}" type: "BatchNorm" bottom: "data" top: "{0}" '
        'param {{ name: "m" }} param {{ name: "v" }} param {{ name: "f" }} '
        "batch_norm_param {{ use_global_stats: {1} }} }}\n"
    )
    graph = graph_of(layer.format("one", "false") + layer.format("two", "true"))
    assert {(p.origin.layer, p.origin.index) for p in graph.parameters() if p.origin} == {
        ("one", 0),
        ("one", 1),
    }
    assert [(origin.layer, origin.index) for origin, _, _ in graph.folded] == [("one", 2)]


@pytest.mark.parametrize(
    ("power", "shift", "value"),
    [
        ("-1", "0", "inf"),
        ("0.5", "-1", "nan"),
        ("1e30", "10", "inf"),
        ("0", "5", "1.0"),
        ("3", "2", "8.0"),
    ],
)
def test_power_without_its_input_is_caffes_number(power: str, shift: str, value: str) -> None:
    graph = graph_of(
        'layer { name: "p" type: "Power" bottom: "data" top: "p" '
        f"power_param {{ power: {power} scale: 0 shift: {shift} }} }}"
    )
    (node,) = graph.nodes
    assert isinstance(node.op, Affine)
    assert (node.op.scale, str(node.op.shift)) == (0.0, value)


def test_lrn_at_the_edges_of_its_settings() -> None:
    layer = (
        'layer {{ name: "l" type: "LRN" bottom: "data" top: "l" '
        "lrn_param {{ local_size: 3 {0} }} }}\n"
        'layer {{ name: "r" type: "ReLU" bottom: "l" top: "r" }}'
    )
    assert [type(n.op) for n in graph_of(layer.format("beta: 0")).nodes] == [Relu]
    scaled = graph_of(layer.format("alpha: 0 beta: 2 k: 4")).nodes[0].op
    assert isinstance(scaled, Affine)
    assert (scaled.scale, scaled.shift) == (1 / 16, 0.0)
    with pytest.raises(UnsupportedError, match=r"LRN with alpha -1 and beta 0\.75"):
        graph_of(layer.format("alpha: -1 beta: 0.75"))


def test_a_layers_own_phase_counts_before_the_nets() -> None:
    graph = graph_of(
        'layer { name: "bn" type: "BatchNorm" bottom: "data" top: "bn" phase: TRAIN }\n'
        'layer { name: "d" type: "Dropout" bottom: "bn" top: "d" }\n'
    )
    assert not graph.parameters()
    text = 'layer { name: "d" type: "Dropout" bottom: "data" top: "d" phase: TRAIN }'
    assert graph_of(text).nodes[0].op == Dropout(0.5)
