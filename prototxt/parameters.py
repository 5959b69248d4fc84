"""The parameters of a net: weights put to the layers that own them, or drawn from the net's
fillers."""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from dataclasses import dataclass, field
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prototxt import caffe_pb2 as pb
from prototxt.errors import NetError, WeightsError
from prototxt.fields import nearest
from prototxt.fillers import draw
from prototxt.geometry import counted
from prototxt.net import Layer, Net
from prototxt.shapes import NetShapes, ParamShape
from prototxt.weights import LayerWeights, Weights
from prototxt.written_blobs import written_blobs

__all__ = ["Parameters", "bind_parameters"]

Array = NDArray[np.float32]
Blobs = tuple[NDArray[Any], ...]
Key = tuple[int, int]
"""Layer index and blob index."""

_LISTED = 20


@dataclass(frozen=True)
class Parameters:
    """The parameter arrays of a net.

    `parameters[layer.index]` is the tuple of a layer's arrays, float32, in Caffe's order and
    shapes.  A shared parameter is one array: `owners` names, for each parameter, the layer and blob
    index that own it.
    """

    arrays: dict[int, tuple[Array, ...]]
    owners: dict[Key, Key]
    source: str
    """Where the values come from, for every report: the weights file, or the fillers and their
    seed."""
    drawn: bool
    notes: tuple[str, ...] = ()
    content: mmap.mmap | bytes | None = None
    """The whole weights file, where it was mapped; most arrays are views of it."""
    left_out: tuple[str, ...] = ()
    """Names of layers of the weights that the net has not."""

    def __getitem__(self, index: int) -> tuple[Array, ...]:
        return self.arrays.get(index, ())

    def owned(self) -> Iterator[tuple[Key, Array]]:
        """Each distinct parameter once, by its owner, in net order."""
        for key, owner in self.owners.items():
            if key == owner:
                yield key, self.arrays[key[0]][key[1]]

    @property
    def count(self) -> int:
        """The number of distinct parameter values; shared ones count once."""
        return sum(array.size for _, array in self.owned())


def bind_parameters(
    net: Net, shapes: NetShapes, weights: Weights | None = None, seed: int = 0
) -> Parameters:
    """Give every layer its parameters.

    Args:
        net: the net.
        shapes: its shapes, from `infer_shapes`.
        weights: weights as read from a file; None draws from the fillers that the net states.
            Layers whose definition holds blobs take these, unless the file has the layer.
        seed: seed of the drawn values; each parameter's draw depends on seed, layer name and blob
            index only.

    Raises:
        WeightsError: the weights do not fit the net; every misfit of name, count and shape in one
            error.
        NetError: layers share a parameter that cannot be shared, or a definition holds blobs that
            do not fit its layer.
    """
    owners = _owners(net, shapes)
    left_out: list[str] = []
    if weights is None:
        values = _drawn(net, shapes, owners, seed)
        source = f"drawn from the net's fillers (seed {seed}), not trained"
        notes = [*_written_note(net, shapes), *_all_zero_note(shapes, values)]
    else:
        match = _matched(net, shapes, owners, weights)
        values, left_out = match.values, match.spare
        notes = [*weights.notes, *match.notes]
        source = weights.path
    arrays = {
        index: tuple(
            values[owners[index, i]].reshape(param.shape) for i, param in enumerate(params)
        )
        for index, params in shapes.params.items()
    }
    content = weights.content if weights is not None else None
    return Parameters(
        arrays, owners, source, weights is None, tuple(notes), content, tuple(left_out)
    )


def _owners(net: Net, shapes: NetShapes) -> dict[Key, Key]:
    """Who owns each parameter: the first layer that gives its name, else the layer itself."""
    owners: dict[Key, Key] = {}
    named: dict[str, Key] = {}
    for layer in net:
        for index, param in enumerate(shapes.params.get(layer.index, ())):
            spec = (
                layer.message.param[index] if index < len(layer.message.param) else pb.ParamSpec()
            )
            key = (layer.index, index)
            owner = named.setdefault(spec.name, key) if spec.name else key
            if owner != key:
                _check_share(net, layer, param, spec, owner, shapes)
            owners[key] = owner
    return owners


def _check_share(
    net: Net, layer: Layer, param: ParamShape, spec: pb.ParamSpec, owner: Key, shapes: NetShapes
) -> None:
    theirs = shapes.params[owner[0]][owner[1]].shape
    permissive = spec.share_mode == pb.ParamSpec.PERMISSIVE
    fits = prod(theirs) == prod(param.shape) if permissive else theirs == param.shape
    if not fits:
        raise NetError(
            f'shared parameter "{spec.name}" has shape {param.shape} here and {theirs} in layer '
            f'"{net.layers[owner[0]].name}", which owns it',
            where=layer.where,
            layer=layer.name,
            expected="the same number of values" if permissive else "the same shape",
            hint="share_mode: PERMISSIVE allows another shape of the same size"
            if not permissive
            else None,
        )


def _drawn(net: Net, shapes: NetShapes, owners: dict[Key, Key], seed: int) -> dict[Key, Array]:
    values = {}
    for layer in net:
        params = shapes.params.get(layer.index, ())
        written = written_blobs(layer, params)
        for index, param in enumerate(params):
            key = (layer.index, index)
            if owners[key] == key:
                values[key] = written[index] if written else _draw(layer, index, param, seed)
    return values


def _written_note(net: Net, shapes: NetShapes) -> list[str]:
    """A note where parameters are not drawn, because the prototxt holds them."""
    own = [one.name for one in net if written_blobs(one, shapes.params.get(one.index, ()))]
    if not own:
        return []
    return [f"not drawn, but taken from blobs in the prototxt: {_some(own)}"]


def _some(names: list[str], most: int = 5) -> str:
    """The first few of a list of names."""
    return ", ".join(names[:most]) + (", ..." if len(names) > most else "")


def _draw(layer: Layer, index: int, param: ParamShape, seed: int) -> Array:
    key = f"{layer.name}/{index}"
    try:
        return draw(param.filler, param.shape, seed, key)
    except NetError as error:
        error.where, error.layer = layer.where, layer.name
        error.what = error.what.replace(f'"{key}"', param.name, 1)
        raise
    except MemoryError:
        raise NetError(
            f"{param.name} has {prod(param.shape):,} values, more than memory holds",
            where=layer.where,
            layer=layer.name,
            expected="parameters of a size that fits",
        ) from None


def _all_zero_note(shapes: NetShapes, values: dict[Key, Array]) -> list[str]:
    """A note where drawn weights are all zero, as they are for want of a filler."""
    drawn = [key for key in values if shapes.params[key[0]][key[1]].name == "weight"]
    zero = [key for key in drawn if not values[key].any()]
    if not zero:
        return []
    note = (
        f"the drawn weights of {len(zero)} of {len(drawn)} layers are all zero, since the net "
        "states no weight_filler for them and Caffe's default is 0: comparing zeros proves little; "
        'give the weights file, or add fillers such as weight_filler { type: "xavier" }'
    )
    return [note]


def _matched(net: Net, shapes: NetShapes, owners: dict[Key, Key], weights: Weights) -> _Match:
    match = _Match(net, shapes, owners, {one.name: one for one in weights.layers if one.blobs})
    for layer in net:
        match.fill(layer)
    match.check_lacking()
    if match.problems:
        raise _do_not_fit(net, weights, match.stored, match.problems)
    if match.rounded:
        match.notes.append(
            "float64 weights are rounded to float32, as by a Caffe built for it: "
            + _some(list(match.rounded))
        )
    spare = match.spare
    if spare:
        match.notes.append(
            f"{counted(len(spare), 'layer')} of the weights not in the net, left out: "
            + _some(spare, _LISTED)
        )
    return match


@dataclass
class _Match:
    """Stored blobs put to the parameters that they are for; misfits are collected, not raised."""

    net: Net
    shapes: NetShapes
    owners: dict[Key, Key]
    stored: dict[str, LayerWeights]
    values: dict[Key, Array] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    lacking: list[Layer] = field(default_factory=list)
    first_of: dict[str, Layer] = field(default_factory=dict)
    rounded: dict[str, None] = field(default_factory=dict)
    """Names of layers whose values float32 does not hold exactly."""

    @property
    def spare(self) -> list[str]:
        """Names of stored layers that the net has not."""
        names = {layer.name for layer in self.net}
        return [name for name in self.stored if name not in names]

    def fill(self, layer: Layer) -> None:
        params = self.shapes.params.get(layer.index, ())
        found = self.stored.get(layer.name)
        if not params:
            if found is not None and not self._others_of_this_name(layer):
                self.problems.append(_wrong_count(layer, params, found.blobs))
        elif self.first_of.setdefault(layer.name, layer) is not layer:
            self.problems.append(
                f'layer "{layer.name}" ({layer.where}): the net has two layers of this name with '
                "parameters, and Caffe would fill only the first"
            )
        elif found is None:
            self.lacking.append(layer)
        else:
            blobs = self._with_holes(layer, len(params), found.blobs)
            misfit = _misfit(layer, params, blobs)
            if misfit:
                self.problems.append(misfit)
            else:
                self._take(layer, params, blobs)

    def _others_of_this_name(self, layer: Layer) -> bool:
        return any(o.name == layer.name and self.shapes.params.get(o.index) for o in self.net)

    def _with_holes(self, layer: Layer, count: int, blobs: Blobs) -> Blobs:
        # HDF5 weights end before blobs that earlier layers own.
        rest = [(layer.index, i) for i in range(len(blobs), count)]
        if any(self.owners[key] == key for key in rest):
            return blobs
        return (*blobs, *(np.zeros(0, np.float32) for _ in rest))

    def _take(self, layer: Layer, params: tuple[ParamShape, ...], blobs: Blobs) -> None:
        for index, blob in enumerate(blobs):
            owner = self.owners[layer.index, index]
            if _is_hole(blob):
                if owner == (layer.index, index):
                    name = params[index].name
                    self.problems.append(f'layer "{layer.name}": {name} is not in the weights')
                continue
            value = _float32(blob)
            narrower = value.dtype.itemsize < blob.dtype.itemsize
            if narrower and not np.array_equal(value, blob, equal_nan=True):
                self.rounded[layer.name] = None
            known = self.values.get(owner)
            if known is not None and not np.array_equal(known.ravel(), value.ravel()):
                self.notes.append(
                    f'layer "{layer.name}" stores other values for a parameter that it shares with '
                    f'"{self.net.layers[owner[0]].name}"; as in Caffe, the last ones count'
                )
            self.values[owner] = value

    def check_lacking(self) -> None:
        """A layer may be absent from the file when all its parameters are another's, or are in the
        prototxt."""
        for layer in self.lacking:
            self._take_written(layer)
            keys = [(layer.index, i) for i in range(len(self.shapes.params[layer.index]))]
            if any(self.owners[key] not in self.values for key in keys):
                meant = nearest(layer.name, self.spare)
                near = f'; the nearest there is "{meant}"' if meant else ""
                self.problems.append(f'layer "{layer.name}": not in the weights{near}')

    def _take_written(self, layer: Layer) -> None:
        written = written_blobs(layer, self.shapes.params[layer.index])
        for index, value in enumerate(written):
            key = (layer.index, index)
            if self.owners[key] == key:
                self.values.setdefault(key, value)
        if written:
            self.notes.append(
                f'layer "{layer.name}": not in the weights; taken from blobs in the prototxt'
            )


def _misfit(layer: Layer, params: tuple[ParamShape, ...], blobs: Blobs) -> str | None:
    if len(params) != len(blobs):
        return _wrong_count(layer, params, blobs)
    wrong = [
        f"{param.name} is {blob.shape} in the weights, {param.shape} in the net"
        for param, blob in zip(params, blobs, strict=True)
        if not _is_hole(blob) and not _fits(blob, param)
    ]
    return f'layer "{layer.name}": ' + "; ".join(wrong) if wrong else None


def _fits(blob: NDArray[Any], param: ParamShape) -> bool:
    """Whether Caffe takes a blob (Blob::ShapeEquals): its shape is the parameter's, or the four
    sizes of old files are, with ones before it: (1, 1, N, K) for a matrix.  C3D's have five."""
    shapes = (param.shape,) if param.also is None else (param.shape, param.also)
    legacy = ((1,) * (rank - len(shape)) + shape for shape in shapes for rank in (4, 5))
    return blob.shape in (*shapes, *legacy)


def _wrong_count(layer: Layer, params: tuple[ParamShape, ...], blobs: Blobs) -> str:
    names = ", ".join(param.name for param in params)
    wanted = f"{len(params)} in the net ({names})" if params else "none in the net"
    found = counted(len(blobs), "parameter")
    return f'layer "{layer.name}": {found} in the weights, {wanted}'


def _is_hole(blob: NDArray[Any]) -> bool:
    """Whether the file leaves a blob out, as HDF5 weights do with those that an earlier layer
    owns."""
    return blob.shape == (0,)


def _float32(blob: NDArray[Any]) -> Array:
    with np.errstate(over="ignore"):  # to infinity, as a cast in C does; the note tells of it
        return blob if blob.dtype == np.float32 else blob.astype(np.float32)


def _do_not_fit(
    net: Net, weights: Weights, stored: dict[str, LayerWeights], problems: list[str]
) -> WeightsError:
    listed = problems[:_LISTED]
    if len(problems) > _LISTED:
        listed.append(f"and {len(problems) - _LISTED} more")
    of = f' of the net "{weights.net_name}"' if weights.net_name else ""
    return WeightsError(
        f'the weights{of} do not fit the net "{net.name}" ({net.path})',
        where=weights.path,
        details=listed,
        expected="each layer that has parameters, by name and with the net's shapes; "
        f"the file has {counted(len(stored), 'layer')} with weights",
        hint="give the weights that were trained for this definition, "
        "or the definition they belong to",
    )
