"""What is printed can be printed, whatever the terminal's encoding."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path


def test_names_that_the_terminal_cannot_show(tmp_path: Path) -> None:
    path = tmp_path / "caf\u00e9.prototxt"
    path.write_text(
        'name: "n\u00e9t" input: "x" input_dim: 1 input_dim: 1 input_dim: 2 input_dim: 2\n'
        'layer { name: "\u5c42" type: "ReLU" bottom: "x" top: "y" }',
        encoding="utf-8",
    )
    done = subprocess.run(
        [sys.executable, "-m", "decaffeinate", "inspect", str(path)],
        env={
            **os.environ,
            "PYTHONIOENCODING": "ascii",
            "PYTHONPATH": str(Path(__file__).parents[2]),
        },
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert b"n\\xe9t" in done.stdout
    assert b"\\u5c42" in done.stdout
