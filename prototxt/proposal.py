"""Settings of the layers that propose boxes: PVANet's Proposal, and the Python layer that it comes
from, which py-faster-rcnn, R-FCN and MNC have."""

from __future__ import annotations

import re
from dataclasses import dataclass

from prototxt.geometry import fail
from prototxt.net import Layer

__all__ = ["ProposalSettings", "is_python_proposal", "proposal_settings"]

PYTHON = ("rpn.proposal_layer", "ProposalLayer")
"""Module and class of the Python layer."""
MNC = ("pylayer.proposal_layer", "ProposalLayer")
"""The same of MNC's, which computes the same at TEST, with the anchors that are the default."""
_READ = {PYTHON: {"feat_stride", "scales", "ratios"}, MNC: {"feat_stride"}}
_OF_GRADIENTS = {"clip_base", "gradient_scale", "use_clip"}
"""What MNC's also reads, for training."""
_SCALES = (8.0, 16.0, 32.0)
_RATIOS = (0.5, 1.0, 2.0)
_SETTING = re.compile(
    r"""\s*(?P<quote>['"]?)(?P<key>\w+)(?P=quote)\s*:\s*(?:!!python/tuple\s*)?
    (?:[\[(](?P<many>[^\])]*)[\])]|(?P<one>[-+.\w]+))\s*(?:,|\n|$)""",
    re.VERBOSE,
)
"""One entry of a mapping in YAML, as far as such layers have them."""


@dataclass(frozen=True)
class ProposalSettings:
    """What decides which boxes are proposed.

    A box that is narrower or lower than `min_size`, times the image's scale, keeps its place with a
    score of 0 (`keeps_small`), or is left out.
    """

    stride: int
    base_size: int
    ratios: tuple[float, ...]
    scales: tuple[float, ...]
    min_size: float
    before: int
    """How many boxes, the best, are compared with one another."""
    after: int
    """How many of them are proposed at most."""
    threshold: float
    keeps_small: bool

    @property
    def anchors(self) -> int:
        """The number of boxes at each place of the map."""
        return len(self.ratios) * len(self.scales)


def is_python_proposal(layer: Layer) -> bool:
    """Whether a Python layer is py-faster-rcnn's or MNC's, by module and class."""
    return layer.type == "Python" and _class(layer) in _READ


def _class(layer: Layer) -> tuple[str, str]:
    return layer.message.python_param.module, layer.message.python_param.layer


def proposal_settings(layer: Layer) -> ProposalSettings:
    """The settings of a Proposal, or of a Python layer that is one.

    Raises:
        NetError: they are of no use.
    """
    settings = _of_python(layer) if layer.type == "Python" else _of_proposal(layer)
    counts = {
        "feat_stride": settings.stride, "base_size": settings.base_size,
        "pre_nms_topn": settings.before, "post_nms_topn": settings.after,
    }  # fmt: skip
    for name, count in counts.items():
        if not 0 < count < 2**31:
            raise fail(layer, f"{name} is {count}", "at least 1")
    for name, values in (("ratio", settings.ratios), ("scale", settings.scales)):
        for value in values:
            if not 0 < value < float("inf"):
                raise fail(layer, f"{name} {value:g} cannot be used", "more than 0")
    if not settings.threshold >= 0:
        raise fail(layer, f"nms_thresh {settings.threshold:g} cannot be used", "at least 0")
    return settings


def _of_proposal(layer: Layer) -> ProposalSettings:
    param = layer.message.proposal_param
    for name in ("ratio", "scale"):
        if not getattr(param, name):
            raise fail(layer, f"{name} is missing", "ratio and scale, one at least, as PVANet's "
                       "Proposal has them; that of other forks is not converted")  # fmt: skip
    return ProposalSettings(
        param.feat_stride, param.base_size, tuple(param.ratio), tuple(param.scale),
        param.min_size, param.pre_nms_topn, param.post_nms_topn, param.nms_thresh, True,
    )  # fmt: skip


def _of_python(layer: Layer) -> ProposalSettings:
    """What `param_str` tells; the rest is config.py's for TEST, which no net states."""
    found, reads, name = _read(layer), _READ[_class(layer)], "py-faster-rcnn"
    if _class(layer) == MNC:
        found, name = {key: found[key] for key in found.keys() - _OF_GRADIENTS}, "MNC"
        if len(layer.named_tops) > 1:
            raise fail(layer, "MNC's ProposalLayer has one top at TEST", "boxes alone")
    unread = found.keys() - reads
    if unread:
        raise fail(
            layer,
            f'param_str has "{min(unread)}", which {name}\'s ProposalLayer does not read',
            "feat_stride, scales and ratios" if len(reads) > 1 else "feat_stride",
        )
    stride = found.get("feat_stride", ())
    if len(stride) != 1 or stride[0] != int(stride[0]):
        raise fail(layer, "param_str has no feat_stride", "a whole number")
    ratios, scales = found.get("ratios", _RATIOS), found.get("scales", _SCALES)
    if not ratios or not scales:
        raise fail(layer, "param_str has no scales or ratios", "one at least")
    return ProposalSettings(int(stride[0]), 16, ratios, scales, 16, 6000, 300, 0.7, False)


def _read(layer: Layer) -> dict[str, tuple[float, ...]]:
    """The numbers of `param_str`, a mapping in YAML."""
    text = layer.message.python_param.param_str.strip()
    if text.startswith("{") and text.endswith("}"):
        text = text[1:-1].strip()
    found, place = {}, 0
    while place < len(text):
        match = _SETTING.match(text, place)
        try:
            assert match is not None
            parts = (match["one"],) if match["many"] is None else match["many"].split(",")
            found[match["key"]] = tuple(float(part) for part in parts if part.strip())
            place = match.end()
        except (AssertionError, ValueError):
            expected = "names and numbers, as in {'feat_stride': 16, 'scales': [8, 16]}"
            raise fail(layer, f"param_str {text!r} cannot be read", expected) from None
    return found
