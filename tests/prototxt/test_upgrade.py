"""V0, V1 and legacy input definitions against the V2 definitions that they mean."""

from __future__ import annotations

import csv
import os
import re
import tarfile
from pathlib import Path

import pytest
from google.protobuf import text_format

from prototxt import caffe_pb2 as pb
from prototxt.errors import NetError
from prototxt.upgrade import LAYER_TYPES_V1, upgrade


def net(text: str) -> pb.NetParameter:
    return text_format.Parse(text, pb.NetParameter())


def upgraded(text: str) -> pb.NetParameter:
    return upgrade(net(text)).message


def error(text: str) -> str:
    with pytest.raises(NetError) as caught:
        upgrade(net(text))
    return str(caught.value)


# --- V0 -------------------------------------------------------------------------------------------

V0_NET = """
name: "old" force_backward: true
input: "data" input_dim: 2 input_dim: 4 input_dim: 9 input_dim: 8
layers { layer { name: "pad1" type: "padding" pad: 2 } bottom: "data" top: "pad1" }
layers { layer { name: "conv" type: "conv" num_output: 6 kernelsize: 3 stride: 2 group: 2 pad: 9
                 weight_filler { type: "xavier" } blobs_lr: 1 blobs_lr: 2 weight_decay: 3
                 blobs { num: 1 channels: 1 height: 1 width: 2 data: 0.5 data: -1 } }
         bottom: "pad1" top: "conv" }
layers { layer { name: "relu" type: "relu" } bottom: "conv" top: "conv" }
layers { layer { name: "pad2" type: "padding" } bottom: "conv" top: "pad2" }
layers { layer { name: "pool" type: "pool" pool: AVE kernelsize: 3 stride: 2 }
         bottom: "pad2" top: "pool" }
layers { layer { name: "fc" type: "innerproduct" num_output: 5 biasterm: false }
         bottom: "pool" top: "fc" }
"""
V0_AS_V2 = """
name: "old" force_backward: true
layer { name: "input" type: "Input" top: "data"
        input_param { shape { dim: 2 dim: 4 dim: 9 dim: 8 } } }
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv"
        param { lr_mult: 1 decay_mult: 3 } param { lr_mult: 2 }
        blobs { num: 1 channels: 1 height: 1 width: 2 data: 0.5 data: -1 }
        convolution_param { num_output: 6 kernel_size: 3 stride: 2 group: 2 pad: 2
                            weight_filler { type: "xavier" } } }
layer { name: "relu" type: "ReLU" bottom: "conv" top: "conv" }
layer { name: "pool" type: "Pooling" bottom: "conv" top: "pool"
        pooling_param { pool: AVE kernel_size: 3 stride: 2 pad: 0 } }
layer { name: "fc" type: "InnerProduct" bottom: "pool" top: "fc"
        inner_product_param { num_output: 5 bias_term: false } }
"""


def test_v0_net() -> None:
    found = upgrade(net(V0_NET))
    assert found.message == net(V0_AS_V2)
    assert found.sources == (None, 1, 2, 4, 5)
    assert found.notes == ()


V0_TYPES = {
    "accuracy": "Accuracy",
    "bnll": "BNLL",
    "concat": "Concat",
    "conv": "Convolution",
    "data": "Data",
    "dropout": "Dropout",
    "euclidean_loss": "EuclideanLoss",
    "flatten": "Flatten",
    "hdf5_data": "HDF5Data",
    "hdf5_output": "HDF5Output",
    "im2col": "Im2col",
    "images": "ImageData",
    "infogain_loss": "InfogainLoss",
    "innerproduct": "InnerProduct",
    "lrn": "LRN",
    "multinomial_logistic_loss": "MultinomialLogisticLoss",
    "pool": "Pooling",
    "relu": "ReLU",
    "sigmoid": "Sigmoid",
    "softmax": "Softmax",
    "softmax_loss": "SoftmaxWithLoss",
    "split": "Split",
    "tanh": "TanH",
    "window_data": "WindowData",
}


@pytest.mark.parametrize(("old", "new"), V0_TYPES.items(), ids=str)
def test_v0_type(old: str, new: str) -> None:
    found = upgraded(f'layers {{ layer {{ name: "l" type: "{old}" }} bottom: "a" top: "b" }}')
    assert found == net(f'layer {{ name: "l" type: "{new}" bottom: "a" top: "b" }}')


# V0 type, its fields, the same in V2
V0_FIELDS = [
    (
        "conv",
        (
            "num_output: 4 biasterm: false pad: 1 kernelsize: 5 group: 2 stride: 3"
            ' weight_filler { type: "gaussian" std: 0.01 } bias_filler { value: 1 }'
        ),
        (
            "convolution_param { num_output: 4 bias_term: false pad: 1 kernel_size: 5 group: 2"
            ' stride: 3 weight_filler { type: "gaussian" std: 0.01 } bias_filler { value: 1 } }'
        ),
    ),
    (
        "innerproduct",
        "num_output: 7 biasterm: true weight_filler { mean: 2 } bias_filler { value: 3 }",
        (
            "inner_product_param { num_output: 7 bias_term: true weight_filler { mean: 2 }"
            " bias_filler { value: 3 } }"
        ),
    ),
    (
        "pool",
        "pool: STOCHASTIC pad: 1 kernelsize: 3 stride: 2",
        "pooling_param { pool: STOCHASTIC pad: 1 kernel_size: 3 stride: 2 }",
    ),
    (
        "lrn",
        "local_size: 3 alpha: 0.1 beta: 0.5 k: 2",
        "lrn_param { local_size: 3 alpha: 0.1 beta: 0.5 k: 2 }",
    ),
    ("dropout", "dropout_ratio: 0.25", "dropout_param { dropout_ratio: 0.25 }"),
    ("concat", "concat_dim: 0", "concat_param { concat_dim: 0 }"),
    (
        "data",
        'source: "db" batchsize: 8 rand_skip: 5 scale: 0.5 meanfile: "m" cropsize: 7 mirror: true',
        (
            'data_param { source: "db" batch_size: 8 rand_skip: 5 }'
            ' transform_param { scale: 0.5 mean_file: "m" crop_size: 7 mirror: true }'
        ),
    ),
    (
        "images",
        'source: "list" batchsize: 8 rand_skip: 5 shuffle_images: true new_height: 6 new_width: 9',
        (
            'image_data_param { source: "list" batch_size: 8 rand_skip: 5 shuffle: true'
            " new_height: 6 new_width: 9 }"
        ),
    ),
    (
        "window_data",
        (
            'source: "w" batchsize: 8 det_fg_threshold: 0.6 det_bg_threshold: 0.4'
            ' det_fg_fraction: 0.3 det_context_pad: 16 det_crop_mode: "square" cropsize: 7'
        ),
        (
            'window_data_param { source: "w" batch_size: 8 fg_threshold: 0.6 bg_threshold: 0.4'
            ' fg_fraction: 0.3 context_pad: 16 crop_mode: "square" }'
            " transform_param { crop_size: 7 }"
        ),
    ),
    ("hdf5_data", 'source: "h" batchsize: 8', 'hdf5_data_param { source: "h" batch_size: 8 }'),
    (
        "hdf5_output",
        'hdf5_output_param { file_name: "o" }',
        'hdf5_output_param { file_name: "o" }',
    ),
    ("infogain_loss", 'source: "H"', 'infogain_loss_param { source: "H" }'),
    ("relu", "scale: 2", "transform_param { scale: 2 }"),
]


@pytest.mark.parametrize(("type_", "old", "new"), V0_FIELDS, ids=[row[0] for row in V0_FIELDS])
def test_v0_fields(type_: str, old: str, new: str) -> None:
    found = upgraded(f'layers {{ layer {{ type: "{type_}" {old} }} }}')
    assert found == net(f'layer {{ type: "{V0_TYPES[type_]}" {new} }}')


def test_v0_fields_are_all_tested() -> None:
    tested = set(re.findall(r"(\w+)(?:: | \{)", V0_NET + " ".join(row[1] for row in V0_FIELDS)))
    gone = {"new_num", "new_channels"}
    assert tested | gone >= {field.name for field in pb.V0LayerParameter.DESCRIPTOR.fields}


def test_v0_fields_without_effect_are_noted() -> None:
    found = upgrade(
        net('layers { layer { name: "r" type: "relu" new_num: 3 } include { phase: TEST } }')
    )
    assert found.message == net('layer { name: "r" type: "ReLU" }')
    assert found.notes == (
        'layer "r": include has no effect on V0, as in Caffe',
        'layer "r": new_num has no effect on V0, as in Caffe',
    )


def test_v0_padding_of_two_consumers_and_a_reused_name() -> None:
    text = """
    layers { layer { name: "p" type: "padding" pad: 3 } bottom: "a" top: "b" }
    layers { layer { name: "c" type: "conv" } bottom: "b" top: "c" }
    layers { layer { name: "d" type: "pool" } bottom: "b" top: "b" }
    layers { layer { name: "e" type: "pool" } bottom: "b" top: "e" }
    """
    assert upgraded(text) == net("""
    layer { name: "c" type: "Convolution" bottom: "a" top: "c" convolution_param { pad: 3 } }
    layer { name: "d" type: "Pooling" bottom: "a" top: "b" pooling_param { pad: 3 } }
    layer { name: "e" type: "Pooling" bottom: "b" top: "e" }
    """)


# --- V1 -------------------------------------------------------------------------------------------

V1_TYPES = {
    "NONE": (0, ""),
    "ACCURACY": (1, "Accuracy"),
    "BNLL": (2, "BNLL"),
    "CONCAT": (3, "Concat"),
    "CONVOLUTION": (4, "Convolution"),
    "DATA": (5, "Data"),
    "DROPOUT": (6, "Dropout"),
    "EUCLIDEAN_LOSS": (7, "EuclideanLoss"),
    "FLATTEN": (8, "Flatten"),
    "HDF5_DATA": (9, "HDF5Data"),
    "HDF5_OUTPUT": (10, "HDF5Output"),
    "IM2COL": (11, "Im2col"),
    "IMAGE_DATA": (12, "ImageData"),
    "INFOGAIN_LOSS": (13, "InfogainLoss"),
    "INNER_PRODUCT": (14, "InnerProduct"),
    "LRN": (15, "LRN"),
    "MULTINOMIAL_LOGISTIC_LOSS": (16, "MultinomialLogisticLoss"),
    "POOLING": (17, "Pooling"),
    "RELU": (18, "ReLU"),
    "SIGMOID": (19, "Sigmoid"),
    "SOFTMAX": (20, "Softmax"),
    "SOFTMAX_LOSS": (21, "SoftmaxWithLoss"),
    "SPLIT": (22, "Split"),
    "TANH": (23, "TanH"),
    "WINDOW_DATA": (24, "WindowData"),
    "ELTWISE": (25, "Eltwise"),
    "POWER": (26, "Power"),
    "SIGMOID_CROSS_ENTROPY_LOSS": (27, "SigmoidCrossEntropyLoss"),
    "HINGE_LOSS": (28, "HingeLoss"),
    "MEMORY_DATA": (29, "MemoryData"),
    "ARGMAX": (30, "ArgMax"),
    "THRESHOLD": (31, "Threshold"),
    "DUMMY_DATA": (32, "DummyData"),
    "SLICE": (33, "Slice"),
    "MVN": (34, "MVN"),
    "ABSVAL": (35, "AbsVal"),
    "SILENCE": (36, "Silence"),
    "CONTRASTIVE_LOSS": (37, "ContrastiveLoss"),
    "EXP": (38, "Exp"),
    "DECONVOLUTION": (39, "Deconvolution"),
}


def test_v1_types_by_number() -> None:
    assert dict(LAYER_TYPES_V1) == dict(V1_TYPES.values())
    assert set(V1_TYPES) == set(pb.V1LayerParameter.LayerType.keys())


@pytest.mark.parametrize("old", V1_TYPES)
def test_v1_type(old: str) -> None:
    found = upgraded(f'layers {{ name: "l" type: {old} bottom: "a" top: "b" }}')
    assert found == net(f'layer {{ name: "l" type: "{V1_TYPES[old][1]}" bottom: "a" top: "b" }}')


def test_v1_type_of_a_fork_stays_open() -> None:
    assert upgraded('layers { name: "l" top: "b" }') == net('layer { name: "l" top: "b" }')


SAME_IN_V2 = sorted(
    field.name
    for field in pb.V1LayerParameter.DESCRIPTOR.fields
    if field.message_type is not None and field.name != "layer"
)


@pytest.mark.parametrize("name", SAME_IN_V2)
def test_v1_message_is_carried(name: str) -> None:
    old, new = pb.NetParameter(), pb.NetParameter()
    for part in (old.layers.add(name="l"), new.layer.add(name="l")):
        field = getattr(part, name)
        part = field.add() if hasattr(field, "add") else field
        part.SetInParent()
        for kind in part.DESCRIPTOR.fields:  # any one scalar of it
            if kind.cpp_type == kind.CPPTYPE_STRING and hasattr(getattr(part, kind.name), "encode"):
                setattr(part, kind.name, "x")
    assert upgrade(old).message == new


def test_v1_lists_become_param() -> None:
    found = upgraded("""
    layers { type: CONVOLUTION param: "w" param: "b" blob_share_mode: PERMISSIVE
             blobs_lr: 1 blobs_lr: 2 blobs_lr: 0 weight_decay: 1 loss_weight: 0.5
             include { phase: TRAIN min_level: 1 } include { stage: "s" }
             blobs { shape { dim: 2 } data: 1 data: 2 } }
    """)
    assert found == net("""
    layer { type: "Convolution"
            param { name: "w" share_mode: PERMISSIVE lr_mult: 1 decay_mult: 1 }
            param { name: "b" lr_mult: 2 } param { lr_mult: 0 }
            loss_weight: 0.5
            include { phase: TRAIN min_level: 1 } include { stage: "s" }
            blobs { shape { dim: 2 } data: 1 data: 2 } }
    """)


@pytest.mark.parametrize(
    ("type_", "own"),
    [
        ("DATA", "data_param"),
        ("IMAGE_DATA", "image_data_param"),
        ("WINDOW_DATA", "window_data_param"),
    ],
)
def test_v1_data_transformations_move(type_: str, own: str) -> None:
    found = upgraded(f"""
    layers {{ type: {type_} transform_param {{ scale: 1 mean_value: 3 }}
             {own} {{ source: "s" scale: 0.5 mean_file: "m" crop_size: 7 mirror: true }} }}
    """)
    assert found == net(f"""
    layer {{ type: "{V1_TYPES[type_][1]}" {own} {{ source: "s" }}
            transform_param {{ scale: 0.5 mean_file: "m" crop_size: 7 mirror: true
                              mean_value: 3 }} }}
    """)


def test_v2_data_keeps_its_old_fields() -> None:
    # Caffe looks for them in V1 layers alone.
    text = 'layer { type: "Data" top: "d" data_param { scale: 0.5 mirror: true } }'
    assert upgraded(text) == net(text)


# --- inputs and BatchNorm -------------------------------------------------------------------------

READER = 'layer { name: "r" type: "Eltwise" bottom: "a" bottom: "b" top: "c" }'


@pytest.mark.parametrize(
    ("legacy", "shapes", "notes"),
    [
        (
            "input_shape { dim: 2 dim: 3 } input_shape { dim: 4 }",
            "shape { dim: 2 dim: 3 } shape { dim: 4 }",
            (),
        ),
        (
            "input_dim: [1, 2, 3, 4, 5, 6, 7, 8]",
            "shape { dim: [1, 2, 3, 4] } shape { dim: [5, 6, 7, 8] }",
            (),
        ),
        (
            "input_shape { dim: 2 } input_shape { dim: 4 } input_dim: 1",
            "shape { dim: 2 } shape { dim: 4 }",
            ("input_dim is ignored beside input_shape, as in Caffe",),
        ),
        (
            "input_shape { dim: 2 } input_shape { dim: 4 } input_shape { dim: 6 }",
            "shape { dim: 2 } shape { dim: 4 }",
            ("input_shape: only 2 of 3 are used, as in Caffe",),
        ),
    ],
    ids=["shape", "dim", "both", "too_many"],
)
def test_input_fields(legacy: str, shapes: str, notes: tuple[str, ...]) -> None:
    found = upgrade(net(f'name: "n" input: "a" input: "b" {legacy} {READER}'))
    assert found.message == net(f"""
    name: "n"
    layer {{ name: "input" type: "Input" top: "a" top: "b" input_param {{ {shapes} }} }}
    {READER}
    """)
    assert found.sources == (None, 0)
    assert found.notes == notes


def test_inputs_without_shapes_and_readers_are_dropped() -> None:
    found = upgrade(net('input: "x" layer { name: "r" top: "c" }'))
    assert found.message == net('layer { name: "r" top: "c" }')
    assert found.sources == (0,)
    assert found.notes == ('the input "x" has no shape and no reader: dropped',)


def test_batch_norm_with_three_params_is_frozen() -> None:
    found = upgraded("""
    layer { type: "BatchNorm" param { lr_mult: 1 } param { name: "v" } param { decay_mult: 2 } }
    layer { type: "BatchNorm" param { lr_mult: 1 } }
    layer { type: "Scale" param { lr_mult: 1 } param { lr_mult: 1 } param { lr_mult: 1 } }
    """)
    assert found == net("""
    layer { type: "BatchNorm" param { lr_mult: 0 decay_mult: 0 }
            param { name: "v" lr_mult: 0 decay_mult: 0 } param { lr_mult: 0 decay_mult: 0 } }
    layer { type: "BatchNorm" param { lr_mult: 1 } }
    layer { type: "Scale" param { lr_mult: 1 } param { lr_mult: 1 } param { lr_mult: 1 } }
    """)


def test_the_given_net_is_left_alone() -> None:
    given = net(V0_NET)
    upgrade(given)
    assert given == net(V0_NET)


# --- errors ---------------------------------------------------------------------------------------

ERRORS = {
    "both_fields": (
        'layer { name: "new" } layers { name: "old" type: RELU }',
        (
            'layer "old": the net has both `layer` and `layers`\n'
            "  expected: one of the two: `layers` is V1, `layer` is V2\n"
            '  to do: write every layer as `layer { type: "..." }`'
        ),
    ),
    "v1_among_v0": (
        'layers { layer { name: "a" type: "relu" } } layers { name: "b" type: RELU }',
        (
            'layer "b": a V1 layer among V0 layers\n'
            "  expected: every `layers` with a `layer` inside, or none"
        ),
    ),
    "v0_type": (
        'layers { layer { name: "a" type: "Conv" } }',
        'layer "a": unknown V0 type "Conv"\n  expected: one of ' + ", ".join(V0_TYPES),
    ),
    "v0_no_type": (
        'layers { layer { name: "a" } }',
        'layer "a": a V0 layer without type\n  expected: one of ' + ", ".join(V0_TYPES),
    ),
    "v0_fields": (
        'layers { layer { name: "a" type: "relu" pad: 1 k: 2 } }',
        (
            'layer "a": V0 type "relu" has no pad, k\n'
            "  to do: Caffe drops such fields; remove them if that is what is meant"
        ),
    ),
    "v0_negative_size": (
        'layers { layer { name: "a" type: "images" new_width: -1 } }',
        'layer "a": new_width cannot be -1\n  expected: 0 or more',
    ),
    "padding_feeds_relu": (
        (
            'layers { layer { name: "p" type: "padding" } bottom: "x" top: "y" }'
            'layers { layer { name: "r" type: "relu" } bottom: "y" top: "z" }'
        ),
        (
            'layer "r": a padding layer cannot feed a layer of V0 type "relu"\n'
            "  expected: conv or pool"
        ),
    ),
    "padding_feeds_padding": (
        (
            'layers { layer { name: "p" type: "padding" } bottom: "x" top: "y" }'
            'layers { layer { name: "q" type: "padding" } bottom: "y" top: "z" }'
        ),
        (
            'layer "q": a padding layer cannot feed a layer of V0 type "padding"\n'
            "  expected: conv or pool"
        ),
    ),
    "padding_of_two_bottoms": (
        (
            'layers { layer { name: "p" type: "padding" } bottom: "x" bottom: "w" top: "y" }'
            'layers { layer { name: "c" type: "conv" } bottom: "y" top: "z" }'
        ),
        (
            'layer "p": padding with several blobs\n'
            "  expected: one bottom and one top of a padding layer, one bottom of its consumer"
        ),
    ),
    "padding_beside_another_bottom": (
        (
            'layers { layer { name: "p" type: "padding" } bottom: "x" top: "y" }'
            'layers { layer { name: "c" type: "conv" } bottom: "y" bottom: "x" top: "z" }'
        ),
        (
            'layer "c": padding with several blobs\n'
            "  expected: one bottom and one top of a padding layer, one bottom of its consumer"
        ),
    ),
    "few_dims": (
        'input: "a" input_dim: [1, 3, 227] layer { name: "r" bottom: "a" }',
        (
            "the net has 3 input_dim for 1 input\n"
            "  expected: 4, which is 4 for each input (N, C, H, W)"
        ),
    ),
    "few_shapes": (
        'input: "a" input: "b" input_shape { dim: 1 } layer { name: "r" bottom: "a" }',
        "the net has 1 input_shape for 2 inputs\n  expected: 2, which is 1 for each input",
    ),
    "no_shape": (
        'input: "a" layer { name: "r" bottom: "a" }',
        (
            'layer "r": the input "a" has no shape\n'
            "  expected: an input_shape, or four input_dim, for each input"
        ),
    ),
}


@pytest.mark.parametrize(("text", "message"), ERRORS.values(), ids=list(ERRORS))
def test_error(text: str, message: str) -> None:
    assert error(text) == message


# --- as found in public repositories --------------------------------------------------------------

SHARED = Path(
    os.environ.get("DECAFFEINATE_SHARED", Path(__file__).parent.parent.parent.parent / "shared")
)
WILD = SHARED / "wild"
LEGACY_INPUT = re.compile(rb"^\s*input\s*:", re.MULTILINE)
BARE_TYPE = re.compile(r"\btype\s*:\s*([A-Z][A-Z0-9_]*)")


def without_fork_types(text: str) -> str:
    known = pb.V1LayerParameter.LayerType.keys()
    return BARE_TYPE.sub(lambda match: match[0] if match[1] in known else "", text)


@pytest.mark.skipif(not WILD.is_dir(), reason="the collected public nets are not here")
def test_public_nets_upgrade() -> None:
    with open(WILD / "index.tsv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    files = {(row["repo"], row["path"]): row for row in rows}
    old = {key for key, row in files.items() if row["format"] != "V2"}
    seen = set()
    with tarfile.open(WILD / "nets.tar.xz") as archive:
        for member in archive:
            if not member.isfile():
                continue
            folder, _, name = member.name.removeprefix("./").partition("/")
            key = (folder.replace("__", "/", 1), name.replace("__", "/"))
            content = archive.extractfile(member)
            data = content.read() if content else b""
            if key not in old and not LEGACY_INPUT.search(data):
                continue
            text = without_fork_types(data.decode("utf-8", "replace"))
            given = text_format.Parse(text, pb.NetParameter(), allow_unknown_field=True)
            found = upgrade(given)
            assert not found.message.layers
            assert not found.message.input
            assert len(found.message.layer) == len(found.sources), member.name
            layers = given.layers or given.layer
            for layer, source in zip(found.message.layer, found.sources, strict=True):
                assert layer.name == ("input" if source is None else layers[source].name)
            seen.add(key)
    assert seen >= old
    assert len(seen) > 100
