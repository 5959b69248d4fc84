"""What caffe2onnx 2.0.1 does instead of Caffe, net by net, found in its files and in what they
compute; and what of that no bound on rounding can tell from rounding."""

from __future__ import annotations

import re

__all__ = ["INSIDE", "VAGUE", "cause"]

INSIDE = {
    ("between/mvn", "own inputs times 0.001"): (
        "each channel is about 0.5 everywhere, with a deviation of 0.002, which is all that is "
        "left once the mean is subtracted; rounding a mean of 99 values may move the result by "
        "0.0026, and the fault is 0.0004"
    ),
}
"""Net and inputs -> why a fault is smaller than what float32 may lose at this layer."""
VAGUE = {
    "between/batchnorm beside a scale": (
        "the file has no value for the Scale, so that the sum behind it does not tell which of the "
        "two that it adds is wrong"
    ),
    "between/pooling max clip": (
        "a window that Caffe has not is -inf in the file, of which the convolution behind makes "
        "NaN; and a NaN proves nothing"
    ),
}
"""Net -> why one layer more than need be is named."""

_CAUSES = (
    (r"batch(norm/|_)?.*(batch_stats|batch statistics)", "always takes the stored statistics"),
    (
        r"batchnorm beside a scale",
        "takes the next Scale of the file for BatchNorm's, whatever it reads",
    ),
    (r"batchnorm/inplace_scale|batchnorm scale", "divides the variance by the factor plus 1e-5"),
    (r"batchnorm", "adds 0.001, its own bias of a BatchNorm without Scale"),
    (r"crop", "crops the axes before `axis` too"),
    (r"eltwise", "ignores the coefficients"),
    (r"flatten", "ignores `end_axis`"),
    (r"lrn.*(within)", "normalizes across channels"),
    (r"lrn", "ignores `k`"),
    (r"mvn", "adds eps to the variance, not to the standard deviation"),
    (r"pooling.*(rect|pad_h)", "ignores `pad_h` and `pad_w` where one of them is 0"),
    (r"max_k1s2_even", "drops a window past the end, which Caffe leaves at -FLT_MAX"),
    (r"pooling", "rounds up and forgets Caffe's clip of the last window"),
    (r"reshape", "ignores `axis` and `num_axes`"),
    (r"softmax", "flattens the axes from `axis` on and normalizes over all of them"),
    (r"transposed", "ignores `transpose`"),
    (r"dilation of each axis", "takes the first dilation for both axes"),
    (r"include|exclude", "keeps the layers of all phases, stages and levels"),
)


def cause(name: str) -> str:
    """What the file of a net does that Caffe does not do.

    Raises:
        LookupError: nobody has looked.
    """
    for pattern, text in _CAUSES:
        if re.search(pattern, name):
            return text
    raise LookupError(f"nobody has looked why {name} is wrong")
