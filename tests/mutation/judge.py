"""What the verification says of converted files: the first layer at fault, and the parity of the
parameters."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import decaffeinate
from verify.harness import verify_conversion
from verify.runners.runner import Conversion

Inputs = Mapping[str, Any]


@dataclass(frozen=True)
class Judgement:
    """`flagged` is whether a blob fails, or the files do not run: parity does not count; `fault`
    the index of the first layer at fault, where one is named; `parity` whether the stored
    parameters are the source's; `text` is for people."""

    flagged: bool
    fault: int | None
    parity: bool
    text: str


def judged(
    loaded: decaffeinate.Loaded, conversion: Conversion, backend: str, inputs: Inputs
) -> Judgement:
    """Verify one backend's files on one set of inputs."""
    report = verify_conversion(
        loaded.net, loaded.shapes, loaded.parameters, conversion, [backend], {"noise": inputs}
    )
    (result,) = report.results
    failed = [row for row in result.blobs if not row.passed]
    fault = result.first_fault
    return Judgement(
        flagged=result.problem is not None or bool(failed),
        fault=None if fault is None else fault.index,
        parity=result.parity is not None and result.parity.passed,
        text=result.problem or "; ".join(str(fault or row.text) for row in failed[:1]),
    )
