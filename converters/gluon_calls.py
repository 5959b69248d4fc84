"""MXNet's operators as a person writes them in `hybrid_forward`."""

from __future__ import annotations

from collections.abc import Sequence
from math import frexp

from converters.mxnet_symbol import PowerOfTwo, Setting, Symbol
from converters.python_source import Call, Expression, number

__all__ = ["activation", "expression", "literal"]

_SCALAR = {
    "_plus_scalar": "+",
    "_minus_scalar": "-",
    "_mul_scalar": "*",
    "_div_scalar": "/",
    "_greater_scalar": ">",
    "_greater_equal_scalar": ">=",
}
_SCALAR_CALL = {"_maximum_scalar": "maximum", "_minimum_scalar": "minimum"}
_SAME_SHAPE = {
    "broadcast_add": "+",
    "broadcast_sub": "-",
    "broadcast_mul": "*",
    "broadcast_div": "/",
}
_FUNCTIONS = {
    "Cast": "cast",
    "Concat": "concat",
    "Reshape": "reshape",
    "Flatten": "flatten",
    "Pad": "pad",
    "_arange": "arange",
    "_contrib_arange_like": "contrib.arange_like",
    "_contrib_boolean_mask": "contrib.boolean_mask",
    "_contrib_PSROIPooling": "contrib.PSROIPooling",
    "_contrib_box_nms": "contrib.box_nms",
}
_LEFT_OUT = {"__rank__", "num_args"}


def literal(text: str) -> str:
    """A string literal in ASCII, in double quotes unless single ones need fewer escapes."""
    body = text.encode("unicode_escape").decode("ascii")
    quote = '"' if body.count('"') <= body.count("'") else "'"
    return quote + body.replace(quote, "\\" + quote) + quote


def _source(setting: Setting) -> str:
    if isinstance(setting, PowerOfTwo):
        power = f"2.0**{frexp(setting)[1] - 1}"
        return f"-({power})" if setting < 0 else power
    if isinstance(setting, float):
        return number(setting, 'float("{}")').replace("e+", "e")
    return literal(setting) if isinstance(setting, str) else str(setting)


def _same_shape(symbol: Symbol) -> bool:
    values = [entry.value for entry in symbol.inputs]
    return None not in values and len({value.dims or value.shape for value in values if value}) == 1


def activation(symbol: Symbol, argument: Expression) -> Call:
    """The call of Activation; with F.relu, which oneDNN has not, layouts would go to and fro."""
    return Call("F.Activation", (argument, literal(str(symbol.settings["act_type"]))))


def expression(symbol: Symbol, arguments: Sequence[str], infix: bool = True) -> Expression:
    """The call of a symbol's operator on arguments that are names.

    Scalars and, with `infix`, arrays of one shape are written with Python's operators.
    """
    settings = symbol.settings
    if symbol.op == "Activation":
        return activation(symbol, *arguments)
    if "scalar" in settings:
        scalar = _source(settings["scalar"])
        if symbol.op in _SCALAR_CALL:
            return Call(f"F.{_SCALAR_CALL[symbol.op]}", (*arguments, scalar))
        if symbol.op == "_power_scalar":
            # Formatters put spaces around a power that is no plain number.
            sign = " ** " if "(" in scalar else "**"
            return f"{arguments[0]}{sign}{scalar}"
        return f"{arguments[0]} {_SCALAR[symbol.op]} {scalar}"
    if infix and symbol.op in _SAME_SHAPE and _same_shape(symbol):
        return f"{arguments[0]} {_SAME_SHAPE[symbol.op]} {arguments[1]}"
    name = _FUNCTIONS.get(symbol.op, symbol.op)
    options = [f"{k}={_source(v)}" for k, v in settings.items() if k not in _LEFT_OUT]
    return Call(f"F.{name}", (*arguments, *options))
