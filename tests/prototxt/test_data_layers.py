"""Layers that read data become inputs: their shapes by Caffe's rules, and what had to be
assumed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from prototxt import Blob, Net, load_net, parse_net
from prototxt import caffe_pb2 as pb
from prototxt.errors import DecaffeinateError, NetError, UnsupportedError, UsageError
from prototxt.load import with_input_shapes
from prototxt.net import Preprocessing
from prototxt.shapes import infer_shapes
from tests.frameworks import require

Shapes = dict[str, tuple[int, ...]]


def data(kind: str, tops: str, more: str, name: str = "d") -> str:
    return f'layer {{ name: "{name}" type: "{kind}" ' + "".join(
        f'top: "{top}" ' for top in tops.split()
    ) + more + " }\n"  # fmt: skip


def shapes_of(net: Net) -> Shapes:
    return {blob.name: shape for blob, shape in infer_shapes(net).blobs.items()}


CROP = "transform_param { crop_size: 7 } "
CASES: dict[str, tuple[str, Shapes]] = {
    "crop_size": (data("Data", "data label", CROP + "data_param { batch_size: 4 }"),
                  {"data": (4, 3, 7, 7), "label": (4,)}),
    "no label": (data("Data", "data", CROP + "data_param { batch_size: 4 }"),
                 {"data": (4, 3, 7, 7)}),
    "force_gray": (data("Data", "data", "transform_param { crop_size: 7 force_gray: true } "
                        "data_param { batch_size: 4 }"), {"data": (4, 1, 7, 7)}),
    "force_color": (data("Data", "data", "transform_param { crop_size: 7 force_color: true "
                         "mean_value: 1 mean_value: 2 } data_param { batch_size: 4 }"),
                    {"data": (4, 3, 7, 7)}),
    "mean values": (data("Data", "data", "transform_param { crop_size: 7 mean_value: [1, 2] } "
                         "data_param { batch_size: 4 }"), {"data": (4, 2, 7, 7)}),
    "one mean value": (data("Data", "data", "transform_param { crop_size: 7 mean_value: 1 } "
                            "data_param { batch_size: 4 }"), {"data": (4, 3, 7, 7)}),
    "V1": (('layers { name: "d" type: DATA top: "data" top: "label" '
           "data_param { batch_size: 4 crop_size: 7 mirror: true } }"),
           {"data": (4, 3, 7, 7), "label": (4,)}),
    "V0": (('layers { layer { name: "d" type: "data" source: "db" batchsize: 4 cropsize: 7 } '
           'top: "data" top: "label" }'), {"data": (4, 3, 7, 7), "label": (4,)}),
    "images resized": (data("ImageData", "data label", "image_data_param { new_height: 5 "
                            "new_width: 6 batch_size: 2 }"), {"data": (2, 3, 5, 6), "label": (2,)}),
    "images resized, then cropped": (
        data("ImageData", "data label", CROP + "image_data_param { new_height: 9 new_width: 8 }"),
        {"data": (1, 3, 7, 7), "label": (1,)}),
    "images and their labels": (
        data("DenseImageData", "data label", "dense_image_data_param { new_height: 5 new_width: 6 "
             "batch_size: 2 }"), {"data": (2, 3, 5, 6), "label": (2, 1, 5, 6)}),
    "images and their labels, cropped": (
        data("DenseImageData", "data label", "dense_image_data_param { new_height: 5 new_width: 6 "
             "batch_size: 2 crop_width: 4 crop_height: 3 is_color: false }"),
        {"data": (2, 1, 3, 4), "label": (2, 1, 3, 4)}),
    "images and their labels, cropped to a square": (
        data("DenseImageData", "data label", CROP + "dense_image_data_param { crop_width: 4 "
             "crop_height: 3 batch_size: 2 }"),
        {"data": (2, 3, 7, 7), "label": (2, 1, 7, 7)}),
    "gray images": (data("ImageData", "data label", CROP + "image_data_param { is_color: false }"),
                    {"data": (1, 1, 7, 7), "label": (1,)}),
    "windows": (data("WindowData", "data label", CROP + "window_data_param { batch_size: 2 }"),
                {"data": (2, 3, 7, 7), "label": (2,)}),
    "memory": (data("MemoryData", "data label", "memory_data_param { batch_size: 2 channels: 5 "
                    "height: 7 width: 3 }"), {"data": (2, 5, 7, 3), "label": (2,)}),
    "annotated": (data("AnnotatedData", "data label", "transform_param { resize_param { height: 5 "
                       "width: 6 } } data_param { batch_size: 2 }"),
                  {"data": (2, 3, 5, 6), "label": (1, 1, 1, 8)}),
    "crop_h and crop_w": (data("AnnotatedData", "data", "transform_param { crop_h: 5 crop_w: 6 } "
                               "data_param { batch_size: 2 }"), {"data": (2, 3, 5, 6)}),
    "video": (data("VideoData", "data", "transform_param { resize_param { height: 5 width: 6 } } "
                   "data_param { batch_size: 1 }"), {"data": (1, 3, 5, 6)}),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_shapes_follow_from_the_net(case: str) -> None:
    text, expected = CASES[case]
    net = parse_net(text)
    assert shapes_of(net) == expected
    assert [layer.type for layer in net] == ["Input"]
    assert net.inputs == tuple(map(Blob, expected))
    assert net.unsized == ()


@pytest.mark.parametrize("case", CASES)
def test_what_is_given_overrides_the_net(case: str) -> None:
    text, expected = CASES[case]
    for top in expected:
        found = shapes_of(parse_net(text, input_shapes={top: (9, 2)}))
        assert found[top] == (9, 2)
    every: Shapes = dict.fromkeys(expected, (11, 2))
    assert shapes_of(parse_net(text, input_shapes=every)) == every


UNKNOWN = {
    "Data": "data_param { batch_size: 4 }",
    "ImageData": "",
    "HDF5Data": 'hdf5_data_param { source: "no/such.txt" batch_size: 4 }',
    "MemoryData": "",
    "WindowData": "window_data_param { batch_size: 4 }",
    "VideoData": "",
}


@pytest.mark.parametrize("kind", UNKNOWN)
def test_the_shape_of_data_suffices_for_that_of_the_label(kind: str) -> None:
    text = data(kind, "data label", UNKNOWN[kind])
    (unsized,) = parse_net(text).unsized
    assert "--input-shape data=" in unsized.hint
    assert "label" not in unsized.hint
    found = shapes_of(parse_net(text, input_shapes={"data": (5, 2, 3)}))
    assert found == {"data": (5, 2, 3), "label": (5,)}


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        (
            data("Data", "data label", "data_param { batch_size: 4 }"),
            ("give --input-shape data=4,C,H,W, with C the number of channels, H the height, "
            "W the width"),
        ),
        (
            data("AnnotatedData", "data label", "data_param { batch_size: 4 } transform_param { "
                 "resize_param { resize_mode: FIT_SMALL_SIZE height: 3 width: 3 } }"),
            ("give --input-shape data=4,C,H,W, with C the number of channels, H the height, "
            "W the width"),
        ),
        (data("WindowData", "data label", CROP), ("give --input-shape data=N,C,7,7, with "
         "N the batch size, C the number of channels")),
        (data("ImageData", "data label weight", CROP),
         "give --input-shape weight=..., with ... the sizes of a sample"),
        (data("DenseImageData", "data label", "dense_image_data_param { batch_size: 3 }"),
         "give --input-shape data=3,3,H,W, with H the height, W the width"),
        (data("HDF5Data", "label image", UNKNOWN["HDF5Data"]),
         ("give --input-shape label=4,... --input-shape image=4,..., with ... the sizes of a "
         "sample")),
        (data("HDF5Data", "one other", UNKNOWN["HDF5Data"]),
         "give --input-shape one=4,..., with ... the sizes of a sample"),
        (data("ImageData", "data label", "image_data_param { new_width: 7 }"),
         "give --input-shape data=1,3,H,W, with H the height, W the width"),
    ],
)  # fmt: skip
def test_what_is_lacking_is_said(text: str, hint: str) -> None:
    net = parse_net(text, "net.prototxt")
    with pytest.raises(UnsupportedError) as caught:
        infer_shapes(net)
    assert (caught.value.layer, caught.value.hint) == ("d", hint)
    assert str(caught.value.where) == "net.prototxt:1:1"
    assert infer_shapes(net, partial=True).blobs == {}


def test_given_shapes_end_the_lack_of_a_loaded_net() -> None:
    net = parse_net(data("Data", "data label", "data_param { batch_size: 4 }"))
    sized = with_input_shapes(net, {"data": (4, 1, 5, 5), "label": (4,)})
    assert shapes_of(sized) == {"data": (4, 1, 5, 5), "label": (4,)}
    with pytest.raises(UsageError, match="no shape is given for label"):
        with_input_shapes(net, {"data": (4, 1, 5, 5)})


def test_assumptions_are_noted() -> None:
    text = data("AnnotatedData", "data label", CROP + "data_param { batch_size: 4 }")
    assert parse_net(text, "net").warnings == (
        (
            'net:1:1: layer "d": "data" is assumed to have 3 channels, as the net does not say; '
            "for another number C give --input-shape data=4,C,7,7"
        ),
        (
            'net:1:1: layer "d": "label" has a row a box; one is assumed; '
            "for n boxes give --input-shape label=1,1,n,8"
        ),
    )
    given = {"data": (1, 3, 7, 7), "label": (1, 1, 2, 8)}
    assert parse_net(text, input_shapes=given).warnings == ()


def test_names_are_checked_and_phases_resolved() -> None:
    train = data("Data", "data label", "include { phase: TRAIN } data_param { batch_size: 9 } "
                 + CROP)  # fmt: skip
    test = train.replace("TRAIN", "TEST").replace("9", "2")
    for phase, batch in (("TRAIN", 9), ("TEST", 2)):
        net = parse_net(train + test, phase=phase)
        assert shapes_of(net) == {"data": (batch, 3, 7, 7), "label": (batch,)}
    with pytest.raises(UsageError, match="expected: one of data, label"):
        parse_net(train, phase="TRAIN", input_shapes={"dta": (1,)})


# --- files ----------------------------------------------------------------------------------------


@pytest.fixture
def net_folder(tmp_path: Path) -> Path:
    folder = tmp_path / "caffe" / "examples" / "cifar"
    folder.mkdir(parents=True)
    return folder


@pytest.mark.parametrize("crop", [0, 4])
def test_the_mean_image_tells_channels_and_size(crop: int, net_folder: Path) -> None:
    mean = pb.BlobProto(num=1, channels=2, height=5, width=6, data=[0.0] * 60)
    (net_folder / "mean.binaryproto").write_bytes(mean.SerializeToString())
    path = net_folder / "net.prototxt"
    path.write_text(data("Data", "data", "data_param { batch_size: 3 } transform_param { "
                         f'crop_size: {crop} mean_file: "examples/cifar/mean.binaryproto" }}')
                    )  # fmt: skip
    assert shapes_of(load_net(path)) == {"data": (3, 2, 4, 4) if crop else (3, 2, 5, 6)}


@pytest.mark.parametrize("content", [None, b"", b"version https://git-lfs", b"\x01\x02"])
def test_a_mean_image_that_cannot_be_read(content: bytes | None, net_folder: Path) -> None:
    if content is not None:
        (net_folder / "mean.binaryproto").write_bytes(content)
    path = net_folder / "net.prototxt"
    path.write_text(data("Data", "data", "data_param { batch_size: 3 } "
                         'transform_param { mean_file: "mean.binaryproto" }'))  # fmt: skip
    (unsized,) = load_net(path).unsized
    assert unsized.what.endswith("and the mean image mean.binaryproto cannot be read")


def hdf5_net(folder: Path, listed: str) -> Path:
    (folder / "list.txt").write_text(listed)
    path = folder / "net.prototxt"
    path.write_text(data("HDF5Data", "image label", 'hdf5_data_param { source: "list.txt" '
                         "batch_size: 3 }"))  # fmt: skip
    return path


def test_an_hdf5_file_tells_the_shapes_of_its_datasets(net_folder: Path) -> None:
    require("h5py")
    import h5py

    with h5py.File(net_folder / "data.h5", "w") as file:
        file["image"] = np.zeros((11, 2, 5, 7), np.float32)
        file["label"] = np.zeros((11, 4), np.float32)
    path = hdf5_net(net_folder, "data.h5\nmore.h5\n")
    assert shapes_of(load_net(path)) == {"image": (3, 2, 5, 7), "label": (3, 4)}
    given = load_net(path, input_shapes={"image": (1, 2, 5, 7)})
    assert shapes_of(given) == {"image": (1, 2, 5, 7), "label": (1, 4)}


@pytest.mark.parametrize("listed", ["", "none.h5", "net.prototxt", "\0", "x" * 5000, "empty.h5"])
def test_hdf5_files_that_tell_nothing(listed: str, net_folder: Path) -> None:
    (net_folder / "empty.h5").write_bytes(b"\x89HDF\r\n\x1a\n")
    (unsized,) = load_net(hdf5_net(net_folder, listed)).unsized
    assert unsized.hint == "give --input-shape image=3,..., with ... the sizes of a sample"


# --- layers that are no readers of files ----------------------------------------------------------

DUMMY = data(
    "DummyData",
    "a b c",
    "dummy_data_param { shape { dim: 2 dim: 3 } shape { dim: 2 } shape { dim: 5 } "
    'data_filler { type: "gaussian" } data_filler { value: 4 } data_filler { type: "uniform" } }',
)


def test_dummy_data_that_is_drawn_is_an_input_and_the_rest_stays() -> None:
    net = parse_net(DUMMY, "net")
    assert [(layer.name, layer.type, [str(top) for top in layer.tops]) for layer in net] == [
        ("d", "Input", ["a", "c"]),
        ("d", "DummyData", ["b"]),
    ]
    assert net.layers[1].message.dummy_data_param.data_filler[0].value == 4
    assert shapes_of(net) == {"a": (2, 3), "b": (2,), "c": (5,)}
    assert net.warnings[0] == (
        'net:1:1: layer "d": Caffe draws "a" anew each pass (gaussian); it becomes an input'
    )
    assert net.preprocessing == (Preprocessing("a", ("c",), "d", "DummyData"),)
    given = {"a": (1, 3), "b": (1,)}
    assert shapes_of(parse_net(DUMMY, input_shapes=given)) == {**given, "c": (5,)}


def test_constant_dummy_data_stays() -> None:
    text = data("DummyData", "a b", "dummy_data_param { num: 2 channels: 3 height: 4 width: 5 }")
    net = parse_net(text)
    assert [layer.type for layer in net] == ["DummyData"]
    assert (net.inputs, net.warnings, net.preprocessing) == ((), (), ())
    found = shapes_of(parse_net(text, input_shapes={"b": (7,)}))
    assert found == {"a": (2, 3, 4, 5), "b": (7,)}


def test_dummy_data_that_caffe_refuses() -> None:
    with pytest.raises(NetError, match='layer "d"'):
        parse_net(DUMMY.replace("data_filler { value: 4 }", ""))


@pytest.mark.parametrize("kind", ["Python", "SegData"])
def test_other_layers_without_bottoms_become_inputs_where_all_shapes_are_given(kind: str) -> None:
    text = data(kind, "image label", "")
    net = parse_net(text, input_shapes={"image": (1, 3, 5, 5), "label": (1, 1, 5, 5)})
    assert shapes_of(net) == {"image": (1, 3, 5, 5), "label": (1, 1, 5, 5)}
    assert net.preprocessing == ()
    assert [layer.type for layer in parse_net(text)] == [kind]
    with pytest.raises(UsageError) as caught:
        parse_net(text, "net", input_shapes={"image": (1, 3, 5, 5)})
    assert str(caught.value) == (
        'net:1:1: layer "d": no shape is given for label\n'
        f"  expected: shapes for all tops of a {kind} layer that is to become an input\n"
        "  to do: --input-shape image=... --input-shape label=..."
    )


def test_inputs_without_shapes_need_all() -> None:
    text = 'layer { name: "in" type: "Input" top: "a" top: "b" }'
    with pytest.raises(UsageError, match="no shape is given for b"):
        parse_net(text, input_shapes={"a": (1,)})


# --- refusing -------------------------------------------------------------------------------------


def test_data_layers_can_be_refused() -> None:
    text = data("Data", "data label", CROP) + DUMMY.replace('"d"', '"noise"')
    with pytest.raises(UnsupportedError) as caught:
        parse_net(text, "net", input_layers="error")
    assert str(caught.value) == (
        "net: the net reads data by itself, which no conversion does\n"
        '  - layer "d" (net:1:1): Data, making "data", "label"\n'
        '  - layer "noise" (net:2:1): DummyData, making "a", "b", "c"\n'
        "  expected: a net with inputs\n"
        "  to do: use the deploy prototxt, or have inputs in their place: --input-layers input"
    )
    constant = data("DummyData", "a", "dummy_data_param { shape { dim: 2 } }")
    assert parse_net(constant, input_layers="error").layers
    with pytest.raises(DecaffeinateError, match="expected: input or error"):
        parse_net(text, input_layers="no")


# --- preprocessing --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            data("Data", "data label", "data_param { batch_size: 4 } transform_param { "
                 "scale: 0.017 mirror: true crop_size: 7 mean_value: [1, 2.5, 3] }"),
            Preprocessing("data", ("label",), "d", "Data", scale=0.017, mirror=True, crop=(7, 7),
                          mean_values=(1.0, 2.5, 3.0)),
        ),
        (
            ('layers { name: "d" type: IMAGE_DATA top: "x" top: "y" image_data_param { '
            'scale: 2 crop_size: 7 mean_file: "m" new_height: 8 new_width: 9 is_color: false } }'),
            Preprocessing("x", ("y",), "d", "ImageData", scale=2.0, resize=(8, 9), crop=(7, 7),
                          mean_file="m", force_gray=True),
        ),
        (
            data("DenseImageData", "x y", "dense_image_data_param { batch_size: 2 new_height: 8 "
                 "new_width: 9 crop_height: 3 crop_width: 4 is_color: false mirror: true }"),
            Preprocessing("x", ("y",), "d", "DenseImageData", mirror=True, resize=(8, 9),
                          crop=(3, 4), force_gray=True),
        ),
        (
            data("WindowData", "x y", "transform_param { scale: 2 crop_size: 7 } "
                 "window_data_param { batch_size: 2 }"),
            Preprocessing("x", ("y",), "d", "WindowData", crop=(7, 7)),
        ),
        (
            data("AnnotatedData", "x", "data_param { batch_size: 2 } transform_param { "
                 "resize_param { height: 3 width: 4 } distort_param { } } "
                 "annotated_data_param { batch_sampler { } }"),
            Preprocessing("x", (), "d", "AnnotatedData", resize=(3, 4),
                          augmentation=("distort_param", "batch_sampler")),
        ),
        (data("HDF5Data", "x", ""), Preprocessing("x", (), "d", "HDF5Data")),
    ],
)  # fmt: skip
def test_preprocessing_is_kept(text: str, expected: Preprocessing) -> None:
    assert parse_net(text).preprocessing == (expected,)
