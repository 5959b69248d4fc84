"""Ops of detectors: the boxes that they begin with, and the choice that they end in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ir.ops.op import Op, Shape


@dataclass(frozen=True)
class PriorBoxes(Op):
    """Boxes around each place of maps, in parts of an image, and their variances.

    Takes maps (N, C, H, W), of which only the sizes are read, corners (K, 4) of the boxes around
    (0, 0), in pixels, variances (4,), and an image (N, C, height, width), of which only the sizes
    are read, unless `image_h` and `image_w` state them.

    Makes (1, 2, H * W * K * 4): for each place, row by row, the K boxes around the centre
    ((column + offset) * step_w, (row + offset) * step_h), x1, y1, x2, y2, over the width and the
    height of the image, with `clip` cut to 0..1; and the variances of each.  Steps of 0 are the
    image's sizes over those of the maps.  Float32 arithmetic.
    """

    offset: float = 0.5
    step_h: float = 0.0
    step_w: float = 0.0
    image_h: int = 0
    image_w: int = 0
    clip: bool = False

    def infer(self, shapes: Sequence[Shape]) -> list[Shape]:
        self.need((self.image_h > 0) == (self.image_w > 0), shapes)
        self.need((self.step_h > 0) == (self.step_w > 0), shapes)
        self.need(len(shapes) == (3 if self.image_h else 4), shapes)
        maps, boxes, variances, *image = shapes
        self.need(all(len(shape) == 4 for shape in (maps, *image)), shapes)
        self.need(len(boxes) == 2 and boxes[1] == 4 and variances == (4,), shapes)
        return [(1, 2, maps[2] * maps[3] * boxes[0] * 4)]


@dataclass(frozen=True)
class MulticlassNms(Op):
    """The boxes that are left of each class once those are gone that overlap with better ones.

    Takes corners (N, P, 1 or C, 4), of which a second that is not greater than its first leaves the
    box no area, and scores (N, P, C).  Of each image and class but `background`: the boxes with a
    score above `score_threshold`, of these the `top_k` best, and of these, the best first, each
    whose intersection over union is above the threshold with none that was kept before it.  The
    threshold is `iou_threshold`, times `eta` after each box that is kept while it is above 0.5.
    Then, over all classes of an image, the `keep_top_k` best.  Of equal scores the first in memory
    is the better, of equal ones of several classes that of the first class.  -1 is no `background`,
    and no limit.

    Makes (1, 1, boxes, 7), rows of image, class, score and corners, by image, class and falling
    score; where no image has any box, a row an image, or `blanks` rows, of its number and -1 six
    times.  How many rows there are is known only when the graph runs; `rows` is what shapes say
    instead, and no setting of the operation.

    `agnostic`: a box is gone that overlaps with a better one of whatever class, and the `top_k`
    best are of all classes; of equal scores of one box that of the first class is the better.  Rows
    are by image and falling score.  There is no `background` then.  `first_label` is what rows call
    the first class.
    """

    background: int
    score_threshold: float
    iou_threshold: float
    eta: float = 1.0
    top_k: int = -1
    keep_top_k: int = -1
    rows: int = 1
    agnostic: bool = False
    first_label: int = 0
    blanks: int = -1

    def infer(self, shapes: Sequence[Shape]) -> list[Shape]:
        self.need(len(shapes) == 2 and len(shapes[0]) == 4 and len(shapes[1]) == 3, shapes)
        boxes, scores = shapes
        self.need(boxes[:2] == scores[:2] and boxes[2] in (1, scores[2]), shapes)
        self.need(boxes[3] == 4 and self.candidates(scores) > 0, shapes)
        self.need(not self.agnostic or self.background == -1, shapes)
        return [(1, 1, self.rows, 7)]

    def labels(self, scores: Shape) -> list[int]:
        """The classes of which boxes may be kept, for scores of a shape."""
        return [label for label in range(scores[2]) if label != self.background]

    def candidates(self, scores: Shape) -> int:
        """How many boxes of a class, or of all if they are one to it, may be kept."""
        count = scores[1] * scores[2] if self.agnostic else scores[1]
        return count if self.top_k < 0 else min(self.top_k, count)
