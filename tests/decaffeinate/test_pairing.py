"""Which nets arguments name, which weights go with them, and where the files go."""

from __future__ import annotations

import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest

from decaffeinate.pairing import Found, choose_weights, gather, places
from prototxt.errors import FileError, UsageError, WeightsError
from prototxt.weights import LayerWeights, write_caffemodel
from tests.golden_cases import Case

CASE = Case("nets/squeezenet")
SOLVER = 'net: "net.prototxt"\nbase_lr: 0.01\nsolver_mode: CPU\n'
LABELS = 'item { name: "cat" label: 1 }\n'
NO_PARAMETERS = """input: "x" input_shape { dim: 1 dim: 2 }
layer { name: "r" type: "ReLU" bottom: "x" top: "y" }
"""


def small(outputs: int = 2) -> str:
    return (
        'name: "small"\ninput: "x" input_shape { dim: 1 dim: 3 }\n'
        f'layer {{ name: "ip" type: "InnerProduct" bottom: "x" top: "y" '
        f"inner_product_param {{ num_output: {outputs} }} }}\n"
    )


def small_weights(path: Path, outputs: int = 2) -> Path:
    arrays = (np.ones((outputs, 3), np.float32), np.zeros(outputs, np.float32))
    write_caffemodel(path, "small", [LayerWeights("ip", "InnerProduct", arrays)])
    return path


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(path: str, text: str) -> Path:
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(text, encoding="utf-8")
    return target


def pairs(*arguments: str) -> list[tuple[str, str | None]]:
    nets = gather([Path(argument) for argument in arguments]).nets
    return [(str(net.net), str(net.weights) if net.weights else None) for net in nets]


def only(folder: str = ".") -> Found:
    (found,) = gather([Path(folder)]).nets
    return found


# --- arguments ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "expected", "several"),
    [
        ("a", [("a", None)], False),
        ("a w", [("a", "w")], False),
        ("a missing", [("a", "missing")], False),
        ("missing w", [("missing", "w")], False),
        ("a empty", [("a", "empty")], False),
        ("a b", [("a", None), ("b", None)], True),
        ("a w b", [("a", "w"), ("b", None)], True),
        ("a b w", [("a", None), ("b", "w")], True),
        ("a w b w", [("a", "w"), ("b", "w")], True),
        ("a missing.prototxt w", [("a", None), ("missing.prototxt", "w")], True),
        ("a wide", [("a", None), ("wide", None)], True),
    ],
)
def test_nets_and_weights_are_told_apart_by_content(
    arguments: str, expected: list[tuple[str, str | None]], several: bool, folder: Path
) -> None:
    for name in "ab":
        write(name, small())
    write("empty", "")
    Path("wide").write_text(small(), encoding="utf-16")
    small_weights(Path("w"))
    names = arguments.split()
    assert pairs(*names) == expected
    assert gather([Path(name) for name in names]).several == several


@pytest.mark.parametrize("arguments", ["w a", "a w w", "a w w b", "models w"])
def test_weights_in_the_place_of_a_net_are_refused(arguments: str, folder: Path) -> None:
    for name in ("a", "b", "models/c.prototxt"):
        write(name, small())
    small_weights(Path("w"))
    with pytest.raises(FileError, match="this is a binary file, not a network definition"):
        pairs(*arguments.split())


def test_weights_alone_are_nets(folder: Path) -> None:
    for name in ("v.caffemodel", "w"):
        small_weights(Path(name))
    assert pairs("w") == [("w", None)]
    assert pairs("v.caffemodel", "w") == [("v.caffemodel", None), ("w", None)]
    assert not gather([Path("w")]).several
    assert places([Path("a/v.caffemodel")]) == [(Path(), "v")]


def test_a_folder_of_weights_alone_says_to_name_them(folder: Path) -> None:
    Path("models").mkdir()
    small_weights(Path("models/w.caffemodel"))
    with pytest.raises(UsageError) as caught:
        pairs("models")
    assert caught.value.hint == "name a .caffemodel itself for the net that Caffe stored in it"


def test_a_net_counts_once_and_as_it_is_named(folder: Path) -> None:
    for name in ("models/a.prototxt", "models/sub/b.prototxt"):
        write(name, small())
    small_weights(Path("w"))
    assert pairs("models", "models/sub", "./models/sub/b.prototxt", "w") == [
        ("models/a.prototxt", None),
        ("models/sub/b.prototxt", "w"),
    ]
    assert pairs("models/sub/b.prototxt", "models") == [
        ("models/sub/b.prototxt", None),
        ("models/a.prototxt", None),
    ]
    with pytest.raises(UsageError, match="this net is given twice"):
        pairs("models/a.prototxt", "w", "models/../models/a.prototxt")


# --- folders --------------------------------------------------------------------------------------


def test_a_folder_is_searched_for_definitions(folder: Path) -> None:
    for name, text in {
        "b.prototxt": small(),
        "a.txt": "# V1\n" + small().replace("layer {", "layers {"),
        "sub/deeper/net.prototxt": small(),
        "sub/licence.prototxt": "# all rights\n" * 1000 + small(),
        "broken.prototxt": small() + "}",
        "page.prototxt": "<!DOCTYPE html>\n<html>",
        "empty.prototxt": "",
        "solver.prototxt": SOLVER,
        "inline.prototxt": 'base_lr: 1 net_param { layer { name: "x" } }',
        "labels.prototxt": LABELS,
        "# commented.prototxt": "# layer { }\nbase_lr: 1\n",
        "README.md": "# Net\n\nIt has one `layer { ... }`.\n",
        "code.py": '"""layer { }"""\n',
        "config.yaml": "key: value\n",
        ".git/net.prototxt": small(),
        ".hidden.prototxt": small(),
    }.items():
        write(name, text)
    gathered = gather([Path()])
    assert gathered.several
    assert [str(net.net) for net in gathered.nets] == [
        "a.txt", "b.prototxt", "broken.prototxt", "empty.prototxt", "page.prototxt",
        "sub/licence.prototxt", "sub/deeper/net.prototxt",
    ]  # fmt: skip
    assert [str(path) for path in gathered.passed_over] == [
        "# commented.prototxt", "config.yaml", "inline.prototxt", "labels.prototxt",
        "solver.prototxt",
    ]  # fmt: skip


def test_a_folder_without_nets_is_a_mistake(folder: Path) -> None:
    write("models/solver.prototxt", SOLVER)
    with pytest.raises(UsageError, match="no network definition is in this folder or below it"):
        pairs("models")


# --- weights --------------------------------------------------------------------------------------


def test_weights_of_the_same_stem_come_first(folder: Path) -> None:
    write("net.v1.prototxt", small())
    for name in ("net.caffemodel", "net.v1.caffemodel", "other.caffemodel"):
        small_weights(Path(name))
    assert choose_weights(only(), {}) == Path("net.v1.caffemodel")


def test_the_same_stem_is_taken_though_it_does_not_fit(folder: Path) -> None:
    """So that the misfit is told, and not papered over with another file's weights."""
    write("net.prototxt", small())
    small_weights(Path("net.caffemodel"), outputs=5)
    small_weights(Path("other.caffemodel"))
    assert choose_weights(only(), {}) == Path("net.caffemodel")


def test_the_only_weights_that_fit_are_taken(folder: Path) -> None:
    write("net.prototxt", small())
    small_weights(Path("a.caffemodel"), outputs=5)
    small_weights(Path("b.weights"))
    Path("state.solverstate").write_bytes(b"\x08\x90\x4e\x12\x05a.b.c")
    np.save("c.npy", np.zeros(3))
    Path("d.bin").write_bytes(bytes(range(256)))
    assert choose_weights(only(), {}) == Path("b.weights")


def test_hdf5_weights_fit_too(folder: Path) -> None:
    write("net.prototxt", small())
    with h5py.File("net_iter_5.caffemodel.h5", "w") as file:
        group = file.create_group("data/ip")
        group["0"], group["1"] = np.ones((2, 3), np.float32), np.zeros(2, np.float32)
    with h5py.File("train.h5", "w") as file:
        file["data"] = np.zeros((4, 3), np.float32)
    assert choose_weights(only(), {}) == Path("net_iter_5.caffemodel.h5")


@pytest.mark.parametrize(
    ("files", "options"),
    [
        ({"net.prototxt": small()}, {}),
        ({"net.prototxt": small(), "notes.bin": "\0\1\2"}, {}),
        ({"net.prototxt": NO_PARAMETERS, "other.caffemodel": None}, {}),
    ],
)
def test_nothing_to_choose_from(
    files: dict[str, str | None], options: dict[str, str], folder: Path
) -> None:
    for name, text in files.items():
        if text is None:
            small_weights(Path(name))
        else:
            write(name, text)
    assert choose_weights(only(), options) is None


def test_several_that_fit(folder: Path) -> None:
    write("models/net.prototxt", small())
    small_weights(Path("models/one.caffemodel"))
    small_weights(Path("models/two.caffemodel"))
    with pytest.raises(WeightsError) as caught:
        choose_weights(only("models"), {})
    assert str(caught.value) == (
        "models/net.prototxt: 2 weights files beside this net fit it\n"
        "  - one.caffemodel\n"
        "  - two.caffemodel\n"
        "  expected: one of the net's own stem, or only one that has its layers, by name and "
        "shape\n"
        "  to do: name the pair, alone or beside the folder: models/net.prototxt WEIGHTS; "
        "or the net alone, for drawn parameters"
    )


def test_none_that_fits(folder: Path) -> None:
    write("net.prototxt", small())
    small_weights(Path("five.caffemodel"), outputs=5)
    whole = small_weights(Path("whole.caffemodel")).read_bytes()
    Path("whole.caffemodel").unlink()
    Path("cut.caffemodel").write_bytes(whole[:-9])
    write("pointer.caffemodel", "version https://git-lfs.github.com/spec/v1\noid sha256:1\n")
    write("empty.caffemodel", "")
    with pytest.raises(WeightsError) as caught:
        choose_weights(only(), {})
    lines = str(caught.value).splitlines()
    assert lines[0] == "net.prototxt: no weights file beside this net fits it"
    assert lines[1].startswith("  - cut.caffemodel: damaged at byte ")
    misfit = 'layer "ip": weight is (5, 3) in the weights, (2, 3) in the net'
    assert lines[2:5] == [
        "  - empty.caffemodel: the file is empty",
        f"  - five.caffemodel: {misfit}; bias is (5,) in the weights, (2,) in the net",
        "  - pointer.caffemodel: this is a git-LFS pointer, not Caffe weights",
    ]


def test_weights_are_held_to_the_net_of_the_phase(folder: Path) -> None:
    train = small(5).replace('name: "ip"', 'name: "ip" include { phase: TRAIN }')
    layer = small(2).splitlines()[2].replace('name: "ip"', 'name: "ip" include { phase: TEST }')
    write("net.prototxt", train + layer)
    small_weights(Path("two.caffemodel"), outputs=2)
    small_weights(Path("five.caffemodel"), outputs=5)
    assert choose_weights(only(), {"phase": "TEST"}) == Path("two.caffemodel")
    assert choose_weights(only(), {"phase": "TRAIN"}) == Path("five.caffemodel")


def test_one_file_serves_the_deploy_and_the_training_net(folder: Path) -> None:
    assert CASE.weights_path is not None
    shutil.copy(CASE.net_path, "deploy.prototxt")
    shutil.copy(CASE.net_path, "train_val.prototxt")
    shutil.copy(CASE.weights_path, "snapshot_iter_9.caffemodel")
    chosen = {str(choose_weights(found, {})) for found in gather([Path()]).nets}
    assert chosen == {"snapshot_iter_9.caffemodel"}


# --- where files go -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("nets", "expected"),
    [
        ("a.prototxt sub/b.prototxt", "a b"),
        ("x/a.prototxt y/a.prototxt y/b.prototxt", "x/a y/a y/b"),
        ("m/x/a.prototxt m/a.prototxt", "x/a a"),
        ("x/a.prototxt y/A.prototxt", "x/a y/A"),
        ("x/a.b.prototxt y/a-b.prototxt", "x/a_b y/a_b"),
        ("x/a.prototxt y/a_gluon.prototxt", "x/a y/a_gluon"),
        ("a.b.prototxt a-b.prototxt c.prototxt", "a.b.prototxt/a_b a-b.prototxt/a_b c"),
        ("x/a.prototxt x/a y/a", "x/a.prototxt/a x/a/a y/a"),
    ],
)
def test_no_two_nets_write_one_name(nets: str, expected: str) -> None:
    placed = places([Path(net) for net in nets.split()])
    assert [str(folder / stem) for folder, stem in placed] == expected.split()


def test_names_that_cannot_be_kept_apart() -> None:
    with pytest.raises(UsageError, match="would have the same names"):
        places([Path("x/a.prototxt"), Path("x/A.prototxt")])
