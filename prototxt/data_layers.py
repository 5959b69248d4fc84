"""Layers that read data from files become inputs, with the shapes that Caffe would give their
tops."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from prototxt import caffe_pb2 as pb
from prototxt.blobs import Origin
from prototxt.data_files import hdf5_shapes, mean_shape
from prototxt.dummy_data import draws, split_dummy_data
from prototxt.errors import UnsupportedError, UsageError
from prototxt.input_layer import declaring, input_layer
from prototxt.net import DATA_LAYERS, Preprocessing, Unsized
from prototxt.preprocessing import cropped_size, image_list, preprocessing_of, resized

__all__ = ["DataInputs", "inputs_for_data", "refuse_data_layers"]

Size = int | str
"""A size, or a letter that stands for one that is not known."""
Shape = tuple[Size, ...]

_BOXES: Shape = (1, 1, 1, 8)
"""SSD's labels: a row a box of item, group, instance, xmin, ymin, xmax, ymax, difficult; where an
image has no box, one row all the same."""


@dataclass
class DataInputs:
    """The layers of a net with Input layers in the place of data layers, and what is known of
    them."""

    layers: list[Origin] = field(default_factory=list)
    preprocessing: list[Preprocessing] = field(default_factory=list)
    unsized: list[Unsized] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    assumed: list[str] = field(default_factory=list)
    """Those of the notes that tell of shapes which are not stated."""


def inputs_for_data(
    origins: Sequence[Origin], shapes: Mapping[str, Sequence[int]], path: str
) -> DataInputs:
    """Put Input layers in the place of layers that read data, or draw it anew each pass; all inputs
    get the shapes that the user gives.

    Args:
        origins: the layers of the net.
        shapes: shapes that the user gives, by top; they override what the net states.
        path: the net's file; mean images and HDF5 files are looked for from its folder too.

    Raises:
        UsageError: shapes for some of the tops of a layer that states none, but not for all.
        NetError: a DummyData layer that Caffe would refuse.
    """
    found = DataInputs()
    for origin in origins:
        message = origin.message
        if message.type in DATA_LAYERS:
            _add_data_layer(found, origin, shapes, path)
        elif message.type == "DummyData":
            layers, notes = split_dummy_data(origin, shapes)
            found.layers += layers
            found.notes += notes
            if layers[0].message.type == "Input":
                blob, *others = layers[0].message.top
                found.preprocessing.append(
                    Preprocessing(blob, tuple(others), message.name, message.type)
                )
        elif message.type == "Input":
            changed = declaring(message, origin.where, shapes)
            found.layers.append(replace(origin, message=changed))
        elif message.type != "Parameter" and not message.bottom:
            found.layers.append(_given(origin, shapes))
        else:
            found.layers.append(origin)
    return found


def refuse_data_layers(origins: Sequence[Origin]) -> None:
    """Refuse a net with layers that would become inputs.

    Raises:
        UnsupportedError: naming all of them.
    """
    readers = [o for o in origins if o.message.type in DATA_LAYERS or draws(o.message)]
    if not readers:
        return
    raise UnsupportedError(
        "the net reads data by itself, which no conversion does",
        where=readers[0].where.file,
        details=[
            f'layer "{o.message.name}" ({o.where}): {o.message.type}, making '
            + ", ".join(f'"{top}"' for top in o.message.top)
            for o in readers
        ],
        expected="a net with inputs",
        hint="use the deploy prototxt, or have inputs in their place: --input-layers input",
    )


def _given(origin: Origin, shapes: Mapping[str, Sequence[int]]) -> Origin:
    """A layer of whatever type that makes blobs of nothing: an input if the user gives its
    shapes."""
    message = origin.message
    lacking = [top for top in message.top if top not in shapes]
    if len(lacking) == len(message.top):
        return origin
    if lacking:
        raise UsageError(
            f"no shape is given for {', '.join(lacking)}",
            where=str(origin.where),
            layer=message.name,
            expected=f"shapes for all tops of a {message.type} layer that is to become an input",
            hint=" ".join(f"--input-shape {top}=..." for top in message.top),
        )
    changed = input_layer(message, message.top, [shapes[top] for top in message.top])
    return replace(origin, message=changed)


# --- layers that read files -----------------------------------------------------------------------


@dataclass
class _Reader:
    """One data layer: what is missing for its shapes, and what had to be assumed."""

    message: pb.LayerParameter
    path: str
    missing: list[str] = field(default_factory=list)
    assumed: list[str] = field(default_factory=list)

    def batch(self, stated: int) -> Size:
        if stated:
            return stated
        self.missing.append("batch_size is not given")
        return "N"


def _add_data_layer(
    found: DataInputs, origin: Origin, given: Mapping[str, Sequence[int]], path: str
) -> None:
    message = origin.message
    found.preprocessing.append(preprocessing_of(message))
    reader = _Reader(message, path)
    tops = _top_shapes(reader, given)
    if all(isinstance(size, int) for shape in tops for size in shape):
        shapes = [[int(size) for size in shape] for shape in tops]
        changed = input_layer(message, message.top, shapes)
        assumed = [f'{origin.where}: layer "{message.name}": {n}' for n in reader.assumed]
        found.notes += assumed
        found.assumed += assumed
    else:
        changed = input_layer(message, message.top, ())
        found.unsized.append(_unsized(origin, tops, reader))
    found.layers.append(replace(origin, message=changed))


def _top_shapes(reader: _Reader, given: Mapping[str, Sequence[int]]) -> list[Shape]:
    """The shapes of a data layer's tops; what the user gives overrides what follows from the
    net."""
    tops = list(reader.message.top)
    if not tops:
        return []
    if reader.message.type == "HDF5Data":
        own = _hdf5_tops(reader, given)
    else:
        first = given[tops[0]] if tops[0] in given else _image_shape(reader)
        own = [tuple(first)]
        own += [_other_shape(reader, k, own[0], given) for k in range(1, len(tops))]
    return [tuple(given[top]) if top in given else own[k] for k, top in enumerate(tops)]


def _other_shape(
    reader: _Reader, position: int, data: Shape, given: Mapping[str, Sequence[int]]
) -> Shape:
    """The shape of a top beside the data: one number a sample, in SSD the boxes, in SegNet one a
    pixel."""
    kind, top = reader.message.type, reader.message.top[position]
    if top in given:
        return tuple(given[top])
    if position > 1:
        reader.missing.append(f'Caffe\'s {kind} has no top "{top}" beside data and label')
        return ("...",)
    if kind == "DenseImageData":
        return _one_a_pixel(data)
    if kind != "AnnotatedData":
        return data[:1]
    reader.assumed.append(
        f'"{top}" has a row a box; one is assumed; for n boxes give --input-shape {top}=1,1,n,8'
    )
    return _BOXES


def _one_a_pixel(data: Shape) -> Shape:
    """The shape of a number for each pixel of images."""
    return (*data[:1], 1, *data[2:])


def _unsized(origin: Origin, tops: Sequence[Shape], reader: _Reader) -> Unsized:
    """What to give: no more than is needed, so that a label's batch follows from the data's."""
    message = origin.message
    following = (tops[0][:1], _one_a_pixel(tops[0]))
    wanted = [
        (top, shape)
        for k, (top, shape) in enumerate(zip(message.top, tops, strict=True))
        if any(isinstance(size, str) for size in shape) and (k == 0 or shape not in following)
    ]
    flags = " ".join(
        f"--input-shape {top}=" + ",".join(str(size) for size in shape) for top, shape in wanted
    )
    blobs = ", ".join(f'"{top}"' for top, _ in wanted)
    letters = {size for _, shape in wanted for size in shape if isinstance(size, str)}
    meant = [f"{letter} {_LETTERS[letter]}" for letter in _LETTERS if letter in letters]
    return Unsized(
        tuple(message.top),
        message.name,
        origin.where,
        f"{message.type} does not tell the shape of {blobs}: "
        + ", ".join(dict.fromkeys(reader.missing)),
        f"give {flags}" + (f", with {', '.join(meant)}" if meant else ""),
    )


_LETTERS = {
    "N": "the batch size",
    "C": "the number of channels",
    "H": "the height",
    "W": "the width",
    "...": "the sizes of a sample",
}


# --- images ---------------------------------------------------------------------------------------


def _image_shape(reader: _Reader) -> Shape:
    message = reader.message
    if message.type == "MemoryData":
        return _memory_shape(reader)
    batch = reader.batch(_batch_size(message))
    mean = mean_shape(message.transform_param.mean_file, reader.path)
    height, width = _image_size(reader, mean)
    channels = _CHANNELS[message.type](message, mean)
    if channels is None and not any(isinstance(size, str) for size in (batch, height, width)):
        channels = 3
        top = message.top[0]
        reader.assumed.append(
            f'"{top}" is assumed to have 3 channels, as the net does not say; '
            f"for another number C give --input-shape {top}={batch},C,{height},{width}"
        )
    return (batch, "C" if channels is None else channels, height, width)


def _batch_size(message: pb.LayerParameter) -> int:
    images = image_list(message)
    if images is not None:
        return images.batch_size
    if message.type == "WindowData":
        return message.window_data_param.batch_size
    return message.data_param.batch_size


def _memory_shape(reader: _Reader) -> Shape:
    """(N, C, H, W) as stated; crop_size says no more, as Caffe makes the top of these sizes."""
    param = reader.message.memory_data_param
    batch = reader.batch(param.batch_size)
    sizes: list[Size] = [param.channels or "C", param.height or "H", param.width or "W"]
    for name, size in zip(("channels", "height", "width"), sizes, strict=True):
        if isinstance(size, str):
            reader.missing.append(f"{name} is not given")
    return (batch, *sizes)


def _image_size(reader: _Reader, mean: tuple[int, int, int] | None) -> tuple[Size, Size]:
    """Height and width: of the crop, else of what is resized to, else of the mean image, which
    Caffe wants as large as the images."""
    message = reader.message
    size = cropped_size(message)
    if size is None and message.type != "WindowData":
        size = resized(message)
        if (
            size is None
            and mean is not None
            and not message.transform_param.HasField("resize_param")
        ):
            size = mean[1:]
    if size is not None:
        return size
    lacking = "crop_size is not given"
    if image_list(message) is not None:
        lacking = "neither crop_size nor new_height and new_width are given"
    if message.transform_param.mean_file and mean is None and message.type != "WindowData":
        lacking += f", and the mean image {message.transform_param.mean_file} cannot be read"
    reader.missing.append(lacking)
    return ("H", "W")


def _stored_channels(message: pb.LayerParameter, mean: tuple[int, int, int] | None) -> int | None:
    """Channels of images as they are stored, or None where the net does not tell; a single
    mean_value is for any number."""
    transform = message.transform_param
    # Encoded images alone can be forced, and Caffe refuses both at once.
    if transform.force_color is not transform.force_gray:
        return 3 if transform.force_color else 1
    if len(transform.mean_value) > 1:
        return len(transform.mean_value)
    return mean[0] if mean is not None else None


_CHANNELS: dict[str, Callable[[pb.LayerParameter, tuple[int, int, int] | None], int | None]] = {
    "AnnotatedData": _stored_channels,
    "Data": _stored_channels,
    "DenseImageData": lambda message, _: 3 if message.dense_image_data_param.is_color else 1,
    "ImageData": lambda message, _: 3 if message.image_data_param.is_color else 1,
    "VideoData": lambda message, mean: _stored_channels(message, mean) or 3,
    "WindowData": _stored_channels,
}


# --- HDF5 -----------------------------------------------------------------------------------------


def _hdf5_tops(reader: _Reader, given: Mapping[str, Sequence[int]]) -> list[Shape]:
    """A batch of the datasets that are named after the tops, as the first listed file has them.

    Without the file, a label has one number a sample: the top of this name, or where none says so
    the second of two.
    """
    param, tops = reader.message.hdf5_data_param, list(reader.message.top)
    if all(top in given for top in tops):
        return [tuple(given[top]) for top in tops]
    stored = hdf5_shapes(param.source, tops, reader.path)
    batch: Size = given[tops[0]][0] if tops[0] in given else reader.batch(param.batch_size)
    labels = [top for top in tops if "label" in top.lower()]
    shapes: list[Shape] = []
    for position, top in enumerate(tops):
        if top in given:
            shapes.append(tuple(given[top]))
        elif top in stored:
            shapes.append((batch, *stored[top][1:]))
        elif position and (top in labels or (len(tops) == 2 and not labels)):
            shapes.append((batch,))
            reader.assumed.append(
                f'"{top}" is assumed to have one number a sample; '
                f"for another shape give --input-shape {top}={batch},..."
            )
        else:
            shapes.append((batch, "..."))
            reader.missing.append(f"no HDF5 file that {param.source or 'it'} lists can be read")
    return shapes
