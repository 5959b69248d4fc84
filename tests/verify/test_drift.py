"""What a classifier says, beside the reference's: which outputs are one's, and which classes."""

from __future__ import annotations

import numpy as np
import pytest

from prototxt import parse_net
from verify.drift import class_axes, top_agreement


def test_agreement_of_classes() -> None:
    want = np.array([[0, 1, 2, 3, 4, 5.0], [5, 4, 3, 2, 1, 0]])
    got = want.copy()
    got[0, [4, 5]] = 5, 4  # another first, the same five
    assert top_agreement(got, want, 1) == (0.5, 1.0)
    got[1, [4, 5]] = 0, 1
    assert top_agreement(got, want, 1) == (0.5, 0.5)
    assert top_agreement(got[:, :1], want[:, :1], 1) is None


CLASSIFIERS = {
    'type: "Softmax"': 1,
    'type: "Softmax" softmax_param { axis: 2 }': 2,
    'type: "InnerProduct" inner_product_param { num_output: 4 }': 1,
    'type: "Pooling" pooling_param { pool: AVE global_pooling: true }': 1,
    'type: "Pooling" pooling_param { pool: AVE kernel_size: 2 }': None,
    'type: "ReLU"': None,
}


@pytest.mark.parametrize("after", ["", 'layer { name: "d" type: "Dropout" bottom: "y" top: "z" }'])
@pytest.mark.parametrize("words", CLASSIFIERS)
def test_which_outputs_are_a_classifiers(words: str, after: str) -> None:
    shape = "input_param { shape { dim: 2 dim: 3 dim: 4 dim: 5 } }"
    given = f'layer {{ name: "i" type: "Input" top: "x" {shape} }} '
    net = parse_net(f'{given} layer {{ name: "l" {words} bottom: "x" top: "y" }} {after}')
    assert [*class_axes(net).values()] == [CLASSIFIERS[words]] * (CLASSIFIERS[words] is not None)
