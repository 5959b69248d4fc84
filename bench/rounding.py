"""How accurate single operators are: the measurements behind verify/rounding_table.py.

`python -m bench.rounding` prints, by function, range of arguments and framework, the greatest error
in ulps of the exact result, where it is, and the greatest absolute error in units of 2^-24.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from importlib import import_module
from typing import Any

import numpy as np

Function = Callable[..., np.ndarray]
COUNT = 400_000
POWERS = (-5.3, -1.0, -0.75, -0.5, 0.5, 0.75, 1.7, 2.0, 3.0)


def onnxruntime(operator: str) -> Function:
    onnx, runtime = import_module("onnx"), import_module("onnxruntime")
    helper, kind = onnx.helper, onnx.TensorProto.FLOAT

    def run(*arrays: np.ndarray) -> np.ndarray:
        names = [f"x{index}" for index in range(len(arrays))]
        values = [
            helper.make_tensor_value_info(name, kind, array.shape)
            for name, array in zip(names, arrays, strict=True)
        ]
        node = helper.make_node(operator, names, ["y"])
        top = helper.make_tensor_value_info("y", kind, None)
        graph = helper.make_graph([node], "one", values, [top])
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
        session = runtime.InferenceSession(
            model.SerializeToString(), providers=["CPUExecutionProvider"]
        )
        result: np.ndarray = session.run(None, dict(zip(names, arrays, strict=True)))[0]
        return result

    return run


def torch(function: Callable[..., Any]) -> Function:
    tensor = import_module("torch").from_numpy
    return lambda *arrays: function(*map(tensor, arrays)).numpy()


def mxnet(function: Callable[..., Any]) -> Function:
    array = import_module("mxnet").nd.array
    return lambda *arrays: function(*(array(x, dtype="float32") for x in arrays)).asnumpy()


def functions() -> dict[str, tuple[Function, dict[str, Function]]]:
    """By name: the exact function, and each framework's."""
    t, mx = import_module("torch"), import_module("mxnet")
    activation = t.nn.functional
    made: dict[str, tuple[Function, tuple[str, Callable[..., Any], Callable[..., Any]]]] = {
        "exp": (np.exp, ("Exp", t.exp, mx.nd.exp)),
        "log": (np.log, ("Log", t.log, mx.nd.log)),
        "sqrt": (np.sqrt, ("Sqrt", t.sqrt, mx.nd.sqrt)),
        "tanh": (np.tanh, ("Tanh", t.tanh, lambda x: mx.nd.Activation(x, act_type="tanh"))),
        "sigmoid": (lambda x: 1 / (1 + np.exp(-x)), ("Sigmoid", t.sigmoid, mx.nd.sigmoid)),
        "softplus": (
            lambda x: np.logaddexp(0, x),
            ("Softplus", activation.softplus, lambda x: mx.nd.Activation(x, act_type="softrelu")),
        ),
        "expm1": (
            np.expm1,
            ("Elu", activation.elu, lambda x: mx.nd.LeakyReLU(x, act_type="elu", slope=1.0)),
        ),
        "divide": (np.divide, ("Div", t.div, lambda x, y: x / y)),
    }
    return {
        name: (exact, {"onnxruntime": onnxruntime(a), "torch": torch(b), "mxnet": mxnet(c)})
        for name, (exact, (a, b, c)) in made.items()
    }


def ranges(name: str, draw: np.random.Generator) -> dict[str, list[np.ndarray]]:
    """Arguments for a function, by a description."""
    normal = draw.standard_normal(COUNT)
    wide = 10 ** draw.uniform(-37, 37, COUNT)
    if name == "exp":
        return {"-87..88": [draw.uniform(-87, 88, COUNT)], "N(0, 0.001)": [normal * 1e-3]}
    if name in ("log", "sqrt"):
        return {"1e-37..1e37": [wide], "0.5..2": [draw.uniform(0.5, 2, COUNT)]}
    if name == "divide":
        return {"1e-10..1e10": [np.copysign(10 ** draw.uniform(-10, 10, COUNT), normal),
                                10 ** draw.uniform(-10, 10, COUNT)]}  # fmt: skip
    sign = -1.0 if name == "expm1" else np.sign(normal)
    size = 10 ** draw.uniform(-6, 1.9, COUNT)
    return {"N(0, 3)": [sign * np.abs(3 * normal)], "1e-6..80": [sign * size]}


def show(what: str, got: np.ndarray, exact: np.ndarray, argument: np.ndarray) -> None:
    magnitude = np.maximum(np.abs(exact), 2.0**-126)
    error = np.where(np.abs(exact) < 2.0**-126, 0.0, np.abs(got - exact))
    ulps = error / 2.0 ** (np.floor(np.log2(magnitude)) - 23)
    worst = int(ulps.argmax())
    print(f"{what:40} {ulps[worst]:10.3g} ulp at {argument[worst]:10.4g}, "
          f"absolutely {error.max() * 2.0**24:9.3g} u")  # fmt: skip


def main() -> None:
    """Measure and print."""
    warnings.filterwarnings("ignore")
    draw = np.random.default_rng(0)
    for name, (exact, frameworks) in functions().items():
        for span, arguments in ranges(name, draw).items():
            given = [array.astype(np.float32) for array in arguments]
            value = exact(*(array.astype(np.float64) for array in given))
            for framework, function in frameworks.items():
                what = f"{name} {span} {framework}"
                show(what, function(*given).astype(np.float64), value, given[0])
    base = (10 ** draw.uniform(-3, 3, COUNT)).astype(np.float32)
    for power in map(np.float32, POWERS):
        value = base.astype(np.float64) ** float(power)
        made = {
            "onnxruntime": onnxruntime("Pow")(base, np.full((), power)),
            "torch": torch(lambda x, p=power: x ** float(p))(base),
            "mxnet": mxnet(lambda x, p=power: x ** float(p))(base),
        }
        for framework, got in made.items():
            show(f"power {power:g} {framework}", got.astype(np.float64), value, base)


if __name__ == "__main__":
    main()
