"""Which of MXNet's operators are layers of `gluon.nn`, with their arguments and parameters."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from converters.mxnet_symbol import Setting, Symbol
from converters.python_source import number, one_or_tuple
from ir import Parameter

__all__ = ["Layer", "layers_of"]


@dataclass(frozen=True, eq=False)
class Layer:
    """One object of `gluon.nn`: its class, its arguments as source, its parameters by attribute."""

    kind: str
    name: str
    arguments: tuple[str, ...]
    parameters: Mapping[str, Parameter] = field(default_factory=dict)

    @property
    def key(self) -> tuple[object, ...]:
        """What two uses of one layer have in common."""
        return (self.kind, self.arguments, tuple(self.parameters.items()))


def _sizes(setting: Setting) -> str:
    assert isinstance(setting, tuple)
    return one_or_tuple(tuple(size for size in setting if size is not None))


def _options(symbol: Symbol, names: Mapping[str, tuple[str, int]]) -> list[str]:
    """Keyword arguments for settings that are not the default on all axes."""
    found = []
    for setting, (name, default) in names.items():
        sizes = symbol.settings[setting]
        assert isinstance(sizes, tuple)
        if set(sizes) != {default}:
            found.append(f"{name}={_sizes(sizes)}")
    return found


def _parameters(symbols: Sequence[Symbol], names: Sequence[str]) -> dict[str, Parameter] | None:
    found = {}
    for symbol, name in zip(symbols, names, strict=False):
        if not isinstance(symbol.value, Parameter):
            return None
        found[name] = symbol.value
    return found


def _convolution(symbol: Symbol) -> Layer | None:
    parameters = _parameters(symbol.inputs[1:], ["weight", "bias"])
    if parameters is None:
        return None
    settings, weight = symbol.settings, parameters["weight"].shape
    transposed = symbol.op == "Deconvolution"
    groups = settings["num_group"]
    assert isinstance(groups, int)
    arguments = [str(settings["num_filter"]), _sizes(settings["kernel"])]
    windows = {"stride": ("strides", 1), "pad": ("padding", 0), "dilate": ("dilation", 1)}
    arguments += _options(symbol, windows)
    if groups != 1:
        arguments.append(f"groups={groups}")
    if settings["no_bias"]:
        arguments.append("use_bias=False")
    arguments.append(f"in_channels={weight[0] if transposed else weight[1] * groups}")
    kind = f"Conv{len(weight) - 2}D{'Transpose' if transposed else ''}"
    return Layer(kind, symbol.layer, tuple(arguments), parameters)


def _fully_connected(symbol: Symbol) -> Layer | None:
    parameters = _parameters(symbol.inputs[1:], ["weight", "bias"])
    if parameters is None:
        return None
    outputs, inputs = parameters["weight"].shape
    arguments = [str(outputs), *(["use_bias=False"] if symbol.settings["no_bias"] else [])]
    arguments += ["flatten=False", f"in_units={inputs}"]
    return Layer("Dense", symbol.layer, tuple(arguments), parameters)


def _batch_norm(symbol: Symbol) -> Layer | None:
    affine = not symbol.settings["fix_gamma"]
    names = ["gamma", "beta", "running_mean", "running_var"]
    parameters = _parameters(symbol.inputs[1 if affine else 3 :], names[0 if affine else 2 :])
    if parameters is None:
        return None
    eps = symbol.settings["eps"]
    assert isinstance(eps, float)
    epsilon = number(eps, 'float("{}")')
    arguments = [
        *([] if epsilon == "1e-05" else [f"epsilon={epsilon}"]),
        *([] if affine else ["center=False", "scale=False"]),
        "use_global_stats=True",
        f"in_channels={parameters['running_mean'].shape[0]}",
    ]
    return Layer("BatchNorm", symbol.layer, tuple(arguments), parameters)


def _prelu(symbol: Symbol) -> Layer | None:
    if symbol.settings["act_type"] != "prelu":
        return None
    parameters = _parameters(symbol.inputs[1:], ["alpha"])
    if parameters is None:
        return None
    channels = parameters["alpha"].shape[0]
    arguments = () if channels == 1 else (f"in_channels={channels}",)
    return Layer("PReLU", symbol.layer, arguments, parameters)


def _dropout(symbol: Symbol) -> Layer:
    ratio = symbol.settings["p"]
    assert isinstance(ratio, float)
    return Layer("Dropout", symbol.layer, (number(ratio),))


def _pooling(symbol: Symbol) -> Layer:
    settings = symbol.settings
    kind = "Max" if settings["pool_type"] == "max" else "Avg"
    kernel = settings["kernel"]
    assert isinstance(kernel, tuple)
    if settings.get("global_pool"):
        return Layer(f"Global{kind}Pool{len(kernel)}D", symbol.layer, ())
    arguments = [_sizes(kernel), f"strides={_sizes(settings['stride'])}"]
    arguments += _options(symbol, {"pad": ("padding", 0)})
    if settings["pooling_convention"] == "full":
        arguments.append("ceil_mode=True")
    return Layer(f"{kind}Pool{len(kernel)}D", symbol.layer, tuple(arguments))


_LAYERS: dict[str, Callable[[Symbol], Layer | None]] = {
    "Convolution": _convolution,
    "Deconvolution": _convolution,
    "Dropout": _dropout,
    "FullyConnected": _fully_connected,
    "BatchNorm": _batch_norm,
    "LeakyReLU": _prelu,
    "Pooling": _pooling,
}


def layers_of(calls: Sequence[Symbol]) -> dict[Symbol, Layer]:
    """The layer of each call that can be one; calls that share all parameters share the layer.

    A layer owns its parameters: a call that shares a part of them is left to be a function of
    parameters that the block itself owns.
    """
    possible: dict[Symbol, Layer] = {}
    users: dict[Parameter, set[object]] = {}
    for call in calls:
        layer = _LAYERS[call.op](call) if call.op in _LAYERS else None
        if layer is not None:
            possible[call] = layer
        for entry in call.inputs:
            if isinstance(entry.value, Parameter):
                users.setdefault(entry.value, set()).add(layer.key if layer else call)
    chosen: dict[Symbol, Layer] = {}
    shared: dict[object, Layer] = {}
    for call, layer in possible.items():
        parameters = list(layer.parameters.values())
        twice = len(set(parameters)) < len(parameters)
        if twice or any(len(users[parameter]) > 1 for parameter in parameters):
            continue
        chosen[call] = shared.setdefault(layer.key, layer) if parameters else layer
    return chosen
