"""What an ONNX file's metadata_props say beside the names of its sources."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["onnx_metadata"]


def onnx_metadata(
    description: Mapping[str, Any], labels: Sequence[str] | None = None
) -> dict[str, str]:
    """Texts by key: hashes of the source, the contract of the inputs, what the net's data layers
    did to images (as in the manifest, JSON), and the names of the classes (a JSON list).

    Args:
        description: the manifest's part that all targets share.
        labels: names of the classes.
    """
    found = {"input_contract": description["input_contract"]}
    for key in ("net", "weights"):
        if "sha256" in description[key]:
            found[f"caffe_{key}_sha256"] = description[key]["sha256"]
    if description["preprocessing"]:
        found["preprocessing"] = json.dumps(description["preprocessing"], ensure_ascii=False)
    if labels is not None:
        found["labels"] = json.dumps(list(labels), ensure_ascii=False)
    return found
