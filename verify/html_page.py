"""What the pages that this project writes have in common: each is one file that needs nothing else.

Text from nets, frameworks and errors is escaped by the template engine, and characters that are not
printed (or turn the direction of writing) are shown by their codes.  Styles and script are in the
page and allowed by their hashes only, so that even markup that got in could not run.
"""

from __future__ import annotations

import base64
import hashlib
from importlib.resources import files
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jinja2 import Environment

__all__ = ["asset", "count", "environment", "policy"]


def environment(package: str) -> Environment:
    """What makes pages of the templates of a package."""
    import jinja2

    made = jinja2.Environment(
        loader=jinja2.PackageLoader(package, "templates"),
        autoescape=True,
        undefined=jinja2.ChainableUndefined,
        finalize=_shown,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters["count"] = count
    return made


def asset(name: str) -> str:
    """A text that stands in pages as it is, such as report.css."""
    return files("verify").joinpath("templates", name).read_text(encoding="utf-8")


def policy(style: str, script: str | None = None) -> str:
    """The page's content security policy: nothing is loaded, and only these texts apply."""
    allowed = "'none'" if script is None else f"'sha256-{_hash(script)}'"
    return (
        f"default-src 'none'; style-src 'sha256-{_hash(style)}'; "
        f"script-src {allowed}; img-src data:; base-uri 'none'; form-action 'none'"
    )


def _hash(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def count(value: int | None) -> str:
    """A count as it is shown."""
    return "\u2014" if value is None else f"{value:,}"


def _shown(value: object) -> object:
    """Text with what cannot be seen as codes; other values, and finished markup, as they are."""
    if type(value) is not str or value.isprintable():
        return value
    return "".join(
        char if char.isprintable() or char == "\n" else char.encode("unicode_escape").decode()
        for char in value
    )
