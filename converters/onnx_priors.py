"""ONNX: boxes around the places of maps."""

from __future__ import annotations

from onnx import TensorProto

from converters.onnx_roi import RoiEmitter
from ir import Node
from ir import ops as o

__all__ = ["PriorEmitter"]


class PriorEmitter(RoiEmitter):
    """Computes with the sizes of its inputs, which Shape tells, in float32 as Caffe does."""

    def prior_boxes(self, node: Node, op: o.PriorBoxes) -> None:
        """The centres of a row and of a column, each expanded over the other; the corners around
        them."""
        _, boxes, variances, *_ = self.arguments(node)
        height, width = (self._of_image(node, op, axis) for axis in (2, 3))
        row = self._centres(node, op, 2, height, [-1, 1, 1, 1])
        column = self._centres(node, op, 3, width, [1, -1, 1, 1])
        y, x = (
            self.step(node, f"{role}_of_all", "Expand", one, self._shape_of(node, role, other))
            for role, one, other in (("y", row, column), ("x", column, row))
        )
        centres = self.step(node, "centres", "Concat", x, y, x, y, axis=3)
        corners = self.step(node, "corners", "Add", centres, boxes)
        whole = self.step(node, "whole", "Concat", width, height, width, height, axis=0)
        corners = self.step(node, "shares", "Div", corners, whole)
        if op.clip:
            corners = self.step(node, "at_most_1", "Min", corners, self.shared("one", 1.0))
            corners = self.step(node, "at_least_0", "Max", corners, self.shared("zero", 0.0))
        spread = self.step(
            node, "spread", "Expand", variances, self._shape_of(node, "box", corners)
        )
        rows = [self._as(node, f"{role}_row", of, [1, 1, -1])
                for role, of in (("corner", corners), ("variance", spread))]  # fmt: skip
        self.node("Concat", rows, [node.output.name], axis=1)

    def _centres(
        self, node: Node, op: o.PriorBoxes, axis: int, whole: str, shape: list[int]
    ) -> str:
        """(number + offset) * step along an axis of the maps, in a shape of 4 axes."""
        name = "yx"[axis - 2]
        step = op.step_h if axis == 2 else op.step_w
        if step:
            by = self.store(node, f"{name}_step", [step])
        else:
            count = self._extent(node, 0, axis, f"{name}_count")
            by = self.step(node, f"{name}_step", "Div", whole, count)
        offset = self.store(node, f"{name}_offset", op.offset)
        at = self.step(node, f"{name}_shifted", "Add", self._numbers(node, axis), offset)
        at = self.step(node, f"{name}_centre", "Mul", at, by)
        return self._as(node, name, at, shape)

    def _of_image(self, node: Node, op: o.PriorBoxes, axis: int) -> str:
        """The height (axis 2) or the width of the image, (1,) float."""
        name = f"image_{'hw'[axis - 2]}"
        if op.image_h:
            return self.store(node, name, [(op.image_h, op.image_w)[axis - 2]])
        return self._extent(node, 3, axis, name)

    def _extent(self, node: Node, place: int, axis: int, name: str) -> str:
        """A size of an input, (1,) float."""
        value = node.inputs[place]
        if axis not in value.open_axes:
            return self.store(node, name, [value.shape[axis]])
        size = self.sizes(node, f"{name}_whole", self.arguments(node)[place], axis, axis + 1)
        return self.step(node, name, "Cast", size, to=TensorProto.FLOAT)

    def _shape_of(self, node: Node, role: str, x: str) -> str:
        return self.step(node, f"{role}_shape", "Shape", x)
