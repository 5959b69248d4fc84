"""Shape rules: one short function a layer type, the shapes of its bottoms in, those of its tops and
parameters out, or Caffe's refusal.

A family of layers a file; importing this registers them all.
"""

from prototxt.shape_rules import (  # each registers its layers  # noqa: F401
    blocks,
    detection,
    elementwise,
    flow,
    interpolation,
    linear,
    loss,
    movement,
    normalization,
    pooling,
    prior_box,
    rearrangement,
    recurrent,
    reduction,
    resizing,
    ristretto,
    roi,
    source,
    window,
)
from prototxt.shape_rules.rule import RULES, LayerShapes, ParamShape, Rule, Shape, shape_rule, shown

__all__ = ["RULES", "LayerShapes", "ParamShape", "Rule", "Shape", "shape_rule", "shown"]
