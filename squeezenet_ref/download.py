"""Published weights on this machine: downloaded once, checked always, never half there."""

from __future__ import annotations

import hashlib
import http.client
import os
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from prototxt.atomic import atomic_file
from prototxt.errors import FileError, UsageError
from squeezenet_ref.generator import generate
from squeezenet_ref.releases import PublishedFile, release

__all__ = ["BASE_URL", "Fetched", "Progress", "cache_folder", "fetch", "fetch_file"]

BASE_URL = "https://raw.githubusercontent.com"
Progress = Callable[[str, int, int | None], None]
"""Called with the file's name, the bytes received and the bytes expected (None: not known)."""

_CHUNK = 1 << 16
_TIMEOUT = 30.0  # seconds without a byte
_LATER = "try again later, or name a mirror with $DECAFFEINATE_MIRROR"


@dataclass(frozen=True)
class Fetched:
    """Published weights and their definition, as files."""

    prototxt: Path
    weights: Path


def cache_folder() -> Path:
    """$DECAFFEINATE_CACHE, else `decaffeinate` in $XDG_CACHE_HOME, else in ~/.cache."""
    if own := os.environ.get("DECAFFEINATE_CACHE"):
        return Path(own)
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "decaffeinate"


def fetch(
    name: str,
    *,
    cache: str | Path | None = None,
    base_url: str | None = None,
    progress: Progress | None = None,
    attempts: int = 4,
    pause: float = 1.0,
) -> Fetched:
    """Published weights and their deploy definition, from the cache or the network.

    Args:
        name: a name of `published()`.
        cache: folder to keep the files in; by default `cache_folder()`.
        base_url: a mirror with raw.githubusercontent.com's layout, OWNER/REPOSITORY/COMMIT/PATH; by
            default $DECAFFEINATE_MIRROR, else raw.githubusercontent.com itself.
        progress: called while bytes come in; not called for files that the cache has.
        attempts: how often a broken transfer is taken up where it broke.
        pause: seconds before the second attempt; doubled before each further one.

    Raises:
        UsageError: an unknown name, or a base URL that is neither http nor https.
        FileError: no network, no such file there, or a file that is not the published one; it is
            not kept.
    """
    entry = release(name)
    weights = fetch_file(entry.weights, cache, base_url, progress, attempts, pause)
    if entry.definition is not None:
        definition = fetch_file(entry.definition, cache, base_url, progress, attempts, pause)
        return Fetched(definition, weights)
    definition = weights.with_name(f"{entry.name}.prototxt")
    with atomic_file(definition) as file:
        file.write(generate(entry.architecture, net_name=entry.name).encode())
    return Fetched(definition, weights)


def fetch_file(
    file: PublishedFile,
    cache: str | Path | None = None,
    base_url: str | None = None,
    progress: Progress | None = None,
    attempts: int = 4,
    pause: float = 1.0,
) -> Path:
    """One published file; arguments and errors as for `fetch`."""
    folder = Path(cache) if cache is not None else cache_folder()
    target = folder / file.repository / file.commit / file.path
    if target.is_file() and _mismatch(file, target) is None:
        return target
    base = base_url or os.environ.get("DECAFFEINATE_MIRROR") or BASE_URL
    if not base.startswith(("http://", "https://")):
        raise UsageError(f'"{base}" cannot be used as a base URL', expected="http:// or https://")
    url = f"{base.rstrip('/')}/{file.place}"
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FileError(
            f"the cache cannot be made: {error.strerror or error}",
            where=str(target.parent),
            hint="name another folder with $DECAFFEINATE_CACHE",
        ) from None
    with atomic_file(target) as out:
        _Transfer(url, file, out, progress).run(attempts, pause)
        out.flush()
        if problem := _mismatch(file, Path(out.name)):
            raise FileError(
                f"what came is not {file.name} of {file.repository}, and was not kept",
                where=url,
                details=problem,
                hint="a proxy or a mirror may have answered in its place; " + _LATER,
            )
    return target


class _Transfer:
    """One download, taken up where it broke as long as attempts last."""

    def __init__(
        self, url: str, file: PublishedFile, out: BinaryIO, progress: Progress | None
    ) -> None:
        self.url = url
        self.file = file
        self.out = out
        self.progress = progress
        self.done = 0
        self.validator: str | None = None  # proves to the server that both parts are of one content

    def run(self, attempts: int, pause: float) -> None:
        reason = ""
        for attempt in range(max(1, attempts)):
            if attempt:
                time.sleep(pause * 2 ** (attempt - 1))
            try:
                self._receive()
                return
            except urllib.error.HTTPError as error:
                error.close()
                reason = f"the server answered {error.code} {error.reason}"
                if error.code == 416:  # the part is no prefix of what is there now
                    self.done = 0
                elif error.code < 500 and error.code not in (408, 429):
                    break  # it will answer the same again
            except (OSError, http.client.HTTPException) as error:
                cause = error.reason if isinstance(error, urllib.error.URLError) else error
                reason = getattr(cause, "strerror", None) or str(cause) or type(cause).__name__
        raise FileError(
            f"{self.file.name} cannot be downloaded: {reason}",
            where=self.url,
            expected=str(self.file),
            hint="check the network connection; " + _LATER,
        )

    def _receive(self) -> None:
        headers = {"User-Agent": "decaffeinate", "Accept-Encoding": "identity"}
        if self.done and self.validator:
            headers |= {"Range": f"bytes={self.done}-", "If-Range": self.validator}
        request = urllib.request.Request(self.url, headers=headers)
        with urllib.request.urlopen(request, timeout=_TIMEOUT) as response:
            start = self.done if response.status == 206 else 0
            if start and not response.headers.get("Content-Range", "").startswith(
                f"bytes {start}-"
            ):
                raise OSError("the server continued at another place")
            self.done = start
            self.out.seek(start)
            self.out.truncate()
            tag = response.headers.get("ETag", "")
            self.validator = tag if tag.startswith('"') else response.headers.get("Last-Modified")
            length = response.headers.get("Content-Length")
            total = start + int(length) if length is not None else None
            while chunk := response.read(_CHUNK):
                self.out.write(chunk)
                self.done += len(chunk)
                if self.progress is not None:
                    self.progress(self.file.name, self.done, total)
            if total is not None and self.done < total:
                raise OSError(f"the transfer broke after {self.done} of {total} bytes")


def _mismatch(file: PublishedFile, path: Path) -> list[str] | None:
    """What tells the content from the published one, a line each; None if nothing does."""
    size = path.stat().st_size
    sha256 = hashlib.sha256()
    # Git's name for the content, not a protection: what protects is HTTPS, and sha256 where it is
    # known.
    blob = hashlib.sha1(b"blob %d\0" % size, usedforsecurity=False)
    with path.open("rb") as content:
        start = content.read(9)
        content.seek(0)
        while chunk := content.read(_CHUNK):
            sha256.update(chunk)
            blob.update(chunk)
    problems = []
    if file.size is not None and size != file.size:
        problems.append(f"size: expected {file.size} bytes, got {size}")
    if blob.hexdigest() != file.git_blob:
        problems.append(f"git blob: expected {file.git_blob}, got {blob.hexdigest()}")
    if file.sha256 is not None and sha256.hexdigest() != file.sha256:
        problems.append(f"sha256: expected {file.sha256}, got {sha256.hexdigest()}")
    if problems and start.lstrip().lower().startswith((b"<!doctyp", b"<html")):
        problems.append("it is an HTML page")
    return problems or None
