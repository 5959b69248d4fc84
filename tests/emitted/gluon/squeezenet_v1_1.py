"""The net in MXNet Gluon, from Caffe.

Converted by: decaffeinate
Net: squeezenet_v1_1 (tests/nets)
Weights: drawn, not trained
Input: data, (1, 3, 227, 227) float32
Images: as the net was trained; Caffe's take BGR, 0 to 255, mean subtracted
Output: prob, (1, 1000, 1, 1) float32
Parameters: 1,235,496, in squeezenet_v1_1-0000.params
"""

from pathlib import Path

import mxnet as mx
from mxnet.gluon import nn


class Fire(nn.HybridBlock):
    """Used 8 times: fire2 to fire9."""

    def __init__(self, in_channels, squeeze1x1, expand, **kwargs):
        super().__init__(**kwargs)
        with self.name_scope():
            self.squeeze1x1 = nn.Conv2D(squeeze1x1, 1, in_channels=in_channels)
            self.expand1x1 = nn.Conv2D(expand, 1, in_channels=squeeze1x1)
            self.expand3x3 = nn.Conv2D(expand, 3, padding=1, in_channels=squeeze1x1)

    def hybrid_forward(self, F, x):
        """The output for an input."""
        x = F.Activation(self.squeeze1x1(x), "relu")
        expand1x1 = F.Activation(self.expand1x1(x), "relu")
        expand3x3 = F.Activation(self.expand3x3(x), "relu")
        return F.concat(expand1x1, expand3x3, dim=1)

    def stored(self, name):
        """The parameters by their names in the file."""
        return {
            f"arg:{name}/squeeze1x1_weight": self.squeeze1x1.weight,
            f"arg:{name}/squeeze1x1_bias": self.squeeze1x1.bias,
            f"arg:{name}/expand1x1_weight": self.expand1x1.weight,
            f"arg:{name}/expand1x1_bias": self.expand1x1.bias,
            f"arg:{name}/expand3x3_weight": self.expand3x3.weight,
            f"arg:{name}/expand3x3_bias": self.expand3x3.bias,
        }


class SqueezenetV11(nn.HybridBlock):
    """The net."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        with self.name_scope():
            self.conv1 = nn.Conv2D(64, 3, strides=2, in_channels=3)
            self.pool1 = nn.MaxPool2D(3, strides=2)
            self.fire2 = Fire(64, 16, 64)
            self.fire3 = Fire(128, 16, 64)
            self.pool3 = nn.MaxPool2D(3, strides=2, ceil_mode=True)
            self.fire4 = Fire(128, 32, 128)
            self.fire5 = Fire(256, 32, 128)
            self.pool5 = nn.MaxPool2D(3, strides=2, ceil_mode=True)
            self.fire6 = Fire(256, 48, 192)
            self.fire7 = Fire(384, 48, 192)
            self.fire8 = Fire(384, 64, 256)
            self.fire9 = Fire(512, 64, 256)
            self.drop9 = nn.Dropout(0.5)
            self.conv10 = nn.Conv2D(1000, 1, in_channels=512)
            self.pool10 = nn.GlobalAvgPool2D()

    def hybrid_forward(self, F, data):
        """The outputs for the inputs; F is mxnet.nd or mxnet.sym."""
        x = F.Activation(self.conv1(data), "relu")  # (1, 64, 113, 113)
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
        x = F.Activation(self.conv10(x), "relu")  # (1, 1000, 14, 14)
        x = self.pool10(x)  # (1, 1000, 1, 1)
        return F.softmax(x, axis=1)

    def stored(self):
        """The parameters by their names in the file."""
        return {
            "arg:conv1_weight": self.conv1.weight,
            "arg:conv1_bias": self.conv1.bias,
            **self.fire2.stored("fire2"),
            **self.fire3.stored("fire3"),
            **self.fire4.stored("fire4"),
            **self.fire5.stored("fire5"),
            **self.fire6.stored("fire6"),
            **self.fire7.stored("fire7"),
            **self.fire8.stored("fire8"),
            **self.fire9.stored("fire9"),
            "arg:conv10_weight": self.conv10.weight,
            "arg:conv10_bias": self.conv10.bias,
        }


def load(params_path=None, ctx=None):
    """The net with the parameters of a file, by default of the one beside this."""
    if params_path is None:
        params_path = Path(__file__).with_name("squeezenet_v1_1-0000.params")
    net = SqueezenetV11()
    net.initialize(mx.init.Zero(), ctx=ctx)
    arrays = mx.nd.load(str(params_path))
    for name, parameter in net.stored().items():
        parameter.set_data(arrays[name])
    return net
