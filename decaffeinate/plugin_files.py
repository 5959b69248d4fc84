"""Plugins found: Python files that the user names, and packages that are installed."""

from __future__ import annotations

import hashlib
import linecache
import sys
from importlib.util import find_spec
from pathlib import Path
from types import CodeType, ModuleType
from typing import TYPE_CHECKING

from decaffeinate.plugin_layers import Plugin, Registration, collect
from decaffeinate.plugin_tables import described, line_of, raised_at
from prototxt.errors import DecaffeinateError, FileError, PluginError, Where
from prototxt.files import read_start, what_it_is

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

__all__ = ["GROUP", "from_file", "installed", "sha256_of"]

GROUP = "decaffeinate.layers"
"""The group of entry points, each of which names a module that registers layer types."""

_WANTED = "a Python file that registers layer types (see docs/plugins.md)"
_RUN: dict[tuple[str, str], Plugin] = {}
"""Plugins that ran in this process, by path and hash: a changed file runs again."""
_INSTALLED: dict[str, Plugin] = {}


def from_file(path: Path) -> Plugin:
    """Run a plugin file, once.

    Raises:
        FileError: it is missing, empty, or no Python.
        PluginError: it fails, or registers nothing.
    """
    start = read_start(path, _WANTED)
    found = what_it_is(start)
    if found is not None and found.kind != "prototxt" and path.suffix != ".py":
        raise FileError(f"this is {found.name}, not a plugin", where=str(path), expected=_WANTED)
    source = path.read_bytes()
    file, digest = str(path.resolve()), hashlib.sha256(source).hexdigest()
    if (file, digest) not in _RUN:
        _RUN[file, digest] = Plugin(file, _run(path, file, source, digest), digest)
    return _RUN[file, digest]


def _run(path: Path, file: str, source: bytes, digest: str) -> tuple[Registration, ...]:
    code = _compiled(path, file, source)
    linecache.checkcache(file)  # a file that has changed since
    module = ModuleType(f"decaffeinate_plugin_{digest[:16]}", f"The plugin {path}.")
    module.__file__ = file
    # Dataclasses and pickles look their module up.
    sys.modules[module.__name__] = module
    try:
        taken = collect(lambda: exec(code, module.__dict__))
    except DecaffeinateError as error:
        error.where = Where(str(path), line_of(error, file))
        raise
    except (Exception, SystemExit) as error:
        raise PluginError(
            f"the plugin fails with {described(error)}",
            where=str(path),
            details=[raised_at(error, file)],
            expected="a file that runs, and registers layer types",
            hint=_hint(error),
        ) from error
    if not taken:
        raise _nothing(str(path))
    return taken


def _compiled(path: Path, file: str, source: bytes) -> CodeType:
    try:
        return compile(source, file, "exec", dont_inherit=True)
    except SyntaxError as error:
        place = f"{path}:{error.lineno}" if error.lineno else str(path)
        text = (error.text or "").strip()
        raise PluginError(
            f"this is not Python: {error.msg}",
            where=place,
            details=[text] if text else (),
            expected=_WANTED,
        ) from None
    except ValueError as error:  # a null byte, before Python 3.12
        raise PluginError(f"this is not Python: {error}", where=str(path),
                          expected=_WANTED) from None  # fmt: skip


def _hint(error: BaseException) -> str | None:
    if isinstance(error, ModuleNotFoundError):
        return f'install "{error.name}" where decaffeinate is installed'
    return None


def _nothing(where: str) -> PluginError:
    return PluginError(
        "the plugin registers no layer type",
        where=where,
        expected='a class under @layer("MyType"), from decaffeinate.plugins',
    )


def installed() -> tuple[Plugin, ...]:
    """The plugins of installed packages, each imported once.

    Raises:
        PluginError: one fails, or registers nothing.
    """
    from importlib.metadata import entry_points  # slow, and most nets need no package

    points = sorted(entry_points(group=GROUP), key=lambda point: (point.value, point.name))
    return tuple(_imported(point) for point in {point.value: point for point in points}.values())


def _imported(point: EntryPoint) -> Plugin:
    if point.value in _INSTALLED:
        return _INSTALLED[point.value]
    package = f"{point.dist.name} {point.dist.version}" if point.dist is not None else point.name
    known = point.module in sys.modules
    try:
        taken = collect(lambda: point.load() and None)
    except (Exception, SystemExit) as error:
        file = _file_of(point.module)
        what = error.what if isinstance(error, DecaffeinateError) else described(error)
        raise PluginError(
            f"the installed plugin {package} fails: {what}",
            where=raised_at(error, file),
            expected=f'a module that runs (entry point "{point.name}" = "{point.value}" of group '
            f"{GROUP})",
            hint="correct the package, or uninstall it",
        ) from error
    file = _file_of(point.module)
    if not taken and not known:
        raise _nothing(f"{package} ({file})")
    _INSTALLED[point.value] = Plugin(file, taken, sha256_of(file), package)
    return _INSTALLED[point.value]


def _file_of(module: str) -> str:
    try:
        spec = find_spec(module)
    except (ImportError, ValueError):
        return module
    return spec.origin or module if spec is not None else module


def sha256_of(file: str) -> str | None:
    """The hash of a file; None where there is none, as in a notebook."""
    try:
        return hashlib.sha256(Path(file).read_bytes()).hexdigest()
    except OSError:
        return None
