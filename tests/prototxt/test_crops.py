"""Where a Crop begins: offsets that follow from the net, against those that published nets state
and Caffe's own tests expect."""

from __future__ import annotations

import pytest

from prototxt import parse_net
from prototxt.errors import NetError, UnsupportedError, UsageError
from prototxt.net import Net
from prototxt.shapes import infer_shapes

NET = """
layer { name: "in" type: "Input" top: "x" input_param { shape { dim: 1 dim: 2 dim: 6 dim: 6 } } }
layer { name: "like" type: "Pooling" bottom: "x" top: "like" pooling_param { kernel_size: 3 } }
layer { name: "cut" type: "Crop" bottom: "x" bottom: "like" top: "y" %s }
layer { name: "cut2" type: "Crop" bottom: "x" bottom: "like" top: "z" %s }
"""


def test_a_crop_without_settings_is_noted_and_a_doubt() -> None:
    net = parse_net(NET % ("", ""), "net.prototxt")
    (note,) = net.warnings
    assert note.startswith(
        'net.prototxt:4:1: layer "cut" (Crop) states no offset, nor does another: 0'
    )
    assert net.doubts == (note,)


def test_a_crop_that_states_anything_is_caffes() -> None:
    stated = "crop_param { axis: 2 offset: 1 }"
    assert parse_net(NET % (stated, "crop_param { axis: 2 }")).warnings == ()


# --- offsets --------------------------------------------------------------------------------------


def layer(kind: str, name: str, bottoms: str, fields: str = "", top: str | None = None) -> str:
    blobs = " ".join(f'bottom: "{one}"' for one in bottoms.split())
    return f'layer {{ name: "{name}" type: "{kind}" {blobs} top: "{top or name}" {fields} }}\n'


def data(size: int = 100, blob: str = "data") -> str:
    return layer("Input", blob, "", f"input_param {{ shape {{ dim: 1 dim: 1 dim: {size} "
                 f"dim: {size} }} }}")  # fmt: skip


def conv(name: str, bottom: str, kernel: int, pad: int = 0, **more: int) -> str:
    fields = " ".join(f"{key}: {value}" for key, value in more.items())
    return layer("Convolution", name, bottom, "convolution_param { num_output: 1 kernel_size: "
                 f"{kernel} pad: {pad} {fields} }}") + layer(
        "ReLU", f"{name}_relu", name, top=name
    )  # fmt: skip


def pool(name: str, bottom: str, kernel: int = 2, stride: int = 2) -> str:
    fields = f"pooling_param {{ pool: MAX kernel_size: {kernel} stride: {stride} }}"
    return layer("Pooling", name, bottom, fields)


def up(name: str, bottom: str, kernel: int, stride: int, pad: int = 0) -> str:
    return layer("Deconvolution", name, bottom, "convolution_param { num_output: 1 kernel_size: "
                 f"{kernel} stride: {stride} pad: {pad} }}")  # fmt: skip


def crop(name: str, bottoms: str, kind: str = "CROP", fields: str = "") -> str:
    return layer(kind, name, bottoms, fields)


def offsets(net: Net) -> list[tuple[int, int]]:
    return [cut.offsets for cut in net.cuts]


def vgg(pad: int, convolutions: tuple[int, ...] = (2, 2, 3, 3, 3)) -> str:
    """VGG-16's convolutions and poolings; `pad` is the first one's."""
    text, blob = data(300), "data"
    for block, count in enumerate(convolutions, 1):
        for place in range(1, count + 1):
            name = f"conv{block}_{place}"
            text += conv(name, blob, 3, pad if name == "conv1_1" else 1)
            blob = name
        text += pool(f"pool{block}", blob)
        blob = f"pool{block}"
    return text


FCN = vgg(100) + conv("fc6", "pool5", 7) + conv("fc7", "fc6", 1) + conv("score_fr", "fc7", 1)
FCN16 = (
    FCN
    + up("upscore2", "score_fr", 4, 2)
    + conv("score_pool4", "pool4", 1)
    + crop("score_pool4c", "score_pool4 upscore2")
    + layer("Eltwise", "fuse_pool4", "upscore2 score_pool4c")
)
FCN8 = (
    FCN16
    + up("upscore_pool4", "fuse_pool4", 4, 2)
    + conv("score_pool3", "pool3", 1)
    + crop("score_pool3c", "score_pool3 upscore_pool4")
    + layer("Eltwise", "fuse_pool3", "upscore_pool4 score_pool3c")
)
HED_SIDES = ("conv1_2", "conv2_2", "conv3_3", "conv4_3", "conv5_3")
HED = vgg(35) + "".join(
    conv(f"side{k}", blob, 1)
    + (up(f"up{k}", f"side{k}", 2 * 2**k, 2**k) if k else "")
    + crop(f"crop{k}", f"{'up' if k else 'side'}{k} data", "AutoCrop")
    for k, blob in enumerate(HED_SIDES)
)
OSVOS = vgg(1) + "".join(
    up(f"up{k}", blob, 2 * 2**k, 2**k) + crop(f"crop{k}", f"up{k} data")
    for k, blob in enumerate(HED_SIDES)
    if k > 1
)
ALEX = (
    data(300)
    + conv("conv1", "data", 11, 100, stride=4)
    + pool("pool1", "conv1", 3)
    + layer("LRN", "norm1", "pool1")
    + conv("conv2", "norm1", 5, 2)
    + pool("pool2", "conv2", 3)
    + layer("LRN", "norm2", "pool2")
    + "".join(conv(f"conv{k}", "norm2" if k == 3 else f"conv{k - 1}", 3, 1) for k in (3, 4, 5))
    + pool("pool5", "conv5", 3)
    + conv("fc6", "pool5", 6)
    + conv("fc7", "fc6", 1)
)

PUBLISHED = {
    # What the nets of shelhamer/fcn.berkeleyvision.org state: voc-fcn32s, 16s, 8s and alexnet.
    "FCN-32s": (FCN + up("up", "score_fr", 64, 32) + crop("score", "up data"), [19]),
    "FCN-16s": (FCN16 + up("up", "fuse_pool4", 32, 16) + crop("score", "up data"), [5, 27]),
    "FCN-8s": (FCN8 + up("up", "fuse_pool3", 16, 8) + crop("score", "up data"), [5, 9, 31]),
    "FCN-AlexNet": (ALEX + up("up", "fc7", 63, 32) + crop("score", "up data"), [18]),
    # What models/deploy.prototxt of kmaninis/OSVOS-caffe states.
    "OSVOS": (OSVOS, [2, 4, 8]),
    # What networks.py of xwjabc/hed, HED in PyTorch, computes from its first layers on.
    "HED": (HED, [34, 35, 36, 38, 42]),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_offsets_of_published_nets_are_found(name: str) -> None:
    text, stated = PUBLISHED[name]
    net = parse_net(text)
    assert offsets(net) == [(one, one) for one in stated]
    for one in net:
        assert one.type not in ("CROP", "AutoCrop")
        if one.type == "Crop":
            assert one.message.crop_param.axis == 2
    shapes = infer_shapes(net)
    assert shapes.blobs[net.layers[-1].tops[0]][2:] == (300, 300)


def chain(
    ks: int = 3, stride: int = 1, pad: int = 0, pooled: int = 2, dstride: int = 2, dpad: int = 0
) -> str:
    """The net of Caffe's python/caffe/test/test_coord_map.py."""
    return (
        data()
        + conv("conv", "data", ks, pad, stride=stride)
        + pool("pool", "conv", pooled, pooled)
        + up("deconv", "pool", 2 * dstride, dstride, dpad)
    )


@pytest.mark.parametrize(
    ("text", "offset"),
    [
        # By name, what the tests there assert of the shift.
        (chain(), 0),  # test_conv_pool_deconv
        (chain(pooled=4, dstride=4), 1),
        (chain() + layer("ReLU", "pass", "deconv"), 0),  # test_pass
        (chain() + conv("pass", "deconv", 1), 0),
        (chain(pad=7), 7),  # test_padding
        (chain(pad=7, dpad=7), 0),
        (chain(pad=9, dpad=4), 5),
    ],
)
def test_the_offsets_of_caffes_own_tests_are_found(text: str, offset: int) -> None:
    last = "pass" if '"pass"' in text else "deconv"
    assert offsets(parse_net(text + crop("cut", f"{last} data"))) == [(offset, offset)]


def test_height_and_width_are_apart() -> None:
    """test_rect: each axis as a net of its sizes alone."""
    sizes = "kernel_h: 3 kernel_w: 5 stride_h: 1 stride_w: 2 pad_h: 2 pad_w: 10"
    wide = layer("Convolution", "conv", "data", f"convolution_param {{ num_output: 1 {sizes} }}")
    up_wide = layer("Deconvolution", "up", "conv", "convolution_param { num_output: 1 "
                    "kernel_h: 1 kernel_w: 5 stride_h: 1 stride_w: 2 }")  # fmt: skip
    # Height: + 2 - 1. Width: 2 * (x + 10 - 2) / 2 + 2.
    assert offsets(parse_net(data() + wide + up_wide + crop("cut", "up data"))) == [(1, 10)]


def test_a_crop_of_a_crop_begins_where_the_first_has_not_cut() -> None:
    """test_crop_of_crop."""
    stated = crop("first", "deconv data", "Crop", "crop_param { axis: 2 offset: 4 }")
    assert offsets(parse_net(chain(pad=7) + stated + crop("cut", "first data"))) == [(3, 3)]
    again = crop("first", "deconv data") + crop("cut", "first data")
    assert offsets(parse_net(chain(pad=7) + again)) == [(7, 7), (0, 0)]


def test_dilated_windows_count_as_far_as_they_reach() -> None:
    """RCF's conv5, which pads what it dilates: a value stays where it is (its conv_layer.hpp)."""
    text = data() + "".join(
        conv(f"conv{k}", f"conv{k - 1}" if k else "data", 3, 2, dilation=2) for k in range(3)
    )
    assert offsets(parse_net(text + crop("cut", "conv2 data"))) == [(0, 0)]


# --- what the forks refuse ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "why"),
    [
        # test_catch_scale_mismatch, test_catch_negative_crop, test_catch_unconnected
        (chain(pooled=3) + crop("cut", "deconv data"),
         '"deconv" has 2/3 times the scale of "data"'),
        (chain(dpad=10) + crop("cut", "deconv data"), '"data" begins at -10 of "deconv"'),
        (chain() + data(9, "other") + crop("cut", "deconv other"),
         '"deconv" and "other" do not come of one blob'),
        (data() + pool("p", "data", 2, 1) + crop("cut", "p data"), '"data" begins at -1/2 of "p"'),
        (chain() + layer("InnerProduct", "ip", "deconv", "inner_product_param { num_output: 9 }")
         + crop("cut", "ip data"), 'layer "ip" (InnerProduct, net.prototxt:6:1) has no known map'),
        (data() + layer("Pooling", "p", "data", "pooling_param { global_pooling: true }")
         + crop("cut", "p data"), 'layer "p" (Pooling, net.prototxt:2:1) has no known map'),
        (chain() + crop("cut", "deconv"), "it has 1 bottom, not 2"),
        (chain() + crop("cut", "deconv data", fields="crop_param { offset: 1 }"),
         "it has a crop_param, which is Crop's"),
    ],
)  # fmt: skip
def test_what_does_not_follow_from_the_net_is_refused(text: str, why: str) -> None:
    with pytest.raises(NetError) as caught:
        parse_net(text, "net.prototxt")
    message = str(caught.value)
    assert message.startswith("net.prototxt:")
    assert 'layer "cut": where CROP begins' in message
    assert why in message
    assert 'type: "Crop" with crop_param { axis: 2 offset: ... }' in message


def test_a_layer_of_unknown_type_in_between_is_told_of_with_all_others() -> None:
    text = data() + layer("NoSuchLayer", "odd", "data") + crop("cut", "odd data")
    with pytest.raises(UnsupportedError) as caught:
        infer_shapes(parse_net(text))
    assert [one.partition(",")[0] for one in caught.value.details] == ['"CROP"', '"NoSuchLayer"']


def test_a_layer_in_place_leaves_all_where_it_is_whatever_it_is() -> None:
    odd = layer(
        "Reshape", "odd", "deconv", "reshape_param { shape { dim: 0 } axis: 0 num_axes: 1 }"
    )
    scale = layer("BN", "odd", "deconv", top="deconv")
    with pytest.raises(NetError):
        parse_net(chain() + odd + crop("cut", "odd data"))
    assert offsets(parse_net(chain(pad=3) + scale + crop("cut", "deconv data"))) == [(3, 3)]


# --- Crop without a crop_param --------------------------------------------------------------------


BARE = HED.replace('"AutoCrop"', '"Crop"')


def test_a_bare_crop_begins_at_0_and_the_note_tells_the_forks_number() -> None:
    net = parse_net(BARE, "net.prototxt")
    assert net.cuts == ()
    (note,) = net.warnings
    assert net.doubts == (note,)
    assert 'layer "crop0" (Crop) states no offset, nor do 4 others: 0 is taken' in note
    assert ('take 34 in "crop0", 35 in "crop1", 36 in "crop2", 38 in "crop3", 42 in "crop4": so '
            "does --crop-offsets fork") in note  # fmt: skip


def test_a_bare_crop_begins_where_forks_do_if_wanted() -> None:
    net = parse_net(BARE, crop_offsets="fork")
    assert [one[0] for one in offsets(net)] == [34, 35, 36, 38, 42]
    assert {cut.type for cut in net.cuts} == {"Crop"}
    assert net.doubts == ()
    (note,) = net.warnings
    assert note.partition(": ")[2].startswith(
        'offsets worked out from the layers between the bottoms: "crop0" at 34 (Crop), "crop1" at'
    )
    stated = [list(one.message.crop_param.offset) for one in net if one.type == "Crop"]
    assert stated == [[k, k] for k in (34, 35, 36, 38, 42)]


def test_a_bare_crop_at_which_all_agree_needs_no_note() -> None:
    text = chain() + crop("cut", "deconv data", "Crop")
    assert parse_net(text).warnings == ()
    assert parse_net(text, crop_offsets="caffe").cuts == ()
    assert offsets(parse_net(text, crop_offsets="fork")) == [(0, 0)]


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(chain(pooled=3) + crop("cut", "deconv data", "Crop"), id="scale"),
        pytest.param(chain(dpad=10) + crop("cut", "deconv data", "Crop"), id="negative"),
        pytest.param(data() + pool("p", "data", 2, 1) + crop("cut", "data p", "Crop"), id="half"),
        pytest.param(data() + data(9, "other") + crop("cut", "data other", "Crop"), id="apart"),
        pytest.param(data() + crop("cut", "data", "Crop"), id="one bottom"),
        pytest.param(
            data() + pool("p", "data", 2, 1) + crop("cut", "data p", "Crop")
            + conv("c", "p", 3) + crop("after", "cut c", "Crop"),
            id="behind one at which they stop",
        ),
    ],
)  # fmt: skip
def test_where_forks_would_stop_the_net_is_caffes(text: str) -> None:
    net = parse_net(text, "net.prototxt")
    assert net.warnings == net.doubts == ()


def test_a_bare_crop_behind_a_layer_whose_map_is_not_known_is_a_doubt() -> None:
    fields = "convolution_param { kernel_size: 3 }"
    text = data() + layer("Im2col", "im", "data", fields) + crop("cut", "data im", "Crop")
    net = parse_net(text, "net.prototxt")
    (note,) = net.warnings
    assert net.doubts == (note,)
    assert "would stop there, or have a map that is not known here" in note
    assert 'layer "im" (Im2col, net.prototxt:2:1) has no known map from its bottom to its' in note


# --- crops of crops -------------------------------------------------------------------------------


def two(first: str, second: str, kind: str = "AutoCrop") -> str:
    """A crop of a crop, each to what a convolution of 3 leaves."""
    return (
        data()
        + conv("c1", "data", 3)
        + crop("first", "data c1", "Crop", first)
        + conv("c2", "c1", 3)
        + crop("second", "first c2", kind, second)
    )


@pytest.mark.parametrize("kind", ["AutoCrop", "CROP"])
def test_an_offset_is_of_the_cut_that_is_made(kind: str) -> None:
    """RCF's AutoCrop, too, begins 2 further in than a Crop at 0: auto_crop_layer.cpp, with the
    offsets of crop_layer.hpp."""
    net = parse_net(two("", "", kind), crop_offsets="caffe")
    assert offsets(net) == [(2, 2)]
    (note,) = net.doubts
    assert 'take 1 in "first"' in note


def test_a_note_on_bare_crops_is_of_what_forks_would_make_of_all() -> None:
    (note,) = parse_net(two("", "", "Crop")).doubts
    assert 'take 1 in "first", 1 in "second"' in note
    assert offsets(parse_net(two("", "", "Crop"), crop_offsets="fork")) == [(1, 1), (1, 1)]


@pytest.mark.parametrize(
    ("first", "choice"),
    [
        ("crop_param { axis: 2 offset: 1 }", "caffe"),
        ("crop_param { axis: 2 offset: 2 offset: 0 }", "caffe"),
        ("", "fork"),
    ],
)
def test_a_crop_that_rcf_counts_otherwise_is_refused(first: str, choice: str) -> None:
    with pytest.raises(NetError) as caught:
        parse_net(two(first, ""), crop_offsets=choice)
    assert 'layer "second": where AutoCrop begins' in str(caught.value)
    assert "RCF counts a Crop here by its offsets of batch and channel" in str(caught.value)


def test_a_crop_of_no_such_axis_is_left_to_its_shape_rule() -> None:
    for axis in (-9, 9):
        net = parse_net(two(f"crop_param {{ axis: {axis} offset: 1 }}", "", "Crop"))
        with pytest.raises(NetError, match=f"axis {axis} does not exist"):
            infer_shapes(net)


def test_the_choice_changes_no_crop_that_says_where_it_begins() -> None:
    text = chain(pad=7) + crop("cut", "deconv data", "Crop", "crop_param { offset: 2 }")
    for choice in ("caffe", "fork"):
        net = parse_net(text, crop_offsets=choice)
        assert list(net.layers[-1].message.crop_param.offset) == [2]
        assert net.cuts == ()
        assert net.warnings == ()


def test_a_choice_that_there_is_not_is_refused() -> None:
    with pytest.raises(UsageError, match='unknown choice "center" for crop offsets'):
        parse_net(BARE, crop_offsets="center")


def test_v1_has_the_type_without_quotes() -> None:
    text = """
input: "data" input_dim: 1 input_dim: 1 input_dim: 9 input_dim: 9
layers { name: "c" type: CONVOLUTION bottom: "data" top: "c"
         convolution_param { num_output: 1 kernel_size: 3 pad: 5 } }
layers { name: "cut" type: CROP bottom: "c" bottom: "data" top: "y" }
"""
    net = parse_net(text)
    assert offsets(net) == [(4, 4)]
    assert net.cuts[0].type == "CROP"
    assert net.layers[-1].type == "Crop"
