"""docs/reports: the three renderings of a verification that passes and of one that fails.

python -m tests.report_docs update      write them anew; needs onnx, onnxruntime and torch
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from tests.golden_cases import Case

FOLDER = Path(__file__).resolve().parents[1] / "docs" / "reports"
NAMES = ("passing", "failing")
_CASE = Case("nets/squeezenet")
_FILES = ("squeezenet.prototxt", "squeezenet.caffemodel")
_BACKENDS = ("--backend", "onnx", "--backend", "pytorch")
_VARYING = ("version", "environment", "where", "text", "notes")
"""What differs from machine to machine, beside the numbers."""


def make(folder: Path) -> dict[str, dict[str, str]]:
    """Convert a net, verify it, spoil the ONNX file, verify it again: name -> ending -> text.

    The fault is one that converters do make: the padding of a 3x3 convolution all on one side.
    """
    shutil.copy(_CASE.net_path, folder / _FILES[0])
    shutil.copy(str(_CASE.weights_path), folder / _FILES[1])
    _run(folder, 0, "convert", *_FILES, "--to", "onnx", "--to", "pytorch", "-o", "converted")
    passing = _verify(folder, 0)
    _spoil(folder / "converted" / "squeezenet.onnx")
    return {"passing": passing, "failing": _verify(folder, 1)}


def _verify(folder: Path, code: int) -> dict[str, str]:
    text = _run(
        folder, code, "verify", *_FILES, *_BACKENDS,
        "--converted", "converted/squeezenet.manifest.json", "--report", "report",
    )  # fmt: skip
    content = json.loads((folder / "report" / "report.json").read_text(encoding="utf-8"))
    page = (folder / "report" / "report.html").read_text(encoding="utf-8")
    # Of the machine only what is no news to anyone.
    content["environment"].pop("platform", None)
    return {
        "txt": "\n".join(map(str.rstrip, text.splitlines())) + "\n",
        "json": json.dumps(content, indent=1) + "\n",
        "html": re.sub(r"<div><dt>platform</dt>.*?</div>", "", page),
    }


def _run(folder: Path, code: int, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "decaffeinate", *arguments],
        cwd=folder, env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
                         "OMP_NUM_THREADS": "1"},  # else rounding depends on the processors
        check=False, text=True, capture_output=True, encoding="utf-8",
    )  # fmt: skip
    if done.returncode != code:
        raise RuntimeError(f"{arguments} gave {done.returncode}: {done.stdout}{done.stderr}")
    return done.stdout


def _spoil(path: Path) -> None:
    import onnx

    model = onnx.load(str(path))
    pads = next(
        attribute
        for node in model.graph.node
        if node.op_type == "Conv"
        for attribute in node.attribute
        if attribute.name == "pads" and list(attribute.ints) == [1, 1, 1, 1]
    )
    pads.ints[:] = [0, 0, 2, 2]
    onnx.save(model, str(path))


def structure(content: Any, key: str = "") -> Any:
    """A report without its numbers, and without what differs from machine to machine."""
    if key in _VARYING:
        return None
    if key == "worst":  # in which blob two backends differ most is a matter of rounding
        return sorted(content)
    if isinstance(content, dict):
        return {name: structure(value, name) for name, value in content.items()}
    if isinstance(content, list):
        return [structure(value) for value in content]
    if isinstance(content, (int, float)) and not isinstance(content, bool):
        return 0
    return content


def without_maps(page: str) -> str:
    """A page without what report.json does not hold."""
    page = re.sub(r'<li><a href="#maps">.*?</li>', "", page)
    return re.sub(r'<section id="maps".*?</section>\n', "", page, flags=re.DOTALL)


def outline(text: str) -> list[str]:
    """The first word of each line, which is no number's place."""
    return [re.split(r"[\s:]", line.strip(), maxsplit=1)[0] for line in text.splitlines()]


def update() -> None:
    """Write the files."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        for name, texts in make(Path(folder)).items():
            for ending, text in texts.items():
                (FOLDER / f"{name}.{ending}").write_text(text, encoding="utf-8", newline="\n")


if __name__ == "__main__":
    if sys.argv[1:] != ["update"]:
        sys.exit(__doc__)
    update()
