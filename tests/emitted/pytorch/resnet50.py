"""ResNet-50, converted from Caffe.

Converted by: decaffeinate
Net: resnet50 (tests/nets)
Weights: drawn, not trained
Parameters: 25,610,216
Input: data (1, 3, 224, 224)
Images: as the net was trained; Caffe's image models take BGR, 0 to 255, mean subtracted
Output: prob (1, 1000)
"""

from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import nn


class FrozenBatchNorm2d(nn.BatchNorm2d):
    """Keeps to its stored statistics in training too: Caffe's use_global_stats."""

    def train(self, mode: bool = True) -> "FrozenBatchNorm2d":
        return super().train(False)


class ConvBN(nn.Module):
    """Used 52 times: res2.0.branch1 to res5.2.branch2c."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        stride: int = 1,
        padding: int = 0,
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(
            in_channels,
            out_channels,
            kernel_size=kernel_size,
            stride=stride,
            padding=padding,
            bias=False,
        )
        self.bn = FrozenBatchNorm2d(out_channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.bn(self.conv(x))


class Bottleneck(nn.Module):
    """Used 16 times: res2.0 to res5.2."""

    def __init__(
        self,
        in_channels: int,
        mid_channels: int,
        out_channels: int,
        stride: int = 1,
        projection: bool = False,
    ) -> None:
        super().__init__()
        self.branch1: nn.Module = nn.Identity()
        if projection:
            self.branch1 = ConvBN(
                in_channels,
                out_channels,
                kernel_size=1,
                stride=stride,
            )
        self.branch2a = ConvBN(in_channels, mid_channels, kernel_size=1, stride=stride)
        self.branch2b = ConvBN(mid_channels, mid_channels, kernel_size=3, padding=1)
        self.branch2c = ConvBN(mid_channels, out_channels, kernel_size=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        branch1 = self.branch1(x)
        x = F.relu(self.branch2a(x), inplace=True)
        x = F.relu(self.branch2b(x), inplace=True)
        branch2c = self.branch2c(x)
        return F.relu(branch1 + branch2c, inplace=True)


class ResNet50(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, kernel_size=7, stride=2, padding=3)
        self.bn_conv1 = FrozenBatchNorm2d(64)
        self.pool1 = nn.MaxPool2d(kernel_size=3, stride=2, ceil_mode=True)
        self.res2 = nn.Sequential(
            Bottleneck(64, 64, 256, projection=True),
            Bottleneck(256, 64, 256),
            Bottleneck(256, 64, 256),
        )
        self.res3 = nn.Sequential(
            Bottleneck(256, 128, 512, stride=2, projection=True),
            *(Bottleneck(512, 128, 512) for _ in range(3)),
        )
        self.res4 = nn.Sequential(
            Bottleneck(512, 256, 1024, stride=2, projection=True),
            *(Bottleneck(1024, 256, 1024) for _ in range(5)),
        )
        self.res5 = nn.Sequential(
            Bottleneck(1024, 512, 2048, stride=2, projection=True),
            Bottleneck(2048, 512, 2048),
            Bottleneck(2048, 512, 2048),
        )
        self.fc1000 = nn.Linear(2048, 1000)

    def forward(self, data: torch.Tensor) -> torch.Tensor:
        x = F.relu(self.bn_conv1(self.conv1(data)), inplace=True)  # (1, 64, 112, 112)
        x = self.pool1(x)  # (1, 64, 56, 56)
        x = self.res2(x)  # (1, 256, 56, 56)
        x = self.res3(x)  # (1, 512, 28, 28)
        x = self.res4(x)  # (1, 1024, 14, 14)
        x = self.res5(x)  # (1, 2048, 7, 7)
        x = x.mean((2, 3), keepdim=True)  # (1, 2048, 1, 1)
        x = torch.flatten(x, 1)  # (1, 2048)
        x = self.fc1000(x)  # (1, 1000)
        return F.softmax(x, dim=1)


def load(weights_path: str | Path | None = None) -> ResNet50:
    """The net with its weights, beside this file by default, in evaluation mode."""
    weights = load_file(weights_path or Path(__file__).with_suffix(".safetensors"))
    with torch.device("meta"):
        model = ResNet50()
    model.load_state_dict(weights, assign=True)
    return model.eval()
