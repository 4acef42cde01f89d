"""Plugins: blocks of a user's own, from a file or from an installed package's entry point."""

from __future__ import annotations

import hashlib
import importlib.util
import sys
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path

from modules import registry
from modules.options import SpecError

ENTRY_POINTS = "contextbench.blocks"
_loaded: dict[Path, tuple[str, ...]] = {}


def load_plugins(paths: Iterable[str]) -> list[str]:
    """Run plugin files and installed entry points, each once; what they register joins every command.

    Returns:
        The names that were registered.

    Raises:
        SpecError: a file is missing, fails, or registers nothing.
    """
    before = set(registry.names())
    for point in metadata.entry_points(group=ENTRY_POINTS):
        try:
            point.load()
        except (Exception, SystemExit) as error:  # whatever another's code raises is bad input to this program
            raise SpecError(f"cannot load the installed plugin '{point.name}': {_line(error)}") from error
    for path in paths:
        _load_file(Path(path))
    return [name for name in registry.names() if name not in before]


def _load_file(path: Path) -> None:
    if not path.is_file():
        raise SpecError(f"cannot load plugin '{path}': there is no such file")
    known = _loaded.get(path.resolve())
    if known and set(known) <= set(registry.names()):
        return
    place = hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:8]  # two files of a name are two modules
    name = f"contextbench_plugin_{path.stem}_{place}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise SpecError(f"cannot load plugin '{path}': it is not a .py file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    before = set(registry.names())
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:  # whatever a user's file raises is bad input to this program
        raise SpecError(f"cannot load plugin '{path}': {_line(error)}") from error
    added = tuple(name for name in registry.names() if name not in before)
    _loaded[path.resolve()] = added
    if not added:
        raise SpecError(f"plugin '{path}' registers no block; decorate a class with @register(\"name\", family=...)")


def _line(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return text if isinstance(error, SpecError) else f"{type(error).__name__}: {text}"
