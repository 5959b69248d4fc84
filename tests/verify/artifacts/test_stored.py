"""Parameters found in a file by their bits alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np

import decaffeinate
from tests.verify.artifacts.small_net import NET, loaded_of
from verify.artifacts.stored import stored_parameters
from verify.report import StoredParameters


def stored(loaded: decaffeinate.Loaded, arrays: dict[str, np.ndarray]) -> StoredParameters:
    return stored_parameters(loaded.net, loaded.parameters, arrays)


def test_parameters_in_any_shape_and_order_of_axes(tmp_path: Path) -> None:
    loaded = loaded_of(NET, tmp_path)
    owned = [array for _, array in loaded.parameters.owned()]
    plain = {str(i): array for i, array in enumerate(owned)}
    found = stored(loaded, plain)
    assert (found.stored, found.changed) == (found.source, ())
    assert found.memory_bytes == 4 * found.source == 4 * loaded.parameters.count
    turned = {name: np.ascontiguousarray(array.T) for name, array in plain.items()}
    assert stored(loaded, turned).changed == ()
    flat = {name: array.reshape(1, -1, 1) for name, array in plain.items()}
    assert stored(loaded, flat).changed == ()


def test_what_is_not_there_bit_for_bit_is_named(tmp_path: Path) -> None:
    loaded = loaded_of(NET, tmp_path)
    arrays = {str(i): array.copy() for i, (_, array) in enumerate(loaded.parameters.owned())}
    arrays["0"].flat[3] = np.nextafter(arrays["0"].flat[3], np.float32(9))
    # The same numbers, but not in an order that axes give.
    arrays["4"].flat[[0, 1]] = arrays["4"].flat[[1, 0]]
    arrays["5"] = arrays["5"].astype(np.float64)
    found = stored(loaded, arrays)
    assert found.changed == ("conv[0]", "fc[0]", "fc[1]")
    assert found.stored == found.source - arrays["0"].size - arrays["4"].size - arrays["5"].size
