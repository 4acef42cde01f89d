"""Folder: what a folder of results holds, as a frame, as pages on disk and as text."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from bench.attention.record import ATTENTION, read_attention
from bench.profiling.record import PROFILE, read_profiles
from bench.report import frame, page
from bench.report.accuracy import BASELINE, show_accuracy, write_accuracy
from bench.report.attention import show_attention, write_attention
from bench.report.breakdown import show_profile, write_profile
from bench.report.claims import LEDGER
from bench.report.device_page import show_devices, write_devices
from bench.report.devices import load_devices
from bench.report.terminal import show_run
from bench.row import DEVICES, ROWS, RunError
from bench.training.record import RUNS, read_records

_FOLDS = "folds"
"""Field of a training run that holds pixel counts for the bootstrap."""


def load(folder: Path | str) -> pd.DataFrame:
    """What a folder of results holds, as a frame; the one way in for notebooks.

    - a sweep: one row a case, the fields of a result row and what is derived from them, see `frame.build`;
    - a sweep on several kinds of device: the same, device by device, each row with its `device_name`;
    - training runs: one row a run; nested figures have columns of their own, `resolving.scene`, `groups.thin`;
    - a profile, attention statistics: one row a record, nested figures likewise;
    - the ledger of published figures: one row a cell.

    Raises:
        RunError: the folder holds none of these, or a file of it cannot be read.
    """
    return _LOADERS[_file_of(Path(folder))](Path(folder))


def write_folder(folder: Path, cost: Path | None = None, baseline: str = BASELINE) -> list[Path]:
    """Rebuild the pages, tables and plots of a folder; the paths written.

    Args:
        folder: of a sweep, on one kind of device or several, of training runs, of a profile or of attention statistics.
        cost: of training runs alone: the sweep that prices them, null for `cost` within the folder.
        baseline: of training runs alone: the block that the others are compared with.

    Raises:
        RunError: the folder holds none of these, or a file of it cannot be read.
    """
    name = _with_pages(folder)
    return write_accuracy(folder, cost, baseline) if name == RUNS else _WRITERS[name](folder)


def show_folder(folder: Path, format: str, baseline: str = BASELINE) -> str:
    """The tables of a folder in one of `FORMATS`. Raises as `write_folder`."""
    name = _with_pages(folder)
    return show_accuracy(folder, format, baseline) if name == RUNS else _SHOWERS[name](folder, format)


def _file_of(folder: Path) -> str:
    """The file that says of what kind a folder is."""
    for name in _LOADERS:
        if (folder / name).exists():
            return name
    if not folder.is_dir():
        raise RunError(f"'{folder}' is no folder")
    raise RunError(f"'{folder}' holds no results; looked for {', '.join(_LOADERS)}")


def _with_pages(folder: Path) -> str:
    """As `_file_of`, for a folder whose pages are made here."""
    name = _file_of(folder)
    if name == LEDGER:
        raise RunError(f"'{folder}' holds a ledger, which 'papers --output {folder}' writes and prints")
    return name


def _runs(folder: Path) -> pd.DataFrame:
    records = read_records(folder / RUNS)
    return _flat([{name: value for name, value in record.items() if name != _FOLDS} for record in records])


def _flat(records: list[dict[str, Any]]) -> pd.DataFrame:
    return pd.json_normalize(records, max_level=1)


_LOADERS: Mapping[str, Callable[[Path], pd.DataFrame]] = {
    DEVICES: load_devices,
    ROWS: frame.load,
    RUNS: _runs,
    PROFILE: lambda folder: _flat(read_profiles(folder / PROFILE)),
    ATTENTION: lambda folder: _flat(read_attention(folder / ATTENTION)),
    LEDGER: lambda folder: pd.read_csv(folder / LEDGER),
}
_WRITERS: Mapping[str, Callable[[Path], list[Path]]] = {
    DEVICES: write_devices,
    ROWS: page.write,
    PROFILE: write_profile,
    ATTENTION: write_attention,
}
_SHOWERS: Mapping[str, Callable[[Path, str], str]] = {
    DEVICES: show_devices,
    ROWS: show_run,
    PROFILE: show_profile,
    ATTENTION: show_attention,
}
