"""squeezenet_v1_1, converted from Caffe.

Converted by: decaffeinate
Net: squeezenet_v1_1 (tests/nets)
Weights: drawn, not trained
Parameters: 1,235,496
Input: data (1, 3, 227, 227)
Images: as the net was trained; Caffe's image models take BGR, 0 to 255, mean subtracted
Output: prob (1, 1000, 1, 1)
"""

from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import nn


class Fire(nn.Module):
    """Used 8 times: fire2 to fire9."""

    def __init__(self, in_channels: int, squeeze1x1: int, expand: int) -> None:
        super().__init__()
        self.squeeze1x1 = nn.Conv2d(in_channels, squeeze1x1, kernel_size=1)
        self.expand1x1 = nn.Conv2d(squeeze1x1, expand, kernel_size=1)
        self.expand3x3 = nn.Conv2d(squeeze1x1, expand, kernel_size=3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.relu(self.squeeze1x1(x), inplace=True)
        expand1x1 = F.relu(self.expand1x1(x), inplace=True)
        expand3x3 = F.relu(self.expand3x3(x), inplace=True)
        return torch.cat((expand1x1, expand3x3), dim=1)


class SqueezenetV11(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, kernel_size=3, stride=2)
        self.pool1 = nn.MaxPool2d(kernel_size=3, stride=2, ceil_mode=True)
        self.fire2 = Fire(64, 16, 64)
        self.fire3 = Fire(128, 16, 64)
        self.pool3 = nn.MaxPool2d(kernel_size=3, stride=2, ceil_mode=True)
        self.fire4 = Fire(128, 32, 128)
        self.fire5 = Fire(256, 32, 128)
        self.pool5 = nn.MaxPool2d(kernel_size=3, stride=2, ceil_mode=True)
        self.fire6 = Fire(256, 48, 192)
        self.fire7 = Fire(384, 48, 192)
        self.fire8 = Fire(384, 64, 256)
        self.fire9 = Fire(512, 64, 256)
        self.drop9 = nn.Dropout(p=0.5)
        self.conv10 = nn.Conv2d(512, 1000, kernel_size=1)

    def forward(self, data: torch.Tensor) -> torch.Tensor:
        x = F.relu(self.conv1(data), inplace=True)  # (1, 64, 113, 113)
        x = self.pool1(x)  # (1, 64, 56, 56)
        x = self.fire2(x)  # (1, 128, 56, 56)
        x = self.fire3(x)
        x = self.pool3(x)  # (1, 128, 28, 28)
        x = self.fire4(x)  # (1, 256, 28, 28)
        x = self.fire5(x)
        x = self.pool5(x)  # (1, 256, 14, 14)
        x = self.fire6(x)  # (1, 384, 14, 14)
        x = self.fire7(x)
        x = self.fire8(x)  # (1, 512, 14, 14)
        x = self.fire9(x)
        x = self.drop9(x)
        x = F.relu(self.conv10(x), inplace=True)  # (1, 1000, 14, 14)
        x = x.mean((2, 3), keepdim=True)  # (1, 1000, 1, 1)
        return F.softmax(x, dim=1)


def load(weights_path: str | Path | None = None) -> SqueezenetV11:
    """The net with its weights, beside this file by default, in evaluation mode."""
    weights = load_file(weights_path or Path(__file__).with_suffix(".safetensors"))
    with torch.device("meta"):
        model = SqueezenetV11()
    model.load_state_dict(weights, assign=True)
    return model.eval()
