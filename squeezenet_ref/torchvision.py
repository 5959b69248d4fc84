"""Caffe's SqueezeNet weights under the names of torchvision's `squeezenet1_0` and `squeezenet1_1`.

Three things differ between the two besides names, and a state dict alone carries only the
parameters:

* Input.  Caffe's nets take BGR, 0..255, minus the mean 104, 117, 123.  torchvision's presets give
  RGB, 0..1, minus 0.485, 0.456, 0.406 and over 0.229, 0.224, 0.225.  `preprocessing="torchvision"`
  folds the change into the first convolution, exactly, because that convolution has no padding.
* Last convolution.  The released v1.0 pads it by 1, so Caffe averages a 15x15 map whose border is
  relu(bias); torchvision averages 13x13.  Without `classifier[1].padding = (1, 1)` v1.0's scores
  differ.  v1.1 agrees.
* Output.  Caffe's deploy nets end in a softmax, torchvision's models do not.

Everything else is the same: conv1 is 7x7 (v1.0) or 3x3 (v1.1), stride 2, without padding, and
torchvision's max-pools have ceil_mode=True, which is how Caffe rounds.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from prototxt.errors import UsageError, WeightsError
from prototxt.weights import Weights
from squeezenet_ref.design import Architecture, architecture

__all__ = ["torchvision_shapes", "torchvision_state_dict"]

Array = npt.NDArray[Any]

_CAFFE_MEAN_BGR = (104.0, 117.0, 123.0)
_MEAN_RGB = (0.485, 0.456, 0.406)
_STD_RGB = (0.229, 0.224, 0.225)
# The nets of the Deep Compression and DSD releases name their layers after the filters.
_ALIASES = {
    "squeeze1x1": "conv1x1_1",
    "expand1x1": "conv1x1_2",
    "expand3x3": "conv3x3_2",
    "conv10": "conv_final",
}


def torchvision_shapes(version: str, classes: int = 1000) -> dict[str, tuple[int, ...]]:
    """Names and shapes of torchvision's state dict, in its order.

    Args:
        version: "1.0" or "1.1".
        classes: outputs of the classifier.

    Raises:
        UsageError: another version.
    """
    net = _version(version, classes)
    return {key: shape for _, _, key, shape in _table(net)}


def torchvision_state_dict(
    weights: Weights | Mapping[str, Array] | Mapping[str, Sequence[Array]],
    version: str,
    *,
    preprocessing: str = "caffe",
) -> dict[str, Array]:
    """A state dict for torchvision's `squeezenet1_0` or `squeezenet1_1`, as float32 NumPy arrays.

    `model.load_state_dict({k: torch.from_numpy(v) for k, v in state.items()})` loads it; the
    module's documentation says what else to set for equal scores.

    Args:
        weights: a read weights file; or arrays by "layer/blob index", as `squeezenet_ref.weights`
            gives them; or (weight, bias) by layer.  Layer names of the published v1.0, v1.1,
            residual, DSD and Deep Compression nets are known.
        version: "1.0" or "1.1".
        preprocessing: "caffe" keeps the parameters, and with them Caffe's input; "torchvision"
            changes conv1 so that the model takes torchvision's normalised RGB.

    Raises:
        UsageError: another version or preprocessing.
        WeightsError: a layer is missing or one too many, or a shape is another; all in one error.
    """
    if preprocessing not in ("caffe", "torchvision"):
        raise UsageError(
            f'unknown preprocessing "{preprocessing}"', expected="caffe or torchvision"
        )
    stored = _by_layer(weights)
    last = stored.get("conv10", stored.get("conv_final", ()))
    net = _version(version, int(last[1].size) if len(last) == 2 else 1000)
    state, problems = _matched(stored, _table(net))
    if problems:
        raise WeightsError(
            f"these are not the weights of a SqueezeNet v{version}",
            where=weights.path if isinstance(weights, Weights) else None,
            details=problems[:10] + [f"and {len(problems) - 10} more"] * (len(problems) > 10),
            hint="check the version; a complex bypass has no counterpart in torchvision",
        )
    return _for_normalised_rgb(state) if preprocessing == "torchvision" else state


_Row = tuple[str, int, str, tuple[int, ...]]
"""Caffe layer, blob index, torchvision key, shape."""


def _matched(
    stored: Mapping[str, Sequence[Array]], table: Sequence[_Row]
) -> tuple[dict[str, Array], list[str]]:
    """The state dict, and what does not fit, a line each."""
    state: dict[str, Array] = {}
    problems = []
    for layer, index, key, shape in table:
        blobs = stored.get(layer, stored.get(_alias(layer), ()))
        if index >= len(blobs):
            problems.append(f'layer "{layer}": blob {index} is missing')
        elif _stripped(blobs[index].shape) != _stripped(shape):
            problems.append(
                f'layer "{layer}": blob {index} is {blobs[index].shape}, {key} is {shape}'
            )
        else:
            state[key] = np.array(blobs[index], np.float32).reshape(shape)
    known = {name for layer, *_ in table for name in (layer, _alias(layer))}
    problems += [f'layer "{name}": torchvision has none' for name in stored if name not in known]
    return state, problems


def _version(version: str, classes: int) -> Architecture:
    if version not in ("1.0", "1.1"):
        raise UsageError(f'torchvision has no SqueezeNet "{version}"', expected="1.0 or 1.1")
    return architecture(version, classes=classes)


def _table(net: Architecture) -> list[_Row]:
    """Every parameter in torchvision's order."""
    convolutions = [
        ("conv1", "features.0", net.conv1_channels, net.input_channels, net.conv1_kernel)
    ]
    place = 2  # 0 is conv1 and 1 its ReLU; pools and Fire modules take one place each
    for fire in net.fires:
        place += 1 if fire.number - 1 in net.pools else 0
        caffe, torch = fire.name, f"features.{place}"
        place += 1
        convolutions += [
            (f"{caffe}/squeeze1x1", f"{torch}.squeeze", fire.squeeze, fire.inputs, 1),
            (f"{caffe}/expand1x1", f"{torch}.expand1x1", fire.expand1x1, fire.squeeze, 1),
            (f"{caffe}/expand3x3", f"{torch}.expand3x3", fire.expand3x3, fire.squeeze, 3),
        ]
    convolutions.append((f"conv{net.final}", "classifier.1", net.classes, net.fires[-1].outputs, 1))
    rows: list[_Row] = []
    for layer, module, filters, channels, kernel in convolutions:
        rows.append((layer, 0, f"{module}.weight", (filters, channels, kernel, kernel)))
        rows.append((layer, 1, f"{module}.bias", (filters,)))
    return rows


def _by_layer(
    weights: Weights | Mapping[str, Array] | Mapping[str, Sequence[Array]],
) -> dict[str, Sequence[Array]]:
    if isinstance(weights, Weights):
        return {layer.name: layer.blobs for layer in weights.layers}
    stored: dict[str, Sequence[Array]] = {}
    flat: dict[str, dict[int, Array]] = {}
    for name, value in weights.items():
        if not isinstance(value, np.ndarray):
            stored[name] = value
        elif match := re.fullmatch(r"(.+)/(\d+)", name):
            flat.setdefault(match[1], {})[int(match[2])] = value
    for name, blobs in flat.items():
        stored[name] = [blobs[index] for index in sorted(blobs)]
    return stored


def _alias(layer: str) -> str:
    prefix, slash, kind = layer.rpartition("/")
    return prefix + slash + _ALIASES.get(kind, kind)


def _stripped(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Without leading ones: old files hold a bias as (1, 1, 1, N)."""
    start = next((i for i, size in enumerate(shape) if size != 1), len(shape))
    return tuple(shape[start:])


def _for_normalised_rgb(state: dict[str, Array]) -> dict[str, Array]:
    """Folds Caffe's input, 255 (std x + mean) - caffe_mean of torchvision's x, into conv1."""
    weight = state["features.0.weight"].astype(np.float64)[:, ::-1]  # now in order R, G, B
    mean, std = np.array(_MEAN_RGB), np.array(_STD_RGB)
    offset = 255 * mean - np.array(_CAFFE_MEAN_BGR[::-1])
    bias = state["features.0.bias"] + np.einsum("oikl,i->o", weight, offset)
    scaled = weight * (255 * std)[:, None, None]
    return {
        **state,
        "features.0.weight": np.ascontiguousarray(scaled, np.float32),
        "features.0.bias": bias.astype(np.float32),
    }
