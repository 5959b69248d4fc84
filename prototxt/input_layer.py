"""Input layers that are made, or made to declare other shapes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from prototxt import caffe_pb2 as pb
from prototxt.errors import UsageError, Where

__all__ = ["declaring", "input_layer"]


def input_layer(
    message: pb.LayerParameter, tops: Sequence[str], shapes: Sequence[Sequence[int]]
) -> pb.LayerParameter:
    """An Input layer in the place of another, for some of its tops; without shapes, they are not
    known."""
    changed = pb.LayerParameter(name=message.name, type="Input", top=tops)
    changed.input_param.SetInParent()
    for shape in shapes:
        changed.input_param.shape.add().dim.extend(shape)
    return changed


def declaring(
    message: pb.LayerParameter, where: Where, shapes: Mapping[str, Sequence[int]]
) -> pb.LayerParameter:
    """An Input layer that declares these shapes, and otherwise what it declares now.

    Raises:
        UsageError: it declares no shapes, and not all are given.
    """
    if not any(top in shapes for top in message.top):
        return message
    declared = list(message.input_param.shape)
    lacking = [top for top in message.top if top not in shapes]
    if lacking and not declared:
        raise UsageError(
            f"no shape is given for {', '.join(lacking)}",
            where=str(where),
            layer=message.name,
            expected="shapes for all tops of an input that declares none",
            hint=" ".join(f"--input-shape {top}=..." for top in message.top),
        )
    changed = pb.LayerParameter()
    changed.CopyFrom(message)
    del changed.input_param.shape[:]
    for index, top in enumerate(message.top):
        old = declared[index if len(declared) > 1 else 0].dim if declared else ()
        changed.input_param.shape.add().dim.extend(shapes.get(top, old))
    return changed
