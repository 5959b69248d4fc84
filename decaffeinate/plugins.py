"""Layer types that users bring themselves, from Python files or installed packages.

A plugin is a class under `@layer("MyType")`: how it reads its parameters, the shapes it makes, its
lowering to `ops`, and what Caffe computes.  docs/plugins.md has a worked example.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import ir.ops as ops
from converters.lowering import Lowering
from decaffeinate.plugin_fields import Fields
from decaffeinate.plugin_files import from_file, installed, sha256_of
from decaffeinate.plugin_layers import CustomLayer, Plugin, Registration, layer, resident
from decaffeinate.plugin_tables import activate, key_of, knows
from ir import Value
from prototxt.net import DATA_LAYERS, Layer, Net
from prototxt.shape_rules import RULES, LayerShapes, ParamShape
from prototxt.shape_rules.rule import constant_filler

__all__ = [
    "CustomLayer",
    "Fields",
    "Layer",
    "LayerShapes",
    "Lowering",
    "ParamShape",
    "Plugin",
    "Value",
    "constant_filler",
    "layer",
    "load_plugins",
    "ops",
    "other_plugins",
    "read_with_plugins",
    "use_plugins",
]


def load_plugins(files: Sequence[str | Path]) -> tuple[Plugin, ...]:
    """Run each file, once, and make the layer types that it registers known; those of files loaded
    before are forgotten.

    Raises:
        DecaffeinateError: a file that is missing, is no Python, fails or registers nothing; types
            that two plugins bring, or that decaffeinate has itself.
    """
    given = {plugin.file: plugin for plugin in map(from_file, map(Path, files))}
    plugins = (*given.values(), *_resident())
    use_plugins(plugins)
    return plugins


def read_with_plugins(
    files: Sequence[str | Path], read: Callable[[], Net]
) -> tuple[Net, tuple[Plugin, ...]]:
    """The net that `read` reads with the layer types of plugins known, and the plugins that it
    needs.

    Installed packages are only looked at where the net has a type that neither decaffeinate nor
    the files know.

    Raises:
        DecaffeinateError: see `load_plugins`; and what `read` raises.
    """
    plugins = load_plugins(files)
    net = read()
    unknown = _unknown(net)
    if unknown:
        found = _of_packages(unknown)
        if found:
            plugins = (*plugins, *found)
            use_plugins(plugins)
            net = read()  # anew, since fields that plugins read are no longer unknown
    used = {one.file for one in map(knows, net) if one is not None}
    return net, tuple(plugin for plugin in plugins if _files(plugin) & used)


def use_plugins(plugins: Sequence[Plugin]) -> None:
    """Make the layer types of these plugins known, and those of no others, in this process."""
    activate([one for plugin in plugins for one in plugin.registrations])


def other_plugins(plugins: Sequence[Plugin], manifest: Mapping[str, Any]) -> list[str]:
    """Notes on plugins that are not those with which the manifest's files were converted."""
    was = {entry["name"]: entry["sha256"] for entry in manifest.get("plugins", ())}
    now = {plugin.name: plugin.sha256 for plugin in plugins}
    return [
        f"the plugin {name} is not the one that the files were converted with: its sha256 is not "
        "the manifest's"
        for name in sorted({*was, *now})
        if was.get(name) != now.get(name)
    ]


def _files(plugin: Plugin) -> set[str]:
    return {one.file for one in plugin.registrations}


def _resident() -> tuple[Plugin, ...]:
    """What the running program itself has registered, by its files."""
    files: dict[str, list[Registration]] = {}
    for one in resident():
        files.setdefault(one.file, []).append(one)
    return tuple(Plugin(file, tuple(ones), sha256_of(file)) for file, ones in files.items())


def _unknown(net: Net) -> set[tuple[str, str, str]]:
    """Keys of layer types that nobody knows yet."""
    own = {"Input", *DATA_LAYERS, *RULES} - {"Python"}
    return {key_of(one) for one in net if one.type not in own and knows(one) is None}


def _of_packages(unknown: set[tuple[str, str, str]]) -> list[Plugin]:
    """Installed plugins, each with those of its types that are unknown without it."""
    found = []
    for plugin in installed():
        ones = tuple(one for one in plugin.registrations if one.key in unknown)
        if ones:
            found.append(Plugin(plugin.file, ones, plugin.sha256, plugin.package))
    return found
