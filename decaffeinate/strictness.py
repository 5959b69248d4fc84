"""`--strict`: what is otherwise left out or assumed with a note is refused, all of it at once."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from decaffeinate.inspection import status_of
from prototxt.errors import DecaffeinateError, UnsupportedError
from prototxt.geometry import counted
from prototxt.net import Net
from prototxt.parameters import Parameters
from prototxt.shape_rules.rule import rule_of
from prototxt.weights import Weights

__all__ = ["net_doubts", "refuse_doubts", "weights_doubts"]


def net_doubts(net: Net) -> list[str]:
    """What a net has that is not known, or had to be assumed: fields, data's shapes, layer
    types."""
    return [*net.doubts, *net.unread, *_layer_types(net)]


def _layer_types(net: Net) -> list[str]:
    """A line a layer type that does not convert."""
    found: dict[tuple[str, str], list[str]] = {}
    for layer in net:
        status = status_of(layer.type, rule_of(layer) is not None)
        if status:
            places = found.setdefault((layer.type, status), [])
            places.append(f'{layer.where}: layer "{layer.name}"')
    return [
        f"{places[0]}: {kind} is a layer type that is {status}"
        + (f" (and {len(places) - 1} more)" if len(places) > 1 else "")
        for (kind, status), places in found.items()
    ]


def weights_doubts(net: Net, parameters: Parameters, weights: Weights | None) -> list[str]:
    """What is left out of the weights without it being known what for.

    Layers of the weights that the net has not are known for what they are where the file holds a
    net, and none that the net has is fed by them there: a branch that training alone had.
    """
    if weights is None:
        return []
    return [*weights.doubts, *_left_out(net, parameters, weights)]


def _left_out(net: Net, parameters: Parameters, weights: Weights) -> list[str]:
    if not parameters.left_out:
        return []
    readers = _readers(net, parameters.left_out, weights)
    types = {layer.name: layer.type for layer in weights.layers}
    lines = []
    for name in parameters.left_out:
        kind = f" ({types[name]})" if types.get(name) else ""
        what = f'{weights.path}: layer "{name}"{kind} of the weights is not in the net'
        if readers is None:
            lines.append(f"{what}, and what it is for the file does not tell")
        elif name in readers:
            lines.append(f'{what}, and feeds "{readers[name]}" of the net in the file')
    return lines


def _readers(net: Net, names: Sequence[str], weights: Weights) -> dict[str, str] | None:
    """For each of these layers of the file's own net that feeds, maybe through others, one that
    `net` has: the name of that; None where the file holds no net."""
    from prototxt.stored_net import read_stored

    if not weights.format.startswith("caffemodel"):
        return None
    try:
        stored = read_stored(Path(weights.path), {}).layers
    except DecaffeinateError:
        return None
    kept = {layer.name for layer in net}
    found: dict[str, str] = {}
    for name in names:
        reached: set[str] = set()
        for origin in stored:
            message = origin.message
            if message.name != name and reached.isdisjoint(message.bottom):
                continue
            if message.name in kept:
                found[name] = message.name
                break
            reached.update(message.top)
    return found


def refuse_doubts(net: Net, doubts: Sequence[str]) -> None:
    """Stop if there are any.

    Raises:
        UnsupportedError: all of them.
    """
    if doubts:
        raise UnsupportedError(
            f"--strict: {counted(len(doubts), 'thing')} that would be left out, assumed or not "
            "converted",
            where=net.path,
            details=doubts,
            expected="fields and layer types that are known, and shapes that are stated",
            hint="correct them, state shapes with --input-shape, bring layer types as plugins "
            "(--plugin), or leave out --strict",
        )
