"""The lowerings of Caffe's layers, a family a file; importing this registers them."""

from converters.layers import (
    activation,
    combination,
    convolution,
    flow,
    loss,
    movement,
    normalization,
    pooling,
    rearrangement,
    recurrent,
    reduction,
    source,
    window,
)

__all__ = [
    "activation",
    "combination",
    "convolution",
    "flow",
    "loss",
    "movement",
    "normalization",
    "pooling",
    "rearrangement",
    "recurrent",
    "reduction",
    "source",
    "window",
]
