"""What manifests and reports call the versions of a net's blobs."""

from __future__ import annotations

import re
from collections.abc import Iterable

__all__ = ["BlobKeys"]


class BlobKeys:
    """A text of its own for each version of each blob: "x" for the last, "x@0" for earlier ones.

    Where a blob's name itself ends so, more "@" stand before the number: the name of no blob ends
    in the separator and a number, so that no key is another blob's, and the number at the end of a
    key is the whole number of its version.
    """

    def __init__(self, names: Iterable[str]) -> None:
        self._separator = "@"
        texts = list(names)
        while any(re.search(rf"{self._separator}\d+\Z", text, re.ASCII) for text in texts):
            self._separator += "@"

    def key(self, name: str, version: int, last: int) -> str:
        """The key of a version; `last` is the number of the blob's last one."""
        return name if version == last else f"{name}{self._separator}{version}"
