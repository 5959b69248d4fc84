"""README says what is so: its commands run, its table and its transcript are what the code gives.

The set-up in front of the two commands is run by .ci/run, which takes them out of README.
"""

from __future__ import annotations

import configparser
import re
import subprocess
import sys
from pathlib import Path

import pytest

from ir.ops import PRIMITIVES
from tests import readme
from tests.frameworks import require

TEXT = readme.README.read_text(encoding="utf-8")
NETS = ("onnxruntime", "torch", "mxnet")


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The folder in which the first command was run, and what it printed."""
    for package in NETS:
        require(package)
    folder = tmp_path_factory.mktemp("readme")
    return folder, readme.transcript(folder)


def test_the_layer_table_is_current() -> None:
    require("onnx")
    from decaffeinate.layer_table import markdown

    assert readme.generated(TEXT, "layers") == markdown(), "run: python -m tests.readme update"


def test_the_transcript_is_what_the_first_command_prints(session: tuple[Path, str]) -> None:
    shown = readme.figures(readme.generated(TEXT, "transcript"))
    assert shown == readme.figures(session[1]), "run: python -m tests.readme update"
    assert shown[-2:] == ["equivalent", "```"]


def test_every_other_shell_example_runs(session: tuple[Path, str]) -> None:
    examples = [block.text for block in readme.blocks("sh") if block.heading != "Two commands"]
    assert examples
    for text in examples:
        readme.run(text, session[0])


def test_the_python_examples_run(session: tuple[Path, str]) -> None:
    examples = [block.text for block in readme.blocks("python")]
    assert len(examples) >= 4
    for text in examples:
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", text], cwd=session[0] / "demo", text=True,
            capture_output=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, f"{text}\n{done.stderr}"


def test_the_second_command_runs_environments_that_exist() -> None:
    (work,) = (part.split() for part in readme.own_work(2))
    tox = configparser.ConfigParser()
    tox.read(readme.ROOT / "tox.ini")
    known = tox["tox"]["env_list"].replace(",", " ").split()
    assert Path(work[0]).name == "tox"
    assert work[1] == "-e"
    assert set(work[2].split(",")) <= set(known)


@pytest.mark.parametrize("number", [1, 2])
def test_set_up_installs_what_the_constraints_pin(number: int) -> None:
    assert "pip install -c constraints.txt " in readme.command(number)
    assert (readme.ROOT / "constraints.txt").is_file()


def test_the_number_of_primitive_ops() -> None:
    assert f"{len(PRIMITIVES)} primitive operations" in TEXT


def test_exit_codes_are_those_of_the_help() -> None:
    from decaffeinate.cli import main

    epilog = main.epilog or ""
    assert "0 done (and equivalent, where verified), 1 different, 2 wrong usage or input" in epilog
    for code in ("| 0 |", "| 1 |", "| 2 |"):
        assert code in TEXT


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md", "CHANGELOG.md"])
def test_links_to_files_hold(name: str) -> None:
    text = (readme.ROOT / name).read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#:]+)\)", text):
        assert (readme.ROOT / target).exists(), target
