"""Baseline: the static figures that every entry had when they were last accepted. `make baseline` accepts new ones."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import torch

import modules
from bench.case import MODES, Case, make_case
from bench.cell import Change
from bench.static import trace_figures
from modules import registry
from modules.options import SpecError

PATH = Path(__file__).with_name("baseline.json")
HEIGHT, WIDTH, CHANNELS, BATCH = 24, 16, 64, 2
SHALLOW = {"layers": "1+1+1+1"}
SETTING = (
    f"{HEIGHT}x{WIDTH}, {CHANNELS} channels, batch {BATCH}, fp32; a bottleneck a stage where `layers` is an option"
)
TRACED = ("traced_peak_bytes", "train_traced_peak_bytes", "launches", "train_launches")
"""Figures that depend on which operators a release of PyTorch takes."""

Figures: TypeAlias = Mapping[str, int | str]


@dataclass(frozen=True)
class Baseline:
    """What was accepted.

    Attributes:
        torch: the release of PyTorch that it was traced with.
        entries: entry and its figures.
    """

    torch: str
    entries: Mapping[str, Figures]

    @property
    def exact(self) -> bool:
        """Whether peaks and launches can be held to it: another PyTorch may compute the same by other operators."""
        return self.torch == torch_release()

    def text(self) -> str:
        """The file that `load` reads, one line an entry, so that its history reads like a list of changes."""
        lines = ",\n".join(f"    {json.dumps(name)}: {json.dumps(figures)}" for name, figures in self.entries.items())
        head = f'  "torch": {json.dumps(self.torch)},\n  "setting": {json.dumps(SETTING)}'
        return f'{{\n{head},\n  "entries": {{\n{lines}\n  }}\n}}\n'


@dataclass(frozen=True)
class Difference:
    """One figure, or one whole entry, that is not as the baseline has it.

    Attributes:
        entry: its name.
        figure: which; empty where the entry as a whole is missing or new.
        text: a line that names the entry, the figure, and what it was and is.
    """

    entry: str
    figure: str
    text: str

    def __str__(self) -> str:
        return self.text


def entries() -> list[str]:
    """The entries that come with the package, in the registry's order; not those of plugins."""
    package = modules.__name__ + "."
    return [name for name in registry.names() if registry.describe(name).build.__module__.startswith(package)]


def case_of(entry: str, mode: str = "forward") -> Case:
    """The small case that stands for an entry."""
    options = SHALLOW if "layers" in registry.describe(entry).options else {}
    return make_case(entry, options, HEIGHT, WIDTH, CHANNELS, batch=BATCH, mode=mode)


def figures_of(entry: str) -> dict[str, int | str]:
    """The exact figures of an entry: case key, counts, and traced peaks and launches of a forward pass and of a
    training step."""
    forward, train = (trace_figures(case_of(entry, mode)) for mode in MODES)
    return {
        "key": case_of(entry).key,
        "params": forward.params,
        "macs": forward.macs,
        "flops": forward.flops,
        "traced_peak_bytes": forward.traced_peak_bytes,
        "train_traced_peak_bytes": train.traced_peak_bytes,
        "launches": forward.launches,
        "train_launches": train.launches,
    }


def current() -> Baseline:
    """The baseline that the code as it is now would make."""
    return Baseline(torch_release(), {entry: figures_of(entry) for entry in entries()})


def torch_release() -> str:
    """PyTorch's version without its build: `2.13.0`."""
    return str(torch.__version__).partition("+")[0]


def load(path: Path = PATH) -> Baseline:
    """The committed baseline.

    Raises:
        SpecError: the file is not there or is none.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return Baseline(str(content["torch"]), dict(content["entries"]))
    except OSError as error:
        raise SpecError(f"cannot read the baseline '{path}': {error.strerror}; `make baseline` writes one") from None
    except (ValueError, TypeError, KeyError) as error:
        raise SpecError(f"'{path}' is not a baseline: {error!r}; `make baseline` writes a new one") from None


def changes_of(entry: str, old: Figures | None, new: Figures | None) -> list[Difference]:
    """What differs in one entry; null stands for an entry that is not there."""
    if new is None:
        return [Difference(entry, "", f"{entry}: missing: it is in the baseline, but not in the registry")]
    if old is None:
        return [Difference(entry, "", f"{entry}: new: it is in the registry, but not in the baseline")]
    return [
        Difference(entry, name, f"{entry}: {_change(name, old.get(name), new.get(name))}")
        for name in {**old, **new}
        if old.get(name) != new.get(name)
    ]


def differences(old: Baseline, new: Baseline) -> list[Difference]:
    """Every figure and every entry that is not as it was."""
    names = {**old.entries, **new.entries}
    return [found for name in names for found in changes_of(name, old.entries.get(name), new.entries.get(name))]


def gated(found: list[Difference], exact: bool) -> list[Difference]:
    """Those that fail the gate: all, or without an `exact` baseline all but `TRACED`."""
    return [difference for difference in found if exact or difference.figure not in TRACED]


def accept(path: Path = PATH) -> str:
    """Write the figures of the code as it is now, and tell what differs from those accepted before."""
    new = current()
    try:
        old = load(path)
    except SpecError:  # there is none yet, or one that nothing can be compared with
        old = Baseline(new.torch, {})
    lines = [str(difference) for difference in differences(old, new)]
    if old.torch != new.torch:
        lines.append(f"peaks and launches are now those of PyTorch {new.torch}, not {old.torch}")
    path.write_text(new.text(), encoding="utf-8")
    end = f"accepted into {path.name}: {len(lines)} differences" if lines else f"{path.name} is as it was"
    return "\n".join([*lines, end])


def _change(figure: str, old: int | str | None, new: int | str | None) -> str:
    if isinstance(old, str) or isinstance(new, str):
        return f"{figure} {old} -> {new} (a default option, or what makes up a case, is another)"
    return str(Change(figure, old, new))


if __name__ == "__main__":
    print(accept())
