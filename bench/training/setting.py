"""Setting: what a value of a recipe may be, and how it is read from a file or from text."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NoReturn

from modules.options import SpecError, nearest


@dataclass(frozen=True)
class Rule:
    """What one setting may be.

    Attributes:
        kind: `text`, `switch`, `whole`, `number`, `pair` (of pixels, or nothing) or `numbers`.
        least, most: bounds of numbers, both allowed.
        above: whether `least` itself is not allowed.
        words: the only texts allowed, or empty.
    """

    kind: str
    least: float = 0
    most: float = math.inf
    above: bool = False
    words: tuple[str, ...] = ()

    @property
    def allowed(self) -> str:
        """In words."""
        if self.kind == "switch":
            return "true or false"
        if self.kind == "pair":
            return "two whole numbers of pixels such as 512x1024, or none"
        if self.kind == "text":
            return "text"
        name = {"whole": "a whole number", "number": "a number", "numbers": "numbers joined by +, each"}[self.kind]
        bound = f"above {self.least:g}" if self.above else f"of at least {self.least:g}"
        return f"{name} {bound}" + (f" and at most {self.most:g}" if self.most < math.inf else "")


_SHARE = Rule("number", most=1)
_POSITIVE = Rule("number", above=True)
_COUNT = Rule("whole", least=1)
_NATURAL = Rule("whole")
_NUMBER = Rule("number")
_SWITCH = Rule("switch")
_PAIR = Rule("pair")

RULES: Mapping[str, Rule] = {
    "name": Rule("text"),
    "description": Rule("text"),
    "iterations": _COUNT,
    "epochs": _NATURAL,
    "batch": _COUNT,
    "optimizer": Rule("text", words=("sgd", "adamw")),
    "lr": _POSITIVE,
    "lr_head_factor": _POSITIVE,
    "momentum": _SHARE,
    "weight_decay": _NUMBER,
    "decay_norms": _SWITCH,
    "power": _NUMBER,
    "warmup": _NATURAL,
    "clip": _NUMBER,
    "aux": _NUMBER,
    "presence": _NUMBER,
    "class_weights": Rule("text", words=("none", "sqrt")),
    "ohem": _NATURAL,
    "ohem_threshold": _SHARE,
    "amp": Rule("text", words=("none", "bf16", "fp16")),
    "sync_bn": _SWITCH,
    "train_count": _COUNT,
    "test_count": _COUNT,
    "size": _COUNT,
    "crop": _PAIR,
    "scale_low": _POSITIVE,
    "scale_high": _POSITIVE,
    "flip": _SWITCH,
    "brightness": _SHARE,
    "eval_mode": Rule("text", words=("single", "multi", "sliding")),
    "eval_scales": Rule("numbers", above=True),
    "eval_flip": _SWITCH,
    "eval_crop": _PAIR,
    "eval_stride": Rule("number", most=1, above=True),
    "eval_every": _NATURAL,
    "checkpoint_every": _NATURAL,
}
"""Every setting of a recipe."""

_SWITCHES = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}


def read_setting(name: str, value: object, place: str) -> object:
    """The value of a setting out of what a file or a command line gives, text included.

    Args:
        name: one of `RULES`.
        value: as given; lists become tuples.
        place: where it was given, for the message.

    Raises:
        SpecError: the setting cannot have this value.
    """
    rule = RULES[name]
    try:
        return _READERS[rule.kind](rule, value)
    except (ValueError, TypeError):
        shown = f"'{value}'" if isinstance(value, str) else repr(value)
        hint = nearest(str(value), rule.words) if rule.words else f"; allowed: {rule.allowed}"
        raise SpecError(f"{place}: '{name}' cannot be {shown}{hint}") from None


def spelled(name: str, value: object) -> str:
    """A value as the command line spells it: `512x1024`, `0.5+1.0`, `true`."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (list, tuple)):
        return ("x" if RULES[name].kind == "pair" else "+").join(str(item) for item in value)
    return "none" if value is None else str(value)


def _text(rule: Rule, value: object) -> str:
    if not isinstance(value, str) or (rule.words and value not in rule.words):
        raise ValueError(value)
    return value


def _switch(rule: Rule, value: object) -> bool:
    if isinstance(value, str):
        return _SWITCHES[value.lower()] if value.lower() in _SWITCHES else _refuse(value)
    return value if isinstance(value, bool) else _refuse(value)


def _whole(rule: Rule, value: object) -> int:
    number = _number(rule, value)
    return int(number) if number == int(number) else _refuse(value)


def _number(rule: Rule, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise ValueError(value)
    number = float(value)
    if not math.isfinite(number) or not rule.least <= number <= rule.most or (rule.above and number == rule.least):
        raise ValueError(value)
    return number


def _pair(rule: Rule, value: object) -> tuple[int, int] | None:
    if value is None or (isinstance(value, str) and value.lower() == "none"):
        return None
    items = value.lower().split("x") if isinstance(value, str) else value
    if not isinstance(items, (list, tuple)) or len(items) != 2:
        raise ValueError(value)
    height, width = (_whole(_COUNT, item) for item in items)
    return height, width


def _numbers(rule: Rule, value: object) -> tuple[float, ...]:
    items = value.split("+") if isinstance(value, str) else value
    if not isinstance(items, (list, tuple)) or not items:
        raise ValueError(value)
    return tuple(_number(rule, item) for item in items)


def _refuse(value: object) -> NoReturn:
    raise ValueError(value)


_READERS: Mapping[str, Callable[[Rule, object], object]] = {
    "text": _text,
    "switch": _switch,
    "whole": _whole,
    "number": _number,
    "pair": _pair,
    "numbers": _numbers,
}
