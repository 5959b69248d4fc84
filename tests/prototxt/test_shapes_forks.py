"""Shapes of layers that forks add: what is refused, and how."""

from __future__ import annotations

from pathlib import Path

import pytest

from prototxt import parse_net
from prototxt.errors import NetError
from prototxt.shapes import infer_shapes
from tests.message_cases import read_cases

FILES = ("refused_shapes_forks.cases", "refused_shapes_roi.cases")
REFUSED = {
    case.title: case for name in FILES for case in read_cases(Path(__file__).with_name(name))
}


@pytest.mark.parametrize("title", REFUSED)
def test_refuses(title: str) -> None:
    with pytest.raises(NetError) as caught:
        infer_shapes(parse_net(REFUSED[title].text, "net.prototxt"))
    assert str(caught.value) == REFUSED[title].message
