"""The public functions: load, convert, verify; and the tables of a conversion's parameters."""

from decaffeinate.artifact_verification import verify_artifact
from decaffeinate.conversion import TARGETS, Conversion, convert
from decaffeinate.loading import Loaded, load
from decaffeinate.mapping import CaffeBlob, from_caffe, to_caffe
from decaffeinate.verification import verify

__all__ = [
    "TARGETS",
    "CaffeBlob",
    "Conversion",
    "Loaded",
    "convert",
    "from_caffe",
    "load",
    "to_caffe",
    "verify",
    "verify_artifact",
]
