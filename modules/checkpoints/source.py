"""A class of the authors that ours stands for."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from torch import Tensor, nn

from modules.checkpoints.naming import Naming
from modules.options import SpecError, nearest

Kind = TypeVar("Kind", bound=nn.Module)


def _nothing(_: object) -> Mapping[str, Callable[[Tensor], Tensor]]:
    return {}


def _alike(_: nn.Module) -> str:
    return ""


@dataclass(frozen=True)
class Source:
    """How to rebuild one class of an authors' repository.

    Attributes:
        build: the authors' constructor arguments -> our module.
        naming: our module -> the authors' names.
        entries: registered names whose modules can take weights of this class from a file.
        changes: the authors' arguments -> changes of weights that follow from them, see `Naming.changes`.
        unlike: our module -> what it computes otherwise than the authors' although the names fit; empty if nothing.
    """

    build: Callable[..., nn.Module]
    naming: Callable[[nn.Module], Naming]
    entries: tuple[str, ...] = ()
    changes: Callable[[Mapping[str, object]], Mapping[str, Callable[[Tensor], Tensor]]] = _nothing
    unlike: Callable[[nn.Module], str] = _alike

    def module(self, name: str, config: Mapping[str, object]) -> nn.Module:
        """Our module for the authors' arguments `config`; `name` is that of the source, for messages.

        Raises:
            SpecError: an argument is unknown, missing or not possible.
        """
        parameters = inspect.signature(self.build).parameters
        for given in config:
            if given not in parameters:
                raise SpecError(f"unknown argument '{given}' of '{name}'{nearest(given, parameters)}")
        missing = [key for key, value in parameters.items() if value.default is value.empty and key not in config]
        if missing:
            raise SpecError(f"'{name}' needs the argument '{missing[0]}'; allowed: {', '.join(parameters)}")
        try:
            return self.build(**config)
        except Exception as error:  # whatever a constructor raises, the arguments given to it do not fit
            why = str(error) if isinstance(error, ValueError) else f"{type(error).__name__}: {error}"
            raise SpecError(f"cannot build '{name}': {why}") from error


def static(naming: Naming) -> Callable[[nn.Module], Naming]:
    """The same names whatever the module."""
    return lambda _: naming


def part(module: nn.Module, kind: type[Kind]) -> Kind:
    """The first module of class `kind` in `module`, itself included.

    Raises:
        TypeError: there is none.
    """
    for inner in module.modules():
        if isinstance(inner, kind):
            return inner
    raise TypeError(f"{type(module).__name__} holds no {kind.__name__}")


def only(argument: str, given: object, *allowed: object) -> None:
    """Refuse a value of an authors' argument for which we have no counterpart.

    Raises:
        ValueError: `given` is none of the `allowed`; lists and tuples are alike.
    """
    value = list(given) if isinstance(given, tuple) else given
    if value not in allowed:
        raise ValueError(f"{argument} can be {' or '.join(map(repr, allowed))} here, not {given!r}")
