"""The reference nets by name, with a line about each."""

from __future__ import annotations

from squeezenet_ref.design import ARCHITECTURES, architecture
from squeezenet_ref.facts import ACCURACIES

__all__ = ["describe", "names"]


def names() -> tuple[str, ...]:
    """The architectures that `generate`, `weights` and `write` know by name."""
    return tuple(ARCHITECTURES)


def describe(name: str) -> str:
    """One line of facts: parameters, bytes at 32 bits, conv1, pools, bypass, published accuracy.

    Raises:
        UsageError: an unknown name.
    """
    net = architecture(name)
    pools = ", ".join(map(str, net.pools))
    parts = [
        f"{net.parameters:,} parameters ({net.parameters * 4 / 2**20:.1f} MiB)",
        f"conv1 {net.conv1_channels} of {net.conv1_kernel}x{net.conv1_kernel}",
        f"pools after {pools}",
    ]
    if net.bypass != "none":
        parts.append(f"{net.bypass} bypass")
    for accuracy in ACCURACIES:
        if accuracy.net == name.removeprefix("v"):
            top = [f"top-{k} {v:g}%" for k, v in ((1, accuracy.top1), (5, accuracy.top5)) if v]
            parts.append("ImageNet " + ", ".join(top))
    return "; ".join(parts)
