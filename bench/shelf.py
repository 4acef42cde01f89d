"""Shelf: TOML files that come with the package by name, and those of a user's own by path."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from modules.options import SpecError, nearest

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


@dataclass(frozen=True)
class Shelf:
    """A folder of TOML files inside a package.

    Attributes:
        package: dotted name.
        folder: within it.
        what: one of the files in words, for errors: `suite`.
    """

    package: str
    folder: str
    what: str

    def names(self) -> list[str]:
        """The files that come with the package, without their ending."""
        return sorted(file.name.removesuffix(".toml") for file in self._home().iterdir() if file.name.endswith(".toml"))

    def read(self, wanted: str) -> dict[str, Any]:
        """The content of a file, by name or by a path that ends in `.toml`.

        Raises:
            SpecError: it does not exist, cannot be read, or is not TOML.
        """
        if wanted.endswith(".toml"):
            path: Any = Path(wanted)
        elif wanted in self.names():
            path = self._home() / f"{wanted}.toml"
        else:
            hint = nearest(wanted, self.names())
            raise SpecError(f"unknown {self.what} '{wanted}'{hint}, or the path of a .toml file")
        try:
            content: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise SpecError(f"cannot read {self.what} '{wanted}': {error.strerror}") from None
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise SpecError(f"{self.what} '{wanted}' is not valid TOML: {error}") from None
        return content

    def name_of(self, content: Mapping[str, Any], wanted: str) -> str:
        """The name of a file's subject, which folders are called after: what it says, or its own.

        Raises:
            SpecError: it says what leads elsewhere.
        """
        name = str(content.get("name", Path(wanted).stem))
        if name in ("", ".", "..") or set(name) & set("/\\\0"):
            raise SpecError(f"{self.what} '{wanted}': '{name}' cannot be the name of a folder")
        return name

    def _home(self) -> Any:
        return resources.files(self.package) / self.folder
