"""Shapes of what a net is fed, or holds."""

from __future__ import annotations

from prototxt.geometry import counted, fail
from prototxt.net import Layer
from prototxt.shape_rules.rule import LayerShapes, Shape, shape_rule, shown


@shape_rule("Input", bottoms=(0, 0), tops=(1, None))
def input_(layer: Layer, bottoms: list[Shape]) -> LayerShapes:
    """As declared, one shape for all tops or one each."""
    declared = [tuple(shape.dim) for shape in layer.message.input_param.shape]
    hint = "give one with " + " ".join(
        f"--input-shape {top.name}=1,3,227,227" for top in layer.tops
    )
    if len(declared) not in (1, len(layer.tops)):
        found = f"{counted(len(declared), 'shape')} for {counted(len(layer.tops), 'top')}"
        raise fail(
            layer,
            found if declared else "the input has no shape",
            "input_param { shape { dim: ... } }, once or once a top",
            hint,
        )
    for shape in declared:
        if min(shape, default=1) < 1:
            raise fail(layer, f"input shape {shown(shape)} cannot be used", "positive sizes", hint)
    return LayerShapes(tuple(declared if len(declared) > 1 else declared * len(layer.tops)))
