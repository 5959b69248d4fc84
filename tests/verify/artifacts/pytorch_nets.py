"""Files of PyTorch nets, made as others make them, and what a trace of one holds."""

from __future__ import annotations

import linecache
import textwrap
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.frameworks import require
from verify.artifacts.opening import open_artifact
from verify.artifacts.trace import Artifact, Trace

torch = require("torch")

HEAD = """
import torch
import torch.nn.functional as F
from torch import nn

"""
NET = """
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 4, 3)
        self.block = nn.Sequential(nn.BatchNorm2d(4), nn.ReLU(inplace=True))
        self.fc = nn.Linear(4, 2)

    def forward(self, data, extra):
        x = self.conv1(data)
        x = self.block(x)
        pool1 = F.max_pool2d(x, 2)
        pooled = pool1.mean((2, 3))
        return F.softmax(self.fc(pooled), 1), extra * 2
"""
FEED = {
    "data": np.random.default_rng(0).normal(size=(2, 3, 6, 5)).astype(np.float32),
    "extra": np.array([1, 2], np.float32),
}
ALONE = (
    "check that its inputs have the sizes and the order of axes that it was made for (--map "
    "BLOB=NAME:NHWC says another order), and that it runs in its framework alone"
)


def source(folder: Path, text: str, name: str = "net.py") -> Path:
    path = folder / name
    path.write_text(HEAD + textwrap.dedent(text))
    return path


def module(text: str) -> Any:
    """The class Net of a source text, as its author has it."""
    scope: dict[str, Any] = {"__name__": "author"}
    code, name = HEAD + textwrap.dedent(text), f"<author of {hash(text)}>"
    # torch.jit.script reads a class's source.
    linecache.cache[name] = (len(code), None, code.splitlines(keepends=True), name)
    exec(compile(code, name, "exec"), scope)
    torch.manual_seed(1)
    made = scope["Net"]()
    for tensor in made.buffers():
        if tensor.is_floating_point():
            tensor.add_(torch.rand(tensor.shape))
    return made.eval()


def with_state(folder: Path, text: str = NET) -> Artifact:
    """A source file, opened with the state that its author saved."""
    torch.save(module(text).state_dict(), folder / "net.pth")
    return open_artifact(source(folder, text), folder / "net.pth")


def traced(artifact: Artifact, **feed: Any) -> Trace:
    trace = artifact.trace({name: np.asarray(array, np.float32) for name, array in feed.items()})
    for index, one in enumerate(trace.values):
        assert all(place < index for place in one.sources)
    return trace


def computed(trace: Trace) -> list[str]:
    return [one.name for one in trace.values if one.operator.startswith("aten::")]


def last(trace: Trace, name: str) -> NDArray[Any]:
    return [one.array for one in trace.values if one.name == name][-1]


def lines(error: Exception, path: Path) -> list[str]:
    return str(error).replace(str(path), "FILE").splitlines()
