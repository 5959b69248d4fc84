"""The layer table: inputs in the place of data layers, and marks on what does not convert."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from decaffeinate.inspection import Inspection, inspect_net
from prototxt.errors import NetError, UnsupportedError
from tests.command_line import invoke

DATA = """layer { name: "d" type: "Data" top: "data" top: "label"
  data_param { batch_size: 4 } transform_param { SIZE } }
"""
IP = """layer { name: "ip" type: "InnerProduct" bottom: "data" top: "ip"
  inner_product_param { num_output: 5 } }
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "net.prototxt"


def write(path: Path, text: str, size: str = "crop_size: 7") -> Path:
    path.write_text(text.replace("SIZE", size))
    return path


def types(table: Inspection) -> list[tuple[str, str, str]]:
    return [(row.type, row.status, row.reads) for row in table.layers]


def test_data_layers_are_inputs_with_their_shapes(path: Path) -> None:
    table = inspect_net(write(path, DATA + IP))
    assert types(table) == [("Input", "", "Data"), ("InnerProduct", "", "")]
    assert table.layers[0].shapes == ((4, 3, 7, 7), (4,))
    assert (table.inputs, table.complete) == (("data", "label"), True)
    assert table.parameters == 5 * 3 * 7 * 7 + 5
    assert "Input (Data)" in invoke("inspect", path).stdout


def test_a_shape_that_cannot_be_known_leaves_a_table_and_a_hint(path: Path) -> None:
    write(path, DATA + IP, "")
    table = inspect_net(path)
    assert table.layers[0].shapes == (None, None)
    assert not table.complete
    assert table.warnings[-1] == (
        f'{path}:1:1: layer "d": Data does not tell the shape of "data": crop_size is not given; '
        "give --input-shape data=4,C,H,W, with C the number of channels, H the height, W the width"
    )
    given = inspect_net(path, input_shapes={"data": (1, 2, 3, 3)})
    assert given.layers[0].shapes == ((1, 2, 3, 3), (1,))
    assert given.complete


def test_shapes_of_data_that_do_not_fit_are_left_out(path: Path) -> None:
    """The net's own batch is more than a blob can hold, or 3 channels are assumed where 2 are."""
    conv = """layer { name: "c" type: "Convolution" bottom: "data" top: "c"
      convolution_param { num_output: 4 kernel_size: 1 group: 2 } }"""
    write(path, DATA + conv)
    table = inspect_net(path)
    assert table.layers[0].shapes == (None, None)
    assert 'layer "c": ' in table.warnings[-1]
    assert table.warnings[-1].endswith("others can be given with --input-shape data=...")
    assert inspect_net(path, input_shapes={"data": (1, 2, 7, 7)}).complete
    with pytest.raises(NetError):
        inspect_net(path, input_shapes={"data": (1, 3, 7, 7)})


def test_what_does_not_convert_is_marked(path: Path) -> None:
    other = "".join(
        f'layer {{ name: "{kind}" type: "{kind}" bottom: "data" top: "{kind}" }}\n'
        for kind in ("Python", "NoSuchLayer")
    )
    table = inspect_net(write(path, DATA + other))
    assert types(table)[1:] == [("Python", "not converted", ""), ("NoSuchLayer", "unknown", "")]
    result = invoke("inspect", path)
    assert result.exit_code == 0
    assert "Python (not converted)" in result.stdout
    assert "NoSuchLayer (unknown)" in result.stdout


def test_data_layers_can_be_refused(path: Path) -> None:
    write(path, DATA + IP)
    with pytest.raises(UnsupportedError, match="the net reads data by itself"):
        inspect_net(path, input_layers="error")
    assert invoke("inspect", path, "--input-layers", "error").exit_code == 2


def test_inspect_has_no_seed(path: Path) -> None:
    write(path, DATA)
    assert "--seed" not in invoke("inspect", "--help").stdout
    assert invoke("inspect", path, "--seed", 1).exit_code == 2
    assert json.loads(invoke("inspect", path, "--json").stdout)["layers"][0]["reads"] == "Data"
