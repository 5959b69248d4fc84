"""report.html: a verification as one page that needs nothing else, made from report.json alone.

Text from nets, frameworks and errors is escaped by the template engine, and characters that are not
printed (or turn the direction of writing) are shown by their codes.  Styles and script are in the
page and allowed by their hashes only, so that even markup that got in could not run.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prototxt.atomic import atomic_file
from verify.html_page import asset, environment, policy
from verify.html_report_graph import LEGEND, bin_of, make_graph, ratio_text
from verify.html_report_heatmap import HeatMap, heat_map
from verify.html_report_images import PLOT, image_rows

if TYPE_CHECKING:
    from jinja2 import Template
    from numpy.typing import NDArray

__all__ = ["FORMAT", "html", "write_html"]

FORMAT = 2
"""The format of report.json that is understood."""
_MOST_MAPS = 12
"""Heat-maps in a page: those of the greatest values."""
Maps = Mapping[tuple[str, str, str], "NDArray[Any]"]
"""By backend, inputs and blob: (rows, columns) of error over bound."""


def write_html(report_json: Mapping[str, Any], path: Path, maps: Maps | None = None) -> None:
    """Write report.html, complete or not at all; folders are made.

    Args:
        report_json: what report.json holds.
        path: the file.
        maps: see `html`.

    Raises:
        ValueError: see `html`.
        FileError: the file cannot be written.
    """
    content = html(report_json, maps).encode()
    with atomic_file(path) as file:
        file.write(content)


def html(report_json: Mapping[str, Any], maps: Maps | None = None) -> str:
    """The page.

    Args:
        report_json: what report.json holds, of format 2.
        maps: by backend, inputs and blob, the error over the bound of each place of a blob,
            (rows, columns), NaN where there is no bound; those of the greatest values are drawn.

    Raises:
        ValueError: the report is of another format, or a map is not of two axes.
    """
    if report_json.get("format") != FORMAT:
        raise ValueError(f"a report of format {report_json.get('format')} instead of {FORMAT}")
    results = _with_layers(report_json)
    judged = {blob["layer"] for result in results for blob in result["blobs"]}
    pictures = sorted(
        (heat_map(key, array) for key, array in (maps or {}).items()),
        key=lambda picture: -(picture.greatest or 0.0),
    )[:_MOST_MAPS]
    parities = _parities(results)
    style, script = asset("report.css"), asset("report.js")
    return _template().render(
        report=report_json,
        title=report_json.get("title") or report_json["net"],
        results=[_result(result) for result in results],
        faults=[result for result in results if result.get("first_fault")],
        judged=judged,
        graph=make_graph(report_json["layers"], results),
        legend=LEGEND,
        layers={layer["index"]: layer for layer in report_json["layers"]},
        parities=parities,
        parity_rows=list(zip_longest(*(parity["layers"] for parity in parities))),
        pictures=pictures,
        images=image_rows(report_json.get("images") or []),
        plot=PLOT,
        tolerance=_tolerance(report_json["tolerance"]),
        style=style,
        script=script,
        policy=policy(style, script),
    )


# --- what the page shows --------------------------------------------------------------------------


def _with_layers(report_json: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The results; the net's inputs, which no layer computes, are given the layer they are of."""
    tops = {top: layer["index"] for layer in report_json["layers"] for top in layer["tops"]}
    return [
        {
            **result,
            "blobs": [
                {**blob, "layer": tops.get(blob["blob"])} if blob["layer"] is None else blob
                for blob in result["blobs"]
            ],
        }
        for result in report_json["results"]
    ]


def _result(result: Mapping[str, Any]) -> dict[str, Any]:
    """A result with what its row in the summary says besides."""
    blobs = result["blobs"]
    failed = [blob for blob in blobs if not blob["passed"]]
    compared = [blob for blob in blobs if not blob["problem"]]
    wrong = [blob for blob in compared if not blob["passed"]]
    by_layer = [blob for blob in compared if blob["kind"] != "optimised"]
    return {
        **result,
        "label": f"{result['backend']}, {result['inputs']}",
        "worst": max(wrong or by_layer or compared, key=_excess, default=None),
        "incomparable": len(blobs) - len(compared),
        "agreeing": len(blobs) - len(failed),
    }


def _excess(blob: Mapping[str, Any]) -> float:
    """Error over bound; where a bound of zero is exceeded there is no number."""
    ratio = blob["ratio"]
    if ratio is not None:
        return float(ratio)
    return -1.0 if blob["passed"] else float("inf")


def _parities(results: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """One parity for each backend; inputs do not change it, but a failing one counts."""
    found: dict[str, Mapping[str, Any]] = {}
    for result in results:
        parity = result.get("parity")
        before = found.get(result["backend"])
        if parity and (before is None or (before["passed"] and not parity["passed"])):
            found[result["backend"]] = parity
    return [
        {
            **parity,
            "backend": backend,
            "layers": [_layer_parity(row) for row in parity["layers"]],
            "totals": {
                kind: sum(row[kind] for row in parity["layers"])
                for kind in ("source", "stored", "folded")
            },
        }
        for backend, parity in found.items()
    ]


def _layer_parity(row: Mapping[str, Any]) -> dict[str, Any]:
    passed = not row["problems"] and row["source"] == row["stored"] + row["folded"]
    return {**row, "passed": passed}


def _tolerance(tolerance: Mapping[str, Any]) -> str:
    if tolerance["kind"] == "derived":
        return "derived: the rounding bound of each element, computed with the float64 reference"
    return f"fixed: rtol {tolerance['rtol']:g}, atol {tolerance['atol']:g}"


# --- texts and numbers ----------------------------------------------------------------------------


def _number(value: float | None, digits: int = 3) -> str:
    if value is None:
        return "\u2014"
    return f"{value:,.0f}" if 1e3 <= abs(value) < 1e6 else f"{value:.{digits}g}"


def _plain(value: float | None) -> str:
    """A number for the script to sort by."""
    return "" if value is None else repr(value)


def _share(value: float | None) -> str:
    return "\u2014" if value is None else f"{100 * value:.4g}%"


def _apart(cosine: float | None) -> float | None:
    """How far a cosine is from 1, where its digits are."""
    return None if cosine is None else max(0.0, 1.0 - cosine)


def _shape(value: Sequence[int] | None) -> str:
    if value is None:
        return "\u2014"
    return "\u00d7".join(map(str, value)) or "scalar"


def _heat_alt(picture: HeatMap) -> str:
    if picture.greatest is None:
        return "no element has a bound"
    return f"greatest {picture.greatest:.3g} at {picture.where}, {picture.over:,} over the bound"


@cache
def _template() -> Template:
    made = environment("verify")
    made.filters.update(
        number=_number,
        plain=_plain,
        share=_share,
        apart=_apart,
        shape=_shape,
        bin=bin_of,
        ratio=ratio_text,
        heat=_heat_alt,
    )
    return made.get_template("report.html.jinja")
