"""Options that say which net of a file is meant, and how it is read."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from decaffeinate.options import ParameterType

__all__ = ["InputShape", "net_options", "reading_options", "state_options"]


class InputShape(ParameterType):
    """BLOB=1,3,227,227."""

    name = "BLOB=N,..."

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The blob and its sizes."""
        if not isinstance(value, str):
            return value
        # A blob's name may hold "=", a shape may not.
        blob, equals, sizes = value.rpartition("=")
        try:
            shape = tuple(int(size) for size in sizes.lower().replace("x", ",").split(","))
        except ValueError:
            shape = ()
        if not equals or not blob or not shape or min(shape) < 1:
            self.fail(
                f'"{value}" is no input shape; give BLOB=1,3,227,227 with positive sizes',
                param,
                ctx,
            )
        return blob, shape


_SEED = click.option(
    "--seed",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="Seed of drawn parameters and of noise.",
)

_DETECTIONS = click.option(
    "--detections",
    type=click.Choice(["rows", "raw"]),
    default="rows",
    show_default=True,
    help="What an SSD net's DetectionOutput TOP gives: its rows; or, before anything is chosen, "
    "the corners TOP_boxes (N, priors, 4) and the scores TOP_scores (N, classes, priors).",
)

_STATE = (
    click.option(
        "--phase",
        type=click.Choice(["TEST", "TRAIN"], case_sensitive=False),
        default="TEST",
        show_default=True,
        help="Phase of the net.",
    ),
    click.option(
        "--stage",
        "stages",
        multiple=True,
        metavar="S",
        help="Stage of the net's state; may be given several times.",
    ),
    click.option(
        "--level", type=int, default=0, show_default=True, help="Level of the net's state."
    ),
    click.option(
        "--input-layers",
        type=click.Choice(["input", "error"]),
        default="input",
        show_default=True,
        help="What becomes of layers that read data from files: inputs of the net, or an error.",
    ),
    click.option(
        "--crop-offsets",
        type=click.Choice(["caffe", "fork"]),
        default="caffe",
        show_default=True,
        help="Where a Crop without a crop_param begins: at 0, as in Caffe 1.0, or where the forks "
        "of FCN and HED (2015) work out that its bottoms lie on each other.",
    ),
    click.option(
        "--strict",
        is_flag=True,
        help="Refuse what is noted else, all of it in one message: fields and layer types that are "
        "not known, shapes of data that are assumed, layers of the weights that are left out "
        "without it being known what for.",
    ),
    click.option(
        "--plugin",
        "plugins",
        type=click.Path(path_type=Path),
        multiple=True,
        metavar="FILE.py",
        help="Python file that registers layer types of your own; may be given several times.",
    ),
)


def net_options(command: Callable[..., None]) -> Callable[..., None]:
    """Options that say which net of the file is meant, what is drawn for it, and how to print;
    passed on as `load` takes them."""
    return reading_options(_SEED(_DETECTIONS(command)))


def reading_options(command: Callable[..., None]) -> Callable[..., None]:
    """The same without a seed, for commands that draw nothing."""

    @click.option(
        "--input-shape",
        "input_shapes",
        type=InputShape(),
        multiple=True,
        metavar="BLOB=1,3,227,227",
        help="Shape of an input, instead of the declared one; may be given several times.",
    )
    @click.option("--json", "as_json", is_flag=True, help="Print JSON.")
    @functools.wraps(command)
    def with_options(*args: Any, **kwargs: Any) -> None:
        kwargs["input_shapes"] = dict(kwargs["input_shapes"])
        command(*args, **kwargs)

    return state_options(with_options)


def state_options(command: Callable[..., None]) -> Callable[..., None]:
    """Those of them that go for however many nets: the state, data layers, plugins."""
    for option in reversed(_STATE):
        command = option(command)
    return command
