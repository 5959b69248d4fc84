"""PyTorch's convolutions as the sums that they are."""

from __future__ import annotations

import platform
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

__all__ = ["DIRECT", "direct_convolutions"]

DIRECT = {
    "torch's convolutions": "of blobs: without NNPACK, and on Arm without oneDNN; "
    "of optimised outputs: as torch chooses"
}
"""What a report's environment says of this."""


@contextmanager
def direct_convolutions(torch: Any) -> Iterator[None]:
    """Without Winograd's convolutions, whose error is relative to the greatest number of a tile, so
    that no bound of a sum holds for it.

    Without oneDNN torch takes NNPACK's from a batch of 16 on, and oneDNN itself may take Arm's on
    an Arm processor.
    """
    arm = platform.machine().lower() in ("aarch64", "arm64")
    with ExitStack() as stack:
        if hasattr(torch.backends, "nnpack"):
            stack.enter_context(torch.backends.nnpack.flags(enabled=False))
        if arm:
            stack.enter_context(torch.backends.mkldnn.flags(enabled=False))
        yield
