"""DummyData layers: what they draw anew each pass is an input, what is constant stays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from prototxt import caffe_pb2 as pb
from prototxt.blobs import Origin
from prototxt.input_layer import input_layer
from prototxt.net import Blob, Layer
from prototxt.shape_rules import RULES

__all__ = ["draws", "split_dummy_data"]


def draws(message: pb.LayerParameter) -> bool:
    """Whether this is a DummyData layer that draws values anew each pass."""
    fillers = message.dummy_data_param.data_filler
    return message.type == "DummyData" and any(filler.type != "constant" for filler in fillers)


def split_dummy_data(
    origin: Origin, given: Mapping[str, Sequence[int]]
) -> tuple[list[Origin], list[str]]:
    """An Input layer for the tops that are drawn, and a DummyData layer for the constant ones.

    Args:
        origin: the DummyData layer.
        given: shapes to use instead of the stated ones, by top.

    Returns:
        The layers, that of the inputs first, and notes.

    Raises:
        NetError: Caffe would refuse the numbers of its shapes or fillers.
    """
    message = origin.message
    if not message.top or not (draws(message) or any(top in given for top in message.top)):
        return [origin], []
    tops = list(message.top)
    stated = _shapes(origin)
    shapes = [list(given.get(top, shape)) for top, shape in zip(tops, stated, strict=True)]
    fillers = list(message.dummy_data_param.data_filler)
    fillers = fillers or [pb.FillerParameter()]
    fillers = fillers if len(fillers) == len(tops) else fillers * len(tops)
    drawn = [k for k in range(len(tops)) if fillers[k].type != "constant"]
    kept = [k for k in range(len(tops)) if k not in drawn]
    layers, notes = [], []
    if drawn:
        changed = input_layer(message, [tops[k] for k in drawn], [shapes[k] for k in drawn])
        layers.append(replace(origin, message=changed))
        notes = [
            f'{origin.where}: layer "{message.name}": Caffe draws "{tops[k]}" anew each pass '
            f"({fillers[k].type}); it becomes an input"
            for k in drawn
        ]
    if kept:
        layers.append(replace(origin, message=_constant(message, kept, shapes, fillers)))
    return layers, notes


def _constant(
    message: pb.LayerParameter,
    positions: Sequence[int],
    shapes: Sequence[Sequence[int]],
    fillers: Sequence[pb.FillerParameter],
) -> pb.LayerParameter:
    tops = [message.top[k] for k in positions]
    changed = pb.LayerParameter(name=message.name, type="DummyData", top=tops)
    for k in positions:
        changed.dummy_data_param.shape.add().dim.extend(shapes[k])
        changed.dummy_data_param.data_filler.add().CopyFrom(fillers[k])
    return changed


def _shapes(origin: Origin) -> list[list[int]]:
    """As stated, for each top."""
    message = origin.message
    tops = tuple(Blob(top) for top in message.top)
    layer = Layer(0, message.name, message.type, (), tops, message, origin.where)
    return [list(shape) for shape in RULES["DummyData"].function(layer, []).tops]
