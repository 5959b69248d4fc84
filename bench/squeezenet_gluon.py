"""SqueezeNet v1.1 for Gluon as a person writes it: the baseline of what a conversion writes.

Architecture: Iandola et al. 2016, table 1, with the changes of its v1.1 release.
"""

from __future__ import annotations

from typing import Any

from mxnet.gluon import nn


class Fire(nn.HybridBlock):
    """A 1x1 convolution to few channels, then one of 1x1 and one of 3x3, side by side."""

    def __init__(self, inputs: int, squeeze: int, expand: int) -> None:
        super().__init__()
        with self.name_scope():
            self.squeeze = nn.Conv2D(squeeze, 1, in_channels=inputs, activation="relu")
            self.expand1x1 = nn.Conv2D(expand, 1, in_channels=squeeze, activation="relu")
            self.expand3x3 = nn.Conv2D(expand, 3, padding=1, in_channels=squeeze, activation="relu")

    def hybrid_forward(self, F: Any, x: Any) -> Any:  # noqa: N803 (Gluon's own name)
        x = self.squeeze(x)
        return F.concat(self.expand1x1(x), self.expand3x3(x), dim=1)


class SqueezeNet(nn.HybridBlock):
    """Probabilities (N, 1000) of images (N, 3, 227, 227)."""

    def __init__(self) -> None:
        super().__init__()
        with self.name_scope():
            self.features = nn.HybridSequential()
            self.features.add(
                nn.Conv2D(64, 3, strides=2, in_channels=3, activation="relu"),
                nn.MaxPool2D(3, 2, ceil_mode=True),
                Fire(64, 16, 64),
                Fire(128, 16, 64),
                nn.MaxPool2D(3, 2, ceil_mode=True),
                Fire(128, 32, 128),
                Fire(256, 32, 128),
                nn.MaxPool2D(3, 2, ceil_mode=True),
                Fire(256, 48, 192),
                Fire(384, 48, 192),
                Fire(384, 64, 256),
                Fire(512, 64, 256),
                nn.Dropout(0.5),
                nn.Conv2D(1000, 1, in_channels=512, activation="relu"),
                nn.GlobalAvgPool2D(),
                nn.Flatten(),
            )

    def hybrid_forward(self, F: Any, x: Any) -> Any:  # noqa: N803 (Gluon's own name)
        return F.softmax(self.features(x))
