"""What a benchmark found, and how it is shown."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Figure:
    """One measurement: the median, and the same of the peer that it is a ratio of."""

    name: str
    value: float
    unit: str
    """"s" or "bytes"."""
    peer: str
    peer_value: float
    limit: float | None = None
    """Greatest ratio allowed."""
    least: float | None = None
    """The smallest of the runs: what a quiet machine would show."""

    @property
    def ratio(self) -> float:
        """In times of the peer."""
        return self.value / self.peer_value

    @property
    def within(self) -> bool:
        """Whether the limit, if there is one, is kept."""
        return self.limit is None or self.ratio <= self.limit

    def to_json(self) -> dict[str, Any]:
        """All fields, with the ratio and the verdict."""
        return asdict(self) | {"ratio": round(self.ratio, 3), "within": self.within}


def show(benchmark: str, figures: list[Figure]) -> None:
    """Print a table."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title=benchmark, title_justify="left", box=None, pad_edge=False)
    for heading in ("what", "median", "least", "peer", "its median", "ratio", "limit", ""):
        right = heading in ("median", "least", "its median", "ratio", "limit")
        table.add_column(heading, justify="right" if right else "left", overflow="fold")
    for figure in figures:
        table.add_row(
            figure.name,
            _quantity(figure.value, figure.unit),
            _quantity(figure.least, figure.unit) if figure.least is not None else "",
            figure.peer,
            _quantity(figure.peer_value, figure.unit),
            f"{figure.ratio:.2f}",
            f"{figure.limit:g}" if figure.limit is not None else "",
            "" if figure.limit is None else "kept" if figure.within else "EXCEEDED",
        )
    console = Console(highlight=False)
    console.width = max(console.width, 150)
    console.print(table)


def _quantity(value: float, unit: str) -> str:
    return f"{value / 1e6:,.1f} MB" if unit == "bytes" else f"{value:.3f} s"
