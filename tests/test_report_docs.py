"""docs/reports is what the tool gives today."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests import report_docs
from tests.frameworks import require
from verify.html_report import html


def committed(name: str, ending: str) -> str:
    return (report_docs.FOLDER / f"{name}.{ending}").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", report_docs.NAMES)
def test_the_page_is_made_from_the_report_beside_it(name: str) -> None:
    content = json.loads(committed(name, "json"))
    page = report_docs.without_maps(committed(name, "html"))
    assert "".join(html(content).split()) == "".join(page.split()), report_docs.__doc__
    assert content["passed"] is (name == "passing")


def test_the_failing_report_names_the_layer_that_is_at_fault() -> None:
    results = {one["backend"]: one for one in json.loads(committed("failing", "json"))["results"]}
    assert results["onnx"]["first_fault"]["layer"] == "fire2/expand3x3"
    assert results["onnx"]["parity"]["passed"]
    assert results["pytorch"]["passed"]


def test_the_reports_are_current(tmp_path: Path) -> None:
    require("onnx")
    require("onnxruntime")
    require("torch")
    for name, texts in report_docs.make(tmp_path).items():
        want, got = json.loads(committed(name, "json")), json.loads(texts["json"])
        assert report_docs.structure(got) == report_docs.structure(want)
        assert report_docs.outline(texts["txt"]) == report_docs.outline(committed(name, "txt"))
