"""No fact of the tables is missing from the schema, and the generated module is the schema's."""

from __future__ import annotations

import csv
import importlib.metadata
import importlib.util
import re
import struct
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from google.protobuf import descriptor_pb2

from prototxt import caffe_pb2 as pb
from prototxt import generate

TABLES = Path(__file__).parent.parent / "schema"
PACKAGE = "decaffeinate.caffe"
# SSD reuses two numbers of BVLC; every other number is the table's.  The numbers of the settings of
# further forks' layers, which reuse each other's, are our own, from OWN on.
MOVED = {("SolverParameter", "eval_type"): 10041, ("SolverParameter", "ap_version"): 10042}
OWN = 10000


class Fact(NamedTuple):
    """One field, as the table, the module and the text of the schema say it."""

    number: int
    label: str
    type: str
    default: str | float
    packed: bool = False
    deprecated: bool = False


Fields = dict[str, dict[str, Fact]]
Enums = dict[str, dict[str, int]]


def comparable(type_: str, default: str) -> str | float:
    """A default as its type holds it: 0.3 is not the same text as its float32."""
    if type_ == "float" and default:
        return float(struct.unpack("<f", struct.pack("<f", float(default)))[0])
    return default


def table(name: str) -> list[dict[str, str]]:
    with open(TABLES / name, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))


def table_fields() -> Fields:
    found: Fields = defaultdict(dict)
    for row in table("fields.tsv"):
        message, name = row["message"], row["field"]
        found[message][name] = Fact(
            MOVED.get((message, name), int(row["number"])),
            row["label"],
            row["type"],
            comparable(row["type"], row["default"]),
            bool(row["packed"]),
            bool(row["deprecated"]),
        )
    return dict(found)


def table_enums() -> Enums:
    found: Enums = defaultdict(dict)
    for row in table("enums.tsv"):
        found[row["enum"]][row["value"]] = int(row["number"])
    return dict(found)


def module_file() -> Any:
    file = descriptor_pb2.FileDescriptorProto()
    pb.DESCRIPTOR.CopyToProto(file)
    return file


def module_fact(field: Any) -> Fact:
    names = descriptor_pb2.FieldDescriptorProto
    label = names.Label.Name(field.label).removeprefix("LABEL_").lower()
    type_ = names.Type.Name(field.type).removeprefix("TYPE_").lower()
    type_ = field.type_name.removeprefix(f".{PACKAGE}.") or type_
    default = comparable(type_, field.default_value)
    return Fact(field.number, label, type_, default, field.options.packed, field.options.deprecated)


def module_messages(parent: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    for message in parent.nested_type if prefix else parent.message_type:
        yield prefix + message.name, message
        yield from module_messages(message, f"{prefix}{message.name}.")


def module_fields(file: Any = None) -> Fields:
    return {
        name: {field.name: module_fact(field) for field in message.field}
        for name, message in module_messages(file or module_file())
    }


def module_enums(file: Any = None) -> Enums:
    file = file or module_file()
    enums = [(enum.name, enum) for enum in file.enum_type]
    for name, message in module_messages(file):
        enums += [(f"{name}.{enum.name}", enum) for enum in message.enum_type]
    return {name: {value.name: value.number for value in enum.value} for name, enum in enums}


FIELD = re.compile(r"(optional|repeated|required) ([\w.]+) (\w+) = (\d+)(?: \[(.*)\])?;")
VALUE = re.compile(r"(\w+) = (-?\d+);")
BLOCK = re.compile(r"(message|enum) (\w+) \{")
OTHER = re.compile(r'syntax = "proto2";|package decaffeinate\.caffe;')


def text_facts() -> tuple[Fields, Enums]:
    """A second, independent reading of caffe.proto; types are as written, not resolved."""
    fields: Fields = {}
    enums: Enums = {}
    scope: list[str] = []
    for line in generate.SCHEMA.read_text(encoding="utf-8").splitlines():
        code = line.split("//")[0].strip()
        path = ".".join(scope)
        if match := BLOCK.fullmatch(code):
            scope.append(match[2])
            (fields if match[1] == "message" else enums)[".".join(scope)] = {}
        elif code == "}":
            scope.pop()
        elif match := FIELD.fullmatch(code):
            options = dict(option.split(" = ") for option in (match[5] or "").split(", ") if option)
            default = comparable(match[2], options.pop("default", "").strip('"'))
            packed = options.pop("packed", "") == "true"
            deprecated = options.pop("deprecated", "") == "true"
            assert not options, line
            fields[path][match[3]] = Fact(
                int(match[4]), match[1], match[2], default, packed, deprecated
            )
        elif match := VALUE.fullmatch(code):
            enums[path][match[1]] = int(match[2])
        else:
            assert not code or OTHER.fullmatch(code), line
    assert not scope
    return fields, enums


def resolved(fields: Fields, enums: Enums) -> Fields:
    """With the types of nested enums under their full names."""
    return {
        message: {
            name: fact._replace(type=f"{message}.{fact.type}")
            if f"{message}.{fact.type}" in enums
            else fact
            for name, fact in facts.items()
        }
        for message, facts in fields.items()
    }


def test_the_tables_are_whole() -> None:
    assert len(table("fields.tsv")) == 605
    assert len(table("enums.tsv")) == 144
    assert sum(map(len, table_fields().values())) == 605
    assert sum(map(len, table_enums().values())) == 144


@pytest.mark.parametrize("message", sorted(table_fields()))
def test_fields(message: str) -> None:
    forks = {row["field"] for row in table("fork_fields.tsv") if row["message"] == message}
    found = {name: fact for name, fact in module_fields()[message].items() if name not in forks}
    assert found == table_fields()[message]


@pytest.mark.parametrize("enum", sorted(table_enums()))
def test_enums(enum: str) -> None:
    assert module_enums()[enum] == table_enums()[enum]


@pytest.mark.parametrize(
    "row", table("fork_fields.tsv"), ids=lambda row: f"{row['message']}.{row['field']}"
)
def test_fields_of_forks(row: dict[str, str]) -> None:
    """As some fork has them; forks differ in numbers and defaults."""
    fact = module_fields()[row["message"]][row["field"]]
    assert (fact.label, fact.type) == (row["label"], row["type"])
    assert fact.default in {comparable(row["type"], one) for one in row["defaults"].split("|")}
    if row["message"] in table_fields():
        assert fact.number > OWN  # where forks meet
    else:
        assert str(fact.number) in row["numbers"].split(",") or fact.number > OWN


@pytest.mark.parametrize(
    "row", table("fork_enums.tsv"), ids=lambda row: f"{row['enum']}.{row['value']}"
)
def test_enums_of_forks(row: dict[str, str]) -> None:
    assert str(module_enums()[row["enum"]][row["value"]]) in row["numbers"].split(",")


def test_nothing_but_the_tables() -> None:
    forks: dict[str, set[str]] = defaultdict(set)
    for row in [*table("fork_fields.tsv"), *table("fork_enums.tsv")]:
        forks[row.get("message") or row["enum"]].add(row.get("field") or row["value"])
    known = {name: set(facts) for name, facts in (table_fields() | table_enums()).items()}
    found = {name: set(facts) for name, facts in (module_fields() | module_enums()).items()}
    assert found == {
        name: known.get(name, set()) | forks.get(name, set()) for name in known.keys() | forks
    }


def test_enums_without_a_default_begin_with_the_least() -> None:
    # The first value is what an unset field reads as.
    file = module_file()
    messages = [message for _, message in module_messages(file)]
    for enum in [*file.enum_type, *(enum for message in messages for enum in message.enum_type)]:
        numbers = [value.number for value in enum.value]
        assert numbers == sorted(numbers), enum.name


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (pb.LayerParameter().lrn_param.k, 1.0),
        (pb.LayerParameter().phase, pb.TRAIN),
        (pb.NetState().phase, pb.TEST),
        (pb.PoolingParameter().round_mode, pb.PoolingParameter.CEIL),
        (pb.EltwiseParameter().operation, pb.EltwiseParameter.SUM),
        (pb.FillerParameter().type, "constant"),
        (pb.DetectionOutputParameter().keep_top_k, -1),
        (pb.ParamSpec().share_mode, pb.ParamSpec.STRICT),
    ],
)
def test_defaults_as_read(value: object, expected: object) -> None:
    assert value == expected


def test_the_module_says_what_the_text_says() -> None:
    fields, enums = text_facts()
    assert module_fields() == resolved(fields, enums)
    assert module_enums() == enums


@pytest.mark.parametrize("name", generate.OUTPUTS)
def test_the_module_is_of_this_text(name: str) -> None:
    first = (generate.PACKAGE / name).read_text(encoding="utf-8").splitlines()[0]
    assert first == generate.STAMP + generate.digest()


def test_the_stub_has_every_field() -> None:
    stub = (generate.PACKAGE / "caffe_pb2.pyi").read_text(encoding="utf-8")
    found = re.findall(r"class (\w+)\(_message\.Message\):\n    __slots__ = \((.*)\)", stub)
    slots = {name: re.findall(r'"(\w+)"', names) for name, names in found}
    assert slots == {message: list(facts) for message, facts in module_fields().items()}


@pytest.mark.skipif(
    importlib.util.find_spec("grpc_tools") is None, reason="regenerating needs grpcio-tools"
)
def test_regeneration_gives_the_same_module(tmp_path: Path) -> None:
    generate.compile_schema(f"--descriptor_set_out={tmp_path / 'set'}")
    files = descriptor_pb2.FileDescriptorSet.FromString((tmp_path / "set").read_bytes())
    (fresh,) = files.file
    assert (fresh.name, fresh.package) == (pb.DESCRIPTOR.name, pb.DESCRIPTOR.package)
    assert module_fields(fresh) == module_fields()
    assert module_enums(fresh) == module_enums()


def test_generate_refuses_another_protoc(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(importlib.metadata, "version", lambda _: "1.85.1")
    assert generate.main() == 2
    assert capsys.readouterr().err == (
        "error: generating the schema's module needs grpcio-tools==1.60.*, found 1.85.1; "
        "in a fresh environment: pip install 'grpcio-tools==1.60.*' 'setuptools<80'\n"
    )


def test_lives_beside_the_schema_of_caffe_itself() -> None:
    # pycaffe registers the file caffe.proto and messages such as caffe.NetParameter.
    script = """
from google.protobuf import descriptor_pb2, descriptor_pool
theirs = descriptor_pb2.FileDescriptorProto(name="caffe.proto", package="caffe")
for name in ("NetParameter", "LayerParameter", "BlobProto"):
    theirs.message_type.add(name=name)
descriptor_pool.Default().Add(theirs)
from prototxt import caffe_pb2 as pb
print(pb.DESCRIPTOR.name, pb.NetParameter.DESCRIPTOR.full_name)
"""
    run = subprocess.run(
        [sys.executable, "-c", script],
        cwd=generate.PACKAGE.parent,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.stderr == ""
    assert run.stdout == "prototxt/caffe.proto decaffeinate.caffe.NetParameter\n"
