"""Store: results on disk. The only room that writes rows."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TextIO

from bench import journal
from bench.measure.rates import Rates
from bench.row import DEVICES, ENVIRONMENT, RESULTS, ROWS, RUNS, SUITE, read_rows
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
        journal.append(self.folder / ROWS, row, f"its {len(self.rows)} rows")
        self.rows[key] = dict(row)

    def forget(self, keys: Collection[str]) -> None:
        """Drop rows that no longer hold, so that their cases can be written anew."""
        if keys:
            self.rows = {key: row for key, row in self.rows.items() if key not in keys}
            journal.replace(self.folder / ROWS, journal.lines(self.rows))

    def arrange(self, keys: Sequence[str]) -> None:
        """Put the rows in the order of `keys`, those of other keys behind."""
        self.rows = {key: self.rows[key] for key in dict.fromkeys([*keys, *self.rows]) if key in self.rows}
        journal.replace(self.folder / ROWS, journal.lines(self.rows))


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
    if (folder / RUNS).exists():
        raise SpecError(f"'{folder}' holds training runs; choose another --out")
    if (folder / DEVICES).exists():
        raise SpecError(f"'{folder}' holds a run for each kind of device of a cluster; choose another --out")
    lock = journal.claim(folder)
    try:
        rows = read_rows(folder / ROWS) if (folder / ROWS).exists() else []
        for row in rows:
            _refuse_strangers(folder, row, stamp)
        kept = {str(row["key"]): row for row in rows if row["status"] in RESULTS}
        journal.replace(folder / ROWS, journal.lines(kept))
        journal.replace(folder / SUITE, suite)
        journal.replace(folder / ENVIRONMENT, json.dumps({**environment, **stamp}, indent=2) + "\n")
    except (OSError, ValueError) as error:
        lock.close()
        if isinstance(error, OSError):
            raise journal.unwritable(folder, error) from None
        raise
    return Store(folder, kept, lock)


def known_rates(folder: Path) -> Rates:
    """The machine's rates that a run folder holds already; none where it does not."""
    try:
        return Rates.read(json.loads((folder / ENVIRONMENT).read_text(encoding="utf-8")).get("machine"))
    except (OSError, ValueError, AttributeError):
        return Rates()


def keep_rates(folder: Path, rates: Rates) -> None:
    """Write the machine's rates into the `environment.json` of an open run folder.

    Raises:
        SpecError: it cannot be written.
    """
    path = folder / ENVIRONMENT
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
        journal.replace(path, json.dumps({**facts, "machine": rates.facts()}, indent=2) + "\n")
    except OSError as error:
        raise journal.unwritable(folder, error) from None


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
