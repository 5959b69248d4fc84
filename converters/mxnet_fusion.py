"""Keeps MXNet from fusing operators whose values are read elsewhere too.

Where MXNet 1.9.1 binds for inference on a CPU, it fuses Convolution, BatchNorm and FullyConnected
with the operators that follow.  It overlooks that a value in between is an output of the graph,
and for FullyConnected also that a second operator reads it: these then get the fused value, or
binding fails (sources: `mkldnn_conv_property.h`, `mkldnn_fc_property.h`).

An operator in between that changes nothing prevents it.  `_copy` would not do: it is taken out
before (`mkldnn_identity_property.h`).  `Reshape` to (-2), "all sizes as they are", stays; it keeps
every bit, -0 and NaN included, and hands gradients on.  `Dropout`, taken out likewise, counts as if
its readers read what it reads; and one that follows another must not be taken out with it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace

from converters.mxnet_symbol import Setting, Symbol

__all__ = ["SAME", "keeps_values", "unfused"]

SAME: Mapping[str, Setting] = {"shape": (-2,)}
"""Settings of the `Reshape` that changes nothing."""

_FIRST = {"BatchNorm", "Convolution", "FullyConnected"}
# What MXNet fuses with them, as far as the emitter writes it (no elemwise_add).
_LATER = {"Activation", "BatchNorm", "LeakyReLU", "abs", "clip", "exp", "sqrt", "square"}


def keeps_values(symbol: Symbol) -> bool:
    """Whether a symbol is the `Reshape` that changes nothing."""
    return symbol.op == "Reshape" and symbol.settings["shape"] == SAME["shape"]


def unfused(
    calls: Sequence[Symbol], outputs: Sequence[Symbol], free: Callable[[str], str]
) -> tuple[list[Symbol], list[Symbol]]:
    """The calls and outputs, with a `Reshape` behind each value that must not be fused away.

    The `Reshape` takes the name, and all readers.

    Args:
        calls: operators and variables, each after its inputs.
        outputs: those that the graph returns.
        free: makes a name that is not taken from the one that is wanted.
    """
    readers: dict[Symbol, list[Symbol]] = {}
    for call in calls:
        for entry in call.inputs:
            readers.setdefault(entry, []).append(call)
    returned = set(outputs)
    made: dict[Symbol, Symbol] = {}
    found = []
    for call in calls:
        inputs = tuple(made[entry] for entry in call.inputs)
        last = call if inputs == call.inputs else replace(call, inputs=inputs)
        fused = call.op in _FIRST and _endangered(*_beyond_dropout(call, readers, returned))
        if fused or _drops_twice(call, readers):
            first, last = _split(last, free(f"{call.name}/value"))
            found.append(first)
        found.append(last)
        made[call] = last
    return found, [made[output] for output in outputs]


def _drops_twice(call: Symbol, readers: Mapping[Symbol, Sequence[Symbol]]) -> bool:
    """Whether a Dropout follows a Dropout: MXNet takes both out at once, and where they reach back
    to an input it can no longer bind that ("arg_names.size() == in_args_map.size()")."""
    return call.op == "Dropout" and any(reader.op == "Dropout" for reader in readers.get(call, ()))


def _beyond_dropout(
    call: Symbol, readers: Mapping[Symbol, Sequence[Symbol]], returned: Collection[Symbol]
) -> tuple[str, list[Symbol], bool]:
    """The operator, its readers and whether it is returned, as if there were no Dropout."""
    found, out = [], call in returned
    for reader in readers.get(call, []):
        if reader.op == "Dropout":
            _, behind, returns = _beyond_dropout(reader, readers, returned)
            found += behind
            out = out or returns
        else:
            found.append(reader)
    return call.op, found, out


def _endangered(op: str, readers: Sequence[Symbol], returned: bool) -> bool:
    if not any(reader.op in _LATER for reader in readers):
        return False
    return returned or (op == "FullyConnected" and len(readers) > 1)


def _split(call: Symbol, name: str) -> tuple[Symbol, Symbol]:
    rank = {key: value for key, value in call.settings.items() if key == "__rank__"}
    settings = {key: value for key, value in call.settings.items() if key not in rank}
    first = replace(call, name=name, settings=settings, value=None)
    last = Symbol("Reshape", call.name, (first,), {**SAME, **rank}, call.value, call.layer)
    return first, last
