"""Layers that hold what a net finds against labels, for training or for tests of it: what other
programs do now."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from prototxt import caffe_pb2 as pb
from prototxt.blobs import Origin
from prototxt.errors import NetError
from prototxt.measure_notes import (
    MEASURES,
    about_inputs,
    about_layers,
    about_outputs,
    about_probabilities,
)
from prototxt.net import DATA_LAYERS, Layer
from prototxt.shape_rules.rule import RULES, rule_of

__all__ = ["MEASURES", "without_measures"]

_HOLD_AGAINST = frozenset(
    ("Accuracy", "ContrastiveLoss", "EuclideanLoss", "HingeLoss", "InfogainLoss",
     "MultinomialLogisticLoss", "SigmoidCrossEntropyBalanceLoss", "SigmoidCrossEntropyLoss",
     "SmoothL1Loss", "SoftmaxWithLoss")
)  # fmt: skip
"""Layers that are converted, and that hold one bottom against another."""
_WITH_PROBABILITIES = frozenset(("SoftmaxWithLoss", "SoftmaxWithLossOHEM"))
"""Losses whose second top is a Softmax of their first bottom, which reads no label
(softmax_loss_layer.cpp, and R-FCN's softmax_loss_ohem_layer.cu: both share prob_ with top[1])."""
_FIRST_LABEL = {"BoxAnnotatorOHEM": 2, "ContrastiveLoss": 2, "MultiBoxLoss": 3}
"""The first bottom that holds labels, or what goes with them; of other types it is 1."""
_BESIDE = frozenset(
    ("AbsVal", "ArgMax", "Concat", "Eltwise", "Exp", "Flatten", "Log", "Permute", "Pooling",
     "Power", "Reduction", "Reshape", "Slice", "Split", "Squeeze", "Threshold", "Tile",
     "Transpose")
)  # fmt: skip
"""Layers that may go with the labels that they change: all known, none with weights of its own."""
_SOURCES = DATA_LAYERS | {"DummyData", "Input"}
_Top = tuple[int, str]
"""A layer's place and the name of a top of it: a name alone may mean several blobs."""


def without_measures(origins: Sequence[Origin]) -> tuple[list[Origin], list[str]]:
    """The layers but those that measure, whose tops nothing reads that stays, and notes of what is
    left out: one for each type, of inputs, and of outputs.

    R-FCN's mining of hard examples is a chain: losses, their sum, a layer that picks labels, losses
    and an Accuracy of these.  So whatever only passes on values of layers that are left out goes
    with them, to the end; and what they alone read: labels, which an input or a layer that reads
    data gives, and layers without weights that compute of such labels alone.  The probabilities
    that a softmax loss gives beside the loss stay, as a Softmax.  A layer that measures and whose
    top a layer reads that stays is refused like any type that is not known.  A layer of these types
    that a plugin brings stays.

    Raises:
        NetError: nothing is left.
    """
    parts, wholes = _parts(origins)
    links = _Links(parts)
    gone = _left_out(parts, links)
    if not gone:
        return list(origins), []
    gone |= _silenced(parts, links, wholes, gone)
    beside = _beside(parts, links, gone)
    labels = _labels(parts, links, gone | beside)
    kept = _rest(parts, links, wholes, gone | beside, labels)
    measuring = [parts[place] for place in sorted(gone.difference(wholes))]
    if not kept:
        raise _nothing_left(measuring[0])
    softmaxes = [parts[place] for place in wholes if place + 1 in gone and place not in gone]
    notes = [
        *about_layers(measuring, "reads what a layer that is left out makes"),
        *about_layers([parts[place] for place in sorted(beside)],
                      "computes labels for layers that are left out"),
        *about_probabilities(softmaxes),
        *about_inputs(parts, labels),
        *about_outputs(parts[min(gone | beside)], origins, kept),
    ]  # fmt: skip
    return kept, notes


def _rest(
    parts: Sequence[Origin],
    links: _Links,
    wholes: Mapping[int, Origin],
    going: set[int],
    labels: Mapping[int, set[str]],
) -> list[Origin]:
    """The layers that stay, less what goes of their blobs."""
    kept = []
    for place, part in enumerate(parts):
        left: Origin | None = part
        if place in wholes and place + 1 not in going:
            left = wholes[place]
        elif place in going or place - 1 in wholes:
            continue  # that of a layer that stays whole came with its probabilities
        elif part.message.type == "Silence":
            left = _silencing(part, links.makers[place], going, labels)
        elif place in labels:
            left = _without(part, labels[place])
        if left is not None:
            kept.append(left)
    return kept


def _parts(origins: Sequence[Origin]) -> tuple[list[Origin], dict[int, Origin]]:
    """The layers, softmax losses with probabilities as two: a Softmax, and the loss behind it; and
    by the place of such a Softmax, the layer that it is of."""
    parts, wholes = list[Origin](), dict[int, Origin]()
    for origin in origins:
        message = origin.message
        tops = list(message.top)
        apart = len({*tops, *message.bottom}) == len(tops) + len(message.bottom)
        known = message.type in _HOLD_AGAINST or _measures(origin)
        if message.type in _WITH_PROBABILITIES and known and len(tops) > 1 and apart:
            wholes[len(parts)] = origin
            parts.append(_softmax(origin))
            origin = _changed(origin, top=[tops[0], *tops[2:]])
        parts.append(origin)
    return parts, wholes


def _softmax(loss: Origin) -> Origin:
    whole = loss.message
    message = pb.LayerParameter(name=whole.name, type="Softmax", bottom=whole.bottom[:1],
                                top=whole.top[1:2])  # fmt: skip
    if whole.HasField("softmax_param"):
        message.softmax_param.CopyFrom(whole.softmax_param)
    unknown = tuple(field for field in loss.unknown if field.name != "loss_param")
    return replace(loss, message=message, unknown=unknown)


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
    """Whether a layer holds one bottom against another; of types that nobody knows, or that a
    plugin brings, that cannot be told."""
    return origin.message.type in _HOLD_AGAINST or _measures(origin)


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


def _silenced(
    parts: Sequence[Origin], links: _Links, wholes: Mapping[int, Origin], gone: set[int]
) -> set[int]:
    """The places of the Softmaxes of losses that go whose probabilities a Silence alone reads."""
    return {
        place
        for place in wholes
        if place + 1 in gone
        and (readers := links.readers.get((place, parts[place].message.top[0])))
        and all(parts[one].message.type == "Silence" for one in readers)
    }


def _beside(parts: Sequence[Origin], links: _Links, gone: set[int]) -> set[int]:
    """The places of layers that are there for layers that go alone, and compute of labels that only
    these read: all that may, less those that something else reads or that read something else, and
    so on until nothing changes."""
    found = {
        place
        for place, part in enumerate(parts)
        if place not in gone and part.message.type in _BESIDE and part.message.bottom
    }
    while True:
        labels = _labels(parts, links, gone | found)
        left = {
            place
            for place in found
            if _is_of_labels(parts[place], links.makers[place], labels, found)
            and _is_for_labels(parts, links, place, gone, found)
        }
        if left == found:
            return found
        found = left


def _is_of_labels(
    part: Origin,
    makers: Sequence[int | None],
    labels: Mapping[int, set[str]],
    beside: set[int],
) -> bool:
    """Whether a layer reads nothing but labels that go, and what is computed of these."""
    return all(
        maker is not None and (maker in beside or name in labels.get(maker, ()))
        for maker, name in zip(makers, part.message.bottom, strict=True)
    )


def _is_for_labels(
    parts: Sequence[Origin], links: _Links, place: int, gone: set[int], beside: set[int]
) -> bool:
    """Whether layers that go read a layer's tops, as labels, and none that stays but a Silence.

    What they read in other places is what the net finds, and an output once they are gone.
    """
    wanted = False
    for top in parts[place].message.top:
        readers = links.readers.get((place, top), [])
        if not readers:
            return False
        for one in readers:
            message = parts[one].message
            if message.type == "Silence":
                continue
            found = message.bottom[: _FIRST_LABEL.get(message.type, 1)]
            if one not in beside and (one not in gone or top in found):
                return False
            wanted = True
    return wanted


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
    """By place of an input, its tops that nothing reads but what goes, or a Silence of some of that
    too."""
    silent = {place for place, origin in enumerate(origins) if origin.message.type == "Silence"}
    of_gone = {place for place in silent if gone.intersection(links.makers[place])}
    found: dict[int, set[str]] = {}
    for (place, top), readers in links.readers.items():
        unused = (gone | silent).issuperset(readers) and (gone | of_gone).intersection(readers)
        if unused and _gives_data(origins[place]):
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


def _nothing_left(first: Origin) -> NetError:
    message = first.message
    return NetError(
        f'nothing is left of the net, as layer "{message.name}" ({message.type}) '
        f"{MEASURES[message.type]}",
        where=first.where,
        expected="layers that compute what it reads",
        hint="give the net to deploy",
    )
