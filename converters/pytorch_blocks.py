"""The text of a class that repeats."""

from __future__ import annotations

from converters.modules import Block, Unit, reads
from converters.modules.names import kind, labels
from converters.python_names import Identifiers, identifier
from converters.python_source import WIDTH, Call, layout
from converters.pytorch_file import LOCALS
from converters.pytorch_signature import Signature
from converters.pytorch_tree import Tree
from ir import Value
from ir import ops as o

__all__ = ["BlockVariables", "block_text"]


class BlockVariables:
    """Names of variables in the `forward` of a block, after its members."""

    def __init__(self, block: Block, names: Signature) -> None:
        self._scope = Identifiers({*LOCALS, "x"})
        self._given: dict[str, str] = {}
        self._texts: dict[Value, str] = {}
        for index, (part, label) in enumerate(zip(block.parts, labels(block), strict=True)):
            member = names.members.get(index, "").split(".")[0]
            source = self._texts.get(reads(part)[0]) if len(reads(part)) == 1 else None
            same = bool(reads(part)) and reads(part)[0].shape == part.output.shape
            follows = same and (not member or isinstance(part.nodes[0].op, o.BatchNorm))
            keeps = isinstance(part, Unit) and follows and source
            text = (source if keeps else "") or member or label or kind(part)
            self._texts[part.output] = identifier(str(text), prefix=kind(part))

    def name(self, value: Value, new: bool) -> str:
        """A value's variable; a new one where that holds what is still needed."""
        text = self._texts[value]
        if new or text not in self._given:
            self._given[text] = self._scope.new(text)
        return self._given[text]


def block_text(tree: Tree, block: Block, forward: list[str]) -> str:
    """The class, given the lines of its `forward`."""
    names = tree.signatures[block]
    init = Call("def __init__", ("self", *names.hints()), " -> None")
    return "\n".join(
        [
            f"class {block.name}(nn.Module):",
            f'    """{tree.summary(block)[: WIDTH - 10]}"""',
            "",
            *layout("    ", init, ":"),
            "        super().__init__()",
            *tree.block_init(block),
            "",
            "    def forward(self, x: torch.Tensor) -> torch.Tensor:",
            *forward,
            "",
        ]
    )
