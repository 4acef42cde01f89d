"""Journal: lines of JSON, on disk before anything else begins, in a folder that one process at a time writes."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TextIO

from modules.options import SpecError


def append(path: Path, record: Mapping[str, object], kept: str) -> None:
    """Write one line, flushed and synced before this returns; one that cannot be written whole is taken back.

    Args:
        path: made if it is not there.
        record: becomes a JSON object.
        kept: what is there already, for the message: `its 12 rows`.

    Raises:
        SpecError: the line cannot be written, as on a full disk; those before it are kept.
    """
    size = path.stat().st_size if path.exists() else 0
    try:
        with open(path, "a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        with contextlib.suppress(OSError):
            os.truncate(path, size)
        told = f"{kept} are kept, the same command goes on from there"
        raise SpecError(f"cannot write to '{path}': {error.strerror}; {told}") from None


def replace(path: Path, text: str) -> None:
    """Put `text` in the file's place in one step, synced.

    Raises:
        OSError: it cannot be written.
    """
    partial = path.with_name(path.name + ".partial")
    with open(partial, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.replace(partial, path)


def lines(records: Mapping[str, Mapping[str, object]]) -> str:
    """Records as the text of a journal."""
    return "".join(json.dumps(record) + "\n" for record in records.values())


def claim(folder: Path) -> TextIO:
    """Make a folder, and keep other runs out of it until the file that is returned is closed.

    Raises:
        SpecError: it cannot be written, or another run is in it.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = open(folder / ".lock", "w", encoding="utf-8")  # noqa: SIM115  closed by the caller
    except OSError as error:
        raise unwritable(folder, error) from None
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        file.close()
        if not isinstance(error, BlockingIOError):
            raise unwritable(folder, error) from None
        raise SpecError(f"another run is writing to '{folder}'; wait for it, or choose another --out") from None
    return file


def unwritable(folder: Path, error: OSError) -> SpecError:
    """The error of a folder that results cannot be written to."""
    return SpecError(f"cannot write results to '{folder}': {error.strerror}; choose another --out")
