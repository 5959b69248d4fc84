"""GoogLeNet, ResNet-50, DenseNet-121, MobileNet v1 and v2, SE-ResNet-50 and Inception-v3.

Sizes are those of the papers (arXiv:1409.4842, 1512.03385, 1608.06993, 1704.04861, 1801.04381,
1709.01507, 1512.00567); layers are named in the manner of the Caffe models that were published.
"""

from __future__ import annotations

from collections.abc import Callable

from tests.nets.text import Text

__all__ = ["NETS", "densenet121", "googlenet", "inception_v3", "mobilenet_v1", "mobilenet_v2",
           "resnet50", "se_resnet50"]  # fmt: skip

_INCEPTIONS = {
    "3a": (64, 96, 128, 16, 32, 32), "3b": (128, 128, 192, 32, 96, 64),
    "4a": (192, 96, 208, 16, 48, 64), "4b": (160, 112, 224, 24, 64, 64),
    "4c": (128, 128, 256, 24, 64, 64), "4d": (112, 144, 288, 32, 64, 64),
    "4e": (256, 160, 320, 32, 128, 128), "5a": (256, 160, 320, 32, 128, 128),
    "5b": (384, 192, 384, 48, 128, 128),
}  # fmt: skip


def googlenet(size: int = 224) -> str:
    """GoogLeNet, without the classifiers that only training has."""
    net = Text("GoogleNet", size)

    def conv(name: str, x: str, count: int, kernel: int, stride: int = 1) -> str:
        x = net.conv(name, x, count, kernel, stride=stride, pad=kernel // 2)
        return net.relu(f"{name.split('/')[0]}/relu_{name.split('/')[1]}", x)

    lrn = "lrn_param { local_size: 5 alpha: 0.0001 beta: 0.75 }"
    x = conv("conv1/7x7_s2", "data", 64, 7, 2)
    x = net.pool("pool1/3x3_s2", x, "MAX", 3, 2)
    x = net.add("LRN", "pool1/norm1", [x], "pool1/norm1", lrn)
    x = conv("conv2/3x3", conv("conv2/3x3_reduce", x, 64, 1), 192, 3)
    x = net.add("LRN", "conv2/norm2", [x], "conv2/norm2", lrn)
    x = net.pool("pool2/3x3_s2", x, "MAX", 3, 2)
    for name, (n1, r3, n3, r5, n5, proj) in _INCEPTIONS.items():
        if name in ("4a", "5a"):
            number = int(name[0]) - 1
            x = net.pool(f"pool{number}/3x3_s2", x, "MAX", 3, 2)
        at = f"inception_{name}"
        branches = [
            conv(f"{at}/1x1", x, n1, 1),
            conv(f"{at}/3x3", conv(f"{at}/3x3_reduce", x, r3, 1), n3, 3),
            conv(f"{at}/5x5", conv(f"{at}/5x5_reduce", x, r5, 1), n5, 5),
            conv(f"{at}/pool_proj", net.pool(f"{at}/pool", x, "MAX", 3, 1, 1), proj, 1),
        ]
        x = net.add("Concat", f"{at}/output", branches, f"{at}/output")
    x = net.mean("pool5/7x7_s1", x)
    ratio = "dropout_param { dropout_ratio: 0.4 }"
    x = net.add("Dropout", "pool5/drop_7x7_s1", [x], x, ratio)
    net.softmax(net.linear("loss3/classifier", x, 1000))
    return str(net)


def _residual(net: Text, x: str, at: str, width: int, stride: int, project: bool) -> list[str]:
    """The two branches of a bottleneck, as in the published ResNets."""

    def conv(branch: str, x: str, count: int, kernel: int, stride: int = 1) -> str:
        x = net.conv(f"res{at}_{branch}", x, count, kernel, stride=stride, pad=kernel // 2,
                     bias=False)  # fmt: skip
        return net.norm(x, f"bn{at}_{branch}", f"scale{at}_{branch}", "use_global_stats: true")

    skip = conv("branch1", x, 4 * width, 1, stride) if project else x
    y = net.relu(f"res{at}_branch2a_relu", conv("branch2a", x, width, 1, stride))
    y = net.relu(f"res{at}_branch2b_relu", conv("branch2b", y, width, 3))
    return [skip, conv("branch2c", y, 4 * width, 1)]


_STAGES = ((2, 3, 64), (3, 4, 128), (4, 6, 256), (5, 3, 512))


def resnet50(size: int = 224) -> str:
    """ResNet-50, its statistics frozen, as in the published definition."""
    net = Text("ResNet-50", size)
    x = net.conv("conv1", "data", 64, 7, stride=2, pad=3)
    x = net.norm(x, "bn_conv1", "scale_conv1", "use_global_stats: true")
    x = net.pool("pool1", net.relu("conv1_relu", x), "MAX", 3, 2)
    for stage, count, width in _STAGES:
        for i in range(count):
            at = f"{stage}{'abcdef'[i]}"
            stride = 2 if i == 0 and stage > 2 else 1
            branches = _residual(net, x, at, width, stride, i == 0)
            x = net.add("Eltwise", f"res{at}", branches, f"res{at}")
            x = net.relu(f"res{at}_relu", x)
    net.softmax(net.linear("fc1000", net.mean("pool5", x), 1000))
    return str(net)


def se_resnet50(size: int = 224) -> str:
    """SE-ResNet-50 in layers of Caffe's own: the gate scales by channel."""
    net = Text("SE-ResNet-50", size)
    x = net.conv("conv1/7x7_s2", "data", 64, 7, stride=2, pad=3, bias=False)
    x = net.norm(x, "conv1/7x7_s2/bn", "conv1/7x7_s2/bn/scale")
    x = net.pool("pool1/3x3_s2", net.relu("conv1/relu_7x7_s2", x), "MAX", 3, 2)
    for stage, count, width in _STAGES:
        for i in range(count):
            x = _se_block(net, x, f"conv{stage}_{i + 1}", width, 2 if i == 0 < stage - 2 else 1, i)
    net.softmax(net.linear("classifier", net.mean("pool5/7x7_s1", x), 1000))
    return str(net)


def _se_block(net: Text, x: str, at: str, width: int, stride: int, number: int) -> str:
    def conv(name: str, x: str, count: int, kernel: int, stride: int = 1) -> str:
        x = net.conv(f"{at}_{name}", x, count, kernel, stride=stride, pad=kernel // 2, bias=False)
        return net.norm(x, f"{at}_{name}/bn", f"{at}_{name}/bn/scale")

    y = net.relu(f"{at}_1x1_reduce/relu", conv("1x1_reduce", x, width, 1, stride))
    y = net.relu(f"{at}_3x3/relu", conv("3x3", y, width, 3))
    y = conv("1x1_increase", y, 4 * width, 1)
    gate = net.mean(f"{at}_global_pool", y)
    gate = net.relu(f"{at}_1x1_down/relu", net.conv(f"{at}_1x1_down", gate, width // 4, 1))
    gate = net.conv(f"{at}_1x1_up", gate, 4 * width, 1)
    gate = net.add("Sigmoid", f"{at}_prob", [gate], gate)
    gate = net.add("Flatten", f"{at}_flat", [gate], f"{at}_flat")
    skip = conv("1x1_proj", x, 4 * width, 1, stride) if number == 0 else x
    y = net.add("Scale", f"{at}_scale", [y, gate], f"{at}_scale", "scale_param { axis: 0 }")
    return net.relu(f"{at}/relu", net.add("Eltwise", at, [y, skip], at))


def densenet121(size: int = 224) -> str:
    """DenseNet-121: growth 32, half the channels after each block."""
    net = Text("DENSENET_121", size)

    def pre(at: str, x: str) -> str:
        y = net.add("BatchNorm", f"{at}/bn", [x], f"{at}/bn", "batch_norm_param { eps: 1e-05 }")
        net.add("Scale", f"{at}/scale", [y], y, "scale_param { bias_term: true }")
        return net.relu(f"relu{at.removeprefix('conv')}", y)

    x = net.conv("conv1", "data", 64, 7, stride=2, pad=3, bias=False)
    x = net.relu("relu1", net.norm(x, "conv1/bn", "conv1/scale"))
    x = net.pool("pool1", x, "MAX", 3, 2, 1)
    channels = 64
    for block, layers in enumerate((6, 12, 24, 16), start=2):
        for i in range(1, layers + 1):
            at = f"conv{block}_{i}"
            y = net.conv(f"{at}/x1", pre(f"{at}/x1", x), 128, 1, bias=False)
            y = net.conv(f"{at}/x2", pre(f"{at}/x2", y), 32, 3, pad=1, bias=False)
            x = net.add("Concat", f"concat_{block}_{i}", [x, y], f"concat_{block}_{i}")
        channels += 32 * layers
        if block < 5:
            channels //= 2
            at = f"conv{block}_blk"
            x = net.conv(at, pre(at, x), channels, 1, bias=False)
            x = net.pool(f"pool{block}", x, "AVE", 2, 2)
    x = net.conv("fc6", net.mean("pool5", pre("conv5_blk", x)), 1000, 1)
    net.softmax(x)
    return str(net)


def mobilenet_v1(size: int = 224) -> str:
    """MobileNet v1."""
    net = Text("MOBILENET", size)

    def conv(name: str, x: str, count: int, kernel: int, stride: int, group: int = 1) -> str:
        x = net.conv(name, x, count, kernel, stride=stride, pad=kernel // 2, group=group,
                     bias=False)  # fmt: skip
        return net.relu(f"relu{name.removeprefix('conv')}", net.norm(x, f"{name}/bn",
                                                                     f"{name}/scale"))  # fmt: skip

    x, channels = conv("conv1", "data", 32, 3, 2), 32
    plan = {"2_1": (64, 1), "2_2": (128, 2), "3_1": (128, 1), "3_2": (256, 2), "4_1": (256, 1),
            "4_2": (512, 2), **{f"5_{i}": (512, 1) for i in range(1, 6)}, "5_6": (1024, 2),
            "6": (1024, 1)}  # fmt: skip
    for at, (count, stride) in plan.items():
        x = conv(f"conv{at}/dw", x, channels, 3, stride, channels)
        x, channels = conv(f"conv{at}/sep", x, count, 1, 1), count
    net.softmax(net.conv("fc7", net.mean("pool6", x), 1000, 1))
    return str(net)


def mobilenet_v2(size: int = 224) -> str:
    """MobileNet v2."""
    net = Text("MOBILENET_V2", size)

    def conv(name: str, x: str, count: int, kernel: int, stride: int = 1, group: int = 1) -> str:
        x = net.conv(name, x, count, kernel, stride=stride, pad=kernel // 2, group=group,
                     bias=False)  # fmt: skip
        return net.norm(x, f"{name}/bn", f"{name}/scale")

    x, channels, number = net.relu("relu1", conv("conv1", "data", 32, 3, 2)), 32, 0
    plan = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1),
            (6, 160, 3, 2), (6, 320, 1, 1))  # fmt: skip
    for stage, (times, count, repeats, first) in enumerate(plan, start=2):
        for i in range(repeats):
            at, number = f"conv{stage}_{i + 1}", number + 1
            wide, stride = times * channels, first if i == 0 else 1
            y = net.relu(f"relu{at}/expand", conv(f"{at}/expand", x, wide, 1))
            y = net.relu(f"relu{at}/dwise", conv(f"{at}/dwise", y, wide, 3, stride, wide))
            y = conv(f"{at}/linear", y, count, 1)
            if i:
                y = net.add("Eltwise", f"block_{stage}_{i + 1}", [x, y], f"block_{stage}_{i + 1}")
            x, channels = y, count
    x = net.relu("relu9", conv("conv9", x, 1280, 1))
    net.softmax(net.conv("fc10", net.mean("pool9", x), 1000, 1))
    return str(net)


def inception_v3(size: int = 299) -> str:
    """Inception-v3, without the classifier that only training has."""
    net = Text("Inception_v3", size)

    def conv(name: str, x: str, count: int, kernel: int | tuple[int, int], stride: int = 1,
             pad: int | tuple[int, int] = 0) -> str:  # fmt: skip
        x = net.conv(name, x, count, kernel, stride=stride, pad=pad, bias=False)
        return net.relu(f"{name}/relu", net.norm(x, f"{name}/bn", f"{name}/scale", "eps: 0.001"))

    def joined(at: str, branches: list[str]) -> str:
        return net.add("Concat", f"{at}/output", branches, f"{at}/output")

    x = conv("conv2", conv("conv1", "data", 32, 3, 2), 32, 3)
    x = net.pool("pool1", conv("conv3", x, 64, 3, pad=1), "MAX", 3, 2)
    x = net.pool("pool2", conv("conv5", conv("conv4", x, 80, 1), 192, 3), "MAX", 3, 2)
    for i, proj in enumerate((32, 64, 64), start=1):
        at = f"inception_a{i}"
        x = joined(at, [
            conv(f"{at}/1x1", x, 64, 1),
            conv(f"{at}/5x5", conv(f"{at}/5x5_reduce", x, 48, 1), 64, 5, pad=2),
            conv(f"{at}/3x3_2", conv(f"{at}/3x3_1", conv(f"{at}/3x3_reduce", x, 64, 1), 96, 3,
                                     pad=1), 96, 3, pad=1),
            conv(f"{at}/pool_proj", net.pool(f"{at}/pool", x, "AVE", 3, 1, 1), proj, 1),
        ])  # fmt: skip
    x = joined("reduction_a", [
        conv("reduction_a/3x3", x, 384, 3, 2),
        conv("reduction_a/3x3_3", conv("reduction_a/3x3_2", conv("reduction_a/3x3_reduce", x, 64,
                                                                 1), 96, 3, pad=1), 96, 3, 2),
        net.pool("reduction_a/pool", x, "MAX", 3, 2),
    ])  # fmt: skip
    for i, wide in enumerate((128, 160, 160, 192), start=1):
        at = f"inception_b{i}"
        y = conv(f"{at}/1x7", conv(f"{at}/1x7_reduce", x, wide, 1), wide, (1, 7), pad=(0, 3))
        z = conv(f"{at}/7x1_2", conv(f"{at}/7x1_reduce", x, wide, 1), wide, (7, 1), pad=(3, 0))
        z = conv(f"{at}/7x1_3", conv(f"{at}/1x7_2", z, wide, (1, 7), pad=(0, 3)), wide, (7, 1),
                 pad=(3, 0))  # fmt: skip
        x = joined(at, [
            conv(f"{at}/1x1", x, 192, 1),
            conv(f"{at}/7x1", y, 192, (7, 1), pad=(3, 0)),
            conv(f"{at}/1x7_3", z, 192, (1, 7), pad=(0, 3)),
            conv(f"{at}/pool_proj", net.pool(f"{at}/pool", x, "AVE", 3, 1, 1), 192, 1),
        ])  # fmt: skip
    y = conv("reduction_b/1x7", conv("reduction_b/1x7_reduce", x, 192, 1), 192, (1, 7),
             pad=(0, 3))  # fmt: skip
    y = conv("reduction_b/7x1", y, 192, (7, 1), pad=(3, 0))
    x = joined("reduction_b", [
        conv("reduction_b/3x3", conv("reduction_b/3x3_reduce", x, 192, 1), 320, 3, 2),
        conv("reduction_b/3x3_2", y, 192, 3, 2),
        net.pool("reduction_b/pool", x, "MAX", 3, 2),
    ])  # fmt: skip
    for i in (1, 2):
        at = f"inception_c{i}"
        y = conv(f"{at}/3x3_reduce", x, 384, 1)
        z = conv(f"{at}/3x3", conv(f"{at}/double_reduce", x, 448, 1), 384, 3, pad=1)
        x = joined(at, [
            conv(f"{at}/1x1", x, 320, 1),
            conv(f"{at}/1x3", y, 384, (1, 3), pad=(0, 1)),
            conv(f"{at}/3x1", y, 384, (3, 1), pad=(1, 0)),
            conv(f"{at}/1x3_2", z, 384, (1, 3), pad=(0, 1)),
            conv(f"{at}/3x1_2", z, 384, (3, 1), pad=(1, 0)),
            conv(f"{at}/pool_proj", net.pool(f"{at}/pool", x, "AVE", 3, 1, 1), 192, 1),
        ])  # fmt: skip
    net.softmax(net.linear("classifier", net.mean("pool3", x), 1000))
    return str(net)


NETS: dict[str, Callable[[int], str]] = {
    "googlenet": googlenet,
    "resnet50": resnet50,
    "densenet121": densenet121,
    "mobilenet_v1": mobilenet_v1,
    "mobilenet_v2": mobilenet_v2,
    "se_resnet50": se_resnet50,
    "inception_v3": inception_v3,
}
"""By name, from the size of an image to the definition."""
