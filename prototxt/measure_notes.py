"""What is said of layers that measure and are left out, and of what goes with them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from prototxt.blobs import Origin

__all__ = ["MEASURES", "about_inputs", "about_layers", "about_outputs", "about_probabilities"]

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


def about_layers(left_out: Sequence[Origin], why: str) -> list[str]:
    """A note a type, of all layers that are left out, in the order of the net; `why` is that of
    types that do not measure."""
    types: dict[str, list[Origin]] = {}
    for origin in left_out:
        if origin.message.type != "Silence":
            types.setdefault(origin.message.type, []).append(origin)
    notes = []
    for kind, (first, *more) in types.items():
        count = "is one" if len(more) == 1 else f"are {len(more)}"
        others = f", as {count} more" if more else ""
        notes.append(f'{first.where}: layer "{first.message.name}" ({kind}) '
                     f"{MEASURES.get(kind, why)}: it is left out{others}")  # fmt: skip
    return notes


def about_probabilities(softmaxes: Sequence[Origin]) -> list[str]:
    """A note for each Softmax that stays of a loss."""
    return [
        f'{part.where}: layer "{part.message.name}": its top "{part.message.top[0]}", the '
        "probabilities, stays: it is a Softmax now"
        for part in softmaxes
    ]


def about_inputs(parts: Sequence[Origin], labels: Mapping[int, set[str]]) -> list[str]:
    """A note on inputs that go; `labels` has their tops by the places of their layers."""
    names = [top for place in sorted(labels) for top in parts[place].message.top
             if top in labels[place]]  # fmt: skip
    if not names:
        return []
    where = parts[min(labels)].where
    return [f"{where}: inputs that only these layers read are left out: {', '.join(names)}"]


def _ends(origins: Sequence[Origin]) -> set[str]:
    """The names of the blobs that nothing reads."""
    unread = set[str]()
    for origin in origins:
        unread -= set(origin.message.bottom)
        unread |= set(origin.message.top)
    return unread


def about_outputs(first: Origin, before: Sequence[Origin], after: Sequence[Origin]) -> list[str]:
    """A note on what is no output any more, and on what is one in its place: of the net's layers
    before and after; `first` is one that goes."""
    were, are = _ends(before), _ends(after)
    lost, new = (", ".join(sorted(names, key=str.encode)) for names in (were - are, are - were))
    said = [f"outputs that these layers make are left out: {lost}"] if lost else []
    said += [f"what only they read is an output now: {new}"] if new else []
    return [f"{first.where}: {'; '.join(said)}"] if said else []
