"""ResNet-50 in MXNet Gluon, from Caffe.

Converted by: decaffeinate
Net: resnet50 (tests/nets)
Weights: drawn, not trained
Input: data, (1, 3, 224, 224) float32
Images: as the net was trained; Caffe's take BGR, 0 to 255, mean subtracted
Output: prob, (1, 1000) float32
Parameters: 25,610,216, in resnet50-0000.params
"""

from pathlib import Path

import mxnet as mx
from mxnet.gluon import nn


class ConvBN(nn.HybridBlock):
    """Used 52 times: res2[0].branch1 to res5[2].branch2c."""

    def __init__(
        self,
        in_channels,
        out_channels,
        kernel_size,
        stride=1,
        padding=0,
        **kwargs,
    ):
        super().__init__(**kwargs)
        with self.name_scope():
            self.conv = nn.Conv2D(
                out_channels,
                kernel_size,
                strides=stride,
                padding=padding,
                use_bias=False,
                in_channels=in_channels,
            )
            self.bn = nn.BatchNorm(use_global_stats=True, in_channels=out_channels)

    def hybrid_forward(self, F, x):
        """The output for an input."""
        return self.bn(self.conv(x))

    def stored(self, name):
        """The parameters by their names in the file."""
        return {
            f"arg:res{name}_weight": self.conv.weight,
            f"arg:scale{name}_scale": self.bn.gamma,
            f"arg:scale{name}_bias": self.bn.beta,
            f"aux:bn{name}_moving_mean": self.bn.running_mean,
            f"aux:bn{name}_moving_var": self.bn.running_var,
        }


class Bottleneck(nn.HybridBlock):
    """Used 16 times: res2[0] to res5[2]."""

    def __init__(
        self,
        in_channels,
        mid_channels,
        out_channels,
        stride=1,
        projection=False,
        **kwargs,
    ):
        super().__init__(**kwargs)
        with self.name_scope():
            self.branch1 = None
            if projection:
                self.branch1 = ConvBN(
                    in_channels,
                    out_channels,
                    kernel_size=1,
                    stride=stride,
                )
            self.branch2a = ConvBN(
                in_channels,
                mid_channels,
                kernel_size=1,
                stride=stride,
            )
            self.branch2b = ConvBN(mid_channels, mid_channels, kernel_size=3, padding=1)
            self.branch2c = ConvBN(mid_channels, out_channels, kernel_size=1)

    def hybrid_forward(self, F, x):
        """The output for an input."""
        branch1 = self.branch1(x) if self.branch1 else x
        x = F.Activation(self.branch2a(x), "relu")
        x = F.Activation(self.branch2b(x), "relu")
        branch2c = self.branch2c(x)
        return F.Activation(branch1 + branch2c, "relu")

    def stored(self, name):
        """The parameters by their names in the file."""
        found = {
            **self.branch2a.stored(f"{name}_branch2a"),
            **self.branch2b.stored(f"{name}_branch2b"),
            **self.branch2c.stored(f"{name}_branch2c"),
        }
        if self.branch1:
            found.update(self.branch1.stored(f"{name}_branch1"))
        return found


class ResNet50(nn.HybridBlock):
    """ResNet-50."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        with self.name_scope():
            self.conv1 = nn.Conv2D(64, 7, strides=2, padding=3, in_channels=3)
            self.bn_conv1 = nn.BatchNorm(use_global_stats=True, in_channels=64)
            self.pool1 = nn.MaxPool2D(3, strides=2, ceil_mode=True)
            self.res2 = nn.HybridSequential()
            self.res2.add(
                Bottleneck(64, 64, 256, projection=True),
                Bottleneck(256, 64, 256),
                Bottleneck(256, 64, 256),
            )
            self.res3 = nn.HybridSequential()
            self.res3.add(
                Bottleneck(256, 128, 512, stride=2, projection=True),
                *(Bottleneck(512, 128, 512) for _ in range(3)),
            )
            self.res4 = nn.HybridSequential()
            self.res4.add(
                Bottleneck(512, 256, 1024, stride=2, projection=True),
                *(Bottleneck(1024, 256, 1024) for _ in range(5)),
            )
            self.res5 = nn.HybridSequential()
            self.res5.add(
                Bottleneck(1024, 512, 2048, stride=2, projection=True),
                Bottleneck(2048, 512, 2048),
                Bottleneck(2048, 512, 2048),
            )
            self.pool5 = nn.GlobalAvgPool2D()
            self.fc1000 = nn.Dense(1000, flatten=False, in_units=2048)

    def hybrid_forward(self, F, data):
        """The outputs for the inputs; F is mxnet.nd or mxnet.sym."""
        x = F.Activation(self.bn_conv1(self.conv1(data)), "relu")  # (1, 64, 112, 112)
        x = self.pool1(x)  # (1, 64, 56, 56)
        x = self.res2(x)  # (1, 256, 56, 56)
        x = self.res3(x)  # (1, 512, 28, 28)
        x = self.res4(x)  # (1, 1024, 14, 14)
        x = self.res5(x)  # (1, 2048, 7, 7)
        x = self.pool5(x)  # (1, 2048, 1, 1)
        x = F.flatten(x)  # (1, 2048)
        x = self.fc1000(x)  # (1, 1000)
        return F.softmax(x, axis=1)

    def stored(self):
        """The parameters by their names in the file."""
        found = {
            "arg:conv1_weight": self.conv1.weight,
            "arg:conv1_bias": self.conv1.bias,
            "arg:scale_conv1_scale": self.bn_conv1.gamma,
            "arg:scale_conv1_bias": self.bn_conv1.beta,
            "aux:bn_conv1_moving_mean": self.bn_conv1.running_mean,
            "aux:bn_conv1_moving_var": self.bn_conv1.running_var,
            "arg:fc1000_weight": self.fc1000.weight,
            "arg:fc1000_bias": self.fc1000.bias,
        }
        for i, name in enumerate(("2a", "2b", "2c")):
            found.update(self.res2[i].stored(name))
        for i, name in enumerate(("3a", "3b", "3c", "3d")):
            found.update(self.res3[i].stored(name))
        for i, name in enumerate(("4a", "4b", "4c", "4d", "4e", "4f")):
            found.update(self.res4[i].stored(name))
        for i, name in enumerate(("5a", "5b", "5c")):
            found.update(self.res5[i].stored(name))
        return found


def load(params_path=None, ctx=None):
    """The net with the parameters of a file, by default of the one beside this."""
    if params_path is None:
        params_path = Path(__file__).with_name("resnet50-0000.params")
    net = ResNet50()
    net.initialize(mx.init.Zero(), ctx=ctx)
    arrays = mx.nd.load(str(params_path))
    for name, parameter in net.stored().items():
        parameter.set_data(arrays[name].reshape(parameter.shape))
    return net
