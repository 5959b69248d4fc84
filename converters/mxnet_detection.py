"""What detectors end in, in MXNet's operators."""

from __future__ import annotations

from collections.abc import Mapping

from converters.mxnet_shape import INSTEAD_OF_INFINITY, ShapeEmitter
from converters.mxnet_symbol import SELECTION, PowerOfTwo, Setting, Symbol
from ir import Node
from ir import ops as o
from prototxt.errors import UnsupportedError

__all__ = ["DetectionEmitter"]


class DetectionEmitter(ShapeEmitter):
    """Emits the ops of ir/ops/detection.py."""

    def multiclass_nms(self, node: Node, op: o.MulticlassNms) -> None:
        """box_nms, each class of each image on its own, which puts what it keeps first, by falling
        scores, the first in memory of equal ones; then a choice of rows."""
        if op.eta != 1:
            raise UnsupportedError(
                "MXNet's box_nms has one threshold for all boxes, and eta "
                f"{op.eta:g} lowers it from box to box",
                layer=node.layer,
            )
        shape, opened = node.inputs[1].shape, 1 in node.inputs[1].open_axes
        labels, k = 1 if op.agnostic else len(op.labels(shape)), op.candidates(shape)
        found = self._suppressed(node, op, labels, None if opened else k)
        kept = self._part(node, "first", found, 0, 1)
        kept = self.step(node, "kept", "_greater_scalar", kept, scalar=0.0)
        # Of an open number of boxes each class is split off the images; -4 does that.
        ways: tuple[int, ...] = (-4, -1, labels, 0) if opened else (-1, labels, k)
        if op.keep_top_k >= 0 and (opened or op.keep_top_k < labels * k):
            score = self._part(node, "score", found, 1, 2)
            kept = self._best(node, op, kept, score, labels, None if opened else k)
            kept = self.step(node, "by_image", "Reshape", kept,
                             shape=(0, -4, labels, -1, 1) if opened else (*ways, 1))  # fmt: skip
        else:
            kept = self.step(node, "by_image", "Reshape", kept, shape=(*ways, 1))
        boxes = self._part(node, "score_and_box", found, 1, 6)
        boxes = self.step(node, "boxes", "Reshape", boxes, shape=(*ways, 5))
        zeros = self.step(node, "zeros", "zeros_like", kept)
        image = self._spread(node, "image", zeros, self._positions(node, kept, 0))
        if op.agnostic:
            label = self._part(node, "label_of", found, 6, 7)
            label = self.step(node, "label", "Reshape", label, shape=(*ways, 1))
        else:
            label = self._spread(node, "label", zeros, self._label(node, op, kept, shape[2]))
        if op.first_label:
            label = self.step(node, "label_name", "_plus_scalar", label, scalar=op.first_label)
        rows = self._join(node, "rows", 3, image, label, boxes)
        rows = self.step(node, "all_rows", "Reshape", rows, shape=(-1, 7))
        self._choose(node, op, rows, kept)

    def _suppressed(self, node: Node, op: o.MulticlassNms, labels: int, k: int | None) -> Symbol:
        """(N * labels, k, 6), or as many as there are boxes: 1, score and corners of what is kept,
        and the class if they are of all; and then -1."""
        columns = self._columns_of_all(node) if op.agnostic else self._columns(node, op, labels)
        joined = self._join(node, "candidates", 2, *columns)
        settings: Mapping[str, Setting] = {
            "overlap_thresh": op.iou_threshold, "valid_thresh": op.score_threshold,
            "topk": op.top_k, "score_index": 1, "coord_start": 2,
        }  # fmt: skip
        found = self.step(node, "nms", "_contrib_box_nms", joined, **settings)
        (_, count, classes) = node.inputs[1].shape
        if k is not None and k < (count * classes if op.agnostic else count):
            found = self.step(node, "top", "slice_axis", found, axis=1, begin=0, end=k)
        return found

    def _columns_of_all(self, node: Node) -> list[Symbol]:
        """1, score, corners and class of the boxes of an image, (N, P * C, ...)."""
        boxes, scores = self.read(node)
        each, classes = node.inputs[0].shape[2], node.inputs[1].shape[2]
        zeros = self.step(node, "no_class", "zeros_like", scores)
        label = self._spread(node, "classes", zeros, self._positions(node, scores, 2, rank=3))
        if each < classes:
            boxes = self.step(node, "of_all", "broadcast_axis", boxes, axis=2, size=classes)
        boxes = self.step(node, "corners", "Reshape", boxes, shape=(0, -3, 0))
        label = self.step(node, "class_column", "Reshape", label, shape=(0, -1, 1))
        scores = self.step(node, "score_column", "Reshape", scores, shape=(0, -1, 1))
        return [self.step(node, "ones", "ones_like", scores), scores, boxes, label]

    def _columns(self, node: Node, op: o.MulticlassNms, labels: int) -> list[Symbol]:
        """1, score and corners of the boxes of an image's classes, (N * labels, P, ...)."""
        boxes, scores = self.read(node)
        (each, classes) = node.inputs[0].shape[2], node.inputs[1].shape[2]
        scores = self.step(node, "by_class", "transpose", scores, axes=(0, 2, 1))
        scores = self._foreground(node, "scores", op, scores, classes)
        boxes = self.step(node, "boxes_by_class", "transpose", boxes, axes=(0, 2, 1, 3))
        if each > 1:
            boxes = self._foreground(node, "boxes", op, boxes, classes)
        elif labels > 1:
            boxes = self.step(node, "of_all", "broadcast_axis", boxes, axis=1, size=labels)
        scores = self.step(node, "score_column", "Reshape", scores, shape=(-3, 0, 1))
        boxes = self.step(node, "corners", "Reshape", boxes, shape=(-3, -2))
        return [self.step(node, "ones", "ones_like", scores), scores, boxes]

    def _foreground(
        self, node: Node, role: str, op: o.MulticlassNms, x: Symbol, classes: int
    ) -> Symbol:
        """Axis 1 without the background."""
        if not 0 <= op.background < classes:
            return x
        ends = ((0, op.background), (op.background + 1, classes))
        parts = [
            self.step(node, f"{role}_from_{start}", "slice_axis", x, axis=1, begin=start, end=stop)
            for start, stop in ends
            if start < stop
        ]
        return self._join(node, role, 1, *parts) if len(parts) > 1 else parts[0]

    def _best(
        self, node: Node, op: o.MulticlassNms, kept: Symbol, score: Symbol, labels: int,
        k: int | None,
    ) -> Symbol:  # fmt: skip
        """What is kept, an image a row, less all but the greatest scores, of equal ones the
        first."""
        kept, score = (
            self._by_image(node, role, of, labels, k)
            for role, of in (("kept_of_image", kept), ("score_of_image", score))
        )
        key = self.key(node, score, 1, rank=2, first=True)
        # What is not kept comes after all that is.
        mark = self.step(node, "mark", "Cast", kept, dtype="float64")
        key = self.step(node, "kept_key", "broadcast_mul", key, mark)
        lack = self.step(node, "lack", "_minus_scalar", mark, scalar=PowerOfTwo(1.0))
        lack = self.step(node, "below", "_mul_scalar", lack,
                         scalar=PowerOfTwo(2 * INSTEAD_OF_INFINITY))  # fmt: skip
        key = self.step(node, "rank", "broadcast_add", key, lack)
        if k is None:  # topk takes no more than there are
            last = self.step(node, "behind", "slice_axis", key, axis=1, begin=0, end=1)
            last = self.step(node, "behind_zero", "zeros_like", last)
            last = self.step(node, "behind_all", "_minus_scalar", last,
                             scalar=PowerOfTwo(8 * INSTEAD_OF_INFINITY))  # fmt: skip
            last = self.step(node, "spare", "broadcast_axis", last, axis=1, size=op.keep_top_k)
            key = self._join(node, "rank_and_spare", 1, key, last)
        best = self.step(node, "best", "topk", key, axis=1, k=op.keep_top_k, ret_typ="mask")
        if k is None:
            best = self.step(node, "best_of_all", "slice_axis", best, axis=1, begin=0,
                             end=-op.keep_top_k)  # fmt: skip
        best = self.step(node, "is_best", "Cast", best, dtype="float32")
        return self.step(node, "kept_best", "broadcast_mul", kept, best)

    def _by_image(self, node: Node, role: str, x: Symbol, labels: int, k: int | None) -> Symbol:
        """(N * labels, k, 1) as (N, labels * k)."""
        if k is not None:
            return self.step(node, role, "Reshape", x, shape=(-1, labels * k))
        x = self.step(node, f"{role}_and_class", "Reshape", x, shape=(-4, -1, labels, 0, 0))
        return self.step(node, role, "Reshape", x, shape=(0, -1))

    def _label(self, node: Node, op: o.MulticlassNms, kept: Symbol, classes: int) -> Symbol:
        """The classes along axis 1: those from the background on are one more than their place."""
        place = self._positions(node, kept, 1)
        if not 0 <= op.background < classes:
            return place
        if op.background == 0:
            return self.step(node, "class", "_plus_scalar", place, scalar=1.0)
        after = self.step(node, "after", "_greater_scalar", place, scalar=op.background - 0.5)
        return self.step(node, "class", "broadcast_add", place, after)

    def _choose(self, node: Node, op: o.MulticlassNms, rows: Symbol, kept: Symbol) -> None:
        """The rows that are kept, or, where that is none, one of -1 an image: boolean_mask cannot
        give no row."""
        if op.blanks < 0:
            images = self.step(node, "images", "_contrib_arange_like", self.read(node)[0], axis=0)
        else:
            images = self.step(node, "images", "_arange", start=0, stop=op.blanks)
        number = self.step(node, "image_number", "Reshape", images, shape=(-1, 1))
        ones = self.step(node, "one_an_image", "ones_like", number)
        minus = self.step(node, "minus", "_mul_scalar", ones, scalar=-1.0)
        minus = self.step(node, "minus_ones", "tile", minus, reps=(1, 6))
        nothing = self._join(node, "nothing", 1, number, minus)
        mask = self.step(node, "mask", "Reshape", kept, shape=(-1,))
        found = self.step(node, "any", "max", mask, axis=0, keepdims=True)
        none = self.step(node, "any_less_1", "_minus_scalar", found, scalar=1.0)
        none = self.step(node, "none", "_mul_scalar", none, scalar=-1.0)
        zeros = self.step(node, "zero_an_image", "zeros_like", images)
        none = self._spread(node, "none_an_image", zeros, none)
        every = self._join(node, "rows_and_nothing", 0, rows, nothing)
        masks = self._join(node, "chosen", 0, mask, none)
        chosen = self.step(node, "found", SELECTION, every, masks)
        self.end(node, "Reshape", chosen, shape=(1, 1, -1, 7))

    # --- steps --------------------------------------------------------------------------------

    def _part(self, node: Node, role: str, x: Symbol, start: int, stop: int) -> Symbol:
        return self.step(node, role, "slice_axis", x, axis=2, begin=start, end=stop)

    def _spread(self, node: Node, role: str, zeros: Symbol, x: Symbol) -> Symbol:
        return self.step(node, role, "broadcast_add", zeros, x)

    def _join(self, node: Node, role: str, axis: int, *parts: Symbol) -> Symbol:
        return self.step(node, role, "Concat", *parts, dim=axis, num_args=len(parts))
