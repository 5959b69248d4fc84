"""GoogleNet, converted from Caffe.

Converted by: decaffeinate
Net: googlenet (tests/nets)
Weights: drawn, not trained
Parameters: 6,998,552
Input: data (1, 3, 224, 224)
Images: as the net was trained; Caffe's image models take BGR, 0 to 255, mean subtracted
Output: prob (1, 1000)
"""

from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import nn


class Inception(nn.Module):
    """Used 9 times: inception_3a to inception_5b."""

    def __init__(
        self,
        in_channels: int,
        conv_1x1: int,
        conv_3x3_reduce: int,
        conv_3x3: int,
        conv_5x5_reduce: int,
        conv_5x5: int,
        pool_proj: int,
    ) -> None:
        super().__init__()
        self.conv_1x1 = nn.Conv2d(in_channels, conv_1x1, kernel_size=1)
        self.conv_3x3_reduce = nn.Conv2d(in_channels, conv_3x3_reduce, kernel_size=1)
        self.conv_3x3 = nn.Conv2d(conv_3x3_reduce, conv_3x3, kernel_size=3, padding=1)
        self.conv_5x5_reduce = nn.Conv2d(in_channels, conv_5x5_reduce, kernel_size=1)
        self.conv_5x5 = nn.Conv2d(conv_5x5_reduce, conv_5x5, kernel_size=5, padding=2)
        self.pool = nn.MaxPool2d(kernel_size=3, stride=1, padding=1)
        self.pool_proj = nn.Conv2d(in_channels, pool_proj, kernel_size=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        conv_1x1 = F.relu(self.conv_1x1(x), inplace=True)
        conv_3x3_reduce = F.relu(self.conv_3x3_reduce(x), inplace=True)
        conv_3x3 = F.relu(self.conv_3x3(conv_3x3_reduce), inplace=True)
        conv_5x5_reduce = F.relu(self.conv_5x5_reduce(x), inplace=True)
        conv_5x5 = F.relu(self.conv_5x5(conv_5x5_reduce), inplace=True)
        x = self.pool(x)
        pool_proj = F.relu(self.pool_proj(x), inplace=True)
        return torch.cat((conv_1x1, conv_3x3, conv_5x5, pool_proj), dim=1)


class GoogleNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv1_7x7_s2 = nn.Conv2d(3, 64, kernel_size=7, stride=2, padding=3)
        self.pool1_3x3_s2 = nn.MaxPool2d(kernel_size=3, stride=2, ceil_mode=True)
        self.pool1_norm1 = nn.LocalResponseNorm(5, alpha=0.0001, beta=0.75, k=1.0)
        self.conv2_3x3_reduce = nn.Conv2d(64, 64, kernel_size=1)
        self.conv2_3x3 = nn.Conv2d(64, 192, kernel_size=3, padding=1)
        self.conv2_norm2 = nn.LocalResponseNorm(5, alpha=0.0001, beta=0.75, k=1.0)
        self.pool2_3x3_s2 = nn.MaxPool2d(kernel_size=3, stride=2, ceil_mode=True)
        self.inception_3a = Inception(192, 64, 96, 128, 16, 32, 32)
        self.inception_3b = Inception(256, 128, 128, 192, 32, 96, 64)
        self.pool3_3x3_s2 = nn.MaxPool2d(kernel_size=3, stride=2, ceil_mode=True)
        self.inception_4 = nn.Sequential(
            Inception(480, 192, 96, 208, 16, 48, 64),
            Inception(512, 160, 112, 224, 24, 64, 64),
            Inception(512, 128, 128, 256, 24, 64, 64),
            Inception(512, 112, 144, 288, 32, 64, 64),
            Inception(528, 256, 160, 320, 32, 128, 128),
        )
        self.pool4_3x3_s2 = nn.MaxPool2d(kernel_size=3, stride=2, ceil_mode=True)
        self.inception_5a = Inception(832, 256, 160, 320, 32, 128, 128)
        self.inception_5b = Inception(832, 384, 192, 384, 48, 128, 128)
        self.pool5_drop_7x7_s1 = nn.Dropout(p=0.4)
        self.loss3_classifier = nn.Linear(1024, 1000)

    def forward(self, data: torch.Tensor) -> torch.Tensor:
        x = F.relu(self.conv1_7x7_s2(data), inplace=True)  # (1, 64, 112, 112)
        x = self.pool1_3x3_s2(x)  # (1, 64, 56, 56)
        x = self.pool1_norm1(x)
        x = F.relu(self.conv2_3x3_reduce(x), inplace=True)
        x = F.relu(self.conv2_3x3(x), inplace=True)  # (1, 192, 56, 56)
        x = self.conv2_norm2(x)
        x = self.pool2_3x3_s2(x)  # (1, 192, 28, 28)
        x = self.inception_3a(x)  # (1, 256, 28, 28)
        x = self.inception_3b(x)  # (1, 480, 28, 28)
        x = self.pool3_3x3_s2(x)  # (1, 480, 14, 14)
        x = self.inception_4(x)  # (1, 832, 14, 14)
        x = self.pool4_3x3_s2(x)  # (1, 832, 7, 7)
        x = self.inception_5a(x)
        x = self.inception_5b(x)  # (1, 1024, 7, 7)
        x = x.mean((2, 3), keepdim=True)  # (1, 1024, 1, 1)
        x = self.pool5_drop_7x7_s1(x)
        x = torch.flatten(x, 1)  # (1, 1024)
        x = self.loss3_classifier(x)  # (1, 1000)
        return F.softmax(x, dim=1)


def load(weights_path: str | Path | None = None) -> GoogleNet:
    """The net with its weights, beside this file by default, in evaluation mode."""
    weights = load_file(weights_path or Path(__file__).with_suffix(".safetensors"))
    with torch.device("meta"):
        model = GoogleNet()
    model.load_state_dict(weights, assign=True)
    return model.eval()
