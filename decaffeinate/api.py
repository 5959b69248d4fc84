"""The public functions: load, convert, verify."""

from decaffeinate.artifact_verification import verify_artifact
from decaffeinate.conversion import TARGETS, Conversion, convert
from decaffeinate.loading import Loaded, load
from decaffeinate.verification import verify

__all__ = ["TARGETS", "Conversion", "Loaded", "convert", "load", "verify", "verify_artifact"]
