"""Store: results on disk. The only room that writes rows."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TextIO

from bench.row import ENVIRONMENT, RESULTS, ROWS, SUITE, read_rows
from modules.options import SpecError


@dataclass
class Store:
    """A run folder that is open for appending; as a context manager it keeps other runs out.

    Attributes:
        folder: `results/<run>`.
        rows: what it holds, by case key.
        lock: held until the context ends.
    """

    folder: Path
    rows: dict[str, dict[str, object]] = field(default_factory=dict)
    lock: TextIO | None = None

    @property
    def run(self) -> str:
        """The run's name: that of its folder."""
        return self.folder.resolve().name

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *_: object) -> None:
        if self.lock is not None:
            self.lock.close()

    def append(self, row: Mapping[str, object]) -> None:
        """Write one row, flushed and synced before this returns.

        A row that cannot be written whole, as on a full disk, is taken back.

        Raises:
            ValueError: the run holds a row of that case already.
            SpecError: the row cannot be written; those before it are kept.
        """
        key = str(row["key"])
        if key in self.rows:
            raise ValueError(f"{self.folder / ROWS} has a row of case {key} already")
        path = self.folder / ROWS
        size = path.stat().st_size if path.exists() else 0
        try:
            with open(path, "a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            with contextlib.suppress(OSError):
                os.truncate(path, size)
            kept = f"its {len(self.rows)} rows are kept, the same command goes on from there"
            raise SpecError(f"cannot write to '{path}': {error.strerror}; {kept}") from None
        self.rows[key] = dict(row)

    def forget(self, keys: Collection[str]) -> None:
        """Drop rows that no longer hold, so that their cases can be written anew."""
        if keys:
            self.rows = {key: row for key, row in self.rows.items() if key not in keys}
            _replace(self.folder / ROWS, _lines(self.rows))


def open_store(folder: Path, suite: str, environment: Mapping[str, object], stamp: Mapping[str, str]) -> Store:
    """Open a run folder, new or begun.

    Rows already there stay; a last line cut short by a kill, and rows of cases that failed (`crashed`, `timeout`,
    `invalid`), are dropped so that they are measured again.

    Args:
        folder: made if it is not there.
        suite: the suite as TOML text.
        environment: what `describe_environment` gave, written to `environment.json` with `stamp`.
        stamp: `env` and `method` hashes of the rows to come.

    Raises:
        SpecError: the folder cannot be written, is in use by another run, or holds rows measured in another
            environment or by another method.
        RunError: its rows cannot be read.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = _lock(folder)
    except OSError as error:
        raise _unwritable(folder, error) from None
    try:
        rows = read_rows(folder / ROWS) if (folder / ROWS).exists() else []
        for row in rows:
            _refuse_strangers(folder, row, stamp)
        kept = {str(row["key"]): row for row in rows if row["status"] in RESULTS}
        _replace(folder / ROWS, _lines(kept))
        _replace(folder / SUITE, suite)
        _replace(folder / ENVIRONMENT, json.dumps({**environment, **stamp}, indent=2) + "\n")
    except (OSError, ValueError) as error:
        lock.close()
        if isinstance(error, OSError):
            raise _unwritable(folder, error) from None
        raise
    return Store(folder, kept, lock)


def known_rates(folder: Path) -> dict[str, float]:
    """The machine's rates that a run folder holds already; empty where it does not."""
    try:
        rates = json.loads((folder / ENVIRONMENT).read_text(encoding="utf-8")).get("machine", {})
    except (OSError, ValueError, AttributeError):
        return {}
    return rates if isinstance(rates, dict) else {}


def _unwritable(folder: Path, error: OSError) -> SpecError:
    return SpecError(f"cannot write results to '{folder}': {error.strerror}; choose another --out")


def _lines(rows: Mapping[str, Mapping[str, object]]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows.values())


def _lock(folder: Path) -> TextIO:
    """Keep other runs out of the folder until the file is closed.

    Raises:
        SpecError: another run is in it.
    """
    file = open(folder / ".lock", "w", encoding="utf-8")  # noqa: SIM115  closed with the store
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        raise SpecError(f"another run is writing to '{folder}'; wait for it, or choose another --out") from None
    return file


def _refuse_strangers(folder: Path, row: Mapping[str, object], stamp: Mapping[str, str]) -> None:
    for name, what in (
        ("env", "on another machine, with other versions or other weights"),
        ("method", "by another method"),
    ):
        if row.get(name) not in (None, stamp[name]):
            raise SpecError(
                f"'{folder}' holds rows measured {what} ({name} {row.get(name)}, now {stamp[name]}); "
                "choose another --out"
            )


def _replace(path: Path, text: str) -> None:
    """Put `text` in the file's place in one step, synced."""
    partial = path.with_name(path.name + ".partial")
    with open(partial, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.replace(partial, path)
