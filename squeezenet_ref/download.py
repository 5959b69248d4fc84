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

from prototxt.atomic import atomic_file
from prototxt.errors import FileError, UsageError
from squeezenet_ref.generator import generate
from squeezenet_ref.releases import PublishedFile, release

__all__ = ["BASE_URL", "Fetched", "Progress", "cache_folder", "fetch", "fetch_file", "mismatches"]

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
    if target.is_file() and not mismatches(file, target.read_bytes()):
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
    content = _Transfer(url, file, progress).run(attempts, pause)
    if problems := mismatches(file, content):
        raise FileError(
            f"what came is not {file.name} of {file.repository}, and was not kept",
            where=url,
            details=problems,
            hint="a proxy or a mirror may have answered in its place; " + _LATER,
        )
    with atomic_file(target) as out:
        out.write(content)
    return target


class _Transfer:
    """One download, taken up where it broke as long as attempts last.

    It is held in memory: the published files have 5 MB at most, and nothing unchecked gets onto
    the disk.
    """

    def __init__(self, url: str, file: PublishedFile, progress: Progress | None) -> None:
        self.url = url
        self.file = file
        self.progress = progress
        self.content = bytearray()
        self.validator: str | None = None  # proves to the server that both parts are of one content

    def run(self, attempts: int, pause: float) -> bytearray:
        reason = ""
        for attempt in range(max(1, attempts)):
            if attempt:
                time.sleep(pause * 2 ** (attempt - 1))
            try:
                self._receive()
                return self.content
            except urllib.error.HTTPError as error:
                error.close()
                reason = f"the server answered {error.code} {error.reason}"
                if error.code == 416:  # the part is no prefix of what is there now
                    self.content.clear()
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
        if self.content and self.validator:
            headers |= {"Range": f"bytes={len(self.content)}-", "If-Range": self.validator}
        request = urllib.request.Request(self.url, headers=headers)
        with urllib.request.urlopen(request, timeout=_TIMEOUT) as response:
            start = len(self.content) if response.status == 206 else 0
            place = response.headers.get("Content-Range", "")
            if start and not place.startswith(f"bytes {start}-"):
                raise OSError("the server continued at another place")
            del self.content[start:]
            tag = response.headers.get("ETag", "")
            self.validator = tag if tag.startswith('"') else response.headers.get("Last-Modified")
            length = response.headers.get("Content-Length")
            total = start + int(length) if length is not None else None
            while chunk := response.read(_CHUNK):
                self.content += chunk
                if self.progress is not None:
                    self.progress(self.file.name, len(self.content), total)
            if total is not None and len(self.content) < total:
                raise OSError(f"the transfer broke after {len(self.content)} of {total} bytes")


def mismatches(file: PublishedFile, content: bytes | bytearray) -> list[str]:
    """What tells the content from the published one, a line each."""
    sha256 = hashlib.sha256(content).hexdigest()
    # Git's name for the content, not a protection: what protects is HTTPS, and sha256 where it is
    # known.
    blob = hashlib.sha1(b"blob %d\0" % len(content), usedforsecurity=False)
    blob.update(content)
    problems = []
    if file.size is not None and len(content) != file.size:
        problems.append(f"size: expected {file.size} bytes, got {len(content)}")
    if blob.hexdigest() != file.git_blob:
        problems.append(f"git blob: expected {file.git_blob}, got {blob.hexdigest()}")
    if file.sha256 is not None and sha256 != file.sha256:
        problems.append(f"sha256: expected {file.sha256}, got {sha256}")
    if problems and content[:100].lstrip().lower().startswith((b"<!doctype", b"<html")):
        problems.append("it is an HTML page")
    return problems
