"""report.html: what is in the page, and what must not get in."""

from __future__ import annotations

import base64
import hashlib
import re
import struct
import zlib
from collections import Counter
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from prototxt.errors import FileError
from tests.verify.report_examples import (
    EXAMPLES,
    HOSTILE,
    Net,
    example_maps,
    failing,
    hostile_names,
    large,
    passing,
    report,
)
from verify.compare import compare
from verify.html_report import html, write_html
from verify.html_report_graph import bin_of, make_graph, ratio_text
from verify.html_report_heatmap import error_map, heat_map
from verify.report import BackendResult, Report
from verify.tally import Tally

VOID = {"meta", "img", "input", "br", "link"}


class Page(HTMLParser):
    """Elements, and the text of each kind of them; tags must nest."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text: dict[str, list[str]] = {}
        self.open: list[str] = []
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)
            self.text.setdefault(tag, []).append("")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, (tag, self.getpos())

    def handle_data(self, data: str) -> None:
        for tag in set(self.open):
            self.text[tag][-1] += data

    def all(self, tag: str, **wanted: str) -> list[dict[str, str | None]]:
        return [
            attributes for name, attributes in self.elements
            if name == tag and all(attributes.get(k) == v for k, v in wanted.items())
        ]  # fmt: skip


def page(content: dict[str, Any], **options: Any) -> Page:
    return Page(html(content, **options))


@cache
def drawn(name: str) -> tuple[str, Page]:
    """The page of an example, with maps."""
    content = EXAMPLES[name]()
    text = html(content, example_maps(content) if content["layers"] else None)
    return text, Page(text)


def nodes(content: dict[str, Any]) -> list[dict[str, str | None]]:
    return [one for one in page(content).all("a") if (one.get("class") or "").startswith("node")]


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_page_needs_nothing_else(name: str) -> None:
    text, made = drawn(name)
    for tag, attributes in made.elements:
        assert tag not in ("link", "iframe", "object", "embed", "base")
        for key, value in attributes.items():
            assert not key.startswith("on")
            assert key != "style"
            if key == "href":
                assert (value or "").startswith("#")
            if key == "src":
                assert (value or "").startswith("data:image/png;base64,")
    assert len(made.all("script")) == 1
    assert "://" not in text.replace("http://www.w3.org/2000/svg", "")


@pytest.mark.parametrize("name", EXAMPLES)
def test_ids_are_unique_and_links_and_labels_have_their_ends(name: str) -> None:
    _, made = drawn(name)
    ids = Counter(a["id"] for _, a in made.elements if "id" in a)
    assert not [key for key, count in ids.items() if count > 1]
    for _, attributes in made.elements:
        if "aria-labelledby" in attributes:
            assert attributes["aria-labelledby"] in ids
    links = {(one["href"] or "")[1:] for one in made.all("a")}
    assert links <= set(ids)


def test_headings_descend_by_one() -> None:
    levels = [int(tag[1]) for tag, _ in page(failing()).elements if re.fullmatch(r"h\d", tag)]
    assert levels[0] == 1
    assert set(levels[1:]) == {2}


def test_names_are_escaped() -> None:
    made = page(hostile_names())
    plain = [HOSTILE[i] for i in (0, 1, 2, 3, 4, 5, 8, 9)]
    shown = made.text["bdi"] + made.text["li"] + made.text["code"]
    for name in plain:
        assert any(name in text for text in shown), name
    assert made.text["h1"][0] == HOSTILE[0]
    assert not made.all("img")
    assert len(made.all("script")) == 1


def test_characters_that_cannot_be_seen_are_shown_by_their_codes() -> None:
    text = html(hostile_names())
    assert not set("\u202e\x00\x1b\ud800") & set(text)
    assert r"evil\u202etxt.exe\x00\x1b[31m" in text
    assert text.encode()


def test_the_policy_names_the_style_and_the_script() -> None:
    text = html(passing())
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', text)
    assert policy is not None
    for tag in ("style", "script"):
        found = re.search(rf"<{tag}>(.*?)</{tag}>", text, re.DOTALL)
        assert found is not None
        digest = base64.b64encode(hashlib.sha256(found[1].encode()).digest()).decode()
        given = policy[1].replace("&#39;", "'").replace("&#43;", "+")
        assert f"{tag}-src 'sha256-{digest}'" in given


def test_the_verdict_the_first_fault_and_problems_are_told() -> None:
    made = page(failing())
    told = "\n".join(made.text["p"])
    assert "NOT equivalent" in told
    assert "fire5/relu_expand1x1" in told
    assert "1,873 times its bound" in told
    assert "the process ended with signal 11" in told
    assert "repro/pytorch" in told
    assert "weight differs in 12 of 16 values" in "\n".join(made.text["td"])


def test_every_blob_has_a_row() -> None:
    content = failing()
    rows = [a for a in page(content).all("tr") if "data-passed" in a]
    assert len(rows) == sum(len(result["blobs"]) for result in content["results"])
    assert Counter(row["data-passed"] for row in rows)["0"] == 3


def test_faults_are_marked_in_the_graph() -> None:
    classes = Counter(one["class"] for one in nodes(failing()))
    assert classes["node f2 first"] == 1
    assert classes["node f1"] == 1
    assert classes["node x"] == 1
    assert not any("f1" in (one["class"] or "") for one in nodes(passing()))


def test_each_result_has_its_colours() -> None:
    content = failing()
    (faulty,) = [one for one in nodes(content) if "first" in (one["class"] or "")]
    bins = (faulty["data-bins"] or "").split(" ")
    assert len(bins) == len((faulty["data-ratios"] or "").split(" ")) == 4
    assert bins[0] == bins[2] == "f2"
    assert bins[1].startswith("b")
    assert bins[3] == "n"
    assert faulty["data-first"] == "1010"


def test_layers_in_place_are_folded() -> None:
    content = passing()
    graph = make_graph(content["layers"], content["results"])
    conv1 = next(node for node in graph.nodes if node.name == "conv1")
    assert conv1.types == "Convolution + ReLU"
    assert len(conv1.layers) == 2
    assert len(graph.nodes) == sum("relu" not in x["name"] and x["type"] != "Dropout"
                                   for x in content["layers"])  # fmt: skip


def test_a_blob_that_others_read_before_it_is_rewritten_is_not_folded() -> None:
    net = Net()
    x = net.add("Convolution", "conv", [net.add("Input", "data", [])])
    net.add("Pooling", "side", [x])
    net.rewrite("ReLU", "relu", x)
    graph = make_graph(net.layers, [])
    assert [node.name for node in graph.nodes] == ["data", "conv", "side", "relu"]
    assert [(a, b) for a, b, _ in graph.edges] == [(0, 1), (1, 2), (1, 3)]


def test_inputs_are_coloured_and_linked_though_no_layer_computes_them() -> None:
    content = passing()
    for result in content["results"]:
        result["blobs"][0]["layer"] = None
    assert nodes(content)[0]["class"] == "node b0"
    assert nodes(content)[0]["href"] == "#layer-0"


def test_where_nothing_was_compared_boxes_lead_to_the_table() -> None:
    content = passing()
    for result in content["results"]:
        result.update(blobs=[], passed=False, problem="killed", parity=None, outputs=[])
    assert {one["href"] for one in nodes(content)} == {"#blobs"}


def test_small_ratios_fit_into_their_boxes() -> None:
    content = passing()
    content["results"][0]["blobs"][1]["ratio"] = 0.00123
    graph = make_graph(content["layers"], content["results"][:1])
    assert graph.nodes[1].ratios == ["<0.01", "<0.01"]


def test_many_layers() -> None:
    content = large()
    assert len(content["layers"]) > 500
    text, _ = drawn("large")
    assert len(text) < 2_500_000
    assert text.count('data-node="') == len(make_graph(content["layers"], []).nodes)


@pytest.mark.parametrize(
    ("blob", "name", "text"),
    [
        ({"ratio": 0.0, "passed": True}, "b0", "0"),
        ({"ratio": 0.1, "passed": True}, "b1", "0.1"),
        ({"ratio": 0.26, "passed": True}, "b3", "0.26"),
        ({"ratio": 1.0, "passed": True}, "b4", "1"),
        ({"ratio": 1.5, "passed": False}, "f1", "1.5"),
        ({"ratio": 18731.0, "passed": False}, "f2", "1.9e4"),
        ({"ratio": None, "passed": False}, "f2", "\u221e"),
        ({"ratio": None, "passed": True}, "n", "\u2014"),
        ({"ratio": None, "passed": False, "problem": "NaN"}, "x", "\u2014"),
        # A problem is never a good colour, whatever else is said.
        ({"ratio": 0.0, "passed": True, "problem": "NaN"}, "x", "0"),
        ({"ratio": 0.5, "passed": False}, "f1", "0.5"),
    ],
)
def test_colours(blob: dict[str, Any], name: str, text: str) -> None:
    assert bin_of(blob) == name
    assert ratio_text(blob) == text


def test_another_format_is_refused() -> None:
    with pytest.raises(ValueError, match="format 1 instead of 2"):
        html({**passing(), "format": 1})


def test_the_same_report_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_html(passing(), tmp_path / "new" / f"{name}.html")
    made = [path.read_bytes() for path in sorted((tmp_path / "new").iterdir())]
    assert made[0] == made[1]
    assert len(made) == 2


def test_what_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(FileError):
        write_html(passing(), tmp_path / "file" / "report.html")


# --- heat-maps ------------------------------------------------------------------------------------


def pixels(uri: str) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """The palette's indices of a PNG of ours."""
    data = base64.b64decode(uri.partition(",")[2])
    columns, rows = struct.unpack(">II", data[16:24])
    at, packed = 8, b""
    while at < len(data):
        (length,) = struct.unpack(">I", data[at : at + 4])
        kind, body = data[at + 4 : at + 8], data[at + 8 : at + 8 + length]
        assert struct.unpack(">I", data[at + 8 + length : at + 12 + length])[0] == zlib.crc32(
            kind + body
        )
        packed += body if kind == b"IDAT" else b""
        at += 12 + length
    lines = np.frombuffer(zlib.decompress(packed), np.uint8).reshape(rows, columns + 1)
    assert not lines[:, 0].any()
    return lines[:, 1:]


KEY = ("onnx", "image", "conv1")


def test_a_map_tells_good_from_bad_and_unknown() -> None:
    found = heat_map(KEY, np.array([[0.0, 1.0, 1.0001], [np.nan, 500.0, np.inf]]))
    assert pixels(found.uri).tolist() == [[0, 99, 101], [255, 199, 199]]
    assert (found.rows, found.columns, found.over, found.where) == (2, 3, 3, (1, 2))


def test_a_single_fault_survives_the_reduction_of_a_large_map() -> None:
    ratios = np.full((1000, 37), 0.2)
    ratios[777, 5] = 30.0
    found = heat_map(KEY, ratios)
    shown = pixels(found.uri)
    assert shown.shape == (125, 5)
    assert (shown > 100).sum() == 1
    assert found.where == (777, 5)


def test_a_map_without_any_bound() -> None:
    found = heat_map(KEY, np.full((2, 2), np.nan))
    assert found.greatest is None
    assert (pixels(found.uri) == 255).all()


@pytest.mark.parametrize("shape", [(3,), (1, 2, 3), (0, 4)])
def test_a_map_of_other_axes_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="instead of"):
        heat_map(KEY, np.zeros(shape))


def test_the_map_of_a_blob_is_the_worst_of_its_items_and_channels() -> None:
    errors, unbounded = np.zeros((2, 3, 2, 2)), np.zeros((2, 3, 2, 2), bool)
    errors[1, 2, 0, 1] = 4.0
    errors[0, 0, 0, 1] = 0.5
    unbounded[:, :, 1, 0] = True
    limits = np.ones(errors.shape)
    limits[0, 0, 1, 1] = np.nan
    tally = Tally(errors.shape)
    for item in range(2):
        tally.add(errors[item].ravel(), limits[item].ravel(), unbounded[item].ravel())
    found = error_map(tally.map, errors.shape)
    assert found is not None
    np.testing.assert_array_equal(found, [[0.0, 4.0], [np.nan, np.inf]])


@pytest.mark.parametrize("shape", [(3, 4), (2, 5, 1, 1), ()])
def test_what_is_no_map_has_none(shape: tuple[int, ...]) -> None:
    assert error_map(Tally(shape).map, shape) is None


def test_a_report_gives_the_maps_of_what_is_not_exact() -> None:
    want = np.ones((1, 2, 3, 4))
    got = want.astype(np.float32)
    got[0, 1, 2, 3] += 3e-6
    rows = (compare("exact", want, want, 1e-6), compare("off", got, want, 1e-6))
    found = Report("net", "weights", False, 0, results=[BackendResult("onnx", "noise", blobs=rows)])
    assert list(found.maps) == [("onnx", "noise", "off")]
    assert found.maps["onnx", "noise", "off"][2, 3] == pytest.approx(3, rel=0.1)
    assert all("map" not in blob for blob in found.to_json()["results"][0]["blobs"])


def test_a_page_holds_a_dozen_maps_at_most() -> None:
    content = passing()
    maps = {("onnx", "image", f"blob {i}"): np.full((2, 3), i / 40) for i in range(30)}
    found = page(content, maps=maps).all("img")
    assert [(one["alt"] or "").partition(",")[0] for one in found][:2] == ["blob 29", "blob 28"]
    assert len(found) == 12


def test_maps_are_in_the_page_the_worst_first() -> None:
    content = passing()
    found = page(content, maps=example_maps(content)).all("img")
    assert len(found) == 2
    assert "12" in (found[0]["alt"] or "")


def test_duplicate_layer_names_keep_their_parity_rows() -> None:
    net = Net()
    x = net.add("Input", "data", [])
    for _ in range(2):
        x = net.add("Convolution", "same", [x], 7)
    content = report(net, "twice")
    made = page(content)
    assert sum(text.strip() == "same" for text in made.text["th"]) >= 2 + 3 * 2
