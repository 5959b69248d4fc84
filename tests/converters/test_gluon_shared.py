"""Branches that share their parameters are one block, called once for each: in Gluon."""

import re
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.converters.pytorch_conversion import assert_formatted, ruff
from tests.converters.test_gluon import EXPORTED, source
from tests.converters.test_gluon_modules import classes, compared
from tests.converters.test_modules_random import STEPS, step
from tests.converters.test_modules_shared import FORMS, recurrent, shared_class
from tests.frameworks import require
from tests.nets.drawn import drawn
from tests.nets.sharing import BRANCHES, siamese

mx = require("mxnet")

WITHIN = {"lenet": set(), "residual": {"Residual"}, "inception": set()}
"""The classes within a branch of each kind."""


@pytest.mark.parametrize("mixed", [False, True], ids=["in turn", "mixed"])
@pytest.mark.parametrize("forms", FORMS)
@pytest.mark.parametrize("kind", BRANCHES)
def test_branches_are_calls_of_one_block(kind, forms, mixed, tmp_path):
    text = siamese(BRANCHES[kind], FORMS[forms], mixed=mixed)
    conversion = compared(text, tmp_path)
    found = source(conversion)
    shared = shared_class(kind, forms)
    assert classes(found) == WITHIN[kind] | {shared}
    assert f'"""Shared by {len(FORMS[forms])} branches: {shared.lower()}."""' in found
    calls = re.findall(rf"self\.{shared.lower()}\((\w+)\)", found)
    assert calls == [f"in{i}" for i in range(len(FORMS[forms]))]
    assert_formatted(tmp_path)
    done = ruff("check", "--isolated", "--select=E,F,W,I,B,UP,SIM", "--ignore=E501", str(tmp_path))
    assert done.returncode == 0, done.stdout

    # Hybridized, exported and imported, and its gradients.
    net, shapes, _ = drawn(text)
    rng = np.random.default_rng(0)
    arrays = {blob.name: rng.normal(size=shapes.blobs[blob]) for blob in net.inputs}
    np.savez(tmp_path / "inputs.npz", **arrays)
    command = [sys.executable, "-I", "-W", "ignore", "-c", EXPORTED]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_calls_one_after_the_other_are_no_branches(tmp_path):
    found = source(compared(recurrent(), tmp_path))
    assert classes(found) == {"Step"}
    assert '"""Called 3 times: step."""' in found


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.sampled_from([s for s in STEPS if s != "relu"]), min_size=2, max_size=6),
    st.integers(2, 3),
    st.booleans(),
    st.sets(st.integers(0, 5), max_size=2),
)
def test_drawn_branches_compute_what_the_symbol_does(tmp_path_factory, kinds, count, mixed, own):
    def make(net, x):
        channels = 3
        for k, kind in enumerate(kinds):
            x, channels = step(net, kind, f"l{k}", x, 3, channels)
        return x

    forms = ["{}", "{}_p", "q_{}"][:count]
    text = siamese(make, forms, mixed=mixed, own=[f"l{k}" for k in own])
    compared(text, tmp_path_factory.mktemp("shared"))
