"""Files that show nothing but their outputs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from decaffeinate.artifact_verification import verify_artifact
from tests.verify.artifacts.small_net import NET, first, loaded_of
from verify import reference
from verify.artifacts import judging
from verify.artifacts.trace import Port, Trace, TracedValue


class Sealed:
    """An artifact whose passes show inputs and outputs alone."""

    def __init__(self, made: Any) -> None:
        self.made = made
        self.inputs = (Port("x", (2, 3, 9, 7), "float32"),)
        self.outputs = (Port("y", None, "float32"),)

    def trace(self, inputs: Mapping[str, Any]) -> Trace:
        values = (TracedValue("x", "input", inputs["x"], ()),
                  TracedValue("y", "everything", self.made(inputs["x"]), (0,)))  # fmt: skip
        return Trace(values, {"x": 0}, {"y": 1})

    def run(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        return {"y": self.made(inputs["x"])}

    def parameters(self) -> dict[str, Any]:
        return {}

    def dequantized(self) -> dict[str, Any]:
        return {}

    def version(self) -> str:
        return "sealed 1"


@pytest.mark.parametrize("off", [0.0, 1e-3])
def test_a_sealed_file_is_judged_by_its_output(
    off: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded = loaded_of(NET, tmp_path)

    def made(x: np.ndarray) -> np.ndarray:
        blobs = reference.run(loaded.net, loaded.parameters, {"data": x})
        want = blobs[loaded.net.outputs[0]].astype(np.float32)
        return want * np.float32(1 + off)

    monkeypatch.setattr(judging, "open_artifact", lambda *_: Sealed(made))
    report = verify_artifact(loaded, artifact="sealed")
    result = first(report)
    assert report.passed == (off == 0)
    if off:
        assert result.first_fault is not None
        assert result.first_fault.among == ("conv", "scale", "relu", "pool", "twice", "fc", "prob")
    else:
        kinds = {row.blob: row.kind for row in result.blobs}
        assert kinds.pop("prob") == "composed"
        assert set(kinds.values()) == {"local", "fused", "optimised"}
