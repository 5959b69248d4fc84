"""A user's mistakes, end to end: the exact message, exit code 2, nothing written, no traceback."""

from __future__ import annotations

import resource
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

from converters.emitter import Artifact
from converters.output_file import HashedFile, Output
from prototxt.errors import FileError
from tests.command_line import invoke
from tests.frameworks import require
from tests.golden_cases import Case
from tests.message_cases import read_cases

CASE = Case("nets/squeezenet")
HTML = "<!DOCTYPE html>\n<html><head><title>net.prototxt at master</title>"
LFS = "version https://git-lfs.github.com/spec/v1\noid sha256:1f2e\nsize 5183224\n"
OTHER = """name: "other"
layer { name: "d" type: "Input" top: "d" input_param { shape { dim: 1 dim: 3 dim: 9 dim: 9 } } }
layer { name: "conv_1" type: "Convolution" bottom: "d" top: "c"
        convolution_param { num_output: 2 kernel_size: 3 } }
layer { name: "conv1" type: "Convolution" bottom: "d" top: "e"
        convolution_param { num_output: 2 kernel_size: 3 } }
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with a good net, its weights, and every kind of bad file."""
    monkeypatch.chdir(tmp_path)
    shutil.copy(CASE.net_path, "net.prototxt")
    shutil.copy(CASE.weights_path or "", "net.caffemodel")
    for name, text in {
        "empty": "",
        "page": HTML,
        "pointer": LFS,
        "file": "x",
        "text.npy": "hello",
        "text.jpg": "hello",
        "other.prototxt": OTHER,
    }.items():
        Path(name).write_text(text, encoding="utf-8")
    Path("folder").mkdir()
    np.save("small.npy", np.zeros((1, 3, 5, 5), np.float32))
    np.save("words.npy", np.array(["a", "b"]))
    values = np.zeros((2, 3, 51, 51))
    values[1, 2, 3, :2] = np.nan, 1e39
    np.save("nan.npy", values)
    with h5py.File("weights.h5", "w") as file:
        file.create_group("data")
    return tmp_path


def listing(folder: Path) -> dict[str, bytes | None]:
    found = sorted(folder.rglob("*"))
    return {str(p.relative_to(folder)): p.read_bytes() if p.is_file() else None for p in found}


def refused(folder: Path, *args: str) -> str:
    """What the command says on standard error, having changed nothing."""
    before = listing(folder)
    result = invoke(*args)
    assert isinstance(result.exception, SystemExit), result.exception
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    assert listing(folder) == before
    return result.stderr.rstrip("\n")


MISTAKES = {case.title: case for case in read_cases(Path(__file__).with_name("mistakes.cases"))}


@pytest.mark.parametrize("title", MISTAKES)
def test_mistakes(title: str, folder: Path) -> None:
    """In `mistakes.cases` the text is the command's arguments, one a line."""
    arguments = MISTAKES[title].text.splitlines()
    if "--image" in arguments:
        require("PIL")
    assert refused(folder, *arguments) == MISTAKES[title].message


@pytest.mark.parametrize(
    "option", ["--phase=DEPLOY", "--opset=new", "--level=x", "--seed=-1", "--no-such-option"]
)
def test_options_that_click_refuses(option: str, folder: Path) -> None:
    """In click's own words, which differ from release to release, but name the option."""
    assert option.partition("=")[0] in refused(folder, "convert", "net.prototxt", option)


@pytest.mark.parametrize("opset", [-1, 3, 12, 999])
def test_an_opset_that_cannot_be_written(opset: int, folder: Path) -> None:
    onnx = require("onnx")
    newest = onnx.defs.onnx_opset_version()
    message = refused(folder, "convert", "net.prototxt", "--to", "all", "--opset", str(opset))
    assert message == (
        f"error: opset {opset} cannot be written\n"
        f"  expected: 13 to {newest} with the installed onnx {onnx.__version__}"
    )


NETS = {
    case.title: case
    for name in ("text", "nets", "shapes")
    for case in read_cases(Path(__file__).parent / "prototxt" / f"refused_{name}.cases")
}


@pytest.mark.parametrize("title", NETS)
def test_refused_definitions(title: str, folder: Path) -> None:
    Path("net.prototxt").write_text(NETS[title].text, encoding="utf-8")
    message = refused(folder, "convert", "net.prototxt", "--to", "all", "-o", "out")
    if title in ("no inputs", "dangling", "cycle", "unknown types", "quote forgotten", "solver"):
        assert message == f"error: {NETS[title].message}"
    assert message.startswith("error: net.prototxt:")


# --- weights --------------------------------------------------------------------------------------


@pytest.mark.parametrize("share", [0.0001, 0.01, 0.1, 0.25, 0.5, 0.9, 0.99, 0.9999])
def test_truncated_weights(share: float, folder: Path) -> None:
    whole = Path("net.caffemodel").read_bytes()
    size = int(len(whole) * share)
    Path("cut.caffemodel").write_bytes(whole[:size])
    lines = refused(folder, "convert", "net.prototxt", "cut.caffemodel").splitlines()
    assert lines[0].startswith("error: cut.caffemodel: damaged at byte ")
    assert lines[1:] == [
        "  expected: a complete file",
        f"  to do: the file has {size} bytes here; get it again and compare size or checksum",
    ]


def test_one_byte_less(folder: Path) -> None:
    whole = Path("net.caffemodel").read_bytes()
    Path("cut.caffemodel").write_bytes(whole[:-1])
    message = refused(folder, "convert", "net.prototxt", "cut.caffemodel")
    assert message.startswith("error: cut.caffemodel: damaged at byte 63682: field 100 needs 31 ")


def test_damaged_weights_give_no_traceback(folder: Path) -> None:
    whole = Path("net.caffemodel").read_bytes()
    generator = np.random.default_rng(0)
    for _ in range(60):
        damaged = bytearray(whole)
        # Where the structure is, not the numbers: the first bytes of a layer.
        starts = [i for i in range(len(whole)) if whole.startswith(b"\xa2\x06", i)]
        at = int(generator.choice(starts)) + int(generator.integers(0, 60))
        damaged[min(at, len(whole) - 1)] = int(generator.integers(0, 256))
        Path("damaged.caffemodel").write_bytes(damaged)
        result = invoke(
            "convert", "net.prototxt", "damaged.caffemodel", "--to", "mxnet", "-o", "out"
        )
        assert result.exit_code in (0, 2), result.exception
        assert result.exit_code == 0 or result.stderr.startswith("error: ")


# --- all or nothing -------------------------------------------------------------------------------


def failing(artifact: Artifact) -> Callable[[Output], None]:
    def write(file: Output) -> None:
        artifact.content(file)
        raise OSError(28, "No space left on device")

    return write


@pytest.mark.parametrize("which", range(5))
def test_a_write_that_fails_leaves_no_file_of_any_target(
    which: int, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Files of an earlier conversion stay as they were, to the byte."""
    from decaffeinate import conversion

    args = ("convert", "net.prototxt", "net.caffemodel", "--to", "pytorch", "--to", "mxnet")
    assert invoke(*args, "-o", "out").exit_code == 0
    original = conversion._emitter
    seen: list[str] = []

    def emitter(*settings: object) -> object:
        made = original(*settings)  # type: ignore[arg-type]
        emit = made.emit

        def emit_failing() -> list[Artifact]:
            artifacts = []
            for artifact in emit():
                fails = len(seen) == which
                seen.append(artifact.name)
                artifacts.append(Artifact(artifact.name, failing(artifact)) if fails else artifact)
            return artifacts

        made.emit = emit_failing
        return made

    monkeypatch.setattr(conversion, "_emitter", emitter)
    for output in ("out", "new"):
        seen.clear()
        message = refused(folder, *args, "--seed", "1", "-o", output)
        assert len(seen) == 5
        assert message == (
            f"error: {output}: cannot be written: No space left on device\n"
            "  to do: check that the folder may be written to and has room, or choose another"
        )
    assert not Path("new").exists()


def test_a_program_error_leaves_no_file_either(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from decaffeinate import conversion

    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(conversion, "target_entry", interrupted)
    before = listing(folder)
    result = invoke("convert", "net.prototxt", "net.caffemodel", "--to", "mxnet", "-o", "out")
    assert result.exit_code != 0
    assert listing(folder) == before


def test_a_disk_that_fills_up_amid_the_weights(folder: Path) -> None:
    """The system's own refusal: no file may be longer than the first write of the weights."""
    limit, most = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, most))
    try:
        message = refused(folder, "convert", "net.prototxt", "net.caffemodel", "--to", "mxnet",
                          "--to", "pytorch", "-o", "out")  # fmt: skip
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, most))
        signal.signal(signal.SIGXFSZ, ignored)
    assert message.startswith("error: out: cannot be written: File too large\n")


def test_an_interrupt_amid_the_weights_leaves_no_file(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_piece = HashedFile._write_piece
    pieces: list[int] = []

    def interrupted(self: HashedFile, piece: memoryview) -> None:
        write_piece(self, piece)
        pieces.append(len(piece))
        if len(pieces) == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(HashedFile, "_write_piece", interrupted)
    before = listing(folder)
    result = invoke("convert", "net.prototxt", "net.caffemodel", "--to", "mxnet", "-o", "out")
    assert result.exit_code != 0
    assert len(pieces) == 3
    assert listing(folder) == before


def test_a_folder_that_may_not_be_written_to(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests may run as root, whom no permission stops: the system's answer is put in its place."""

    def denied(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "mkdir", denied)
    message = refused(folder, "convert", "net.prototxt", "--to", "pytorch", "-o", "out")
    assert message == (
        "error: out: cannot be written: Permission denied\n"
        "  to do: check that the folder may be written to and has room, or choose another"
    )


def test_a_file_that_may_not_be_read(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    original = Path.open

    def denied(path: Path, *args: object, **settings: object) -> object:
        if path.name == "net.prototxt":
            raise PermissionError(13, "Permission denied")
        return original(path, *args, **settings)  # type: ignore[call-overload]

    monkeypatch.setattr(Path, "open", denied)
    result = invoke("convert", "net.prototxt")
    assert (result.exit_code, result.stderr) == (
        2,
        (
            "error: net.prototxt: cannot be read: Permission denied\n"
            "  expected: a network definition (.prototxt)\n"
        ),
    )


# --- the process ----------------------------------------------------------------------------------


def process(*args: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "decaffeinate", *args]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_the_process_says_the_same(folder: Path) -> None:
    before = listing(folder)
    done = process("convert", "pointer", "-o", "out")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "error: pointer: this is a git-LFS pointer, not a network definition\n"
        "  expected: protobuf text such as `layer { ... }`\n"
        "  to do: fetch the real file with `git lfs pull`\n"
    )
    assert listing(folder) == before


def test_the_process_converts(folder: Path) -> None:
    done = process("convert", "net.prototxt", "net.caffemodel", "--to", "mxnet", "-o", "out")
    assert (done.returncode, done.stderr) == (0, "")
    assert Path("out/net-symbol.json").exists()


@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="names there are always text")
def test_names_that_are_no_text(folder: Path) -> None:
    name = b"n\xff.prototxt".decode("utf-8", "surrogateescape")
    shutil.copy("net.prototxt", name)
    done = process("convert", name, "net.caffemodel", "--to", "mxnet", "-o", "out")
    assert "Traceback" not in done.stderr
    assert done.returncode == 0, done.stderr


def test_messages_are_errors_of_the_tree() -> None:
    error = FileError("what", where="place", layer="l", expected="e", hint="h", details=("1", "2"))
    assert str(error) == 'place: layer "l": what\n  - 1\n  - 2\n  expected: e\n  to do: h'
