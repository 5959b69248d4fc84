"""Keyword arguments of the public functions: shown one by one, refused where they are not known or
have no effect."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

import decaffeinate
from decaffeinate import keywords
from decaffeinate.pytest_plugin import assert_equivalent
from prototxt.errors import UsageError
from tests.frameworks import require
from tests.golden_cases import Case

CASE = Case("relu/leaky")
FUNCTIONS = [name for name in decaffeinate.__all__
             if inspect.isfunction(getattr(decaffeinate, name))]  # fmt: skip
TAKE_NETS = ("convert", "verify", "verify_artifact")
READING = {
    "phase": "TEST", "stages": ["a"], "level": 0, "input_shapes": {"data": (1, 2)}, "seed": 0,
    "input_layers": "input", "plugins": (), "detections": "rows", "crop_offsets": "caffe",
    "strict": False,
}  # fmt: skip
"""Of each argument a value, mostly the default one: a loaded net may be another's."""


@pytest.fixture
def net() -> decaffeinate.Loaded:
    return decaffeinate.load(CASE.net_path)


def call(name: str, net: Any, folder: Path, **options: Any) -> Any:
    """A public function with what it cannot do without."""
    needs: dict[str, Any] = {
        "convert": {"output": folder / "out", "to": "pytorch"},
        "verify": {"backends": ["pytorch"]},
        "verify_artifact": {"artifact": folder / "absent.onnx"},
    }.get(name, {})
    return getattr(decaffeinate, name)(net, **{**needs, **options})


def test_there_is_something_to_check() -> None:
    assert {*TAKE_NETS, "load", "to_caffe", "from_caffe"} == {*FUNCTIONS}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_help_shows_every_argument(name: str) -> None:
    kinds = {
        each.kind for each in inspect.signature(getattr(decaffeinate, name)).parameters.values()
    }
    assert inspect.Parameter.VAR_KEYWORD not in kinds
    assert inspect.Parameter.VAR_POSITIONAL not in kinds


def described(*functions: Callable[..., Any]) -> dict[str, str]:
    """The annotations of keyword arguments, as they are written."""
    found = {}
    for function in functions:
        for name, each in inspect.signature(function).parameters.items():
            if each.kind is each.KEYWORD_ONLY:
                found[name] = str(each.annotation)
    return found


def written(kind: type) -> dict[str, str]:
    """The same of a list of options; their annotations are kept as references."""
    return {name: each.__forward_arg__ for name, each in kind.__annotations__.items()}


def test_the_lists_are_what_the_functions_take() -> None:
    load, convert, verify = (
        described(getattr(decaffeinate, name)) for name in ("load", "convert", "verify")
    )
    reading, writing = written(keywords.ReadOptions), written(keywords.WriteOptions)
    assert reading == load
    own = {"to", "output", "name", "labels", "verifiable", "progress"}
    assert writing == {name: convert[name] for name in convert.keys() - own - load.keys()}
    assert written(keywords.ConvertOptions) == {**reading, **writing}
    checks = written(keywords.CheckOptions)
    assert checks == {name: verify[name] for name in checks}
    # `verify` converts with all that changes what files compute.
    assert verify.keys() - checks.keys() == {
        *reading, *writing, "backends", "manifest", "feeds", "progress",
    }  # fmt: skip
    assert written(keywords.AssertOptions) == {
        name: kind for name, kind in verify.items() if name not in ("backends", "manifest", "mean")
    }
    assert READING.keys() == reading.keys()


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("loaded", [False, True])
def test_an_unknown_argument_is_a_type_error(
    name: str, loaded: bool, net: decaffeinate.Loaded, tmp_path: Path
) -> None:
    given = net if loaded else CASE.net_path
    with pytest.raises(TypeError, match=rf"^{name}\(\) got an unexpected keyword argument 'tu'$"):
        call(name, given, tmp_path, tu=["onnx"])
    assert not list(tmp_path.iterdir())


def test_verify_has_backends_and_no_targets(net: decaffeinate.Loaded) -> None:
    untyped: Any = decaffeinate.verify
    with pytest.raises(TypeError, match="unexpected keyword argument 'to'"):
        untyped(net, to=["onnx"], backends=["onnx"])


@pytest.mark.parametrize("name", TAKE_NETS)
@pytest.mark.parametrize("option", READING)
def test_what_says_how_a_net_is_read_is_refused_for_a_loaded_one(
    name: str, option: str, net: decaffeinate.Loaded, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=f"^{option} is given with a net that is loaded already"):
        call(name, net, tmp_path, **{option: READING[option]})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", TAKE_NETS)
def test_so_are_weights(name: str, net: decaffeinate.Loaded, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="weights, seed are given with a net that is loaded"):
        call(name, net, tmp_path, weights="other.caffemodel", seed=1)
    assert not list(tmp_path.iterdir())


WITHOUT_EFFECT: dict[str, tuple[Mapping[str, Any], str]] = {
    "opset": ({"opset": 17}, "--opset is given, and ONNX is no target"),
    "dtype": ({"dtype": "float16"}, "--dtype is given, and ONNX is no target"),
    "preprocess": ({"preprocess": True}, "--preprocess is given, and ONNX is no target"),
    "mean": ({"mean": "0"}, "--mean is given without --preprocess"),
    "a scale of 0": ({"scale": 0.0}, "--scale is given without --preprocess"),
}


@pytest.mark.parametrize("name", ["convert", "verify"])
@pytest.mark.parametrize("title", WITHOUT_EFFECT)
def test_what_has_no_effect_is_refused(
    name: str, title: str, net: decaffeinate.Loaded, tmp_path: Path
) -> None:
    options, message = WITHOUT_EFFECT[title]
    with pytest.raises(UsageError, match=re.escape(message)):
        call(name, net, tmp_path, **options)
    assert not list(tmp_path.iterdir())


def test_so_is_what_has_none_on_onnx(net: decaffeinate.Loaded, tmp_path: Path) -> None:
    for name, target in (("convert", {"to": "onnx"}), ("verify", {"backends": "onnx"})):
        with pytest.raises(UsageError, match="--flat is given, and neither PyTorch nor MXNet"):
            call(name, net, tmp_path, flat=True, **target)
    with pytest.raises(UsageError, match="--labels is given, and ONNX is no target"):
        call("convert", net, tmp_path, labels="names.txt")
    with pytest.raises(UsageError, match="--optimize is given, and nothing is converted"):
        call("verify", net, tmp_path, backends="caffe", optimize=True)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"optimize": True}, "--optimize is"),
        ({"dynamic": ["batch"], "opset": 17}, "--dynamic, --opset are"),
        ({"preprocess": True, "mean": "0"}, "--preprocess, --mean are"),
        ({"flat": True, "dtype": "float16", "scale": 0.0}, "--flat, --dtype, --scale are"),
    ],
    ids=str,
)
def test_files_that_exist_are_as_they_are(
    options: dict[str, Any], named: str, net: decaffeinate.Loaded, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=f"^{named} given with --converted"):
        call("verify", net, tmp_path, manifest=tmp_path / "absent.json", **options)
    with pytest.raises(TypeError, match="unexpected keyword argument"):
        call("verify_artifact", net, tmp_path, **options)


@pytest.mark.parametrize("name", ["onnxruntime", "pytroch"])
def test_an_unknown_backend_or_target(name: str, net: decaffeinate.Loaded, tmp_path: Path) -> None:
    for more in ({}, {"manifest": tmp_path / "absent.json"}):
        with pytest.raises(UsageError, match=f'unknown backend "{name}"') as caught:
            call("verify", net, tmp_path, backends=[name], **more)
        assert caught.value.expected == "one of onnx, pytorch, mxnet, opencv, caffe"
    with pytest.raises(UsageError, match=f'unknown target "{name}"'):
        call("convert", net, tmp_path, to=["pytorch", name])
    assert not list(tmp_path.iterdir())


def test_one_backend_may_be_given_by_its_name(net: decaffeinate.Loaded) -> None:
    require("onnxruntime")
    report = decaffeinate.verify(net, backends="onnx", optimize=False, dtype="float32")
    assert [result.backend for result in report.results] == ["onnx"]
    assert report.passed


def test_assert_equivalent_takes_them_too() -> None:
    require("onnxruntime")
    case = Case("nets/resnet_narrow")
    report = assert_equivalent(case.net_path, case.weights_path, backends="onnx", optimize=True,
                               phase="TEST")  # fmt: skip
    assert any("are computed as one layer each" in note for note in report.notes)
    untyped: Any = assert_equivalent
    with pytest.raises(TypeError, match="unexpected keyword argument 'tu'"):
        untyped(case.net_path, tu=1)
    with pytest.raises(UsageError, match="--flat is given, and neither"):
        assert_equivalent(case.net_path, backends="onnx", flat=True)
    with pytest.raises(UsageError, match="an image is given beside feeds"):
        assert_equivalent(case.net_path, backends="onnx", image="x.png", feeds={"a": {}})


@pytest.mark.parametrize("opset", ["13", 13.5])
def test_an_opset_is_a_whole_number(
    opset: object, net: decaffeinate.Loaded, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match="is no whole number"):
        call("convert", net, tmp_path, opset=opset)
    assert not list(tmp_path.iterdir())
