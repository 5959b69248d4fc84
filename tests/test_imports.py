"""Imports point one way, and nothing is imported before it is needed.

CONTRIBUTING.md says why.
"""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.frameworks import require
from tests.golden_cases import Case

ROOT = Path(__file__).resolve().parents[1]

OURS = {
    "prototxt": set(),
    "ir": set(),
    "converters": {"prototxt", "ir"},
    "verify": {"prototxt"},
    "verify/reference": {"prototxt"},
    "squeezenet_ref": {"prototxt"},
    "decaffeinate": {"prototxt", "ir", "converters", "verify", "squeezenet_ref"},
}
"""Folder -> the packages of ours that it may import, beside itself."""

THEIRS = {
    "prototxt": {"numpy", "google", "h5py"},
    "ir": {"numpy"},
    "converters": {"numpy", "google"},
    **{
        f"converters/onnx{part}.py": {"numpy", "google", "onnx"}
        for part in (
            "",
            "_chains",
            "_detection",
            "_file",
            "_fixed",
            "_half",
            "_image",
            "_nodes",
            "_priors",
            "_roi",
            "_rounding",
            "_shapes",
            "_warp",
            "_windows",
        )
    },
    "verify": {"numpy"},
    "verify/reference": {"numpy"},
    "verify/html_page.py": {"jinja2"},
    "verify/html_report.py": {"numpy", "jinja2"},
    "verify/inputs.py": {"numpy", "PIL"},
    "verify/transformer.py": {"numpy", "PIL"},
    "squeezenet_ref": {"numpy", "google"},
    "decaffeinate": {"numpy", "click", "rich"},
    "decaffeinate/pytest_plugin.py": {"pytest"},
    "prototxt/generate.py": {"grpc_tools"},
}
"""Folder or file -> the packages of others that it may import anywhere; the longest match holds."""

LAZY = {
    "h5py",
    "jinja2",
    "PIL",
    "grpc_tools",
    "torch",
    "mxnet",
    "onnxruntime",
    "safetensors",
    "cv2",
    "caffe",
}
"""Never imported with a module, only where a function needs it."""

RUNNERS = {
    "verify/runners/onnxruntime.py": {"onnx", "onnxruntime"},
    "verify/runners/pytorch.py": {"torch", "safetensors"},
    "verify/runners/mxnet.py": {"mxnet"},
    "verify/runners/opencv.py": {"cv2"},
    "verify/runners/caffe_process.py": {"caffe"},
    "verify/artifacts/onnx.py": {"onnx", "onnxruntime"},
    "verify/artifacts/pytorch.py": {"torch"},
    "verify/artifacts/pytorch_source.py": {"safetensors"},
    "verify/artifacts/pytorch_outputs.py": {"torch"},
    "verify/artifacts/pytorch_trace.py": {"torch"},
}
"""The only files that import these; each does so by name, once its backend is asked for."""

SHARED = ("prototxt.shapes", "prototxt.shape_rules", "prototxt.geometry", "prototxt.parameters")
"""What the reference must not share with the converters: both would be wrong together."""


@dataclass(frozen=True)
class Import:
    """One import: the file, the module's full name, and whether it runs with the file."""

    file: str
    name: str
    at_once: bool

    @property
    def top(self) -> str:
        return self.name.partition(".")[0]

    def __str__(self) -> str:
        return f"{self.file} imports {self.name}"


def modules() -> list[Path]:
    return [
        path for package in OURS if "/" not in package for path in (ROOT / package).rglob("*.py")
    ]


def imports(path: Path) -> Iterator[Import]:
    file = path.relative_to(ROOT).as_posix()
    tree = ast.parse(path.read_text(encoding="utf-8"))
    late = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) or _typing(node)
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        for name in _imported(node, path):
            yield Import(file, name, id(node) not in late)


def _typing(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)


def _imported(node: ast.AST, path: Path) -> list[str]:
    match node:
        case ast.Import(names=names):
            return [alias.name for alias in names]
        case ast.ImportFrom(module=module, names=names, level=0):
            return [f"{module}.{alias.name}" for alias in names]
        case ast.ImportFrom(level=level):
            pytest.fail(f"{path}: a relative import, of level {level}")
        case ast.Call(func=ast.Name(id="import_module"), args=[ast.Constant(value=str(name))]):
            return [name]
    return []


ALL = [one for path in modules() for one in imports(path)]
STANDARD = sys.stdlib_module_names


def allowed(table: dict[str, set[str]], file: str) -> set[str]:
    """What the longest entry that `file` lies in says."""
    matches = [place for place in table if file == place or file.startswith(f"{place}/")]
    return table[max(matches, key=len)]


def test_there_is_something_to_check() -> None:
    assert len({one.file for one in ALL}) > 80
    assert {one.top for one in ALL} >= set(OURS) - {"verify/reference"}
    assert {one.top for one in ALL} >= {"numpy", "click", "rich", "onnx", "torch", "mxnet", "h5py"}


def test_our_packages_import_one_way() -> None:
    packages = {package for package in OURS if "/" not in package}
    wrong = [
        str(one)
        for one in ALL
        if one.top in packages - {one.file.partition("/")[0]} - allowed(OURS, one.file)
    ]
    assert not wrong


def test_nothing_imports_the_face() -> None:
    wrong = [
        str(one) for one in ALL if one.top == "decaffeinate" and one.file.split("/")[0] != one.top
    ]
    assert not wrong


def test_the_reference_shares_no_code_with_the_conversion() -> None:
    inside = [one for one in ALL if one.file.startswith("verify/reference/")]
    assert inside
    own = [one for one in inside if one.top == "verify"]
    wrong = [one for one in own if not one.name.startswith("verify.reference")]
    wrong += [one for one in inside if one.name.startswith(SHARED)]
    assert not [str(one) for one in wrong]


def test_foreign_packages_are_imported_where_they_may_be() -> None:
    ours = {package for package in OURS if "/" not in package}
    wrong = [
        str(one)
        for one in ALL
        if one.top not in ours | STANDARD
        and one.top not in allowed(THEIRS, one.file) | RUNNERS.get(one.file, set())
    ]
    assert not wrong


def test_what_is_heavy_is_imported_late() -> None:
    assert not [str(one) for one in ALL if one.at_once and one.top in LAZY]


BLOCKED = """
import sys
blocked = sys.argv[1].split(",")

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in blocked:
            raise ModuleNotFoundError(f"{name} is blocked here", name=name.partition(".")[0])

sys.meta_path.insert(0, Refuse())
sys.argv = ["convert", *sys.argv[2:]]
from decaffeinate.cli import convert_main
convert_main()
"""
FRAMEWORKS = ("torch", "mxnet", "onnx", "onnxruntime", "safetensors", "h5py", "PIL")
CASE = Case("nets/squeezenet")


def convert(
    folder: Path, blocked: tuple[str, ...], *targets: str
) -> subprocess.CompletedProcess[str]:
    arguments = [str(CASE.net_path), str(CASE.weights_path), "-o", str(folder)]
    arguments += [word for target in targets for word in ("--to", target)]
    paths = os.pathsep.join(path for path in sys.path if path)
    return subprocess.run(
        [sys.executable, "-c", BLOCKED, ",".join(blocked), *arguments],
        env={**os.environ, "PYTHONPATH": paths}, text=True, capture_output=True, check=False,
    )  # fmt: skip


def test_pytorch_and_mxnet_are_written_without_any_framework(tmp_path: Path) -> None:
    done = convert(tmp_path, FRAMEWORKS, "pytorch", "mxnet")
    assert done.returncode == 0, done.stderr
    assert len(list(tmp_path.iterdir())) == 6


def test_onnx_is_written_with_onnx_alone(tmp_path: Path) -> None:
    require("onnx")
    others = tuple(name for name in FRAMEWORKS if name != "onnx")
    done = convert(tmp_path, others, "onnx")
    assert done.returncode == 0, done.stderr


def test_writing_onnx_without_onnx_says_what_to_install(tmp_path: Path) -> None:
    done = convert(tmp_path, ("onnx",), "onnx")
    assert done.returncode == 2
    assert done.stderr.splitlines() == [
        'error: writing onnx needs the package "onnx"',
        "  to do: pip install 'decaffeinate[onnx]'",
    ]
    assert not list(tmp_path.iterdir())
