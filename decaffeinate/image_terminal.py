"""What many images said, as lines on the terminal."""

from __future__ import annotations

from collections.abc import Sequence

import click

from verify.image_agreement import OFF, ImageAgreement

__all__ = ["show_images"]

_SHOWN = 5


def show_images(rows: Sequence[ImageAgreement]) -> None:
    """Print a line a backend and output, and the images to look at."""
    for row in rows:
        head = f"{row.backend} on all images, {row.output}: "
        if row.problem is not None:
            click.echo(f"{head}FAILED at {row.problem}")
            continue
        parts = [f"{row.images} images"]
        if row.top1 is not None and row.top5 is not None:
            parts.append(f"the reference's top-1 in {_share(row.top1, row.images)}")
            parts.append(f"its top-5 in {_share(row.top5, row.images)}")
        worst = f" ({row.worst})" if row.worst is not None else ""
        parts.append(f"greatest drift {row.drift:.2g} of scale{worst}")
        click.echo(head + ", ".join(parts))
        if row.labelled:
            click.echo(f"  by the labels of {row.labelled}: " + "; ".join(
                f"top-{number} right in {_share(mine or 0, row.labelled)}, the reference in "
                f"{_share(its or 0, row.labelled)}"
                for number, mine, its in (
                    (1, row.right1, row.reference_right1),
                    (5, row.right5, row.reference_right5),
                )
            ))  # fmt: skip
        if row.differing:
            click.echo(f"  another first class: {_listed(row.differing)}")
        if row.off:
            click.echo(f"  DIFFERENT, off by more than {OFF:g} of scale: {_listed(row.off)}")


def _share(count: int, whole: int) -> str:
    return f"{count} ({100 * count / whole:.4g}%)"


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
