"""Archive: the `runs.jsonl` of a folder of training runs, on disk. The only room that writes records."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench import journal
from bench.row import DEVICES, ENVIRONMENT, ROWS
from bench.training.record import RUNS, read_records
from modules.options import SpecError


@dataclass
class Archive:
    """An open folder of training runs.

    Attributes:
        folder: where.
        records: those that ended well, by key.
    """

    folder: Path
    records: dict[str, dict[str, Any]] = field(default_factory=dict)

    def checkpoint(self, key: str) -> Path:
        """Where the run of that key keeps its state."""
        return self.folder / "checkpoints" / f"{key}.pt"

    def append(self, record: Mapping[str, Any]) -> None:
        """Write one record, flushed and synced before this returns; one that cannot be written whole is taken back.

        Raises:
            SpecError: it cannot be written; those before it are kept.
        """
        journal.append(self.folder / RUNS, record, f"its {len(self.records)} runs")
        if record["status"] == "ok":
            self.records[str(record["key"])] = dict(record)

    def arrange(self, keys: Sequence[str]) -> None:
        """Put the records that ended well in the order of `keys`, behind those of other keys.

        Where several are of a block and seed, a reader takes the last.

        Raises:
            SpecError: they cannot be written; they stay as they were.
        """
        written = read_records(self.folder / RUNS)
        good = {str(record["key"]): record for record in written if record["status"] == "ok"}
        self.records = {
            key: good[key]
            for key in [*(key for key in good if key not in set(keys)), *dict.fromkeys(keys)]
            if key in good
        }
        failed = [record for record in written if record["status"] != "ok"]
        whole = {**self.records, **{f"failed {place}": record for place, record in enumerate(failed)}}
        try:
            journal.replace(self.folder / RUNS, journal.lines(whole))
        except OSError as error:
            raise journal.unwritable(self.folder, error) from None


@contextmanager
def open_archive(folder: Path, environment: Mapping[str, object]) -> Iterator[Archive]:
    """Open a folder of training runs, new or begun, and keep others out of it.

    Runs that did not end well, and a line cut short by a kill, are dropped so that they are trained again.

    Args:
        folder: made if it is not there.
        environment: written to `environment.json`.

    Raises:
        SpecError: the folder cannot be written, is in use, or holds a sweep.
        RunError: its records cannot be read.
    """
    if (folder / ROWS).exists() or (folder / DEVICES).exists():
        raise SpecError(f"'{folder}' holds the rows of a sweep; choose another --out")
    with journal.claim(folder):
        path = folder / RUNS
        found = read_records(path) if path.exists() else []
        kept = {str(record["key"]): record for record in found if record["status"] == "ok"}
        try:
            journal.replace(path, journal.lines(kept))
            journal.replace(folder / ENVIRONMENT, json.dumps(environment, indent=2) + "\n")
        except OSError as error:
            raise journal.unwritable(folder, error) from None
        yield Archive(folder, kept)
        with contextlib.suppress(OSError):  # it holds the state of runs that were stopped
            (folder / "checkpoints").rmdir()
