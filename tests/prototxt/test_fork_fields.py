"""Fields of forks: those that change what is computed are honoured or refused, never skipped."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from prototxt import caffe_pb2 as pb
from prototxt.errors import PrototxtError, UnsupportedError
from prototxt.fork_fields import fork_fields
from prototxt.load import parse_net
from prototxt.net import Net
from prototxt.shapes import infer_shapes
from tests import fork_fields as docs
from verify import reference

HANDLINGS = {"honoured", "ignored", "noted", "refused"}


def net_of(fields: str, layer: str = "Pooling", state: str = "") -> Net:
    return parse_net(
        'layer { name: "data" type: "Input" top: "data"'
        " input_param { shape { dim: 1 dim: 2 dim: 8 dim: 7 } } }\n"
        f'layer {{ name: "x" type: "{layer}" bottom: "data" top: "x" {fields} {state} }}'
    )


def top_shape(net: Net) -> tuple[int, ...]:
    return infer_shapes(net).blobs[net.finals["x"]]


def test_every_field_has_a_handling() -> None:
    for key, field in fork_fields().items():
        assert field.handling in HANDLINGS, key
        assert field.reason, key
        assert field.forks, key


def test_what_the_schema_has_is_honoured() -> None:
    """But for what is honoured: what the schema has is read, and no row may say otherwise."""
    for (message, name), field in fork_fields().items():
        kinds = getattr(pb, message).DESCRIPTOR.fields_by_name
        assert name not in kinds or field.handling == "honoured", (message, name)


def test_the_page_is_the_table() -> None:
    assert docs.PAGE.read_text(encoding="utf-8") == docs.page()


@pytest.mark.parametrize(
    ("fields", "size"),
    [
        ("kernel_size: 3 stride: 2", (4, 3)),
        ("kernel_size: 3 stride: 2 ceil_mode: true", (4, 3)),
        ("kernel_size: 3 stride: 2 ceil_mode: false", (3, 3)),
        ("kernel_size: 3 stride: 2 ceil_mode: 0 round_mode: FLOOR", (3, 3)),
    ],
)
def test_ceil_mode_is_round_mode(fields: str, size: tuple[int, int]) -> None:
    net = net_of(f"pooling_param {{ {fields} }}")
    assert top_shape(net) == (1, 2, *size)
    assert not net.warnings


def test_ceil_mode_in_v1_layers() -> None:
    net = parse_net(
        'input: "data" input_shape { dim: 1 dim: 2 dim: 8 dim: 7 }\n'
        'layers { name: "x" type: POOLING bottom: "data" top: "x"'
        " pooling_param { kernel_size: 3 stride: 2 ceil_mode: false } }"
    )
    assert top_shape(net) == (1, 2, 3, 3)


def test_dilation_of_each_axis() -> None:
    """The values are those of BVLC's own spelling."""
    fork = net_of("convolution_param { num_output: 2 kernel_size: 2 dilation_h: 2 dilation_w: 3 }",
                  "Convolution")  # fmt: skip
    own = net_of("convolution_param { num_output: 2 kernel_size: 2 dilation: 2 dilation: 3 }",
                 "Convolution")  # fmt: skip
    rng = np.random.default_rng(0)
    parameters = {1: (rng.standard_normal((2, 2, 2, 2)), rng.standard_normal(2)), 0: ()}
    feed = {"data": rng.standard_normal((1, 2, 8, 7))}
    got, want = (reference.run(net, parameters, feed)[net.finals["x"]] for net in (fork, own))
    assert got.shape == (1, 2, 6, 4)
    np.testing.assert_array_equal(got, want)


def test_shapes_of_video_caffe() -> None:
    net = net_of(
        "convolution_param { num_output: 3 kernel_shape { dim: 3 dim: 2 } stride_shape { dim: 2 "
        "dim: 1 } pad_shape { dim: 1 dim: 0 } }",
        "Convolution",
    )
    assert top_shape(net) == (1, 3, 4, 6)


@pytest.mark.parametrize(
    ("fields", "layer", "what"),
    [
        ("pooling_param { kernel_size: 2 ceil_mode: 0 round_mode: CEIL }", "Pooling", "different"),
        ("pooling_param { kernel_size: 2 ceil_mode: maybe }", "Pooling", "ceil_mode"),
        ("convolution_param { num_output: 1 kernel_size: 1 dilation_h: 2 }", "Convolution",
         "given alone"),
        ("convolution_param { num_output: 1 kernel_size: 1 kernel_shape { dim: 2 dim: 2 } }",
         "Convolution", "different things"),
        ("convolution_param { num_output: 1 kernel_shape: 3 }", "Convolution", "is a message"),
    ],
)  # fmt: skip
def test_contradictions_are_told_where_they_stand(fields: str, layer: str, what: str) -> None:
    with pytest.raises(PrototxtError) as caught:
        net_of(fields, layer)
    assert what in str(caught.value)
    assert "<text>:2:" in str(caught.value)


CHANGING = {
    "convolution_param.relu: true": ("Convolution", "num_output: 1 kernel_size: 1 relu: true"),
    "convolution_param.pad_l: 1": ("Convolution", "num_output: 1 kernel_size: 1 pad_l: 1"),
    "pooling_param.torch_pooling: true": ("Pooling", "kernel_size: 2 torch_pooling: true"),
    "batch_norm_param.disable_mean: true": ("BatchNorm", "disable_mean: true"),
    "convolution_param.eltwise_param { ... }": (
        "Convolution",
        "num_output: 1 kernel_size: 1 eltwise_param { operation: SUM }",
    ),
    "dropout_param.scale_train: false": ("Dropout", "scale_train: false"),
    "relu_param.relu6: true": ("ReLU", "relu6: true"),
    "mvn_param.add_eps_before_sqrt: true": ("MVN", "add_eps_before_sqrt: true"),
}


@pytest.mark.parametrize("shown", CHANGING)
def test_a_field_that_changes_the_result_is_refused(shown: str) -> None:
    layer, fields = CHANGING[shown]
    """By the reference, and by the shapes, without which nothing converts; it loads, so that
    `inspect` can tell of it."""
    net = net_of(f"{shown.partition('.')[0]} {{ {fields} }}", layer)
    for work in (
        lambda: infer_shapes(net),
        lambda: reference.run(net, {0: (), 1: ()}, {"data": np.zeros((1, 2, 8, 7))}),
    ):
        with pytest.raises(UnsupportedError) as caught:
            work()
        text = str(caught.value)
        assert f'"{shown}": ' in text
        assert "<text>:2:" in text
        assert "docs/fork_fields.md" in text


@pytest.mark.parametrize(
    ("layer", "fields"),
    [
        ("Convolution", "convolution_param { num_output: 1 kernel_size: 1 relu: false pad_l: 0 }"),
        (
            "Convolution",
            'convolution_param { num_output: 1 kernel_size: 1 conv_algorithm: "auto" }',
        ),
        ("BatchNorm", "batch_norm_param { scale_bias: false add_eps_before_sqrt: true }"),
        ("Dropout", "dropout_param { scale_train: true }"),
        ("Concat", "concat_param { per_fla_fuse: false engine: MKLDNN }"),
        ("InnerProduct", "inner_product_param { num_output: 1 input_scale: 1.0 }"),
    ],
)
def test_a_neutral_value_is_taken_quietly(layer: str, fields: str) -> None:
    net = net_of(fields, layer)
    assert not net.warnings
    assert not net.unread


def test_a_layer_of_another_phase_is_not_refused() -> None:
    fields = "convolution_param { num_output: 1 kernel_size: 1 relu: true }"
    assert not net_of(fields, "Convolution", "include { phase: TRAIN }").unread
    assert net_of(fields, "Convolution", "include { phase: TEST }").unread


def test_all_of_them_in_one_message() -> None:
    fields = "convolution_param { num_output: 1 kernel_size: 1 relu: true pad_l: 1 pad_r: 1 }"
    assert len(net_of(fields, "Convolution").unread) == 3


def test_a_field_that_nobody_knows_is_noted() -> None:
    (warning,) = net_of("pooling_param { kernel_size: 2 kernel_sizes: 3 }").warnings
    assert 'unknown field "pooling_param.kernel_sizes"' in warning


def test_the_page_is_beside_the_readme() -> None:
    assert "docs/fork_fields.md" in (Path(docs.__file__).parent.parent / "README.md").read_text(
        "utf-8"
    )
