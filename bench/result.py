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
    least: tuple[float, float] | None = None
    """The smallest of the runs and of the peer's: the least disturbed by other work."""
    by_least: bool = False
    """Whether the limit is for the smallest runs rather than for the medians."""
    paired: float | None = None
    """Median of the ratios of each run to the peer's run beside it, where they were kept."""

    @property
    def ratio(self) -> float:
        """In times of the peer: of pairs of runs where there are, which a machine that becomes
        slower and faster meets alike; else of the medians."""
        return self.value / self.peer_value if self.paired is None else self.paired

    @property
    def least_ratio(self) -> float | None:
        """The same of the smallest runs."""
        return self.least[0] / self.least[1] if self.least is not None else None

    @property
    def within(self) -> bool:
        """Whether the limit, if there is one, is kept."""
        judged = self.least_ratio if self.by_least else self.ratio
        return self.limit is None or (judged is not None and judged <= self.limit)

    def to_json(self) -> dict[str, Any]:
        """All fields, with the ratio and the verdict."""
        ratios = {"ratio": self.ratio, "least_ratio": self.least_ratio}
        return asdict(self) | ratios | {"within": self.within}


def show(benchmark: str, figures: list[Figure]) -> None:
    """Print a table."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title=benchmark, title_justify="left", box=None, pad_edge=False)
    for heading in ("what", "peer"):
        table.add_column(heading, overflow="fold")
    for heading in ("median", "of the peer", "ratio", "limit", "least", "of the peer", "ratio"):
        table.add_column(heading, justify="right", no_wrap=True)
    for figure in figures:
        table.add_row(
            figure.name,
            figure.peer,
            _quantity(figure.value, figure.unit),
            _quantity(figure.peer_value, figure.unit),
            f"{figure.ratio:.2f}",
            _limit(figure),
            *(_quantity(value, figure.unit) for value in figure.least or ()),
            f"{figure.least_ratio:.2f}" if figure.least_ratio is not None else "",
        )
    console = Console(highlight=False)
    console.width = max(console.width, 150)
    console.print(table)


def _limit(figure: Figure) -> str:
    if figure.limit is None:
        return ""
    return f"{figure.limit:g}" if figure.within else f"{figure.limit:g} EXCEEDED"


def _quantity(value: float, unit: str) -> str:
    return f"{value / 1e6:,.1f} MB" if unit == "bytes" else f"{value:.3f} s"
