"""Options of `convert`, and of the conversion of `verify`, about what files compute, and how."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import click

__all__ = ["conversion_options", "mean_option"]


def mean_option(
    use: str, default: str = ""
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """The option --mean, which is for more things in one command than in the other."""
    return click.option(
        "--mean",
        metavar="B,G,R|FILE",
        help=f"{use}: numbers a channel, or a .binaryproto; 0 is none.{default}",
    )


_WRITING = (
    click.option(
        "--opset",
        type=int,
        help="ONNX operator set, 13 or later. Default: 26, the newest that the "
        "last three onnxruntime releases run.",
    ),
    click.option(
        "--dtype",
        type=click.Choice(["float32", "float16"]),
        default="float32",
        show_default=True,
        help="Numbers that ONNX files store and compute in; inputs and outputs stay float32.",
    ),
    click.option(
        "--preprocess",
        is_flag=True,
        help="Embed the order of channels, the mean and the scale into ONNX files: they take an "
        "RGB image of bytes (N, H, W, 3). Mean and scale are those of the net's transform_param.",
    ),
    click.option(
        "--scale",
        type=float,
        help="For --preprocess, instead of the net's: a factor after the mean.",
    ),
    click.option(
        "--optimize",
        is_flag=True,
        help="Fold BatchNorm, Scale, Bias and Power into convolutions and inner products, merge "
        "chains of them, drop what no output needs: for all targets. `convert` prints what was "
        "done.",
    ),
    click.option(
        "--flat",
        is_flag=True,
        help="Write PyTorch and Gluon layer by layer, without classes for what repeats.",
    ),
    click.option(
        "--dynamic",
        type=click.Choice(["batch", "spatial"]),
        multiple=True,
        help="Let the files take other batch sizes, or other heights and widths, than the net "
        "declares; may be given twice. A layer that fixes a size is named. Verified at three "
        "sizes.",
    ),
)
_NAMES = ("opset", "dtype", "preprocess", "scale", "optimize", "flat", "dynamic")


def conversion_options(command: Callable[..., None]) -> Callable[..., None]:
    """These options, but --mean; passed on as `writing`, a dict of what `decaffeinate.convert`
    takes."""

    @functools.wraps(command)
    def with_options(*args: Any, **kwargs: Any) -> None:
        writing = {name: kwargs.pop(name) for name in _NAMES}
        command(*args, writing=writing, **kwargs)

    for option in reversed(_WRITING):
        with_options = option(with_options)
    return with_options
