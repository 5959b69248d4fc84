"""A survey on the terminal: a table by layer type, and the reasons of the nets that do not pass."""

from __future__ import annotations

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from decaffeinate.survey import Survey
from decaffeinate.terminal import new_console

__all__ = ["show_survey"]


def show_survey(survey: Survey) -> None:
    """Print it on standard output."""
    out = new_console()
    _show_types(out, survey)
    if survey.reasons:
        out.print()
        _show_reasons(out, survey)
    if survey.fields:
        out.print()
        _show_fields(out, survey)
    out.print()
    out.print(escape(survey.total))


def _show_types(out: Console, survey: Survey) -> None:
    table = Table(box=None, pad_edge=False)
    table.add_column("layer type", overflow="fold")
    for title in ("nets", "of them pass", "layers"):
        table.add_column(title, justify="right")
    table.add_column("")
    for row in survey.types:
        colour = "green" if row.passed == row.nets else "yellow" if row.passed else "red"
        table.add_row(
            escape(row.type) or '""',
            f"{row.nets:,}",
            f"[{colour}]{row.passed:,}[/{colour}]",
            f"{row.layers:,}",
            escape(row.status),
        )
    out.print(table)


def _show_reasons(out: Console, survey: Survey) -> None:
    table = Table(box=None, pad_edge=False)
    for title in ("nets", "for it alone"):
        table.add_column(title, justify="right")
    table.add_column("layer type")
    table.add_column("why they do not pass", overflow="fold")
    table.add_column("such as", overflow="fold")
    for row in survey.reasons:
        table.add_row(
            f"{len(row.nets):,}",
            f"{row.alone:,}",
            escape(row.subject),
            escape(row.why),
            escape(survey.shown(row.nets[0])),
        )
    out.print(table)


def _show_fields(out: Console, survey: Survey) -> None:
    table = Table(box=None, pad_edge=False)
    table.add_column("nets", justify="right")
    table.add_column("unknown field, ignored", overflow="fold")
    for name, nets in survey.fields:
        table.add_row(f"{nets:,}", escape(name))
    out.print(table)
