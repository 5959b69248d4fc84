"""The cases of movement, sources, losses and recurrent layers on every backend, against the
reference."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import decaffeinate
from prototxt import load_net
from prototxt.parameters import bind_parameters
from prototxt.shapes import infer_shapes
from tests.converters.moving_cases import NETS, fed, text_of
from tests.frameworks import require
from tests.golden_cases import LAYER_TOLERANCE, assert_matches
from tests.verify.passes import every_blob
from tests.verify.test_backends import PACKAGES
from verify import reference
from verify.forward import BACKENDS
from verify.runners.runner import read_conversion


@pytest.mark.parametrize("title", NETS)
@pytest.mark.parametrize("backend", BACKENDS)
def test_a_backend_computes_what_the_reference_does(
    backend: str, title: str, tmp_path: Path
) -> None:
    require(PACKAGES[backend])
    path = tmp_path / "net.prototxt"
    path.write_text(text_of(title))
    done = decaffeinate.convert(path, None, to=[backend], output=tmp_path / "out", seed=11)
    net = load_net(path)
    parameters = bind_parameters(net, infer_shapes(net), seed=11)
    inputs = fed(NETS[title][0])
    got = every_blob(BACKENDS[backend](read_conversion(done.manifest)), inputs)
    want = reference.run(net, parameters, inputs)
    for top in net.layers[-1].tops:
        wanted = np.asarray(want[top], np.float32)
        assert_matches(got[top.name], wanted, LAYER_TOLERANCE, top.name)
