"""What is the same for the files of all frameworks: feeding inputs, and errors put in one line."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prototxt.errors import UnsupportedError, UsageError
from verify.artifacts.trace import Port

__all__ = ["does_not_run", "fed", "one_line"]

_LONGEST = 400  # characters of a framework's message; the rest of such is the model's own dump


def fed(
    inputs: Mapping[str, NDArray[Any]], ports: Sequence[Port], path: Path
) -> dict[str, NDArray[Any]]:
    """The arrays, contiguous copies, in the types that the ports declare, in the ports' order.

    Raises:
        UsageError: one is missing, unknown or of another shape, or has values that the declared
            type has not.
    """
    names = [port.name for port in ports]
    wrong = [f'"{name}" is missing' for name in names if name not in inputs]
    wrong += [f'"{name}" is no input of the file' for name in inputs if name not in names]
    if wrong:
        raise UsageError(
            f"inputs that are not those of the file: {', '.join(wrong)}", where=str(path),
            expected=", ".join(f'"{name}"' for name in names) or "no inputs",
        )  # fmt: skip
    return {port.name: _converted(np.asarray(inputs[port.name]), port, path) for port in ports}


def _converted(array: NDArray[Any], port: Port, path: Path) -> NDArray[Any]:
    if port.shape is not None and not _fits(array.shape, port.shape):
        sizes = ", ".join("any" if size is None else str(size) for size in port.shape)
        raise UsageError(
            f'the input "{port.name}" is given the shape {array.shape}', where=str(path),
            expected=f"({sizes})", hint="a file made for one size, such as one image at a time, "
            "takes no other: give inputs of that size",
        )  # fmt: skip
    wanted = np.dtype(port.dtype)
    if wanted == array.dtype:
        return np.array(array, order="C")
    with np.errstate(over="ignore", invalid="ignore"):
        made = np.array(array, wanted, order="C")
    if wanted.kind == "f" or wanted.kind == "c":
        lost = int(np.count_nonzero(np.isfinite(array) & ~np.isfinite(made)))
        expected = f"values within the range of {wanted}"
    else:
        lost = int(np.count_nonzero(made.astype(np.float64) != array.astype(np.float64)))
        expected = f"whole numbers that {wanted} can hold" if wanted.kind != "b" else "0 or 1"
    if lost:
        raise UsageError(
            f'the input "{port.name}" is of type {wanted}, and {lost} of {array.size} given values '
            "are no such numbers",
            where=str(path), expected=expected,
            hint="give the input by --input BLOB=FILE.npy in values that the file can take",
        )  # fmt: skip
    return made


def _fits(shape: tuple[int, ...], wanted: tuple[int | None, ...]) -> bool:
    return len(shape) == len(wanted) and all(
        size in (None, given) for given, size in zip(shape, wanted, strict=True)
    )


def does_not_run(framework: str, path: Path, error: BaseException) -> UnsupportedError:
    """A file that was loaded but fails on the inputs."""
    return UnsupportedError(
        f"{framework} cannot run this file on the given inputs: {one_line(error)}",
        where=str(path),
        expected="a file that runs by itself",
        hint="check that its inputs have the sizes and the order of axes that it was made for "
        "(--map BLOB=NAME:NHWC says another order), and that it runs in its framework alone",
    )


def one_line(error: BaseException) -> str:
    """An exception's message, or its kind where it has none, in one line; of one that is mostly a
    traceback, as TorchScript's and MXNet's, its end."""
    text = str(error).strip()
    if "Traceback" in text:
        text = re.sub(r"^\w*Error: ", "", text.splitlines()[-1])
    text = " ".join(text.split()) or type(error).__name__
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."
