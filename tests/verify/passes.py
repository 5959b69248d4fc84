"""What a runner's two passes give together: the outputs as a user gets them, all else as seen."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from verify.runners.runner import Runner


def every_blob(runner: Runner, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Each blob, those that are outputs as the untouched file gives them."""
    return runner.run(inputs) | runner.outputs(inputs)
