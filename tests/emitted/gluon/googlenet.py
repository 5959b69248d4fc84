"""GoogleNet in MXNet Gluon, from Caffe.

Converted by: decaffeinate
Net: googlenet (tests/nets)
Weights: drawn, not trained
Input: data, (1, 3, 224, 224) float32
Images: as the net was trained; Caffe's take BGR, 0 to 255, mean subtracted
Output: prob, (1, 1000) float32
Parameters: 6,998,552, in googlenet-0000.params
"""

from pathlib import Path

import mxnet as mx
from mxnet.gluon import nn


class Inception(nn.HybridBlock):
    """Used 9 times: inception_3a to inception_5b."""

    def __init__(
        self,
        in_channels,
        conv_1x1,
        conv_3x3_reduce,
        conv_3x3,
        conv_5x5_reduce,
        conv_5x5,
        pool_proj,
        **kwargs,
    ):
        super().__init__(**kwargs)
        with self.name_scope():
            self.conv_1x1 = nn.Conv2D(conv_1x1, 1, in_channels=in_channels)
            self.conv_3x3_reduce = nn.Conv2D(
                conv_3x3_reduce,
                1,
                in_channels=in_channels,
            )
            self.conv_3x3 = nn.Conv2D(
                conv_3x3,
                3,
                padding=1,
                in_channels=conv_3x3_reduce,
            )
            self.conv_5x5_reduce = nn.Conv2D(
                conv_5x5_reduce,
                1,
                in_channels=in_channels,
            )
            self.conv_5x5 = nn.Conv2D(
                conv_5x5,
                5,
                padding=2,
                in_channels=conv_5x5_reduce,
            )
            self.pool = nn.MaxPool2D(3, strides=1, padding=1)
            self.pool_proj = nn.Conv2D(pool_proj, 1, in_channels=in_channels)

    def hybrid_forward(self, F, x):
        """The output for an input."""
        conv_1x1 = F.Activation(self.conv_1x1(x), "relu")
        conv_3x3_reduce = F.Activation(self.conv_3x3_reduce(x), "relu")
        conv_3x3 = F.Activation(self.conv_3x3(conv_3x3_reduce), "relu")
        conv_5x5_reduce = F.Activation(self.conv_5x5_reduce(x), "relu")
        conv_5x5 = F.Activation(self.conv_5x5(conv_5x5_reduce), "relu")
        x = self.pool(x)
        pool_proj = F.Activation(self.pool_proj(x), "relu")
        return F.concat(conv_1x1, conv_3x3, conv_5x5, pool_proj, dim=1)

    def stored(self, name):
        """The parameters by their names in the file."""
        return {
            f"arg:{name}/1x1_weight": self.conv_1x1.weight,
            f"arg:{name}/1x1_bias": self.conv_1x1.bias,
            f"arg:{name}/3x3_reduce_weight": self.conv_3x3_reduce.weight,
            f"arg:{name}/3x3_reduce_bias": self.conv_3x3_reduce.bias,
            f"arg:{name}/3x3_weight": self.conv_3x3.weight,
            f"arg:{name}/3x3_bias": self.conv_3x3.bias,
            f"arg:{name}/5x5_reduce_weight": self.conv_5x5_reduce.weight,
            f"arg:{name}/5x5_reduce_bias": self.conv_5x5_reduce.bias,
            f"arg:{name}/5x5_weight": self.conv_5x5.weight,
            f"arg:{name}/5x5_bias": self.conv_5x5.bias,
            f"arg:{name}/pool_proj_weight": self.pool_proj.weight,
            f"arg:{name}/pool_proj_bias": self.pool_proj.bias,
        }


class GoogleNet(nn.HybridBlock):
    """GoogleNet."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        with self.name_scope():
            self.conv1_7x7_s2 = nn.Conv2D(64, 7, strides=2, padding=3, in_channels=3)
            self.pool1_3x3_s2 = nn.MaxPool2D(3, strides=2, ceil_mode=True)
            self.conv2_3x3_reduce = nn.Conv2D(64, 1, in_channels=64)
            self.conv2_3x3 = nn.Conv2D(192, 3, padding=1, in_channels=64)
            self.pool2_3x3_s2 = nn.MaxPool2D(3, strides=2, ceil_mode=True)
            self.inception_3a = Inception(192, 64, 96, 128, 16, 32, 32)
            self.inception_3b = Inception(256, 128, 128, 192, 32, 96, 64)
            self.pool3_3x3_s2 = nn.MaxPool2D(3, strides=2, ceil_mode=True)
            self.inception_4 = nn.HybridSequential()
            self.inception_4.add(
                Inception(480, 192, 96, 208, 16, 48, 64),
                Inception(512, 160, 112, 224, 24, 64, 64),
                Inception(512, 128, 128, 256, 24, 64, 64),
                Inception(512, 112, 144, 288, 32, 64, 64),
                Inception(528, 256, 160, 320, 32, 128, 128),
            )
            self.pool4_3x3_s2 = nn.MaxPool2D(3, strides=2, ceil_mode=True)
            self.inception_5a = Inception(832, 256, 160, 320, 32, 128, 128)
            self.inception_5b = Inception(832, 384, 192, 384, 48, 128, 128)
            self.pool5_7x7_s1 = nn.GlobalAvgPool2D()
            self.pool5_drop_7x7_s1 = nn.Dropout(0.4)
            self.loss3_classifier = nn.Dense(1000, flatten=False, in_units=1024)

    def hybrid_forward(self, F, data):
        """The outputs for the inputs; F is mxnet.nd or mxnet.sym."""
        x = F.Activation(self.conv1_7x7_s2(data), "relu")  # (1, 64, 112, 112)
        x = self.pool1_3x3_s2(x)  # (1, 64, 56, 56)
        x = F.LRN(x, nsize=5, alpha=0.0001, beta=0.75, knorm=1.0)
        x = F.Activation(self.conv2_3x3_reduce(x), "relu")
        x = F.Activation(self.conv2_3x3(x), "relu")  # (1, 192, 56, 56)
        x = F.LRN(x, nsize=5, alpha=0.0001, beta=0.75, knorm=1.0)
        x = self.pool2_3x3_s2(x)  # (1, 192, 28, 28)
        x = self.inception_3a(x)  # (1, 256, 28, 28)
        x = self.inception_3b(x)  # (1, 480, 28, 28)
        x = self.pool3_3x3_s2(x)  # (1, 480, 14, 14)
        x = self.inception_4(x)  # (1, 832, 14, 14)
        x = self.pool4_3x3_s2(x)  # (1, 832, 7, 7)
        x = self.inception_5a(x)
        x = self.inception_5b(x)  # (1, 1024, 7, 7)
        x = self.pool5_7x7_s1(x)  # (1, 1024, 1, 1)
        x = self.pool5_drop_7x7_s1(x)
        x = F.flatten(x)  # (1, 1024)
        x = self.loss3_classifier(x)  # (1, 1000)
        return F.softmax(x, axis=1)

    def stored(self):
        """The parameters by their names in the file."""
        found = {
            "arg:conv1/7x7_s2_weight": self.conv1_7x7_s2.weight,
            "arg:conv1/7x7_s2_bias": self.conv1_7x7_s2.bias,
            "arg:conv2/3x3_reduce_weight": self.conv2_3x3_reduce.weight,
            "arg:conv2/3x3_reduce_bias": self.conv2_3x3_reduce.bias,
            "arg:conv2/3x3_weight": self.conv2_3x3.weight,
            "arg:conv2/3x3_bias": self.conv2_3x3.bias,
            **self.inception_3a.stored("inception_3a"),
            **self.inception_3b.stored("inception_3b"),
            **self.inception_5a.stored("inception_5a"),
            **self.inception_5b.stored("inception_5b"),
            "arg:loss3/classifier_weight": self.loss3_classifier.weight,
            "arg:loss3/classifier_bias": self.loss3_classifier.bias,
        }
        for i, name in enumerate(
            (
                "inception_4a",
                "inception_4b",
                "inception_4c",
                "inception_4d",
                "inception_4e",
            ),
        ):
            found.update(self.inception_4[i].stored(name))
        return found


def load(params_path=None, ctx=None):
    """The net with the parameters of a file, by default of the one beside this."""
    if params_path is None:
        params_path = Path(__file__).with_name("googlenet-0000.params")
    net = GoogleNet()
    net.initialize(mx.init.Zero(), ctx=ctx)
    arrays = mx.nd.load(str(params_path))
    for name, parameter in net.stored().items():
        parameter.set_data(arrays[name])
    return net
