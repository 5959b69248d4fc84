"""Nets with drawn weights, the statistics of their normalisations too."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from prototxt import Net, parse_net
from prototxt.parameters import Parameters, bind_parameters
from prototxt.shapes import NetShapes, infer_shapes

__all__ = ["drawn"]


def drawn(text: str, seed: int = 0) -> tuple[Net, NetShapes, Parameters]:
    """A net from its text; what has no filler of use is drawn here.

    Mean and variance are sums, to be divided by a factor that is no power of 2.
    """
    net = parse_net(text, path="net.prototxt")
    shapes = infer_shapes(net)
    parameters = bind_parameters(net, shapes, None, seed)
    rng = np.random.default_rng(seed)
    arrays = dict(parameters.arrays)
    for layer in net:
        held = arrays.get(layer.index, ())
        if layer.type == "BatchNorm":
            mean, variance = rng.normal(0, 0.3, held[0].shape), rng.uniform(0.5, 2, held[1].shape)
            arrays[layer.index] = (np.float32(mean * 3), np.float32(variance * 3), np.float32([3]))
        elif layer.type == "Scale" and held:
            values = (rng.uniform(0.5, 1, held[0].shape), rng.normal(0, 0.1, held[0].shape))
            arrays[layer.index] = tuple(np.float32(value) for value in values)[: len(held)]
    # What layers share is what its owner has.
    for index, held in arrays.items():
        owners = [parameters.owners[index, i] for i in range(len(held))]
        arrays[index] = tuple(
            arrays[layer][blob].reshape(own.shape)
            for own, (layer, blob) in zip(held, owners, strict=True)
        )
    return net, shapes, replace(parameters, arrays=arrays)
