"""Frameworks that a test needs: imported, or the test is skipped with the reason.

Where DECAFFEINATE_REQUIRE names them, as the tox environments that install them do, their absence
is a failure.
"""

from __future__ import annotations

import importlib
import os
from types import ModuleType

import pytest

__all__ = ["require"]

_PART_OF = {"onnx": "onnx", "onnxruntime": "onnx", "torch": "pytorch", "mxnet": "mxnet"}


def require(package: str) -> ModuleType:
    """The package, imported."""
    try:
        return importlib.import_module(package)
    except Exception as error:  # MXNet fails with AttributeError under a newer NumPy
        wanted = os.environ.get("DECAFFEINATE_REQUIRE", "").replace(",", " ").split()
        reason = f"{package} cannot be imported: {error}"
        if _PART_OF.get(package, package) in wanted:
            pytest.fail(f"{reason}; this environment exists to run it", pytrace=False)
        pytest.skip(reason, allow_module_level=True)
