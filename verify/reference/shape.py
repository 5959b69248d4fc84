"""Layers that move data and compute nothing."""

from __future__ import annotations

import numpy as np

from prototxt.errors import NetError
from prototxt.net import Layer
from verify.reference.registry import Array, caffe_layer, canonical_axis, integers


@caffe_layer("Concat")
def concat(layer: Layer, bottoms: list[Array], params: tuple[Array, ...]) -> list[Array]:
    """The bottoms one after the other along `axis` (or the legacy concat_dim)
    (concat_layer.cpp)."""
    param = layer.message.concat_param
    axis = param.concat_dim if param.HasField("concat_dim") else param.axis
    return [np.concatenate(bottoms, canonical_axis(axis, bottoms[0].ndim, layer))]


@caffe_layer("Slice")
def slice_(layer: Layer, bottoms: list[Array], params: tuple[Array, ...]) -> list[Array]:
    """The bottom cut along `axis` (or the legacy slice_dim) at the slice points, or in equal parts
    (slice_layer.cpp)."""
    (x,) = bottoms
    param = layer.message.slice_param
    axis = param.slice_dim if param.HasField("slice_dim") else param.axis
    cuts = list(param.slice_point) or len(layer.tops)
    return list(np.split(x, cuts, canonical_axis(axis, x.ndim, layer)))


@caffe_layer("Split")
def split(layer: Layer, bottoms: list[Array], params: tuple[Array, ...]) -> list[Array]:
    """Every top is the bottom (split_layer.cpp)."""
    return [bottoms[0]] * len(layer.tops)


@caffe_layer("Silence")
def silence(layer: Layer, bottoms: list[Array], params: tuple[Array, ...]) -> list[Array]:
    """Consumes and yields nothing (silence_layer.cpp)."""
    return []


@caffe_layer("HDF5Output")
def hdf5_output(layer: Layer, bottoms: list[Array], params: tuple[Array, ...]) -> list[Array]:
    """A sink: Caffe writes the bottoms to a file, the reference does not
    (hdf5_output_layer.cpp)."""
    return []


@caffe_layer("Flatten")
def flatten(layer: Layer, bottoms: list[Array], params: tuple[Array, ...]) -> list[Array]:
    """The axes from `axis` to `end_axis`, both included, become one (flatten_layer.cpp)."""
    (x,) = bottoms
    param = layer.message.flatten_param
    start = canonical_axis(param.axis, x.ndim, layer)
    end = canonical_axis(param.end_axis, x.ndim, layer)
    flat = int(np.prod(x.shape[start : end + 1]))
    return [x.reshape(*x.shape[:start], flat, *x.shape[end + 1 :])]


@caffe_layer("Reshape")
def reshape(layer: Layer, bottoms: list[Array], params: tuple[Array, ...]) -> list[Array]:
    """The axes in [axis, axis + num_axes) are replaced by `shape`, in which 0 copies the bottom's
    axis at that place and -1 is inferred; num_axes -1 reaches to the end, axis -1 is after the last
    (reshape_layer.cpp)."""
    (x,) = bottoms
    param = layer.message.reshape_param
    start = param.axis if param.axis >= 0 else x.ndim + param.axis + 1
    end = x.ndim if param.num_axes == -1 else start + param.num_axes
    dims = [x.shape[start + i] if dim == 0 else dim for i, dim in enumerate(param.shape.dim)]
    return [x.reshape((*x.shape[:start], *dims, *x.shape[end:]))]


@caffe_layer("Permute")
def permute(layer: Layer, bottoms: list[Array], params: tuple[Array, ...]) -> list[Array]:
    """Axis i of the top is axis order[i] of the bottom; axes that `order` leaves out follow in
    their own order (SSD, permute_layer.cpp)."""
    (x,) = bottoms
    order = list(layer.message.permute_param.order)
    rest = [axis for axis in range(x.ndim) if axis not in order]
    return [np.transpose(x, order + rest)]


@caffe_layer("Crop")
def crop(layer: Layer, bottoms: list[Array], params: tuple[Array, ...]) -> list[Array]:
    """The first bottom cut to the second's sizes from `axis` on; further axes of the second are not
    read (crop_layer.cpp)."""
    x, like = bottoms
    axis = canonical_axis(layer.message.crop_param.axis, x.ndim, layer)
    offsets = crop_offsets(layer, x.ndim)[axis:]
    place = [slice(None)] * axis
    for offset, size, full in zip(offsets, like.shape[axis : x.ndim], x.shape[axis:], strict=True):
        if offset + size > full:
            raise NetError(
                f"the crop {offset} + {size} reaches past {full}",
                where=layer.where,
                layer=layer.name,
            )
        place.append(slice(offset, offset + size))
    return [x[tuple(place)]]


def crop_offsets(layer: Layer, axes: int) -> list[int]:
    """Where a Crop begins on each axis: at 0 before `axis`, then at `offset` (none: 0; one: for all
    those axes; else one each)."""
    param = layer.message.crop_param
    axis = canonical_axis(param.axis, axes, layer)
    offsets = list(param.offset) or [0]
    return [0] * axis + (offsets * (axes - axis) if len(offsets) == 1 else offsets)


@caffe_layer("Tile")
def tile(layer: Layer, bottoms: list[Array], params: tuple[Array, ...]) -> list[Array]:
    """The bottom repeated `tiles` times along `axis` (tile_layer.cpp)."""
    (x,) = bottoms
    param = layer.message.tile_param
    return [np.concatenate([x] * param.tiles, canonical_axis(param.axis, x.ndim, layer))]


@caffe_layer("BatchReindex")
def batch_reindex(layer: Layer, bottoms: list[Array], params: tuple[Array, ...]) -> list[Array]:
    """The samples of the first bottom that the second names (batch_reindex_layer.cpp)."""
    x, index = bottoms
    return [x[integers(index, x.shape[0], layer, "sample")]]


@caffe_layer("Filter")
def filter_(layer: Layer, bottoms: list[Array], params: tuple[Array, ...]) -> list[Array]:
    """Of every bottom but the last, the samples where the last is not 0; possibly none
    (filter_layer.cpp)."""
    *blobs, selector = bottoms
    chosen = selector.reshape(-1) != 0
    return [x[chosen] for x in blobs]
