"""Names of blocks, their instances, members and arguments, from layers' names where these say
something, else from what the parts do."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import chain, count
from string import ascii_uppercase

from converters.modules.parts import Block, Instance, Part, Unit, dimension
from converters.modules.wiring import wires
from converters.python_names import Identifiers, class_name, identifier
from ir import ops as o

__all__ = [
    "argument_names",
    "class_names",
    "common_text",
    "instance_text",
    "labels",
    "member_names",
    "scope",
]

_GENERIC_WORDS = """
    add batch blk blob block bn bnorm branch chan channels concat conv convolution dconv deconv
    dense densenet downsample dw elt eltwise expand fc feat feature features fwd group inner ip
    layer loss main map mconv mobilenet module net norm op out output param part path pool pooling
    post pre prelu proj reduce relu res residual resnet scale sep side skip split stage stem step
    sum tower unit vgg
"""
_GENERIC = frozenset(_GENERIC_WORDS.split())
"""Words that do not tell what a block is; what it does is then said better by its structure."""

_PLACES = ("stage", "tower", "branch", "head", "path", "unit")

_KINDS: dict[type[o.Op], str] = {
    o.Conv: "conv",
    o.ConvTranspose: "deconv",
    o.Linear: "fc",
    o.BatchNorm: "bn",
    o.MaxPool: "pool",
    o.AveragePool: "pool",
    o.PRelu: "prelu",
    o.Dropout: "drop",
    o.LocalResponseNorm: "norm",
    o.Relu: "relu",
    o.Add: "sum",
    o.Concat: "concat",
}
_TOKENS = re.compile(r"[A-Za-z]+|\d+|[^A-Za-z0-9]+")
_PLACE = re.compile(r"\d+[a-z]?(?![a-wyz0-9])(?:_\d+(?![\dx]))?")


def scope(layer: str) -> str:
    """What of a layer's name tells the block that it is in: "inception_3a/1x1" and
    "bn3a_branch1" -> "3a"."""
    first = layer.split("/", 1)[0]
    found = _PLACE.search(first)
    return found.group() if found else first


def kind(part: Part) -> str:
    """What a part is, in a word."""
    if isinstance(part, Instance) and part.block.small:
        return next(kind(inner) for inner in part.present if inner.loose)
    if isinstance(part, Instance):
        return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", part.block.name).lower()
    op = type(part.nodes[0].op)
    if op is o.Mul and part.member:
        return "scale"
    return _KINDS.get(op, op.__name__.lower())


def _common(names: Sequence[str]) -> str:
    """What several names share, without what tells them apart."""
    split = [_TOKENS.findall(name) for name in names]
    if len({len(tokens) for tokens in split}) == 1:
        kept = [column[0] for column in zip(*split, strict=True) if len(set(column)) == 1]
        return "".join(kept)
    least = min(split, key=len)
    front = 0
    while front < len(least) and len({tokens[front] for tokens in split}) == 1:
        front += 1
    back = 0
    while back < len(least) - front and len({tokens[-1 - back] for tokens in split}) == 1:
        back += 1
    return "".join([*least[:front], *least[len(least) - back :]])


def _prefix(names: Sequence[str]) -> str:
    """The common beginning of names, up to where a word of each ends."""
    split = [_TOKENS.findall(name) for name in names]
    count = 0
    while all(len(t) > count for t in split) and len({t[count] for t in split}) == 1:
        count += 1
    while count and not all(
        len(t) == count or not t[count].isalnum() or not t[count - 1].isalnum() for t in split
    ):
        count -= 1
    return "".join(split[0][:count]) if split else ""


def instance_text(one: Instance) -> str:
    """What an instance is called after its layers: "fire2", "res2a"."""
    front, back = _front(one.present), _back(one.present)
    said = back if _telling(back) and not _telling(front) else front or back
    return one.name or said or one.layer


def _telling(text: str) -> bool:
    """Whether a text has a word that says more than "conv"."""
    return any(word.lower() not in _GENERIC for word in re.findall(r"[A-Za-z]{3,}", text))


def common_text(branches: Sequence[Sequence[Part]]) -> str:
    """What is the same in the names of branches: "tower_a/conv1" and "tower_b/conv1" -> "tower"."""
    text = _common([_front(parts, least=2) for parts in branches]).strip("_/-. ")
    return text if re.search(r"[A-Za-z]{2}", text) else ""


def _front(present: Sequence[Part], least: int = 1) -> str:
    """What the names of at least so many layers begin with, "" where they agree on nothing."""
    members = [part for part in present if part.member]
    learned = [part for part in members if part.learns]
    convolutions = [part for part in members if part.loose]
    for parts in (present, members, learned, convolutions):
        text = _prefix([part.layer for part in parts])
        if len(parts) >= least and re.search(r"[A-Za-z0-9]", text):
            return text.strip("_/-. ")
    return ""


def _back(present: Sequence[Part]) -> str:
    """What the names of layers with parameters end in, if that tells a place: "stage2_L1"."""
    split = [_TOKENS.findall(part.layer) for part in present if part.member]
    count = 0
    while (
        len(split) > 1
        and all(len(t) > count for t in split)
        and len({t[~count] for t in split}) == 1
    ):
        count += 1
    text = "".join(split[0][len(split[0]) - count :]) if count else ""
    found = re.search(r"[^A-Za-z0-9](?=[A-Za-z]{2})", text)
    text = text[found.end() :] if found else ""
    return text if re.search(r"\d", text) else ""


def _within(layer: str, text: str) -> str | None:
    """What of a layer's name is left without that of the instance around it."""
    if layer.startswith(text):
        return layer[len(text) :]
    return layer[: -len(text)] if layer.endswith(text) else None


def _scope(one: Instance) -> str:
    """What the names of an instance's layers may begin with."""
    return _front(one.present, least=2) if one.name else instance_text(one)


def _text(part: Part) -> str:
    """What a part of a block is called after; a small block is its convolution."""
    if isinstance(part, Instance) and not part.block.small:
        return instance_text(part)
    return part.layer


def labels(block: Block) -> list[str]:
    """What the parts of a block are called after their layers, "" where these agree on nothing."""
    if block.small:
        return [""] * len(block.parts)
    texts = []
    for index in range(len(block.parts)):
        present = [(one, one.parts[index]) for one in block.instances]
        names = [(_scope(one), _text(part)) for one, part in present if part is not None]
        within = [_within(layer, text) for text, layer in names]
        found = [text for text in within if text is not None]
        whole = len(found) == len(names)
        texts.append(_common(found if whole else [layer for _, layer in names]).strip("_/-. "))
    return [
        # A mere letter or number says more behind what the part is.
        f"{kind(part)}_{text}" if re.fullmatch(r"[A-Za-z]|\d+", text) else text
        for part, text in zip(block.parts, texts, strict=True)
    ]


def member_names(block: Block, reserved: Sequence[str]) -> dict[int, str]:
    """The attribute of each part that has a submodule."""
    texts = labels(block)
    members = [i for i, part in enumerate(block.parts) if part.member]
    kinds = [kind(block.parts[i]) for i in members]
    found: dict[int, str] = {}
    names = Identifiers(reserved, prefix="layer")
    for index, word in zip(members, kinds, strict=True):
        text = texts[index]
        alike = sum((texts[i], not text and kind(block.parts[i])) == (text, not text and word)
                    for i in members)  # fmt: skip
        base = identifier(text, prefix="conv" if word == "bn" else word) if text else word
        number = sum(1 for i in found if (texts[i] or kind(block.parts[i])) == (text or word)) + 1
        found[index] = names.new(f"{base}{number}" if alike > 1 else base)
    return found


# Classes


def class_names(blocks: Sequence[Block], reserved: Sequence[str]) -> dict[Block, str]:
    """A class name for each block, all different."""
    taken = set(reserved)
    found: dict[Block, str] = {}
    words = {block: _word([instance_text(one) for one in block.instances]) for block in blocks}
    bases = {b: class_name(word or structure(b) or _place(b), default="Block")
             for b, word in words.items()}  # fmt: skip
    for block, base in bases.items():
        alike = list(bases.values()).count(base) > 1
        letters = [base + letter for letter in ascii_uppercase] if alike else [base]
        numbers = (f"{base}{number}" for number in count(2))
        name = next(name for name in chain(letters, numbers) if name not in taken)
        taken.add(name)
        block.name = found[block] = name
    return found


def _word(names: Sequence[str]) -> str:
    """The words that all names share and that say more than "block"."""
    split = [re.findall(r"[A-Za-z]{3,}", name) for name in names]
    shared = [word for word in split[0] if all(word in words for words in split)]
    telling = [word for word in shared if word.lower() not in _GENERIC]
    return "".join(word.capitalize() if word.islower() else word for word in telling)


def _place(block: Block) -> str:
    """A word of all names that says where a block is rather than what, such as "stage"."""
    names = [instance_text(one).lower() for one in block.instances]
    return next((word for word in _PLACES if all(word in name for name in names)), "").capitalize()


def structure(block: Block) -> str:
    """What a block is called after what it does, or as its one instance is; "" if neither says."""
    if block.model.name:
        return block.model.name
    units = [unit for part in block.parts for unit in part.all_units()]
    convolutions = [u for u in units if isinstance(u.nodes[0].op, o.Conv)]
    kernels = [set(u.nodes[0].inputs[1].shape[2:]) for u in convolutions]
    wide = [_is_depthwise(u) for u in convolutions]
    joins = [i for i, wired in enumerate(wires(block.parts)) if len(set(wired)) > 1]
    if joins:
        last = block.parts[joins[-1]]
        from_input = -1 in wires(block.parts)[joins[-1]]
        op = last.nodes[-1].op
        if isinstance(op, o.Add):
            if any(wide):
                return "InvertedResidual"
            points = [kernel == {1} for kernel in kernels]
            narrow = any(points[i : i + 3] == [True, False, True] for i in range(len(points)))
            return "Bottleneck" if narrow else "Residual"
        if isinstance(op, o.Concat):
            return "DenseLayer" if from_input else "Inception" if len(kernels) > 2 else "Branches"
        squeezed = any(isinstance(u.nodes[0].op, o.GlobalAveragePool) for u in units)
        if isinstance(op, o.Mul) and squeezed:
            return "SqueezeExcitation"
        return ""
    if len(convolutions) == 2 and wide == [True, False]:
        return "DepthwiseSeparable"
    words = [_CHAIN.get(kind(part), "") for part in block.parts]
    if words == ["BN", "ReLU", "Conv", "Pool"]:
        return "Transition"
    return "".join(words) if all(words) and len(words) <= 4 else ""


_CHAIN = {"conv": "Conv", "bn": "BN", "relu": "ReLU", "prelu": "PReLU", "pool": "Pool",
          "scale": "Scale", "deconv": "Deconv", "drop": "Dropout", "fc": "Linear"}  # fmt: skip


def _is_depthwise(unit: Unit) -> bool:
    op = unit.nodes[0].op
    return isinstance(op, o.Conv) and op.group > 1 and unit.nodes[0].inputs[1].shape[1] == 1


# Arguments


def argument_names(
    block: Block, members: Mapping[int, str], reserved: Sequence[str]
) -> dict[str, str]:
    """The name of each argument of a block, by its key, in the order of `__init__`."""
    wired = wires(block.parts)
    roles = {key: _role(block, key, wired) for key in block.arguments}
    unnamed = [key for key, role in roles.items() if role == "channels"]
    names = Identifiers(reserved, prefix="n")
    wanted: dict[str, str] = {}
    for key, role in roles.items():
        if role == "channels":
            name = _made_by(block, key, members)
            plain = len(unnamed) == 1 or name in _KINDS.values()
            wanted[key] = "mid_channels" if plain else name
        elif block.arguments[key][0] == "option":
            # It is an attribute too.
            wanted[key] = f"with_{role}" if role in members.values() else role
        elif role in wanted.values():
            wanted[key] = f"{members[block.arguments[key][1][0][0]]}_{role}"
        else:
            wanted[key] = role
    return {key: names.new(text) for key, text in wanted.items()}


def _role(block: Block, key: str, wired: Sequence[tuple[int, ...]]) -> str:
    """A name, or "channels" where it is to be named after a member."""
    kind_, uses = block.arguments[key]
    if kind_ == "option":
        option = block.optional[int(key.removeprefix("option"))]
        if block.parts[option.start].member:
            return "projection" if wired[option.start] == (-1,) else "optional"
        return "residual" if option.instead == -1 or -1 in wired[option.start] else "joined"
    if kind_ == "groups" or dimension(kind_) != "channels":
        return kind_
    if any(_base(block, i, name) == "0" and wired[i] == (-1,) for i, name in uses):
        return "in_channels"
    last = _exit(block, wired)
    leaves = any((i, _base(block, i, name)) == (last, "1") for i, name in uses)
    return "out_channels" if leaves else "channels"


def _base(block: Block, index: int, name: str) -> str:
    part = block.parts[index]
    return part.block.arguments[name][0] if isinstance(part, Instance) else name


def _exit(block: Block, wired: Sequence[tuple[int, ...]]) -> int:
    """The convolution whose channels leave the block, -1 where several are joined."""
    index = len(block.parts) - 1
    while index >= 0:
        part = block.parts[index]
        settings = {_base(block, index, name) for name in part.settings}
        constant = {name for i, name in block.constants if i == index}
        if "1" in settings | {_base(block, index, name) for name in constant}:
            return index
        if isinstance(part.nodes[-1].op, o.Concat):
            return -1
        index = max(wired[index], default=-1)
    return -1


def _made_by(block: Block, key: str, members: Mapping[int, str]) -> str:
    uses = block.arguments[key][1]
    made = [members[i] for i, name in uses if _base(block, i, name) == "1" and i in members]
    if not made:
        return "channels"
    front = identifier(_shared(made), prefix="n")
    return front if len(made) > 1 and len(front) >= 3 else made[0]


def _shared(names: Sequence[str]) -> str:
    least = min(names, key=len)
    count = 0
    while count < len(least) and len({name[count] for name in names}) == 1:
        count += 1
    return re.sub(r"[\d_]+$", "", least[:count])
