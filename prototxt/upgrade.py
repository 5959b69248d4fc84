"""Old definitions to current ones: V0 and V1 layers, legacy input fields, old BatchNorm rules.

Caffe changed its layers twice.  V0 (2013) has `layers { layer { type: "conv" ... } bottom top }`,
V1 (2014) `layers { type: CONVOLUTION ... }`, V2 `layer { type: "Convolution" ... }`.  What each
field of an old layer becomes is a fact of Caffe 1.0, whose upgrade runs on every net that it reads;
here the facts are tables.  Where Caffe drops a field with a line in its log, this raises: a
converter must not lose anything unseen.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from google.protobuf.message import Message

from prototxt import caffe_pb2 as pb
from prototxt.errors import NetError

__all__ = ["LAYER_TYPES_V1", "Upgraded", "upgrade"]


@dataclass(frozen=True)
class Upgraded:
    """A net of V2 layers, and where they come from.

    `sources[i]` is the index, in the original `layer` or `layers`, of what became
    `message.layer[i]`; None for an Input layer that stands for legacy input fields.  `notes` say
    what was left out without effect.
    """

    message: pb.NetParameter
    sources: tuple[int | None, ...]
    notes: tuple[str, ...]


def upgrade(net: pb.NetParameter) -> Upgraded:
    """The same net in V2 layers, as Caffe 1.0 upgrades it; `net` itself is left as it is.

    Raises:
        NetError: `layer` and `layers` in one net; a V0 field, type or padding layer that has no
            equivalent; inputs without shapes.
    """
    if net.layer and net.layers:
        raise NetError(
            "the net has both `layer` and `layers`",
            layer=_name(net.layers[0]),
            expected="one of the two: `layers` is V1, `layer` is V2",
            hint='write every layer as `layer { type: "..." }`',
        )
    notes: list[str] = []
    upgraded = pb.NetParameter()
    upgraded.CopyFrom(net)
    sources: list[int | None] = list(range(len(net.layer)))
    if net.layers:
        del upgraded.layers[:]
        numbered: Iterable[tuple[int, pb.V1LayerParameter]] = enumerate(net.layers)
        if any(layer.HasField("layer") for layer in net.layers):
            numbered = _v1_layers(net.layers, notes)
        for index, layer in numbered:
            upgraded.layer.append(_v2_layer(layer))
            sources.append(index)
    if _replace_inputs(upgraded, notes):
        sources.insert(0, None)
    for current in upgraded.layer:
        _freeze_old_batch_norm(current)
    return Upgraded(upgraded, tuple(sources), tuple(notes))


def _name(layer: pb.V1LayerParameter) -> str:
    return layer.layer.name if layer.HasField("layer") else layer.name


def _put(message: Message, name: str, value: Any) -> None:
    """Copies a value of any kind into a field, or adds a single one to a repeated field."""
    current = getattr(message, name)
    if isinstance(value, Message):
        current.CopyFrom(value)
    elif isinstance(value, (str, bytes, int, float)) and not hasattr(current, "append"):
        setattr(message, name, value)
    elif isinstance(value, (str, bytes, int, float)):
        current.append(value)
    else:
        current.extend(value)


# --- V0 to V1 -------------------------------------------------------------------------------------

_V0_TYPES: Mapping[str, tuple[str, str]] = {
    # V0 type: the type in V1, the message that the type's own fields move to
    "accuracy": ("ACCURACY", ""),
    "bnll": ("BNLL", ""),
    "concat": ("CONCAT", "concat_param"),
    "conv": ("CONVOLUTION", "convolution_param"),
    "data": ("DATA", "data_param"),
    "dropout": ("DROPOUT", "dropout_param"),
    "euclidean_loss": ("EUCLIDEAN_LOSS", ""),
    "flatten": ("FLATTEN", ""),
    "hdf5_data": ("HDF5_DATA", "hdf5_data_param"),
    "hdf5_output": ("HDF5_OUTPUT", "hdf5_output_param"),
    "im2col": ("IM2COL", ""),
    "images": ("IMAGE_DATA", "image_data_param"),
    "infogain_loss": ("INFOGAIN_LOSS", "infogain_loss_param"),
    "innerproduct": ("INNER_PRODUCT", "inner_product_param"),
    "lrn": ("LRN", "lrn_param"),
    "multinomial_logistic_loss": ("MULTINOMIAL_LOGISTIC_LOSS", ""),
    "pool": ("POOLING", "pooling_param"),
    "relu": ("RELU", ""),
    "sigmoid": ("SIGMOID", ""),
    "softmax": ("SOFTMAX", ""),
    "softmax_loss": ("SOFTMAX_LOSS", ""),
    "split": ("SPLIT", ""),
    "tanh": ("TANH", ""),
    "window_data": ("WINDOW_DATA", "window_data_param"),
}

_V0_FIELDS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    # V0 field: its name in the type's message, the types that have it
    "num_output": ("num_output", ("conv", "innerproduct")),
    "biasterm": ("bias_term", ("conv", "innerproduct")),
    "weight_filler": ("weight_filler", ("conv", "innerproduct")),
    "bias_filler": ("bias_filler", ("conv", "innerproduct")),
    "pad": ("pad", ("conv", "pool")),
    "kernelsize": ("kernel_size", ("conv", "pool")),
    "group": ("group", ("conv",)),
    "stride": ("stride", ("conv", "pool")),
    "pool": ("pool", ("pool",)),
    "dropout_ratio": ("dropout_ratio", ("dropout",)),
    "local_size": ("local_size", ("lrn",)),
    "alpha": ("alpha", ("lrn",)),
    "beta": ("beta", ("lrn",)),
    "k": ("k", ("lrn",)),
    "source": ("source", ("data", "hdf5_data", "images", "infogain_loss", "window_data")),
    "batchsize": ("batch_size", ("data", "hdf5_data", "images", "window_data")),
    "rand_skip": ("rand_skip", ("data", "images")),
    "shuffle_images": ("shuffle", ("images",)),
    "new_height": ("new_height", ("images",)),
    "new_width": ("new_width", ("images",)),
    "concat_dim": ("concat_dim", ("concat",)),
    "det_fg_threshold": ("fg_threshold", ("window_data",)),
    "det_bg_threshold": ("bg_threshold", ("window_data",)),
    "det_fg_fraction": ("fg_fraction", ("window_data",)),
    "det_context_pad": ("context_pad", ("window_data",)),
    "det_crop_mode": ("crop_mode", ("window_data",)),
}

_V0_TRANSFORMS: Mapping[str, str] = {
    # of every type: V0 field, its name in transform_param
    "scale": "scale",
    "meanfile": "mean_file",
    "cropsize": "crop_size",
    "mirror": "mirror",
}

_V0_KEPT = ("name", "blobs", "blobs_lr", "weight_decay")
_V0_GONE = ("new_num", "new_channels")  # of a reshape layer that Caffe gave up before V1


def _v1_layers(
    layers: Iterable[pb.V1LayerParameter], notes: list[str]
) -> Iterator[tuple[int, pb.V1LayerParameter]]:
    """V1 layers for V0 ones, numbered as in `layers`; padding layers fold into their consumers."""
    padding: dict[str, pb.V1LayerParameter] = {}  # by the top that a padding layer made last
    for index, layer in enumerate(layers):
        if not layer.HasField("layer"):
            raise NetError(
                "a V1 layer among V0 layers",
                layer=layer.name,
                expected="every `layers` with a `layer` inside, or none",
            )
        folded = _with_padding(layer, [padding[b] for b in layer.bottom if b in padding])
        for top in layer.top:
            padding.pop(top, None)
        if layer.layer.type == "padding":
            padding.update((top, layer) for top in layer.top)
        else:
            yield index, _v1_layer(folded, notes)


def _with_padding(
    layer: pb.V1LayerParameter, padding: list[pb.V1LayerParameter]
) -> pb.V1LayerParameter:
    if not padding:
        return layer
    if layer.layer.type not in ("conv", "pool"):
        raise NetError(
            f'a padding layer cannot feed a layer of V0 type "{layer.layer.type}"',
            layer=layer.layer.name,
            expected="conv or pool",
        )
    for one in (layer, *padding):
        if len(one.bottom) != 1 or (one is not layer and len(one.top) != 1):
            raise NetError(
                "padding with several blobs",
                layer=one.layer.name,
                expected="one bottom and one top of a padding layer, one bottom of its consumer",
            )
    folded = pb.V1LayerParameter()
    folded.CopyFrom(layer)
    folded.layer.pad = padding[0].layer.pad
    folded.bottom[0] = padding[0].bottom[0]
    return folded


def _v1_layer(layer: pb.V1LayerParameter, notes: list[str]) -> pb.V1LayerParameter:
    old = layer.layer
    if old.type not in _V0_TYPES:
        raise NetError(
            f'unknown V0 type "{old.type}"' if old.HasField("type") else "a V0 layer without type",
            layer=old.name,
            expected="one of " + ", ".join(_V0_TYPES),
        )
    type_, param = _V0_TYPES[old.type]
    upgraded = pb.V1LayerParameter(bottom=layer.bottom, top=layer.top, type=type_)
    gone = [f.name for f, _ in layer.ListFields() if f.name not in ("layer", "bottom", "top")]
    lost = []
    for field, value in old.ListFields():
        name = field.name
        if name in ("new_height", "new_width") and value < 0:  # signed in V0 alone
            raise NetError(f"{name} cannot be {value}", layer=old.name, expected="0 or more")
        if name in _V0_KEPT:
            _put(upgraded, name, value)
        elif name in _V0_TRANSFORMS:
            _put(upgraded.transform_param, _V0_TRANSFORMS[name], value)
        elif name == param:  # hdf5_output_param, V0's only message of one type
            _put(upgraded, name, value)
        elif old.type in _V0_FIELDS.get(name, ("", ()))[1]:
            _put(getattr(upgraded, param), _V0_FIELDS[name][0], value)
        elif name in _V0_GONE:
            gone.append(name)
        elif name != "type":
            lost.append(name)
    if lost:
        raise NetError(
            f'V0 type "{old.type}" has no ' + ", ".join(lost),
            layer=old.name,
            hint="Caffe drops such fields; remove them if that is what is meant",
        )
    notes.extend(f'layer "{old.name}": {name} has no effect on V0, as in Caffe' for name in gone)
    return upgraded


# --- V1 to V2 -------------------------------------------------------------------------------------

_V2_TYPES: Mapping[str, str] = {
    "NONE": "",
    "ABSVAL": "AbsVal",
    "ACCURACY": "Accuracy",
    "ARGMAX": "ArgMax",
    "BNLL": "BNLL",
    "CONCAT": "Concat",
    "CONTRASTIVE_LOSS": "ContrastiveLoss",
    "CONVOLUTION": "Convolution",
    "DATA": "Data",
    "DECONVOLUTION": "Deconvolution",
    "DROPOUT": "Dropout",
    "DUMMY_DATA": "DummyData",
    "ELTWISE": "Eltwise",
    "EUCLIDEAN_LOSS": "EuclideanLoss",
    "EXP": "Exp",
    "FLATTEN": "Flatten",
    "HDF5_DATA": "HDF5Data",
    "HDF5_OUTPUT": "HDF5Output",
    "HINGE_LOSS": "HingeLoss",
    "IM2COL": "Im2col",
    "IMAGE_DATA": "ImageData",
    "INFOGAIN_LOSS": "InfogainLoss",
    "INNER_PRODUCT": "InnerProduct",
    "LRN": "LRN",
    "MEMORY_DATA": "MemoryData",
    "MULTINOMIAL_LOGISTIC_LOSS": "MultinomialLogisticLoss",
    "MVN": "MVN",
    "POOLING": "Pooling",
    "POWER": "Power",
    "RELU": "ReLU",
    "SIGMOID": "Sigmoid",
    "SIGMOID_CROSS_ENTROPY_LOSS": "SigmoidCrossEntropyLoss",
    "SILENCE": "Silence",
    "SLICE": "Slice",
    "SOFTMAX": "Softmax",
    "SOFTMAX_LOSS": "SoftmaxWithLoss",
    "SPLIT": "Split",
    "TANH": "TanH",
    "THRESHOLD": "Threshold",
    "WINDOW_DATA": "WindowData",
}

LAYER_TYPES_V1: Mapping[int, str] = MappingProxyType(
    {pb.V1LayerParameter.LayerType.Value(name): type_ for name, type_ in _V2_TYPES.items()}
)
"""The V2 type for each number of V1's LayerType, as binary weights hold it."""

_V1_PARAM: Mapping[str, str] = {
    # parallel lists of V1, each a field of `param` in V2
    "param": "name",
    "blob_share_mode": "share_mode",
    "blobs_lr": "lr_mult",
    "weight_decay": "decay_mult",
}

_V1_TRANSFORMS: Mapping[str, str] = {
    # the types whose own message held the transformation before transform_param did
    "Data": "data_param",
    "ImageData": "image_data_param",
    "WindowData": "window_data_param",
}


def _v2_layer(layer: pb.V1LayerParameter) -> pb.LayerParameter:
    """The V2 layer for a V1 layer; one without type (a fork's, unknown here) stays without."""
    upgraded = pb.LayerParameter()
    for field, value in layer.ListFields():
        if field.name == "type":
            upgraded.type = LAYER_TYPES_V1[value]
        elif field.name in _V1_PARAM:
            for index, item in enumerate(value):
                while len(upgraded.param) <= index:
                    upgraded.param.add()
                setattr(upgraded.param[index], _V1_PARAM[field.name], item)
        else:  # all others have the same name and type in V2
            _put(upgraded, field.name, value)
    own = _V1_TRANSFORMS.get(upgraded.type)
    if own is not None and upgraded.HasField(own):
        _move_transforms(getattr(upgraded, own), upgraded)
    return upgraded


def _move_transforms(data: Message, layer: pb.LayerParameter) -> None:
    for name in _V0_TRANSFORMS.values():
        if data.HasField(name):
            setattr(layer.transform_param, name, getattr(data, name))
            data.ClearField(name)


# --- inputs and BatchNorm -------------------------------------------------------------------------


def _replace_inputs(net: pb.NetParameter, notes: list[str]) -> bool:
    """One Input layer, named "input", in the place of the input fields; False without shapes."""
    inputs, shapes = list(net.input), _input_shapes(net, notes)
    for name in ("input", "input_shape", "input_dim"):
        net.ClearField(name)
    if not shapes:
        _forget_inputs(net, inputs, notes)
        return False
    layer = pb.LayerParameter(name="input", type="Input", top=inputs)
    for shape in shapes:
        layer.input_param.shape.add(dim=shape)
    others = list(net.layer)
    del net.layer[:]
    net.layer.append(layer)
    net.layer.extend(others)
    return True


def _input_shapes(net: pb.NetParameter, notes: list[str]) -> list[list[int]]:
    """One shape for each input, from input_shape or else input_dim; none where there is neither."""
    count = len(net.input)
    if not count:
        return []
    field, per_input = ("input_shape", 1) if net.input_shape else ("input_dim", 4)
    given, needed = len(getattr(net, field)), count * per_input
    if 0 < given < needed:
        dims = " (N, C, H, W)" if per_input == 4 else ""
        raise NetError(
            f"the net has {given} {field} for {count} input" + "s" * (count > 1),
            expected=f"{needed}, which is {per_input} for each input{dims}",
        )
    if given > needed:
        notes.append(f"{field}: only {needed} of {given} are used, as in Caffe")
    if net.input_shape:
        if net.input_dim:
            notes.append("input_dim is ignored beside input_shape, as in Caffe")
        return [list(shape.dim) for shape in net.input_shape[:count]]
    dims_of_all = net.input_dim[:needed]
    return [list(dims_of_all[start : start + 4]) for start in range(0, len(dims_of_all), 4)]


def _forget_inputs(net: pb.NetParameter, inputs: list[str], notes: list[str]) -> None:
    # A .caffemodel of a net with inputs may name them without shapes; a net that is to run may not.
    for layer in net.layer:
        for name in layer.bottom:
            if name in inputs:
                raise NetError(
                    f'the input "{name}" has no shape',
                    layer=layer.name,
                    expected="an input_shape, or four input_dim, for each input",
                )
    notes.extend(f'the input "{name}" has no shape and no reader: dropped' for name in inputs)


def _freeze_old_batch_norm(layer: pb.LayerParameter) -> None:
    # Three `param` are of the time when nets themselves had to keep the solver off the statistics.
    if layer.type == "BatchNorm" and len(layer.param) == 3:
        for param in layer.param:
            param.lr_mult = param.decay_mult = 0.0
