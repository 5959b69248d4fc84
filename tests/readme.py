"""README.md as data: its commands, its examples, and the parts of it that are generated.

python tests/readme.py command 1     print the first command of README; needs no package
python -m tests.readme update        write the generated parts anew, and docs/coverage.md; needs all
                                     targets
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

ROOT = Path(__file__).resolve().parents[1]
README = ROOT / "README.md"
SETUP = re.compile(r"python3\.11 -m venv \.venv &&\s+\.venv/bin/pip install [^&]*&&\s+")
"""What a command of README does before its own work."""


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, its text, the heading above it."""

    language: str
    text: str
    heading: str


def blocks(language: str, text: str | None = None) -> list[Block]:
    """The fenced blocks of README in a language, in order."""
    return [block for block in _blocks(text or _readme()) if block.language == language]


def _readme() -> str:
    return README.read_text(encoding="utf-8")


def _blocks(text: str) -> Iterator[Block]:
    heading, language, lines = "", None, list[str]()
    for line in text.splitlines():
        if language is None and line.startswith("#"):
            heading = line.lstrip("# ")
        elif language is None and line.startswith("```"):
            language, lines = line[3:], []
        elif language is not None and line == "```":
            yield Block(language, "\n".join(lines) + "\n", heading)
            language = None
        elif language is not None:
            lines.append(line)


def command(number: int) -> str:
    """The first or the second of the two commands."""
    two = [block.text for block in blocks("sh") if block.heading == "Two commands"]
    if len(two) != 2:
        raise ValueError(f"README has {len(two)} blocks under Two commands, not 2")
    return two[number - 1]


def own_work(number: int) -> list[str]:
    """The parts of one of the two commands after its set-up, each on one line."""
    rest, found = SETUP.subn("", command(number).replace("\\\n", ""))
    if found != 1:
        raise ValueError(f"README's command {number} does not begin with the set-up")
    return [" ".join(part.split()) for part in rest.split("&&")]


def run(text: str, folder: Path) -> str:
    """What a shell prints for commands of README, run in a folder.

    Raises:
        subprocess.CalledProcessError: one fails; what it printed is in `output`.
    """
    scripts = sysconfig.get_path("scripts")
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", text.replace(".venv/bin", scripts)],
        cwd=folder, env={**os.environ, "PATH": os.pathsep.join([scripts, os.environ["PATH"]])},
        check=True, stdin=subprocess.DEVNULL, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    return done.stdout


def generated(text: str, name: str) -> str:
    """The part of README between `<!-- NAME -->` and `<!-- end of NAME -->`."""
    return text.partition(f"<!-- {name} -->\n")[2].partition(f"<!-- end of {name} -->")[0]


def replaced(text: str, name: str, content: str) -> str:
    """README with that part replaced."""
    begin, end = f"<!-- {name} -->\n", f"<!-- end of {name} -->"
    head, found, rest = text.partition(begin)
    _, closed, tail = rest.partition(end)
    if not found or not closed:
        raise ValueError(f"README has no part {name}")
    return head + begin + content + end + tail


def transcript(folder: Path) -> str:
    """What README's first command prints after its set-up, as a block of README."""
    lines = []
    for one in own_work(1):
        output = run(one, folder)
        lines += [f"$ {one.replace('.venv/bin/', '')}", *map(str.rstrip, output.splitlines())]
    return "\n".join(["```console", *lines, "```"]) + "\n"


def figures(text: str) -> list[str]:
    """A transcript's lines less what differs between machines: rounding errors and versions."""
    number = r"[\d.e+-]+"
    errors = rf"\S+ +{number} / {number} = {number} +{number} "
    text = re.sub(rf"( \d+/\d+) +{errors}", r"\1 ROUNDING ", text)
    text = re.sub(r"most apart in \S+ \([^)]*\)", "ROUNDING", text)
    text = re.sub(r"(onnxruntime|torch|mxnet) [\d.]+(\+\w+)?", r"\1 VERSION", text)
    return [" ".join(line.split()) for line in text.splitlines()]


def _update() -> None:
    from decaffeinate.layer_table import markdown
    from tests.peers import pages

    text = replaced(_readme(), "layers", markdown())
    text = replaced(text, "coverage", pages.summary())
    pages.PAGE.write_text(pages.page(), encoding="utf-8", newline="\n")
    with TemporaryDirectory() as folder:
        text = replaced(text, "transcript", transcript(Path(folder)))
    README.write_text(text, encoding="utf-8", newline="\n")


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["command", ("1" | "2") as which]:
            print(command(int(which)), end="")
        case ["update"]:
            _update()
        case _:
            sys.exit(__doc__)
