"""What a plugin does wrong: one message each, with the plugin's line, and nothing written."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from decaffeinate import api
from prototxt.errors import DecaffeinateError, FileError, NetError, PluginError
from tests.plugin_docs import PLUGIN
from verify import reference

pytestmark = pytest.mark.usefixtures("plugin_folder")

NET = "channel_gate.prototxt"
LAST = "        return step.add(ops.Mul(), x, gate)\n"
HEAD = '@layer("ChannelGate", bottoms=(1, 1), tops=(1, 1))'


def written(text: str | bytes, name: str = "mine.py") -> str:
    Path(name).write_bytes(text if isinstance(text, bytes) else text.encode())
    return name


def changed(old: str, new: str) -> str:
    assert old in PLUGIN
    return written(PLUGIN.replace(old, new))


def line_of(text: str, path: str = "mine.py") -> str:
    """The place of a line of the plugin, as messages give it."""
    lines = Path(path).read_text(encoding="utf-8").splitlines()
    return f"{Path(path).resolve()}:{1 + next(i for i, line in enumerate(lines) if text in line)}"


def refused(*plugins: str) -> DecaffeinateError:
    """The error of a conversion, which writes nothing."""
    with pytest.raises(DecaffeinateError) as caught:
        api.convert(NET, to="pytorch", output="out", plugins=plugins)
    assert not Path("out").exists()
    return caught.value


# --- files ----------------------------------------------------------------------------------------

FILES: dict[str, tuple[str | bytes, type[DecaffeinateError], str, str]] = {
    "empty": ("", FileError, "mine.py", "the file is empty"),
    "syntax": ("import os\nx = (\n", PluginError, "mine.py:2", "this is not Python: "),
    "a net": ("layer {\n}\n", PluginError, "mine.py:1", "this is not Python: invalid syntax"),
    "binary": (b"\0\1\2", PluginError, "mine.py", "this is not Python: source code string cannot "),
    "encoding": (b"x = '\xff'\n", PluginError, "mine.py", "this is not Python: "),
    "exception": ("\nraise ValueError('a\\nb')\n", PluginError, "mine.py",
                  "the plugin fails with ValueError: a b"),
    "exit": ("import sys\nsys.exit(3)\n", PluginError, "mine.py",
             "the plugin fails with SystemExit: 3"),
    "nothing": ("x = 1\n", PluginError, "mine.py", "the plugin registers no layer type"),
}  # fmt: skip


@pytest.mark.parametrize("case", FILES)
def test_files(case: str) -> None:
    text, kind, where, what = FILES[case]
    error = refused(written(text))
    assert type(error) is kind
    assert str(error.where).startswith(where)
    assert error.what.startswith(what)
    assert error.expected


def test_missing_files_and_folders() -> None:
    Path("folder.py").mkdir()
    assert refused("absent.py").what == "no such file"
    assert refused("folder.py").what == "this is a folder"


def test_an_exception_is_shown_with_its_line() -> None:
    error = refused(written("def f():\n    return [][1]\nf()\n"))
    assert error.details == (f"{line_of('return')}: return [][1]",)


def test_a_missing_package_is_named() -> None:
    assert refused(written("import no_such_package\n")).hint == (
        'install "no_such_package" where decaffeinate is installed'
    )


def test_the_command_line_says_it_without_a_traceback() -> None:
    words = ["convert", NET, "--plugin", written("1 / 0\n"), "-o", "out"]
    done = subprocess.run([sys.executable, "-m", "decaffeinate", *words], text=True,
                          capture_output=True, check=False)  # fmt: skip
    assert done.returncode == 2
    assert done.stderr == (
        "error: mine.py: the plugin fails with ZeroDivisionError: division by zero\n"
        f"  - {Path('mine.py').resolve()}:1: 1 / 0\n"
        "  expected: a file that runs, and registers layer types\n"
    )


# --- registrations --------------------------------------------------------------------------------

REGISTRATIONS = {
    "no brackets": (HEAD, "@layer", "@layer needs the name of a layer type"),
    "bottoms": ("bottoms=(1, 1)", "bottoms=1", "bottoms=1 cannot be used"),
    "tops": ("tops=(1, 1)", "tops=(2, 1)", "tops=(2, 1) cannot be used"),
    "no lowering": ("def lower", "def lowre", "ChannelGate has no method lower"),
    "no base": ("(CustomLayer):", ":", "is not on a CustomLayer"),
    "Python of no module": ('"ChannelGate"', '"Python"', "does not say which Python layer"),
    "an input": ('"ChannelGate"', '"Input"', "Input cannot be a plugin's"),
    "own": ('"ChannelGate"', '"ReLU"', "ReLU is a layer type that decaffeinate has itself"),
    "twice": (HEAD, f"{HEAD}\n{HEAD}", "ChannelGate is registered twice"),
}


@pytest.mark.parametrize("case", REGISTRATIONS)
def test_registrations(case: str) -> None:
    old, new, what = REGISTRATIONS[case]
    error = refused(changed(old, new))
    assert isinstance(error, PluginError)
    assert what in error.what
    assert "mine.py" in str(error.where)
    assert error.expected


def test_two_files_for_one_type() -> None:
    error = refused(written(PLUGIN, "one.py"), written(PLUGIN, "two.py"))
    assert error.what == "two plugins bring the layer type ChannelGate"
    assert error.details == tuple(str(Path(name).resolve()) for name in ("one.py", "two.py"))


# --- methods --------------------------------------------------------------------------------------

FOREIGN = "from ir import Value; v = Value('v', x.shape)"
SHAPES = "LayerShapes(tops=(x,), params=(weight,), macs=2 * int(np.prod(x)))"
METHODS = {
    "lower raises": (LAST, "        return 1 / 0\n",
                     "ChannelGate.lower fails with ZeroDivisionError: division by zero"),
    "lower gives nothing": (LAST, "", "ChannelGate.lower gives NoneType None"),
    "lower gives an array": (LAST, "        return np.ones(3)\n",
                             "ChannelGate.lower gives an array of shape (3)"),
    "lower gives two": (LAST, "        return [x, x]\n",
                        "ChannelGate.lower gives [a value of shape (1, 5, 7, 5), a value"),
    "lower gives another shape": (LAST, "        return step.add(ops.Flatten(), x)\n",
                                  "ChannelGate.lower gives [a value of shape (1, 175)]"),
    "lower gives a foreign value": (
        LAST, f"        {FOREIGN}\n        return v\n",
        "ChannelGate.lower gives a value of shape (1, 5, 7, 5)"),
    "lower reads a foreign value": (
        LAST, f"        {FOREIGN}\n        return step.add(ops.Abs(), v)\n",
        "ChannelGate.lower gives a value of shape (1, 5, 7, 5)"),
    "an op of a text": (LAST, '        return step.affine(x, scale="2")\n',
                        "ChannelGate.lower fails with TypeError: Affine: scale is '2', not float"),
    "setup raises": ('param.number("shift", default=0.5)', 'int("half")',
                     "ChannelGate.setup fails with ValueError: invalid literal"),
    "setup is bypassed": ("def setup(self)", "def __init__(self, layer)",
                          "ChannelGate.setup fails with AttributeError"),
    "shapes raises": ("x[1],)", "x[9],)", "ChannelGate.shapes fails with IndexError"),
    "shapes gives a tuple": (SHAPES, "x", "ChannelGate.shapes gives [int 1, int 5, int 7, int 5]"),
    "shapes gives no top": (SHAPES, "LayerShapes(())", "ChannelGate.shapes gives LayerShapes"),
    "shapes of no size": (SHAPES, "LayerShapes(((0,),))", "ChannelGate.shapes gives LayerShapes"),
    "shapes of floats": (SHAPES, "LayerShapes((1.5,))", "ChannelGate.shapes gives LayerShapes"),
    "a parameter of no filler": ("self.filler)", "None)", "ChannelGate.shapes gives LayerShapes"),
}  # fmt: skip


@pytest.mark.parametrize("case", METHODS)
def test_methods(case: str) -> None:
    old, new, what = METHODS[case]
    error = refused(changed(old, new))
    assert isinstance(error, PluginError)
    assert error.what.startswith(what)
    assert error.layer == "soft"
    assert str(error.where) == f"{NET}:10:1"
    (detail,) = error.details
    assert detail.startswith(f"plugin {Path('mine.py').resolve()}:")
    assert error.expected or error.hint


def test_a_methods_line_is_shown() -> None:
    error = refused(changed(LAST, "        return self.nothing\n"))
    assert error.details == (f"plugin {line_of('self.nothing')}: return self.nothing",)


def test_what_an_op_cannot_take_is_shown_with_the_line() -> None:
    line = 'return step.add(ops.Mul(), x, step.constant("k", [1, 2, 3]))'
    error = refused(changed(LAST, f"        {line}\n"))
    assert isinstance(error, NetError)
    assert error.what == "Mul cannot take inputs of shapes (1, 5, 7, 5), (3,)"
    assert (error.layer, str(error.where)) == ("soft", f"{NET}:10:1")
    assert error.details == (f"plugin {line_of('[1, 2, 3]')}: {line}",)


def test_numbers_of_bottoms_and_tops_are_checked() -> None:
    error = refused(changed("bottoms=(1, 1)", "bottoms=(2, None)"))
    assert error.what == "ChannelGate has 1 bottom"
    assert error.expected == "at least 2 bottoms"


def test_a_plugin_refuses_a_layer_by_name() -> None:
    line = '        raise self.error("a gate of 5", expected="fewer", hint="remove it")\n'
    error = refused(changed("        x = bottoms[0]\n", line))
    assert str(error) == (
        f'{NET}:10:1: layer "soft": a gate of 5\n  expected: fewer\n  to do: remove it'
    )
    error = refused(changed(LAST, '        raise step.unsupported("too wide")\n'))
    assert error.what == "2 layers cannot be converted"
    assert [detail.endswith("too wide") for detail in error.details] == [True, True]


def test_wrong_values_in_the_net_are_the_nets_mistake() -> None:
    text = Path(NET).read_text(encoding="utf-8").replace("shift: 0.25", "shift: much")
    Path(NET).write_text(text, encoding="utf-8")
    assert str(refused("channel_gate.py")) == (
        f'{NET}:16:35: layer "hard": "channel_gate_param.shift" cannot be much\n'
        "  expected: a decimal number"
    )


REFERENCES = {
    "raises": ("        return y\n", "        return y / None\n",
               "ChannelGate.reference fails with TypeError"),
    "gives nothing": ("        return y\n", "", "ChannelGate.reference gives NoneType None"),
    "gives another shape": ("return y", "return y[0]",
                            "ChannelGate.reference gives [an array of shape (5, 7, 5)]"),
    "gives two": ("return y", "return y, y", "ChannelGate.reference gives [an array"),
    "gives text": ("return y", "return [y.astype(str)]", "ChannelGate.reference gives [an array"),
    "writes into its bottom": ("y[:, c] = x", "x[:, c] = x",
                               "ChannelGate.reference fails with ValueError: assignment"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFERENCES)
def test_references(case: str) -> None:
    old, new, what = REFERENCES[case]
    loaded = api.load(NET, plugins=[changed(old, new)])
    with pytest.raises(PluginError) as caught:
        reference.run(loaded.net, loaded.parameters, {"data": np.ones((1, 3, 9, 7))})
    assert caught.value.what.startswith(what)
    assert caught.value.layer == "soft"
    assert "mine.py:" in caught.value.details[0]
