"""An emitter is put together of a class a family of ops."""

from __future__ import annotations

from collections import Counter
from importlib import import_module

import pytest

from decaffeinate.conversion import TARGETS
from tests.frameworks import require


@pytest.mark.parametrize("target", TARGETS)
def test_no_family_takes_the_steps_of_another(target: str) -> None:
    """A private method of the same name in two of them is that of the first in both."""
    if target == "onnx":
        require("onnx")
    module, name = TARGETS[target]
    families = getattr(import_module(module), name).__mro__
    methods = Counter(
        method
        for family in families
        for method, value in vars(family).items()
        if callable(value) and method.startswith("_") and not method.startswith("__")
    )
    assert methods
    assert [method for method, count in methods.items() if count > 1] == []
