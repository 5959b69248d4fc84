"""Which of Caffe's layers the reference, and each target, has: read off the code, as Markdown.

README holds this table; a test proves that it is current.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from textwrap import wrap

from converters.emitter import Emitter
from converters.lowering import LOWERINGS
from decaffeinate.conversion import TARGETS  # which brings in every lowering
from ir.ops import PRIMITIVES
from prototxt.crops import FORKS
from prototxt.measures import MEASURES
from prototxt.net import DATA_LAYERS
from prototxt.shapes import known_types
from verify.reference import layer_types

__all__ = ["TableRow", "layer_rows", "markdown"]

_RISTRETTO = (
    "of a fork, Ristretto; fixed point, minifloats, powers of 2 as weights: see "
    "[docs/ristretto.md](docs/ristretto.md)"
)
NOTES = {
    "Accuracy": "`top_k`, `ignore_label`, accuracy by class",
    "ActiveShift": "of a fork, jyh2986/Active-Shift; as a convolution of each channel",
    "Add": "of forks, synopsys-caffe and Cambricon/caffe; two bottoms, broadcast",
    "ArgMax": "`top_k`, `out_max_val`, `axis`; of equal values the later one first, as in Caffe",
    "AutoCrop": "of a fork, RCF; as a Crop whose offset follows from the net",
    "Axpy": "of a fork, SENet",
    "BatchToSpaceND": "of a fork, synopsys-caffe",
    "BatchNorm": "global statistics, or the batch's own (`use_global_stats: false`, or TRAIN)",
    "BN": "of two forks: SegNet's, LEARN and INFERENCE; PSPNet's, with stored statistics",
    "BatchReindex": "the index as an input",
    "BoxGroupOutput": "of a fork, Cascade R-CNN; `nms_type` IOU",
    "BoxOutput": "of a fork, MS-CNN; `nms_type` IOU",
    "Bias": "the summand as a parameter or as second bottom",
    "ContinuationIndicator": "of forks with CTC",
    "ContrastiveLoss": "`legacy_version` too",
    "Convolution": "1-D to N-D, groups, dilation, any axis, several bottoms",
    "Convolution3D": "of a fork, C3D; CONVOLUTION3D of V1",
    "ConvolutionDepthwise": "of a fork, farmingyard/caffe-mobilenet",
    "Correlation": "of FlowNet, synopsys-caffe; products and differences, any kernel and strides",
    "ConvolutionRistretto": _RISTRETTO,
    "CROP": "of forks, FCN's and CRF-RNN's of 2015; as a Crop whose offset follows from the net",
    "CReLU": "of a fork, Cambricon/caffe; `negative_slope`, `concat_axis`",
    "Crop": "any axis; the sizes of the second bottom may be open; without a crop_param at 0, or "
    "as in forks (`--crop-offsets fork`): see [docs/crops.md](docs/crops.md)",
    "CropCenter": "of a fork, lltcggie/caffe",
    "Deconvolution": "1-D to N-D, groups, dilation, any axis, several bottoms",
    "DeconvolutionRistretto": _RISTRETTO,
    "Deconvolution3D": "of a fork, C3D; DECONVOLUTION3D of V1",
    "DecodeBBox": "of forks, MS-CNN and Cascade R-CNN; at TEST",
    "DepthToSpace": "of a fork, synopsys-caffe",
    "DepthwiseConvolution": "of a fork, yonghenglh6/DepthwiseConvolution; as Convolution",
    "DetectionOutput": "of SSD; all codes, `eta`, limits; the number of boxes is open; writes and "
    "draws nothing",
    "Dropout": "TEST: the identity; TRAIN: drops while training, verified as the identity",
    "DummyData": "constants; a top that Caffe draws anew in each pass becomes an input",
    "Eltwise": "PROD, SUM with coefficients, MAX",
    "FcRistretto": _RISTRETTO,
    "Filter": "the number of samples behind it is open",
    "FlowWarp": "of FlowNet 2; `fill_value`, of which NaN fails verification, as all NaN does",
    "HardSigmoid": "of a fork, synopsys-caffe",
    "HardSwish": "of a fork, synopsys-caffe",
    "HDF5Output": "a sink: writes nothing",
    "HingeLoss": "L1 and L2",
    "Im2col": "N-D, as a convolution with ones",
    "InfogainLoss": "the matrix as third bottom, or from its file",
    "InnerProduct": "any axis, `transpose`, legacy 4-D weights",
    "Input": "also the legacy `input`, `input_shape` and `input_dim` fields",
    "Interp": "of forks, DeepLab and PSPNet; bilinear, the corners on each other",
    "LRN": "across channels, and within a channel",
    "LSTM": "unrolled; static input, `expose_hidden`, resets by `cont`; else it starts from 0 in "
    "each pass",
    "Lstm": "of two forks: junhyukoh/caffe-lstm, and CTPN; unrolled, from 0 in each pass",
    "Mish": "of a fork, synopsys-caffe",
    "MaskPooling": "of a fork, MNC; a mask a box",
    "Mul": "of a fork, synopsys-caffe; the factor as a parameter or as second bottom, broadcast",
    "MVN": "by channel or across, with or without variance",
    "NdConvolution": "of a fork, video-caffe",
    "NdPooling": "of a fork, video-caffe; MAX and AVE",
    "Normalize": "of SSD; `across_spatial`, `channel_shared`",
    "Pad": "of a fork, synopsys-caffe",
    "Permute": "of SSD",
    "PReLU": "a slope a channel, or one",
    "Pooling": "MAX, with the mask as second top; AVE; STOCHASTIC at TEST; global; both "
    "round modes",
    "PriorBox": "of SSD; a constant, or computed where the sizes of maps or image are open",
    "PriorBoxClustered": "of a fork, openvinotoolkit/training_toolbox_caffe; as PriorBox",
    "RawDetections": "what `--detections raw` makes of DetectionOutput: all boxes and scores",
    "Pooling3D": "of a fork, C3D; POOLING3D of V1; MAX and AVE",
    "ReLU": "`negative_slope`",
    "ReLU6": "of a fork, eric612/MobileNet-YOLO; `negative_slope`",
    "Reduction": "SUM, ASUM, SUMSQ, MEAN",
    "Region": "of a fork, openvinotoolkit/training_toolbox_caffe: `coords`, `classes` and `num`; "
    "others of this name are refused",
    "Reorg": "of forks, from Darknet; `reverse`",
    "Resample": "of FlowNet 2; NEAREST, LINEAR, CUBIC; `antialias`",
    "Reshape": "0 and -1, `axis`, `num_axes`",
    "ResizeBilinear": "of a fork, synopsys-caffe; the sizes of maps cannot be open",
    "ResizeNearestNeighbor": "of a fork, synopsys-caffe; the sizes of maps may be open where each "
    "value is repeated, in NCHW",
    "Reverse": "of a fork, CTPN",
    "RNN": "as LSTM",
    "Proposal": "of a fork, PVANet; one image, and the sizes of its map cannot be open",
    "Python": "py-faster-rcnn's `rpn.proposal_layer` and MNC's `pylayer.proposal_layer`, both "
    "`ProposalLayer`, with config.py's settings for TEST, as Proposal; any other "
    "is refused by name, unless a plugin lowers it",
    "PSROIPooling": "of a fork, R-FCN",
    "ROIAlign": "of a fork, Cascade R-CNN (by `roi_pooling_param`)",
    "ROIPooling": "of forks: Fast R-CNN, and MS-CNN with `pad_ratio`; ONNX up to `--opset` 21",
    "Scale": "the factor as a parameter or as second bottom",
    "Shift": "of three forks, told apart by their fields: ctensmeyer/caffe's h_shift and w_shift, "
    "leonzfa/iResNet's displacement, xw-hu/DSC's four tops",
    "ShuffleChannel": "of a fork, ShuffleNet",
    "SigmoidCrossEntropyBalanceLoss": "of a fork, OSVOS",
    "SigmoidCrossEntropyLoss": "all normalisations, `ignore_label`",
    "ScaleRoute": "of a fork, Cascade R-CNN; the number of boxes behind it is open",
    "Silence": "a sink",
    "Slice": "`slice_point`, or equal parts",
    "SmoothL1Loss": "of a fork, Fast R-CNN; weights as third and fourth bottom, `sigma`",
    "SoftmaxWithLoss": "all normalisations, `ignore_label`, probabilities as second top",
    "SpaceToBatchND": "of a fork, synopsys-caffe",
    "Squeeze": "of a fork, synopsys-caffe",
    "SPP": "MAX and AVE",
    "Transpose": "of a fork, CTPN",
    "Unpooling": "of a fork, DeconvNet; MAX; UNPOOLING of V1",
    "Upsample": "of two forks: SegNet's, with the mask of a pooling; eric612/MobileNet-YOLO's",
    "UpsampleDarknet": "of a fork, synopsys-caffe",
    "YoloDetectionOutput": "of a fork, eric612/MobileNet-YOLO; of square maps; the number of boxes "
    "is open, other sizes are fixed, the batch too",
    "Yolov3DetectionOutput": "of a fork, eric612/MobileNet-YOLO; not with `gaussian_box`; the "
    "number of boxes is open, other sizes are fixed, the batch too",
}
"""What a user may want to know of a layer's conversion."""

_AS_INPUT = "becomes an input, of the shape that the net tells or `--input-shape` gives"

_HEADINGS = {"onnx": "ONNX", "pytorch": "PyTorch", "mxnet": "MXNet"}


@dataclass(frozen=True)
class TableRow:
    """One layer type: what the reference and each target make of it ("yes", "no", "input")."""

    type: str
    reference: str
    targets: dict[str, str]
    note: str


def layer_rows() -> list[TableRow]:
    """A row a layer type of Caffe, in alphabetical order."""
    references = set(layer_types())
    # Input needs no lowering: it becomes an input of the graph.
    converted = {"Input", *LOWERINGS} & set(known_types())
    complete = {target: "no" if _lacking(target) else "yes" for target in TARGETS}
    rows = [
        TableRow(name, "yes" if name in references else "no", complete, NOTES.get(name, ""))
        for name in converted
    ]
    inputs = dict.fromkeys(TARGETS, "input")
    rows += [TableRow(name, "input", inputs, _AS_INPUT) for name in DATA_LAYERS - converted]
    rows += [TableRow(name, "yes", complete, NOTES[name]) for name in FORKS]
    return sorted(rows, key=lambda row: (row.type.lower(), row.type))


def markdown() -> str:
    """The table, and below it what a target cannot express."""
    heads = ["layer", "reference", *(_HEADINGS[target] for target in TARGETS), "notes"]
    lines = ["| " + " | ".join(heads) + " |", "|" + "|".join(["---"] * len(heads)) + "|"]
    for row in layer_rows():
        cells = [row.type, row.reference, *row.targets.values(), row.note]
        lines.append("| " + " | ".join(cells).rstrip() + " |")
    lines += ["", *wrap(
        "Left out with a note, where no layer that stays reads them ([docs/detections.md]"
        f"(docs/detections.md)): {', '.join(sorted(MEASURES))}.",
        100, break_on_hyphens=False,
    )]  # fmt: skip
    for target in TARGETS:
        lacking = _lacking(target)
        if lacking:
            lines += ["", f"{_HEADINGS[target]} has no form of: {', '.join(lacking)}."]
        limits = _emitter(target).limits
        if limits:
            lines += ["", f"{_HEADINGS[target]} cannot express, and `convert` refuses:", ""]
            lines += [f"- {limit}" for limit in limits]
    return "\n".join(lines) + "\n"


def _emitter(target: str) -> type[Emitter]:
    module, name = TARGETS[target]
    emitter: type[Emitter] = getattr(import_module(module), name)
    return emitter


def _lacking(target: str) -> list[str]:
    """Primitive ops that a target cannot express."""
    return [op.__name__ for op in PRIMITIVES if not _emitter(target).emits(op)]
