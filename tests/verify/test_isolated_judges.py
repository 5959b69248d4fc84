"""Judges of the source in processes of their own, and in other interpreters."""

from __future__ import annotations

import ast
import os
import shlex
import sys
from pathlib import Path

import pytest

import decaffeinate
from tests.command_line import invoke
from tests.frameworks import require
from tests.golden_cases import Case
from verify.report import BackendResult
from verify.runners import caffe_process

CASE = Case("nets/squeezenet_simple_bypass")
ROOT = Path(__file__).resolve().parents[2]

pytestmark = pytest.mark.skipif(os.name == "nt", reason="Windows has no signals")

STUB = """
import sys
from tests.verify.pycaffe_stub import pycaffe
module = pycaffe()
module.__version__ = f"1.0.0 in {__import__('os').getpid()}"
sys.modules["caffe"] = module
"""
"""Our imitation of pycaffe, which needs our packages."""

ALONE = """
import numpy as np
TRAIN, TEST, __version__ = 0, 1, "alone"
class Blob:
    def __init__(self, *shape): self.data = np.zeros(shape, np.float32)
    def reshape(self, *shape): self.data = np.zeros(shape, np.float32)
class Net:
    _layer_names = ["data", "r"]
    def __init__(self, *given): self.blobs = {"data": Blob(2, 3), "r": Blob(2, 3)}
    def reshape(self): pass
    def _forward(self, start, end):
        if start: self.blobs["r"].data[...] = np.maximum(self.blobs["data"].data, 0)
def set_mode_cpu(): pass
"""
"""A pycaffe that knows one net, and imports nothing but NumPy."""

CRASHING = """
import os, sys
TRAIN, TEST = 0, 1
def set_mode_cpu(): pass
def Net(*given):
    print("F1122 11:31:07.123456 99 layer_factory.hpp:81] Check failed: Unknown type: Foo",
          "*** Check failure stack trace: ***", *["    @ 0x7f00 frame"] * 9, sep="\\n",
          file=sys.stderr, flush=True)
    os.abort()
"""
HANGING = "import time\nTRAIN, TEST = 0, 1\ndef set_mode_cpu(): time.sleep(600)\n"


@pytest.fixture
def provide(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of modules that processes can import, and this one cannot."""
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(folder), str(ROOT)]))
    return folder


def judged(backend: str, **options: object) -> BackendResult:
    report = decaffeinate.verify(CASE.net_path, CASE.weights_path, backends=[backend], **options)
    (result,) = report.results
    assert result.judge
    assert report.passed is result.passed
    return result


def told(result: BackendResult) -> list[object]:
    return [(row.blob, row.shape, row.kind, row.passed) for row in result.blobs]


def test_opencv_apart_says_the_same() -> None:
    require("cv2")
    here, there = judged("opencv"), judged("opencv", isolate=True)
    assert there.passed
    assert len(there.blobs) > 10
    assert 0 < max(row.ratio for row in there.blobs) <= 1
    assert told(there) == told(here)
    assert (there.version, there.notes) == (here.version, here.notes)


def test_opencv_may_have_an_interpreter_of_its_own() -> None:
    require("cv2")
    words = ["verify", CASE.net_path, CASE.weights_path, "--backend", "opencv"]
    done = invoke(*words, "--python", f"opencv={sys.executable}", "--timeout", "300")
    assert done.exit_code == 0, done.output
    done = invoke(*words, "--python", f"opencv={sys.executable}", "--timeout", "0.001")
    assert done.exit_code == 1, done.output
    assert "opencv gave no answer within 0.001 seconds, starting" in done.output
    assert invoke(*words, "--python", f"caffe={sys.executable}").exit_code == 2


def test_a_crash_of_opencv_is_a_failed_row(provide: Path) -> None:
    (provide / "cv2.py").write_text("import os; __version__ = '4.99'\nclass dnn:\n"
                                    "    readNetFromCaffe = staticmethod(lambda *f: os.abort())\n"
                                    "class utils:\n    class logging:\n"
                                    "        getLogLevel = staticmethod(lambda: 0)\n"
                                    "        setLogLevel = staticmethod(lambda level: None)\n"
                                    "class error(Exception): pass\n")  # fmt: skip
    result = judged("opencv", isolate=True)
    assert result.version == "OpenCV 4.99"
    assert not result.passed
    assert result.problem is not None
    assert result.problem.startswith("opencv: its process ended by SIGABRT (Aborted), in run()")


def test_a_hang_of_opencv_is_a_failed_row(provide: Path) -> None:
    (provide / "cv2.py").write_text("import time; time.sleep(600)\n")
    result = judged("opencv", isolate=True, timeout=2)
    assert result.problem is not None
    assert "gave no answer within 2 seconds, starting" in result.problem


def test_pycaffe_apart_says_the_same(provide: Path) -> None:
    (provide / "caffe.py").write_text(STUB)
    there = judged("caffe", isolate=True)
    assert there.passed
    assert there.version.startswith("Caffe 1.0.0 in ")
    assert there.version != f"Caffe 1.0.0 in {os.getpid()}"
    assert len(there.blobs) > 20
    assert 0 < max(row.ratio for row in there.blobs) <= 1


def test_pycaffe_needs_numpy_alone(
    provide: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An interpreter that sees no other package, nor ours."""
    import numpy

    place = Path(str(numpy.__file__)).parent
    for path in (place, *place.parent.glob("numpy.libs")):
        (provide / path.name).symlink_to(path)
    (provide / "caffe.py").write_text(ALONE)
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\nPYTHONPATH="{provide}" exec {sys.executable} -S "$@"\n')
    python.chmod(0o755)
    net = tmp_path / "net.prototxt"
    net.write_text('layer { name: "data" type: "Input" top: "data" '
                   "input_param { shape { dim: 2 dim: 3 } } }\n"
                   'layer { name: "r" type: "ReLU" bottom: "data" top: "r" }\n')  # fmt: skip
    done = invoke("verify", net, "--backend", "caffe", "--python", f"caffe={python}")
    assert done.exit_code == 0, done.output
    assert "Caffe alone" in done.output
    wrong = ALONE.replace("np.maximum(self.blobs", "np.abs(self.blobs").replace(
        ".data, 0)", ".data)"
    )
    (provide / "caffe.py").write_text(wrong)
    done = invoke("verify", net, "--backend", "caffe", "--python", f"caffe={python}", "--repro",
                  tmp_path / "repros")  # fmt: skip
    assert done.exit_code == 1, done.output
    assert 'first fault at layer "r"' in done.output
    folder = tmp_path / "repros" / "repro-caffe"
    assert f"that layer alone: {folder}" in done.output
    text = (folder / "README.txt").read_text(encoding="utf-8")
    assert "inputs/ what caffe fed it" in text
    assert "converts" not in text
    (command,) = (line for line in text.splitlines() if line.startswith("  verify "))
    monkeypatch.chdir(folder)
    again = invoke(*shlex.split(command))
    assert again.exit_code == 1, again.output
    assert 'first fault at layer "r"' in again.output


def test_the_program_is_one_for_old_interpreters() -> None:
    source = Path(caffe_process.__file__).read_text(encoding="utf-8")
    tree = ast.parse(source, feature_version=(3, 6))
    imports = [node for node in ast.walk(tree) if isinstance(node, (ast.Import, ast.ImportFrom))]
    found = {n.module if isinstance(n, ast.ImportFrom) else n.names[0].name for n in imports}
    assert found == {"json", "os", "sys", "threading", "queue", "typing", "numpy", "caffe"}


def test_what_caffe_refuses_is_its_own_words(provide: Path) -> None:
    (provide / "caffe.py").write_text(CRASHING)
    result = judged("caffe", isolate=True)
    assert result.problem is not None
    assert result.problem.splitlines()[:2] == [
        "caffe: its process ended by SIGABRT (Aborted), in run()",
        "  - F1122 11:31:07.123456 99 layer_factory.hpp:81] Check failed: Unknown type: Foo",
    ]


def test_a_hang_of_caffe_is_a_failed_row(provide: Path) -> None:
    (provide / "caffe.py").write_text(HANGING)
    result = judged("caffe", python={"caffe": sys.executable}, timeout=2)
    assert result.problem is not None
    assert "gave no answer within 2 seconds, in run()" in result.problem


@pytest.mark.parametrize(
    ("module", "message"),
    [
        ("raise ImportError('libcaffe.so.1: no such file')",
         "pycaffe cannot be used: ImportError: libcaffe.so.1: no such file"),
        ("def set_mode_cpu(): raise TypeError('odd')", "the backend failed: TypeError: odd"),
        ("TEST = 1\ndef set_mode_cpu(): pass\ndef Net(*given): raise RuntimeError('no file')",
         "Caffe cannot run this net: no file"),
    ],
)  # fmt: skip
def test_other_failures_are_told(provide: Path, module: str, message: str) -> None:
    (provide / "caffe.py").write_text(module)
    result = judged("caffe", isolate=True)
    assert not result.passed
    assert message in (result.problem or "")


def test_one_that_fails_does_not_end_the_others(provide: Path) -> None:
    require("onnxruntime")
    (provide / "caffe.py").write_text(CRASHING)
    done = invoke("verify", CASE.net_path, CASE.weights_path, "--backend", "caffe", "--backend",
                  "onnx", "--isolate")  # fmt: skip
    assert done.exit_code == 1, done.output
    assert "Check failed: Unknown type: Foo" in done.output
    assert "onnxruntime" in done.output
