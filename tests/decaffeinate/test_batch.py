"""Jobs in processes: failures and deaths are kept apart, and threads are shared out."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from decaffeinate.batch import processors, run_jobs
from decaffeinate.jobs import ConvertJob
from decaffeinate.pairing import Found
from decaffeinate.worker import Outcome
from prototxt.atomic import output_folders
from prototxt.errors import FileError
from tests.decaffeinate.batch_jobs import Ending

ENDINGS = {
    "done": (0, None),
    "different": (1, None),
    "mistake": (2, "the net has no layers\n  to do: add one"),
    "bug": (2, "internal error: ZeroDivisionError: division by zero\nTraceback "),
    "memory": (2, "the memory of this machine does not suffice\n"),
    "exit": (
        2,
        """the process of this net ended without a result (exit code 7)
  - terminate called by the framework
  to do: """,
    ),
    "vanish": (2, "the process of this net ended without a result (exit code 0)\n"),
    "kill": (2, "the process of this net was ended by signal 9 (Killed)\n"),
}


class Heard:
    """What a listener hears, in order."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, int, object]] = []

    def started(self, index: int) -> None:
        self.lines.append(("started", index, None))

    def doing(self, index: int, text: str) -> None:
        self.lines.append(("doing", index, text))

    def ended(self, index: int, outcome: Outcome) -> None:
        self.lines.append(("ended", index, outcome.exit_code))


@pytest.mark.parametrize("processes", [1, 3])
def test_each_ending_is_told_and_the_others_go_on(processes: int, tmp_path: Path) -> None:
    heard = Heard()
    order = ["kill", "exit", "done", "bug", "memory", "vanish", "mistake", "different"]
    outcomes, interrupted = run_jobs([Ending(how, tmp_path) for how in order], processes, heard)
    assert not interrupted
    for how, outcome in zip(order, outcomes, strict=True):
        code, message = ENDINGS[how]
        assert outcome.exit_code == code
        assert outcome.error is None if message is None else outcome.error.startswith(message)
        assert (tmp_path / how / "cleaned").exists() == (how in ("kill", "exit", "vanish"))
    for index, how in enumerate(order):
        assert [line for line in heard.lines if line[1] == index] == [
            ("started", index, None),
            ("doing", index, f"about to be {how}"),
            ("ended", index, ENDINGS[how][0]),
        ]


def test_processes_are_used_again_and_share_the_processors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    run_jobs([Ending("done", tmp_path)] * 5, 2, Heard())
    threads = [path.read_text() for path in tmp_path.glob("pid-*")]
    assert 1 <= len(threads) <= 2
    assert set(threads) == {str(max(1, processors() // 2))}
    assert "OMP_NUM_THREADS" not in os.environ


def test_threads_that_the_user_has_set_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    run_jobs([Ending("done", tmp_path)], 1, Heard())
    assert [path.read_text() for path in tmp_path.glob("pid-*")] == ["3"]


def test_what_a_dead_conversion_leaves_is_removed_and_no_other_file(tmp_path: Path) -> None:
    part = ".0123abcd.part"
    mine = [".net.onnx", ".net-0000.params", ".net_gluon.py", ".net.manifest.json"]
    others = [".net2.onnx", ".net_2.py", ".other.onnx"]
    for name in [*mine, *others]:
        (tmp_path / (name + part)).write_text("")
    (tmp_path / "net.onnx").write_text("complete")
    job = ConvertJob(Found(Path("net.prototxt")), tmp_path, "net", ("onnx",), False, {}, {})
    job.clean_up()
    left = sorted(path.name for path in tmp_path.iterdir())
    assert left == sorted(["net.onnx", *(name + part for name in others)])


def test_folders_that_were_made_for_nothing_are_removed(tmp_path: Path) -> None:
    (tmp_path / "old").mkdir()
    with output_folders([tmp_path / "out" / "a", tmp_path / "out" / "b", tmp_path / "old"]):
        (tmp_path / "out" / "b" / "file").write_text("")
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["b", "file", "old", "out"]


def test_a_folder_that_cannot_be_made_is_a_mistake(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    folders = output_folders([tmp_path / "new", tmp_path / "file"])
    with pytest.raises(FileError, match="a file is where a folder is wanted"), folders:
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_folder_that_cannot_be_written_to_is_a_mistake(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path, data: bytes) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "write_bytes", refuse)
    folders = output_folders([tmp_path / "new"])
    with pytest.raises(FileError, match="Permission denied"), folders:
        pass
    assert not list(tmp_path.iterdir())


def test_a_folder_in_the_place_of_a_file_is_a_mistake(tmp_path: Path) -> None:
    (tmp_path / "report.json").mkdir()
    folders = output_folders([tmp_path], [tmp_path / "report.json"])
    with pytest.raises(FileError, match="there is a folder of that name"), folders:
        pass
