"""The weights that SqueezeNet's authors published, and how to tell that a file is one of them."""

from __future__ import annotations

from dataclasses import dataclass

from prototxt.errors import UsageError

__all__ = ["Published", "PublishedFile", "published", "release"]

_FORRESTI = ("forresti/SqueezeNet", "51147dc0681638c28aad593b9e923f3500117125")
_COMPRESSION = ("songhan/SqueezeNet-Deep-Compression", "fb13faa2cf121ced9999f8a9d538ec6c56084733")
_RESIDUAL = ("songhan/SqueezeNet-Residual", "f8dc32059d17a7039cc337ceb664dc503f930d8d")
_DSD = ("songhan/SqueezeNet-DSD-Training", "de459d27c9e6cf6dd05ca2b74dcae4afe4b126c1")


@dataclass(frozen=True)
class PublishedFile:
    """One file of a public repository at one commit.

    `git_blob` is what git calls the content: the SHA-1 of "blob SIZE", a zero byte and the content;
    `sha256`, where known, is checked too.  `size` is in bytes, None where it was not published.
    """

    repository: str
    commit: str
    path: str
    git_blob: str
    sha256: str | None = None
    size: int | None = None

    @property
    def name(self) -> str:
        """The file's name without folders."""
        return self.path.rpartition("/")[2]

    def __str__(self) -> str:
        return f"{self.path} of github.com/{self.repository} at {self.commit[:7]}"

    @property
    def place(self) -> str:
        """OWNER/REPOSITORY/COMMIT/PATH, as raw.githubusercontent.com and its mirrors have it."""
        return f"{self.repository}/{self.commit}/{self.path}"


@dataclass(frozen=True)
class Published:
    """Published weights.

    `definition` is None where no deploy definition was published; `generate(architecture)` then
    writes one, with the same layer names.
    """

    name: str
    summary: str
    architecture: str
    licence: str
    weights: PublishedFile
    definition: PublishedFile | None


_COMPRESSED_DEPLOY = PublishedFile(
    *_COMPRESSION,
    "SqueezeNet_deploy.prototxt",
    "06aec8bc72542a11dfbc2d6dc9d41da093ad92c6",
    size=10_486,
)
_PUBLISHED = (
    Published(
        "squeezenet-v1.0",
        "v1.0, ImageNet, 80.3% top-5",
        "1.0",
        "BSD-2-Clause",
        PublishedFile(
            *_FORRESTI,
            "SqueezeNet_v1.0/squeezenet_v1.0.caffemodel",
            "a381d848b43d7048c3b362238ece2386c21d6ff0",
        ),
        PublishedFile(
            *_FORRESTI,
            "SqueezeNet_v1.0/deploy.prototxt",
            "f43073007c157c266e75b08479c9944c32272db7",
            size=9640,
        ),
    ),
    Published(
        "squeezenet-v1.1",
        "v1.1, ImageNet, 80.3% top-5 with less computation",
        "1.1",
        "BSD-2-Clause",
        PublishedFile(
            *_FORRESTI,
            "SqueezeNet_v1.1/squeezenet_v1.1.caffemodel",
            "9d2fc33abf653a6e8b2ee6cc63ede0e72ec67f44",
        ),
        PublishedFile(
            *_FORRESTI,
            "SqueezeNet_v1.1/deploy.prototxt",
            "8295b13fa640bf30c5d19e066ef08b6d4219efd7",
            size=9678,
        ),
    ),
    Published(
        "squeezenet-residual",
        "v1.0 with simple bypass, ImageNet, 82.5% top-5",
        "simple-bypass",
        "BSD-2-Clause",
        PublishedFile(
            *_RESIDUAL,
            "SqueezeNet_residual_top1_0.6038_top5_0.8250.caffemodel",
            "f9d4678b926a742b6dea15e1c5ec60291a45d018",
        ),
        None,
    ),
    Published(
        "squeezenet-dsd",
        "v1.0 trained dense, sparse, dense, ImageNet, 83.5% top-5",
        "1.0",
        "BSD-2-Clause",
        PublishedFile(
            *_DSD,
            "DSD_SqueezeNet_top1_0.617579_top5_0.834742.caffemodel",
            "ffce3635e4a837e7bc783fea3f48fcc48a1e93a6",
        ),
        _COMPRESSED_DEPLOY,  # its layers have the names of the Deep Compression release
    ),
    Published(
        "squeezenet-compressed",
        "v1.0 pruned to 33% and quantised to 8 bits, ImageNet, 80.3% top-5",
        "1.0",
        "BSD-2-Clause",
        PublishedFile(
            *_COMPRESSION,
            "compressed_SqueezeNet.net",
            "b28ec20a342c1f0dd7f0c148be60df1192ff8036",
            "e4ab6960ae8cd81505e1c2136921201507e930966c53deaf15862a395b3a3261",
            675_763,
        ),
        _COMPRESSED_DEPLOY,
    ),
)


def published() -> tuple[Published, ...]:
    """All published weights that `fetch` knows."""
    return _PUBLISHED


def release(name: str) -> Published:
    """Published weights by name.

    Raises:
        UsageError: no such name.
    """
    for one in _PUBLISHED:
        if one.name == name:
            return one
    raise UsageError(
        f'no published weights are called "{name}"',
        expected="one of " + ", ".join(one.name for one in _PUBLISHED),
    )
