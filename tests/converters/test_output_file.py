"""Files that are hashed while they are written: the same bytes, and their own hash."""

from __future__ import annotations

import hashlib
import resource
import signal
import threading
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from converters import output_file
from converters.output_file import HashedFile, bytes_of

LARGE = 3 * output_file._PIECE + 12345
"""Bytes: several pieces, the last of them shorter."""


def random_bytes(size: int, seed: int = 0) -> bytes:
    return np.random.default_rng(seed).bytes(size)


@pytest.mark.parametrize(
    "sizes",
    [
        [],
        [0],
        [1],
        [output_file._SMALL],
        [output_file._SMALL + 1],
        [output_file._SMALL - 1, 1, 1],
        [output_file._PIECE, 0, output_file._PIECE + 1],
        [7, LARGE, 5, 0, 70_000, LARGE, 3],
        [100] * 5000,
    ],
    ids=str,
)
def test_bytes_size_and_hash(sizes: list[int], tmp_path: Path) -> None:
    parts = [random_bytes(size, seed) for seed, size in enumerate(sizes)]
    whole = b"".join(parts)
    with HashedFile(tmp_path / "part") as file:
        for part in parts:
            file.write(part)
    assert (tmp_path / "part").read_bytes() == whole
    assert file.entry("final") == {
        "name": "final",
        "bytes": len(whole),
        "sha256": hashlib.sha256(whole).hexdigest(),
    }


def test_arrays_of_any_layout_are_written_by_value(tmp_path: Path) -> None:
    whole = np.arange(24, dtype=np.float32).reshape(4, 6)
    arrays = [whole, whole.T, whole[::2, 1::2], whole.astype(">f4"), whole[:0], whole[1, 1],
              np.arange(5, dtype=np.int64)]  # fmt: skip
    with HashedFile(tmp_path / "part") as file:
        for array in arrays:
            file.write(bytes_of(array))
    expected = b"".join(array.astype(array.dtype.newbyteorder("<")).tobytes() for array in arrays)
    assert (tmp_path / "part").read_bytes() == expected


def test_values_are_not_copied() -> None:
    array = np.zeros((3, 5), np.float32)
    assert np.shares_memory(np.frombuffer(bytes_of(array), np.uint8), array)


def test_a_temporary_array_lives_until_it_is_hashed(tmp_path: Path) -> None:
    expected = hashlib.sha256()
    with HashedFile(tmp_path / "part") as file:
        for seed in range(6):
            array = np.random.default_rng(seed).standard_normal(1_500_000).astype(np.float32)
            expected.update(array.tobytes())
            file.write(bytes_of(array))
            del array
    assert file.entry("part")["sha256"] == expected.hexdigest()


def test_writes_that_take_less_than_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The system may write less than it is given, and 2 GiB at most."""

    class Reluctant:
        def __init__(self) -> None:
            self.taken = bytearray()

        def __enter__(self) -> Reluctant:
            return self

        def __exit__(self, *_: object) -> None:
            pass

        def write(self, data: memoryview) -> int:
            self.taken += data[:1_000_003]
            return min(len(data), 1_000_003)

    slow = Reluctant()
    monkeypatch.setattr(Path, "open", lambda *_, **__: slow)
    content = random_bytes(LARGE)
    with HashedFile(tmp_path / "part") as file:
        file.write(content)
    assert slow.taken == content
    entry = file.entry("part")
    assert entry["bytes"] == LARGE
    assert entry["sha256"] == hashlib.sha256(content).hexdigest()


def test_a_full_disk_is_an_error_and_ends_the_thread(tmp_path: Path) -> None:
    before = threading.active_count()
    limit, most = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2 * output_file._PIECE, most))
    try:
        with pytest.raises(OSError, match="File too large"), HashedFile(tmp_path / "part") as file:
            file.write(random_bytes(LARGE))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, most))
        signal.signal(signal.SIGXFSZ, ignored)
    assert threading.active_count() == before


def test_an_interrupt_passes_through_and_ends_the_thread(tmp_path: Path) -> None:
    before = threading.active_count()

    def interrupted() -> None:
        with HashedFile(tmp_path / "part") as file:
            file.write(random_bytes(LARGE))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert threading.active_count() == before


def test_a_hash_that_fails_is_no_success(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def update(_: memoryview) -> None:
        raise MemoryError

    digest = SimpleNamespace(update=update)
    monkeypatch.setattr(output_file, "hashlib", SimpleNamespace(sha256=lambda: digest))
    with pytest.raises(MemoryError), HashedFile(tmp_path / "part") as file:
        file.write(b"few")
