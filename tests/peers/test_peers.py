"""The tables of what other readers take: current, whole, and in accord with what was measured."""

from __future__ import annotations

import re
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

from tests import readme
from tests.frameworks import require
from tests.golden_cases import CASES
from tests.peers import counting, facts, pages
from tests.peers.facts import FOLDER, MEANINGS, TAKEN, Support
from tests.real_models import existing
from tests.verify.test_judges import KNOWN, REFUSED

THEIRS = facts.theirs()
CAFFE2ONNX = (readme.ROOT / "docs" / "caffe2onnx.md").read_text(encoding="utf-8")
GROUPS = {case.group for case in CASES}
STALE = "run: python -m tests.peers update"


def test_the_page_is_current() -> None:
    require("onnx")
    assert pages.PAGE.read_text(encoding="utf-8") == pages.page(), STALE


def test_the_summary_in_readme_is_current() -> None:
    require("onnx")
    text = readme.README.read_text(encoding="utf-8")
    assert readme.generated(text, "coverage") == pages.summary(), STALE


def test_a_row_says_how_a_type_is_taken_and_once() -> None:
    lines = (FOLDER / "support.tsv").read_text(encoding="utf-8").splitlines()[1:]
    assert len(lines) == sum(map(len, THEIRS.values()))
    for peer, table in THEIRS.items():
        assert list(table) == sorted(table, key=str.lower), peer
        for name, found in table.items():
            assert found.support in MEANINGS, (peer, name)
            assert found.remark or found.support in ("yes", "input"), (peer, name)


def test_a_reader_is_named_with_its_version_its_files_and_two_dates() -> None:
    for peer in facts.peers():
        assert peer.version, peer.peer
        assert peer.files, peer.peer
        assert re.fullmatch(r"20\d\d-\d\d(-\d\d)?", peer.of), peer.peer
        assert re.fullmatch(r"20\d\d-\d\d-\d\d", peer.read), peer.peer


def test_every_layer_of_bvlc_is_ours_but_python() -> None:
    require("onnx")
    ours = facts.ours()
    assert {name for name in facts.BVLC if ours[name].support not in TAKEN} == {"Python"}


@pytest.mark.parametrize(
    ("name", "source", "text"),
    [
        ("types.tsv", counting.SURVEY, counting.types_table),
        ("nets.tsv", counting.INDEX, counting.nets_table),
    ],
    ids=["types", "nets"],
)
def test_the_counts_are_those_of_the_public_nets(
    name: str, source: Path, text: Callable[[], str]
) -> None:
    existing(source)
    assert (FOLDER / name).read_text(encoding="utf-8") == text()


# --- OpenCV, which can be asked -------------------------------------------------------------------

NET = """
input: "data" input_shape {{ dim: 1 dim: 4 dim: 8 dim: 8 }}
layer {{ name: "it" type: "{type}" bottom: "data" top: "out" }}
"""
BY_THE_IMPORTER = {"Input"}
"""Types that OpenCV's importer makes into something else before a layer is asked for."""


@pytest.mark.parametrize("name", sorted({*facts.uses(), *facts.BVLC, *facts.SSD} - BY_THE_IMPORTER))
def test_opencv_knows_the_types_that_the_table_says(name: str) -> None:
    require("cv2")
    cv2 = import_module("cv2")
    text = np.frombuffer(NET.format(type=name).encode(), np.uint8)
    known = True
    try:
        net = cv2.dnn.readNetFromCaffe(text)
        net.getLayer(net.getLayerId("it"))
    except cv2.error as error:
        known = "Can't create layer" not in str(error)
    assert known == (name in THEIRS["OpenCV"])


OF_GROUP = {name.lower(): name for name in (*facts.BVLC, *facts.SSD)}


@pytest.mark.parametrize("group", sorted(GROUPS & OF_GROUP.keys()))
def test_opencv_is_said_to_do_what_it_did_on_the_recorded_nets(group: str) -> None:
    found = THEIRS["OpenCV"].get(OF_GROUP[group], Support("no"))
    cases = {case.id for case in CASES if case.group == group and case.phase == "TEST"}
    if group in REFUSED or cases <= REFUSED:
        assert found.support in ("no", "broken", "partly")
    elif cases & (REFUSED | KNOWN.keys()):
        assert found.support in ("partly", "broken")
    else:
        assert found.support in ("yes", "partly")


# --- caffe2onnx, of which there is a page ---------------------------------------------------------


def _outcomes() -> dict[str, set[bool]]:
    """By type, whether nets of docs/caffe2onnx.md came out right."""
    found: dict[str, set[bool]] = {}
    for part in CAFFE2ONNX.split("\n## ")[1:]:
        title = part.splitlines()[0]
        for group, _ in re.findall(r"`([a-z]+)/([^`]*)`", part.replace("\n", " ")):
            if group in OF_GROUP:
                found.setdefault(OF_GROUP[group], set()).add(title == "Right")
    return found


@pytest.mark.parametrize("name", sorted(_outcomes()))
def test_caffe2onnx_is_said_to_do_what_its_page_says(name: str) -> None:
    found = THEIRS["caffe2onnx"].get(name, Support("no"))
    outcomes = _outcomes()[name]
    if outcomes == {True}:
        assert found.support in ("yes", "partly")
    elif True in outcomes:
        # Those of Power that are not converted have a layer before it that is not.
        assert found.support == ("yes" if name == "Power" else "partly")
    else:
        assert found.support in ("no", "broken", "partly")
