"""Files that caffe2onnx made: each wrong one is flagged at its layer, no right one is."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.caffe2onnx.causes import cause
from tests.caffe2onnx.converting import RECORDED, Converted, recorded
from tests.caffe2onnx.nets import SUBJECTS, Subject, write
from tests.command_line import invoke
from tests.frameworks import require

require("onnx")
require("onnxruntime")

from tests.caffe2onnx.judging import judge  # noqa: E402

_DOCUMENT = Path(__file__).parents[2] / "docs" / "caffe2onnx.md"
DOCUMENTED = {
    line.split("`")[1]
    for line in _DOCUMENT.read_text(encoding="utf-8").splitlines()
    if line.startswith("| `")
}
"""The nets whose files the document lists as wrong."""


@pytest.fixture(scope="module")
def kept() -> Converted:
    return recorded()


@pytest.fixture(scope="module")
def nets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("nets")
    write(folder)
    return folder


@pytest.mark.parametrize("subject", SUBJECTS, ids=lambda subject: subject.name)
def test_the_verdict_is_the_truth(subject: Subject, kept: Converted, nets: Path) -> None:
    row = judge(subject, kept, nets)
    assert bool(row.refusal) != bool(row.judged)
    for one in row.judged:
        assert one.agrees, f"{one.feed}: {one.truth}, {one.verdict}"
        # Whatever is excused has to need it.
        assert not one.inside or (one.truth.kind, one.verdict.kind) == ("wrong", "equivalent")
    assert bool(row.wrong) == (subject.name in DOCUMENTED)
    if row.wrong:
        assert cause(subject.name)


def test_there_are_wrong_ones() -> None:
    assert len(DOCUMENTED) > 40


@pytest.mark.parametrize(
    ("stem", "code", "said"),
    [
        ("between-pooling-max-pad", 0, "equivalent"),
        ("between-pooling-ave-clip", 1, 'first fault at layer "feature" (Pooling'),
        ("between-include-train", 1, 'first fault at layer "after" (Convolution'),
        ("between-eltwise-of-three", 2, "onnxruntime"),
    ],
)
def test_the_command(stem: str, code: int, said: str, nets: Path) -> None:
    net, weights = nets / f"{stem}.prototxt", nets / f"{stem}.caffemodel"
    done = invoke("verify", net, weights, "--artifact", RECORDED / f"{stem}.onnx")
    assert done.exit_code == code, done.output + done.stderr
    assert said in " ".join((done.output + done.stderr).split())
