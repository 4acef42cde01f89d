"""Pictures: what a network is shown, one at a time: generated scenes, or image files; and points to ask from."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from bench.training.scenes import LABELS, Scenes
from bench.training.scenes.classes import CTX, PAIR, REG
from bench.training.scenes.dataset import normalise
from modules.options import SpecError

DRAWN = 2
"""Pictures that maps are drawn over, at most."""
SHOWN_SIDE = 512
"""Longest side, pixels, of a picture that is kept for a figure."""
_ASKED = (("region", (CTX, CTX + 1)), ("blob", (PAIR,)), ("blob", (PAIR + 1,)), ("bar", (REG, REG + 1)))
_CELL = 4


@dataclass(frozen=True)
class Point:
    """A point that asks: its name, and where it lies, as shares of the picture's height and width."""

    name: str
    y: float
    x: float

    def cell(self, height: int, width: int) -> tuple[int, int]:
        """Row and column of the position that it falls on, on a map of that size."""
        return min(int(self.y * height), height - 1), min(int(self.x * width), width - 1)


class Pictures(Protocol):
    """Pictures by number.

    Attributes:
        data: what they are: `scenes` or `pictures`.
        digest: hash of them; null for scenes.
        drawn: numbers of those that maps are drawn over.
    """

    data: str
    digest: str | None
    drawn: Sequence[int]

    def __len__(self) -> int: ...

    def tensor(self, index: int) -> Tensor:
        """The picture (1,3,H,W) as the network takes it: float32, normalised."""

    def shown(self, index: int) -> NDArray[np.uint8]:
        """The picture (H,W,3) for the eye."""

    def name(self, index: int) -> str:
        """What it is called."""

    def points(self, index: int) -> list[Point]:
        """Where to ask from, if nobody says."""


class SceneImages:
    """The first pictures of the test split of the generated scenes. Maps are drawn over the first whose three legend
    bits are not all equal, for there the blobs must ask to be told apart."""

    data = "scenes"
    digest: str | None = None

    def __init__(self, count: int, size: int) -> None:
        """Generate them.

        Args:
            count: how many.
            size: side in pixels.

        Raises:
            SpecError: `Scenes` cannot be made so.
        """
        self.scenes = Scenes("test", count, size)
        mixed = self.scenes.mixed.nonzero().flatten().tolist()
        self.drawn: Sequence[int] = [*mixed, *(i for i in range(count) if i not in mixed)][:DRAWN]

    def __len__(self) -> int:
        return len(self.scenes)

    def tensor(self, index: int) -> Tensor:
        return normalise(self.scenes.images[index : index + 1])

    def shown(self, index: int) -> NDArray[np.uint8]:
        pixels: NDArray[np.uint8] = self.scenes.images[index].permute(1, 2, 0).numpy()
        return pixels

    def name(self, index: int) -> str:
        return f"scene {index} of the test split"

    def points(self, index: int) -> list[Point]:
        """The middle of the region that the cue decides, of a blob of each bit, and of a bar, where the picture has it.

        A middle is the cell of 4x4 pixels whose surroundings show the class the most.
        """
        target = self.scenes.targets[index]
        found = []
        for what, labels in _ASKED:
            for label in labels:
                cover = F.avg_pool2d((target == label).float()[None, None], _CELL)
                around = F.avg_pool2d(cover, 3, stride=1, padding=1) + cover
                if bool(cover.max() > 0.5):
                    row, column = divmod(int(around.argmax()), cover.shape[3])
                    y, x = ((place + 0.5) * _CELL / target.shape[0] for place in (row, column))
                    found.append(Point(f"{what} ({LABELS.classes[label]})", y, x))
                    break
        return found or middles()


class Photos:
    """Image files, resized to what the network takes. Maps are drawn over the first."""

    data = "pictures"

    def __init__(
        self,
        paths: Sequence[Path],
        fitted: Callable[[int, int], tuple[int, int]],
        mean: Sequence[float],
        sd: Sequence[float],
    ) -> None:
        """Read them once, to see that they can be.

        Args:
            paths: of the files, in any format that pillow reads; taken as RGB.
            fitted: height and width of a picture -> those that it is resized to.
            mean, sd: of the channels, in units of full scale, by which they are normalised.

        Raises:
            SpecError: a file is not there, or is no picture.
        """
        self._paths, self._fitted = list(paths), fitted
        self._mean, self._sd = (torch.tensor(values)[:, None, None] for values in (mean, sd))
        held = hashlib.sha256()
        for index in range(len(self)):
            held.update(self._read(index).tobytes())
        self.digest: str | None = held.hexdigest()[:16]
        self.drawn: Sequence[int] = list(range(min(len(self), DRAWN)))

    def __len__(self) -> int:
        return len(self._paths)

    def tensor(self, index: int) -> Tensor:
        pixels = torch.from_numpy(np.array(self._read(index))).permute(2, 0, 1).float() / 255
        return ((pixels - self._mean) / self._sd)[None]

    def shown(self, index: int) -> NDArray[np.uint8]:
        picture = self._read(index)
        picture.thumbnail((SHOWN_SIDE, SHOWN_SIDE))
        return np.array(picture)

    def name(self, index: int) -> str:
        return self._paths[index].name

    def points(self, index: int) -> list[Point]:
        return middles()

    def _read(self, index: int) -> Any:
        path = self._paths[index]
        try:
            with Image.open(path) as file:
                picture = file.convert("RGB")
        except FileNotFoundError:
            raise SpecError(f"no picture '{path}'") from None
        except Exception as error:  # a damaged file makes a reader raise almost anything
            raise SpecError(f"cannot read picture '{path}': {' '.join(str(error).split())}") from None
        height, width = self._fitted(picture.height, picture.width)
        return picture.resize((width, height), Image.Resampling.BILINEAR)


def middles() -> list[Point]:
    """The middle of a picture, and the middles of its upper left and lower right quarters."""
    return [Point("middle", 0.5, 0.5), Point("upper left", 0.25, 0.25), Point("lower right", 0.75, 0.75)]


def parse_queries(text: str) -> list[tuple[int, int]]:
    """Positions of a map that ask, row x column counted from 0: `4x4,8x12`.

    Raises:
        SpecError: an item is not of that form.
    """
    found = []
    for item in (item.strip() for item in text.split(",")):
        row, _, column = item.lower().partition("x")
        if not all(part.isascii() and part.isdigit() and len(part) < 7 for part in (row, column)):
            raise SpecError(f"query point '{item}' in '{text}' is not of the form ROWxCOLUMN, such as 4x12")
        found.append((int(row), int(column)))
    return list(dict.fromkeys(found))


def asked_points(queries: Sequence[tuple[int, int]], path: str, extent: tuple[int, ...], label: str) -> list[Point]:
    """Those positions as points of the picture.

    Args:
        queries: of `parse_queries`.
        path, extent: place of the block whose map they are counted on, and the size of that map.
        label: of what was asked for.

    Raises:
        SpecError: one lies outside of the map.
    """
    height, width = extent
    for row, column in queries:
        if row >= height or column >= width:
            where = f"the {height}x{width} map of '{label}' at {path}"
            raise SpecError(
                f"query point {row}x{column} lies outside of {where}; allowed: 0x0 to {height - 1}x{width - 1}"
            )
    return [Point(f"{row}x{column}", (row + 0.5) / height, (column + 0.5) / width) for row, column in queries]
