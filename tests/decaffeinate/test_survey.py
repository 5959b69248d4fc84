"""`decaffeinate survey`: what passes, what does not and why, by layer type."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from decaffeinate.survey_job import SurveyJob
from tests.command_line import invoke
from tests.plugin_docs import NET, PLUGIN

INPUT = 'layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 1 dim: 3 } } }\n'
IP = """layer { name: "ip" type: "InnerProduct" bottom: "x" top: "y"
  inner_product_param { num_output: 5 } }
"""


def other(kind: str, bottom: str = "x", more: str = "") -> str:
    return (
        f'layer {{ name: "l_{kind}" type: "{kind}" bottom: "{bottom}" top: "l_{kind}" {more} }}\n'
    )


NETS = {
    "good/deploy.prototxt": INPUT + IP,
    "good/v1.prototxt": 'input: "x" input_dim: 1 input_dim: 1 input_dim: 1 input_dim: 3\n'
    'layers { name: "r" type: RELU bottom: "x" top: "r" }',
    "good/odd_field.prototxt": INPUT + other("ReLU", more="relu_param { knee: 1 } fork_field: 2"),
    "bad/unknown.prototxt": INPUT + IP + other("NoSuchLayer") + other("Nor<b>This"),
    "bad/deeper/unknown.prototxt": INPUT + other("NoSuchLayer"),
    "bad/python.prototxt": INPUT + other("Python", more='python_param { module: "m" layer: "L" }'),
    "bad/shapes.prototxt": INPUT + other("Pooling", more="pooling_param { kernel_size: 2 }"),
    "bad/shapes_too.prototxt": INPUT.replace("3", "7")
    + other("Pooling", more="pooling_param { kernel_size: 1 }"),
    "bad/unsized.prototxt": 'layer { name: "d" type: "Data" top: "x" '
    "data_param { batch_size: 2 } }\n" + other("ReLU"),
    "bad/value.prototxt": INPUT + other("Pooling", more="pooling_param { pool: MEDIAN }"),
    "bad/dangling.prototxt": INPUT + other("ReLU", "nowhere"),
    "solver.prototxt": 'net: "good/deploy.prototxt"\nbase_lr: 0.1\n',
    "labels.prototxt": 'item { name: "cat" id: 1 }\n',
    ".hidden/net.prototxt": INPUT,
    "notes.txt": "no net at all",
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name, text in NETS.items():
        path = Path("nets", name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path


def surveyed(*options: object) -> tuple[dict[str, Any], str]:
    """The JSON document and what is printed."""
    result = invoke("survey", "nets", "--json", "out/survey.json", "--jobs", 2, *options)
    assert result.exit_code == 0, result.output
    return json.loads(Path("out/survey.json").read_text()), result.stdout


@pytest.fixture
def survey(folder: Path) -> tuple[dict[str, Any], str]:
    return surveyed("--html", "out/survey.html")


def test_nets_solvers_and_other_texts_are_told_apart(survey: tuple[dict[str, Any], str]) -> None:
    found, printed = survey
    named = {net["net"].removeprefix("nets/"): net["passed"] for net in found["each"]}
    wanted = {name: name.startswith("good") for name in NETS if "/" in name and name[0] != "."}
    assert named == wanted
    assert (found["nets"], found["passed"]) == (11, 3)
    assert found["solvers"] == ["nets/solver.prototxt"]
    assert found["others"] == ["nets/labels.prototxt"]
    assert printed.endswith(
        "11 nets: 3 pass (27%), 8 do not; 1 solver passed over; 1 other text passed over\n"
    )


def test_parameters_are_counted(survey: tuple[dict[str, Any], str]) -> None:
    by_net = {net["net"]: net for net in survey[0]["each"]}
    good = by_net["nets/good/deploy.prototxt"]
    assert (good["layers"], good["parameters"], good["macs"]) == (2, 5 * 3 + 5, 15)
    assert by_net["nets/bad/unknown.prototxt"]["parameters"] is None


def test_layer_types_with_the_nets_that_use_them(survey: tuple[dict[str, Any], str]) -> None:
    found, printed = survey
    rows = {row["type"]: row for row in found["by_type"]}
    assert rows["InnerProduct"] == {
        "type": "InnerProduct", "status": "", "nets": 2, "passed": 1, "layers": 2,
    }  # fmt: skip
    # Nets that are refused count too: those whose text is read do, by what they declare.
    assert (rows["ReLU"]["nets"], rows["ReLU"]["passed"]) == (4, 2)
    assert rows["NoSuchLayer"]["status"] == "unknown"
    assert rows["NoSuchLayer"]["nets"] == 2
    assert rows["Python"]["status"] == "not converted"
    assert rows["Data"]["status"] == ""
    assert re.search(r"^NoSuchLayer +2 +0 +2 +unknown *$", printed, re.MULTILINE)


def test_reasons_name_the_layer_type_or_field_and_why(
    survey: tuple[dict[str, Any], str],
) -> None:
    found, printed = survey
    rows = {(row["subject"], row["why"]): row for row in found["by_reason"]}
    assert {key: (len(row["nets"]), row["alone"]) for key, row in rows.items()} == {
        ("NoSuchLayer", "unknown layer type"): (2, 1),
        ("Nor<b>This", "unknown layer type"): (1, 0),
        ("Python", "not converted: m.L; a plugin can teach it"): (1, 1),
        ("Pooling", "Pooling has a bottom of shape (\u2026); expected: N axes"): (2, 2),
        ("Data", 'Data does not tell the shape of "\u2026": crop_size is not given'): (1, 1),
        ("", '"pool" cannot be MEDIAN'): (1, 1),
        (
            "",
            'bottom "\u2026" is not the top of any layer; expected: the top of an earlier layer',
        ): (
            1,
            1,
        ),
    }
    example = rows["Data", 'Data does not tell the shape of "\u2026": crop_size is not given']
    assert "nets/bad/unsized.prototxt:1:1" in example["example"]
    assert "give --input-shape x=2,C,H,W" in example["example"]
    assert "not converted: m.L; a plugin can teach it" in printed


def test_unknown_fields_are_counted(survey: tuple[dict[str, Any], str]) -> None:
    assert survey[0]["by_field"] == [
        {"field": "fork_field", "nets": 1},
        {"field": "relu_param.knee", "nets": 1},
    ]
    assert re.search(r"^ *1 +relu_param.knee *$", survey[1], re.MULTILINE)


class Tags(HTMLParser):
    """What a page loads or runs, and its text."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.sources: list[str] = []
        self.words = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.sources += [v or "" for k, v in attrs if k in ("src", "href") or k.startswith("on")]

    def handle_data(self, data: str) -> None:
        self.words += data


def test_the_page_needs_nothing_else(survey: tuple[dict[str, Any], str]) -> None:
    page = Tags()
    page.feed(Path("out/survey.html").read_text())
    assert "script" not in page.tags
    assert "link" not in page.tags
    assert all(source.startswith("#") for source in page.sources)
    assert "b" not in page.tags  # a type's name is text
    for words in (
        "3 of 11 nets pass",
        "Nor<b>This",
        "m.L; a plugin",
        "In nets, 11 nets",
        "solver.prototxt",
    ):
        assert words in page.words


def test_options_say_which_net_of_a_file_is_meant(folder: Path) -> None:
    Path("nets/train.prototxt").write_text(INPUT.replace("}\n", "include { phase: TRAIN } }") + IP)
    assert surveyed()[0]["passed"] == 3
    assert surveyed("--phase", "TRAIN")[0]["passed"] == 4


def test_a_plugin_teaches_a_layer(folder: Path) -> None:
    Path("nets/gate.prototxt").write_text(NET)
    Path("gate.py").write_text(PLUGIN)
    assert surveyed()[0]["passed"] == 3
    assert surveyed("--plugin", "gate.py")[0]["passed"] == 4


def test_a_folder_without_nets_is_refused(tmp_path: Path) -> None:
    result = invoke("survey", tmp_path)
    assert result.exit_code == 2
    assert "no network definition is in this folder" in result.stderr


@pytest.mark.parametrize("missing", ["nowhere", "loop"])
def test_what_is_no_folder_is_refused(missing: str, tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to("loop")
    result = invoke("survey", tmp_path / missing)
    assert result.exit_code == 2
    found = "no such file" if missing == "nowhere" else "cannot be read: "
    assert result.stderr.startswith(f"error: {tmp_path / missing}: {found}")
    assert "expected: a folder with network definitions" in result.stderr


def test_accidents_of_a_folder_are_nets_that_do_not_pass_or_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each with a message of its own; what is no file, or loops, is no net."""
    monkeypatch.chdir(tmp_path)
    nets = Path("nets")
    nets.mkdir()
    byte = INPUT.replace('"x" type', '"\u00ff" type')
    contents = {
        "latin.prototxt": byte.encode("latin-1"),
        "wide.prototxt": byte.encode("utf-16"),
        "marked.prototxt": byte.encode("utf-8-sig"),
        "cut.prototxt": INPUT.encode()[:30],
        "empty.prototxt": b"",
        "bytes.prototxt": bytes(range(256)),
        "page.prototxt": b"<!doctype html><html>",
        "long.prototxt": INPUT.replace("3", "9" * 30).encode(),
        "solver.prototxt": b'net: "x"',
    }
    for name, content in contents.items():
        (nets / name).write_bytes(content)
    (nets / "loop.prototxt").symlink_to("loop.prototxt")
    (nets / "gone.prototxt").symlink_to("nowhere")
    (nets / "itself").symlink_to(".")
    (nets / "folder.prototxt").mkdir()
    found, printed = surveyed()
    assert printed.endswith("8 nets: 3 pass (38%), 5 do not; 1 solver passed over\n")
    whys = {Path(net["net"]).stem: [r["why"] for r in net["reasons"]] for net in found["each"]}
    assert whys == {
        "latin": [],
        "wide": [],
        "marked": [],
        "cut": ["a string without its closing quote"],
        "empty": ["the file is empty"],
        "bytes": ["this is a binary file, not a network definition"],
        "page": ["this is an HTML or XML page, not a network definition"],
        "long": [f'"dim" cannot be {"9" * 30}'],
    }


def test_a_net_whose_process_dies_is_a_net_that_does_not_pass(folder: Path) -> None:
    from decaffeinate.pairing import gather
    from decaffeinate.survey import Survey
    from decaffeinate.worker import Outcome

    gathered = gather([Path("nets/good")])
    content = SurveyJob(gathered.nets[0].net, {}).run(lambda text: None)
    died = Outcome(error="the process of this net was ended by signal 9\n  to do: less")
    found = Survey(gathered, [Outcome(content), died, Outcome(content)])
    assert found.passed == 2
    (reason,) = found.reasons
    assert reason.why == "the process of this net was ended by signal 9"
    assert found.exit_code == 0
