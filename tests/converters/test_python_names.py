"""Identifiers and texts made from anything."""

import ast
import builtins
import keyword
import random
import re
import unicodedata

import pytest

from converters.python_names import (
    LONGEST,
    RESERVED,
    Identifiers,
    class_name,
    identifier,
    safe_text,
    wrapped,
)

HOSTILE = [
    "",
    " ",
    '"); import os #',
    "'''",
    '"""',
    "a\nimport os",
    "a\r\nb",
    "\\",
    "\x00",
    "class",
    "None",
    "self",
    "__init__",
    "__class__",
    "3x3",
    "İ",
    "卷积",
    "ﬁ",
    "\u202eabc",
    "x" * 1000,
    "{x}",
    "%s",
    "#",
]


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("conv1", "conv1"),
        ("fire2/squeeze1x1", "fire2_squeeze1x1"),
        ("inception_3a/3x3_reduce", "inception_3a_3x3_reduce"),
        ("Convolution1", "convolution1"),
        ("3x3", "blob_3x3"),
        ("café", "cafe"),
        ("", "blob"),
        ("卷积1", "u5377_u79ef_1"),
        ("_private_", "private"),
    ],
)
def test_identifier_reads_like_the_name(text, name):
    assert identifier(text) == name


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("SqueezeNet", "SqueezeNet"),
        ("squeezenet_v1.1", "SqueezenetV11"),
        ("CaffeNet", "CaffeNet"),
        ("VGG_ILSVRC_16_layers", "VGGILSVRC16Layers"),
        ("3d", "Net3d"),
        ("None", "NoneNet"),
        ("", "Net"),
    ],
)
def test_class_name(text, name):
    assert class_name(text) == name


def test_class_name_avoids_what_is_reserved():
    assert class_name("path", reserved={"Path"}) == "PathNet"


def test_reserved_words_get_an_underscore_and_taken_names_a_number():
    names = Identifiers({"torch"})
    given = [names.new(text) for text in ("torch", "lambda", "input", "a", "A", "a_2", "a")]
    assert given == ["torch_", "lambda_", "input_", "a", "a_2", "a_2_2", "a_3"]


def test_exact_names_come_first():
    assert Identifiers().all(["conv1/1", "conv1_1", "conv1/1"]) == {
        "conv1/1": "conv1_1_2",
        "conv1_1": "conv1_1",
    }


def test_every_word_of_this_python_is_reserved():
    words = {*keyword.kwlist, *keyword.softkwlist, *dir(builtins)}
    # pytest and debuggers leave names of their own among the builtins.
    assert {word for word in words if word[0].isalpha()} - RESERVED <= {"display"}


def test_any_texts_make_valid_unique_identifiers():
    rng = random.Random(0)
    alphabet = "aA1_ /\"'\\\n#;()é卷\u202eß\u0301"
    texts = ["".join(rng.choices(alphabet, k=rng.randrange(8))) for _ in range(3000)]
    names = Identifiers({"torch"})
    given = [names.new(text) for text in HOSTILE + texts]
    assert len(set(given)) == len(given)
    for name in given:
        assert re.fullmatch(r"[a-z][a-z0-9_]*", name), name
        assert len(name) <= LONGEST
        assert name not in RESERVED | {"torch"}
        assert unicodedata.normalize("NFKC", name) == name


@pytest.mark.parametrize("text", HOSTILE)
def test_safe_text_stays_within_a_docstring_and_a_comment(text):
    safe = safe_text(text)
    assert safe.isascii()
    source = f'"""{safe}\n"""  # {safe}\nx = 1\n'
    assert [type(node).__name__ for node in ast.parse(source).body] == ["Expr", "Assign"]
    assert all(len(line) <= 40 for line in wrapped(text, 40, "  ", "  "))
    name = class_name(text)
    assert name.isidentifier()
    assert name not in RESERVED
