"""Options of `convert` about what is written: passes over the graph, and what ONNX files hold."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import click

__all__ = ["onnx_options", "refuse_without_onnx"]


def onnx_options(command: Callable[..., None]) -> Callable[..., None]:
    """These options; passed on by the names that `decaffeinate.convert` gives them."""

    @click.option(
        "--opset",
        type=int,
        help="ONNX operator set, 13 or later. Default: 26, the newest that the "
        "last three onnxruntime releases run.",
    )
    @click.option(
        "--labels",
        type=click.Path(path_type=Path),
        metavar="FILE",
        help="Names of the classes, one a line, class 0 first; they go into ONNX's metadata.",
    )
    @click.option(
        "--dtype",
        type=click.Choice(["float32", "float16"]),
        default="float32",
        show_default=True,
        help="Numbers that ONNX files store and compute in; inputs and outputs stay float32.",
    )
    @click.option(
        "--preprocess",
        is_flag=True,
        help="Embed the order of channels, the mean and the scale into ONNX files: they take an "
        "RGB image of bytes (N, H, W, 3). Mean and scale are those of the net's transform_param.",
    )
    @click.option(
        "--mean",
        metavar="B,G,R|FILE",
        help="For --preprocess, instead of the net's: numbers a channel, or a .binaryproto; 0 is "
        "none.",
    )
    @click.option(
        "--scale",
        type=float,
        help="For --preprocess, instead of the net's: a factor after the mean.",
    )
    @click.option(
        "--optimize",
        is_flag=True,
        help="Fold BatchNorm, Scale, Bias and Power into convolutions and inner products, merge "
        "chains of them, drop what no output needs: for all targets. What was done is printed.",
    )
    @functools.wraps(command)
    def with_options(*args: Any, **kwargs: Any) -> None:
        command(*args, **kwargs)

    return with_options


_NEED_ONNX = {
    "opset": "--opset",
    "labels": "--labels",
    "dtype": "--dtype",
    "preprocess": "--preprocess",
}


def refuse_without_onnx(given: Mapping[str, object], targets: Sequence[str]) -> None:
    """Refuse options that have no effect.

    Raises:
        UsageError: one is given, and ONNX is not among the targets; or what belongs to --preprocess
            is given without it.
    """
    from decaffeinate.several import usage

    for name in ("mean", "scale"):
        if given.get(name) is not None and not given.get("preprocess"):
            raise usage(f"--{name} is given without --preprocess", "--preprocess, which it is for")
    for name, option in _NEED_ONNX.items():
        if given.get(name) not in (None, False, "float32") and "onnx" not in targets:
            raise usage(f"{option} is given, and ONNX is no target", "--to onnx or --to all")
