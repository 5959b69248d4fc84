"""From layers that name blobs to layers that hold versions of them: in-place tops, outputs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from prototxt import caffe_pb2 as pb
from prototxt.errors import NetError, Where
from prototxt.fields import nearest
from prototxt.net import Blob, Field, Layer
from prototxt.ristretto import RISTRETTO, rewritten_bottoms

__all__ = ["Origin", "resolve_blobs"]


@dataclass(frozen=True)
class Origin:
    """One upgraded layer and the text that it came from."""

    message: pb.LayerParameter
    where: Where
    unknown: tuple[Field, ...] = ()


_IN_PLACE_REFUSED = frozenset(
    ("AbsVal", "CReLU", "DepthToSpace", "Flatten", "Mul", "Reorg", "Reshape", "ResizeBilinear",
     "ResizeNearestNeighbor", "Reverse", "Split", "Squeeze", "Transpose")
)  # fmt: skip
"""Layers that Caffe refuses to run in place."""
_IN_PLACE_SPOILT = frozenset(
    (
        "Accuracy",
        "ActiveShift",
        "ArgMax",
        "AutoCrop",
        "BatchReindex",
        "BatchToSpaceND",
        "CROP",
        "Concat",
        "ContrastiveLoss",
        "Convolution",
        "Convolution3D",
        "ConvolutionDepthwise",
        "Correlation",
        "Crop",
        "CropCenter",
        "Deconvolution",
        "Deconvolution3D",
        "DepthwiseConvolution",
        "DetectionOutput",
        "Eltwise",
        "Embed",
        "EuclideanLoss",
        "FlowWarp",
        "HingeLoss",
        "Im2col",
        "InfogainLoss",
        "InnerProduct",
        "Interp",
        "LRN",
        "LSTM",
        "Lstm",
        "MultinomialLogisticLoss",
        "NdConvolution",
        "NdPooling",
        "Pad",
        "Permute",
        "Pooling",
        "Pooling3D",
        "PriorBox",
        "PriorBoxClustered",
        "Proposal",
        "PSROIPooling",
        "RNN",
        "ROIAlign",
        "ROIPooling",
        "Reduction",
        "Resample",
        "SPP",
        "Shift",
        "ShuffleChannel",
        "SigmoidCrossEntropyBalanceLoss",
        "SigmoidCrossEntropyLoss",
        "Slice",
        "SmoothL1Loss",
        "SoftmaxWithLoss",
        "SpaceToBatchND",
        "Tile",
        "Unpooling",
        "Upsample",
        "UpsampleDarknet",
        "YoloDetectionOutput",
        "Yolov3DetectionOutput",
        *RISTRETTO,
    )
)
"""Layers that Caffe runs in place, but that overwrite or reshape their bottom before they have read
it all; Eltwise but for PROD, LRN across channels, Permute where it moves an axis."""
_HOLDERS = frozenset({"DummyData", "Parameter"})
"""Layers whose tops are filled once: what a layer changes there in place stays changed."""
_SHARERS = frozenset({"Concat", "Flatten", "Permute", "Reshape", "Slice", "Split", "Squeeze"})
"""Layers whose top is the very memory of their bottom; Concat and Slice where they have but one,
Permute where it moves no axis."""


def resolve_blobs(
    origins: Sequence[Origin], left_out: Sequence[Origin] = (), phase: str = "TEST"
) -> tuple[tuple[Layer, ...], tuple[Blob, ...], dict[str, Blob]]:
    """The layers with their blobs' versions, the net's outputs, and the last version of every blob.

    Args:
        origins: the layers of the net, in file order, which is the order in which Caffe runs them.
        left_out: layers that rules leave out, to be named where something of theirs is missing.
        phase: the net's phase, which is that of a layer that states none.

    Raises:
        NetError: a bottom that no earlier layer makes, or a top that another layer has made.
    """
    current: dict[str, Blob] = {}
    makers: dict[str, Origin] = {}
    unread: set[str] = set()
    held: dict[str, str] = {}
    layers: list[Layer] = []
    for index, origin in enumerate(origins):
        message = origin.message
        missing = [name for name in message.bottom if name not in current]
        if missing:
            raise _dangling(origins, index, missing[0], list(current), left_out)
        if "" in message.top:
            raise NetError(
                "a top has no name",
                where=origin.where,
                layer=message.name,
                expected="a blob name",
                hint="give the blob a name",
            )
        bottoms = tuple(current[name] for name in message.bottom)
        unread -= set(message.bottom)
        tops = []
        for position, name in enumerate(message.top):
            in_place = message.bottom[position : position + 1] == [name]
            if name in current and not in_place:
                raise _made_twice(origin, makers[name], name)
            if in_place:
                _check_in_place(origin, name)
                _check_held(origin, name, held)
            current[name] = Blob(name, current[name].version + 1 if in_place else 0)
            makers[name] = origin
            tops.append(current[name])
            unread.add(name)
        rewritten = rewritten_bottoms(message, phase)
        for name in rewritten:
            # Without being a top: an output of the net it does not become.
            _check_held(origin, name, held)
            current[name] = Blob(name, current[name].version + 1)
            tops.append(current[name])
        _note_held(message, held)
        layers.append(
            Layer(
                index,
                message.name,
                message.type,
                bottoms,
                tuple(tops),
                message,
                origin.where,
                origin.unknown,
                len(rewritten),
            )
        )
    # Caffe keeps its unread blobs in an ordered set, so outputs come sorted by name.
    outputs = tuple(current[name] for name in sorted(unread, key=str.encode))
    return tuple(layers), outputs, current


def _note_held(message: pb.LayerParameter, held: dict[str, str]) -> None:
    """Add the tops that are memory filled once, each with the name of the layer that holds it."""
    if message.type in _HOLDERS:
        held.update(dict.fromkeys(message.top, message.name))
    alone = len(message.bottom) == 1 and (message.type != "Slice" or len(message.top) == 1)
    alone = alone and not (message.type == "Permute" and _moves(message))
    if message.type in _SHARERS and alone and message.bottom[0] in held:
        held.update(dict.fromkeys(message.top, held[message.bottom[0]]))


def _moves(permute: pb.LayerParameter) -> bool:
    """Whether a Permute has any axis in another place."""
    return any(axis != place for place, axis in enumerate(permute.permute_param.order))


def _check_held(origin: Origin, name: str, held: dict[str, str]) -> None:
    message = origin.message
    if name in held and message.type != "Dropout":
        raise NetError(
            f'{message.type} works in place on "{name}", which layer "{held[name]}" fills once: in '
            "Caffe each pass begins with what the last one left there",
            where=origin.where,
            layer=message.name,
            expected="another blob as its top",
            hint="rename the top, and the bottoms that mean it in later layers",
        )


def _check_in_place(origin: Origin, name: str) -> None:
    message = origin.message
    product = message.eltwise_param.operation == pb.EltwiseParameter.PROD
    within = message.lrn_param.norm_region == pb.LRNParameter.WITHIN_CHANNEL
    if (message.type == "Eltwise" and product) or (message.type == "LRN" and within):
        return
    if message.type == "Permute" and not _moves(message):
        return
    if message.type in _IN_PLACE_REFUSED:
        what = "which Caffe refuses for this layer"
    elif message.type in _IN_PLACE_SPOILT:
        what = "where Caffe overwrites values before they are read: its result has no use"
    else:
        return
    raise NetError(
        f'{message.type} works in place on "{name}", {what}',
        where=origin.where,
        layer=message.name,
        expected="another blob as its top",
        hint="rename the top, and the bottoms that mean it in later layers",
    )


def _made_twice(origin: Origin, maker: Origin, name: str) -> NetError:
    made = (
        "this layer gives it twice"
        if maker is origin
        else f'layer "{maker.message.name}" ({maker.where}) makes it too'
    )
    return NetError(
        f'top "{name}" is made a second time: {made}',
        where=origin.where,
        layer=origin.message.name,
        expected="a new blob name, or (in-place) that of the bottom at the same position",
        hint="rename one of the two; if they belong to different phases, give them include rules",
    )


def _dangling(
    origins: Sequence[Origin],
    index: int,
    name: str,
    known: list[str],
    left_out: Sequence[Origin],
) -> NetError:
    """What is wrong with a bottom that no earlier layer makes."""
    origin = origins[index]
    later = [o for o in origins[index:] if name in o.message.top]
    if later:
        return _out_of_order(origin, later[0], name)
    details = [
        f'layer "{o.message.name}" ({o.where}) makes it, but its rules leave it out: {_rules(o)}'
        for o in left_out
        if name in o.message.top
    ]
    choose = "choose a phase, stages or a level that its rules allow (--phase, --stage, --level)"
    if all(o.message.bottom for o in origins):
        return NetError(
            f'the net has no inputs: nothing makes "{name}", the bottom of its first layer '
            f'"{origin.message.name}"',
            where=origin.where,
            details=details,
            expected="an Input layer, or `input` with `input_shape`",
            hint=f"use the deploy prototxt, or {choose}" if details else "use the deploy prototxt",
        )
    meant = nearest(name, known)
    near = f'; the nearest is "{meant}"' if meant and not details else ""
    return NetError(
        f'bottom "{name}" is not the top of any layer',
        where=origin.where,
        layer=origin.message.name,
        details=details,
        expected=f"the top of an earlier layer{near}",
        hint=choose if details else "correct the name, or add the layer that makes it",
    )


def _out_of_order(origin: Origin, later: Origin, name: str) -> NetError:
    maker = f'later, by layer "{later.message.name}" ({later.where})'
    return NetError(
        f'bottom "{name}" is only made ' + ("by this very layer" if later is origin else maker),
        where=origin.where,
        layer=origin.message.name,
        expected="bottoms that earlier layers make: Caffe runs layers in file order",
        hint="move the layers into the order in which they run, or break the cycle",
    )


def _rules(origin: Origin) -> str:
    from google.protobuf import text_format  # here alone: most nets are right

    rules = [("include", rule) for rule in origin.message.include]
    rules += [("exclude", rule) for rule in origin.message.exclude]
    return " ".join(
        f"{kind} {{ {text_format.MessageToString(rule, as_one_line=True)} }}"
        for kind, rule in rules
    )
