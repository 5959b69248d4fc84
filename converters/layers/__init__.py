"""The lowerings of Caffe's layers, a family a file; importing this registers them."""

from converters.layers import (
    activation,
    combination,
    convolution,
    detection,
    loss,
    movement,
    normalization,
    pooling,
    prior_box,
    proposal,
    rearrangement,
    recurrent,
    reduction,
    roi,
    source,
    window,
)

__all__ = [
    "activation",
    "combination",
    "convolution",
    "detection",
    "loss",
    "movement",
    "normalization",
    "pooling",
    "prior_box",
    "proposal",
    "rearrangement",
    "recurrent",
    "reduction",
    "roi",
    "source",
    "window",
]
