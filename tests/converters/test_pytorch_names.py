"""The emitted PyTorch under names that would break or inject, and names that need splitting."""

import ast

from converters.caffe import lower
from tests.converters.pytorch_conversion import (
    CONV,
    assert_like_reference,
    data,
    imported,
    layer,
    names,
    parse,
    ruff,
    source,
)
from tests.frameworks import require

torch = require("torch")

HOSTILE = [
    '"); import os #',
    '"""); import os',
    "new\\nline",
    "tab\\tand \\\\ backslash",
    "class",
    "input",
    "self",
    "torch",
    "forward",
    "load",
    "3x3",
    "卷积",
    "__init__",
    "x" * 80,
    "{0}",
    "'; raise SystemExit(1); '",
    "train",
    "conv-1",
    "conv_1",
    "conv 1",
    "F",
    "nn",
]


def quoted(name):
    return name.replace('"', '\\"')


def hostile_net():
    text = f'name: "{quoted(HOSTILE[0])}"\n' + data(2, 3, 5, 7, name=quoted(HOSTILE[1]))
    bottom = quoted(HOSTILE[1])
    for name in map(quoted, [*HOSTILE[2:], HOSTILE[0]]):
        kinds = f'type: "Convolution" bottom: "{bottom}" top: "{name}" {CONV}'
        text += f'layer {{ name: "{name}" {kinds} }}\n'
        text += f'layer {{ name: "{name}" type: "ReLU" bottom: "{name}" top: "{name}" }}\n'
        bottom = name
    return text


def test_hostile_names_neither_break_nor_inject(tmp_path):
    conversion = assert_like_reference(hostile_net(), tmp_path)
    text = source(conversion)
    tree = ast.parse(text)
    kinds = [type(node).__name__ for node in tree.body]
    imports = ["ImportFrom", "Import", "Import", "ImportFrom", "ImportFrom"]
    assert kinds == ["Expr", *imports, "ClassDef", "FunctionDef"]
    assert not {"os", "SystemExit", "exec", "eval"} & names(text)
    assert imported(conversion).load()(torch.zeros(2, 3, 5, 7)).shape == (2, 4, 5, 7)
    for width in (88, 100):
        done = ruff("format", "--check", "--isolated", f"--line-length={width}", str(tmp_path))
        assert done.returncode == 0, done.stdout


def test_hostile_provenance_stays_a_docstring(tmp_path):
    from converters.emitter import Provenance
    from converters.pytorch import PyTorchEmitter

    bad = 'x"""\nimport os\n' + "y" * 200 + "\\"
    emitter = PyTorchEmitter(
        lower(*parse(data(1, 2) + layer("TanH"))), "net", Provenance(bad, bad, bad)
    )
    for artifact in emitter.emit():
        artifact.write(tmp_path / artifact.name)
    text = (tmp_path / "net.py").read_text(encoding="ascii")
    assert "os" not in names(text)
    assert max(map(len, text.splitlines())) <= 88


def test_long_names_are_split_as_formatters_split(tmp_path):
    a, b, c = (f"{letter}_very_long_name_of_a_blob_in_a_net_of_somebody" for letter in "abc")
    text = "".join(data(2, 3, 4, 5, name=name) for name in (a, b, c))
    text += layer("Eltwise", bottom=f"{a} {b} {c}", top="sum")
    text += layer("Eltwise", "eltwise_param { operation: PROD }", f"{a} {b} {c}", "product")
    text += layer("Eltwise", "eltwise_param { operation: MAX }", f"{a} {b} {c}", "greatest")
    text += layer("Concat", bottom=f"{a} {b} {c}", top="joined_to_something_long_as_well")
    text += layer("Power", "power_param { scale: -2.5 shift: 3 power: 2 }", a, a)
    text += layer("Power", "power_param { scale: -1 shift: -3 power: 1 }", b, b)
    text += layer("Pooling", "pooling_param { kernel_size: 1 stride: 3 }", c, f"{c}_too")
    assert_like_reference(text, tmp_path)
    for width in (88, 100):
        done = ruff("format", "--check", "--isolated", f"--line-length={width}", str(tmp_path))
        assert done.returncode == 0, done.stdout
