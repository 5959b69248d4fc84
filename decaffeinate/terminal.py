"""Tables on the terminal."""

from __future__ import annotations

import io
import shutil
import sys

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from decaffeinate.image_terminal import show_images
from decaffeinate.inspection import Inspection
from decaffeinate.summary import Summary
from verify.parity import Parity
from verify.report import BackendResult, Report

__all__ = ["new_console", "show_inspection", "show_report", "show_summary"]

_WORST_SHOWN = 5
_PIPED_WIDTH = 200
_UNBROKEN = 100_000


def new_console(stderr: bool = False) -> Console:
    """Standard output, or standard error, that can show every name."""
    stream = sys.stderr if stderr else sys.stdout
    if isinstance(stream, io.TextIOWrapper):
        # A name that the terminal's encoding lacks is no reason to fail.
        stream.reconfigure(errors="backslashreplace")
    width = shutil.get_terminal_size().columns if stream.isatty() else _PIPED_WIDTH
    return Console(file=stream, width=width, highlight=False, soft_wrap=False)


def _notes(notes: list[str] | tuple[str, ...]) -> None:
    console = new_console(stderr=True)
    for note in notes:
        console.print(f"note: {escape(note)}", soft_wrap=True)


def show_report(report: Report, notes: bool = True, layers: bool = False) -> None:
    """A verification: a line a backend and feed, what failed, and the verdict.

    Args:
        report: the verification.
        notes: whether its notes are printed too, on standard error.
        layers: whether the parameters of each layer are listed.
    """
    console = new_console()
    if notes:
        _notes(report.notes)
    console.print(
        f"{escape(report.net)}: {report.parameters:,} parameters, {escape(report.weights)}"
    )
    console.print(f"tolerance: {report.tolerance}")
    table = Table(box=None, pad_edge=False)
    for title in ("backend", "inputs", "blobs"):
        table.add_column(title, no_wrap=True)
    table.add_column("worst blob", overflow="fold")
    table.add_column("error / allowed", justify="right")
    table.add_column("drift at outputs", justify="right")
    classifier = any(_top(result) for result in report.results)
    if classifier:
        table.add_column("top-1 / top-5", justify="right")
    table.add_column("parameters stored", overflow="fold")
    table.add_column("bytes on disk / 4 a parameter", justify="right")
    table.add_column("")
    for result in report.results:
        table.add_row(*_cells(result, classifier))
    console.print(table)
    for result in report.results:
        _show_unbounded(console, result)
        _show_matching(console, result)
        for output in result.outputs:
            if output.detections is not None:
                console.print(
                    f"{escape(result.backend)} on {escape(result.inputs)}, "
                    f"{escape(output.blob)}: {output.detections}",
                    soft_wrap=True,
                )
    for pair in report.across:
        verdict = "agree" if pair.passed else "DIFFER"
        console.print(
            f"{pair.first} and {pair.second} {verdict} on {escape(pair.inputs)}: "
            f"{pair.compared} blobs, most apart in {escape(pair.worst.blob)} "
            f"({pair.worst.error:.2g}, allowed {pair.worst.allowed:.2g})"
        )
    for result in report.results:
        for note in result.notes:
            console.print(f"{escape(result.backend)} on {escape(result.inputs)}: {escape(note)}",
                          soft_wrap=True)  # fmt: skip
    if layers:
        _show_layers(console, report)
    for result in report.results:
        _show_faults(console, result)
    show_images(report.images)
    colour = "green" if report.passed else "red"
    faults = [result for result in report.results if result.first_fault is not None]
    for result in faults:
        console.print(
            f"[red]{escape(result.backend)} on {escape(result.inputs)}[/red]: "
            f"{escape(str(result.first_fault))}",
            soft_wrap=True,
        )
        if result.repro is not None and result.first_fault is not None:
            what = "those layers" if result.first_fault.among else "that layer"
            console.print(f"  {what} alone: {escape(result.repro)}", soft_wrap=True)
    console.print(f"[{colour}]{report.verdict}[/{colour}]")


def _show_matching(console: Console, result: BackendResult) -> None:
    """How much of the net was found in a file of another tool's making."""
    found = result.artifact
    if found is None:
        return
    stored = found.parameters
    changed = ""
    if stored.changed:
        more = f" and {len(stored.changed) - _WORST_SHOWN} more"
        names = ", ".join(stored.changed[:_WORST_SHOWN])
        changed = f" (not as they are: {names}{more if len(stored.changed) > _WORST_SHOWN else ''})"
    console.print(
        f"{escape(result.backend)} on {escape(result.inputs)}: {found.matched} blobs found among "
        f"{found.values} values, {found.fused} computed within others; {stored.stored:,} of "
        f"{stored.source:,} parameters stored bit for bit{escape(changed)}",
        soft_wrap=True,
    )


def _show_unbounded(console: Console, result: BackendResult) -> None:
    """Where float32 may overflow or divide by 0, so that no bound could be derived."""
    rows = [row for row in result.blobs if row.unbounded]
    if rows:
        names = ", ".join(row.blob for row in rows[:_WORST_SHOWN])
        more = f" and {len(rows) - _WORST_SHOWN} more" if len(rows) > _WORST_SHOWN else ""
        console.print(
            f"{escape(result.backend)} on {escape(result.inputs)}: "
            f"{sum(row.unbounded for row in rows):,} values of {escape(names)}{more} have no "
            "derived bound: judged by 1e-4 of the scale",
            soft_wrap=True,
        )


def _top(result: BackendResult) -> str:
    """What the classifier outputs agree in, the worst of several."""
    shares = [(row.top1, row.top5) for row in result.outputs if row.top1 is not None]
    if not shares:
        return ""
    first, five = min(first for first, _ in shares), min(five or 0.0 for _, five in shares)
    return f"{100 * first:.4g}% / {100 * five:.4g}%"


def _equality(parity: Parity) -> str:
    """What stored values are to the source's, where all is right."""
    equal = "bit-equal" if parity.dtype == "float32" else f"rounded to {parity.dtype}"
    if not parity.changed:
        return equal
    others = f", else {equal}" if parity.changed < parity.stored else ""
    return f"{parity.changed:,} as folded{others}"


def _cells(result: BackendResult, classifier: bool) -> list[str]:
    passed = sum(blob.passed for blob in result.blobs)
    worst = result.worst
    drifts = [row.drift for row in result.outputs if row.drift == row.drift]
    parity = result.parity
    stored = size = ""
    if parity is not None:
        folded = f", {parity.folded:,} folded" if parity.folded else ""
        same = _equality(parity) if parity.passed else "DIFFER"
        stored = f"{parity.stored:,} of {parity.source:,}{folded}, {same}"
        size = f"{parity.disk_bytes:,} / {parity.expected_bytes:,}"
    return [
        escape(result.version or result.backend),
        escape(result.inputs),
        f"{passed}/{len(result.blobs)}",
        escape(worst.blob) if worst else "",
        f"{worst.error:.2g} / {worst.allowed:.2g} = {worst.ratio:.2g}" if worst else "",
        f"{max(drifts):.2g}" if drifts else "",
        *([_top(result)] if classifier else []),
        stored,
        size,
        "[green]pass[/green]" if result.passed else "[red]FAIL[/red]",
    ]


def _show_layers(console: Console, report: Report) -> None:
    """Parameters by layer, in the source and in each backend's files."""
    parities = {result.backend: result.parity for result in report.results if result.parity}
    if not parities:
        return
    table = Table(box=None, pad_edge=False)
    table.add_column("parameters of layer", overflow="fold")
    for title in ("source", *parities):
        table.add_column(title, justify="right")
    table.add_column("", overflow="fold")
    for rows in zip(*(parity.layers for parity in parities.values()), strict=True):
        stored = [f"{row.stored:,}" if row.passed else f"[red]{row.stored:,}[/red]" for row in rows]
        notes = dict.fromkeys(note for row in rows for note in row.notes)
        table.add_row(
            escape(rows[0].layer), f"{rows[0].source:,}", *stored, escape("; ".join(notes))
        )
    table.add_section()
    totals = [f"{parity.stored:,}" for parity in parities.values()]
    source = f"{next(iter(parities.values())).source:,}"
    table.add_row("total", source, *totals, "")
    sizes = [f"{parity.memory_bytes:,}" for parity in parities.values()]
    expected = f"{next(iter(parities.values())).expected_bytes:,}"
    table.add_row("bytes in memory", expected, *sizes, "")
    if any(parity.constants for parity in parities.values()):
        constants = [f"{parity.constants:,}" for parity in parities.values()]
        table.add_row("constants besides", "", *constants, "")
    disk = [f"{parity.disk_bytes:,}" for parity in parities.values()]
    table.add_row("bytes on disk", "", *disk, "")
    console.print(table)


def _show_faults(console: Console, result: BackendResult) -> None:
    name = f"{result.backend} on {result.inputs}"
    if result.problem is not None:
        console.print(f"[red]{escape(name)}[/red]: {escape(result.problem)}", soft_wrap=True)
    wrong = [blob for blob in result.blobs if not blob.passed]
    for blob in wrong[:_WORST_SHOWN]:
        console.print(
            f"[red]{escape(name)}[/red]: {escape(blob.blob)}: {escape(blob.text)}", soft_wrap=True
        )
    if len(wrong) > _WORST_SHOWN:
        console.print(f"[red]{escape(name)}[/red]: and {len(wrong) - _WORST_SHOWN} more blobs")
    if result.parity is not None:
        for problem in result.parity.problems:
            console.print(f"[red]{escape(name)}[/red]: {escape(problem)}", soft_wrap=True)
        for layer in result.parity.layers:
            if not layer.passed:
                text = "; ".join(layer.problems) or (
                    f"{layer.source:,} parameters in the source, "
                    f"{layer.stored:,} stored, {layer.folded:,} folded"
                )
                where = f"{escape(name)}[/red]: layer {escape(layer.layer)}"
                console.print(f"[red]{where}: {escape(text)}", soft_wrap=True)


def show_summary(summary: Summary) -> None:
    """A batch: a line a net, on standard output; what is said of it at length follows it on
    standard error."""
    console = new_console()
    if not console.is_terminal:
        console.width = _UNBROKEN  # a line a net, for whoever reads it by lines
    table = Table(box=None, pad_edge=False)
    for title in ("net", "weights"):
        table.add_column(title, overflow="fold")
    table.add_column("parameters", justify="right")
    table.add_column("result", overflow="fold")
    table.add_column("seconds", justify="right")
    rows = summary.rows
    for row in rows:
        colour = "green" if row.good else "red"
        table.add_row(
            escape(row.net),
            escape(row.weights),
            "" if row.parameters is None else f"{row.parameters:,}",
            f"[{colour}]{escape(row.result)}[/{colour}]",
            f"{row.seconds:.1f}",
        )
    console.print(table)
    console.print(escape(summary.total))
    console.file.flush()
    beside = new_console(stderr=True)
    for row in rows:
        for text in row.messages:
            beside.print(escape(text), soft_wrap=True)


def show_inspection(table: Inspection) -> None:
    """A net's layers with totals."""
    console = new_console()
    _notes(table.warnings)
    console.print(
        f"{escape(table.net or 'unnamed net')} ({escape(table.path)}), phase {table.phase}"
    )
    rows = Table(box=None, pad_edge=False)
    rows.add_column("layer", overflow="fold")
    rows.add_column("type", overflow="fold")
    rows.add_column("output", overflow="fold")
    rows.add_column("parameters", justify="right")
    rows.add_column("MACs", justify="right")
    for row in table.layers:
        shapes = ", ".join(
            "?" if s is None else "x".join(map(str, s)) or "scalar" for s in row.shapes
        )
        kind = escape(f"{row.type} ({row.reads})" if row.reads else row.type)
        if row.status:
            kind = f"[yellow]{kind} ({row.status})[/yellow]"
        rows.add_row(
            escape(row.name),
            kind,
            shapes,
            "?" if row.parameters is None else f"{row.parameters:,}" if row.parameters else "",
            "?" if row.macs is None else f"{row.macs:,}" if row.macs else "",
        )
    rows.add_section()
    totals = [
        f"{total:,}" if table.complete else f"at least {total:,}" if total else "?"
        for total in (table.parameters, table.macs)
    ]
    rows.add_row("total", f"{len(table.layers)} layers", "", *totals)
    console.print(rows)
    console.print(
        f"inputs: {escape(', '.join(table.inputs))}; outputs: {escape(', '.join(table.outputs))}"
    )
