"""The commands `decaffeinate ref`: the reference family."""

from __future__ import annotations

import json
from pathlib import Path

import click

from decaffeinate.options import CONTEXT, failing_cleanly
from decaffeinate.progress import Progress

__all__ = ["ref"]


@click.group(context_settings=CONTEXT)
def ref() -> None:
    """The reference family: SqueezeNet definitions, seeded weights, and the published weights."""


@ref.command(name="list", context_settings=CONTEXT)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@failing_cleanly
def list_(as_json: bool) -> None:
    """List the definitions that `write` makes and the published weights that `fetch` gets."""
    from decaffeinate.reference_family import catalogue

    content = catalogue()
    if as_json:
        click.echo(json.dumps(content, indent=1))
        return
    for title, rows in content.items():
        click.echo(f"{title}:")
        width = max(map(len, rows))
        for name, text in rows.items():
            click.echo(f"  {name:<{width}}  {text}")


@ref.command(context_settings=CONTEXT)
@click.argument("name")
@click.option("-o", "--output", type=click.Path(path_type=Path), default=Path(), metavar="DIR",
              help="Folder for the two files. Default: the current one.")  # fmt: skip
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of the weights.")
@click.option(
    "--input-size", type=int, help="Height and width of the input. Default: the published one."
)
@click.option("--batch", type=int, help="Batch size. Default: the published one.")
@failing_cleanly
def write(name: str, output: Path, seed: int, input_size: int | None, batch: int | None) -> None:
    """Write the definition NAME and seeded weights: the same bits on every machine. For names see
    `ref list`."""
    from decaffeinate.reference_family import write_reference

    for path in write_reference(name, output, seed, input_size, batch):
        click.echo(str(path))


@ref.command(context_settings=CONTEXT)
@click.argument("name")
@click.option(
    "--mirror", metavar="URL", help="Fetch from this base address instead of the authors' own."
)
@failing_cleanly
def fetch(name: str, mirror: str | None) -> None:
    """Download the published weights NAME into the cache, checked against their hash. For names see
    `ref list`."""
    from decaffeinate.reference_family import fetch_published

    with Progress(False) as progress:
        paths = fetch_published(name, mirror, progress)
    for path in paths:
        click.echo(str(path))
