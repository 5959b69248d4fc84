"""Which options about files have an effect: those of targets that are written, and none for files
that exist."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from prototxt.errors import UsageError

__all__ = ["refuse_for_files", "refuse_without_effect"]

_ONNX_ALONE = ("opset", "labels", "dtype", "preprocess")


def refuse_without_effect(
    options: Mapping[str, object], targets: Sequence[str], choose: str = "--to"
) -> None:
    """Refuse options about files that change nothing.

    Args:
        options: by the names that `decaffeinate.convert` gives them.
        targets: that are written.
        choose: the option that names targets.

    Raises:
        UsageError: one is given for a target that is not written, or for --preprocess without it.
    """
    given = _given(options)
    for name in ("mean", "scale"):
        if name in given and "preprocess" not in given:
            raise UsageError(f"--{name} is given without --preprocess",
                             expected="--preprocess, which it is for")  # fmt: skip
    for name in _ONNX_ALONE:
        if name in given and "onnx" not in targets:
            raise UsageError(f"--{name} is given, and ONNX is no target",
                             expected=f"{choose} onnx or {choose} all")  # fmt: skip
    if "flat" in given and not {"pytorch", "mxnet"} & {*targets}:
        raise UsageError("--flat is given, and neither PyTorch nor MXNet is a target",
                         expected=f"{choose} pytorch, {choose} mxnet or {choose} all")  # fmt: skip
    if given and not targets:
        raise UsageError(f"{_named(given)} given, and nothing is converted",
                         expected=f"a target, such as {choose} onnx")  # fmt: skip


def refuse_for_files(options: Mapping[str, object], files: str) -> None:
    """Refuse options about files where none are written: those of `files`, an option, are judged.

    Raises:
        UsageError: some are given; all are named.
    """
    given = _given(options)
    if given:
        raise UsageError(
            f"{_named(given)} given with {files}",
            expected="one of them: files that exist are judged as they are",
        )


def _given(options: Mapping[str, object]) -> list[str]:
    """The names of those that are not as they are by default."""
    return [
        name
        for name, value in options.items()
        if not (value is None or value is False or value == "float32")
        and not (isinstance(value, (list, tuple)) and not value)
    ]


def _named(given: Sequence[str]) -> str:
    words = ", ".join(f"--{name}" for name in given)
    return f"{words} {'is' if len(given) == 1 else 'are'}"
