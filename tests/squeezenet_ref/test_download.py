"""Downloads against a local HTTP server that behaves, breaks, lies and forgets."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from prototxt import load_net
from prototxt.errors import FileError, UsageError
from squeezenet_ref import cache_folder, download, fetch, published, releases
from squeezenet_ref.releases import Published, PublishedFile

CONTENT = bytes(range(256)) * 1000  # 256,000 bytes, four chunks
DEFINITION = b'layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 } } }\n'
COMMIT = "0123456789abcdef0123456789abcdef01234567"


def blob_id(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


WEIGHTS = PublishedFile(
    "some/where",
    COMMIT,
    "folder/net.caffemodel",
    blob_id(CONTENT),
    hashlib.sha256(CONTENT).hexdigest(),
    len(CONTENT),
)
DEPLOY = PublishedFile("some/where", COMMIT, "folder/deploy.prototxt", blob_id(DEFINITION))


class Server(ThreadingHTTPServer):
    """Serves `files`; each entry of `script` is what happens to one request, then all goes well."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files = {f"/{WEIGHTS.place}": CONTENT, f"/{DEPLOY.place}": DEFINITION}
        self.script: list[str] = []
        self.requests: list[tuple[str, str | None]] = []
        self.tag = '"one"'

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def log_message(self, format: str, *args: object) -> None:
        pass

    def do_GET(self) -> None:
        wanted = self.headers.get("Range")
        self.server.requests.append((self.path, wanted))
        happens = self.server.script.pop(0) if self.server.script else ""
        content = self.server.files.get(self.path)
        if content is None:
            self.send_error(404)
            return
        if happens.isdigit():
            self.send_error(int(happens))
            return
        start = 0
        if wanted and self.headers.get("If-Range") == self.server.tag and happens != "whole":
            start = int(wanted.removeprefix("bytes=").rstrip("-"))
        if happens == "another":
            start += 1
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        if happens != "untagged":
            self.send_header("ETag", self.server.tag)
        if happens != "unsized":
            self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        rest = content[start:]
        self.wfile.write(rest[:100_000] if happens in ("cut", "untagged") else rest)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    entry = Published("test", "a test", "1.1", "none", WEIGHTS, DEPLOY)
    bare = Published("bare", "without definition", "simple-bypass", "none", WEIGHTS, None)
    monkeypatch.setattr(releases, "_PUBLISHED", (entry, bare))
    for name in ("http_proxy", "HTTP_PROXY", "DECAFFEINATE_MIRROR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with Server() as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.01,))
        thread.start()
        yield running
        running.shutdown()
        thread.join()


def files_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


def test_download_then_cache(server: Server, tmp_path: Path) -> None:
    calls: list[tuple[str, int, int | None]] = []
    fetched = fetch(
        "test", cache=tmp_path, base_url=server.url, progress=lambda *call: calls.append(call)
    )
    assert fetched.weights.read_bytes() == CONTENT
    assert fetched.prototxt.read_bytes() == DEFINITION
    assert fetched.weights == tmp_path / "some/where" / COMMIT / "folder/net.caffemodel"
    assert server.requests == [(f"/{WEIGHTS.place}", None), (f"/{DEPLOY.place}", None)]
    received = [done for name, done, _ in calls if name == "net.caffemodel"]
    assert received == sorted(received)
    assert received[-1] == len(CONTENT)
    assert {total for name, _, total in calls if name == "net.caffemodel"} == {len(CONTENT)}
    # The second time neither the network is asked nor progress made.
    calls.clear()
    assert fetch("test", cache=tmp_path, base_url="http://127.0.0.1:9") == fetched
    assert not calls
    assert files_in(tmp_path) == ["deploy.prototxt", "net.caffemodel"]


def test_damaged_cache_is_replaced(server: Server, tmp_path: Path) -> None:
    fetched = fetch("test", cache=tmp_path, base_url=server.url)
    fetched.weights.write_bytes(CONTENT[:-1])
    assert fetch("test", cache=tmp_path, base_url=server.url).weights.read_bytes() == CONTENT


def test_definition_is_generated_where_none_was_published(server: Server, tmp_path: Path) -> None:
    fetched = fetch("bare", cache=tmp_path, base_url=server.url)
    net = load_net(fetched.prototxt)
    assert net.name == "bare"
    assert any(layer.name == "bypass_89" for layer in net)


def test_broken_transfer_is_taken_up_where_it_broke(server: Server, tmp_path: Path) -> None:
    server.script = ["cut", "cut"]
    path = download.fetch_file(WEIGHTS, tmp_path, server.url, pause=0)
    assert path.read_bytes() == CONTENT
    ranges = [wanted for _, wanted in server.requests]
    assert ranges == [None, "bytes=100000-", "bytes=200000-"]


def test_server_that_does_not_resume_sends_all_again(server: Server, tmp_path: Path) -> None:
    server.script = ["cut", "whole"]
    path = download.fetch_file(WEIGHTS, tmp_path, server.url, pause=0)
    assert path.read_bytes() == CONTENT
    server.script = ["untagged"]
    path.unlink()
    server.requests.clear()
    assert download.fetch_file(WEIGHTS, tmp_path, server.url, pause=0).read_bytes() == CONTENT
    assert [wanted for _, wanted in server.requests] == [None, None]


@pytest.mark.parametrize("answer", ["503", "429", "416", "another"])
def test_passing_trouble_is_sat_out(answer: str, server: Server, tmp_path: Path) -> None:
    server.script = ["cut", answer]
    path = download.fetch_file(WEIGHTS, tmp_path, server.url, pause=0)
    assert path.read_bytes() == CONTENT


def test_length_that_the_server_does_not_say(server: Server, tmp_path: Path) -> None:
    server.script = ["unsized"]
    totals: set[int | None] = set()
    download.fetch_file(WEIGHTS, tmp_path, server.url, lambda _n, _d, total: totals.add(total))
    assert totals == {None}


HINT = "try again later, or name a mirror with $DECAFFEINATE_MIRROR"


def test_not_found(server: Server, tmp_path: Path) -> None:
    server.files.clear()
    with pytest.raises(FileError) as caught:
        fetch("test", cache=tmp_path, base_url=server.url, pause=0)
    assert str(caught.value) == (
        f"{server.url}/{WEIGHTS.place}: net.caffemodel cannot be downloaded: "
        "the server answered 404 Not Found\n"
        "  expected: folder/net.caffemodel of github.com/some/where at 0123456\n"
        f"  to do: check the network connection; {HINT}"
    )
    assert len(server.requests) == 1  # it would answer the same again
    assert not files_in(tmp_path)


def test_attempts_end(server: Server, tmp_path: Path) -> None:
    server.script = ["503"] * 9
    with pytest.raises(FileError, match="the server answered 503 Service Unavailable"):
        download.fetch_file(WEIGHTS, tmp_path, server.url, attempts=3, pause=0)
    assert len(server.requests) == 3
    server.script = ["untagged"] * 9
    with pytest.raises(FileError, match="the transfer broke after 100000 of 256000 bytes"):
        download.fetch_file(WEIGHTS, tmp_path, server.url, attempts=2, pause=0)
    assert not files_in(tmp_path)


def test_offline(server: Server, tmp_path: Path) -> None:
    with Server() as gone:
        url = gone.url
    with pytest.raises(FileError) as caught:
        fetch("test", cache=tmp_path, base_url=url, attempts=2, pause=0)
    assert "net.caffemodel cannot be downloaded: Connection refused" in str(caught.value)
    assert not files_in(tmp_path)


def test_wrong_content_is_not_kept(server: Server, tmp_path: Path) -> None:
    page = b"<!DOCTYPE html><title>Log in</title>"
    server.files[f"/{WEIGHTS.place}"] = page
    with pytest.raises(FileError) as caught:
        fetch("test", cache=tmp_path, base_url=server.url)
    assert str(caught.value) == (
        f"{server.url}/{WEIGHTS.place}: what came is not net.caffemodel of some/where, "
        "and was not kept\n"
        f"  - size: expected 256000 bytes, got {len(page)}\n"
        f"  - git blob: expected {WEIGHTS.git_blob}, got {blob_id(page)}\n"
        f"  - sha256: expected {WEIGHTS.sha256}, got {hashlib.sha256(page).hexdigest()}\n"
        "  - it is an HTML page\n"
        f"  to do: a proxy or a mirror may have answered in its place; {HINT}"
    )
    assert not files_in(tmp_path)


def test_one_wrong_bit_is_found(server: Server, tmp_path: Path) -> None:
    server.files[f"/{DEPLOY.place}"] = DEFINITION[:-1] + b" "
    with pytest.raises(FileError, match=r"(?s)deploy\.prototxt.*git blob: expected"):
        fetch("test", cache=tmp_path, base_url=server.url)
    assert files_in(tmp_path) == ["net.caffemodel"]


def test_content_that_changes_between_two_parts(server: Server, tmp_path: Path) -> None:
    """If-Range makes the server send everything when its file is another by now."""
    server.script = ["cut"]
    calls: list[int] = []

    def replaced(_name: str, done: int, _total: int | None) -> None:
        server.tag = '"two"'
        calls.append(done)

    path = download.fetch_file(WEIGHTS, tmp_path, server.url, replaced, pause=0)
    assert path.read_bytes() == CONTENT
    assert server.requests[1][1] == "bytes=100000-"
    assert calls[-1] == len(CONTENT)


def test_mirror_of_the_environment(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DECAFFEINATE_MIRROR", server.url + "/")
    monkeypatch.setenv("DECAFFEINATE_CACHE", str(tmp_path / "own"))
    assert fetch("test").weights == tmp_path / "own" / WEIGHTS.repository / COMMIT / WEIGHTS.path


def test_cache_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DECAFFEINATE_CACHE", str(tmp_path))
    assert cache_folder() == tmp_path
    monkeypatch.delenv("DECAFFEINATE_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_folder() == tmp_path / "xdg" / "decaffeinate"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_folder() == tmp_path / ".cache" / "decaffeinate"


def test_unusable_arguments(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        fetch("squeezenet-v1.1", cache=tmp_path, base_url="ftp://mirror")
    assert str(caught.value) == (
        '"ftp://mirror" cannot be used as a base URL\n  expected: http:// or https://'
    )
    with pytest.raises(UsageError) as caught:
        fetch("squeezenet-v2", cache=tmp_path)
    assert str(caught.value) == (
        'no published weights are called "squeezenet-v2"\n'
        "  expected: one of squeezenet-v1.0, squeezenet-v1.1, squeezenet-residual, "
        "squeezenet-dsd, squeezenet-compressed"
    )
    (tmp_path / "file").write_text("")
    with pytest.raises(FileError, match="the cache cannot be made"):
        fetch("squeezenet-v1.1", cache=tmp_path / "file", base_url="http://127.0.0.1:9")


def test_what_is_published() -> None:
    entries = {entry.name: entry for entry in published()}
    assert len(entries) == 5
    for entry in entries.values():
        for file in (entry.weights, entry.definition):
            assert file is None or len(file.commit) == len(file.git_blob) == 40
        assert entry.licence == "BSD-2-Clause"
    v1_1 = entries["squeezenet-v1.1"].weights
    assert v1_1.place == (
        "forresti/SqueezeNet/51147dc0681638c28aad593b9e923f3500117125/"
        "SqueezeNet_v1.1/squeezenet_v1.1.caffemodel"
    )
    # Git blob ids and sha256 as the project's owner recorded them from the repositories.
    assert {entry.weights.git_blob for entry in entries.values()} >= {
        "a381d848b43d7048c3b362238ece2386c21d6ff0",
        "9d2fc33abf653a6e8b2ee6cc63ede0e72ec67f44",
        "ffce3635e4a837e7bc783fea3f48fcc48a1e93a6",
        "f9d4678b926a742b6dea15e1c5ec60291a45d018",
    }


@pytest.mark.parametrize("entry", published(), ids=lambda entry: entry.name)
def test_hashes_are_those_of_the_files_at_hand(entry: Published) -> None:
    from tests.squeezenet_ref.net_facts import MODELS

    copies = {
        "SqueezeNet_v1.0/deploy.prototxt": "squeezenet_definitions/v1.0.deploy.prototxt",
        "SqueezeNet_v1.1/deploy.prototxt": "squeezenet_definitions/v1.1.deploy.prototxt",
        "SqueezeNet_deploy.prototxt": "squeezenet_v1.0_deep_compression/SqueezeNet_deploy.prototxt",
        "compressed_SqueezeNet.net": "squeezenet_v1.0_deep_compression/compressed_SqueezeNet.net",
    }
    known = [f for f in (entry.weights, entry.definition) if f is not None and f.path in copies]
    if not MODELS.is_dir():
        pytest.skip("published models are not shipped; set DECAFFEINATE_MODELS")
    for file in known:
        assert not download.mismatches(file, (MODELS / copies[file.path]).read_bytes())
