"""Golden Gluon files: what is emitted is them, byte for byte, and they compute the nets with the
parameters of the symbol's file."""

import importlib.util

import numpy as np
import pytest

from tests.converters.pytorch_conversion import assert_formatted, ruff
from tests.emitted.cases import NETS
from tests.emitted.gluon_cases import FOLDER, emitted, golden
from tests.frameworks import require
from tests.golden_cases import assert_matches
from tests.nets.drawn import drawn
from verify.reference import run as reference

LINES = {"squeezenet_v1_1": 115, "googlenet": 180, "resnet50": 190, "densenet121": 170}
"""The most that a file may have; each parameter of a class takes one, as `stored()` names it."""
CLASSES = {
    "squeezenet_v1_1": ["Fire"],
    "googlenet": ["Inception"],
    "resnet50": ["ConvBN", "Bottleneck"],
    "densenet121": ["Transition", "DenseLayer"],
}
SIZE = 64


@pytest.fixture(params=NETS)
def name(request):
    return request.param


def test_it_is_emitted_again_byte_for_byte(name, tmp_path):
    emitted(name)[-1].write(tmp_path / "again.py")
    assert (tmp_path / "again.py").read_bytes() == golden(name).read_bytes()


def test_its_lines_and_classes(name):
    lines = golden(name).read_text(encoding="ascii").splitlines()
    assert len(lines) <= LINES[name]
    assert max(map(len, lines)) <= 100
    found = [line.split()[1].split("(")[0] for line in lines if line.startswith("class ")]
    assert found[:-1] == CLASSES[name]


def test_formatters_and_linters_have_nothing_to_say():
    assert_formatted(FOLDER)
    done = ruff("check", "--isolated", "--select=E,F,W,I,B,UP,SIM", "--ignore=E501", str(FOLDER))
    assert done.returncode == 0, done.stdout


def test_flat_has_one_class(name, tmp_path):
    emitted(name, flat=True)[-1].write(tmp_path / "flat.py")
    text = (tmp_path / "flat.py").read_text(encoding="ascii")
    assert text.count("(nn.HybridBlock):") == 1
    assert len(text.splitlines()) > len(golden(name).read_text(encoding="ascii").splitlines())


def module(path):
    spec = importlib.util.spec_from_file_location("golden", path)
    found = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(found)
    return found


def bound(mx, symbol, stored, image):
    """A symbol run with what a file holds, as MXNet's own loaders split it."""
    arguments = {key[4:]: a for key, a in stored.items() if key.startswith("arg:")}
    states = {key[4:]: a for key, a in stored.items() if key.startswith("aux:")}
    arguments["data"] = image
    arguments = {key: arguments[key] for key in symbol.list_arguments()}
    states = {key: states[key] for key in symbol.list_auxiliary_states()}
    executor = symbol.bind(mx.cpu(), args=arguments, aux_states=states, grad_req="null")
    return executor.forward(is_train=False)[0].asnumpy()


def test_it_computes_what_the_reference_does(name, tmp_path):
    # At a small size: the text differs in comments alone, the weights not at all.
    mx = require("mxnet")
    for artifact in emitted(name, SIZE):
        artifact.write(tmp_path / artifact.name)
    net, shapes, parameters = drawn(NETS[name](SIZE))
    image = np.random.default_rng(0).normal(size=shapes.blobs[net.inputs[0]]).astype(np.float32)
    want = reference(net, parameters.arrays, {"data": image})
    prob = {blob.name: value for blob, value in want.items()}["prob"]
    assert 0 < float(prob.max()) < 0.9
    params = tmp_path / f"{name}-0000.params"
    data = mx.nd.array(image)

    # The symbol and the source share the file.
    stored = mx.nd.load(str(params))
    symbol = mx.sym.load(str(tmp_path / f"{name}-symbol.json"))
    assert_matches(bound(mx, symbol, stored, data), prob, 1e-4, "symbol")
    block = module(golden(name)).load(params)
    learned = {key for key in stored if not key.startswith(("arg:ones_", "arg:zeros_"))}
    assert set(block.stored()) == learned
    for key, parameter in block.stored().items():
        assert parameter.data().asnumpy().tobytes() == stored[key].asnumpy().tobytes()
    assert_matches(block(data).asnumpy(), prob, 1e-4, "plain")
    block.hybridize()
    assert_matches(block(data).asnumpy(), prob, 1e-4, "hybridized")

    # There and back: exported, imported, and bound with MXNet's fusions.
    block.export(str(tmp_path / "exported"))
    files = [str(tmp_path / f"exported-{end}") for end in ("symbol.json", "0000.params")]
    again = mx.gluon.SymbolBlock.imports(files[0], ["data"], files[1])
    assert_matches(again(data).asnumpy(), prob, 1e-4, "imported")
    got = bound(mx, mx.sym.load(files[0]), mx.nd.load(files[1]), data)
    assert_matches(got, prob, 1e-4, "exported and bound")


def test_gradients_reach_every_parameter(name, tmp_path):
    mx = require("mxnet")
    emitted(name, SIZE)[1].write(tmp_path / "net.params")
    block = module(golden(name)).load(tmp_path / "net.params")
    block.hybridize()
    image = np.random.default_rng(0).normal(size=(1, 3, SIZE, SIZE))
    data = mx.nd.array(image)
    with mx.autograd.record():
        loss = mx.nd.log(block(data).reshape((1, -1))[:, 0]).sum()
    loss.backward()
    trained = {key: p for key, p in block.stored().items() if key.startswith("arg:")}
    assert all(p.grad_req == "write" for p in trained.values())
    silent = [key for key, p in trained.items() if not p.grad().asnumpy().any()]
    assert not silent
