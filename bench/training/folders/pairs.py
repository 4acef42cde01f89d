"""Pair: an image file and the file that annotates it, found by their names."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path


class MissingFile(Exception):
    """A folder or file that a layout calls for is not there. The message says which."""


@dataclass(frozen=True)
class Pair:
    """An image file and its annotation."""

    image: Path
    label: Path


def home(root: Path, *names: str) -> Path:
    """The folder of a data set: `root` itself, or the first of the named folders in it, as archives unpack to."""
    return next((root / name for name in names if (root / name).is_dir()), root)


def need_folder(path: Path) -> Path:
    """The path, if it is a folder.

    Raises:
        MissingFile: it is not.
    """
    if not path.is_dir():
        raise MissingFile(f"no folder '{path}'")
    return path


def files(folder: Path, ending: str, depth: int = 0) -> dict[str, Path]:
    """Files below a folder whose names end so, by what stands before the ending, in order of their paths.

    Args:
        folder: where they lie.
        ending: of the names, such as `_leftImg8bit.png`.
        depth: folders between `folder` and the files; their names belong to the keys.

    Raises:
        MissingFile: the folder is not there.
    """
    pattern = "/".join(["*"] * (depth + 1))
    found = [path for path in need_folder(folder).glob(pattern) if path.name.endswith(ending)]
    return {path.relative_to(folder).as_posix().removesuffix(ending): path for path in sorted(found)}


def text(path: Path) -> str:
    """What a text file holds.

    Raises:
        MissingFile: the file is not there or is not text.
    """
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise MissingFile(f"no file '{path}'") from None
    except (OSError, UnicodeDecodeError):
        raise MissingFile(f"cannot read '{path}' as text") from None


def words(path: Path) -> list[str]:
    """The words of a text file, such as the names that a split lists.

    Raises:
        MissingFile: the file is not there, is not text, or is empty.
    """
    found = text(path).split()
    if not found:
        raise MissingFile(f"'{path}' lists nothing")
    return found


def match(images: Mapping[str, Path], labels: Mapping[str, Path]) -> tuple[Pair, ...]:
    """Images and annotations of the same name.

    Raises:
        MissingFile: an image has no annotation, or an annotation no image.
    """
    bare = [name for name in images if name not in labels]
    if bare:
        raise MissingFile(f"{_several(bare, len(images), 'image')} without an annotation")
    orphans = [name for name in labels if name not in images]
    if orphans:
        raise MissingFile(f"{_several(orphans, len(labels), 'annotation')} without an image")
    return tuple(Pair(image, labels[name]) for name, image in images.items())


def select(names: Iterable[str], images: Mapping[str, Path], labels: Mapping[str, Path]) -> tuple[Pair, ...]:
    """The listed pairs, in the order of the list; what is not listed does not matter.

    Raises:
        MissingFile: a listed image or annotation is not there.
    """
    listed = list(names)
    for what, files_there in (("image", images), ("annotation", labels)):
        absent = [name for name in listed if name not in files_there]
        if absent:
            raise MissingFile(f"{_several(absent, len(listed), 'listed ' + what)} not found")
    return tuple(Pair(images[name], labels[name]) for name in listed)


def _several(names: list[str], total: int, what: str) -> str:
    if len(names) == 1:
        return f"the {what} '{names[0]}' is"
    return f"{len(names)} of {total} {what}s, such as '{names[0]}', are"
