"""How much of the real world is read: net definitions as found in public repositories.

They are not the project's to ship; `nets.tar.xz` and `index.tsv` lie in ../shared/wild, or in the
folder `wild` of where DECAFFEINATE_SHARED says.
"""

from __future__ import annotations

import csv
import json
import os
import tarfile
from collections import Counter
from contextlib import suppress
from pathlib import Path

import pytest

from decaffeinate.inspection import Inspection, inspect_net
from prototxt import load_net
from prototxt.errors import DecaffeinateError, PrototxtError
from tests.command_line import invoke
from tests.real_models import MODELS, SHARED, existing

WILD = Path(os.environ.get("DECAFFEINATE_SHARED", SHARED)) / "wild"

Outcomes = dict[str, DecaffeinateError | None]

PHASES = ("TEST", "TRAIN")
REFUSED_BY_CAFFE = {"anna_cifar100__network__cifar100_full_train_test.prototxt": "HDF5"}
"""Text that Caffe refuses too: a `backend` that is none of its enum."""
REFUSED_FOR_A_FIELD = {"int8__ssd_vgg16_int8.prototxt": "concat_param.per_fla_fuse"}
"""Shapes that come out wrong without a field that only a fork reads."""


@pytest.fixture(scope="module")
def nets(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("wild")
    with tarfile.open(existing(WILD / "nets.tar.xz")) as archive:
        members = [m for m in archive.getmembers() if m.isfile() and "/" in m.name[2:]]
        for member in members:
            member.name = member.name.removeprefix("./").replace("/", "__")
            archive.extract(member, folder, filter="data")
    found = sorted(folder.iterdir())
    rows = existing(WILD / "index.tsv").read_text(encoding="utf-8").splitlines()[1:]
    assert len(found) == len(rows)
    return found


@pytest.fixture(scope="module")
def tables(nets: list[Path]) -> dict[str, dict[str, Inspection | DecaffeinateError]]:
    """What became of each net in each phase; anything but our own errors fails the tests."""
    results: dict[str, dict[str, Inspection | DecaffeinateError]] = {phase: {} for phase in PHASES}
    for phase in PHASES:
        for path in nets:
            try:
                results[phase][path.name] = inspect_net(path, phase)
            except DecaffeinateError as error:
                results[phase][path.name] = error
    return results


@pytest.fixture(scope="module")
def inspected(
    tables: dict[str, dict[str, Inspection | DecaffeinateError]],
) -> dict[str, Outcomes]:
    return {
        phase: {
            name: found if isinstance(found, DecaffeinateError) else None
            for name, found in results.items()
        }
        for phase, results in tables.items()
    }


@pytest.fixture(scope="module")
def loads(nets: list[Path], inspected: dict[str, Outcomes]) -> dict[str, Outcomes]:
    """The same for loading alone: what is inspected has been loaded."""
    results = {phase: dict(outcomes) for phase, outcomes in inspected.items()}
    for phase in PHASES:
        for path in nets:
            if results[phase][path.name] is not None:
                with suppress(DecaffeinateError):
                    load_net(path, phase)
                    results[phase][path.name] = None
    return results


def test_the_text_of_every_net_is_read_unless_caffe_refuses_it(loads: dict[str, Outcomes]) -> None:
    refused = {n: str(e) for n, e in loads["TEST"].items() if isinstance(e, PrototxtError)}
    assert len(refused) == len(REFUSED_BY_CAFFE)
    for ending, reason in REFUSED_BY_CAFFE.items():
        assert any(name.endswith(ending) and reason in text for name, text in refused.items())


def test_every_net_loads_in_one_phase_at_least(
    nets: list[Path], loads: dict[str, Outcomes]
) -> None:
    for phase, results in loads.items():
        reasons = Counter(type(error).__name__ for error in results.values())
        print(f"{phase}: {reasons['NoneType']} of {len(results)} load; refused: {reasons}")
    loaded = [p.name for p in nets if any(loads[ph][p.name] is None for ph in PHASES)]
    # The last of the 415 is the one whose text Caffe refuses; some need a stage beside a phase.
    print(f"in one phase at least: {len(loaded)} of {len(nets)}")
    assert len(nets) == 415
    assert len(loaded) >= 414
    assert sum(error is None for error in loads["TEST"].values()) >= 380
    assert sum(error is None for error in loads["TRAIN"].values()) >= 399


@pytest.mark.parametrize("phase", PHASES)
def test_every_net_that_loads_is_inspected(
    loads: dict[str, Outcomes], inspected: dict[str, Outcomes], phase: str
) -> None:
    """Unknown layer types and all."""
    failed = {name: str(e) for name, e in inspected[phase].items() if e and not loads[phase][name]}
    for ending, reason in REFUSED_FOR_A_FIELD.items():
        (name,) = (name for name in failed if name.endswith(ending))
        assert reason in failed.pop(name)
    assert failed == {}


@pytest.mark.parametrize(("phase", "least"), [("TEST", 63), ("TRAIN", 66)])
def test_most_data_layers_become_inputs_of_known_shape(
    tables: dict[str, dict[str, Inspection | DecaffeinateError]], phase: str, least: int
) -> None:
    """The others read images or arrays of a size that only their files tell."""
    found = [table for table in tables[phase].values() if isinstance(table, Inspection)]
    reading = [table for table in found if any(row.reads for row in table.layers)]
    unsized = [t for t in reading if any(r.reads and None in r.shapes for r in t.layers)]
    print(f"{phase}: {len(reading)} nets read data; {len(unsized)} do not tell its shape")
    assert len(reading) - len(unsized) >= least
    for table in unsized:
        assert any("--input-shape" in note for note in table.warnings)


def test_nets_without_inputs_name_the_rules_that_left_them_out(loads: dict[str, Outcomes]) -> None:
    """Definitions of a TRAIN net, mostly: the message says which layer would make the blob."""
    without = {n: e for n, e in loads["TEST"].items() if e and "net has no inputs" in e.what}
    assert len(without) == 33
    unexplained = [name for name, error in without.items() if not error.details]
    assert unexplained == []


# --- the survey -----------------------------------------------------------------------------------

DEPLOY_NETS = 212
LEAST_DEPLOY = 202
"""Deploy nets that pass at least: 95%."""


def test_deploy_nets_pass_the_survey_and_every_other_says_why(
    nets: list[Path], tmp_path: Path
) -> None:
    result = invoke("survey", nets[0].parent, "--json", tmp_path / "survey.json")
    assert result.exit_code == 0, result.output
    found = json.loads((tmp_path / "survey.json").read_text())
    assert len(found["each"]) == len(nets)
    with (WILD / "index.tsv").open(encoding="utf-8", newline="") as file:
        kinds = {
            f"{row['repo']}/{row['path']}".replace("/", "__"): row["kind"]
            for row in csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
        }
    deploy = [net for net in found["each"] if kinds[Path(net["net"]).name] == "deploy"]
    passed = sum(net["passed"] for net in deploy)
    print(f"{passed} of {len(deploy)} deploy nets pass, {found['passed']} of all")
    assert len(deploy) == DEPLOY_NETS
    assert passed >= LEAST_DEPLOY
    # A layer type, or a field or blob by name, and where it stands.
    for net in deploy:
        for reason in net["reasons"]:
            assert reason["subject"] or '"' in reason["message"]
            assert reason["message"].startswith(net["net"])


# --- the models that the tests convert ------------------------------------------------------------


def model_definitions() -> list[str]:
    return sorted(str(p.relative_to(MODELS)) for p in MODELS.rglob("*.prototxt"))


@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize("name", model_definitions() or [pytest.param("", marks=[])])
def test_published_definitions_are_inspected(name: str, phase: str) -> None:
    path = existing(MODELS / name if name else MODELS)
    if "solver" in path.name:
        with pytest.raises(DecaffeinateError) as caught:
            inspect_net(path, phase)
        assert caught.value.what == "this is a solver definition, not a net"
        return
    table = inspect_net(path, phase)
    assert table.layers
    assert table.inputs
    lacking = [row.name for row in table.layers if row.reads and None in row.shapes]
    hints = [note for note in table.warnings if "give --input-shape" in note]
    assert len(hints) >= len(lacking)
