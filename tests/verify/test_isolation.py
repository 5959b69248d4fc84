"""A backend in a process of its own: what it may do without harm, and that it computes the same."""

from __future__ import annotations

import gc
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import decaffeinate
from prototxt.errors import DecaffeinateError, FileError, UsageError
from tests.command_line import invoke
from tests.frameworks import require
from tests.golden_cases import Case, assert_matches
from tests.verify import fake_backends as fakes
from verify import forward
from verify.isolation import BackendError, Isolation
from verify.npz_messages import read_message, write_message
from verify.report import BackendResult
from verify.runners.runner import Conversion, read_conversion

CASE = Case("nets/squeezenet_simple_bypass")
ROOT = Path(__file__).resolve().parents[2]
X = {"x": np.arange(6, dtype=np.float32).reshape(2, 3)}

pytestmark = pytest.mark.skipif(os.name == "nt", reason="Windows has no signals")


@pytest.fixture(autouse=True)
def _apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The fakes can be imported there, and temporary folders are looked at."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))


def start(kind: Callable[[Conversion], Any], folder: Path, timeout: float = 60) -> Any:
    isolation = Isolation(everywhere=True, timeout=timeout)
    return isolation.start("fake", kind, Conversion(folder, {"targets": {"ü": [1]}}))


def failure(kind: Callable[[Conversion], Any], folder: Path, timeout: float = 60) -> str:
    with pytest.raises(BackendError) as error:
        start(kind, folder, timeout).run(X)
    return str(error.value)


def test_calls_are_passed_on(tmp_path: Path) -> None:
    runner = start(fakes.Fake, tmp_path)
    assert runner.version() != f"fake {os.getpid()}"
    assert runner.version() == runner.version()
    np.testing.assert_array_equal(runner.run(X)["x"], X["x"])
    assert runner.folder() == tmp_path
    assert not hasattr(runner, "other_method")
    assert runner.__class__.__name__ == "_IsolatedRunner"
    nothing = np.zeros((0, 3), np.float32)
    sent = (None, True, 1, 2.5, float("inf"), "a ü \x00", ["l", ("t",)], {"$": "array", "": {}})
    assert runner.anything(*sent) == sent
    scalar, empty, swapped = runner.anything(np.float32(3), nothing, X["x"].T)
    assert scalar.shape == ()
    assert empty.shape == (0, 3)
    np.testing.assert_array_equal(swapped, X["x"].T)


def test_a_message_is_a_plain_npz_file(tmp_path: Path) -> None:
    write_message(tmp_path / "m.npz", {"a": X["x"], "c": Conversion(tmp_path, {})})
    with np.load(tmp_path / "m.npz") as file:
        assert set(file.files) == {"message", "a0"}
    found = read_message(tmp_path / "m.npz")
    assert found["c"] == Conversion(tmp_path, {})
    for strange in (object(), {1: 2}, np.array([object()])):
        with pytest.raises(TypeError, match="cannot be sent"):
            write_message(tmp_path / "n.npz", strange)
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["m.npz"]


def test_nothing_stays(tmp_path: Path) -> None:
    runner = start(fakes.Fake, tmp_path)
    pid = int(runner.version().split()[1])
    assert len(list((tmp_path / "scratch").iterdir())) == 1
    runner.run(X)
    (folder,) = (tmp_path / "scratch").iterdir()
    assert not list(folder.glob("*.npz"))
    del runner
    gc.collect()
    assert not list((tmp_path / "scratch").iterdir())
    assert gone(pid)


def gone(pid: int) -> bool:
    """Whether a process has ended, at the latest in a moment."""
    for _ in range(100):
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        status = Path(f"/proc/{pid}/status")
        if status.is_file() and "\nState:\tZ" in status.read_text():
            return True
        time.sleep(0.05)
    return False


def test_a_crash_names_the_signal(tmp_path: Path) -> None:
    text = failure(fakes.Aborting, tmp_path)
    assert text.startswith("fake: its process ended by SIGABRT (Aborted), in run()")
    assert "fake_backends.py" in text
    assert failure(fakes.AtStart, tmp_path) == (
        "fake: its process ended by SIGKILL (Killed), starting"
    )
    assert failure(fakes.Leaving, tmp_path) == "fake: its process ended with exit code 7, in run()"
    assert failure(fakes.Exiting, tmp_path) == "the backend failed: SystemExit: 3"


def test_a_hang_is_ended_with_all_its_processes(tmp_path: Path) -> None:
    begun = time.monotonic()
    text = failure(fakes.Hanging, tmp_path, timeout=2)
    assert time.monotonic() - begun < 20
    assert text.splitlines() == [
        "fake gave no answer within 2 seconds, in run(); its process was ended",
        "  to do: allow more with --timeout SECONDS, if it is only slow",
    ]
    assert all(gone(int(pid)) for pid in (tmp_path / "pids").read_text().split())


def test_the_time_is_that_of_one_answer(tmp_path: Path) -> None:
    runner = start(fakes.Slow, tmp_path, timeout=20)
    begun = time.monotonic()
    for _ in range(2):
        runner.run(X)
    assert time.monotonic() - begun > 0.6


def test_output_is_no_answer(tmp_path: Path) -> None:
    runner = start(fakes.Loud, tmp_path)
    np.testing.assert_array_equal(runner.run(X)["x"], X["x"])


def test_errors_come_back_as_they_were(tmp_path: Path) -> None:
    runner = start(fakes.Raising, tmp_path)
    with pytest.raises(FileError) as error:
        runner.run(X)
    assert str(error.value).splitlines() == [
        'f:1: layer "l": no such thing', "  - d", "  expected: e", "  to do: h",
    ]  # fmt: skip
    with pytest.raises(
        BackendError, match=r"^the backend failed: ValueError: the framework's own$"
    ):
        runner.version()
    np.testing.assert_array_equal(runner.anything(1)[0], 1)
    assert "ImportError: libfoo.so.3" in failure(fakes.Unimportable, tmp_path)
    assert "an array of object cannot be sent" in failure(fakes.Strange, tmp_path)


def test_the_process_ends_with_its_caller(tmp_path: Path) -> None:
    code = (
        "import sys, os, time; from pathlib import Path\n"
        "from tests.verify import test_isolation as t, fake_backends as f\n"
        f"t.tempfile.tempdir = {str(tmp_path / 'scratch')!r}\n"
        f"runner = t.start(f.Fake, Path({str(tmp_path)!r}))\n"
        "print(runner.version().split()[1], flush=True); time.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True,
                          cwd=ROOT) as caller:  # fmt: skip
        assert caller.stdout is not None
        pid = int(caller.stdout.readline())
        caller.send_signal(signal.SIGKILL)
    assert gone(pid)
    assert not list((tmp_path / "scratch").iterdir())


@pytest.mark.parametrize("timeout", [0, -1, float("nan"), float("inf")])
def test_impossible_times(timeout: float) -> None:
    with pytest.raises(UsageError, match="timeout"):
        Isolation(timeout=timeout)


def test_an_interpreter_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no interpreter"):
        Isolation(python={"onnx": tmp_path / "python"})
    broken = tmp_path / "python"
    broken.write_text("#!/bin/sh\necho I am no Python >&2\nexit 9\n")
    broken.chmod(0o755)
    with pytest.raises(BackendError) as error:
        Isolation(python={"f": broken}).start("f", fakes.Fake, Conversion(tmp_path, {}))
    assert str(error.value).splitlines() == [
        "f: its process ended with exit code 9, starting",
        "  - I am no Python",
        "  expected: a Python from 3.10 on that has NumPy, protobuf and the framework: "
        + str(broken),
    ]


def test_another_interpreter_needs_nothing_of_ours(tmp_path: Path) -> None:
    """One that sees no installed package but NumPy and protobuf."""
    site = tmp_path / "site"
    (site / "google").mkdir(parents=True)
    import google.protobuf

    for package, place in (("numpy", site), ("google.protobuf", site / "google")):
        folder = Path(str(sys.modules[package].__file__)).parent
        (place / folder.name).symlink_to(folder)
        for libraries in folder.parent.glob(f"{folder.name}.libs"):
            (place / libraries.name).symlink_to(libraries)
    assert google.protobuf
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\nPYTHONPATH="$PYTHONPATH:{site}" exec {sys.executable} -S "$@"\n')
    python.chmod(0o755)
    isolation = Isolation(python={"f": python})
    runner = isolation.start("f", fakes.Fake, Conversion(tmp_path, {}))
    np.testing.assert_array_equal(runner.run(X)["x"], X["x"])


# --- in a verification ----------------------------------------------------------------------------


def test_a_failing_backend_is_a_failed_row(monkeypatch: pytest.MonkeyPatch) -> None:
    require("onnxruntime")
    monkeypatch.setitem(forward.BACKENDS, "pytorch", fakes.AtStart)
    loaded = decaffeinate.load(CASE.net_path, CASE.weights_path)
    report = decaffeinate.verify(loaded, backends=["pytorch", "onnx"], isolate=True, timeout=120)
    crashed, onnx = report.results
    assert crashed.problem is not None
    assert "SIGKILL" in crashed.problem
    assert onnx.passed
    assert onnx.version.startswith("onnxruntime ")
    assert report.exit_code == 1


def told(result: BackendResult) -> tuple[object, ...]:
    """What a verification says, less the errors: how a framework splits its sums among threads
    depends on its process."""
    blobs = [(row.blob, row.shape, row.kind, row.passed) for row in result.blobs]
    return result.backend, result.inputs, result.version, blobs, result.parity


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The interpreters that were started, while the test runs."""
    found: list[str] = []
    popen = subprocess.Popen

    def counting(words: list[str], **options: Any) -> Any:
        found.append(words[0])
        return popen(words, **options)

    monkeypatch.setattr(subprocess, "Popen", counting)
    return found


@pytest.mark.parametrize(
    ("backend", "package"), [("onnx", "onnxruntime"), ("pytorch", "torch"), ("mxnet", "mxnet")]
)
def test_the_same_report(backend: str, package: str, started: list[str]) -> None:
    require(package)
    loaded = decaffeinate.load(CASE.net_path, CASE.weights_path)
    here = decaffeinate.verify(loaded, backends=[backend])
    assert sys.executable not in started
    there = decaffeinate.verify(loaded, backends=[backend], python={backend: sys.executable})
    assert started.count(sys.executable) == 1
    assert there.passed
    (mine,), (other,) = here.results, there.results
    assert told(other) == told(mine)
    assert len(other.blobs) > 20
    assert 0 < max(row.ratio for row in other.blobs) <= 1
    assert other.parity is not None
    assert other.parity.stored == loaded.parameters.count > 0


@pytest.mark.parametrize(
    ("backend", "package"), [("onnx", "onnxruntime"), ("pytorch", "torch"), ("mxnet", "mxnet")]
)
def test_the_same_values(backend: str, package: str, tmp_path: Path) -> None:
    require(package)
    done = decaffeinate.convert(CASE.net_path, CASE.weights_path, to=[backend], output=tmp_path)
    conversion, kind = read_conversion(done.manifest), forward.BACKENDS[backend]
    here = Isolation().start(backend, kind, conversion)
    there = Isolation(everywhere=True).start(backend, kind, conversion)
    for call in ("run", "outputs"):
        mine, other = (getattr(runner, call)(CASE.inputs()) for runner in (here, there))
        assert set(mine) == set(other)
        assert mine
        for name, array in mine.items():
            assert other[name].dtype == array.dtype
            assert_matches(other[name], array, 1e-5, name)
    stored = here.parameters()
    assert {n: a.tobytes() for n, a in there.parameters().items()} == {
        n: a.tobytes() for n, a in stored.items()
    }
    assert stored


def test_a_fault_shows_from_another_process_too(tmp_path: Path) -> None:
    onnx = require("onnx")
    require("onnxruntime")
    done = decaffeinate.convert(CASE.net_path, CASE.weights_path, output=tmp_path)
    model = onnx.load(str(done.files[0]))
    bias = next(t for t in model.graph.initializer if t.name == "conv1.bias")
    bias.CopyFrom(onnx.numpy_helper.from_array(-onnx.numpy_helper.to_array(bias), "conv1.bias"))
    onnx.save(model, str(done.files[0]))
    report = decaffeinate.verify(done.loaded, backends=["onnx"], manifest=done.manifest,
                                 isolate=True)  # fmt: skip
    (result,) = report.results
    assert result.first_fault is not None
    assert result.first_fault.layer == "conv1"
    assert result.parity is not None
    assert not result.parity.passed


def test_the_command(tmp_path: Path) -> None:
    require("onnxruntime")
    words = [str(CASE.net_path), str(CASE.weights_path), "--backend", "onnx"]
    done = invoke("verify", *words, "--isolate", "--timeout", "100")
    assert done.exit_code == 0, done.output
    done = invoke("verify", *words, "--python", f"onnx={sys.executable}", "--timeout", "0.001")
    assert done.exit_code == 1, done.output
    assert "gave no answer within 0.001 seconds" in done.output
    for wrong in ("onnx", "=x", "caffe3=x", f"onnx={tmp_path}/none", f"mxnet={sys.executable}"):
        done = invoke("verify", *words, "--python", wrong)
        assert done.exit_code == 2, wrong
    assert invoke("verify", *words, "--timeout", "9").exit_code == 2


def test_several_nets(tmp_path: Path) -> None:
    require("onnxruntime")
    nets = []
    for name in "ab":
        nets.append(shutil.copy(CASE.net_path, tmp_path / f"{name}.prototxt"))
        nets.append(shutil.copy(str(CASE.weights_path), tmp_path / f"{name}.caffemodel"))
    done = invoke("verify", *nets, "--backend", "onnx", "--isolate", "--jobs", "1")
    assert done.exit_code == 0, done.output
    assert not list((tmp_path / "scratch").iterdir())


def test_no_conversion_is_touched_by_wrong_usage() -> None:
    with pytest.raises(DecaffeinateError, match="mxnet"):
        decaffeinate.verify(
            CASE.net_path, CASE.weights_path, backends=["onnx"], python={"mxnet": sys.executable}
        )
