"""ONNX: what detectors end in."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from onnx import TensorProto, helper

from converters.onnx_counts import Count, CountBuilder
from ir import Node
from ir import ops as o

__all__ = ["DetectionEmitter"]

_ROW = 7
_MINUS_INFINITY = float("-inf")


class DetectionEmitter(CountBuilder):
    """The ops of ir/ops/detection.py."""

    def multiclass_nms(self, node: Node, op: o.MulticlassNms) -> None:
        """NonMaxSuppression of the candidates of each image and class, which TopK has in the order
        of their scores; a Loop where the threshold changes from box to box.

        What is kept is marked among the candidates, so that nothing depends on the order in which
        NonMaxSuppression tells it: NonZero goes through images, classes, and falling scores.
        """
        labels, k = op.labels(node.inputs[1].shape), self._count(node, op)
        if op.agnostic:
            labels = labels[:1]  # all of them in one
            scores, boxes, classes = self._candidates_of_all(node, k)
        else:
            scores, boxes = self._candidates(node, op, labels, k)
            classes = ""
        proper = self._proper(node, boxes)
        if op.eta == 1:
            kept = self._suppressed(node, op, proper, scores, k)
        else:
            kept = self._suppressed_in_a_loop(node, op, proper, scores, k)
        if op.keep_top_k >= 0 and (isinstance(k, str) or op.keep_top_k < len(labels) * k):
            kept = self._best(node, op, kept, scores, len(labels), k)
        names = [label + op.first_label for label in labels]
        self._rows(node, op, names, k, (kept, scores, boxes, classes))

    # --- the candidates ---------------------------------------------------------------------------

    def _count(self, node: Node, op: o.MulticlassNms) -> Count:
        """How many boxes of a class, or of all if they are one to it, may be kept."""
        scores = node.inputs[1]
        if 1 not in scores.open_axes:
            return op.candidates(scores.shape)
        count: Count = self.sizes(node, "box_count", self.arguments(node)[1], 1, 2)
        if op.agnostic:
            count = self.times(node, "score_count", scores.shape[2], count)
        return count if op.top_k < 0 else self.least(node, "k", op.top_k, count)

    def _candidates(
        self, node: Node, op: o.MulticlassNms, labels: Sequence[int], k: Count
    ) -> tuple[str, str]:
        """Scores (N * labels, k), the greatest first, of equal ones the first in memory, and the
        boxes (N * labels, k, 4) that they are of."""
        boxes, scores = self.arguments(node)
        each = node.inputs[0].shape[2]
        scores = self.step(node, "by_class", "Transpose", scores, perm=[0, 2, 1])
        boxes = self.step(node, "boxes_by_class", "Transpose", boxes, perm=[0, 2, 1, 3])
        if len(labels) < node.inputs[1].shape[2]:
            kept = self.store(node, "labels", labels, np.int64)
            scores = self.step(node, "foreground", "Gather", scores, kept, axis=1)
            if each > 1:
                boxes = self.step(node, "foreground_boxes", "Gather", boxes, kept, axis=1)
        values, places = self.part(node, "sorted"), self.part(node, "order")
        count = self.vector(node, "k", k)
        self.node("TopK", [scores, count], [values, places], axis=-1, largest=1, sorted=1)
        # Of boxes that are shared, all classes' are picked at once.
        wanted = [0, 0, k, 1] if each > 1 else [0, 1, self.times(node, "all", len(labels), k), 1]
        places = self.reshaped(node, "picks", places, wanted)
        picked = self.step(node, "picked", "GatherND", boxes, places, batch_dims=2)
        return (
            self.reshaped(node, "scores", values, [-1, k]),
            self.reshaped(node, "boxes", picked, [-1, k, 4]),
        )

    def _candidates_of_all(self, node: Node, k: Count) -> tuple[str, str, str]:
        """The same of all classes at once, (N, k) and (N, k, 4), and the classes (N, k)."""
        boxes, scores = self.arguments(node)
        each, (_, number, classes) = node.inputs[0].shape[2], node.inputs[1].shape
        count = self.sizes(node, "places", boxes, 1, 2) if isinstance(k, str) else number
        every = self.times(node, "all_scores", classes, count)
        own = self.times(node, "all_boxes", each, count)
        scores = self.reshaped(node, "in_one", scores, [-1, every])
        boxes = self.reshaped(node, "boxes_in_one", boxes, [-1, own, 4])
        values, places = self.part(node, "sorted"), self.part(node, "order")
        most = self.vector(node, "k", k)
        self.node("TopK", [scores, most], [values, places], axis=-1, largest=1, sorted=1)
        divisor = self.store(node, "classes", classes, np.int64)
        found = self.step(node, "label_index", "Mod", places, divisor)
        if each < classes:
            places = self.step(node, "box_index", "Div", places, divisor)
        picks = self.step(node, "picks", "Unsqueeze", places, self._axes(node, 2))
        return values, self.step(node, "boxes", "GatherND", boxes, picks, batch_dims=1), found

    def _proper(self, node: Node, boxes: str) -> str:
        """The boxes for NonMaxSuppression, which puts corners in order: what Caffe gives no area
        gets none."""
        low = self._part(node, "low", boxes, 0, 2)
        high = self.step(node, "high_or_low", "Max", self._part(node, "high", boxes, 2, 4), low)
        return self.step(node, "proper", "Concat", low, high, axis=-1)

    # --- suppression ------------------------------------------------------------------------------

    def _suppressed(
        self, node: Node, op: o.MulticlassNms, boxes: str, scores: str, k: Count
    ) -> str:
        """Which candidates are kept, (N * labels, k) bool."""
        alone = self.step(node, "of_one_class", "Unsqueeze", scores, self._axes(node, 1))
        settings = [
            self.vector(node, "most", k),
            # No two boxes share more than all.
            self.store(node, "iou_threshold", [min(op.iou_threshold, 1.0)]),
            self.store(node, "score_threshold", [op.score_threshold]),
        ]
        found = self.step(node, "selected", "NonMaxSuppression", boxes, alone, *settings)
        ends = self.store(node, "image_and_box", [0, 2], np.int64)
        places = self.step(node, "places", "Gather", found, ends, axis=1)
        none = self.filled(node, "none", self.step(node, "shape", "Shape", scores), False)
        count = self.sizes(node, "count", places, 0, 1)
        marks = self.filled(node, "marks", count, True)
        return self.step(node, "kept", "ScatterND", none, places, marks)

    def _suppressed_in_a_loop(
        self, node: Node, op: o.MulticlassNms, boxes: str, scores: str, k: Count
    ) -> str:
        """The same box by box, the best first: each against those that were kept before."""
        low, high = (self._part(node, f"corner{i}", boxes, i, i + 2) for i in (0, 2))
        sides = self.step(node, "sides", "Sub", high, low)
        areas = self._product(node, "areas", sides)
        threshold = self.store(node, "score_threshold", op.score_threshold)
        above = self.step(node, "above", "Greater", scores, threshold)
        none = self.filled(node, "none", self.step(node, "shape", "Shape", scores), False)
        ones = self.sizes(node, "count", scores, 0, 1)
        limit = self.filled(node, "limit", ones, np.float32(op.iou_threshold))
        count = self.scalar(node, "most", k)
        outside, self.nodes = self.nodes, []
        body = self._loop_body(node, op, k, low, high, areas, above)
        self.nodes = outside
        kept = self.part(node, "kept")
        self.node("Loop", [count, "", none, limit], [kept, self.part(node, "last_limit")],
                  body=body)  # fmt: skip
        return kept

    def _loop_body(
        self, node: Node, op: o.MulticlassNms, k: Count,
        low: str, high: str, areas: str, above: str,
    ) -> Any:  # fmt: skip
        """One box of each image and class: kept or not; and what overlap the next may have."""
        roles = ("rank", "more", "kept", "limit", "more_out", "limit_out")
        names = {role: self.part(node, f"loop/{role}") for role in roles}
        rank, kept, limit = names["rank"], names["kept"], names["limit"]
        at = self.step(node, "loop/at", "Unsqueeze", rank, self._axes(node, 0))

        def mine(role: str, of: str) -> str:
            return self.step(node, f"loop/{role}", "Gather", of, at, axis=1)

        least = self.step(node, "loop/from", "Max", mine("low", low), low)
        most = self.step(node, "loop/to", "Min", mine("high", high), high)
        meeting = self.step(node, "loop/sides", "Sub", most, least)
        zero = self.store(node, "loop/zero", 0.0)
        both = self._product(node, "loop/both", self.step(node, "loop/meet", "Max", meeting, zero))
        total = self.step(node, "loop/areas", "Add", mine("area", areas), areas)
        union = self.step(node, "loop/union", "Sub", total, both)
        meets = self.step(node, "loop/meets", "Greater", both, zero)
        counts = self.step(node, "loop/counts", "And", kept, meets)
        share = self.step(node, "loop/share", "Div", both, union)
        share = self.step(node, "loop/overlap", "Where", counts, share, zero)
        worst = self._reduced(node, "loop/worst", share)
        fits = self.step(node, "loop/fits", "LessOrEqual", worst, limit)
        chosen = self.step(node, "loop/above", "Squeeze", mine("is_above", above),
                            self._axes(node, 1))  # fmt: skip
        chosen = self.step(node, "loop/chosen", "And", chosen, fits)
        column = self.step(node, "loop/column", "Unsqueeze", chosen, self._axes(node, 1))
        ranks = self.numbers(node, "loop/ranks", k)
        here = self.step(node, "loop/here", "Equal", ranks, at)
        new = self.step(node, "loop/new", "And", column, here)
        after = self.step(node, "loop/kept_now", "Or", kept, new)
        half = self.store(node, "loop/half", 0.5)
        lowers = self.step(node, "loop/is_high", "Greater", limit, half)
        lowers = self.step(node, "loop/lowers", "And", lowers, chosen)
        less = self.step(node, "loop/less", "Mul", limit, self.store(node, "loop/eta", op.eta))
        self.node("Where", [lowers, less, limit], [names["limit_out"]])
        self.node("Identity", [names["more"]], [names["more_out"]])
        kinds = {rank: TensorProto.INT64, names["more"]: TensorProto.BOOL, kept: TensorProto.BOOL,
                 limit: TensorProto.FLOAT}  # fmt: skip
        shapes: dict[str, list[Any]] = {rank: [], names["more"]: [], kept: [None, None],
                                        limit: [None]}  # fmt: skip
        inputs = [helper.make_tensor_value_info(n, kinds[n], shapes[n]) for n in kinds]
        outputs = [
            helper.make_tensor_value_info(names["more_out"], TensorProto.BOOL, []),
            helper.make_tensor_value_info(after, TensorProto.BOOL, [None, None]),
            helper.make_tensor_value_info(names["limit_out"], TensorProto.FLOAT, [None]),
        ]
        return helper.make_graph(self.nodes, f"{node.layer}/box", inputs, outputs)

    def _best(
        self, node: Node, op: o.MulticlassNms, kept: str, scores: str, classes: int, k: Count
    ) -> str:
        """Of the boxes of an image that are kept, those with the greatest scores: TopK takes the
        first of equal ones."""
        lowest = self.store(node, "lowest", _MINUS_INFINITY)
        left = self.step(node, "kept_scores", "Where", kept, scores, lowest)
        total = k if classes == 1 else self.times(node, "total", classes, k)
        if classes > 1:
            left = self.reshaped(node, "of_image", left, [-1, total])
        best = self.part(node, "best")
        limit = self.vector(node, "keep_top_k", self.least(node, "most_kept", op.keep_top_k, total))
        self.node("TopK", [left, limit], [self.part(node, "best_scores"), best],
                  axis=-1, largest=1, sorted=1)  # fmt: skip
        none = self.filled(node, "none_best", self.step(node, "all", "Shape", left), False)
        shape = self.step(node, "best_shape", "Shape", best)
        marks = self.filled(node, "best_marks", shape, True)
        among = self.step(node, "is_best", "ScatterElements", none, best, marks, axis=1)
        if classes > 1:
            kept = self.reshaped(node, "kept_of_image", kept, [-1, total])
        return self.step(node, "kept_best", "And", kept, among)

    # --- the rows ---------------------------------------------------------------------------------

    def _rows(
        self, node: Node, op: o.MulticlassNms, labels: Sequence[int], k: Count,
        candidates: tuple[str, str, str, str],
    ) -> None:  # fmt: skip
        """Image, class, score and corners of what is kept; of no box at all, a row an image.

        Candidates are (N * labels, k): which are kept, their scores, boxes, and classes if they
        are of several.
        """
        kept, scores, boxes, classes = candidates
        counts = len(labels), k
        marked = self.reshaped(node, "by_image", kept, [-1, *counts])
        found = self.step(node, "found", "NonZero", marked)
        places = self.step(node, "found_places", "Transpose", found, perm=[1, 0])
        # By one number each and not by GatherND, in which OpenCV 5.0 divides by how many there are.
        flat = self.step(node, "found_flat", "NonZero", self.reshaped(node, "flat", kept, [-1]))
        flat = self.step(node, "found_index", "Squeeze", flat, self._axes(node, 0))
        of = self.reshaped(node, "all_scores", scores, [-1, 1])
        score = self.step(node, "score", "Gather", of, flat, axis=0)
        of = self.reshaped(node, "all_boxes", boxes, [-1, 4])
        corners = self.step(node, "corners", "Gather", of, flat, axis=0)
        image = self._part(node, "image_index", places, 0, 1)
        image = self.step(node, "image", "Cast", image, to=TensorProto.FLOAT)
        if classes:
            of = self.reshaped(node, "all_labels", classes, [-1, 1])
            index = self.step(node, "class_index", "Gather", of, flat, axis=0)
            labels = [i + op.first_label for i in range(node.inputs[1].shape[2])]
        else:
            index = self._part(node, "class_index", places, 1, 2)
        names = self.store(node, "class", labels)
        label = self.step(node, "label", "Gather", names, index, axis=0)
        rows = self.step(node, "rows", "Concat", image, label, score, corners, axis=1)
        nothing = self._nothing(node, op)
        # Where there are rows, those of nothing are cut off; where there are none, they are left.
        count = self.sizes(node, "row_count", rows, 0, 1)
        spare = self.sizes(node, "image_count", nothing, 0, 1)
        zero = self.store(node, "zero", [0], np.int64)
        empty = self.step(node, "is_empty", "Equal", count, zero)
        end = self.step(node, "end", "Where", empty, spare, count)
        every = self.step(node, "rows_or_nothing", "Concat", rows, nothing, axis=0)
        made = self.step(node, "left", "Slice", every, zero, end)
        axes = self.store(node, "unit_axes", [0, 1], np.int64)
        self.node("Unsqueeze", [made, axes], [node.output.name])

    def _nothing(self, node: Node, op: o.MulticlassNms) -> str:
        """A row an image of its number and -1."""
        boxes = node.inputs[0]
        if 0 not in boxes.open_axes or op.blanks >= 0:
            images = boxes.shape[0] if op.blanks < 0 else op.blanks
            rows = [[image, *[-1] * (_ROW - 1)] for image in range(images)]
            return self.store(node, "nothing", rows)
        size = self.sizes(node, "images", self.arguments(node)[0], 0, 1)
        count = self.step(node, "images_number", "Squeeze", size, self._axes(node, 0))
        start, one = (self.store(node, f"at_{i}", i, np.int64) for i in (0, 1))
        numbers = self.step(node, "image_numbers", "Range", start, count, one)
        numbers = self.step(node, "numbers", "Cast", numbers, to=TensorProto.FLOAT)
        column = self.step(node, "image_column", "Unsqueeze", numbers, self._axes(node, 1))
        pads = self.store(node, "pads", [0, 0, 0, _ROW - 1], np.int64)
        return self.step(node, "nothing", "Pad", column, pads, self.store(node, "filler", -1.0))

    # --- steps ------------------------------------------------------------------------------------

    def _part(self, node: Node, role: str, x: str, start: int, stop: int) -> str:
        """Part of the last axis."""
        bounds = [self.store(node, f"{role}_{name}", [value], np.int64)
                  for name, value in (("start", start), ("stop", stop), ("axis", -1))]  # fmt: skip
        return self.step(node, role, "Slice", x, *bounds)

    def _product(self, node: Node, role: str, sides: str) -> str:
        """Width times height, of the last axis."""
        width, height = (
            self.step(node, f"{role}_{name}", "Squeeze",
                       self._part(node, f"{role}_{name}s", sides, i, i + 1), self._axes(node, -1))
            for i, name in enumerate(("width", "height"))
        )  # fmt: skip
        return self.step(node, role, "Mul", width, height)

    def _reduced(self, node: Node, role: str, x: str) -> str:
        """The greatest along the last axis."""
        if self.opset >= 18:  # axes as an input
            return self.step(node, role, "ReduceMax", x, self._axes(node, 1), keepdims=0)
        return self.step(node, role, "ReduceMax", x, axes=[1], keepdims=0)

    def _axes(self, node: Node, axis: int) -> str:
        return self.store(node, "axes", [axis], np.int64)
