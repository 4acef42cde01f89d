"""Case: one point of a sweep, and its content key."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import types
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from modules import registry
from modules.options import OptionValue

MODES = ("forward", "train")
DTYPES: Mapping[str, str] = types.MappingProxyType({"fp32": "float32", "bf16": "bfloat16", "fp16": "float16"})
MEMORY_FORMATS = ("channels_first", "channels_last")

_AXES = (
    *("impl", "height", "width", "channels", "batch"),
    *("dtype", "memory_format", "mode", "compiled", "device"),
)
Options = tuple[tuple[str, OptionValue], ...]


@dataclass(frozen=True)
class Case:
    """One measurable point.

    Attributes:
        entry: name in the registry.
        options: those that differ from the entry's defaults.
        defaults: the remaining options with their values; part of the key, so that a changed default is a new case.
        impl: implementation, `reference` or another that the entry offers.
        height, width: of the stride-8 feature map, in positions; families that take an image get 8 times as much.
        channels: C of that map.
        batch: images a call.
        dtype: one of `DTYPES`.
        memory_format: one of `MEMORY_FORMATS`.
        mode: `forward` (no autograd, evaluation mode) or `train` (forward and backward, training mode).
        compiled: whether torch.compile wraps the module.
        device: `cpu` or `cuda`.
    """

    entry: str
    height: int
    width: int
    channels: int
    options: Options = ()
    defaults: Options = ()
    impl: str = "reference"
    batch: int = 1
    dtype: str = "fp32"
    memory_format: str = "channels_first"
    mode: str = "forward"
    compiled: bool = False
    device: str = "cpu"
    key: str = field(init=False, compare=False)

    def __post_init__(self) -> None:
        fields = {f.name: getattr(self, f.name) for f in dataclasses.fields(self) if f.init}
        fields["options"] = dict(sorted((*self.options, *self.defaults)))
        del fields["defaults"]
        text = json.dumps(fields, sort_keys=True, separators=(",", ":"))
        object.__setattr__(self, "key", hashlib.sha256(text.encode()).hexdigest()[:16])

    @property
    def label(self) -> str:
        """The entry as users spell it: `gc:ratio=4`."""
        return registry.spell(self.entry, dict(self.options))

    @property
    def name(self) -> str:
        """The label, with the implementation where it is not the reference: what tells the cases of a group apart."""
        marks = [*([self.impl] if self.impl != "reference" else []), *(["compiled"] if self.compiled else [])]
        return f"{self.label} ({', '.join(marks)})" if marks else self.label

    @property
    def positions(self) -> int:
        """N, the positions of the stride-8 feature map."""
        return self.height * self.width

    @property
    def group(self) -> tuple[object, ...]:
        """What a case shares with those that it is timed beside: all but the entry."""
        return tuple(getattr(self, name) for name in _AXES)

    @property
    def rounds(self) -> tuple[object, ...]:
        """What a case shares with those that are timed in the same rounds: its group, in any implementation."""
        return tuple(getattr(self, name) for name in _AXES if name not in ("impl", "compiled"))

    def __str__(self) -> str:
        place = f"{self.height}x{self.width}x{self.channels}"
        extra = [*([self.impl] if self.impl != "reference" else []), *(["compiled"] if self.compiled else [])]
        return " ".join([self.label, place, f"b{self.batch}", self.dtype, self.mode, *extra])

    def with_entry(self, entry: str, given: Mapping[str, object]) -> Case:
        """The case of the same group with another entry.

        Raises:
            SpecError: the entry or an option does not exist, or a value is not allowed.
        """
        axes = {name: getattr(self, name) for name in _AXES}
        return make_case(entry, given, **axes)

    def row(self) -> dict[str, object]:
        """The fields of a result row that say which case it is."""
        return {
            "key": self.key,
            "entry": self.entry,
            "family": registry.describe(self.entry).family,
            "options": {name: list(v) if isinstance(v, tuple) else v for name, v in self.options},
            **{name: getattr(self, name) for name in _AXES},
        }

    def arguments(self) -> list[str]:
        """The command-line arguments that name this case and no other."""
        return [
            *("--blocks", self.label),
            *("--sizes", f"{self.height}x{self.width}"),
            *("--channels", str(self.channels)),
            *("--batch", str(self.batch)),
            *("--dtype", self.dtype),
            *("--memory-format", self.memory_format),
            *("--mode", self.mode),
            *("--impl", self.impl),
            *(("--compile", "on") if self.compiled else ()),
            *("--device", self.device),
        ]


def make_case(entry: str, given: Mapping[str, object], height: int, width: int, channels: int, **axes: Any) -> Case:
    """A case with its options checked and sorted into changed and default ones.

    Args:
        entry: name in the registry.
        given: options, as values or as the text of the command line.
        height, width, channels: of the stride-8 feature map.
        axes: further fields of `Case`.

    Raises:
        SpecError: the entry or an option does not exist, or a value is not allowed.
    """
    known = registry.describe(entry)
    values = known.resolve(given)
    changed = known.changed(values)
    rest = tuple((name, value) for name, value in values.items() if name not in changed)
    return Case(entry, height, width, channels, tuple(changed.items()), rest, **axes)
