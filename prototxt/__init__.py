"""Caffe's side: schema, text and binary reading, upgrades, phase rules, weights."""

from prototxt.load import load_net, parse_net
from prototxt.net import Blob, Layer, Net

__all__ = ["Blob", "Layer", "Net", "load_net", "parse_net"]
