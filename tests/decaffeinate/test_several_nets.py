"""`convert` and `verify` of several nets and folders, end to end."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import Result

from prototxt.weights import LayerWeights, write_caffemodel
from tests.command_line import invoke
from tests.frameworks import require

ROOT = Path(__file__).parents[2]
TRAIN_ONLY = 'layer { name: "d" type: "Input" top: "d" include { phase: TRAIN } }\n'


def net(name: str, outputs: int = 2) -> str:
    return (
        f'name: "{name}"\n'
        'layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 1 dim: 3 } } }\n'
        'layer { name: "ip" type: "InnerProduct" bottom: "x" top: "y" inner_product_param { '
        f'num_output: {outputs} weight_filler {{ type: "xavier" }} }} }}\n'
    )


def weights(path: Path, outputs: int = 2) -> None:
    arrays = (np.ones((outputs, 3), np.float32), np.zeros(outputs, np.float32))
    write_caffemodel(path, "net", [LayerWeights("ip", "InnerProduct", arrays)])


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Three good nets, one without weights; one that fits no weights; one of another phase."""
    monkeypatch.chdir(tmp_path)
    for name, outputs in (("a", 2), ("b", 3), ("drawn", 4)):
        folder = Path("models", name)
        folder.mkdir(parents=True)
        (folder / "deploy.prototxt").write_text(net(name, outputs))
        if name != "drawn":
            weights(folder / "trained.caffemodel", outputs)
    Path("models/a/solver.prototxt").write_text('net: "deploy.prototxt"\n')
    Path("bad/misfit").mkdir(parents=True)
    Path("bad/misfit/net.prototxt").write_text(net("misfit", 5))
    weights(Path("bad/misfit/net_iter_1.caffemodel"), 7)
    Path("bad/train.prototxt").write_text(TRAIN_ONLY)
    return tmp_path


def files(folder: str) -> list[str]:
    return sorted(str(p.relative_to(folder)) for p in Path(folder).rglob("*") if p.is_file())


def tasks(result: Result) -> dict[str, dict[str, Any]]:
    return {task["net"]: task for task in json.loads(result.stdout)["tasks"]}


def test_a_folder_is_converted(models: Path) -> None:
    result = invoke("convert", "models", "--to", "pytorch", "-o", "out", "--jobs", 2)
    assert result.exit_code == 0, result.output
    assert files("out") == sorted(
        f"{name}/deploy.{ending}"
        for name in ("a", "b", "drawn")
        for ending in ("manifest.json", "py", "safetensors")
    )
    lines = result.stdout.splitlines()
    assert lines[0].split() == ["net", "weights", "parameters", "result", "seconds"]
    assert lines[1].split()[:7] == [
        "models/a/deploy.prototxt", "trained.caffemodel", "8", "3", "files:",
        "out/a/deploy*", lines[1].split()[-1],
    ]  # fmt: skip
    assert "drawn from the net's fillers (seed 0)" in lines[3]
    assert lines[4] == "3 nets: 3 done; passed over 1 text without layers, such as solvers"
    assert result.stderr == ""


def test_a_failure_does_not_stop_the_others(models: Path) -> None:
    result = invoke("convert", "bad", "models", "--to", "pytorch", "-o", "out", "--json")
    assert result.exit_code == 2
    done = tasks(result)
    assert [task["exit_code"] for task in done.values()] == [2, 2, 0, 0, 0]
    assert done["bad/train.prototxt"]["error"].startswith(
        "bad/train.prototxt: in phase TEST the net has no layers: its rules leave out every one\n"
    )
    misfit = done["bad/misfit/net.prototxt"]["error"].splitlines()
    assert misfit[0] == "bad/misfit/net.prototxt: no weights file beside this net fits it"
    assert misfit[1].startswith('  - net_iter_1.caffemodel: layer "ip": weight is (7, 3) in the ')
    assert done["models/b/deploy.prototxt"]["parameters"] == 12
    assert done["models/drawn/deploy.prototxt"]["drawn"] is True
    assert all(Path(file).exists() for task in done.values() for file in task.get("files", ()))
    assert len(files("out")) == 9
    assert json.loads(result.stdout)["passed_over"] == ["models/a/solver.prototxt"]


def test_errors_are_told_in_full_below_the_table(models: Path) -> None:
    result = invoke("convert", "bad", "models", "--to", "pytorch", "-o", "out")
    assert result.exit_code == 2
    rows = result.stdout.splitlines()
    assert "failed: no weights file beside this net fits it" in rows[1] + rows[2]
    assert rows[-1].startswith("5 nets: 3 done, 2 failed; passed over 1 text")
    assert "error: bad/misfit/net.prototxt: no weights file beside this net fits it\n" in (
        result.stderr
    )
    assert "\n  to do: name the pair, alone or beside the folder: " in result.stderr


def test_nothing_but_failures_writes_nothing(models: Path) -> None:
    result = invoke("convert", "bad", "--to", "pytorch", "-o", "out/below")
    assert result.exit_code == 2
    assert not Path("out").exists()


def test_an_output_that_is_a_file_is_refused_before_anything_runs(models: Path) -> None:
    Path("out").write_text("")
    result = invoke("convert", "models", "--to", "pytorch", "-o", "out")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "cannot be written: a file is where a folder is wanted" in result.stderr


def test_pairs_that_are_named(models: Path) -> None:
    """And a pair named beside the folder settles what the folder leaves open."""
    a, b = "models/a/deploy.prototxt", "models/b/deploy.prototxt"
    Path("models/b/x.caffemodel").write_bytes(Path("models/b/trained.caffemodel").read_bytes())
    args = ("--to", "pytorch", "-o", "out", "--json")
    result = invoke("convert", a, "models/a/trained.caffemodel", b, *args)
    assert result.exit_code == 0, result.output
    assert [task["drawn"] for task in tasks(result).values()] == [False, True]
    assert invoke("convert", "models", *args).exit_code == 2
    result = invoke("convert", "models", b, "models/b/x.caffemodel", *args)
    assert result.exit_code == 0, result.output
    assert tasks(result)[b]["weights"] == "models/b/x.caffemodel"


def test_options_reach_every_net(models: Path) -> None:
    result = invoke("convert", "models", "--to", "pytorch", "-o", "out", "--json", "--seed", 7,
                    "--input-shape", "x=5,3")  # fmt: skip
    assert result.exit_code == 0, result.output
    assert "(seed 7)" in tasks(result)["models/drawn/deploy.prototxt"]["weights"]
    for name in ("a", "b", "drawn"):
        manifest = json.loads(Path("out", name, "deploy.manifest.json").read_text())
        assert manifest["inputs"][0]["shape"] == [5, 3]


def test_a_folder_with_one_net_is_a_batch(models: Path) -> None:
    result = invoke("convert", "models/b", "--to", "pytorch", "-o", "out", "--json")
    assert result.exit_code == 0, result.output
    assert list(tasks(result)) == ["models/b/deploy.prototxt"]
    assert files("out") == ["deploy.manifest.json", "deploy.py", "deploy.safetensors"]


def test_the_same_files_as_one_by_one(models: Path) -> None:
    invoke("convert", "models", "--to", "pytorch", "--to", "mxnet", "-o", "out")
    for name in ("a", "b"):
        folder = Path("models", name)
        invoke("convert", folder / "deploy.prototxt", folder / "trained.caffemodel", "--to",
               "pytorch", "--to", "mxnet", "-o", Path("one") / name)  # fmt: skip
        for path in Path("one", name).iterdir():
            assert path.read_bytes() == Path("out", name, path.name).read_bytes()


def test_convert_and_verify_all_targets(models: Path) -> None:
    for package in ("onnxruntime", "torch", "mxnet"):
        require(package)
    result = invoke("convert", "models", "--to", "all", "-o", "out", "--verify", "--json")
    assert result.exit_code == 0, result.output
    for task in tasks(result).values():
        assert task["verdict"] == "equivalent"
        assert 0 <= task["worst"] < 1
        assert [row["backend"] for row in task["report"]["results"]] == ["onnx", "pytorch", "mxnet"]


def test_verify_writes_a_report_for_each(models: Path) -> None:
    require("onnxruntime")
    result = invoke("verify", "models", "--backend", "onnx", "--report", "reports")
    assert result.exit_code == 0, result.output
    assert files("reports") == [
        f"{n}/deploy/report.{kind}" for n in ("a", "b", "drawn") for kind in ("html", "json")
    ]
    assert all(json.loads(p.read_text())["passed"] for p in Path("reports").rglob("*.json"))
    assert all("equivalent, worst error " in line for line in result.stdout.splitlines()[1:4])


def test_a_difference_gives_1_and_a_failure_beside_it_2(models: Path) -> None:
    require("onnxruntime")
    args = ("--backend", "onnx", "--tolerance", 0, "--json")
    # Of so many drawn sums some are not exact in float32.
    Path("models/drawn/wide.prototxt").write_text(net("wide", 500))
    result = invoke("verify", "models/drawn", "models/a", *args)
    wide = tasks(result)["models/drawn/wide.prototxt"]
    assert wide["exit_code"] == 1
    assert wide["verdict"] == "NOT equivalent"
    assert tasks(result)["models/a/deploy.prototxt"]["exit_code"] in (0, 1)
    assert result.exit_code == 1
    assert (
        invoke("verify", "models/drawn/wide.prototxt", "bad/train.prototxt", *args).exit_code == 2
    )
    shown = invoke("verify", "models/drawn", *args[:-1])
    assert "different or not verified" in shown.stdout.splitlines()[-1]
    assert "values differ, the most by " in shown.stderr


def test_an_image_goes_to_every_net_that_takes_one(models: Path) -> None:
    require("onnxruntime")
    image = require("PIL.Image")
    image.fromarray(np.full((9, 9, 3), 70, np.uint8)).save("grey.png")
    Path("image.prototxt").write_text(net("image").replace("dim: 3", "dim: 3 dim: 5 dim: 5"))
    result = invoke("verify", "image.prototxt", "models/a/deploy.prototxt", "--backend", "onnx",
                    "--image", "grey.png", "--json")  # fmt: skip
    assert result.exit_code == 2
    taken, refused = tasks(result).values()
    assert taken["report"]["results"][0]["inputs"] == "grey.png"
    assert refused["error"].startswith("grey.png: no input of the net takes an image")


# --- the process itself ---------------------------------------------------------------------------


def start(*args: str, **settings: Any) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "decaffeinate", *args],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        **settings,
    )


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no process groups to signal")
@pytest.mark.parametrize("whole_group", [True, False])
def test_ctrl_c_leaves_no_half_written_file(whole_group: bool, models: Path) -> None:
    """Of a terminal, which all processes hear; and of a script, which one hears."""
    for index in range(300):
        Path("models/a", f"n{index}.prototxt").write_text(net(f"n{index}"))
    # A shell starts what it runs in the background with interrupts ignored, these tests too.
    heeded = partial(signal.signal, signal.SIGINT, signal.default_int_handler)
    process = start(
        "convert", "models", "--to", "pytorch", "-o", "out", "--jobs", "2", "--json",
        preexec_fn=heeded,
    )  # fmt: skip
    deadline = time.monotonic() + 60
    while not list(Path("out").rglob("*.manifest.json")) and time.monotonic() < deadline:
        time.sleep(0.01)
    if whole_group:
        os.killpg(process.pid, signal.SIGINT)
    else:
        process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "Traceback" not in err
    rows = json.loads(out)["tasks"]
    codes = [row["exit_code"] for row in rows]
    assert set(codes) <= {0, 130}
    assert 130 in codes
    assert [name for name in files("out") if name.endswith(".part")] == []
    for row in rows:
        assert all(Path(file).exists() for file in row.get("files", ()))


def test_piped_output_is_plain_and_a_line_a_net(models: Path) -> None:
    out, err = start("convert", "models", "--to", "pytorch", "-o", "out").communicate(timeout=60)
    assert "\x1b" not in out + err
    assert len(out.splitlines()) == 5
    assert err == ""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no pseudo-terminals")
def test_a_terminal_shows_progress_and_a_table(models: Path) -> None:
    import pty

    ours, theirs = pty.openpty()
    done = subprocess.Popen(
        [sys.executable, "-m", "decaffeinate", "convert", "models", "bad", "--to", "pytorch",
         "-o", "out"],
        env={**os.environ, "PYTHONPATH": str(ROOT), "TERM": "xterm", "COLUMNS": "100"},
        stdout=theirs,
        stderr=theirs,
    )  # fmt: skip
    os.close(theirs)
    seen = b""
    while True:
        try:
            part = os.read(ours, 65536)
        except OSError:  # Linux's way to say that the other end is closed
            break
        if not part:
            break
        seen += part
    os.close(ours)
    text = seen.decode()
    assert done.wait(60) == 2
    assert "0/5" in text
    assert "\x1b[31mfailed:" in text
    assert "5 nets: 3 done, 2 failed" in text
