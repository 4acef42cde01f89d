"""Options of an entry: the keyword arguments of its constructor, typed, listable and readable from text."""

from __future__ import annotations

import difflib
import inspect
import types
import typing
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

OptionValue: TypeAlias = bool | int | float | str | tuple[int, ...] | None


class SpecError(ValueError):
    """Something a user named does not exist or cannot be. The message is one line: given, allowed, nearest."""

    exit_code = 2


def nearest(given: str, allowed: Iterable[str]) -> str:
    """A clause with what is allowed and, if one is close, the likeliest: "; did you mean 'nl'? allowed: ..."."""
    names = list(allowed)
    close = difflib.get_close_matches(given, names, n=1, cutoff=0.5)
    hint = f"; did you mean '{close[0]}'?" if close else ";"
    return f"{hint} allowed: {', '.join(names) if names else 'none'}"


@dataclass(frozen=True)
class Option:
    """One option of an entry.

    Attributes:
        name: keyword argument of the constructor.
        default: value where it is not given; `None` means "derived from the channels".
        kinds: the types that it may hold (`bool`, `int`, `float`, `str`, `tuple` for '+'-joined integers).
        choices: the only strings allowed, or empty.
    """

    name: str
    default: OptionValue
    kinds: tuple[type, ...]
    choices: tuple[str, ...] = ()

    @property
    def allowed(self) -> str:
        """What may stand after the '=', in words."""
        if self.choices:
            return "|".join(self.choices)
        words = {bool: "true|false", int: "integer", float: "number", str: "text", tuple: "integers joined by +"}
        return " or ".join(words[kind] for kind in self.kinds)

    def parse(self, text: str) -> OptionValue:
        """The value that `text` stands for.

        Raises:
            ValueError: the text is none of what `allowed` says.
        """
        if self.choices:
            if text in self.choices:
                return text
            raise ValueError(text)
        if text.lower() in ("none", "auto") and self.default is None:
            return None
        for kind in self.kinds:
            try:
                return _READERS[kind](text)
            except ValueError:
                continue
        raise ValueError(text)

    def check(self, value: object) -> OptionValue:
        """`value`, if the option may hold it; text is parsed, lists become tuples.

        Raises:
            ValueError: it may not.
        """
        if isinstance(value, str):
            return self.parse(value)
        if isinstance(value, list):
            value = tuple(value)
        if value is None and self.default is None:
            return None
        for kind in self.kinds:
            if type(value) is kind or (kind is float and type(value) is int):
                return typing.cast(OptionValue, value)
        raise ValueError(str(value))


def text_of(value: OptionValue) -> str:
    """The text that `Option.parse` reads back as `value`."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, tuple):
        return "+".join(str(item) for item in value)
    return "none" if value is None else str(value)


def options_of(build: Callable[..., object], reserved: Iterable[str]) -> Mapping[str, Option]:
    """The options that a constructor takes: every keyword argument with a default, but for the `reserved` names.

    Raises:
        TypeError: an argument has no default, or a type that no text can spell.
    """
    parameters = inspect.signature(build).parameters.values()
    annotations = typing.get_type_hints(build.__init__ if inspect.isclass(build) else build)
    found: dict[str, Option] = {}
    for parameter in parameters:
        if parameter.name in (*reserved, "self") or parameter.kind in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL):
            continue
        if parameter.default is parameter.empty:
            raise TypeError(f"option '{parameter.name}' of {build!r} needs a default")
        annotation = annotations.get(parameter.name, type(parameter.default))
        kinds, choices = _kinds_of(annotation)
        unreadable = [kind for kind in kinds if kind not in _READERS]
        if unreadable or not kinds:
            raise TypeError(f"option '{parameter.name}' of {build!r} has a type that no text can spell: {annotation}")
        found[parameter.name] = Option(parameter.name, parameter.default, kinds, choices)
    return types.MappingProxyType(found)


def _kinds_of(annotation: object) -> tuple[tuple[type, ...], tuple[str, ...]]:
    if typing.get_origin(annotation) is Literal:
        return (str,), tuple(typing.get_args(annotation))
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        parts = [_kinds_of(part) for part in typing.get_args(annotation) if part is not type(None)]
        return tuple(kind for kinds, _ in parts for kind in kinds), tuple(c for _, choices in parts for c in choices)
    if typing.get_origin(annotation) is tuple:
        return (tuple,), ()
    return ((annotation,), ()) if isinstance(annotation, type) else ((), ())


def _read_bool(text: str) -> bool:
    words = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}
    if text.lower() not in words:
        raise ValueError(text)
    return words[text.lower()]


def _read_integers(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split("+"))


_READERS: Mapping[type, Callable[[str], OptionValue]] = {
    bool: _read_bool,
    int: int,
    float: float,
    str: str,
    tuple: _read_integers,
}
