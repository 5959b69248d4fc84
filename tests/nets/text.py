"""Layers as prototxt text."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["Text"]

_FILL = 'weight_filler { type: "msra" } bias_filler { type: "uniform" min: -0.1 max: 0.1 }'


class Text:
    """A net under construction; each method adds a layer and returns its top."""

    def __init__(self, name: str, size: int, batch: int = 1) -> None:
        self.lines = [f'name: "{name}"']
        shape = f"shape {{ dim: {batch} dim: 3 dim: {size} dim: {size} }}"
        self.add("Input", "data", [], "data", f"input_param {{ {shape} }}")

    def add(self, kind: str, name: str, bottoms: Sequence[str], top: str, fields: str = "") -> str:
        """Any layer."""
        wires = "".join(f' bottom: "{bottom}"' for bottom in bottoms)
        self.lines.append(f'layer {{ name: "{name}" type: "{kind}"{wires} top: "{top}" {fields} }}')
        return top

    def conv(
        self, name: str, x: str, count: int, kernel: int | tuple[int, int], *,
        stride: int = 1, pad: int | tuple[int, int] = 0, group: int = 1, bias: bool = True,
    ) -> str:  # fmt: skip
        """A convolution."""
        height, width = (kernel, kernel) if isinstance(kernel, int) else kernel
        above, beside = (pad, pad) if isinstance(pad, int) else pad
        fields = f"num_output: {count} kernel_h: {height} kernel_w: {width} stride: {stride} "
        fields += f"pad_h: {above} pad_w: {beside} group: {group} "
        fields += _FILL if bias else f"bias_term: false {_FILL.split(' bias')[0]}"
        return self.add("Convolution", name, [x], name, f"convolution_param {{ {fields} }}")

    def norm(self, x: str, bn: str, scale: str, fields: str = "") -> str:
        """BatchNorm and Scale in place."""
        self.add("BatchNorm", bn, [x], x, f"batch_norm_param {{ {fields} }}" if fields else "")
        return self.add("Scale", scale, [x], x, "scale_param { bias_term: true }")

    def relu(self, name: str, x: str) -> str:
        """ReLU in place."""
        return self.add("ReLU", name, [x], x)

    def pool(self, name: str, x: str, kind: str, kernel: int, stride: int, pad: int = 0) -> str:
        """A pooling."""
        fields = f"pool: {kind} kernel_size: {kernel} stride: {stride} pad: {pad}"
        return self.add("Pooling", name, [x], name, f"pooling_param {{ {fields} }}")

    def mean(self, name: str, x: str) -> str:
        """The mean of each map."""
        fields = "pooling_param { pool: AVE global_pooling: true }"
        return self.add("Pooling", name, [x], name, fields)

    def linear(self, name: str, x: str, count: int) -> str:
        """An inner product."""
        fields = f"inner_product_param {{ num_output: {count} {_FILL} }}"
        return self.add("InnerProduct", name, [x], name, fields)

    def softmax(self, x: str) -> str:
        """The end."""
        return self.add("Softmax", "prob", [x], "prob")

    def __str__(self) -> str:
        return "\n".join([*self.lines, ""])
