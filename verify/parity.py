"""Parity of parameters: each of the source's is in the artifact, bit for bit, once; and nothing
else is."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prototxt import caffe_pb2 as pb
from prototxt.batch_norm import has_scale_bias
from prototxt.net import Layer, Net
from prototxt.parameters import Parameters
from prototxt.shapes import NetShapes
from verify.fused import AS_THEY_ARE, Recomputed
from verify.precision import named
from verify.reference import with_phase
from verify.reference.ristretto import PLAIN, quantised_parameters, quantised_to

__all__ = ["LayerParity", "Parity", "check_parity"]

Key = tuple[int, int]
"""Index of a layer in the net, and of its blob."""
Entry = Mapping[str, Any]

_DIVIDED, _ROUNDED = "divided by scale_factor", "rounded to"
"""The changes that values may have undergone, as the manifest's words for them begin."""
_HALVED = "rounded to float16"
"""What is to follow it in artifacts that store halves."""
Stored = type[np.floating[Any]]


@dataclass(frozen=True)
class _Stored:
    """A form in which a parameter is to be stored: `settings` tell one from another, `values` are
    what is stored, and `change` is what the manifest is to say of them."""

    settings: Hashable
    values: Callable[[], NDArray[np.float32]] = field(compare=False)
    change: str | None = None


@dataclass(frozen=True)
class LayerParity:
    """The parameters that one layer owns: how many the source has, the artifact stores and folds
    into others."""

    layer: str
    source: int
    stored: int
    folded: int
    notes: tuple[str, ...]
    problems: tuple[str, ...]

    @property
    def passed(self) -> bool:
        """Whether every parameter is accounted for."""
        return not self.problems and self.source == self.stored + self.folded


@dataclass(frozen=True)
class Parity:
    """Parity of a whole artifact.

    Sizes in bytes: `memory_bytes` of the parameters as they are stored, `disk_bytes` of the
    target's files, and `expected_bytes`, 4 for each of the source's parameters.  `constants` counts
    the values that are stored besides, such as the scale of 1 that a framework's batch
    normalisation insists on.
    """

    layers: tuple[LayerParity, ...]
    memory_bytes: int
    disk_bytes: int
    expected_bytes: int
    problems: tuple[str, ...] = ()
    constants: int = 0
    changed: int = 0
    """How many of the stored values are what passes made of the source's, rather than those."""
    dtype: str = "float32"
    """What they are stored as; halves are the source's values rounded."""

    @property
    def passed(self) -> bool:
        """Whether all layers pass and nothing foreign is stored."""
        return not self.problems and all(layer.passed for layer in self.layers)

    @property
    def source(self) -> int:
        """Parameters of the source."""
        return sum(layer.source for layer in self.layers)

    @property
    def stored(self) -> int:
        """Parameters that the artifact stores."""
        return sum(layer.stored for layer in self.layers)

    @property
    def folded(self) -> int:
        """Parameters of the source that live on inside others."""
        return sum(layer.folded for layer in self.layers)


def check_parity(
    net: Net,
    shapes: NetShapes,
    parameters: Parameters,
    entries: Sequence[Entry],
    folded: Sequence[Entry],
    constants: Sequence[Entry],
    stored: Mapping[str, NDArray[Any]],
    disk_bytes: int,
    changed: Recomputed = AS_THEY_ARE,
) -> Parity:
    """Hold the parameters that a runner read from an artifact against the source's.

    What is to be stored, and in which form, follows from the net and its parameters alone; the
    manifest only says where.

    Args:
        net: the net.
        shapes: its shapes.
        parameters: the source's parameters.
        entries: the manifest's list of stored parameters.
        folded: the manifest's list of folded ones.
        constants: the manifest's list of what else is stored.
        stored: the arrays in the artifact, by stored name.
        disk_bytes: size of the target's files.
        changed: what passes have made of the source's parameters.
    """
    forms = _forms(net, parameters) | dict.fromkeys(changed.gone, ())
    by_key: dict[Key, list[Entry]] = {}
    for entry in entries:
        by_key.setdefault((entry["position"], entry["index"]), []).append(entry)
    reasons = {(entry["position"], entry["index"]): entry["reason"] for entry in folded}
    owned: dict[int, list[tuple[Key, NDArray[np.float32]]]] = {}
    for key, array in parameters.owned():
        owned.setdefault(key[0], []).append((key, array))
    rows = [
        _check_layer(net.layers[index], arrays, shapes, forms, by_key, reasons, stored, changed)
        for index, arrays in owned.items()
    ]
    known = {key for arrays in owned.values() for key, _ in arrays}
    # An entry of a parameter that is folded would stand for values that nothing reads.
    problems = [
        f'"{entry["name"]}" stands for layer "{entry["layer"]}", blob {entry["index"]}, which is '
        "not in the source, or not to be stored"
        for key, found in by_key.items()
        for entry in found
        if not forms.get(key)
    ]
    problems += [
        f"layer {p}, blob {i} is folded: not in the source" for p, i in reasons.keys() - known
    ]
    problems += _foreign(entries, constants, stored)
    memory = sum(stored[e["name"]].nbytes for e in entries if e["name"] in stored)
    declared = sum(prod(entry["shape"]) for entry in constants)
    return Parity(
        tuple(rows),
        memory,
        disk_bytes,
        4 * parameters.count,
        tuple(problems),
        declared,
        sum(values.size for values, _ in changed.values.values()),
        np.dtype(changed.dtype).name,
    )


def _forms(net: Net, parameters: Parameters) -> dict[Key, Sequence[_Stored]]:
    """By owned parameter, the forms that it is stored in, one for each different use.

    There is none where it has no values of its own in the artifact.
    """
    forms: dict[Key, list[_Stored]] = {}
    for user, owner in parameters.owners.items():
        found = forms.setdefault(owner, [])
        form = _form(net, parameters, user)
        if form is not None and form not in found:
            found.append(form)
    return dict(forms)


def _form(net: Net, parameters: Parameters, user: Key) -> _Stored | None:
    """How a layer has one of its parameters stored.

    The scale_factor of a BatchNorm divides its mean and variance (1 / factor, rounded to float32; 0
    for a factor of 0), and a layer that takes the batch's own statistics reads none of the three.
    Ristretto's layers quantise.  The shifts of an ActiveShift are the places of a kernel's taps.
    """
    index, i = user
    layer, arrays = net.layers[index], parameters[index]
    whole = _Stored(None, lambda: arrays[i])
    if layer.type in PLAIN:
        settings = quantised_to(layer, i)
        if settings is None:
            return whole
        return _Stored(
            settings,
            lambda: quantised_parameters(with_phase(layer, net.phase), arrays)[i],
            _ROUNDED,
        )
    if layer.type == "ActiveShift":
        return None
    if layer.type != "BatchNorm" or i > 2:
        return whole
    if i == 2 or not _uses_global_stats(layer, net):
        return None
    if has_scale_bias(layer.message.batch_norm_param):
        return whole  # NVIDIA's statistics are divided by nothing
    divisor = np.float32(arrays[2].reshape(-1)[0])
    factor = np.float32(0) if divisor == 0 else np.float32(1) / divisor
    return whole if factor == 1 else _Stored(factor, lambda: arrays[i] * factor, _DIVIDED)


def _uses_global_stats(layer: Layer, net: Net) -> bool:
    param = layer.message.batch_norm_param
    if param.HasField("use_global_stats") and not has_scale_bias(param):
        return bool(param.use_global_stats)
    # A layer may state a phase of its own, which Caffe then takes.
    return bool(with_phase(layer, net.phase).message.phase == pb.TEST)


def _check_layer(
    layer: Layer,
    arrays: Sequence[tuple[Key, NDArray[np.float32]]],
    shapes: NetShapes,
    forms: Mapping[Key, Sequence[_Stored]],
    by_key: Mapping[Key, list[Entry]],
    reasons: Mapping[Key, str],
    stored: Mapping[str, NDArray[Any]],
    changed: Recomputed,
) -> LayerParity:
    kept = gone = 0
    notes: list[str] = []
    problems: list[str] = []
    for key, array in arrays:
        kind = shapes.params[layer.index][key[1]].name
        if not forms[key] and key in reasons:
            gone += array.size
            notes.append(f"{kind}: {reasons[key]}")
            continue
        if key in reasons:
            problems.append(f"{kind} is not to be folded")
        found = by_key.get(key, [])
        if len(found) != len(forms[key]) or not found:
            problems.append(f"{kind} is stored {len(found)} times")
            continue
        names = {entry["layer"] for entry in found} - {layer.name}
        problems += [f'{kind} is said to be of layer "{name}"' for name in names]
        if key in changed.values:
            want, doubt = changed.values[key]
            wrong, changes = _check_changed(kind, want, doubt, found[0], stored, changed.dtype)
        else:
            wrong, changes = _check(kind, forms[key], found, stored, changed.dtype)
        problems += wrong
        notes += changes
        got = stored.get(found[0]["name"])
        kept += 0 if got is None else got.size
    source = sum(array.size for _, array in arrays)
    return LayerParity(layer.name, source, kept, gone, tuple(notes), tuple(problems))


def _check(
    kind: str,
    forms: Sequence[_Stored],
    entries: Sequence[Entry],
    stored: Mapping[str, NDArray[Any]],
    dtype: Stored,
) -> tuple[list[str], list[str]]:
    """Problems and notes of one parameter, stored once in each of the forms."""
    rest = list(entries)
    problems: list[str] = []
    notes: list[str] = []
    for form in forms:
        want = np.asarray(form.values(), np.float32)
        # Where there are several, each is held to the entry that is nearest to it.
        found = min(rest, key=lambda entry: len(_differences(kind, want, entry, stored, dtype)))
        rest.remove(found)
        problems += _differences(kind, want, found, stored, dtype)
        change = found["change"]
        if change is not None:
            notes.append(f"{kind}: {change}")
        if dtype is np.float16:
            *rest_of_it, rounding = (change or "").split(", ")
            change = ", ".join(rest_of_it) or None
            if rounding != _HALVED:
                problems.append(f"{kind} is not said to be {_HALVED}")
        if form.change is None and change is not None:
            problems.append(f'{kind} is said to be changed ("{change}"), which is not to be')
        elif form.change is not None and not (change or "").startswith(form.change):
            problems.append(f"{kind} is not said to be {form.change}")
    return problems, notes


def _check_changed(
    kind: str,
    want: NDArray[np.float64],
    doubt: NDArray[np.float64],
    entry: Entry,
    stored: Mapping[str, NDArray[Any]],
    dtype: Stored,
) -> tuple[list[str], list[str]]:
    """The same for one that a pass has changed: the exact value, rounded to float32 once, and then
    perhaps to a half."""
    got = stored.get(entry["name"])
    if got is None or got.dtype != dtype or got.size != want.size:
        return _differences(kind, want.astype(np.float32), entry, stored, dtype), []
    exact, slack = want.reshape(-1), doubt.reshape(-1)
    precision = named(np.dtype(dtype).name)
    # and half the step of the least numbers
    least = 2.0**-25 if dtype is np.float16 else 2.0**-150
    allowed = precision.unit * np.abs(exact) + slack * (1 + precision.unit) + least
    wrong = int((~(np.abs(got.reshape(-1).astype(np.float64) - exact) <= allowed)).sum())
    if wrong:
        return [f"{wrong} of {want.size} values of {kind} are not what folding makes of it"], []
    if entry["change"] is None:
        return [f"{kind} is changed, and not said to be"], []
    return [], [f"{kind}: {entry['change']}"]


def _differences(
    kind: str,
    want: NDArray[np.float32],
    entry: Entry,
    stored: Mapping[str, NDArray[Any]],
    dtype: Stored,
) -> list[str]:
    """What is wrong with one stored array, or with what whole numbers are times the scale that the
    manifest names."""
    got = stored.get(entry["name"])
    if got is None:
        return [f'{kind}: "{entry["name"]}" is not in the artifact']
    if got.dtype in (np.int8, np.int16) and entry.get("scale") is not None:
        scale = stored.get(str(entry["scale"]))
        if scale is None or scale.dtype != np.float32 or scale.size != 1:
            return [f'{kind}: "{entry["scale"]}", its scale, is not one float32 in the artifact']
        got = got.astype(np.float32) * scale.reshape(())
    if got.dtype != dtype:
        return [f"{kind} is {got.dtype}, not {np.dtype(dtype)}"]
    if got.size != want.size:
        return [f"{kind} has shape {got.shape}, the source {want.shape}"]
    kept = np.ascontiguousarray(want.astype(dtype, copy=False)).ravel()
    unsigned = np.uint16 if dtype is np.float16 else np.uint32
    same = kept.view(unsigned) == np.ascontiguousarray(got).ravel().view(unsigned)
    return [] if same.all() else [f"{int((~same).sum())} of {same.size} values of {kind} differ"]


def _foreign(
    entries: Sequence[Entry], constants: Sequence[Entry], stored: Mapping[str, NDArray[Any]]
) -> list[str]:
    """Stored arrays that the manifest does not declare, or not with as many values."""
    parameters = {entry["name"] for entry in entries}
    declared = {entry["name"]: prod(entry["shape"]) for entry in constants}
    problems = []
    for name, array in stored.items():
        if name in parameters:
            continue
        if name not in declared:
            problems.append(f'"{name}" {array.shape} is stored, but not of the source')
        elif array.size != declared[name]:
            problems.append(
                f'the constant "{name}" has {array.size:,} values, not {declared[name]:,}'
            )
    problems += [f'the constant "{name}" is not stored' for name in declared.keys() - stored.keys()]
    return problems
