"""Open sizes: which axes are, what each Reshape copies and infers, and which layers refuse."""

from __future__ import annotations

import numpy as np
import pytest

from converters.open_sizes import lower_open, other_sizes
from ir import Graph
from ir.ops import Identity, PriorBoxes, Reshape
from prototxt import parse_net
from prototxt.errors import UnsupportedError, UsageError
from prototxt.parameters import bind_parameters
from prototxt.shapes import infer_shapes

INPUT = (
    'layer { name: "in" type: "Input" top: "data" '
    "input_param { shape { dim: 2 dim: 3 dim: 40 dim: 50 } } }\n"
)
CONV = (
    'layer { name: "conv" type: "Convolution" bottom: "data" top: "conv" '
    "convolution_param { num_output: 4 kernel_size: 3 stride: 2 "
    'weight_filler { type: "xavier" } } }\n'
)
BOTH = ("batch", "spatial")


def opened(text: str, *dynamic: str) -> Graph:
    net = parse_net(INPUT + text)
    shapes = infer_shapes(net)
    return lower_open(net, shapes, bind_parameters(net, shapes, seed=1), dynamic)


def refusal(text: str, *dynamic: str) -> str:
    with pytest.raises(UnsupportedError) as caught:
        opened(text, *dynamic)
    return str(caught.value)


def test_nothing_is_open_unless_asked() -> None:
    graph = opened(CONV)
    assert all(value.dims is None for value in graph.versions.values())


def test_batch_and_spatial_sizes_have_names() -> None:
    graph = opened(CONV, *BOTH)
    assert graph.inputs[0].dims == ("batch", 3, "height", "width")
    assert graph.outputs[0].dims == ("batch", 4, "conv.height", "conv.width")
    assert graph.outputs[0].open_axes == {0, 2, 3}
    assert opened(CONV, "batch").outputs[0].dims == ("batch", 4, 19, 24)
    assert opened(CONV, "spatial").outputs[0].dims == (2, 4, "conv.height", "conv.width")


def test_elementwise_ops_keep_the_names_of_their_input() -> None:
    graph = opened(CONV + 'layer { name: "r" type: "Sigmoid" bottom: "conv" top: "r" }', "spatial")
    assert graph.outputs[0].dims == (2, 4, "conv.height", "conv.width")


def test_inputs_of_the_same_sizes_share_names_and_others_have_their_own() -> None:
    net = parse_net(
        'layer { name: "in" type: "Input" top: "a" top: "b" top: "c" input_param { '
        "shape { dim: 2 dim: 3 dim: 8 dim: 9 } shape { dim: 2 dim: 5 dim: 8 dim: 9 } "
        "shape { dim: 2 dim: 3 dim: 10 dim: 9 } } }"
        'layer { name: "s" type: "Concat" bottom: "a" bottom: "b" top: "s" }'
        'layer { name: "r" type: "ReLU" bottom: "c" top: "r" }'
    )
    shapes = infer_shapes(net)
    graph = lower_open(net, shapes, bind_parameters(net, shapes), BOTH)
    assert [value.dims for value in graph.inputs] == [
        ("batch", 3, "height", "width"),
        ("batch", 5, "height", "width"),
        ("batch", 3, "c.height", "width"),
    ]


def test_a_size_that_looks_like_another_inputs_has_a_name_of_its_own() -> None:
    # As long as both grow alike, b's height less 2 is a's; a user may feed others.
    net = parse_net(
        'layer { name: "in" type: "Input" top: "a" top: "b" input_param { '
        "shape { dim: 2 dim: 3 dim: 8 dim: 9 } shape { dim: 2 dim: 3 dim: 10 dim: 9 } } }"
        'layer { name: "c" type: "Convolution" bottom: "b" top: "c" convolution_param { '
        "num_output: 2 kernel_h: 3 kernel_w: 1 } }"
        'layer { name: "r" type: "ReLU" bottom: "a" top: "r" }'
    )
    shapes = infer_shapes(net)
    graph = lower_open(net, shapes, bind_parameters(net, shapes), BOTH)
    assert graph.blobs["c"].dims == ("batch", 2, "c.height", "width")
    assert graph.blobs["r"].dims == ("batch", 3, "height", "width")


def test_a_classifier_refuses_other_image_sizes_by_the_layer_that_fixes_them() -> None:
    text = CONV + (
        'layer { name: "fc" type: "InnerProduct" bottom: "conv" top: "fc" '
        "inner_product_param { num_output: 7 } }"
    )
    message = refusal(text, "spatial")
    assert message.startswith(
        '<text>:3:1: layer "fc": InnerProduct fixes the size: its weight has shape (7, 1824), and '
        "would need (7, 7840) at data=2,3,72,114"
    )
    assert "convert once for each size with --input-shape" in message
    assert opened(text, "batch").outputs[0].dims == ("batch", 7)


@pytest.mark.parametrize(
    "text",
    [
        'type: "InnerProduct" bottom: "a" top: "b" inner_product_param { num_output: 2 }',
        'type: "Slice" bottom: "a" top: "b" top: "c" slice_param { axis: 2 slice_point: 3 }',
    ],
)
def test_of_layers_of_the_same_name_the_right_one_is_named(text: str) -> None:
    same = 'layer {{ name: "same" {} }}\n'
    before = same.format('type: "ReLU" bottom: "data" top: "r"')
    before += same.format('type: "TanH" bottom: "r" top: "a"')
    message = refusal(before + same.format(text), "spatial")
    kind = text.split('"')[1]
    assert message.startswith(f'<text>:4:1: layer "same": {kind} fixes the size: ')


def test_reshapes_copy_and_infer_what_is_open() -> None:
    text = (
        'layer { name: "s" type: "Reshape" bottom: "data" top: "s" '
        "reshape_param { shape { dim: 0 dim: 3 dim: -1 } } }"
    )
    graph = opened(text, *BOTH)
    (op,) = [node.op for node in graph.nodes if isinstance(node.op, Reshape)]
    assert op.pattern == (0, 3, -1)
    assert graph.outputs[0].dims == ("batch", 3, "s.length")


def test_a_reshape_to_a_fixed_batch_is_named() -> None:
    text = (
        'layer { name: "s" type: "Reshape" bottom: "data" top: "s" '
        "reshape_param { shape { dim: 2 dim: -1 dim: 5 } } }"
        'layer { name: "f" type: "Slice" bottom: "s" top: "a" top: "b" '
        "slice_param { axis: 1 slice_point: 600 } }"
    )
    message = refusal(text, "batch")
    assert 'layer "f": Slice fixes the size' in message


def test_a_sum_of_maps_that_meet_at_some_sizes_only_stays_open() -> None:
    # Down by 2 and up by 2 again: equal for even sizes, which are the ones that a user may feed.
    text = (
        'layer { name: "p" type: "Pooling" bottom: "data" top: "p" '
        "pooling_param { pool: MAX kernel_size: 2 stride: 2 } }"
        'layer { name: "u" type: "Deconvolution" bottom: "p" top: "u" convolution_param { '
        "num_output: 3 kernel_size: 2 stride: 2 } }"
        'layer { name: "e" type: "Eltwise" bottom: "u" bottom: "data" top: "e" }'
    )
    graph = opened(text, "spatial")
    assert graph.outputs[0].open_axes == {2, 3}
    net = parse_net(INPUT + text)
    for sizes in other_sizes(net, infer_shapes(net), ["spatial"]):
        assert sizes["data"][2] % 2 == 0
        assert sizes["data"][3] % 2 == 0


def priors(bottoms: str, fields: str = "") -> str:
    reads = " ".join(f'bottom: "{bottom}"' for bottom in bottoms.split())
    return (
        f'layer {{ name: "boxes" type: "PriorBox" {reads} top: "boxes" '
        f"prior_box_param {{ min_size: 9 max_size: 20 {fields} }} }}"
    )


WHOLE = CONV + (
    'layer { name: "g" type: "Pooling" bottom: "conv" top: "g" '
    "pooling_param { pool: AVE global_pooling: true } }"
)
PRIORS = [
    # net, kinds of open sizes, settings where priors are computed, sizes of what they make
    (CONV + priors("conv data"), ("spatial",), PriorBoxes(), (1, 2, "boxes.length")),
    (CONV + priors("data data", "step: 8"), BOTH, PriorBoxes(0.5, 8.0, 8.0),
     (1, 2, "boxes.length")),
    (CONV + priors("conv", "img_size: 40 clip: true"), ("spatial",),
     PriorBoxes(0.5, 0.0, 0.0, 40, 40, True), (1, 2, "boxes.length")),
    # Of one place, in parts of an image of any size: as many numbers in any case.
    (WHOLE + priors("g data"), BOTH, PriorBoxes(), None),
    (WHOLE + priors("g data", "img_h: 40 img_w: 50"), BOTH, None, None),
    (CONV + priors("conv data"), ("batch",), None, None),
    (CONV + priors("conv data"), (), None, None),
]  # fmt: skip


@pytest.mark.parametrize(("text", "dynamic", "op", "dims"), PRIORS)
def test_priors_are_computed_where_a_size_that_they_follow_from_is_open(
    text: str, dynamic: tuple[str, ...], op: PriorBoxes | None, dims: tuple[int | str, ...] | None
) -> None:
    graph = opened(text, *dynamic)
    (node,) = [node for node in graph.nodes if node.layer == "boxes"]
    assert node.op == (op or Identity())
    assert node.output.dims == dims


def test_behind_a_filter_the_number_of_samples_is_open() -> None:
    text = (
        'layer { name: "sel" type: "Input" top: "sel" input_param { shape { dim: 2 } } }'
        'layer { name: "f" type: "Filter" bottom: "data" bottom: "sel" top: "f" }'
    )
    graph = opened(text)
    assert graph.inputs[0].dims is None
    assert graph.outputs[0].dims == ("f.0", 3, 40, 50)
    message = refusal(
        text + 'layer { name: "loss" type: "Reduction" bottom: "f" top: "loss" '
        "reduction_param { axis: 0 } }"
        'layer { name: "s" type: "Reshape" bottom: "f" top: "s" '
        "reshape_param { shape { dim: 2 dim: -1 } } }"
        'layer { name: "ip" type: "InnerProduct" bottom: "s" top: "ip" '
        "inner_product_param { num_output: 2 } }"
    )
    assert 'layer "ip"' in message
    assert 'the Filter layer "f"' in message


def test_mistakes_are_refused() -> None:
    with pytest.raises(UsageError, match='unknown kind of open size "time"'):
        opened(CONV, "time")
    net = parse_net(
        'layer { name: "in" type: "Input" top: "x" input_param { shape { dim: 4 dim: 5 } } }'
        'layer { name: "r" type: "ReLU" bottom: "x" top: "r" }'
    )
    shapes = infer_shapes(net)
    with pytest.raises(UsageError, match="--dynamic spatial: no input has such an axis"):
        lower_open(net, shapes, bind_parameters(net, shapes), ["spatial"])


def test_sizes_of_both_parities_are_looked_at_on_each_axis() -> None:
    # Down by 2 and up by 2 again: the size that was, if it was even.
    text = (
        'layer { name: "p" type: "Pooling" bottom: "data" top: "p" '
        "pooling_param { pool: MAX kernel_size: 2 stride: 2 } }"
        'layer { name: "t" type: "Tile" bottom: "p" top: "t" tile_param { axis: 2 tiles: 2 } }'
        'layer { name: "u" type: "Tile" bottom: "t" top: "u" tile_param { axis: 3 tiles: 2 } }'
    )
    assert opened(text, "spatial").outputs[0].dims == (2, 3, "u.height", "u.width")
    net = parse_net(INPUT + text)
    sizes = [size["data"] for size in other_sizes(net, infer_shapes(net), ["spatial"])]
    assert any(height % 2 for *_, height, _ in sizes)
    assert any(width % 2 for *_, width in sizes)


def test_other_sizes_are_odd_where_the_net_takes_them() -> None:
    net = parse_net(INPUT + CONV)
    sizes = other_sizes(net, infer_shapes(net), BOTH)
    assert len(sizes) == 2
    assert all(size["data"] != (2, 3, 40, 50) for size in sizes)
    assert any(size["data"][2] % 2 for size in sizes)
    assert len({size["data"][0] for size in sizes}) == 2


def test_weights_are_not_copied() -> None:
    net = parse_net(INPUT + CONV)
    shapes = infer_shapes(net)
    parameters = bind_parameters(net, shapes, seed=1)
    graph = lower_open(net, shapes, parameters, BOTH)
    weight = graph.parameters()[0].data
    assert np.shares_memory(weight, parameters[1][0])


def test_there_are_no_other_sizes_where_parameters_would_have_another_shape() -> None:
    net = parse_net(
        INPUT + 'layer { name: "fc" type: "InnerProduct" bottom: "data" top: "fc" '
        "inner_product_param { num_output: 7 } }"
    )
    shapes = infer_shapes(net)
    assert len(other_sizes(net, shapes, ["batch"])) == 2
    with pytest.raises(UnsupportedError, match="the net does not take other spatial sizes"):
        other_sizes(net, shapes, ["spatial"])
