"""State dicts for torchvision: names, shapes, values, and what the two need to agree."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from prototxt import parse_net
from prototxt.errors import UsageError, WeightsError
from prototxt.parameters import bind_parameters
from prototxt.shapes import infer_shapes
from prototxt.weights import read_weights
from squeezenet_ref import (
    architecture,
    generate,
    torchvision_shapes,
    torchvision_state_dict,
    weights,
    write,
)
from tests.frameworks import require
from tests.squeezenet_ref.net_facts import DATA, MODELS
from verify.reference import run

Array = npt.NDArray[Any]
VERSIONS = ("1.0", "1.1")


def recorded_shapes(version: str) -> dict[str, tuple[int, ...]]:
    """Names and shapes of torchvision's models, in order, as of torchvision 0.14 to 0.20."""
    rows = [line.split("\t") for line in (DATA / "torchvision.tsv").read_text().splitlines()]
    return {key: tuple(map(int, shape.split("x"))) for v, key, shape in rows if v == version}


@pytest.mark.parametrize("version", VERSIONS)
def test_names_and_shapes_in_order(version: str) -> None:
    recorded = recorded_shapes(version)
    assert len(recorded) == 52
    assert list(torchvision_shapes(version).items()) == list(recorded.items())
    state = torchvision_state_dict(weights(version), version)
    assert [(key, array.shape) for key, array in state.items()] == list(recorded.items())
    assert {array.dtype for array in state.values()} == {np.dtype(np.float32)}


def test_values_by_name() -> None:
    drawn = weights("1.1")
    state = torchvision_state_dict(drawn, "1.1")
    for key, caffe in {
        "features.0.weight": "conv1/0",
        "features.3.squeeze.bias": "fire2/squeeze1x1/1",
        "features.6.expand1x1.weight": "fire4/expand1x1/0",
        "features.9.expand3x3.weight": "fire6/expand3x3/0",
        "features.12.expand3x3.bias": "fire9/expand3x3/1",
        "classifier.1.weight": "conv10/0",
    }.items():
        assert np.array_equal(state[key], drawn[caffe]), key
    state["features.0.bias"][:] = 0  # a copy, not a view
    assert drawn["conv1/1"].any()


def test_weights_in_any_form(tmp_path: Any) -> None:
    drawn = weights("1.0")
    by_layer = {
        key[:-2]: (drawn[key], drawn[key[:-1] + "1"]) for key in drawn if key.endswith("/0")
    }
    file = read_weights(write("1.0", tmp_path, input_size=32).caffemodel)
    legacy = {
        key: array.reshape((1,) * (4 - array.ndim) + array.shape) for key, array in drawn.items()
    }
    renamed = {
        key.replace("squeeze1x1", "conv1x1_1")
        .replace("expand1x1", "conv1x1_2")
        .replace("expand3x3", "conv3x3_2")
        .replace("conv10", "conv_final"): array
        for key, array in drawn.items()
    }
    expected = torchvision_state_dict(drawn, "1.0")
    for form in (by_layer, file, legacy, renamed):
        state = torchvision_state_dict(form, "1.0")
        assert list(state) == list(expected)
        assert all(np.array_equal(state[key], expected[key]) for key in expected)


def test_simple_bypass_has_the_same_parameters_as_v1_0() -> None:
    assert len(torchvision_state_dict(weights("simple-bypass"), "1.0")) == 52


def test_other_numbers_of_classes() -> None:
    state = torchvision_state_dict(weights("1.1", classes=7), "1.1")
    assert state["classifier.1.weight"].shape == (7, 512, 1, 1)
    assert torchvision_shapes("1.1", 7)["classifier.1.bias"] == (7,)


def test_published_weights() -> None:
    folder = MODELS / "squeezenet_v1.0_deep_compression"
    if not folder.is_dir():
        pytest.skip("published models are not shipped; set DECAFFEINATE_MODELS")
    net = parse_net((folder / "SqueezeNet_deploy.prototxt").read_text())
    stored = read_weights(folder / "compressed_SqueezeNet.net", net, infer_shapes(net))
    state = torchvision_state_dict(stored, "1.0")
    assert sum(array.size for array in state.values()) == 1_248_424
    nonzero = sum(np.count_nonzero(a) for key, a in state.items() if key.endswith("weight"))
    assert nonzero == 415_921  # counted by the project's owner


def fire(torch: Any, state: dict[str, Any], name: str, x: Any) -> Any:
    """torchvision's Fire: squeeze, then two expansions concatenated."""

    def layer(part: str, x: Any, padding: int = 0) -> Any:
        weight, bias = state[f"{name}.{part}.weight"], state[f"{name}.{part}.bias"]
        return torch.relu(torch.conv2d(x, weight, bias, padding=padding))

    x = layer("squeeze", x)
    return torch.cat([layer("expand1x1", x), layer("expand3x3", x, 1)], 1)


def scores(
    torch: Any, state: dict[str, Array], version: str, images: Array, last_padding: int
) -> Array:
    """What torchvision's model computes: places of the Fire modules by version, pools between."""
    tensors = {key: torch.from_numpy(array).double() for key, array in state.items()}
    fires = {"1.0": (3, 4, 5, 7, 8, 9, 10, 12), "1.1": (3, 4, 6, 7, 9, 10, 11, 12)}[version]
    x = torch.from_numpy(images)
    x = torch.relu(torch.conv2d(x, tensors["features.0.weight"], tensors["features.0.bias"], 2))
    for place in range(2, 13):
        if place in fires:
            x = fire(torch, tensors, f"features.{place}", x)
        else:
            x = torch.max_pool2d(x, 3, 2, ceil_mode=True)
    weight, bias = tensors["classifier.1.weight"], tensors["classifier.1.bias"]
    x = torch.relu(torch.conv2d(x, weight, bias, padding=last_padding))
    result: Array = x.mean((2, 3)).numpy()
    return result


def caffe_scores(version: str, images: Array) -> Array:
    net = parse_net(
        generate(version, input_size=images.shape[2:], batch=len(images), fillers="reference")
    )
    parameters = bind_parameters(net, infer_shapes(net), seed=0)
    pooled = run(net, parameters, {"data": images})[net.finals["pool10"]]
    return pooled.reshape(len(images), -1)


@pytest.mark.parametrize("version", VERSIONS)
def test_torchvisions_net_computes_caffes_scores(version: str) -> None:
    torch = require("torch")
    images = np.random.default_rng(1).uniform(-120, 130, (2, 3, 63, 72))
    expected = caffe_scores(version, images)
    state = torchvision_state_dict(weights(version), version)
    padding = architecture(version).final_pad
    np.testing.assert_allclose(
        scores(torch, state, version, images, padding), expected, rtol=1e-9, atol=1e-9
    )
    # Caffe's v1.0 pads the last convolution, torchvision does not: without it, other scores.
    unpadded = scores(torch, state, version, images, 0)
    assert np.allclose(unpadded, expected, rtol=1e-3) == (version == "1.1")


@pytest.mark.parametrize("version", VERSIONS)
def test_folded_preprocessing(version: str) -> None:
    """conv1 on torchvision's normalised RGB gives what Caffe's conv1 gives on its own input."""
    pixels = np.random.default_rng(2).integers(0, 256, (40, 3, 7, 7)).astype(np.float64)  # RGB
    caffe = pixels[:, ::-1] - np.array([104.0, 117.0, 123.0])[:, None, None]
    mean, std = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    torchvision = (pixels / 255 - mean[:, None, None]) / std[:, None, None]
    drawn = weights(version)
    plain = torchvision_state_dict(drawn, version)
    folded = torchvision_state_dict(drawn, version, preprocessing="torchvision")

    def conv1(state: dict[str, Array], patches: Array) -> Array:
        kernel = state["features.0.weight"].astype(np.float64)
        patches = patches[:, :, : kernel.shape[2], : kernel.shape[3]]
        result: Array = np.einsum("oikl,nikl->no", kernel, patches) + state["features.0.bias"]
        return result

    expected = conv1(plain, caffe)
    # The new weights are rounded to float32 once more: 2^-24 of sums of some thousands.
    np.testing.assert_allclose(conv1(folded, torchvision), expected, atol=2e-4)
    assert np.abs(expected).max() > 50
    same = [key for key in plain if np.array_equal(plain[key], folded[key])]
    assert len(same) == 50


def test_refusals() -> None:
    drawn = weights("1.1")
    with pytest.raises(UsageError) as usage:
        torchvision_state_dict(drawn, "1.2")
    assert str(usage.value) == 'torchvision has no SqueezeNet "1.2"\n  expected: 1.0 or 1.1'
    with pytest.raises(UsageError, match='unknown preprocessing "imagenet"'):
        torchvision_state_dict(drawn, "1.1", preprocessing="imagenet")
    del drawn["fire5/expand3x3/1"]
    with pytest.raises(WeightsError) as caught:
        torchvision_state_dict(drawn, "1.0")
    assert str(caught.value) == (
        "these are not the weights of a SqueezeNet v1.0\n"
        '  - layer "conv1": blob 0 is (64, 3, 3, 3), features.0.weight is (96, 3, 7, 7)\n'
        '  - layer "conv1": blob 1 is (64,), features.0.bias is (96,)\n'
        '  - layer "fire2/squeeze1x1": blob 0 is (16, 64, 1, 1), features.3.squeeze.weight is '
        "(16, 96, 1, 1)\n"
        '  - layer "fire5/expand3x3": blob 1 is missing\n'
        "  to do: check the version; a complex bypass has no counterpart in torchvision"
    )
    with pytest.raises(WeightsError, match='layer "fire4/proj": torchvision has none'):
        torchvision_state_dict(weights("complex-bypass"), "1.0")
