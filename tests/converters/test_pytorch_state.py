"""Parameters, buffers and variables of the emitted PyTorch."""

import numpy as np

from ir import Graph, Origin, Parameter, Value
from ir import ops as o
from tests.converters.pytorch_conversion import (
    CONV,
    assert_formatted,
    assert_like_reference,
    convert,
    data,
    graph_of,
    imported,
    layer,
    learned,
    run_op,
    source,
    write,
)
from tests.frameworks import require
from tests.verify.passes import every_blob
from verify.runners.pytorch import PyTorchRunner

torch = require("torch")


def test_several_outputs_are_a_named_tuple_in_the_order_of_caffe(tmp_path):
    text = data(2, 6) + layer("TanH", top="b/1") + layer("Sigmoid", top="count")
    conversion = assert_like_reference(text + layer("AbsVal", top="class"), tmp_path)
    module = imported(conversion)
    x = torch.ones(2, 6)
    result = module.load()(x)
    assert result._fields == ("b_1", "class_", "count_")
    torch.testing.assert_close(result.count_, torch.sigmoid(x))


def test_batch_norm_loads_strictly_without_a_counter(tmp_path):
    text = data(2, 3, 4, 5) + layer("BatchNorm", name="bn") + layer("Scale", bottom="out", top="y")
    conversion = assert_like_reference(text, tmp_path)
    state = imported(conversion).load().state_dict()
    assert list(state) == [
        "y_scale",
        "bn.running_mean",
        "bn.running_var",
        "bn.num_batches_tracked",
    ]
    assert state["bn.num_batches_tracked"].device.type == "cpu"
    assert set(PyTorchRunner(conversion).parameters()) == set(state) - {"bn.num_batches_tracked"}


SHARED = 'param { name: "w" } param { name: "b" }'


def test_shared_parameters_are_stored_once(tmp_path):
    strided = CONV.replace("kernel_size: 1", "kernel_size: 1 stride: 2")
    text = data(2, 3, 6, 5)
    text += layer("Convolution", f"{SHARED} {CONV}", top="a")
    text += layer("Convolution", f"{SHARED} {CONV}", top="b")
    text += layer("Convolution", f"{SHARED} {strided}", top="c")
    conversion = assert_like_reference(text, tmp_path)
    emitted = source(conversion)
    assert emitted.count("nn.Conv2d(") == 1
    assert "b = self.a(data)" in emitted
    assert "c = F.conv2d(data, self.a.weight, self.a.bias, stride=2)" in emitted
    assert set(PyTorchRunner(conversion).parameters()) == {"a.weight", "a.bias"}


def test_shared_weight_with_a_bias_of_its_own(tmp_path):
    text = data(2, 3, 6, 5)
    for top in "ab":
        shared = f'param {{ name: "w" }} param {{ name: "{top}" }}'
        text += layer("Convolution", f"{shared} {CONV}", top=top)
    conversion = assert_like_reference(text, tmp_path)
    assert set(PyTorchRunner(conversion).parameters()) == {"a.weight", "a.bias", "b_bias"}


def test_arrays_of_any_layout_are_written(tmp_path):
    raw = np.frombuffer(b"x" + np.arange(24, dtype="<f4").tobytes(), np.uint8)[1:].view("<f4")
    assert not raw.flags.aligned
    graph = Graph("layouts", inputs=[Value("x", (2, 3, 4))])
    weights = {"plain": raw.reshape(2, 3, 4), "turned": raw.reshape(4, 3, 2).T}
    value = graph.inputs[0]
    for index, (name, array) in enumerate(weights.items()):
        param = Parameter(name, array.shape, data=array, origin=Origin("scale", index, name))
        value = graph.add(o.Mul(), [value, param], f"y{index}", "scale")
    graph.outputs.append(value)
    graph.blobs = {"x": graph.inputs[0], value.name: value}
    graph.versions = {("x", 0): graph.inputs[0], (value.name, 0): value}
    graph.last_versions = dict.fromkeys(graph.blobs, 0)
    runner = PyTorchRunner(write(graph, tmp_path))
    for name, array in runner.parameters().items():
        np.testing.assert_array_equal(array, weights[name])
    x = np.ones((2, 3, 4), np.float32)
    np.testing.assert_array_equal(
        every_blob(runner, {"x": x})["y1"], weights["plain"] * weights["turned"]
    )


def test_an_old_version_that_is_still_read_keeps_its_variable(tmp_path):
    text = data(2, 6) + layer("TanH", top="a") + layer("Split", bottom="a", top="b c", name="s")
    text += layer("Power", "power_param { scale: 3 }", "b", "b") + layer("AbsVal", "", "c", "d")
    text += layer("Power", "power_param { shift: 1 }", "d", "d") + layer("ReLU", "", "data", "data")
    assert_like_reference(text + layer("Eltwise", bottom="data b c d", top="out"), tmp_path)


def test_relu_is_in_place_only_where_nobody_misses_its_input(tmp_path):
    text = data(2, 3, 4, 5) + layer("Convolution", CONV, top="a") + layer("ReLU", "", "a", "b")
    text += layer("Convolution", CONV, top="c") + layer("ReLU", "", "c", "d")
    text += (
        layer("TanH", "", "c", "e") + layer("ReLU", "", "e", "f") + layer("ReLU", "", "data", "g")
    )
    up = CONV.replace("kernel_size: 1", "kernel_size: 2")
    text += layer("Deconvolution", up, top="u") + layer("ReLU", "", "u", "v")
    emitted = source(assert_like_reference(text, tmp_path))
    assert [line.strip() for line in emitted.splitlines() if "F.relu(" in line] == [
        "b = F.relu(self.a(data), inplace=True)  # (2, 4, 4, 5)",
        "d = F.relu(x)",
        "f = F.relu(x)",
        "g = F.relu(data)",
        "v = F.relu(self.u(data), inplace=True)  # (2, 4, 5, 6)",
    ]


def test_gradients_flow_to_every_parameter(tmp_path):
    text = data(2, 3, 9, 9) + layer("Convolution", CONV, top="a") + layer("BatchNorm", "", "a", "a")
    text += layer("Scale", "scale_param { bias_term: true }", "a", "a") + layer(
        "ReLU", "", "a", "a"
    )
    text += layer("Convolution", CONV, top="b") + layer("ReLU", "", "b", "b")
    text += layer("Eltwise", "", "a b", "c") + layer("ReLU", "", "c", "c")
    text += layer("LRN", "", "c", "d")
    text += layer("InnerProduct", "inner_product_param { num_output: 5 }", "d", "e")
    text += layer("ReLU", "", "e", "e")
    model = imported(convert(text, tmp_path)).load().train()
    model(torch.randn(2, 3, 9, 9)).sum().backward()
    gradients = {name: param.grad for name, param in model.named_parameters()}
    assert len(gradients) == 8
    assert [name for name, gradient in gradients.items() if gradient is None] == []


def test_a_net_without_inputs(tmp_path):
    weight = learned("w", [[1.0, -2.0]])
    graph = graph_of(o.Identity(), [weight])
    made = graph.add(o.Relu(), [graph.outputs[0]], "z", "relu")
    graph.outputs.append(made)
    graph.blobs["z"] = graph.versions["z", 0] = made
    graph.last_versions["z"] = 0
    conversion = write(graph, tmp_path)
    assert_formatted(tmp_path)
    text = source(conversion)
    assert "    def forward(self) -> OneOutput:\n        y = self.w\n" in text
    assert "Input: none\nOutput: y (1, 2); z (1, 2)\n" in text
    result = imported(conversion).load()()
    torch.testing.assert_close(result.y.detach(), torch.tensor([[1.0, -2.0]]))
    result.z.sum().backward()
    runner = PyTorchRunner(conversion)
    assert runner.interface() == ([], [":0", ":2"])
    got = every_blob(runner, {})
    np.testing.assert_array_equal(got["z"], [[1, 0]])
    got["y"][:] = 9  # what a caller does to a result is not done to the net
    np.testing.assert_array_equal(every_blob(runner, {})["y"], [[1, -2]])


def test_every_op_takes_parameters_wherever_it_takes_values(tmp_path):
    """Arithmetic of parameters only, in a net without inputs."""
    a, b = learned("a", [[4.0, -2.0]]), learned("b", [[2.0, 2.0]])
    wants = {
        o.Add(): [6, 0], o.Mul(): [8, -4], o.Sub(): [2, -4], o.Div(): [2, -1],
        o.Maximum(): [4, 2], o.Equal(): [0, 0], o.GreaterEqual(): [1, 0], o.Concat(0): None,
    }  # fmt: skip
    for op, want in wants.items():
        got, _ = run_op(op, tmp_path / type(op).__name__, a, b)
        np.testing.assert_array_equal(got, [[4, -2], [2, 2]] if want is None else [want])


def test_blobs_named_like_functions_of_the_file(tmp_path):
    text = data(2, 5, 3, 3, name="last_argmax") + layer("TanH", "", "last_argmax", "top_indices")
    text += layer("Convolution", CONV, "top_indices", "average_pool", name="max_pool_mask")
    emitted = source(assert_like_reference(text, tmp_path, flat=True))
    assert "top_indices_ = torch.tanh(last_argmax_)" in emitted
    assert "average_pool_ = self.max_pool_mask(top_indices_)" in emitted
    assert "def max_pool_mask" not in emitted
