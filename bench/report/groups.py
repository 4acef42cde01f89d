"""Which rows may stand beside each other: parts of a run, settings within a part, groups within a setting."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pandas as pd

PART = ("env", "method", "device", "device_name")
SETTING = ("dtype", "mode", "batch", "impl", "memory_format", "compiled")
USUAL = ("", "channels_first")


@dataclass(frozen=True)
class Part:
    """Rows of one environment, one method and one device. Rows of different parts are never compared or pooled.

    Attributes:
        device: `cpu` or `cuda`.
        device_name: the card or the processor; empty where rows do not name it.
    """

    env: str
    method: str
    device: str
    device_name: str
    number: int
    of: int
    frame: pd.DataFrame

    def title(self) -> str:
        """What distinguishes this part, for a heading."""
        device = f"{self.device} ({self.device_name})" if self.device_name else self.device
        return f"Part {self.number} of {self.of}: device {device}, environment {self.env}, method {self.method}"


@dataclass(frozen=True)
class Setting:
    """Rows of a part that share everything but the block, the size and the channels, all of one kind."""

    part: Part
    kind: str
    dtype: str
    mode: str
    batch: int
    impl: str
    memory_format: str
    compiled: bool
    frame: pd.DataFrame

    def words(self) -> str:
        """`cpu, fp32, forward, batch 1, reference implementation`, and what else differs from the usual."""
        words = [self.part.device, self.dtype, self.mode, f"batch {self.batch}", f"{self.impl} implementation"]
        if self.memory_format not in USUAL:
            words.append(self.memory_format)
        if self.compiled:
            words.append("compiled")
        if self.part.of > 1:
            words.append(f"part {self.part.number} (environment {self.part.env}, method {self.part.method})")
        return ", ".join(words)

    def slug(self) -> str:
        """A file name: `blocks-cpu-fp32-forward-b1-reference`."""
        words = [self.kind, self.part.device, self.dtype, self.mode, f"b{self.batch}", self.impl]
        if self.memory_format not in USUAL:
            words.append(self.memory_format)
        if self.compiled:
            words.append("compiled")
        if self.part.of > 1:
            words.append(f"part{self.part.number}")
        return "-".join(re.sub(r"[^A-Za-z0-9_.]+", "", word) for word in words)


@dataclass(frozen=True)
class Group:
    """The rows of one setting, size and channel count: they differ only in the block."""

    setting: Setting
    height: int
    width: int
    channels: int
    frame: pd.DataFrame

    @property
    def positions(self) -> int:
        """N = height x width of the stride-8 feature map."""
        return self.height * self.width

    @property
    def measured(self) -> int:
        """How many rows have status ok."""
        return int((self.frame["status"] == "ok").sum())

    def title(self) -> str:
        """`97x97, 512 channels, cpu, fp32, forward, batch 1, reference implementation`."""
        return f"{self.height}x{self.width}, {self.channels} channels, {self.setting.words()}"

    def floors(self) -> list[tuple[str, float, float | None]]:
        """(reference, noise floor, A/A ratio) of the group: one, unless it was timed against several references."""
        known = self.frame[self.frame["noise_floor"].notna()]
        found: dict[tuple[str, float], float | None] = {}
        for row in known.to_dict("records"):
            twin = row["twin_ratio"]
            found.setdefault((row["reference"], row["noise_floor"]), None if pd.isna(twin) else twin)
        return [(reference, floor, twin) for (reference, floor), twin in found.items()]


def parts(frame: pd.DataFrame) -> list[Part]:
    """The parts of a run in order of first appearance; a healthy run has one per device."""
    split = list(_split(frame, PART))
    return [
        Part(env, method, device, name, index, len(split), rows)
        for index, ((env, method, device, name), rows) in enumerate(split, start=1)
    ]


def settings(part: Part) -> list[Setting]:
    """The settings of a part, blocks before backbones, then in order of first appearance."""
    found = [
        Setting(part, kind, dtype, mode, int(batch), impl, memory_format, bool(compiled), rows)
        for (kind, dtype, mode, batch, impl, memory_format, compiled), rows in _split(part.frame, ("kind", *SETTING))
    ]
    return sorted(found, key=lambda setting: setting.kind != "blocks")


def groups(setting: Setting) -> list[Group]:
    """The groups of a setting by channels, then positions; rows in the order in which blocks first appear."""
    found = [
        Group(setting, int(height), int(width), int(channels), rows.sort_values("rank", kind="stable"))
        for (height, width, channels), rows in _split(setting.frame, ("height", "width", "channels"))
    ]
    return sorted(found, key=lambda group: (group.channels, group.positions, group.height))


def all_groups(frame: pd.DataFrame) -> list[Group]:
    """Every group of a run, part by part and setting by setting."""
    return [group for part in parts(frame) for setting in settings(part) for group in groups(setting)]


def _split(frame: pd.DataFrame, names: tuple[str, ...]) -> Iterator[tuple[tuple[Any, ...], pd.DataFrame]]:
    yield from frame.groupby(list(names), sort=False, dropna=False)
