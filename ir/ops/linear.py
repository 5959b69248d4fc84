"""Matrix products."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ir.ops.op import Op, Shape


@dataclass(frozen=True)
class Linear(Op):
    """x (M, K) times weight (N, K) transposed, or weight (K, N) as it is; optional bias (N,)."""

    transposed: bool = False
    """Whether the weight is stored as (K, N)."""

    def infer(self, shapes: Sequence[Shape]) -> list[Shape]:
        self.need(len(shapes) in (2, 3) and len(shapes[0]) == len(shapes[1]) == 2, shapes)
        outputs, inputs = shapes[1][::-1] if self.transposed else shapes[1]
        self.need(shapes[0][1] == inputs and shapes[2:] in ([], [(outputs,)]), shapes)
        return [(shapes[0][0], outputs)]
