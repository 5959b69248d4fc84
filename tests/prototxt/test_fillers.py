"""Fillers: Caffe's distributions, the same bits everywhere, every refusal."""

from __future__ import annotations

import hashlib
import math

import numpy as np
import pytest

from prototxt import caffe_pb2 as pb
from prototxt.errors import NetError
from prototxt.fillers import _log, draw, known_fillers

FAN_IN, FAN_OUT, AVERAGE = (
    pb.FillerParameter.FAN_IN, pb.FillerParameter.FAN_OUT, pb.FillerParameter.AVERAGE,
)  # fmt: skip
SHAPE = (60, 50, 7, 5)
"""Of the large draws: 105,000 values; count / 60 = 1750, count / 50 = 2100."""


def filler(type_: str, **settings: object) -> pb.FillerParameter:
    return pb.FillerParameter(type=type_, **settings)


def drawn(
    type_: str, shape: tuple[int, ...] = SHAPE, key: str = "a", **settings: object
) -> np.ndarray:
    values = draw(filler(type_, **settings), shape, 0, key)
    assert values.shape == shape
    assert values.dtype == np.float32
    return values.astype(np.float64)


def kolmogorov_smirnov(values: np.ndarray, cdf: np.ndarray) -> float:
    """sqrt(n) times the greatest distance between the sample's distribution and `cdf` (of sorted
    values); above 1.95 in one sample of a thousand."""
    n = values.size
    steps = np.arange(n + 1) / n
    return math.sqrt(n) * max((cdf - steps[:-1]).max(), (steps[1:] - cdf).max())


def assert_normal(values: np.ndarray, mean: float, std: float) -> None:
    ordered = np.sort(values, axis=None)
    cdf = np.array([0.5 * (1 + math.erf((x - mean) / std / math.sqrt(2))) for x in ordered])
    assert kolmogorov_smirnov(ordered, cdf) < 1.95


def assert_uniform(values: np.ndarray, low: float, high: float) -> None:
    ordered = np.sort(values, axis=None)
    assert low <= ordered[0]
    assert ordered[-1] <= high
    assert kolmogorov_smirnov(ordered, (ordered - low) / (high - low)) < 1.95


# --- the stream ---------------------------------------------------------------------------------


def philox(key: int, count: int) -> list[int]:
    """Philox4x64-10 in Python integers, from the paper (Salmon et al., SC 2011)."""
    mask = 2**64 - 1
    out: list[int] = []
    counter = 0
    while len(out) < count:
        counter += 1  # NumPy steps before it draws
        block = [counter, 0, 0, 0]
        low, high = key & mask, key >> 64
        for _ in range(10):
            first, second = 0xD2E7470EE14C6C93 * block[0], 0xCA5A826395121157 * block[2]
            block = [
                second >> 64 ^ block[1] ^ low, second & mask,
                first >> 64 ^ block[3] ^ high, first & mask,
            ]  # fmt: skip
            low, high = (low + 0x9E3779B97F4A7C15) & mask, (high + 0xBB67AE8584CAA73B) & mask
        out += block
    return out[:count]


def key_of(seed: int, key: str) -> int:
    return int.from_bytes(hashlib.sha256(f"{seed}/{key}".encode()).digest()[:16], "little")


def test_uniform_is_the_documented_stream() -> None:
    wanted = [np.float32(-2 + (raw >> 11) * 2**-53 * 5) for raw in philox(key_of(3, "c/0"), 10)]
    got = draw(filler("uniform", min=-2, max=3), (2, 5), 3, "c/0")
    assert got.ravel().tolist() == [float(value) for value in wanted]


def test_gaussian_is_the_documented_stream() -> None:
    """The polar method in Python floats; only the last bit of the logarithm may differ."""
    raws = iter(philox(key_of(0, "a"), 200))
    wanted: list[float] = []
    for raw in raws:
        u, v = (((r ^ 2**63) - 2**63 >> 11) * 2**-52 for r in (raw, next(raws)))
        if 0 < (s := u * u + v * v) < 1:
            factor = math.sqrt(-2 * math.log(s) / s)
            wanted += [u * factor, v * factor]
    got = draw(filler("gaussian"), (100,), 0, "a")
    np.testing.assert_allclose(got, wanted[:100], rtol=1e-7)


# sha256 of the little-endian float32 bytes.  They must never change: weights drawn by one version
# must be the weights drawn by the next, on any platform, Python and NumPy.
PINNED = {
    "uniform": (
        {"min": -1, "max": 2},
        "70b80dab3976a90789cb925f442b65d2b3c478706be4c45cdb5e59400cb82f55",
    ),
    "gaussian": (
        {"mean": 0.5, "std": 3},
        "0923bc090c30572333d4f357abe43a6041b817427d8ee99ed3c53e6fa03222a0",
    ),
    "gaussian-sparse": (
        {"std": 0.01, "sparse": 20},
        "cf120a2dc9fb15dbe24b10c15b102ade14fa1aa097a25112d9cc2134a74ec025",
    ),
    "positive_unitball": ({}, "c223a6b3c1ccc2c929f844001717d4ffd9ec2cb3ea08d1fba1842d1b2c325f55"),
    "xavier": (
        {"variance_norm": AVERAGE},
        "fca755205d0733f4449fa88fa5d83c22c31f7a24e288aaedfba940dad5b4e7c5",
    ),
    "msra": (
        {"variance_norm": FAN_OUT},
        "ac670cf76d61e6df658788099f0aeeae6ac7a893c48880ba198d694819f79cf3",
    ),
    "bilinear": ({}, "81581c56942d63435c77b5354c1e0e80787d7b7b090a4605ffbc44e984d214fb"),
}


@pytest.mark.parametrize("name", PINNED)
def test_the_same_bits_for_ever(name: str) -> None:
    settings, digest = PINNED[name]
    values = draw(filler(name.partition("-")[0], **settings), (64, 32, 7, 7), 42, "conv1/0")
    assert hashlib.sha256(values.astype("<f4").tobytes()).hexdigest() == digest


def test_seed_and_key_choose_the_draw() -> None:
    draws = [
        draw(filler("gaussian"), (9,), seed, key).tobytes()
        for seed, key in [(0, "a"), (1, "a"), (0, "b"), (0, "a\udce9"), (-1, "a"), (2**70, "a")]
    ]
    assert len(set(draws)) == len(draws)
    assert draw(filler("gaussian"), (9,), 0, "a").tobytes() == draws[0]


def test_a_longer_draw_begins_with_the_shorter() -> None:
    """So the blocks that are worked on at once cannot matter."""
    for type_ in ("gaussian", "uniform"):
        long = drawn(type_, (200_000,))
        for length in (1, 2, 51_000, 65_536, 65_537):
            np.testing.assert_array_equal(drawn(type_, (length,)), long[:length])


def test_logarithm() -> None:
    """Within 3 units in the last place of the platform's, at every size that occurs."""
    generator = np.random.default_rng(0)
    for x in (
        generator.random(10**5),
        1 - generator.random(10**5) * 1e-6,
        2.0 ** -np.arange(1, 105),
        np.nextafter(1, 0) * np.ones(1),
        np.nextafter(np.sqrt(0.5), [0, 1]),
    ):
        want = np.array([math.log(value) for value in x])
        assert (np.abs(_log(x) - want) / np.spacing(np.abs(want))).max() <= 3


# --- distributions ------------------------------------------------------------------------------


def test_constant() -> None:
    assert (drawn("constant", value=2.5) == 2.5).all()
    assert (draw(pb.FillerParameter(), (3,), 0, "a") == 0).all()  # Caffe's default filler
    assert drawn("constant", (), value=1).item() == 1


def test_uniform() -> None:
    assert_uniform(drawn("uniform", min=-3, max=5), -3, 5)
    assert_uniform(drawn("uniform"), 0, 1)  # Caffe's defaults
    assert (drawn("uniform", min=2, max=2) == 2).all()


def test_gaussian() -> None:
    assert_normal(drawn("gaussian", mean=-2, std=0.25), -2, 0.25)
    assert_normal(drawn("gaussian"), 0, 1)  # Caffe's defaults


def test_gaussian_moments_and_tails() -> None:
    values = drawn("gaussian", (4_000_000,))
    # Standard errors: 1 / sqrt(n) times 1, sqrt(2), sqrt(15), sqrt(96); four of them.
    bounds = 4 / math.sqrt(values.size) * np.sqrt([1, 2, 15, 96])
    moments = [(values**power).mean() for power in (1, 2, 3, 4)]
    assert (np.abs(np.array(moments) - [0, 1, 0, 3]) < bounds).all()
    for limit in (2, 3, 4, 4.5):
        wanted = values.size * math.erfc(limit / math.sqrt(2)) / 2
        for tail in ((values > limit).sum(), (values < -limit).sum()):
            assert abs(tail - wanted) < 4 * math.sqrt(wanted)
    # The two numbers of a pair are independent.
    assert abs((values[::2] * values[1::2]).mean()) < 4 / math.sqrt(values.size / 2)
    assert abs((values[::2] ** 2 * values[1::2] ** 2).mean() - 1) < 4 * math.sqrt(
        8 / (values.size / 2)
    )


def test_gaussian_sparse() -> None:
    """A value stays with probability sparse / shape[0]: 15 / 60."""
    values = drawn("gaussian", std=2, sparse=15)
    kept = values[values != 0]
    deviation = math.sqrt(values.size * 0.25 * 0.75)
    assert abs(kept.size - values.size * 0.25) < 4 * deviation
    assert_normal(kept, 0, 2)
    assert not np.signbit(values[values == 0]).any()
    assert (drawn("gaussian", sparse=0) == 0).all()
    assert (drawn("gaussian", sparse=60) != 0).all()


def test_positive_unitball() -> None:
    values = drawn("positive_unitball", (60, 1750))
    assert (values > 0).all()
    np.testing.assert_allclose(values.sum(axis=1), 1, rtol=1e-5)
    # A row is uniform numbers over their sum, whose mean is 1750 / 2.
    assert_uniform(values[:1] / values[:1].max(), 0, 1)
    assert drawn("positive_unitball", (3, 1)).ravel().tolist() == [1, 1, 1]


@pytest.mark.parametrize(
    ("norm", "shape", "fan"),
    [
        (FAN_IN, SHAPE, 1750), (FAN_OUT, SHAPE, 2100), (AVERAGE, SHAPE, 1925),
        (FAN_IN, (300, 200), 200), (FAN_OUT, (300, 200), 300), (AVERAGE, (300, 201), 250.5),
        (FAN_IN, (50_000,), 1), (FAN_OUT, (50_000,), 50_000), (AVERAGE, (50_000,), 25_000.5),
    ],
)  # fmt: skip
def test_xavier_and_msra(norm: int, shape: tuple[int, ...], fan: float) -> None:
    bound = math.sqrt(3 / fan)
    assert_uniform(
        drawn("xavier", shape, variance_norm=norm), -bound * (1 + 1e-7), bound * (1 + 1e-7)
    )
    assert_normal(drawn("msra", shape, variance_norm=norm), 0, math.sqrt(2 / fan))


@pytest.mark.parametrize(
    ("size", "line"),
    [
        (1, [1]),
        (2, [0.5, 0.5]),  # f = 1, c = 0.5
        (3, [0.5, 1, 0.5]),  # f = 2, c = 0.5
        (4, [0.25, 0.75, 0.75, 0.25]),
    ],
)
def test_bilinear(size: int, line: list[float]) -> None:
    values = drawn("bilinear", (3, 2, size, size))
    assert (values == np.outer(line, line)).all()


# --- refusals -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "shape", "text"),
    [
        ({"type": "orthogonal"}, (2,),
         ('unknown type "orthogonal"\n  expected: one of constant, uniform, gaussian, '
         "positive_unitball, xavier, msra, bilinear")),
        ({"type": "gaussian"}, (2, 0),
         "shape (2, 0) has no elements\n  expected: sizes of at least 1"),
        ({"type": "xavier", "sparse": 3}, (2,),
         '"sparse" with type "xavier"\n  expected: type "gaussian", or no "sparse"'),
        ({"type": "xavier"}, (), 'type "xavier" for a scalar\n  expected: at least one axis'),
        ({"type": "gaussian", "sparse": 0}, (),
         'type "gaussian" for a scalar\n  expected: at least one axis'),
        ({"type": "uniform", "min": 2}, (3,), "min 2 above max 1\n  expected: min <= max"),
        ({"type": "gaussian", "std": 0}, (3,), "std 0\n  expected: std > 0"),
        ({"type": "gaussian", "sparse": 4}, (3,),
         "sparse 4\n  expected: 0 to 3, the number of outputs"),
        ({"type": "gaussian", "sparse": -2}, (3,),
         "sparse -2\n  expected: 0 to 3, the number of outputs"),
        ({"type": "bilinear"}, (3, 3),
         'type "bilinear" for shape (3, 3)\n  expected: four axes, the last two equal'),
        ({"type": "bilinear"}, (1, 1, 2, 3),
         'type "bilinear" for shape (1, 1, 2, 3)\n  expected: four axes, the last two equal'),
    ],
    ids=["type", "empty", "sparse-xavier", "scalar", "scalar-sparse", "min", "std", "sparse-many",
         "sparse-negative", "bilinear-axes", "bilinear-square"],
)  # fmt: skip
def test_refusals(settings: dict[str, object], shape: tuple[int, ...], text: str) -> None:
    with pytest.raises(NetError) as raised:
        draw(pb.FillerParameter(**settings), shape, 0, "conv/0")
    assert str(raised.value) == f'filler of "conv/0": {text}'


def test_known_fillers_are_those_of_caffe() -> None:
    assert set(known_fillers()) == {
        "constant", "uniform", "gaussian", "positive_unitball", "xavier", "msra", "bilinear",
    }  # fmt: skip
