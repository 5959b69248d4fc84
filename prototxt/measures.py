"""Layers that hold what a net finds against labels, for training or for tests of it: what other
programs do now."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from prototxt import caffe_pb2 as pb
from prototxt.blobs import Origin
from prototxt.errors import NetError
from prototxt.net import DATA_LAYERS, Layer
from prototxt.shape_rules.rule import RULES, rule_of

__all__ = ["MEASURES", "without_measures"]

_AGAINST = "counts what is found against labels"
_LOSS = "is a loss, for training"
MEASURES = {
    "BoxAnnotatorOHEM": "picks hard examples, for training",
    "DetectionEvaluate": _AGAINST,
    "EvalDetection": _AGAINST,
    "MultiBoxLoss": _LOSS,
    "RegionLoss": _LOSS,
    "SmoothL1LossOHEM": _LOSS,
    "SoftmaxWithLossOHEM": _LOSS,
}
"""By type, what a note says of a layer that is left out."""
_SOURCES = DATA_LAYERS | {"DummyData", "Input"}
_Top = tuple[int, str]
"""A layer's place and the name of a top of it: a name alone may mean several blobs."""


def without_measures(origins: Sequence[Origin]) -> tuple[list[Origin], list[str]]:
    """The layers but those that measure, whose tops nothing reads that stays, and a note for each
    type.

    R-FCN's mining of hard examples is a chain: losses, their sum, a layer that picks labels, losses
    and an Accuracy of these.  So whatever only passes on values of layers that are left out goes
    with them, to the end; and of a layer that reads data, or of an input, what only they read:
    labels.  One whose top a layer reads that stays is refused like any type that is not known; so
    does one that a plugin brings stay.

    Raises:
        NetError: nothing is left.
    """
    links = _Links(origins)
    gone = _left_out(origins, links)
    if not gone:
        return list(origins), []
    labels = _labels(origins, links, gone)
    kept, dropped = [], list[str]()
    for place, origin in enumerate(origins):
        if place in gone:
            continue
        left: Origin | None = origin
        if origin.message.type == "Silence":
            left = _silencing(origin, links.makers[place], gone, labels)
        elif place in labels:
            left = _without(origin, labels[place])
            dropped += [top for top in origin.message.top
                        if left is None or top not in left.message.top]  # fmt: skip
        if left is not None:
            kept.append(left)
    out = [origins[place] for place in sorted(gone)]
    if not kept:
        raise _nothing_left(out[0])
    notes = _notes(out)
    if dropped:
        notes[-1] += f", and with it the input {', '.join(dropped)}"
    return kept, notes


# --- what goes ------------------------------------------------------------------------------------


class _Links:
    """Which layer makes each bottom, and which read each top; layers are known by place."""

    def __init__(self, origins: Sequence[Origin]) -> None:
        current: dict[str, int] = {}
        self.makers: list[list[int | None]] = []
        readers: dict[_Top, list[int]] = {}
        for place, origin in enumerate(origins):
            bottoms = origin.message.bottom
            self.makers.append([current.get(name) for name in bottoms])
            for name in bottoms:
                if name in current:
                    readers.setdefault((current[name], name), []).append(place)
            current.update(dict.fromkeys(origin.message.top, place))
        self.readers: Mapping[_Top, list[int]] = readers


def _left_out(origins: Sequence[Origin], links: _Links) -> set[int]:
    """The places of the layers that go: all that may, less those of which something else reads, and
    so on until nothing changes."""
    gone = set[int]()
    for place, origin in enumerate(origins):
        makers = links.makers[place]
        if _measures(origin) or _follows(origin, makers, gone):
            gone.add(place)
    while True:
        stay = {place for place in gone if not _may_go(origins, links, place, gone)}
        if not stay:
            return gone
        gone -= stay


def _measures(origin: Origin) -> bool:
    return origin.message.type in MEASURES and origin.message.type not in RULES


def _holds_against(origin: Origin) -> bool:
    """Whether a layer that is known holds one bottom against another."""
    return origin.message.type == "Accuracy" or origin.message.type.endswith("Loss")


def _follows(origin: Origin, makers: Sequence[int | None], gone: set[int]) -> bool:
    """Whether a layer has no use without those that go: all that it reads is theirs, or what it
    holds something against."""
    if _holds_against(origin):
        return any(maker in gone for maker in makers)
    return bool(makers) and all(maker in gone for maker in makers)


def _may_go(origins: Sequence[Origin], links: _Links, place: int, gone: set[int]) -> bool:
    origin = origins[place]
    readers = [links.readers.get((place, top), []) for top in origin.message.top]
    if any(origins[one].message.type != "Silence" for ones in readers for one in ones
           if one not in gone):  # fmt: skip
        return False
    if _measures(origin):
        return True
    if not _follows(origin, links.makers[place], gone):
        return False
    # An end of the net that is computed of what goes is wanted: it is refused with its makers.
    return _holds_against(origin) or all(readers)


# --- what is left of others -----------------------------------------------------------------------


def _silencing(
    origin: Origin, makers: Sequence[int | None], gone: set[int], labels: Mapping[int, set[str]]
) -> Origin | None:
    """A Silence of those of its bottoms that are left; None where there are none."""
    left = [
        name
        for maker, name in zip(makers, origin.message.bottom, strict=True)
        if maker is None or (maker not in gone and name not in labels.get(maker, ()))
    ]
    if len(left) == len(origin.message.bottom):
        return origin
    return _changed(origin, bottom=left) if left else None


def _labels(origins: Sequence[Origin], links: _Links, gone: set[int]) -> dict[int, set[str]]:
    """By place of an input, its tops that nothing reads but what goes, and a Silence of some of
    that."""
    silent = {
        place
        for place, origin in enumerate(origins)
        if origin.message.type == "Silence" and gone.intersection(links.makers[place])
    }
    found: dict[int, set[str]] = {}
    for (place, top), readers in links.readers.items():
        if _gives_data(origins[place]) and (gone | silent).issuperset(readers):
            found.setdefault(place, set()).add(top)
    return {place: tops for place, tops in found.items() if _can_lack(origins[place], tops)}


def _can_lack(origin: Origin, labels: set[str]) -> bool:
    """Whether an input can be without tops, or need not be at all.

    The first top of a layer that reads data is what it reads; those of DummyData have their shapes
    and values by their places.
    """
    tops = origin.message.top
    if labels.issuperset(tops):
        return True
    return origin.message.type != "DummyData" and not (
        origin.message.type in DATA_LAYERS and tops[0] in labels
    )


def _gives_data(origin: Origin) -> bool:
    """Whether a layer is an input or becomes one, such as a Python layer without bottoms."""
    message = origin.message
    if message.type in _SOURCES:
        return True
    layer = Layer(0, message.name, message.type, (), (), message, origin.where)
    return not message.bottom and rule_of(layer) is None


def _without(origin: Origin, labels: set[str]) -> Origin | None:
    """An input layer without tops that are labels; None where it has no others."""
    tops = list(origin.message.top)
    left = [top for top in tops if top not in labels]
    if not left:
        return None
    changed = _changed(origin, top=left)
    shapes = changed.message.input_param.shape
    if len(shapes) == len(tops):
        for place in reversed([place for place, top in enumerate(tops) if top in labels]):
            del shapes[place]
    return changed


def _changed(origin: Origin, **names: Sequence[str]) -> Origin:
    message = pb.LayerParameter()
    message.CopyFrom(origin.message)
    for field, values in names.items():
        getattr(message, field)[:] = values
    return replace(origin, message=message)


# --- what is said ---------------------------------------------------------------------------------


def _notes(gone: Sequence[Origin]) -> list[str]:
    """A note a type, of all layers that are left out, in the order of the net."""
    types: dict[str, list[Origin]] = {}
    for origin in gone:
        if origin.message.type != "Silence":
            types.setdefault(origin.message.type, []).append(origin)
    notes = []
    for kind, (first, *more) in types.items():
        count = "is one" if len(more) == 1 else f"are {len(more)}"
        others = f", as {count} more" if more else ""
        why = MEASURES.get(kind, "reads what a layer that is left out makes")
        notes.append(f'{first.where}: layer "{first.message.name}" ({kind}) {why}: it is left '
                     f"out{others}")  # fmt: skip
    return notes


def _nothing_left(first: Origin) -> NetError:
    message = first.message
    return NetError(
        f'nothing is left of the net, as layer "{message.name}" ({message.type}) '
        f"{MEASURES[message.type]}",
        where=first.where,
        expected="layers that compute what it reads",
        hint="give the net to deploy",
    )
