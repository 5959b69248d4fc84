"""`verify --artifact`: a file of another tool's making."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from decaffeinate.file_options import refuse_for_files
from decaffeinate.several import usage

if TYPE_CHECKING:
    from decaffeinate.loading import Loaded
    from verify.report import Report

__all__ = ["artifact_options", "refuse_beside", "run_artifact"]


def artifact_options(command: Callable[..., None]) -> Callable[..., None]:
    """The file of another tool's making; passed on as `artifact`, a dict of what
    `verify_artifact` takes, empty without one."""

    @click.option(
        "--artifact",
        type=click.Path(path_type=Path),
        metavar="FILE",
        help="Judge this file, which another tool made of NET, instead of a conversion: an ONNX "
        "file, a PyTorch module (TorchScript, a torch.export archive, or FILE.py or FILE.py::NAME, "
        "whose code is then run) or an MXNet symbol (-symbol.json).",
    )
    @click.option(
        "--artifact-weights",
        type=click.Path(path_type=Path),
        metavar="FILE",
        help="Parameters of --artifact, where they are in a file of their own.",
    )
    @click.option(
        "--map",
        "told",
        multiple=True,
        metavar="BLOB=NAME",
        help="What --artifact calls a blob of NET, where this is not found by itself; of an input "
        "BLOB=NAME:NHWC says how it is laid out. May be given several times.",
    )
    @functools.wraps(command)
    def with_options(
        *args: Any, artifact: Any, artifact_weights: Any, told: Any, **kwargs: Any
    ) -> None:
        chosen = {"artifact": artifact, "artifact_weights": artifact_weights, "map": told}
        given = artifact is not None or artifact_weights is not None or told
        command(*args, artifact=chosen if given else {}, **kwargs)

    return with_options


def refuse_beside(
    artifact: Mapping[str, Any], options: Mapping[str, object], writing: Mapping[str, object]
) -> None:
    """Options that have no meaning with --artifact, and those that have none without it.

    Args:
        artifact: what `artifact_options` passed on.
        options: others by name.
        writing: those of the conversion that there is not.

    Raises:
        UsageError: one of them is given.
    """
    if artifact["artifact"] is None:
        option = "--map" if artifact["map"] else "--artifact-weights"
        raise usage(f"{option} is given without --artifact", "the file that it is of")
    for option, value in options.items():
        if value:
            raise usage(f"{option} is given with --artifact", "one of them: the file is judged "
                        "as it is, in this process")  # fmt: skip
    refuse_for_files(writing, "--artifact")


def run_artifact(
    loaded: Loaded,
    artifact: Mapping[str, Any],
    arrays: Sequence[tuple[str, Path]],
    image: Path | None,
    mean: str | None,
    **checks: Any,
) -> Report:
    """Judge the file on the image and arrays that are given, or on noise."""
    from decaffeinate import api
    from decaffeinate.feeds import make_feeds

    feeds = make_feeds(loaded, dict(arrays), image, mean)
    return api.verify_artifact(loaded, feeds=feeds, **artifact, **checks)
