"""What tests need beside the package itself: imported, or the test is skipped with the reason.

Where DECAFFEINATE_REQUIRE names it, as the tox environments that install it do, its absence is a
failure, in whatever way a test would have skipped.
"""

from __future__ import annotations

import importlib
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from tests import real_models

__all__ = ["require", "required", "unmet"]

_ROOT = Path(__file__).resolve().parents[1]
_HUGE = 5 * 10**9
"""Bytes of disk for a file past 2 GiB and what it is made of."""
_PACKAGES = ("prototxt", "ir", "converters", "verify", "squeezenet_ref", "decaffeinate")


def _imports(*names: str) -> Callable[[], list[str]]:
    return lambda: [reason for name in names if (reason := _failure(name))]


def _failure(name: str) -> str | None:
    try:
        importlib.import_module(name)
    except Exception as error:  # MXNet fails with AttributeError under a newer NumPy
        return f"{name} cannot be imported: {error}"
    return None


def _installed() -> list[str]:
    modules = [importlib.import_module(name) for name in _PACKAGES]
    places = [Path(str(module.__file__)).resolve().parents[1] for module in modules]
    return [f"{m.__name__} is that of the source tree" for m, p in zip(modules, places, strict=True)
            if p == _ROOT]  # fmt: skip


def _models() -> list[str]:
    folders = (real_models.MODELS, real_models.GOLDENS)
    return [f"{folder} is absent" for folder in folders if not folder.is_dir()]


def _huge() -> list[str]:
    free = shutil.disk_usage(tempfile.gettempdir()).free
    return [] if free > _HUGE else [f"{free / 1e9:.1f} GB of disk are free, of {_HUGE / 1e9:.1f}"]


def _readers() -> list[str]:
    from tests.readers.reading import MISSING

    return [f"{name}: {reason}" for name, reason in MISSING.items()]


_REQUIREMENTS: dict[str, Callable[[], list[str]]] = {
    "onnx": _imports("onnx", "onnxruntime"),
    "pytorch": _imports("torch", "safetensors"),
    "mxnet": _imports("mxnet"),
    "image": _imports("PIL"),
    "opencv": _imports("cv2"),
    "readers": _readers,
    "huge": _huge,
    "installed": _installed,
    "models": _models,
}
"""What DECAFFEINATE_REQUIRE may name -> what is missing for it."""


def required() -> list[str]:
    """The names in DECAFFEINATE_REQUIRE.

    Raises:
        pytest.UsageError: one is unknown.
    """
    names = os.environ.get("DECAFFEINATE_REQUIRE", "").replace(",", " ").split()
    unknown = sorted(set(names) - set(_REQUIREMENTS))
    if unknown:
        known = ", ".join(_REQUIREMENTS)
        raise pytest.UsageError(f"DECAFFEINATE_REQUIRE names {', '.join(unknown)}, not of {known}")
    return names


def unmet() -> list[str]:
    """Why this environment cannot run what it exists to run; nothing where it can."""
    return [f"{name}: {reason}" for name in required() for reason in _REQUIREMENTS[name]()]


def require(package: str) -> ModuleType:
    """The package, imported; else the test is skipped.

    No test run gets so far where DECAFFEINATE_REQUIRE names the package: see conftest.py.
    """
    reason = _failure(package)
    if reason is not None:
        pytest.skip(reason, allow_module_level=True)
    return importlib.import_module(package)
