"""PyTorch: a self-contained module file and its weights as safetensors, without importing torch."""

from __future__ import annotations

from converters.pytorch_elementwise import ElementwiseOps
from converters.pytorch_flow import FlowOps
from converters.pytorch_layers import LayerOps
from converters.pytorch_pooling import PoolingOps
from converters.pytorch_roi import RoiOps
from converters.pytorch_shapes import ShapeOps

__all__ = ["PyTorchEmitter"]


class PyTorchEmitter(LayerOps, PoolingOps, FlowOps, ElementwiseOps, RoiOps, ShapeOps):
    """Writes NAME.py and NAME.safetensors; the methods of the ops are with their families."""
