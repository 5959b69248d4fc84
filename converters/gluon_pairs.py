"""BatchNorm and the Scale after it as one BatchNorm with gamma and beta."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

from converters.mxnet_symbol import Setting, Symbol
from ir import Parameter

__all__ = ["Pairs", "paired"]

_RESHAPE = "Reshape"
Pairs = dict[Symbol, tuple[Symbol, Symbol, Symbol]]
"""By a BatchNorm with gamma and beta, the normalisation, product and sum that it stands for."""


def paired(
    symbols: Sequence[Symbol], outputs: Sequence[Symbol]
) -> tuple[list[Symbol], list[Symbol], Pairs]:
    """The symbols with one BatchNorm in the place of each normalisation, product and sum.

    The product's factor and the sum's term are stored by a layer, one number a channel, and read
    by nothing else but triples that share all that they store; so are the values in between.

    Args:
        symbols: operators and variables, each after its inputs.
        outputs: those that are returned; none of them is replaced.

    Returns:
        The symbols, the outputs, and by each new symbol the three that it stands for.
    """
    readers: dict[Symbol, list[Symbol]] = {}
    for symbol in symbols:
        for entry in symbol.inputs:
            readers.setdefault(entry, []).append(symbol)
    stored = Counter(s.value for s in readers for _ in readers[s] if isinstance(s.value, Parameter))
    triples: Pairs = {}
    for symbol in symbols:
        if symbol.op != "BatchNorm":
            continue
        product = _only(symbol, "broadcast_mul", readers)
        total = product and _only(product, "broadcast_add", readers)
        if product and total and not {symbol, product, total} & {*outputs}:
            triples[total] = symbol, product, total
    counts = Counter(map(_form, triples.values()))
    for total, triple in list(triples.items()):
        values = (_variable(one).value for one in triple[1:])
        uses = {stored[value] for value in values if isinstance(value, Parameter)}
        if uses != {counts[_form(triple)]}:
            del triples[total]
    made, pairs = _replaced(symbols, triples)
    return list(made.values()), [made[symbol] for symbol in outputs], pairs


def _form(triple: tuple[Symbol, Symbol, Symbol]) -> object:
    """What is the same in triples that share all that they store."""
    first, product, total = triple
    kept = tuple(first.settings.items())
    return kept, first.inputs[3:], _variable(product), _variable(total)


def _only(symbol: Symbol, op: str, readers: Mapping[Symbol, Sequence[Symbol]]) -> Symbol | None:
    """The one reader of a symbol, if it joins it with stored numbers a channel."""
    found = readers.get(symbol, ())
    if len(found) != 1 or found[0].op != op or found[0].inputs[0] is not symbol:
        return None
    second, x = found[0].inputs[1], found[0].value
    variable = _variable(found[0]).value
    if not isinstance(variable, Parameter) or variable.origin is None or x is None:
        return None
    if second.op == _RESHAPE and len(readers[second]) != 1:
        return None
    wanted = (x.shape[1], *(1,) * (len(x.shape) - 2))
    same = second.value is not None and second.value.shape == wanted
    return found[0] if same and len(found[0].inputs) == 2 else None


def _variable(joined: Symbol) -> Symbol:
    """What holds the factor or term, which layers that share it reshape."""
    second = joined.inputs[1]
    return second.inputs[0] if second.op == _RESHAPE else second


def _replaced(symbols: Sequence[Symbol], triples: Pairs) -> tuple[dict[Symbol, Symbol], Pairs]:
    gone = {symbol for triple in triples.values() for symbol in triple}
    gone |= {s.inputs[1] for s in gone if s.op != "BatchNorm" and s.inputs[1].op == _RESHAPE}
    made: dict[Symbol, Symbol] = {}
    pairs: Pairs = {}
    for symbol in symbols:
        if symbol in triples:
            first, product, total = triples[symbol]
            x, _, _, mean, variance = first.inputs
            gamma, beta = _variable(product), _variable(total)
            settings = {**first.settings, "fix_gamma": False}
            read = (made[x], gamma, beta, mean, variance)
            new = replace(first, inputs=read, settings=settings, value=total.value)
            pairs[new] = triples[symbol]
        elif symbol in gone:
            continue
        else:
            inputs = tuple(made[entry] for entry in symbol.inputs)
            given = _free(symbol)
            same = inputs == symbol.inputs and given == symbol.settings
            new = symbol if same else replace(symbol, inputs=inputs, settings=given)
        made[symbol] = new
    return made, pairs


def _free(symbol: Symbol) -> Mapping[str, Setting]:
    """A symbol's settings; a Reshape to one size among ones names no number, which follows: so
    that blocks of other widths are written alike."""
    shape = symbol.settings.get("shape")
    if symbol.op != _RESHAPE or not isinstance(shape, tuple):
        return symbol.settings
    sizes = [size for size in shape if size not in (0, 1)]
    if len(sizes) != 1 or sizes[0] is None or sizes[0] < 2:
        return symbol.settings
    return {**symbol.settings, "shape": tuple(s if s in (0, 1) else -1 for s in shape)}
