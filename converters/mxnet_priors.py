"""Boxes around the places of maps, in MXNet's operators."""

from __future__ import annotations

from converters.mxnet_symbol import Symbol, SymbolEmitter
from ir import Node
from ir import ops as o

__all__ = ["PriorEmitter"]

_NAMES = "yx"


class PriorEmitter(SymbolEmitter):
    """Computes with the sizes of its inputs, which shape_array tells, in float32 as Caffe does."""

    def prior_boxes(self, node: Node, op: o.PriorBoxes) -> None:
        """The centres of a row and of a column, each spread over the other; the corners around
        them."""
        _, boxes, variances, *_ = self.read(node)
        image = self._image(node, op)
        row, column = self._centres(node, op, image)
        y, x = (
            self._repeated(node, f"{name}_of_all", other, one)
            for name, one, other in zip(_NAMES, (row, column), (column, row), strict=True)
        )
        centres = self.step(node, "centres", "Concat", x, y, x, y, dim=3, num_args=4)
        corners = self.step(node, "corners", "broadcast_add", centres, boxes)
        four = image[::-1] * 2
        whole = self.step(node, "whole", "Concat", *four, dim=0, num_args=4)
        corners = self.step(node, "shares", "broadcast_div", corners, whole)
        if op.clip:
            corners = self.step(node, "clipped", "clip", corners, a_min=0.0, a_max=1.0)
        spread = self._repeated(node, "of_each", corners, variances)
        rows = [self.step(node, f"{role}_row", "Reshape", of, shape=(1, 1, -1))
                for role, of in (("corner", corners), ("variance", spread))]  # fmt: skip
        self.end(node, "Concat", *rows, dim=1, num_args=2)

    def _image(self, node: Node, op: o.PriorBoxes) -> list[Symbol]:
        """Height and width of the image, (1,) each."""
        if not op.image_h:
            return self._sizes(node, "image", self.read(node)[3])
        one = self.filled((1,), 1)
        sizes = zip(("height", "width"), (op.image_h, op.image_w), strict=True)
        return [self.step(node, f"image_{name}", "_mul_scalar", one, scalar=float(size))
                for name, size in sizes]  # fmt: skip

    def _centres(self, node: Node, op: o.PriorBoxes, image: list[Symbol]) -> list[Symbol]:
        """(number + offset) * step of rows (H, 1, 1, 1) and of columns (1, W, 1, 1)."""
        maps = self.read(node)[0]
        counts = [] if op.step_h else self._sizes(node, "map", maps)
        found = []
        for axis, name in enumerate(_NAMES):
            at = self.step(node, f"{name}_numbers", "_contrib_arange_like", maps, axis=2 + axis)
            at = self.step(node, f"{name}_shifted", "_plus_scalar", at, scalar=op.offset)
            if counts:
                by = self.step(node, f"{name}_step", "broadcast_div", image[axis], counts[axis])
                at = self.step(node, f"{name}_centre", "broadcast_mul", at, by)
            else:
                by_number = (op.step_h, op.step_w)[axis]
                at = self.step(node, f"{name}_centre", "_mul_scalar", at, scalar=by_number)
            shape = (1, -1, 1, 1) if axis else (-1, 1, 1, 1)
            found.append(self.step(node, name, "Reshape", at, shape=shape))
        return found

    def _sizes(self, node: Node, name: str, x: Symbol) -> list[Symbol]:
        """Height and width of maps, (1,) each."""
        whole = self.step(node, f"{name}_shape", "shape_array", x)
        sizes = self.step(node, f"{name}_sizes", "Cast", whole, dtype="float32")
        axes = (("height", 2), ("width", 3))
        return [self.step(node, f"{name}_{role}", "slice_axis", sizes, axis=0, begin=axis,
                          end=axis + 1)
                for role, axis in axes]  # fmt: skip

    def _repeated(self, node: Node, role: str, over: Symbol, x: Symbol) -> Symbol:
        """X as often as another's shape asks for."""
        zeros = self.step(node, f"{role}_zeros", "zeros_like", over)
        return self.step(node, role, "broadcast_add", zeros, x)
