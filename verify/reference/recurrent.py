"""LSTM, LSTMUnit, RNN: time is the first axis, (T, N, ...); `cont` (T, N) is 0 where a sequence
begins."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from prototxt.net import Layer
from verify.reference.activation import logistic
from verify.reference.registry import Array, caffe_layer


def lstm_step(cell: Array, gates: Array, cont: Array) -> tuple[Array, Array]:
    """One step on (..., N, D): gates (..., N, 4 D) in the order input, forget, output, candidate;
    cont (..., N).

    c = cont * f * c' + i * g;  h = o * tanh(c)  (lstm_unit_layer.cpp)
    """
    i, f, o, g = np.split(gates, 4, axis=-1)
    keep = np.where(cont[..., None] == 0, 0, cont[..., None] * logistic(f))
    new = keep * cell + logistic(i) * np.tanh(g)
    return new, logistic(o) * np.tanh(new)


@caffe_layer("LSTMUnit")
def lstm_unit(layer: Layer, bottoms: list[Array], params: tuple[Array, ...]) -> list[Array]:
    """(1, N, D) cell, (1, N, 4 D) gates, (1, N) cont -> the new cell and the hidden state."""
    return list(lstm_step(bottoms[0], bottoms[1], bottoms[2]))


def unrolled(
    layer: Layer,
    bottoms: list[Array],
    params: tuple[Array, ...],
    states: int,
    step: Callable[[list[Array], Array, Array], tuple[list[Array], Array]],
) -> list[Array]:
    """Run `step` over time: (states, drive of this step, cont of this step) -> (states, output).

    The drive is W_x x + b (+ W_static x_static).  The states begin at 0, or are the last bottoms
    and further tops where expose_hidden; x_static is the third bottom where there is one
    (recurrent_layer.cpp).
    """
    param = layer.message.recurrent_param
    x, cont = bottoms[:2]
    steps, streams = x.shape[:2]
    exposed = states if param.expose_hidden else 0
    drive = x.reshape(steps, streams, -1) @ params[0].T + params[1]
    if len(bottoms) > 2 + exposed:
        drive = drive + bottoms[2].reshape(streams, -1) @ params[2].T
    state = [np.zeros((streams, param.num_output), x.dtype) for _ in range(states)]
    if exposed:
        state = [blob[0] for blob in bottoms[-states:]]
    outputs = []
    for t in range(steps):
        state, output = step(state, drive[t], cont[t])
        outputs.append(output)
    return [np.stack(outputs), *(final[None] for final in state[:exposed])]


@caffe_layer("LSTM")
def lstm(layer: Layer, bottoms: list[Array], params: tuple[Array, ...]) -> list[Array]:
    """gates = W_xc x + b_c (+ W_xc_static x_static) + W_hc (cont * h'), then `lstm_step`
    (lstm_layer.cpp).

    Parameters: W_xc (4 D, I), b_c (4 D), [W_xc_static (4 D, S)], W_hc (4 D, D).  Tops: h, [h_T,
    c_T].
    """

    def step(state: list[Array], drive: Array, cont: Array) -> tuple[list[Array], Array]:
        hidden, cell = state
        gates = drive + (cont[:, None] * hidden) @ params[-1].T
        cell, hidden = lstm_step(cell, gates, cont)
        return [hidden, cell], hidden

    return unrolled(layer, bottoms, params, 2, step)


@caffe_layer("Lstm")
def lstm_of_streams(layer: Layer, bottoms: list[Array], params: tuple[Array, ...]) -> list[Array]:
    """gates = W_i x + b + W_h (cont * h'), then `lstm_step` (junhyukoh/caffe-lstm, lstm_layer.cu;
    CTPN's, where time and streams are two axes of the bottom).

    cont is 0 in the first step, or what the second bottom holds at place t + n for step t and
    stream n, whatever the number of streams.  (On the CPU both forks add to each stream what the
    first one's state gives: a variable is forgotten there.)

    Parameters: W_i (4 D, I), W_h (4 D, D), b (4 D).
    """
    param, x = layer.message.lstm_param, bottoms[0]
    two_axes = x.ndim > 2 and not param.HasField("batch_size")
    lead = x.shape[:2] if two_axes else x.shape[:1]
    streams = x.shape[1] if two_axes else param.batch_size
    drive = x.reshape(int(np.prod(lead)), -1) @ params[0].T + params[2]
    drive = drive.reshape(-1, streams, 4 * param.num_output)
    steps = drive.shape[0]
    cont = np.ones((steps, streams))
    cont[0] = 0
    if len(bottoms) > 1:
        places = np.arange(steps)[:, None] + np.arange(streams)
        cont = bottoms[1].reshape(-1)[places]
    cell = hidden = np.zeros((streams, param.num_output), x.dtype)
    outputs = []
    for t in range(steps):
        gates = drive[t] + (cont[t][:, None] * hidden) @ params[1].T
        cell, hidden = lstm_step(cell, gates, cont[t])
        outputs.append(hidden)
    return [np.stack(outputs).reshape(*lead, param.num_output)]


@caffe_layer("RNN")
def rnn(layer: Layer, bottoms: list[Array], params: tuple[Array, ...]) -> list[Array]:
    """h = tanh(W_hh (cont * h') + W_xh x + b_h (+ W_xh_static x_static)), o = tanh(W_ho h + b_o)
    (rnn_layer.cpp).

    Parameters: W_xh (D, I), b_h (D), [W_xh_static (D, S)], W_hh (D, D), W_ho (D, D), b_o (D).
    """

    def step(state: list[Array], drive: Array, cont: Array) -> tuple[list[Array], Array]:
        hidden = np.tanh(drive + (cont[:, None] * state[0]) @ params[-3].T)
        return [hidden], np.tanh(hidden @ params[-2].T + params[-1])

    return unrolled(layer, bottoms, params, 1, step)
