"""Running the converter under the Python that it needs, and what it gave when it was last run."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.caffe2onnx.nets import SUBJECTS, write

__all__ = ["RECORDED", "Converted", "convert", "environment", "record", "recorded"]

FOLDER = Path(__file__).parent
RECORDED = FOLDER / "recorded"
"""NAME.onnx, as the converter wrote them, and outcomes.json."""
PYTHON = "python3.7"
_SECONDS = 60
"""For one net; each takes well below one."""


@dataclass(frozen=True)
class Converted:
    """What the converter made of the nets: `files` by name, `refusals` (why there is no file) by
    name, and the `versions` of what it ran on."""

    files: dict[str, bytes]
    refusals: dict[str, str]
    versions: dict[str, str]


def environment(folder: Path) -> Path | None:
    """A new environment with the converter in it: its Python; None where there is no Python 3.7.

    Raises:
        RuntimeError: it cannot be set up.
    """
    python = _working()
    if python is None:
        return None
    # The pins of this project's own environments are not for this one.
    clean = {name: value for name, value in os.environ.items()
             if name not in ("PIP_CONSTRAINT", "PYTHONPATH", "PYTHONHOME")}  # fmt: skip
    made = folder / ("Scripts" if os.name == "nt" else "bin") / "python"
    for command in (
        [python, "-m", "venv", str(folder)],
        [str(made), "-m", "pip", "install", "--quiet", "-r", str(FOLDER / "requirements.txt")],
    ):
        done = subprocess.run(command, env=clean, check=False, text=True, capture_output=True)
        if done.returncode:
            raise RuntimeError(f"{' '.join(command)} failed: {done.stderr or done.stdout}")
    return made


def _working() -> str | None:
    """The first Python of that version on PATH that runs; pyenv's shims of others do not."""
    for folder in os.environ.get("PATH", "").split(os.pathsep):
        found = shutil.which(PYTHON, path=folder)
        if (
            found
            and not subprocess.run([found, "-c", ""], check=False, capture_output=True).returncode
        ):
            return found
    return None


def convert(python: Path, folder: Path) -> Converted:
    """Write the nets into the folder and convert each.

    Raises:
        RuntimeError: the converter cannot be run at all.
    """
    write(folder)
    done = subprocess.run(
        [str(python), str(FOLDER / "python37.py"), str(folder), str(_SECONDS)],
        env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
        check=False, text=True, capture_output=True,
    )  # fmt: skip
    if done.returncode:
        raise RuntimeError(f"{python} does not run the converter: {done.stderr}")
    said = json.loads(done.stdout)
    return _collected(folder, said["refusals"], said["versions"])


def record(converted: Converted) -> None:
    """Keep what a run gave, for environments without the converter."""
    RECORDED.mkdir(exist_ok=True)
    for old in RECORDED.glob("*.onnx"):
        old.unlink()
    for name, content in converted.files.items():
        (RECORDED / f"{name}.onnx").write_bytes(content)
    said = {"versions": converted.versions, "refusals": converted.refusals}
    (RECORDED / "outcomes.json").write_text(json.dumps(said, indent=1) + "\n", encoding="utf-8")


def recorded() -> Converted:
    """What was kept."""
    said = json.loads((RECORDED / "outcomes.json").read_text(encoding="utf-8"))
    return _collected(RECORDED, said["refusals"], said["versions"])


def _collected(folder: Path, refusals: dict[str, str], versions: dict[str, str]) -> Converted:
    names = [subject.stem for subject in SUBJECTS if subject.stem not in refusals]
    files = {name: (folder / f"{name}.onnx").read_bytes() for name in names}
    return Converted(files, refusals, versions)
