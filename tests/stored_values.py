"""Stored parameters as the nodes of a file read them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

__all__ = ["stored_values"]


def stored_values(stored: Mapping[str, np.ndarray], entry: Mapping[str, Any]) -> np.ndarray:
    """The array that an entry of the manifest names; of whole numbers, which have the type that it
    says, the product with its scale."""
    array = stored[entry["name"]]
    if "scale" not in entry:
        return array
    assert array.dtype.name == entry["dtype"]
    return array.astype(np.float32) * stored[entry["scale"]]
