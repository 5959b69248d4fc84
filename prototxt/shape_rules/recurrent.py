"""Shapes of recurrent layers: time is the first axis."""

from __future__ import annotations

from math import prod

from prototxt.geometry import counted, fail
from prototxt.net import Layer
from prototxt.shape_rules.rule import LayerShapes, ParamShape, Shape, need_axes, shape_rule, shown


@shape_rule("RNN", bottoms=(2, 4), tops=(1, 2))
def rnn(layer: Layer, bottoms: list[Shape]) -> LayerShapes:
    """(T, N, D), and the last state (1, N, D) where exposed.

    Parameters: W_xh (D, I), b_h (D,), [W_xh_static (D, S)], W_hh (D, D), W_ho (D, D), b_o (D,).
    """
    found = _unrolled(layer, bottoms, ("W_xh", "b_h", "W_xh_static", "W_hh"), 1, 1)
    param = layer.message.recurrent_param
    outputs = param.num_output
    further = (
        ParamShape("W_ho", (outputs, outputs), param.weight_filler),
        ParamShape("b_o", (outputs,), param.bias_filler),
    )
    macs = prod(found.tops[0]) * outputs
    return LayerShapes(found.tops, found.params + further, found.macs + macs)


@shape_rule("LSTM", bottoms=(2, 5), tops=(1, 3))
def lstm(layer: Layer, bottoms: list[Shape]) -> LayerShapes:
    """(T, N, D), and the last hidden state and cell, each (1, N, D), where exposed.

    Parameters: W_xc (4 D, I), b_c (4 D,), [W_xc_static (4 D, S)], W_hc (4 D, D).
    """
    return _unrolled(layer, bottoms, ("W_xc", "b_c", "W_xc_static", "W_hc"), 2, 4)


def _unrolled(
    layer: Layer, bottoms: list[Shape], names: tuple[str, ...], states: int, gates: int
) -> LayerShapes:
    """The shapes of a net with so many states, and so many gates in a state."""
    param = layer.message.recurrent_param
    outputs = param.num_output
    x, static = _check_inputs(layer, bottoms, states)
    if not 0 < outputs * gates < 2**31:
        raise fail(layer, "num_output is missing or 0" if not outputs else f"num_output {outputs}",
                   "at least 1")  # fmt: skip
    steps, streams = x[:2]
    state = (1, streams, outputs)
    exposed = bottoms[-states:] if param.expose_hidden else []
    for shape in exposed:
        if shape != state:
            raise fail(layer, f"a state of shape {shown(shape)}", shown(state))
    weights = [(names[0], prod(x[2:]), steps), (names[3], outputs, steps)]
    if static:
        weights.insert(1, (names[2], prod(static[1:]), 1))
    params = [
        ParamShape(name, (gates * outputs, inputs), param.weight_filler)
        for name, inputs, _ in weights
    ]
    params.insert(1, ParamShape(names[1], (gates * outputs,), param.bias_filler))
    macs = sum(streams * gates * outputs * inputs * times for _, inputs, times in weights)
    return LayerShapes(((steps, streams, outputs), *(state for _ in exposed)), tuple(params), macs)


def _check_inputs(layer: Layer, bottoms: list[Shape], states: int) -> tuple[Shape, Shape | None]:
    """The shapes of x and, where there is one, of the static input."""
    exposed = states if layer.message.recurrent_param.expose_hidden else 0
    least, found = 2 + exposed, len(bottoms)
    if not least <= found <= least + 1 or len(layer.tops) != 1 + exposed:
        raise fail(
            layer,
            f"{counted(found, 'bottom')} and {counted(len(layer.tops), 'top')} "
            f"{'with' if exposed else 'without'} expose_hidden",
            f"{least} bottoms, {least + 1} with a static input; {counted(1 + exposed, 'top')}",
        )
    x, cont = bottoms[:2]
    if len(x) < 3:
        raise fail(layer, f"{layer.type} has an input of shape {shown(x)}",
                   "at least 3 axes: steps, streams, features")  # fmt: skip
    if cont != x[:2]:
        raise fail(layer, f"the second bottom has shape {shown(cont)}",
                   f"{shown(x[:2])}, one value a step and stream")  # fmt: skip
    if found == least:
        return x, None
    static = bottoms[2]
    if len(static) < 2 or static[0] != x[1]:
        raise fail(layer, f"a static input of shape {shown(static)}",
                   f"at least 2 axes, the first of size {x[1]}")  # fmt: skip
    return x, static


@shape_rule("Lstm", bottoms=(1, 2))
def lstm_of_streams(layer: Layer, bottoms: list[Shape]) -> LayerShapes:
    """(T N, D) of steps of `batch_size` streams (T N, ...) (junhyukoh/caffe-lstm); of a bottom
    (T, N, ...) without `batch_size`, (T, N, D) (CTPN).

    Parameters: W_i (4 D, I), W_h (4 D, D), b (4 D,).  The second bottom, of one axis, tells where
    sequences go on.
    """
    param, x = layer.message.lstm_param, bottoms[0]
    need_axes(layer, x, 1)
    outputs, streams = param.num_output, param.batch_size
    if not 0 < 4 * outputs < 2**31:
        raise fail(layer, "num_output is missing or 0" if not outputs else f"num_output {outputs}",
                   "at least 1")  # fmt: skip
    lead: Shape = x[:1]
    if len(x) > 2 and not param.HasField("batch_size"):
        lead, streams = x[:2], x[1]
    if streams < 1 or prod(lead) % streams:
        raise fail(layer, f"batch_size {streams} for a bottom of shape {shown(x)}",
                   f"a divisor of {x[0]}")  # fmt: skip
    steps, inputs = prod(lead) // streams, prod(x[len(lead) :])
    if len(bottoms) > 1:
        need_axes(layer, bottoms[1], 1)
        count = prod(bottoms[1])
        if bottoms[1][0] != count or count < steps + streams - 1:
            raise fail(layer, f"the second bottom has shape {shown(bottoms[1])}",
                       f"{shown((steps * streams,))}, one value a step and stream")  # fmt: skip
    params = (
        ParamShape("W_i", (4 * outputs, inputs), param.weight_filler),
        ParamShape("W_h", (4 * outputs, outputs), param.weight_filler),
        ParamShape("b", (4 * outputs,), param.bias_filler),
    )
    macs = steps * streams * 4 * outputs * (inputs + outputs)
    return LayerShapes(((*lead, outputs),), params, macs)


@shape_rule("LSTMUnit", bottoms=(3, 3), tops=(2, 2))
def lstm_unit(layer: Layer, bottoms: list[Shape]) -> LayerShapes:
    """The new cell and the hidden state, each (1, N, D): bottoms (1, N, D), (1, N, 4 D), (1, N)."""
    cell = bottoms[0]
    if len(cell) != 3 or cell[0] != 1:
        raise fail(layer, f"a cell of shape {shown(cell)}", "(1, N, D)")
    wanted = [(1, cell[1], 4 * cell[2]), (1, cell[1])]
    if bottoms[1:] != wanted:
        raise fail(layer, "bottoms of shapes " + ", ".join(map(shown, bottoms)),
                   f"{shown(wanted[0])} and {shown(wanted[1])} behind the cell")  # fmt: skip
    return LayerShapes((cell, cell))
