"""The pytest plugin, in this process and in that of docs/examples/ci, a project that uses it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

import decaffeinate
from decaffeinate.pytest_plugin import assert_equivalent
from prototxt.errors import FileError, UsageError
from tests.frameworks import require
from tests.golden_cases import Case
from verify.report import Report

ROOT = Path(__file__).resolve().parents[2]
PLACE = Path(str(decaffeinate.__file__)).resolve().parents[1]
EXAMPLE = ROOT / "docs" / "examples" / "ci"
CASE = Case("nets/squeezenet_simple_bypass")
MODULE = "decaffeinate.pytest_plugin"


def run_pytest(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """pytest as the project's user calls it; an installation in place may be older than the entry
    point."""
    known = {entry.value for entry in metadata.entry_points(group="pytest11")}
    plugin = [] if MODULE in known else ["-p", MODULE]
    environment = {name: text for name, text in os.environ.items() if not name.startswith("PYTEST")}
    path = [str(PLACE), *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *plugin, *words],
        cwd=folder,
        env={**environment, "PYTHONPATH": os.pathsep.join(filter(None, path)), "COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return Path(shutil.copytree(EXAMPLE, tmp_path / "ci"))


def test_the_entry_point() -> None:
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert f'[project.entry-points.pytest11]\ndecaffeinate = "{MODULE}"\n' in text


def test_the_example_project(project: Path) -> None:
    require("onnxruntime")
    done = run_pytest(project, "-q")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "3 passed" in done.stdout


def test_the_example_project_with_a_changed_model(project: Path) -> None:
    require("onnxruntime")
    net = project / "models" / "digits.prototxt"
    net.write_text(net.read_text().replace("pool: MAX", "pool: AVE"))
    done = run_pytest(project, "-q")
    assert done.returncode == 1, done.stdout + done.stderr
    assert "1 failed, 2 passed" in done.stdout
    assert "AssertionError: NOT equivalent" in done.stdout
    message = [line for line in done.stdout.splitlines() if line.startswith("E  ")]
    assert any("onnx on noise (seed 0): pool1: " in line for line in message)
    assert any("its sha256 is not the manifest's" in line for line in message)
    (folder,) = (line.split("as a net of its own: ")[1] for line in message if "as a net" in line)
    assert Path(folder).parent.name == "repro"
    assert Path(folder).parent.parent.name.startswith("test_")
    assert "verify net.prototxt" in (Path(folder) / "README.txt").read_text(encoding="utf-8")
    assert not [line for line in done.stdout.splitlines() if "pytest_plugin.py" in line]


def test_the_examples_files_hold_no_foreign_path() -> None:
    for path in EXAMPLE.rglob("*"):
        if path.is_file():
            assert b"/root/" not in path.read_bytes()
            assert b"/tmp/" not in path.read_bytes()


def test_pytest_starts_with_nothing_heavy() -> None:
    code = (
        "import sys, pytest; before = set(sys.modules); import decaffeinate.pytest_plugin\n"
        "print(*sorted(name for name in set(sys.modules) - before))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True,
                          env={**os.environ, "PYTHONPATH": str(PLACE)})  # fmt: skip
    assert done.stdout.split() == ["decaffeinate", MODULE, "decaffeinate.version"]


def test_the_report_is_returned(tmp_path: Path) -> None:
    require("onnxruntime")
    done = decaffeinate.convert(CASE.net_path, CASE.weights_path, output=tmp_path)
    report = assert_equivalent(CASE.net_path, CASE.weights_path, manifest=done.manifest)
    assert [result.backend for result in report.results] == ["onnx"]
    report = assert_equivalent(CASE.net_path, CASE.weights_path, backends="onnx", seed=3)
    assert report.results[0].inputs == "noise (seed 3)"


def test_the_message_is_the_report(tmp_path: Path) -> None:
    require("onnxruntime")
    done = decaffeinate.convert(CASE.net_path, None, output=tmp_path, seed=1)
    with pytest.raises(AssertionError) as failed:
        assert_equivalent(CASE.net_path, CASE.weights_path, manifest=done.manifest)
    lines = str(failed.value).splitlines()
    assert lines[0] == "NOT equivalent"
    assert any(line.startswith("onnx on noise (seed 0): conv1@0: ") for line in lines)
    assert "\x1b" not in str(failed.value)
    assert "as a net of its own" not in str(failed.value)


def test_the_fixture_leaves_the_fault_where_it_is_told(
    assert_equivalent: Callable[..., Report], tmp_path: Path
) -> None:
    require("onnxruntime")
    done = decaffeinate.convert(CASE.net_path, None, output=tmp_path / "files", seed=1)
    words: dict[str, Any] = {"manifest": done.manifest}
    with pytest.raises(AssertionError, match=re.escape(str(tmp_path / "repro" / "repro-onnx"))):
        assert_equivalent(CASE.net_path, CASE.weights_path, **words)
    assert (tmp_path / "repro" / "repro-onnx" / "net.prototxt").exists()
    with pytest.raises(AssertionError):
        assert_equivalent(CASE.net_path, CASE.weights_path, **words, repro=tmp_path / "mine")
    assert (tmp_path / "mine" / "repro-onnx").is_dir()
    with pytest.raises(AssertionError) as failed:
        assert_equivalent(CASE.net_path, CASE.weights_path, **words, repro=None)
    assert "as a net of its own" not in str(failed.value)


def test_a_backend_that_cannot_run_is_no_skip(monkeypatch: pytest.MonkeyPatch) -> None:
    require("onnxruntime")
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(AssertionError, match=r"^NOT verified") as failed:
        assert_equivalent(CASE.net_path, CASE.weights_path, backends=["onnx"])
    assert "onnxruntime cannot be used" in str(failed.value)


def test_mistakes_are_said() -> None:
    with pytest.raises(FileError, match=r"none\.caffemodel"):
        assert_equivalent(CASE.net_path, "none.caffemodel")
    with pytest.raises(UsageError, match="mean"):
        assert_equivalent(CASE.net_path, CASE.weights_path, mean="0")
    with pytest.raises(TypeError, match="no_such_option"):
        assert_equivalent(CASE.net_path, CASE.weights_path, no_such_option=1)


def test_an_image(tmp_path: Path) -> None:
    require("onnxruntime")
    require("PIL")
    from PIL import Image

    Image.new("RGB", (40, 30), (200, 100, 50)).save(tmp_path / "orange.png")
    report = assert_equivalent(
        CASE.net_path, CASE.weights_path, backends=["onnx"], image=tmp_path / "orange.png", mean="0"
    )
    assert report.results[0].inputs == "orange.png"


def test_the_documentation_names_what_there_is() -> None:
    text = (ROOT / "docs" / "pytest.md").read_text(encoding="utf-8")
    listed = run_pytest(EXAMPLE, "--fixtures", "-q").stdout
    for name in ("assert_equivalent", "convert_net"):
        assert f"| `{name}` |" in text
        assert f"\n{name} -- " in listed
