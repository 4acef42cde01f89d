"""Company: a second tree's blocks in this process, under the names that this tree's have, one of the two at a time."""

from __future__ import annotations

import ast
import contextlib
import importlib
import pickle
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest import mock

import torch
from torch import Tensor

from bench.case import Case
from bench.measure.clock import Clock
from bench.measure.method import Method
from bench.plan import Tracing
from bench.plugin import ENTRY_POINTS
from bench.trial import Broken

_PACKAGES = ("bench", "modules")
_PLUGINS = "contextbench_plugin_"


class Unfit(Exception):
    """Two trees that cannot be in one process, and why."""


@dataclass(frozen=True)
class Guest:
    """The second tree: the folder that has its `modules`, and its plugins."""

    folder: Path
    plugins: tuple[str, ...] = ()


class Company:
    """The seat of a second tree, which has this tree's `bench` and its own `modules`.

    Both sets of modules are imported under the same names; `sys.modules` holds the guest's while its code runs, and
    the host's otherwise. So what a block imports when it is called is its own tree's too. Values go from one set to
    the other as pickles, as each has its own classes of a name.

    Raises:
        Unfit: the guest cannot be imported beside the host, or would take an operator of PyTorch's library from it.
    """

    def __init__(self, guest: Guest, method: Method, clock: Clock) -> None:
        if metadata.entry_points(group=ENTRY_POINTS):
            raise Unfit("an installed plugin can be loaded once a process only")
        self._folder = str(guest.folder)
        self._kept: dict[str, ModuleType] = shared_operators(guest.folder)
        packed = pickle.dumps(method)
        try:
            with self._inside(), _no_second_operator():
                importlib.import_module("bench.plugin").load_plugins(guest.plugins)
                self._plan = importlib.import_module("bench.plan")
                self._seat = importlib.import_module("bench.slices").Slicer(pickle.loads(packed), clock)
        except (Exception, SystemExit) as error:  # whatever fails here may work in a process of its own
            raise error if isinstance(error, Unfit) else Unfit(f"{type(error).__name__}: {error}") from None

    @property
    def inputs(self) -> tuple[Tensor, ...] | None:
        found: tuple[Tensor, ...] | None = self._seat.inputs
        return found

    @inputs.setter
    def inputs(self, inputs: tuple[Tensor, ...] | None) -> None:
        self._seat.inputs = inputs

    def hold(self, case: Case) -> float | Broken:
        held: float | Broken = self._call(self._seat.hold, case)
        return held

    def slice(self, samples: int) -> list[float] | Broken:
        taken: list[float] | Broken = self._call(self._seat.slice, samples)
        return taken

    def drop(self) -> None:
        self._call(self._seat.drop)

    def trace(self, case: Case, fold: bool) -> Tracing:
        """Static figures of a case as the guest builds it."""
        tracing: Tracing = self._call(self._plan.trace_case, case, fold)
        return tracing

    def _call(self, function: Any, *arguments: object) -> Any:
        packed = pickle.dumps(arguments)
        with self._inside():
            packed = pickle.dumps(function(*pickle.loads(packed)))
        return pickle.loads(packed)

    @contextlib.contextmanager
    def _inside(self) -> Iterator[None]:
        """Have the guest's modules imported, and the host's out of sight."""
        host = _take_away()
        sys.modules.update(self._kept)
        sys.path.insert(0, self._folder)
        try:
            yield
        finally:
            self._kept = _take_away()
            sys.modules.update(host)
            sys.path.remove(self._folder)


def _take_away() -> dict[str, ModuleType]:
    """The imported modules that each tree has its own of, which are not imported any more then."""
    names = [name for name in sys.modules if name.partition(".")[0] in _PACKAGES or name.startswith(_PLUGINS)]
    return {name: sys.modules.pop(name) for name in names}


def shared_operators(folder: Path, imported: Mapping[str, ModuleType] = sys.modules) -> dict[str, ModuleType]:
    """Imported modules that both trees must use, as they register operators, which a process can have only one of.

    They are those of `modules` that mention PyTorch's library, and what these import.

    Args:
        folder: which has the other tree's `modules`.
        imported: modules by name.

    Raises:
        Unfit: one is not the same file in both trees.
    """
    shared: dict[str, ModuleType] = {}
    waiting = [name for name in imported if name.startswith("modules.") and b"torch.library" in _source(imported[name])]
    while waiting:
        name = waiting.pop()
        if name in shared:
            continue
        there = folder.joinpath(*name.split(".")).with_suffix(".py")
        source = _source(imported[name])
        if not there.is_file() or there.read_bytes() != source:
            raise Unfit(f"{'/'.join(name.split('.'))}.py, which operators of PyTorch's library need, differs")
        shared[name] = imported[name]
        waiting += [other for other in _top_imports(source) if other in imported]
    return shared


def _source(module: ModuleType) -> bytes:
    file = getattr(module, "__file__", None)
    return Path(file).read_bytes() if file else b""


def _top_imports(source: bytes) -> list[str]:
    """The modules below `modules` that a file imports when it is imported itself."""
    found = []
    for node in ast.parse(source).body:
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            found += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    return [name for name in found if name.startswith("modules.")]


@contextlib.contextmanager
def _no_second_operator() -> Iterator[None]:
    """Refuse to define an operator that there is already: the new one would take the place of the old one, silently."""
    there = {name.partition(".")[0] for name in torch._C._dispatch_get_all_op_names()}
    define: Any = torch.library.Library.define

    def checked(library: torch.library.Library, schema: str, *arguments: Any, **named: Any) -> Any:
        name = f"{library.ns}::{schema.partition('(')[0].partition('.')[0].strip()}"
        if name in there:
            raise Unfit(f"both trees define the operator {name}")
        return define(library, schema, *arguments, **named)

    with mock.patch.object(torch.library.Library, "define", checked):
        yield
