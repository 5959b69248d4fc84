"""report.html's section on many images."""

from __future__ import annotations

from collections import Counter

from tests.verify.report_examples import passing, with_images
from tests.verify.test_html_report import page
from verify.html_report_images import OFF as PAGE_OFF
from verify.html_report_images import height_of, image_rows
from verify.image_agreement import OFF


def test_images_have_a_table_and_a_dot_each() -> None:
    content = with_images(passing(), 200)
    made = page(content)
    (place,) = (a for a in made.all("section") if a.get("id") == "images")
    assert place["aria-labelledby"] == "images-title"
    cells = " ".join(made.text["td"])
    for told in (
        "200 100%",
        "199 99.5%",
        "ILSVRC2012_val_00000041.JPEG",
        "out of memory",
    ):
        assert told in cells, told
    paragraphs = " ".join(made.text["p"])
    assert "4 images are off: ILSVRC2012_val_00000040.JPEG, " in paragraphs
    assert "another first class for ILSVRC2012_val_00000041.JPEG" in paragraphs
    dots = Counter(a["class"] for a in made.all("circle") if "dot" in (a.get("class") or ""))
    assert dots == {"dot": 2 * 200 - 4, "dot off": 4}
    assert "ILSVRC2012_val_00000060.JPEG: not finite, or of another shape" in made.text["title"]
    assert len(made.all("svg", **{"class": "plot"})) == 2
    assert {"href": "#images"} in made.all("a")


def test_without_images_there_is_no_section() -> None:
    made = page(passing())
    assert not any(a.get("id") == "images" for a in made.all("section"))
    assert {"href": "#images"} not in made.all("a")


def test_of_many_images_the_worst_of_neighbours_is_drawn() -> None:
    pairs: list[tuple[str, float | None]] = [(f"i{n}", 1e-7) for n in range(1000)]
    pairs[501] = "bad", 0.5
    (row,) = image_rows([{"by_image": pairs}])
    assert len(row["dots"]) == 200
    (off,) = [dot for dot in row["dots"] if dot.off]
    assert off.text == "bad (the worst of 5): 0.5 of scale"
    assert [dot.x for dot in row["dots"]] == sorted({dot.x for dot in row["dots"]})


def test_drifts_are_drawn_by_decades() -> None:
    assert PAGE_OFF == OFF
    heights = [height_of(drift) for drift in (None, 7.0, 1.0, 1e-2, 1e-4, 1e-8, 1e-12, 0.0)]
    assert heights == sorted(heights)
    assert heights[0] == heights[1] == heights[2] < heights[3] < heights[4] < heights[5]
    assert heights[5] == heights[6] == heights[7]
    assert image_rows([{"by_image": []}])[0]["dots"] == []
