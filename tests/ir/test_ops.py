"""Shape inference of the primitive ops, against numbers worked out by hand."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pytest

from ir import ops
from ir.ops import (
    AveragePool,
    BatchNorm,
    Concat,
    Conv,
    Correlation,
    Equal,
    FixedPoint,
    Flatten,
    GlobalAveragePool,
    LeadingBit,
    Linear,
    Maximum,
    MaxPool,
    MulticlassNms,
    Op,
    Pad,
    Pick,
    PriorBoxes,
    ReduceMean,
    ReduceSum,
    Reshape,
    RoiMaxPool,
    RoiMeanPool,
    RoiSample,
    Round,
    ShapeError,
    Transpose,
    Unpool,
    Warp,
)

MAKES: list[tuple[Op, list[tuple[int, ...]], tuple[int, ...]]] = [
    (Conv((2, 2), (3, 3), (1, 1)), [(1, 3, 227, 227), (96, 3, 7, 7), (96,)], (1, 96, 114, 114)),
    (Conv((1, 1), (0, 0), (2, 3), group=2), [(2, 4, 9, 11), (6, 2, 3, 2)], (2, 6, 5, 8)),
    (Conv((2,), (1,), (1,)), [(2, 3, 8), (5, 3, 3)], (2, 5, 4)),
    (Conv((1, 2, 3), (0, 1, 2), (1, 1, 1)), [(1, 2, 4, 5, 6), (3, 2, 1, 2, 3)], (1, 3, 4, 3, 3)),
    (Correlation(1, 20, 1, 2, 20, False), [(1, 256, 48, 64)] * 2, (1, 441, 48, 64)),
    (Correlation(3, 3, 2, 2, 4, True), [(2, 4, 9, 12)] * 2, (2, 9, 5, 6)),
    (MaxPool((3, 3), (2, 2), (0, 0)), [(1, 8, 111, 112)], (1, 8, 55, 56)),
    (MaxPool((3, 3), (2, 2), (0, 0), ceil=False), [(1, 8, 111, 112)], (1, 8, 55, 55)),
    # Without padding a window may start outside: 5 + 1 windows of size 1 on 10 columns.
    (MaxPool((1, 1), (2, 2), (0, 0)), [(1, 1, 9, 10)], (1, 1, 5, 6)),
    # With padding on either axis, a window that starts at or after size + pad is dropped on both.
    (MaxPool((2, 2), (2, 2), (1, 0)), [(1, 1, 4, 3)], (1, 1, 3, 2)),
    (MaxPool((3, 3), (3, 3), (1, 1)), [(1, 1, 6, 8)], (1, 1, 3, 3)),
    (AveragePool((3, 3), (3, 3), (2, 2)), [(1, 1, 6, 7)], (1, 1, 3, 3)),
    (Unpool((2, 3), (1, 0)), [(2, 5, 4, 3), (2, 5, 4, 3)], (2, 5, 7, 9)),
    (GlobalAveragePool(), [(2, 5, 7, 9)], (2, 5, 1, 1)),
    (Linear(), [(4, 6), (9, 6), (9,)], (4, 9)),
    (Linear(transposed=True), [(4, 6), (6, 9)], (4, 9)),
    (BatchNorm(1e-5), [(2, 3, 4, 5), (3,), (3,)], (2, 3, 4, 5)),
    (Concat(2), [(2, 3, 4), (2, 3, 1), (2, 3, 6)], (2, 3, 11)),
    (Flatten(2), [(2, 3, 4, 5)], (6, 20)),
    (Flatten(0), [(2, 3)], (1, 6)),
    (Reshape((3, 8)), [(2, 3, 4)], (3, 8)),
    (RoiMaxPool(7, 6, 0.0625), [(2, 3, 4, 5), (9, 5)], (9, 3, 7, 6)),
    (RoiMeanPool(3, 2, 0.0625), [(2, 12, 4, 5), (9, 5)], (9, 3, 2, 2)),
    (RoiSample(8, 7, 0.0625), [(2, 3, 4, 5), (9, 5)], (9, 3, 8, 7)),
    (Pad((1, 0, 2), (0, 4, 3)), [(2, 3, 5)], (3, 7, 10)),
    (Pad((), ()), [()], ()),
    (Transpose((2, 0, 3, 1)), [(2, 3, 4, 5)], (4, 2, 5, 3)),
    (Warp(), [(2, 3, 4, 5), (2, 2, 4, 5)], (2, 3, 4, 5)),
    (Maximum(), [(2, 3, 1), (3, 4), ()], (2, 3, 4)),
    (Round(), [(2, 3, 5)], (2, 3, 5)),
    (FixedPoint(8, 5), [(3, 1, 2)], (3, 1, 2)),
    (LeadingBit(), [(7, 2)], (7, 2)),
    (Equal(), [(5, 1, 4), (7, 1)], (5, 7, 4)),
    (Pick(1), [(2, 7, 3), (2, 3)], (2, 3)),
    (MulticlassNms(0, 0.5, 0.45), [(2, 30, 1, 4), (2, 30, 5)], (1, 1, 1, 7)),
    (MulticlassNms(-1, 0.0, 0.45, 0.9, 7, 3, 8), [(2, 3, 5, 4), (2, 3, 5)], (1, 1, 8, 7)),
    (PriorBoxes(), [(2, 3, 4, 5), (6, 4), (4,), (2, 3, 40, 50)], (1, 2, 480)),
    (PriorBoxes(0.5, 8.0, 7.5, 40, 50), [(2, 3, 4, 5), (6, 4), (4,)], (1, 2, 480)),
    (ReduceSum((0, 2)), [(2, 3, 4)], (3,)),
    (ReduceMean((0, 2), keep=True), [(2, 3, 4)], (1, 3, 1)),
]  # fmt: skip

REFUSES: list[tuple[Op, list[tuple[int, ...]]]] = [
    (Correlation(1, 2, 1, 1, 0, False), [(1, 3, 9, 9), (1, 3, 9, 8)]),
    (Correlation(1, 2, 1, 1, 0, False), [(1, 3, 9, 4), (1, 3, 9, 4)]),
    (Conv((1, 1), (0, 0), (1, 1)), [(1, 3, 5, 5), (4, 2, 3, 3)]),
    (Conv((1, 1), (0, 0), (1, 1), group=2), [(1, 4, 5, 5), (3, 2, 3, 3)]),
    (Conv((1, 1), (0, 0), (1, 1)), [(1, 3, 2, 5), (4, 3, 3, 3)]),
    (Conv((1, 1), (0, 0), (1, 1)), [(1, 3, 5, 5), (4, 3, 3, 3), (5,)]),
    (Warp(), [(2, 3, 4, 5), (2, 3, 4, 5)]),
    (MaxPool((3, 3), (2, 2), (0, 0)), [(1, 8, 11)]),
    (Unpool((2, 2)), [(2, 5, 4, 3), (2, 5, 3, 4)]),
    (Unpool((1, 2), (4, 0)), [(2, 5, 4, 3), (2, 5, 4, 3)]),
    (Linear(), [(4, 6), (9, 5)]),
    (BatchNorm(1e-5), [(2, 3), (3,), (2,)]),
    (Concat(1), [(2, 3), (3, 3)]),
    (Reshape((5,)), [(2, 3)]),
    (RoiMaxPool(7, 6), [(2, 3, 4, 5), (9, 4)]),
    (RoiMaxPool(7, 0), [(2, 3, 4, 5), (9, 5)]),
    (RoiMaxPool(7, 6), [(3, 4, 5), (9, 5)]),
    (RoiMeanPool(3, 2), [(2, 11, 4, 5), (9, 5)]),
    (RoiMeanPool(3, 2), [(2, 12, 4, 5), (9, 4)]),
    (RoiSample(1, 2), [(2, 3, 4, 5), (9, 5)]),
    (RoiSample(2, 2), [(2, 3, 4, 5), (9, 6)]),
    (Pad((1,), (0,)), [(2, 3)]),
    (Pad((1, -1), (0, 0)), [(2, 3)]),
    (Transpose((0, 2)), [(2, 3, 4)]),
    (Transpose((0, 2, 2)), [(2, 3, 4)]),
    (Pick(1), [(2, 7), (3,)]),
    (MulticlassNms(0, 0.5, 0.45), [(2, 30, 3, 4), (2, 30, 5)]),
    (MulticlassNms(0, 0.5, 0.45, agnostic=True), [(2, 30, 1, 4), (2, 30, 5)]),
    (MulticlassNms(0, 0.5, 0.45), [(2, 30, 1, 4), (2, 31, 5)]),
    (MulticlassNms(0, 0.5, 0.45), [(2, 30, 1, 5), (2, 30, 5)]),
    (MulticlassNms(0, 0.5, 0.45, top_k=0), [(2, 30, 1, 4), (2, 30, 5)]),
    (PriorBoxes(), [(2, 3, 4, 5), (6, 4), (4,)]),
    (PriorBoxes(image_h=40, image_w=50), [(2, 3, 4, 5), (6, 4), (4,), (2, 3, 40, 50)]),
    (PriorBoxes(image_h=40), [(2, 3, 4, 5), (6, 4), (4,)]),
    (PriorBoxes(step_w=4.0), [(2, 3, 4, 5), (6, 4), (4,), (2, 3, 40, 50)]),
    (PriorBoxes(), [(2, 3, 4, 5), (6, 4), (1,), (2, 3, 40, 50)]),
    (PriorBoxes(), [(2, 3, 4), (6, 4), (4,), (2, 3, 40, 50)]),
    (ReduceSum((2,)), [(2, 3)]),
    (Equal(), [(2,), (2,), (2,)]),
]


@pytest.mark.parametrize(("op", "shapes", "made"), MAKES, ids=lambda v: str(v))
def test_shapes(op: Op, shapes: list[tuple[int, ...]], made: tuple[int, ...]) -> None:
    assert op.infer(shapes) == [made]


@pytest.mark.parametrize(("op", "shapes"), REFUSES, ids=lambda v: str(v))
def test_misfits_are_refused(op: Op, shapes: list[tuple[int, ...]]) -> None:
    with pytest.raises(ShapeError):
        op.infer(shapes)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ops.Affine("2"), "Affine: scale is '2', not float"),
        (lambda: ops.Flatten(1.0), "Flatten: axis is 1.0, not int"),
        (lambda: ops.ReduceSum((0,), keep=1), "ReduceSum: keep is 1, not bool"),
        (lambda: ops.Clamp("0"), "Clamp: low is '0', not float"),
        (lambda: Reshape([3]), r"Reshape: shape is \[3\], not a tuple of int"),
        (lambda: Reshape((3,), (0.5,)), r"Reshape: pattern is \(0.5,\), not a tuple of int"),
    ],
)
def test_settings_of_another_type_are_refused(make: Callable[[], Op], message: str) -> None:
    with pytest.raises(TypeError, match=f"^{message}$"):
        make()


@pytest.mark.parametrize("op", ops.PRIMITIVES)
def test_every_op_is_frozen_and_described(op: type[Op]) -> None:
    assert dataclasses.is_dataclass(op)
    assert op.__doc__
    assert op.__dataclass_params__.frozen  # type: ignore[attr-defined]


def test_overhang_and_windows_outside_the_map() -> None:
    pool = MaxPool((1, 1), (2, 2), (0, 0))
    assert pool.overhang((1, 1, 9, 10)) == (0, 1)
    assert pool.leaves_map((1, 1, 9, 10))
    assert not pool.leaves_map((1, 1, 9, 9))
    assert AveragePool((3, 3), (2, 2), (1, 1)).overhang((1, 1, 9, 10)) == (0, 1)
