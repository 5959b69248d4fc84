"""Other spellings of what Caffe has: fields of forks that are read as those of BVLC.

A net that says `ceil_mode: false` means `round_mode: FLOOR`; from here on it has said so.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from prototxt import caffe_pb2 as pb
from prototxt.errors import PrototxtError
from prototxt.fields import UnknownField, fill, scalar
from prototxt.net import Field

__all__ = ["translate"]

Given = dict[str, Field]
"""The fields of one message that the schema does not have, by name."""


def translate(
    layer: pb.LayerParameter | pb.V1LayerParameter,
    unknown: Sequence[UnknownField],
    type_: str | None = None,
) -> list[UnknownField]:
    """Put into a layer what fields that its schema lacks say in another fork's words.

    Args:
        layer: the layer, which is changed.
        unknown: the fields that were found in it and have no place in the schema.
        type_: its type, where V1 does not know it.

    Returns:
        The unknown fields less those that only layers of this type have.

    Raises:
        PrototxtError: a value of the wrong type, or one that contradicts BVLC's own field.
    """
    unknown = _of_own_message(layer, unknown)
    unknown = _volume(layer, unknown) if (type_ or layer.type) in _VOLUMES else unknown
    given: dict[str, Given] = {}
    for item in unknown:
        if item.message in _READERS and not item.again:
            outer = item.path.rpartition(".")[0]
            given.setdefault(f"{item.message} {outer}", {}).setdefault(item.field.name, item.field)
    for key, fields in given.items():
        message, _, path = key.partition(" ")
        part: Any = layer
        for name in path.split("."):
            part = getattr(part, name)
        _READERS[message](part, fields)
    return list(unknown)


_MESSAGES_3D = {"convolution3d_param": "convolution_param", "pooling3d_param": "pooling_param"}
"""C3D 1.1: messages of their own, with the fields that C3D 1.0 put into these."""
_VOLUMES = ("CONVOLUTION3D", "Convolution3D", "DECONVOLUTION3D", "Deconvolution3D")
_DEPTHS = {"kernel_depth": ("kernel_size", 0), "temporal_stride": ("stride", 1),
           "temporal_pad": ("pad", 0)}  # fmt: skip
"""C3D's sizes of the first of three axes: BVLC's field for all of them, and the default."""


def _of_own_message(layer: Any, unknown: Sequence[UnknownField]) -> Sequence[UnknownField]:
    found: list[UnknownField] = []
    for item in unknown:
        usual = _MESSAGES_3D.get(item.path)
        if usual is None:
            found.append(item)
        elif isinstance(item.field.value, str):
            raise PrototxtError(f'"{item.path}" is a message, not a value', where=item.field.where,
                                expected="{ ... }")  # fmt: skip
        else:
            part = getattr(layer, usual)
            part.SetInParent()
            fill(part, item.field.value, found, f"{usual}.")
    return found


def _volume(layer: Any, unknown: Sequence[UnknownField]) -> Sequence[UnknownField]:
    """C3D: depth apart from height and width, which have one size; `filter_group` tells only in how
    many parts the outputs are computed."""
    param, rest = layer.convolution_param, []
    depths = {name: default for name, (_, default) in _DEPTHS.items()}
    for item in unknown:
        if item.message != "ConvolutionParameter" or item.field.name not in (
            *_DEPTHS,
            "filter_group",
        ):
            rest.append(item)
        elif item.field.name in depths:
            depths[item.field.name] = scalar(item.field, pb.ConvolutionParameter, "num_output")
    for name, (usual, default) in _DEPTHS.items():
        sizes = getattr(param, usual)
        if len(sizes) < 2:
            flat = sizes[0] if sizes else default
            sizes[:] = [depths[name], flat, flat]
    return rest


def _pooling(param: pb.PoolingParameter, given: Given) -> None:
    """`ceil_mode`, true by default, of synopsys-caffe, Cambricon and others."""
    item = given.get("ceil_mode")
    if item is None:
        return
    # BVLC's own bool of another message tells how a bool is written.
    ceil = scalar(item, pb.PoolingParameter, "global_pooling")
    meant = pb.PoolingParameter.CEIL if ceil else pb.PoolingParameter.FLOOR
    if param.HasField("round_mode") and param.round_mode != meant:
        raise _contradiction(item, "round_mode")
    param.round_mode = meant


_SHAPES = {"kernel_shape": "kernel_size", "stride_shape": "stride", "pad_shape": "pad"}
"""Of video-caffe: BlobShapes with a size for each axis."""


def _convolution(param: pb.ConvolutionParameter, given: Given) -> None:
    """`dilation_h` and `dilation_w` of yjxiong's fork; video-caffe's shapes."""
    pair = [given.get("dilation_h"), given.get("dilation_w")]
    items = [item for item in pair if item is not None]
    if items:
        if len(items) < 2:
            raise PrototxtError(f'"{items[0].name}" is given alone', where=items[0].where,
                                expected="both dilation_h and dilation_w")  # fmt: skip
        _extend(param.dilation, items, items[0], "dilation")
    for name, own in _SHAPES.items():
        item = given.get(name)
        if item is not None:
            if isinstance(item.value, str):
                raise PrototxtError(f'"{name}" is a message, not a value', where=item.where,
                                    expected="{ dim: ... }")  # fmt: skip
            _extend(getattr(param, own), item.value, item, own)


def _extend(target: Any, items: Sequence[Field], item: Field, own: str) -> None:
    """Whole numbers into a repeated field that nothing else has filled."""
    values = [scalar(part, pb.ConvolutionParameter, "num_output") for part in items]
    if list(target) not in ([], values):
        raise _contradiction(item, own)
    target[:] = values


def _contradiction(item: Field, own: str) -> PrototxtError:
    return PrototxtError(f'"{item.name}" and "{own}" say different things', where=item.where,
                         expected="one of the two")  # fmt: skip


_READERS: dict[str, Callable[[Any, Given], None]] = {
    "PoolingParameter": _pooling,
    "ConvolutionParameter": _convolution,
}
"""By message."""
