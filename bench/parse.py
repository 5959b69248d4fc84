"""From the text of a net of 671 layers to the graph, against protobuf's own reading of the text.

`text_format.Parse` reads the same text into the same schema: no upgrade, no positions, no rules, no
shapes, no graph.  Run as `python -m bench.parse RUNS`, a process of its own, it prints JSON.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import median

from bench.measure import in_turn, measured
from bench.resnet import LAYERS, PARAMETERS, definition
from bench.result import Figure

RUNS = 21
LIMIT = 5.0
"""Most that the way to the graph may take, in times of the peer."""


def measure(environment: Mapping[str, str], runs: int | None, folder: Path | None) -> list[Figure]:
    """One figure for the way from text to graph, and one for each part of it."""
    seconds = measured([sys.executable, "-m", "bench.parse", str(runs or RUNS)], environment)
    theirs = seconds.pop("protobuf")
    return [
        Figure(f"ResNet-152, {part}", median(found), "s", "text_format.Parse", median(theirs),
               LIMIT if part == "text to graph" else None, (min(found), min(theirs)))
        for part, found in seconds.items()
    ]  # fmt: skip


def main() -> None:
    """Measure and print."""
    import numpy as np
    from google.protobuf import text_format

    from converters.caffe import lower
    from prototxt import caffe_pb2
    from prototxt.load import parse_net
    from prototxt.parameters import Parameters
    from prototxt.shapes import infer_shapes

    text = definition()
    net = parse_net(text)
    shapes = infer_shapes(net)
    arrays = {
        layer: tuple(np.zeros(param.shape, np.float32) for param in params)
        for layer, params in shapes.params.items()
    }
    keys = [(layer, index) for layer, params in arrays.items() for index in range(len(params))]
    parameters = Parameters(arrays, {key: key for key in keys}, "zeros", drawn=True)
    assert len(net.layers) == LAYERS, len(net.layers)
    assert parameters.count == PARAMETERS, parameters.count

    def whole() -> None:
        found = parse_net(text)
        lower(found, infer_shapes(found), parameters)

    functions: dict[str, Callable[[], object]] = {
        "protobuf": lambda: text_format.Parse(text, caffe_pb2.NetParameter()),
        "text to graph": whole,
        "text to net": lambda: parse_net(text),
        "net to shapes": lambda: infer_shapes(net),
        "shapes to graph": lambda: lower(net, shapes, parameters),
    }
    print(json.dumps(in_turn(functions, int(sys.argv[1]))))


if __name__ == "__main__":
    main()
