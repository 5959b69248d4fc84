"""A backend's forward pass, and whatever else is asked of its files before anything is judged."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prototxt.errors import DecaffeinateError
from prototxt.net import Blob, Net
from verify.interface import interface_problem
from verify.isolation import Isolation
from verify.runners.mxnet import MXNetRunner
from verify.runners.onnxruntime import OnnxRuntimeRunner
from verify.runners.pytorch import PyTorchRunner
from verify.runners.runner import Conversion, Runner

__all__ = ["BACKENDS", "BESIDE", "OPTIMISED", "Failure", "Forward", "forward", "told"]

Inputs = Mapping[str, NDArray[np.float32]]
Blobs = dict[str, NDArray[np.float32]]

BACKENDS: dict[str, Callable[[Conversion], Runner]] = {
    "onnx": OnnxRuntimeRunner,
    "pytorch": PyTorchRunner,
    "mxnet": MXNetRunner,
}
"""The runner of each target's files."""

BESIDE = ("onnx",)
"""Backends that run while the reference does, in another thread: onnxruntime computes without
holding Python's lock, and minds no thread."""

OPTIMISED = "optimised"
"""What the report calls the outputs of the untouched file."""


@dataclass(frozen=True)
class Forward:
    """What a backend made of its files: every blob in one pass; the outputs of the untouched file
    and of further ones, by what these are; and what the files store."""

    version: str
    blobs: Blobs
    forms: Mapping[str, Blobs]
    stored: Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class Failure:
    """Why a backend made nothing."""

    problem: str
    version: str = ""


def forward(
    net: Net,
    names: Mapping[Blob, str],
    conversion: Conversion,
    isolation: Isolation,
    inputs: Inputs,
    backend: str,
) -> Forward | Failure:
    """Run a backend's files.  Its failure is a finding, whatever its framework raises."""
    try:
        runner = isolation.start(backend, BACKENDS[backend], conversion)
        problem = interface_problem(net, names, conversion, backend, runner)
        if problem is not None:
            return Failure(problem, runner.version())
        got = runner.run(inputs)
        forms = {OPTIMISED: runner.outputs(inputs), **runner.other_forms(inputs)}
        return Forward(runner.version(), got, forms, runner.parameters())
    except Exception as error:  # no crash of ours
        return Failure(told(error))


def told(error: Exception) -> str:
    """What the report says of an exception."""
    if isinstance(error, DecaffeinateError):
        return str(error)
    return f"the backend failed: {type(error).__name__}: {error}"
