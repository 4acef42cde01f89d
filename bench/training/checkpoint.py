"""Checkpoint: the state of a training run on disk, from which it goes on as if it had never stopped."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import os
import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from modules.options import SpecError

SCHEMA = 1


@dataclass(frozen=True)
class Checkpoint:
    """A run between two iterations.

    No state of a random generator is needed: what a run draws in an iteration depends on seed and iteration alone.

    Attributes:
        run: which run it belongs to, see `load_checkpoint`.
        iteration: iterations done.
        seconds: that they took.
        curve: points of the learning curve so far, (iteration, loss, mIoU or null).
        since: losses since the last of these points, not yet in the curve.
        network, optimizer, scaler: their state dicts.
    """

    run: Mapping[str, object]
    iteration: int
    seconds: float
    curve: list[tuple[int, float, float | None]]
    since: list[float]
    network: dict[str, Any]
    optimizer: dict[str, Any]
    scaler: dict[str, Any]


def save_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Write a checkpoint so that at any moment the file is the old one or the new one, whole.

    Raises:
        SpecError: the file cannot be written, as on a full disk; the old one is kept.
    """
    partial = path.with_name(path.name + ".partial")
    fields = {field.name: getattr(checkpoint, field.name) for field in dataclasses.fields(checkpoint)}
    content = io.BytesIO()  # a file that cannot be written makes `torch.save` fail in ways of its own
    torch.save({"schema": SCHEMA, **fields}, content)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with partial.open("wb") as file:
            file.write(content.getbuffer())
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
        raise SpecError(f"cannot write checkpoint '{path}': {error.strerror}; what was there is kept") from None


def load_checkpoint(path: Path, run: Mapping[str, object]) -> Checkpoint | None:
    """The checkpoint in a file, on CPU; null where there is no file.

    Args:
        path: of the file.
        run: what the checkpoint's run must agree in: seed, recipe, data, shapes of the network.

    Raises:
        SpecError: the file is no checkpoint, or one of another run.
    """
    if not path.exists():
        return None
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, ValueError, KeyError, pickle.UnpicklingError) as error:
        raise SpecError(f"cannot read checkpoint '{path}': {' '.join(str(error).split())[:200]}") from None
    if not isinstance(content, dict) or content.get("schema") != SCHEMA or "run" not in content:
        raise SpecError(f"'{path}' is not a checkpoint of schema {SCHEMA}")
    del content["schema"]
    found = Checkpoint(**content)
    for name, wanted in run.items():
        held = found.run.get(name)
        if held != wanted:
            raise SpecError(f"checkpoint '{path}' is of another run: its {name} is {held}, not {wanted}; delete it")
    return found
