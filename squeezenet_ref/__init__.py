"""The reference family: SqueezeNet definitions from the paper's metaparameters, facts, and weights.

    generate("1.1", input_size=64)        prototxt text of any point of the design space
    weights("1.1", seed=0)                parameters by "layer/blob index", the same bits everywhere
    write("1.1", "folder", seed=0)        a .prototxt and a .caffemodel
    published(), fetch("squeezenet-v1.1") the weights that the authors published
    torchvision_state_dict(w, "1.1")      under the names of torchvision's squeezenet1_1
    describe("1.1"), facts                what was published about them

Names are loaded when they are first used: importing this package imports neither NumPy nor the
network.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from squeezenet_ref import facts
    from squeezenet_ref.catalogue import describe, names
    from squeezenet_ref.design import ARCHITECTURES, Architecture, Fire, architecture
    from squeezenet_ref.download import Fetched, cache_folder, fetch
    from squeezenet_ref.generator import FILLERS, Training, generate
    from squeezenet_ref.releases import Published, PublishedFile, published
    from squeezenet_ref.seeded import Written, weights, write
    from squeezenet_ref.torchvision import torchvision_shapes, torchvision_state_dict

__all__ = [
    "ARCHITECTURES",
    "FILLERS",
    "Architecture",
    "Fetched",
    "Fire",
    "Published",
    "PublishedFile",
    "Training",
    "Written",
    "architecture",
    "cache_folder",
    "describe",
    "facts",
    "fetch",
    "generate",
    "names",
    "published",
    "torchvision_shapes",
    "torchvision_state_dict",
    "weights",
    "write",
]

_HOMES = {
    "design": ("ARCHITECTURES", "Architecture", "Fire", "architecture"),
    "catalogue": ("describe", "names"),
    "download": ("Fetched", "cache_folder", "fetch"),
    "generator": ("FILLERS", "Training", "generate"),
    "releases": ("Published", "PublishedFile", "published"),
    "seeded": ("Written", "weights", "write"),
    "torchvision": ("torchvision_shapes", "torchvision_state_dict"),
}
_HOME = {name: module for module, found in _HOMES.items() for name in found}


def __getattr__(name: str) -> Any:
    if name == "facts":
        return importlib.import_module("squeezenet_ref.facts")
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
