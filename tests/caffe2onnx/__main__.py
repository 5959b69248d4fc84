"""Convert nets with caffe2onnx, find out which files are wrong, and whether the verification knows.

`python -m tests.caffe2onnx [--python PATH | --recorded] [--write] [--record]`: without --python, an
environment is made from requirements.txt with the python3.7 on PATH.  Exit code 1 where a verdict
is not the truth.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from tests.caffe2onnx.converting import PYTHON, Converted, convert, environment, record, recorded
from tests.caffe2onnx.judging import rows
from tests.caffe2onnx.table import counts, document, lines

DOCUMENT = Path(__file__).parents[2] / "docs" / "caffe2onnx.md"
MARK = "<!-- written by python -m tests.caffe2onnx --write -->\n"


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m tests.caffe2onnx", description=__doc__)
    parser.add_argument("--python", type=Path, help="a Python that has caffe2onnx")
    parser.add_argument("--recorded", action="store_true", help="judge the files that are kept")
    parser.add_argument("--write", action="store_true", help=f"write {DOCUMENT.name}")
    parser.add_argument("--record", action="store_true", help="keep the files of this run")
    parser.add_argument("--skip-without-python", action="store_true",
                        help=f"do nothing where there is no {PYTHON}")  # fmt: skip
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="caffe2onnx-") as folder:
        converted = recorded() if options.recorded else live(Path(folder), options.python)
        if converted is None:
            print(f"Skipped: no {PYTHON} on PATH, and caffe2onnx needs it; --recorded does without")
            return 0 if options.skip_without_python else 2
        if options.record:
            record(converted)
        judged = rows(converted, Path(folder))
    for line in lines(judged):
        print(line)
    print(counts(judged))
    if not options.recorded:
        print(compared(converted, recorded()))
    if options.write:
        text = DOCUMENT.read_text(encoding="utf-8").split(MARK)[0]
        made = text + MARK + "\n" + document(judged, converted.versions)
        DOCUMENT.write_text(made, encoding="utf-8")
    return 0 if all(row.agrees for row in judged) else 1


def live(folder: Path, python: Path | None) -> Converted | None:
    """What the converter makes of the nets now; None where there is no Python for it."""
    if python is None:
        python = environment(folder / "environment")
    nets = folder / "nets"
    nets.mkdir()
    return None if python is None else convert(python, nets)


def compared(now: Converted, kept: Converted) -> str:
    """Whether the files that are kept are those that the converter makes."""
    names = sorted({*now.files, *kept.files})
    other = [name for name in names if now.files.get(name) != kept.files.get(name)]
    if not other:
        return f"The {len(names)} files that are kept are those that were made."
    return f"Made differently from those that are kept: {', '.join(other)}"


sys.exit(main())
