"""Which layers a net has, given its state: Caffe's include and exclude rules."""

from __future__ import annotations

from prototxt import caffe_pb2 as pb
from prototxt.errors import NetError

__all__ = ["included"]


def included(layer: pb.LayerParameter, state: pb.NetState) -> bool:
    """Whether a layer belongs to the net of this state.

    With include rules, if any of them is met; with exclude rules, unless any is met; without rules,
    always.  A rule is met when all that it states holds: an empty rule is met by every state.

    Raises:
        NetError: the layer has rules of both kinds, which Caffe refuses.
    """
    if layer.include and layer.exclude:
        raise NetError(
            "both include and exclude rules",
            layer=layer.name,
            expected="rules of one kind",
            hint="say all of it in include rules: min_level, max_level, stage, not_stage",
        )
    if layer.include:
        return any(_is_met(rule, state) for rule in layer.include)
    return not any(_is_met(rule, state) for rule in layer.exclude)


def _is_met(rule: pb.NetStateRule, state: pb.NetState) -> bool:
    stages = set(state.stage)
    return (
        (not rule.HasField("phase") or rule.phase == state.phase)
        and (not rule.HasField("min_level") or rule.min_level <= state.level)
        and (not rule.HasField("max_level") or state.level <= rule.max_level)
        and stages.issuperset(rule.stage)
        and stages.isdisjoint(rule.not_stage)
    )
