"""Lowerings of recurrent layers, unrolled over time, which is the first axis.

Caffe keeps the states from one forward pass for the next unless they are exposed; a graph keeps
nothing, so its states begin at 0, as Caffe's do in the first pass.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np

from converters.lowering import Lowering, lowers
from ir import Op, Value
from ir.ops import Add, Concat, Flatten, Gather, Linear, Mul, Sigmoid, Slice, Tanh


@lowers("LSTM")
def lstm(step: Lowering) -> Sequence[Value]:
    """Caffe: gates = W_hc (cont * h') + W_xc x + b_c (+ W_xc_static x_static), then a step of
    LSTMUnit; the tops are all h, and the last h and c where exposed."""
    drive, cont, (hidden, cell) = _inputs(step, 2)
    outputs = []
    for t in range(drive.shape[0]):
        go_on = _at(step, cont, t)
        gates = _driven(step, _at(step, drive, t), hidden, go_on, step.params[-1])
        cell, hidden = _unit(step, gates, cell, go_on)
        outputs.append(hidden)
    return [_joined(step, outputs), hidden, cell][: len(step.tops)]


@lowers("RNN")
def rnn(step: Lowering) -> Sequence[Value]:
    """Caffe: h = tanh(W_hh (cont * h') + W_xh x + b_h (+ W_xh_static x_static)), and the top
    tanh(W_ho h + b_o); the last h where exposed."""
    drive, cont, (hidden,) = _inputs(step, 1)
    outputs = []
    for t in range(drive.shape[0]):
        driven = _driven(step, _at(step, drive, t), hidden, _at(step, cont, t), step.params[-3])
        hidden = step.add(Tanh(), driven)
        outputs.append(hidden)
    # What follows from the states is computed for all steps at once.
    top = _product(step, _joined(step, outputs), *step.params[-2:])
    return [step.add(Tanh(), top), hidden][: len(step.tops)]


@lowers("Lstm")
def lstm_of_streams(step: Lowering) -> Sequence[Value]:
    """junhyukoh/caffe-lstm: gates = W_i x + b + W_h (cont * h'), then a step of LSTMUnit; cont is
    what the second bottom, if there is one, holds at place t + n, else 0 in the first step."""
    x, (*lead, outputs) = step.inputs[0], step.tops[0]
    streams = lead[1] if len(lead) > 1 else step.layer.message.lstm_param.batch_size
    rows = step.reshape(x, (prod(lead), prod(x.shape[len(lead) :])))
    drive = step.add(Linear(), rows, step.params[0], step.params[2])
    drive = step.reshape(drive, (prod(lead) // streams, streams, 4 * outputs))
    cont = _clips(step, drive.shape[0], streams) if len(step.inputs) > 1 else None
    zero: Value = step.constant("state", np.zeros((1, 1, outputs)))
    hidden, cell = (zero, zero) if cont is not None else (None, None)
    made = []
    for t in range(drive.shape[0]):
        goes_on = None if cont is None else _at(step, cont, t)
        gates = _at(step, drive, t)
        if hidden is not None:
            gates = _driven(step, gates, hidden, goes_on, step.params[1])
        cell, hidden = _unit(step, gates, cell, goes_on)
        made.append(hidden)
    return [step.reshape(_joined(step, made), step.tops[0])]


def _clips(step: Lowering, steps: int, streams: int) -> Value:
    """(T, N, 1): the second bottom at place t + n."""
    flat = step.reshape(step.inputs[1], (prod(step.inputs[1].shape),))
    places = np.arange(steps)[:, None] + np.arange(streams)
    if not places.size == flat.shape[0] == steps:
        flat = step.add(Gather(0), flat, step.constant("places", places))
    return step.reshape(flat, (steps, streams, 1))


@lowers("LSTMUnit")
def lstm_unit(step: Lowering) -> Sequence[Value]:
    """Caffe: c = cont * sigmoid(f) * c' + sigmoid(i) * tanh(g);  h = sigmoid(o) * tanh(c)."""
    cell, gates, cont = step.inputs
    return _unit(step, gates, cell, step.reshape(cont, (*cont.shape, 1)))


def _inputs(step: Lowering, count: int) -> tuple[Value, Value, list[Value]]:
    """What drives all steps, (T, N, gates); cont, (T, N, 1); and the first states, each (1, N, D),
    or (1, 1, D) zeros for any N."""
    param = step.layer.message.recurrent_param
    exposed = count if param.expose_hidden else 0
    x, cont = step.inputs[:2]
    drive = _product(step, x, *step.params[:2])
    if len(step.inputs) > 2 + exposed:
        static = step.inputs[2]
        matrix = static if len(static.shape) == 2 else step.add(Flatten(1), static)
        drive = step.add(Add(), drive, step.add(Linear(), matrix, step.params[2]))
    zero: Value = step.constant("state", np.zeros((1, 1, param.num_output)))
    states = step.inputs[-exposed:] if exposed else [zero] * count
    return drive, step.reshape(cont, (*cont.shape, 1)), states


def _product(step: Lowering, x: Value, *params: Value) -> Value:
    """W x + b for x (T, N, ...): (T, N, outputs)."""
    y = step.add(Linear(), step.add(Flatten(2), x), *params)
    return step.reshape(y, (*x.shape[:2], y.shape[1]))


def _at(step: Lowering, x: Value, t: int) -> Value:
    """One time step, (1, N, ...)."""
    return x if x.shape[0] == 1 else step.add(Slice(0, t, t + 1), x)


def _joined(step: Lowering, steps: list[Value]) -> Value:
    """All time steps, (T, N, ...)."""
    return steps[0] if len(steps) == 1 else step.add(Concat(0), *steps)


def _driven(
    step: Lowering, drive: Value, hidden: Value, cont: Value | None, weight: Value
) -> Value:
    """W (cont * h') + drive, (1, N, gates); without cont it is 1."""
    kept = step.add(Flatten(2), hidden if cont is None else step.add(Mul(), hidden, cont))
    return step.add(Add(), step.add(Linear(), kept, weight), drive)


def _unit(
    step: Lowering, gates: Value, cell: Value | None, cont: Value | None
) -> tuple[Value, Value]:
    """The next cell and hidden state, (1, N, D); gates (1, N, 4 D) are input, forget, output and
    candidate.  Without a cell it is 0, without cont that is 1.

    Caffe takes cont * f for 0 where cont is 0, which is what the product gives.
    """
    size = gates.shape[2] // 4

    def gate(index: int, op: Op) -> Value:
        return step.add(op, step.add(Slice(2, index * size, (index + 1) * size), gates))

    kept = None
    if cell is not None:
        factors = [gate(1, Sigmoid()), cell]
        kept = step.add(Mul(), *(factors if cont is None else [cont, *factors]))
    new = step.add(Mul(), gate(0, Sigmoid()), gate(3, Tanh()))
    new = new if kept is None else step.add(Add(), kept, new)
    return new, step.add(Mul(), gate(2, Sigmoid()), step.add(Tanh(), new))
