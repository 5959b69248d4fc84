"""DENSENET_121, converted from Caffe.

Converted by: decaffeinate
Net: densenet121 (tests/nets)
Weights: drawn, not trained
Parameters: 8,062,504
Input: data (1, 3, 224, 224)
Images: as the net was trained; Caffe's image models take BGR, 0 to 255, mean subtracted
Output: prob (1, 1000, 1, 1)
"""

from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import nn


class Transition(nn.Module):
    """Used 3 times: conv2_blk to conv4_blk."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.bn = nn.BatchNorm2d(in_channels, momentum=0.001)
        self.conv = nn.Conv2d(in_channels, out_channels, kernel_size=1, bias=False)
        self.pool = nn.AvgPool2d(kernel_size=2, stride=2, ceil_mode=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.relu(self.bn(x), inplace=True)
        x = self.conv(x)
        return self.pool(x)


class DenseLayer(nn.Module):
    """Used 58 times: conv2.0 to conv5.15."""

    def __init__(self, in_channels: int) -> None:
        super().__init__()
        self.x1_bn = nn.BatchNorm2d(in_channels, momentum=0.001)
        self.x1 = nn.Conv2d(in_channels, 128, kernel_size=1, bias=False)
        self.x2_bn = nn.BatchNorm2d(128, momentum=0.001)
        self.x2 = nn.Conv2d(128, 32, kernel_size=3, padding=1, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x1_bn = F.relu(self.x1_bn(x), inplace=True)
        x1 = F.relu(self.x2_bn(self.x1(x1_bn)), inplace=True)
        x2 = self.x2(x1)
        return torch.cat((x, x2), dim=1)


class DENSENET121(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, kernel_size=7, stride=2, padding=3, bias=False)
        self.conv1_bn = nn.BatchNorm2d(64, momentum=0.001)
        self.pool1 = nn.MaxPool2d(kernel_size=3, stride=2, padding=1, ceil_mode=True)
        self.conv2 = nn.Sequential(*(DenseLayer(64 + 32 * i) for i in range(6)))
        self.conv2_blk = Transition(256, 128)
        self.conv3 = nn.Sequential(*(DenseLayer(128 + 32 * i) for i in range(12)))
        self.conv3_blk = Transition(512, 256)
        self.conv4 = nn.Sequential(*(DenseLayer(256 + 32 * i) for i in range(24)))
        self.conv4_blk = Transition(1024, 512)
        self.conv5 = nn.Sequential(*(DenseLayer(512 + 32 * i) for i in range(16)))
        self.conv5_blk_bn = nn.BatchNorm2d(1024, momentum=0.001)
        self.fc6 = nn.Conv2d(1024, 1000, kernel_size=1)

    def forward(self, data: torch.Tensor) -> torch.Tensor:
        x = F.relu(self.conv1_bn(self.conv1(data)), inplace=True)  # (1, 64, 112, 112)
        x = self.pool1(x)  # (1, 64, 57, 57)
        x = self.conv2(x)  # (1, 256, 57, 57)
        x = self.conv2_blk(x)  # (1, 128, 29, 29)
        x = self.conv3(x)  # (1, 512, 29, 29)
        x = self.conv3_blk(x)  # (1, 256, 15, 15)
        x = self.conv4(x)  # (1, 1024, 15, 15)
        x = self.conv4_blk(x)  # (1, 512, 8, 8)
        x = self.conv5(x)  # (1, 1024, 8, 8)
        x = F.relu(self.conv5_blk_bn(x), inplace=True)
        x = x.mean((2, 3), keepdim=True)  # (1, 1024, 1, 1)
        x = self.fc6(x)  # (1, 1000, 1, 1)
        return F.softmax(x, dim=1)


def load(weights_path: str | Path | None = None) -> DENSENET121:
    """The net with its weights, beside this file by default, in evaluation mode."""
    weights = load_file(weights_path or Path(__file__).with_suffix(".safetensors"))
    with torch.device("meta"):
        model = DENSENET121()
    model.load_state_dict(weights, assign=True)
    return model.eval()
