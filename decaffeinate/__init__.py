"""Gets Caffe models out of Caffe, provably intact.

    import decaffeinate

    model = ("deploy.prototxt", "weights.caffemodel")
    result = decaffeinate.convert(*model, to=["onnx"], output="out")
    report = decaffeinate.verify(*model, backends=["onnx"])
    assert report.passed
    net = decaffeinate.load("deploy.prototxt")

Errors that a user can mend are `decaffeinate.DecaffeinateError`s; see `prototxt.errors` for the
tree.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from decaffeinate.version import __version__

if TYPE_CHECKING:
    from decaffeinate.api import (
        Conversion,
        Loaded,
        convert,
        from_caffe,
        load,
        to_caffe,
        verify,
        verify_artifact,
    )
    from prototxt.errors import DecaffeinateError

__all__ = [
    "Conversion",
    "DecaffeinateError",
    "Loaded",
    "__version__",
    "convert",
    "from_caffe",
    "load",
    "to_caffe",
    "verify",
    "verify_artifact",
]


def __getattr__(name: str) -> object:
    # Nothing heavy is imported before it is used: the command line's own start is measured.
    if name == "DecaffeinateError":
        from prototxt.errors import DecaffeinateError

        return DecaffeinateError
    if name in __all__:
        from decaffeinate import api

        return getattr(api, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
