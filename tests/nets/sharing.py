"""Nets whose branches share their parameters, as siamese nets do."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import zip_longest

from tests.nets.text import Text

__all__ = ["BRANCHES", "Branch", "siamese"]

_STORED = {"Convolution": 2, "InnerProduct": 2, "BatchNorm": 3, "Scale": 2, "PReLU": 1}


class Branch(Text):
    """One branch: what it is given names for is called `form` of that, and all branches share it.

    Args:
        form: of the names of layers and blobs, such as "{}_p".
        own: layers whose parameters are the branch's own.
    """

    def __init__(self, form: str, own: Sequence[str] = ()) -> None:
        self.lines, self.form, self.own = [], form, own

    def add(self, kind: str, name: str, bottoms: Sequence[str], top: str, fields: str = "") -> str:
        """Any layer."""
        count = 1 if "bias_term: false" in fields else _STORED.get(kind, 0)
        if name not in self.own:
            fields += "".join(f' param {{ name: "{name}_{i}" }}' for i in range(count))
        called = [bottom if bottom.startswith("=") else self._of(bottom) for bottom in bottoms]
        wires = [bottom.removeprefix("=") for bottom in called]
        super().add(kind, self._of(name), wires, self._of(top), fields)
        return top

    def _of(self, name: str) -> str:
        return self.form.format(name)


Make = Callable[[Branch, str], str]
"""Adds the layers of a branch that reads a blob of the net's, and returns what it makes."""


def siamese(
    make: Make, forms: Sequence[str], *, mixed: bool = False, size: int = 12, end: str = "Concat",
    own: Sequence[str] = (),
) -> str:  # fmt: skip
    """A net of branches that are joined at their ends.

    Args:
        make: adds a branch.
        forms: of the names in each branch.
        mixed: whether the branches' layers take turns.
        size: height and width of its inputs.
        end: the layer that joins them.
        own: layers whose parameters the last branch does not share.
    """
    net = Text("siamese", size)
    net.lines.pop()
    shape = f"shape {{ dim: 2 dim: 3 dim: {size} dim: {size} }}"
    branches, tops = [], []
    for i, form in enumerate(forms):
        net.add("Input", f"in{i}", [], f"in{i}", f"input_param {{ {shape} }}")
        branch = Branch(form, own if i == len(forms) - 1 else ())
        tops.append(form.format(make(branch, f"=in{i}")))
        branches.append(branch.lines)
    if mixed:
        rows = zip_longest(*branches)
        net.lines += [line for row in rows for line in row if line is not None]
    else:
        net.lines += [line for lines in branches for line in lines]
    net.add(end, "end", tops, "end")
    return str(net)


def _lenet(net: Branch, x: str) -> str:
    x = net.pool("pool1", net.conv("conv1", x, 4, 3), "MAX", 2, 2)
    x = net.pool("pool2", net.conv("conv2", x, 5, 3), "MAX", 2, 2)
    return net.linear("feat", net.relu("relu1", net.linear("ip1", x, 6)), 2)


def _residual(net: Branch, x: str) -> str:
    x = net.relu("stem/relu", net.norm(net.conv("stem", x, 4, 3, bias=False), "stem/bn", "stem/s"))
    for i in range(3):
        y = net.norm(net.conv(f"res{i}/a", x, 5, 3, pad=1), f"res{i}/bn_a", f"res{i}/scale_a")
        y = net.relu(f"res{i}/relu_a", y)
        y = net.norm(net.conv(f"res{i}/b", y, 4, 3, pad=1), f"res{i}/bn_b", f"res{i}/scale_b")
        x = net.add("Eltwise", f"res{i}/sum", [x, y], f"res{i}/sum")
        x = net.add("PReLU", f"res{i}/prelu", [x], f"res{i}/out")
    return net.linear("embed", net.mean("pool", x), 3)


def _inception(net: Branch, x: str) -> str:
    made = [
        net.relu("mix/relu1", net.conv("mix/1x1", x, 3, 1)),
        net.relu("mix/relu3", net.conv("mix/3x3", net.conv("mix/reduce", x, 2, 1), 4, 3, pad=1)),
        net.conv("mix/proj", net.pool("mix/pool", x, "MAX", 3, 1, 1), 2, 1),
    ]
    x = net.add("Concat", "mix/concat", made, "mix/concat")
    return net.add("Dropout", "drop", [net.linear("fc", x, 3)], "drop")


BRANCHES: dict[str, Make] = {"lenet": _lenet, "residual": _residual, "inception": _inception}
"""Kinds of branches."""
