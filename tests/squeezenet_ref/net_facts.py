"""A net definition as rows of text, for tables that people can compare."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from google.protobuf import text_format
from google.protobuf.message import Message

from prototxt import caffe_pb2 as pb
from prototxt.rules import included
from prototxt.upgrade import upgrade

ROOT = Path(__file__).parents[2]
MODELS = Path(os.environ.get("DECAFFEINATE_MODELS", ROOT.parent / "shared" / "models"))
DEFINITIONS = MODELS / "squeezenet_definitions"
DATA = Path(__file__).parent / "data"

# Table -> the published file that it was made from (SOURCES: DeepScale/SqueezeNet 51147dc,
# songhan/SqueezeNet-Residual f8dc320), phase TEST.
TABLES = {
    "v1.0.deploy": "v1.0.deploy.prototxt",
    "v1.1.deploy": "v1.1.deploy.prototxt",
    "v1.0.train_val": "v1.0.train_val.prototxt",
    "v1.1.train_val": "v1.1.train_val.prototxt",
    "residual.train_val": "residual.train_val.prototxt",
}


def published_text(file: str) -> str:
    path = DEFINITIONS / file
    if not path.exists():
        pytest.skip("published definitions are not shipped; set DECAFFEINATE_MODELS")
    return path.read_text()


def rows(definition: str) -> list[str]:
    """One row a layer of phase TEST: name, type, bottoms, tops, every other field that is set.

    Layers that read data stay what they are, unlike in a loaded net.
    """
    layers = upgrade(text_format.Parse(definition, pb.NetParameter())).message.layer
    state = pb.NetState(phase=pb.TEST)
    return [
        "\t".join(
            [
                layer.name,
                layer.type,
                " ".join(layer.bottom) or "-",
                " ".join(layer.top),
                " ".join(fields(layer, skip=("name", "type", "bottom", "top", "include"))) or "-",
            ]
        )
        for layer in layers
        if included(layer, state)
    ]


def fields(message: Message, prefix: str = "", skip: tuple[str, ...] = ()) -> list[str]:
    """Every field that is set, as path=value, in the order of the schema."""
    found = []
    for descriptor, value in message.ListFields():
        if descriptor.name in skip:
            continue
        path = prefix + descriptor.name
        for one in [value] if isinstance(value, str) or not hasattr(value, "__len__") else value:
            if isinstance(one, Message):
                inner = fields(one, path + ".")
                found += inner or [path + "={}"]
            elif descriptor.enum_type is not None:
                found.append(f"{path}={descriptor.enum_type.values_by_number[one].name}")
            else:
                found.append(f"{path}={one:g}" if isinstance(one, float) else f"{path}={one}")
    return found


def table(name: str) -> list[str]:
    return (DATA / f"{name}.tsv").read_text().splitlines()


def without_data(lines: list[str]) -> list[str]:
    return [line for line in lines if line.split("\t")[1] != "Data"]
