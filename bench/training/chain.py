"""Chain: what is trained, as users spell it: a block, a composition of blocks, or a whole network."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from modules import registry
from modules.options import OptionValue, SpecError, nearest

CONTROLS: Mapping[str, Mapping[str, OptionValue]] = {"mlp": {"hidden": None}}
"""Names that training knows beside those of the registry, unless the registry has them too, with their options.

`mlp` is the capacity control: two 1x1 convolutions, each with batch norm and ReLU, and `hidden` channels between them,
C where not given; with it a control can be made as large as any block.
"""

SMALL_MAP: Mapping[str, Mapping[str, OptionValue]] = {
    "aspp": {"rates": (2, 4, 6)},
    "gc": {"ratio": 4},
    "se": {"ratio": 4},
    "ldv1": {"stages": 2, "padding": 1, "relu": False},
    "ldv2": {"kernel": 3, "dilation": 1},
    "psa": {"reach": 7},
}
"""Defaults of training where they are not the entry's: its map is 16x16, the published ones are made for 97x97.

The ratio 4 of `gc`, and of `se` beside it, is GCNet's own for segmentation (Sec. 5.4); at 48 channels 16 leaves three.
Unpadded, `ldv1` makes three by three cells of the map, stretched over it; padding is ours. Without the ReLU that the
authors' code has ahead of the sigmoid, the mask lies in [0, 1], as in GALD's Eq. 1.
A reach of 7 is all of the 8x8 map that `psa` attends on.
"""

_MOST_HIDDEN = 1 << 16
_JOINT = re.compile(r"\+(?=\s*(?:[^\W\d]|$|\+))")


@dataclass(frozen=True)
class Part:
    """One block of a chain.

    Attributes:
        entry: name in the registry, or one of `CONTROLS`.
        options: those that differ from the defaults of training, see `SMALL_MAP`.
    """

    entry: str
    options: tuple[tuple[str, OptionValue], ...] = ()

    @property
    def values(self) -> dict[str, OptionValue]:
        """All options with their values."""
        return {**_defaults(self.entry), **dict(self.options)}


@dataclass(frozen=True)
class Chain:
    """Blocks one after the other; mostly just one.

    Attributes:
        parts: in the order of the computation, at least one.
    """

    parts: tuple[Part, ...]

    @property
    def entry(self) -> str:
        """The names, joined by `+`."""
        return "+".join(part.entry for part in self.parts)

    @property
    def options(self) -> dict[str, OptionValue]:
        """Options that differ from the defaults; of a composition under the block's name, as `ldv2.kernel`."""
        found: dict[str, OptionValue] = {}
        names = [part.entry for part in self.parts]
        for place, part in enumerate(self.parts, 1):
            prefix = f"{part.entry}{f'#{place}' if names.count(part.entry) > 1 else ''}." if len(names) > 1 else ""
            found |= {prefix + name: value for name, value in part.options}
        return found

    @property
    def label(self) -> str:
        """The spelling that `read_chain` reads back: `gc:ratio=4`, `nl+ldv2:kernel=5,dilation=1`."""
        return "+".join(registry.spell(part.entry, dict(part.options)) for part in self.parts)

    @property
    def family(self) -> str:
        """`context` or `network`."""
        name = self.parts[0].entry
        return "context" if is_control(name) else registry.describe(name).family


def is_control(name: str) -> bool:
    """Whether the name is one of `CONTROLS` that the registry does not have."""
    return name in CONTROLS and name not in registry.names()


def trainable() -> list[str]:
    """Every name that may stand in a chain: the context blocks, the controls, the whole networks."""
    controls = [name for name in CONTROLS if is_control(name)]
    return [*registry.names("context"), *controls, *registry.names("network")]


def read_chain(label: str, options: Mapping[str, object] | None = None) -> Chain:
    """A chain out of its spelling.

    Parts are joined by `+` and spelled as blocks are everywhere: `nl:scale=true+ldv2:kernel=5,dilation=1`. A `+` before
    a digit joins integers, as in `apnb:sizes=1+3+6+ldv1`, which is two parts.

    Args:
        label: as above.
        options: further options of the last part, as values or text.

    Raises:
        SpecError: a part is malformed, unknown or of another family than `context` and `network`; an option does not
            exist or cannot have its value; a whole network stands with others.
    """
    specs = [spec.strip() for spec in _JOINT.split(label)]
    parts = []
    for place, spec in enumerate(specs, 1):
        name, colon, tail = (text.strip() for text in spec.partition(":"))
        given: dict[str, object] = dict(_options(name, tail, label)) if colon else {}
        parts.append(_part(name, given | dict(options or {}) if place == len(specs) else given, label))
    for part in parts:
        if len(parts) > 1 and not is_control(part.entry) and registry.describe(part.entry).family != "context":
            raise SpecError(f"'{part.entry}' in '{label}' is a whole network and stands alone; allowed: context blocks")
    return Chain(tuple(parts))


def parse_chains(text: str) -> list[Chain]:
    """A list of chains: `identity,nl+ldv2:kernel=5,dilation=1,apnb` is three.

    As in the block lists of a sweep, an item that begins with `option=` continues the options of the block before it.

    Raises:
        SpecError: an item is empty, or `read_chain` says why it cannot be.
    """
    labels: list[str] = []
    for item in (item.strip() for item in text.split(",")):
        if not item:
            raise SpecError(f"empty block in '{text}'; separate them by single commas")
        if "=" in item.partition(":")[0]:
            if not labels or ":" not in labels[-1]:
                raise SpecError(f"'{item}' in the block list '{text}' continues no block; write name:option=value")
            labels[-1] += f",{item}"
        else:
            labels.append(item)
    return [read_chain(label) for label in labels]


def _options(name: str, text: str, label: str) -> dict[str, str]:
    options: dict[str, str] = {}
    for item in text.split(","):
        key, equals, value = (part.strip() for part in item.partition("="))
        if not (key and equals and value):
            raise SpecError(f"'{item}' in '{label}' is not an option; write {name}:option=value")
        if key in options:
            raise SpecError(f"option '{key}' of '{name}' stands twice in '{label}'")
        options[key] = value
    return options


def _part(name: str, given: Mapping[str, object], label: str) -> Part:
    known = trainable()
    if name not in known:
        if name in registry.names():
            family = registry.describe(name).family
            raise SpecError(f"'{name}' is of family '{family}' and cannot be trained; allowed: {', '.join(known)}")
        inside = f" in '{label}'" if name != label else ""
        raise SpecError(f"unknown block '{name}'{inside}{nearest(name, known)}")
    if is_control(name):
        return Part(name, tuple((option, _whole(name, option, value)) for option, value in given.items()))
    entry, defaults = registry.describe(name), _defaults(name)
    if entry.family == "network" and "classes" in given:
        raise SpecError(f"option 'classes' of '{name}' is the number of the data set's classes and cannot be given")
    values = entry.resolve({**defaults, **given})
    return Part(name, tuple((option, value) for option, value in values.items() if value != defaults[option]))


def _whole(name: str, option: str, value: object) -> int:
    """The value of an option of a control."""
    if option not in CONTROLS[name]:
        raise SpecError(f"unknown option '{option}' of '{name}'{nearest(option, CONTROLS[name])}")
    text = str(value)
    if not (text.isascii() and text.isdigit() and 0 < int(text) <= _MOST_HIDDEN):
        raise SpecError(f"option '{option}' of '{name}' cannot be '{text}'; allowed: 1 to {_MOST_HIDDEN}")
    return int(text)


def _defaults(name: str) -> dict[str, OptionValue]:
    return dict(CONTROLS[name]) if is_control(name) else registry.describe(name).resolve(SMALL_MAP.get(name, {}))
