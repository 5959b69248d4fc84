"""The .params file: MXNet's bytes without MXNet."""

from __future__ import annotations

import struct
import tracemalloc
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from converters.mxnet_params import read_params, write_params
from prototxt.errors import FileError
from tests.frameworks import require

# What mx.nd.save of MXNet 1.9.1 wrote for {"arg:w": [[1, 2, 3]], "aux:v": [-0.5]}.
RECORDED = bytes.fromhex("""
    12010000000000000000000000000000
    0200000000000000
    c9fa93f900000000 02000000 01000000000000000300000000000000
    010000000000000000000000 0000803f0000004000004040
    c9fa93f900000000 01000000 0100000000000000
    010000000000000000000000 000000bf
    0200000000000000
    0500000000000000 6172673a77
    0500000000000000 6175783a76
""")


def arrays() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(5)
    return {
        'arg:conv/1 "é漢"_weight': rng.standard_normal((3, 2, 5, 7)).astype(np.float32),
        "arg:b": np.array([np.nan, np.inf, -0.0, 1e-45], np.float32),
        "aux:moving_mean": rng.standard_normal(11).astype(np.float32),
    }


def write(path: Path, named: Mapping[str, np.ndarray]) -> None:
    with path.open("wb") as file:
        write_params(file, named)


def test_recorded_bytes(tmp_path: Path) -> None:
    path = tmp_path / "p"
    write(path, {"arg:w": np.array([[1, 2, 3]], np.float32), "aux:v": np.array([-0.5], np.float32)})
    assert path.read_bytes() == RECORDED


@pytest.mark.parametrize("count", [0, 1, 3])
def test_bytes_are_those_of_mxnet(count: int, tmp_path: Path) -> None:
    mx = require("mxnet")
    some = dict(list(arrays().items())[:count])
    write(tmp_path / "ours", some)
    mx.nd.save(str(tmp_path / "theirs"), {key: mx.nd.array(array) for key, array in some.items()})
    assert (tmp_path / "ours").read_bytes() == (tmp_path / "theirs").read_bytes()


def test_read_back(tmp_path: Path) -> None:
    write(tmp_path / "p", arrays())
    got = read_params(tmp_path / "p")
    assert list(got) == list(arrays())
    for name, array in arrays().items():
        assert got[name].shape == array.shape
        assert got[name].tobytes() == array.tobytes()


def test_rank_0_is_stored_with_one_size(tmp_path: Path) -> None:
    write(tmp_path / "p", {"arg:s": np.float32(2.5).reshape(())})
    assert read_params(tmp_path / "p")["arg:s"].tolist() == [2.5]


def test_views_of_any_layout_are_written_by_value(tmp_path: Path) -> None:
    whole = np.arange(24, dtype=np.float32).reshape(4, 6)
    locked = whole.copy()
    locked.flags.writeable = False
    shifted = np.frombuffer(b"x" + whole.tobytes(), np.uint8)[1:].view("<f4").reshape(4, 6)
    views = {"arg:t": whole.T, "arg:s": whole[::2, 1::2], "arg:l": locked, "arg:u": shifted}
    write(tmp_path / "p", views)
    for name, array in read_params(tmp_path / "p").items():
        assert np.array_equal(array, views[name])


def test_large_arrays_are_not_copied(tmp_path: Path) -> None:
    large = {f"arg:{i}": np.zeros((1024, 1024), np.float32) for i in range(8)}
    tracemalloc.start()
    write(tmp_path / "p", large)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1 << 20
    assert (tmp_path / "p").stat().st_size > 8 << 22


@pytest.mark.parametrize(
    "damage",
    [lambda b: b"", lambda b: b[:-1], lambda b: b + b"\0", lambda b: b[:60],
     lambda b: b"PK" + b[2:], lambda b: b[:24] + struct.pack("<I", 0xF993FAC8) + b[28:],
     lambda b: b[:60] + b"\1" + b[61:], lambda b: b[:-1] + b"\xff"],
    ids=["empty", "short", "long", "cut", "other", "version_1", "float64", "name"],
)  # fmt: skip
def test_damage_is_named(damage, tmp_path: Path) -> None:
    path = tmp_path / "p"
    write(path, {"arg:w": np.zeros((2, 3), np.float32)})
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(FileError, match="no readable parameters"):
        read_params(path)
