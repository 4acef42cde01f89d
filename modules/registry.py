"""The one list of everything that can be swept, and the only door through which it is built."""

from __future__ import annotations

import inspect
import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias, TypeVar

from torch import nn

from modules.options import Option, OptionValue, SpecError, nearest, options_of, text_of

Family: TypeAlias = Literal["context", "fusion", "upsample", "backbone", "network"]
Module = TypeVar("Module", bound=type[nn.Module])

FAMILIES: Mapping[str, str] = types.MappingProxyType(
    {
        "context": "map (B,C,H,W) -> map",
        "fusion": "low map (B,C/2,H,W), high map (B,C,H,W) -> map",
        "upsample": "maps (B,C/4,H,W), (B,C/2,H/2,W/2), (B,C,H/4,W/4) -> map at H x W",
        "backbone": "image (B,3,8H,8W) -> maps, the last of C channels",
        "network": "image (B,3,8H,8W) -> logits",
    }
)
_RESERVED = ("channels", "impl")
_ENTRIES: dict[str, Entry] = {}


@dataclass(frozen=True)
class Entry:
    """A registered subject.

    Attributes:
        name: how users call it.
        family: what goes in and what comes out, see `FAMILIES`.
        build: the `nn.Module` class; takes `channels`, the options, and `impl` if there is more than one.
        paper: where it was published.
        equation: the equation or section of that paper.
        summary: one line on what it computes.
        options: what can be set, with defaults.
        impls: ways to compute the same function; the first is the published one.
    """

    name: str
    family: Family
    build: Callable[..., nn.Module]
    paper: str
    equation: str
    summary: str
    options: Mapping[str, Option]
    impls: tuple[str, ...]

    def resolve(self, given: Mapping[str, object]) -> dict[str, OptionValue]:
        """All options with their values: those `given` (values or text) over the defaults.

        Raises:
            SpecError: an option is unknown, or a value not allowed.
        """
        values = {name: option.default for name, option in self.options.items()}
        for name, value in given.items():
            if name not in self.options:
                raise SpecError(f"unknown option '{name}' of '{self.name}'{nearest(name, self.options)}")
            try:
                values[name] = self.options[name].check(value)
            except ValueError:
                option = self.options[name]
                hint = nearest(str(value), option.choices).partition(" allowed")[0]
                told = f"option '{name}' of '{self.name}' cannot be '{value}'{hint} allowed: {option.allowed}"
                raise SpecError(told) from None
        return values

    def changed(self, values: Mapping[str, OptionValue]) -> dict[str, OptionValue]:
        """Those of `values` that differ from their defaults, in the order of the constructor."""
        return {name: values[name] for name in self.options if values[name] != self.options[name].default}


def register(
    name: str, *, family: Family, paper: str = "", equation: str = "", summary: str = ""
) -> Callable[[Module], Module]:
    """Make an `nn.Module` class an entry; use as a decorator.

    The constructor takes `channels` (C of the map that it works on); further keyword arguments with defaults are
    the entry's options. An argument `impl: Literal["reference", ...]` lists its implementations.

    Args:
        name: how users call it; letters, digits and '_'.
        family: decides the inputs, see `FAMILIES`.
        paper: where it was published.
        equation: the equation or section of that paper.
        summary: one line; the class docstring's first line where not given.

    Raises:
        SpecError: the name is taken or unusable, the family unknown, or the constructor does not fit.
    """

    def enter(build: Module) -> Module:
        if not name.isidentifier():
            raise SpecError(f"cannot register '{name}': a name has letters, digits and '_' only")
        if name in _ENTRIES:
            raise SpecError(f"cannot register '{name}': the name is taken by {_ENTRIES[name].build!r}")
        if family not in FAMILIES:
            raise SpecError(f"cannot register '{name}': unknown family '{family}'{nearest(family, FAMILIES)}")
        if "channels" not in inspect.signature(build).parameters:
            raise SpecError(f"cannot register '{name}': its constructor must take 'channels'")
        try:
            options = options_of(build, _RESERVED)
        except TypeError as error:
            raise SpecError(f"cannot register '{name}': {error}") from None
        line = summary or (inspect.getdoc(build) or "").partition("\n")[0]
        _ENTRIES[name] = Entry(name, family, build, paper, equation, line, options, _impls_of(build))
        return build

    return enter


def names(family: str | None = None) -> list[str]:
    """Every registered name, or those of one family: by family, then in the order of registration."""
    order = list(FAMILIES)
    entries = sorted(_ENTRIES.values(), key=lambda entry: order.index(entry.family))
    return [entry.name for entry in entries if family in (None, entry.family)]


def describe(name: str) -> Entry:
    """The entry of that name.

    Raises:
        SpecError: there is none.
    """
    if name not in _ENTRIES:
        raise SpecError(f"unknown block '{name}'{nearest(name, _ENTRIES)}")
    return _ENTRIES[name]


def create(name: str, /, channels: int, impl: str = "reference", **options: object) -> nn.Module:
    """Build an entry for maps of `channels` channels.

    Args:
        name: a registered name.
        channels: C, at least 1; what it must divide by depends on the entry.
        impl: one of the entry's implementations.
        options: values, or the text that stands for them on the command line.

    Raises:
        SpecError: name, option, implementation or channels are not possible; the message says which and why.
    """
    entry = describe(name)
    if impl not in entry.impls:
        raise SpecError(f"'{name}' has no implementation '{impl}'{nearest(impl, entry.impls)}")
    if channels < 1:
        raise SpecError(f"channels must be at least 1, not {channels}")
    values: dict[str, object] = dict(entry.resolve(options))
    if len(entry.impls) > 1:
        values["impl"] = impl
    try:
        return entry.build(channels=channels, **values)
    except Exception as error:  # whatever a constructor raises, the channels and options given to it do not fit
        why = str(error) if isinstance(error, ValueError) else f"{type(error).__name__}: {error}"
        raise SpecError(f"cannot build '{spell(name, entry.changed(entry.resolve(options)))}': {why}") from error


def read_nested(spec: str) -> tuple[str, dict[str, str]]:
    """A block inside an option, `gc/ratio=4/pooling=avg`, as its name and the text of its options.

    Raises:
        SpecError: an option is not of the form name=value, or stands twice.
    """
    if ":" in spec or "," in spec:
        raise SpecError(f"'{spec}' inside an option is written '{spec.replace(':', '/').replace(',', '/')}'")
    name, *items = spec.split("/")
    options: dict[str, str] = {}
    for item in items:
        key, equals, value = item.partition("=")
        if not (key and equals and value) or key in options:
            raise SpecError(f"'{item}' in '{spec}' is not an option of its own; write name/option=value/option=value")
        options[key] = value
    return name, options


def create_nested(spec: str, channels: int, impl: str = "reference", **defaults: object) -> nn.Module:
    """The context block that `spec` names, see `read_nested`; its options stand over the `defaults`.

    It is of implementation `impl` where it has that, else as published.

    Raises:
        SpecError: there is no such context block, or it cannot be built for `channels`.
    """
    name, options = read_nested(spec)
    for reserved in _RESERVED:
        if reserved in options:
            raise SpecError(f"'{reserved}' in '{spec}' cannot be set: a block inside an option has its place's")
    if name not in names("context"):
        known = f"is of family '{_ENTRIES[name].family}', not" if name in _ENTRIES else "is not"
        raise SpecError(f"'{name}' {known} a context block{nearest(name, names('context'))}")
    chosen = impl if impl in describe(name).impls else "reference"
    return create(name, channels, chosen, **{**defaults, **options})


def spell(name: str, options: Mapping[str, OptionValue]) -> str:
    """The text that names an entry with options everywhere: 'gc:ratio=4,pooling=avg'."""
    listed = ",".join(f"{option}={text_of(value)}" for option, value in options.items())
    return f"{name}:{listed}" if listed else name


def _impls_of(build: type[nn.Module]) -> tuple[str, ...]:
    annotation = typing.get_type_hints(build.__init__).get("impl")
    return tuple(typing.get_args(annotation)) if annotation is not None else ("reference",)
