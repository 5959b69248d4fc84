"""What each primitive op means, in NumPy and float64, so that a graph can be run without a target.

Written from the docstrings of `ir.ops` alone.  It takes inputs of other sizes than the declared
ones where the graph allows them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import reduce
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt

from ir import Graph, Value
from ir import ops as o

Array = npt.NDArray[Any]
Sizes = tuple[int, ...]
FLT_MAX = float(np.finfo(np.float32).max)


def run(graph: Graph, inputs: Mapping[str, npt.ArrayLike]) -> dict[Value, Array]:
    """Every value of the graph, inputs and parameters included."""
    values: dict[Value, Array] = {p: p.data.astype(np.float64) for p in graph.parameters()}
    for value in graph.inputs:
        values[value] = np.asarray(inputs[value.name], np.float64)
    with np.errstate(all="ignore"):
        for node in graph.nodes:
            arrays = [values[value] for value in node.inputs]
            made = np.asarray(MEANINGS[type(node.op)](node.op, *arrays))
            exact = not isinstance(node.op, (o.Compress, o.MulticlassNms))
            own = not isinstance(node.op, o.Reshape)
            if exact and own:
                assert [made.shape] == node.op.infer([array.shape for array in arrays])
            if exact and all(values[v].shape == v.shape for v in node.inputs):
                assert made.shape == node.output.shape
            values[node.output] = made
    return values


def blobs(graph: Graph, inputs: Mapping[str, npt.ArrayLike]) -> dict[str, Array]:
    """The last version of every blob, by name, as a runner returns them."""
    values = run(graph, inputs)
    return {name: values[value] for name, value in graph.blobs.items()}


def _taps(x: Array, op: Any, kernel: Sizes, out: Sizes, fill: float) -> Iterator[tuple[Any, Array]]:
    """Yields a tap of the window, and what all windows see there: (N, C, *out)."""
    dilation = getattr(op, "dilation", (1,) * len(kernel))
    ends = [max(0, (n - 1) * s + d * (k - 1) + 1 - size - p) for n, s, d, k, size, p in
            zip(out, op.stride, dilation, kernel, x.shape[2:], op.pad, strict=True)]  # fmt: skip
    padded = np.pad(x, [(0, 0), (0, 0), *zip(op.pad, ends, strict=True)], constant_values=fill)
    for tap in product(*map(range, kernel)):
        yield tap, padded[(..., *_strided(tap, dilation, op.stride, out))]


def _strided(tap: Sizes, dilation: Sizes, stride: Sizes, counts: Iterable[int]) -> Sequence[slice]:
    """Where one tap of the windows lies."""
    starts = [t * d for t, d in zip(tap, dilation, strict=True)]
    spans = zip(starts, stride, counts, strict=True)
    return [slice(start, start + (n - 1) * s + 1, s) for start, s, n in spans]


def _biased(y: Array, bias: tuple[Array, ...]) -> Array:
    return np.asarray(y + bias[0].reshape(-1, *[1] * (y.ndim - 2))) if bias else y


def _conv(op: o.Conv, x: Array, weight: Array, *bias: Array) -> Array:
    ((n, outputs, *out),) = o.Conv.infer(op, [x.shape, weight.shape])
    x = x.reshape(n, op.group, -1, *x.shape[2:])
    weight = weight.reshape(op.group, -1, *weight.shape[1:])
    y = np.zeros((n, op.group, outputs // op.group, *out))
    for group in range(op.group):
        for tap, seen in _taps(x[:, group], op, weight.shape[3:], tuple(out), 0):
            y[:, group] += np.einsum("oc,nc...->no...", weight[group][(..., *tap)], seen)
    return _biased(y.reshape(n, outputs, *out), bias)


def _conv_transpose(op: o.ConvTranspose, x: Array, weight: Array, *bias: Array) -> Array:
    ((n, outputs, *out),) = o.ConvTranspose.infer(op, [x.shape, weight.shape])
    full = [size + 2 * p for size, p in zip(out, op.pad, strict=True)]
    y = np.zeros((n, op.group, outputs // op.group, *full))
    x = x.reshape(n, op.group, -1, *x.shape[2:])
    weight = weight.reshape(op.group, -1, *weight.shape[1:])
    for tap in product(*map(range, weight.shape[3:])):
        where = (..., *_strided(tap, op.dilation, op.stride, x.shape[3:]))
        y[where] += np.einsum("gco,ngc...->ngo...", weight[(..., *tap)], x)
    inside = tuple(slice(p, p + size) for p, size in zip(op.pad, out, strict=True))
    return _biased(y[(..., *inside)].reshape(n, outputs, *out), bias)


def _windows(op: o.Pool, x: Array, fill: float) -> Array:
    """(N, C, *out, taps)."""
    return np.stack([seen for _, seen in _taps(x, op, op.kernel, op.pooled(x.shape), fill)], -1)


def _max_pool(op: o.MaxPool, x: Array) -> Array:
    return np.asarray(np.maximum(_windows(op, x, -FLT_MAX).max(-1), -FLT_MAX))


def _max_pool_mask(op: o.MaxPoolMask, x: Array) -> Array:
    plane = np.broadcast_to(np.arange(x[0, 0].size).reshape(x.shape[2:]), x.shape)
    seen, places = _windows(op, x, -np.inf), _windows(op, plane, -1)
    best = np.where(places < 0, -np.inf, seen).argmax(-1)[..., None]
    return np.asarray(np.take_along_axis(places, best, -1)[..., 0], np.float64)


def _average_pool(op: o.AveragePool, x: Array) -> Array:
    inside = np.ones((1, 1, *(n + 2 * p for n, p in zip(x.shape[2:], op.pad, strict=True))))
    whole = o.AveragePool(op.kernel, op.stride, (0,) * len(op.kernel), op.ceil)
    out = op.pooled(x.shape)
    counts = sum(seen for _, seen in _taps(inside, whole, op.kernel, out, 0))
    return np.asarray(_windows(op, x, 0).sum(-1) / counts)


def _spatial(x: Array) -> tuple[int, ...]:
    return tuple(range(2, x.ndim))


def _reshape(op: o.Reshape, x: Array) -> Array:
    if op.pattern is None:
        return x.reshape(op.shape)
    return x.reshape([x.shape[i] if size == 0 else size for i, size in enumerate(op.pattern)])


def _prelu(op: o.PRelu, x: Array, slope: Array) -> Array:
    y: Array = np.maximum(x, 0) + slope.reshape(-1, *[1] * (x.ndim - 2)) * np.minimum(x, 0)
    return y


def _clamp(op: o.Clamp, x: Array) -> Array:
    x = x if op.high is None else np.minimum(x, op.high)
    return x if op.low is None else np.maximum(x, op.low)


def _batch_norm(op: o.BatchNorm, x: Array, mean: Array, variance: Array) -> Array:
    across = (-1, *[1] * (x.ndim - 2))
    return np.asarray((x - mean.reshape(across)) / np.sqrt(variance.reshape(across) + op.eps))


def _lrn(op: o.LocalResponseNorm, x: Array) -> Array:
    total = np.zeros_like(x)
    for channel in range(x.shape[1]):
        first = max(0, channel - (op.size - 1) // 2)
        window = x[:, first : channel + op.size // 2 + 1]
        total[:, channel] = (window * window).sum(1)
    return np.asarray(x / (op.k + op.alpha / op.size * total) ** op.beta)


def _softmax(op: o.Softmax, x: Array) -> Array:
    e = np.exp(x - x.max(op.axis, keepdims=True))
    return np.asarray(e / e.sum(op.axis, keepdims=True))


def _slice(op: o.Slice, x: Array) -> Array:
    return x[(slice(None),) * op.axis + (slice(op.start, op.stop),)]


def _crop_like(op: o.CropLike, x: Array, like: Array) -> Array:
    sizes = zip(op.offsets, like.shape[op.axis :], strict=True)
    return x[(slice(None),) * op.axis + tuple(slice(start, start + n) for start, n in sizes)]


def _top(op: Any, x: Array) -> Array:
    """Positions, greatest first; of equal values the later first."""
    order = np.flip(np.argsort(x, op.axis, kind="stable"), op.axis)
    return np.asarray(np.take(order, range(op.k), op.axis))


def _roi_max_pool(op: o.RoiMaxPool, x: Array, boxes: Array) -> Array:
    corners = boxes[:, 1:].astype(np.float32) * np.float32(op.scale)
    whole = np.trunc(corners)
    whole += np.sign(corners) * (np.abs(corners - whole) >= 0.5)
    sizes = (op.columns, x.shape[3]), (op.rows, x.shape[2])
    y = np.zeros((len(boxes), x.shape[1], op.rows, op.columns))
    for place in np.ndindex(len(boxes), op.rows, op.columns):
        box, *part = place
        window = []
        for (count, limit), first, last, p in zip(
            sizes, whole[box, :2], whole[box, 2:], part[::-1], strict=True
        ):
            step = np.maximum(last - first + 1, np.float32(1)) / np.float32(count)
            edges = np.floor(np.float32(p) * step), np.ceil(np.float32(p + 1) * step)
            window.append(slice(*(int(np.clip(first + edge, 0, limit)) for edge in edges)))
        seen = x[int(boxes[box, 0]), :, window[1], window[0]]
        if seen.size:
            y[box, :, part[0], part[1]] = seen.max((1, 2))
    return y


def _roi_mean_pool(op: o.RoiMeanPool, x: Array, boxes: Array) -> Array:
    single = np.float32
    corners = boxes[:, 1:].astype(single)
    whole = np.trunc(corners)
    whole += np.sign(corners) * (np.abs(corners - whole) >= 0.5)
    y = np.zeros((len(boxes), op.channels, op.parts, op.parts))
    for place in np.ndindex(*y.shape):
        box, channel, *part = place
        window = []
        for limit, axis, p in zip(x.shape[2:], (1, 0), part, strict=True):
            first = whole[box, axis] * single(op.scale)
            length = (whole[box, axis + 2] + single(1)) * single(op.scale) - first
            step = max(length, single(0.1)) / single(op.parts)
            edges = np.floor(single(p) * step + first), np.ceil(single(p + 1) * step + first)
            window.append(slice(*(int(np.clip(edge, 0, limit)) for edge in edges)))
        of = (channel * op.parts + part[0]) * op.parts + part[1]
        seen = x[int(boxes[box, 0]), of, window[0], window[1]]
        y[place] = seen.mean() if seen.size else 0
    return y


def _roi_sample(op: o.RoiSample, x: Array, boxes: Array) -> Array:
    single, half = np.float32, np.float32(0.5)
    edges = boxes[:, 1:].astype(single) * single(op.scale) - half
    y = np.zeros((len(boxes), x.shape[1], op.rows, op.columns))
    for box, i, j in np.ndindex(len(boxes), op.rows, op.columns):
        shares = []
        for limit, axis, p, count in (
            (x.shape[2], 1, i, op.rows), (x.shape[3], 0, j, op.columns),
        ):  # fmt: skip
            length = edges[box, axis + 2] - edges[box, axis]
            at = edges[box, axis] + single(p) * (length / single(count - 1))
            seen = length > 0 and -0.5 <= at <= limit - 0.5
            # The hat of each pixel, at the point brought onto the map.
            near = np.abs(np.arange(limit) - np.clip(float(at), 0, limit - 1))
            shares.append(np.clip(1 - near, 0, None) * seen)
        maps = x[int(boxes[box, 0])]
        y[box, :, i, j] = np.einsum("chw,h,w->c", maps, *shares)
    return y


def _pick(op: o.Pick, x: Array, indices: Array) -> Array:
    places = np.expand_dims(indices.astype(np.int64), op.axis)
    return np.asarray(np.take_along_axis(x, places, op.axis).squeeze(op.axis))


def _fixed_point(op: o.FixedPoint, x: Array) -> Array:
    scaled = x * 2.0**op.fraction
    return np.copysign(np.floor(np.abs(scaled) + 0.5), scaled) * 2.0**-op.fraction


def _shared(a: Array, b: Array) -> float:
    """Intersection over union of two boxes."""
    sizes = [np.clip(box[2:] - box[:2], 0, None).prod() for box in (a, b)]
    meet = np.clip(np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2]), 0, None).prod()
    return float(meet / (sum(sizes) - meet)) if meet else 0.0


def _multiclass_nms(op: o.MulticlassNms, boxes: Array, scores: Array) -> Array:
    if op.agnostic:
        return _agnostic_nms(op, boxes, scores)
    rows: list[list[float]] = []
    for image, classes in enumerate(np.moveaxis(scores, 2, 1)):
        found = []
        for label in op.labels(scores.shape):
            ranked = sorted(range(scores.shape[1]), key=lambda i: -classes[label][i])
            above = [i for i in ranked if classes[label][i] > np.float32(op.score_threshold)]
            left: list[Array] = []
            threshold = np.float32(op.iou_threshold)
            for i in above[: op.top_k] if op.top_k >= 0 else above:
                box = boxes[image, i, label if boxes.shape[2] > 1 else 0]
                if max((_shared(box, other) for other in left), default=0.0) <= threshold:
                    left.append(box)
                    found.append([image, label + op.first_label, classes[label][i], *box])
                    threshold *= np.float32(op.eta if threshold > 0.5 else 1)
        best = sorted(found, key=lambda row: -row[2])
        best = best if op.keep_top_k < 0 else best[: op.keep_top_k]
        rows += sorted(best, key=lambda row: (row[1], -row[2]))
    return _rows(op, rows, len(boxes))


def _prior_boxes(
    op: o.PriorBoxes, maps: Array, boxes: Array, variances: Array, *image: Array
) -> Array:
    sizes = np.array(image[0].shape[2:] if image else (op.image_h, op.image_w), float)
    steps = (op.step_h, op.step_w) if op.step_h else sizes / maps.shape[2:]
    made = []
    for row, column in product(*map(range, maps.shape[2:])):
        y, x = ((place + op.offset) * by for place, by in zip((row, column), steps, strict=True))
        made += [(box + (x, y, x, y)) / (*sizes[::-1], *sizes[::-1]) for box in boxes]
    corners = np.clip(made, 0, 1) if op.clip else np.array(made)
    return np.stack([corners.ravel(), np.tile(variances, len(corners))])[None]


def _rows(op: o.MulticlassNms, rows: list[list[float]], images: int) -> Array:
    images = images if op.blanks < 0 else op.blanks
    rows = rows or [[image, *[-1] * 6] for image in range(images)]
    return np.array(rows, np.float64)[None, None]


def _unpool(op: o.Unpool, x: Array, mask: Array) -> Array:
    ((n, channels, height, width),) = op.infer([x.shape, mask.shape])
    y = np.zeros((n, channels, height * width))
    for place in np.ndindex(*x.shape):
        y[(*place[:2], int(mask[place]))] = x[place]
    return y.reshape(n, channels, height, width)


def _correlation(op: o.Correlation, first: Array, second: Array) -> Array:
    (shape,) = o.Correlation.infer(op, [first.shape, second.shape])
    side = 2 * op.reach + 1
    a, b = (np.pad(x, [(0, 0), (0, 0), *[(op.pad, op.pad)] * 2]) for x in (first, second))
    made = np.zeros(shape)
    for i, j, y, x in product(range(side), range(side), *map(range, shape[2:])):
        top, left = y * op.stride + op.displacement, x * op.stride + op.displacement
        down, right = (i - op.reach) * op.step, (j - op.reach) * op.step
        window = a[:, :, top : top + op.kernel, left : left + op.kernel]
        other = b[:, :, top + down :, left + right :][:, :, : op.kernel, : op.kernel]
        alike = np.abs(window - other) if op.subtract else window * other
        made[:, i * side + j, y, x] = alike.mean((1, 2, 3))
    return made


def _warp(op: o.Warp, x: Array, flow: Array) -> Array:
    made = np.full(x.shape, np.nan if op.nan else 0.0)
    height, width = x.shape[2:]
    for n, y, left in product(range(len(x)), range(height), range(width)):
        row = np.float32(y) + np.float32(flow[n, 1, y, left])
        column = np.float32(left) + np.float32(flow[n, 0, y, left])
        if 0 <= row < height and 0 <= column < width:
            rows = int(row), min(int(row) + 1, height - 1)
            columns = int(column), min(int(column) + 1, width - 1)
            down, right = float(row) - rows[0], float(column) - columns[0]
            corners = x[n][:, rows][:, :, columns]
            made[n, :, y, left] = [1 - down, down] @ corners @ [1 - right, right]
    return made


def _agnostic_nms(op: o.MulticlassNms, boxes: Array, scores: Array) -> Array:
    """The classes in one, whose number is a fifth number of each box."""
    rows: list[list[float]] = []
    for image, by_box in enumerate(scores):
        pairs = [(i, label) for i in range(len(by_box)) for label in range(len(by_box[0]))]
        every = [boxes[image, i, label if boxes.shape[2] > 1 else 0] for i, label in pairs]
        one = replace(op, agnostic=False, blanks=0, first_label=0)
        given = np.array(every)[None, :, None], by_box.reshape(1, -1, 1)
        places = list(range(len(pairs)))
        for _, _, score, *corners in _multiclass_nms(one, *given)[0, 0].tolist():
            place = next(j for j in places
                         if by_box[pairs[j]] == score and (every[j] == corners).all())  # fmt: skip
            places.remove(place)
            rows.append([image, pairs[place][1] + op.first_label, score, *corners])
    return _rows(op, rows, len(boxes))


MEANINGS: dict[type[o.Op], Callable[..., Any]] = {
    o.Identity: lambda op, x: x,
    o.Dropout: lambda op, x: x,
    o.Relu: lambda op, x: np.maximum(x, 0) + op.slope * np.minimum(x, 0),
    o.PRelu: _prelu,
    o.Sigmoid: lambda op, x: 1 / (1 + np.exp(-x)),
    o.Tanh: lambda op, x: np.tanh(x),
    o.Abs: lambda op, x: np.abs(x),
    o.Log: lambda op, x: np.log(x),
    o.Exp: lambda op, x: np.exp(x),
    o.Elu: lambda op, x: np.where(x > 0, x, op.alpha * np.expm1(np.minimum(x, 0))),
    o.Softplus: lambda op, x: np.logaddexp(0, x),
    o.Affine: lambda op, x: op.scale * x + op.shift if op.scale else np.full_like(x, op.shift),
    o.Pow: lambda op, x: np.power(x, op.exponent),
    o.Clamp: _clamp,
    o.Round: lambda op, x: np.copysign(np.floor(np.abs(x) + 0.5), x),
    o.FixedPoint: _fixed_point,
    o.LeadingBit: lambda op, x: np.ldexp(1.0, np.frexp(np.abs(x))[1] - 1),
    o.Add: lambda op, *xs: reduce(np.add, xs),
    o.Mul: lambda op, *xs: reduce(np.multiply, xs),
    o.Maximum: lambda op, *xs: reduce(np.maximum, xs),
    o.Sub: lambda op, x, y: x - y,
    o.Div: lambda op, x, y: x / y,
    o.Equal: lambda op, x, y: (x == y).astype(float),
    o.GreaterEqual: lambda op, x, y: (x >= y).astype(float),
    o.Linear: lambda op, x, w, b=0.0: x @ (w if op.transposed else w.T) + b,
    o.BatchNorm: _batch_norm,
    o.LocalResponseNorm: _lrn,
    o.Softmax: _softmax,
    o.ReduceSum: lambda op, x: x.sum(op.axes, keepdims=op.keep),
    o.ReduceMean: lambda op, x: x.mean(op.axes, keepdims=op.keep),
    o.Conv: _conv,
    o.ConvTranspose: _conv_transpose,
    o.MaxPool: _max_pool,
    o.MaxPoolMask: _max_pool_mask,
    o.AveragePool: _average_pool,
    o.Unpool: _unpool,
    o.GlobalMaxPool: lambda op, x: x.max(_spatial(x), keepdims=True),
    o.GlobalAveragePool: lambda op, x: x.mean(_spatial(x), keepdims=True),
    o.Concat: lambda op, *xs: np.concatenate(xs, op.axis),
    o.Flatten: lambda op, x: x.reshape(o.Flatten.infer(op, [x.shape])[0]),
    o.Reshape: _reshape,
    o.Slice: _slice,
    o.CropLike: _crop_like,
    o.Correlation: _correlation,
    o.Warp: _warp,
    o.Tile: lambda op, x: np.concatenate([x] * op.count, op.axis),
    o.Pad: lambda op, x: np.pad(
        x, list(zip(op.before, op.after, strict=True)), constant_values=op.value
    ),
    o.Transpose: lambda op, x: x.transpose(op.order),
    o.Gather: lambda op, x, indices: np.take(x, indices.astype(np.int64), op.axis),
    o.MulticlassNms: _multiclass_nms,
    o.PriorBoxes: _prior_boxes,
    o.Compress: lambda op, x, selector: x[selector != 0],
    o.TopValues: lambda op, x: np.take_along_axis(x, _top(op, x), op.axis),
    o.TopIndices: lambda op, x: _top(op, x).astype(float),
    o.Pick: _pick,
    o.RoiMaxPool: _roi_max_pool,
    o.RoiMeanPool: _roi_mean_pool,
    o.RoiSample: _roi_sample,
}
