"""The page's section on many images: how far each was off, drawn as a dot an image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil, log10
from typing import Any

__all__ = ["OFF", "PLOT", "Dot", "height_of", "image_rows"]

OFF = 1e-3
"""`verify.image_agreement.OFF`: an image beyond it is off."""
_WIDTH, _HEIGHT = 420, 150
_LEFT, _RIGHT = 40, 412
_TOP, _BOTTOM = 12, 138
_LEAST, _GREATEST = -8.0, 0.0  # decades
_MOST_DOTS = 200
_TICKS = {"1e-8": 1e-8, "1e-6": 1e-6, "1e-4": 1e-4, "0.01": 1e-2, "1": 1.0}


@dataclass(frozen=True)
class Dot:
    """An image, or the worst of several that follow each other."""

    x: float
    y: float
    off: bool
    text: str


def height_of(drift: float | None) -> float:
    """Where a drift is drawn: decades from 1e-8 to 1; what is no number is at the top."""
    decade = _GREATEST if drift is None else _LEAST if drift <= 0 else log10(drift)
    share = (min(max(decade, _LEAST), _GREATEST) - _LEAST) / (_GREATEST - _LEAST)
    return round(_BOTTOM - share * (_BOTTOM - _TOP), 1)


PLOT = {
    "width": _WIDTH,
    "height": _HEIGHT,
    "left": _LEFT,
    "right": _RIGHT,
    "off": height_of(OFF),
    "ticks": {label: height_of(tick) for label, tick in _TICKS.items()},
}
"""What the template draws behind the dots."""


def image_rows(images: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Each entry of report.json's `images`, with what is drawn of it."""
    return [{**row, "dots": _dots(row.get("by_image") or [])} for row in images]


def _dots(by_image: Sequence[tuple[str, float | None]]) -> list[Dot]:
    group = max(1, ceil(len(by_image) / _MOST_DOTS))
    starts = range(0, len(by_image), group)
    step = (_RIGHT - _LEFT) / max(1, len(starts))
    found = []
    for number, start in enumerate(starts):
        some = by_image[start : start + group]
        name, drift = max(some, key=lambda one: float("inf") if one[1] is None else one[1])
        told = "not finite, or of another shape" if drift is None else f"{drift:.2g} of scale"
        among = f" (the worst of {len(some)})" if len(some) > 1 else ""
        off = drift is None or drift > OFF
        x = round(_LEFT + (number + 0.5) * step, 1)
        found.append(Dot(x, height_of(drift), off, f"{name}{among}: {told}"))
    return found
