"""DENSENET_121 in MXNet Gluon, from Caffe.

Converted by: decaffeinate
Net: densenet121 (tests/nets)
Weights: drawn, not trained
Input: data, (1, 3, 224, 224) float32
Images: as the net was trained; Caffe's take BGR, 0 to 255, mean subtracted
Output: prob, (1, 1000, 1, 1) float32
Parameters: 8,062,504, in densenet121-0000.params
"""

from pathlib import Path

import mxnet as mx
from mxnet.gluon import nn


class Transition(nn.HybridBlock):
    """Used 3 times: conv2_blk to conv4_blk."""

    def __init__(self, in_channels, out_channels, **kwargs):
        super().__init__(**kwargs)
        with self.name_scope():
            self.bn = nn.BatchNorm(use_global_stats=True, in_channels=in_channels)
            self.conv = nn.Conv2D(
                out_channels,
                1,
                use_bias=False,
                in_channels=in_channels,
            )
            self.pool = nn.AvgPool2D(2, strides=2, ceil_mode=True)

    def hybrid_forward(self, F, x):
        """The output for an input."""
        x = F.Activation(self.bn(x), "relu")
        x = self.conv(x)
        return self.pool(x)

    def stored(self, name):
        """The parameters by their names in the file."""
        return {
            f"arg:{name}_blk/scale_scale": self.bn.gamma,
            f"arg:{name}_blk/scale_bias": self.bn.beta,
            f"aux:{name}_blk/bn_moving_mean": self.bn.running_mean,
            f"aux:{name}_blk/bn_moving_var": self.bn.running_var,
            f"arg:{name}_blk_weight": self.conv.weight,
        }


class DenseLayer(nn.HybridBlock):
    """Used 58 times: conv2[0] to conv5[15]."""

    def __init__(self, in_channels, **kwargs):
        super().__init__(**kwargs)
        with self.name_scope():
            self.x1_bn = nn.BatchNorm(use_global_stats=True, in_channels=in_channels)
            self.x1 = nn.Conv2D(128, 1, use_bias=False, in_channels=in_channels)
            self.x2_bn = nn.BatchNorm(use_global_stats=True, in_channels=128)
            self.x2 = nn.Conv2D(32, 3, padding=1, use_bias=False, in_channels=128)

    def hybrid_forward(self, F, x):
        """The output for an input."""
        x1_bn = F.Activation(self.x1_bn(x), "relu")
        x1 = F.Activation(self.x2_bn(self.x1(x1_bn)), "relu")
        x2 = self.x2(x1)
        return F.concat(x, x2, dim=1)

    def stored(self, name):
        """The parameters by their names in the file."""
        return {
            f"arg:{name}/x1/scale_scale": self.x1_bn.gamma,
            f"arg:{name}/x1/scale_bias": self.x1_bn.beta,
            f"aux:{name}/x1/bn_moving_mean": self.x1_bn.running_mean,
            f"aux:{name}/x1/bn_moving_var": self.x1_bn.running_var,
            f"arg:{name}/x1_weight": self.x1.weight,
            f"arg:{name}/x2/scale_scale": self.x2_bn.gamma,
            f"arg:{name}/x2/scale_bias": self.x2_bn.beta,
            f"aux:{name}/x2/bn_moving_mean": self.x2_bn.running_mean,
            f"aux:{name}/x2/bn_moving_var": self.x2_bn.running_var,
            f"arg:{name}/x2_weight": self.x2.weight,
        }


class DENSENET121(nn.HybridBlock):
    """DENSENET_121."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        with self.name_scope():
            self.conv1 = nn.Conv2D(
                64,
                7,
                strides=2,
                padding=3,
                use_bias=False,
                in_channels=3,
            )
            self.conv1_bn = nn.BatchNorm(use_global_stats=True, in_channels=64)
            self.pool1 = nn.MaxPool2D(3, strides=2, padding=1, ceil_mode=True)
            self.conv2 = nn.HybridSequential()
            self.conv2.add(*(DenseLayer(64 + 32 * i) for i in range(6)))
            self.conv2_blk = Transition(256, 128)
            self.conv3 = nn.HybridSequential()
            self.conv3.add(*(DenseLayer(128 + 32 * i) for i in range(12)))
            self.conv3_blk = Transition(512, 256)
            self.conv4 = nn.HybridSequential()
            self.conv4.add(*(DenseLayer(256 + 32 * i) for i in range(24)))
            self.conv4_blk = Transition(1024, 512)
            self.conv5 = nn.HybridSequential()
            self.conv5.add(*(DenseLayer(512 + 32 * i) for i in range(16)))
            self.conv5_blk_bn = nn.BatchNorm(use_global_stats=True, in_channels=1024)
            self.pool5 = nn.GlobalAvgPool2D()
            self.fc6 = nn.Conv2D(1000, 1, in_channels=1024)

    def hybrid_forward(self, F, data):
        """The outputs for the inputs; F is mxnet.nd or mxnet.sym."""
        x = F.Activation(self.conv1_bn(self.conv1(data)), "relu")  # (1, 64, 112, 112)
        x = self.pool1(x)  # (1, 64, 57, 57)
        x = self.conv2(x)  # (1, 256, 57, 57)
        x = self.conv2_blk(x)  # (1, 128, 29, 29)
        x = self.conv3(x)  # (1, 512, 29, 29)
        x = self.conv3_blk(x)  # (1, 256, 15, 15)
        x = self.conv4(x)  # (1, 1024, 15, 15)
        x = self.conv4_blk(x)  # (1, 512, 8, 8)
        x = self.conv5(x)  # (1, 1024, 8, 8)
        x = F.Activation(self.conv5_blk_bn(x), "relu")
        x = self.pool5(x)  # (1, 1024, 1, 1)
        x = self.fc6(x)  # (1, 1000, 1, 1)
        return F.softmax(x, axis=1)

    def stored(self):
        """The parameters by their names in the file."""
        found = {
            "arg:conv1_weight": self.conv1.weight,
            "arg:conv1/scale_scale": self.conv1_bn.gamma,
            "arg:conv1/scale_bias": self.conv1_bn.beta,
            "aux:conv1/bn_moving_mean": self.conv1_bn.running_mean,
            "aux:conv1/bn_moving_var": self.conv1_bn.running_var,
            **self.conv2_blk.stored("conv2"),
            **self.conv3_blk.stored("conv3"),
            **self.conv4_blk.stored("conv4"),
            "arg:conv5_blk/scale_scale": self.conv5_blk_bn.gamma,
            "arg:conv5_blk/scale_bias": self.conv5_blk_bn.beta,
            "aux:conv5_blk/bn_moving_mean": self.conv5_blk_bn.running_mean,
            "aux:conv5_blk/bn_moving_var": self.conv5_blk_bn.running_var,
            "arg:fc6_weight": self.fc6.weight,
            "arg:fc6_bias": self.fc6.bias,
        }
        for i, block in enumerate(self.conv2, 1):
            found.update(block.stored(f"conv2_{i}"))
        for i, block in enumerate(self.conv3, 1):
            found.update(block.stored(f"conv3_{i}"))
        for i, block in enumerate(self.conv4, 1):
            found.update(block.stored(f"conv4_{i}"))
        for i, block in enumerate(self.conv5, 1):
            found.update(block.stored(f"conv5_{i}"))
        return found


def load(params_path=None, ctx=None):
    """The net with the parameters of a file, by default of the one beside this."""
    if params_path is None:
        params_path = Path(__file__).with_name("densenet121-0000.params")
    net = DENSENET121()
    net.initialize(mx.init.Zero(), ctx=ctx)
    arrays = mx.nd.load(str(params_path))
    for name, parameter in net.stored().items():
        parameter.set_data(arrays[name].reshape(parameter.shape))
    return net
