"""The framework-neutral graph and its ops.  Knows no file format and imports no framework."""

from ir.graph import Graph, GraphError, Node, Origin, Parameter, Steps, Value, constant
from ir.ops.op import Op, Shape, ShapeError

__all__ = [
    "Graph",
    "GraphError",
    "Node",
    "Op",
    "Origin",
    "Parameter",
    "Shape",
    "ShapeError",
    "Steps",
    "Value",
    "constant",
]
