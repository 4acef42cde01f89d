"""Sketch: the few maps of a block that a figure shows, put where they belong in the picture, as arrays in a file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from bench.attention.capture import Place
from bench.attention.pictures import Point
from modules.options import SpecError

_BASIS = 256

Floats = NDArray[np.float32]


@dataclass
class Sketch:
    """Maps of one block over one picture.

    Attributes:
        place: the block.
        points: that ask.
        maps: `attention` (Q,h,w), or (1,h,w) where one map serves all positions; `mask` (h,w), the mean over the
            channels; `affinity` (Q,h,w), not a number outside of the neighbourhood of the point that asks.
        extent: of the map of positions that ask.
        lacking: why there is no map where there could be one.
    """

    place: Place
    points: Sequence[Point]
    maps: dict[str, Floats] = field(default_factory=dict)
    extent: tuple[int, ...] = ()
    lacking: str | None = None
    _source: tuple[int, ...] = ()

    def see(self, name: str, value: Tensor) -> None:
        """Take from a tensor that the block shows, see `bench.attention.capture.watched`, what a figure needs."""
        if name in ("input", "source"):
            self._source = tuple(value.shape[2:])
            self.extent = self._source if name == "input" else self.extent
        if len(self.extent) != 2 or name not in ("attention", "affinity", "mask"):
            return
        if name == "mask":
            self.maps["mask"] = _floats(value[0].mean(dim=0))
            return
        height, width = self.extent
        cells = [point.cell(height, width) for point in self.points]
        asking = torch.tensor([row * width + column for row, column in cells], device=value.device)
        if name == "affinity":
            if len(value) == height * width:
                self.maps["affinity"] = self._neighbours(value[asking].flatten(1), cells)
            return
        rows = value[0] if value.shape[1] == 1 else value[0][asking] if value.shape[1] == height * width else None
        laid = None if rows is None else self._laid(rows)
        if laid is None:
            self.lacking = f"the place of its {value.shape[2]} anchors on the map is not known"
        else:
            self.maps["attention"] = laid

    def save(self, path: Path, shown: NDArray[np.uint8], picture: str) -> bool:
        """Write maps, picture and points to an `.npz`, if there is a map.

        Raises:
            SpecError: the file cannot be written.
        """
        if not self.maps:
            return False
        points = np.array([[point.y, point.x] for point in self.points], np.float64)
        names = np.array([point.name for point in self.points])
        facts = {"image": shown, "picture": np.array(picture), "points": points, "names": names}
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("wb") as file:
                np.savez_compressed(file, **facts, extent=np.array(self.extent), **self.maps)  # type: ignore[arg-type]
        except OSError as error:
            raise SpecError(f"cannot write maps to '{path}': {error.strerror}") from None
        return True

    def _laid(self, rows_QS: Tensor) -> Floats | None:
        """Weights of S anchors as weights of the positions that they stand for."""
        height, width = self._source if len(self._source) == 2 else self.extent
        count = rows_QS.shape[1]
        if count == height * width:
            return _floats(rows_QS.view(-1, height, width))
        sample = getattr(self.place.module, "sample", None)
        if isinstance(sample, nn.Module):
            shares_SN = _shares(sample, height, width, rows_QS.device)
            return _floats((rows_QS @ shares_SN).view(-1, height, width)) if len(shares_SN) == count else None
        halved = (height // 2, width // 2)
        return _floats(rows_QS.view(-1, *halved)) if count == halved[0] * halved[1] else None

    def _neighbours(self, weights_QK: Tensor, cells: Sequence[tuple[int, int]]) -> Floats:
        """Weights of the neighbours of each point, at their places; those beyond the rim are left out."""
        height, width = self.extent
        side = round(weights_QK.shape[1] ** 0.5)
        dilation = getattr(self.place.module, "dilation", 1)
        found = np.full((len(cells), height, width), np.nan, np.float32)
        for query, ((row, column), weights) in enumerate(zip(cells, weights_QK.tolist(), strict=True)):
            for index, weight in enumerate(weights):
                down, right = (dilation * (step - side // 2) for step in divmod(index, side))
                if 0 <= row + down < height and 0 <= column + right < width:
                    found[query, row + down, column + right] = weight
        return found


def _shares(sample: nn.Module, height: int, width: int, device: torch.device) -> Tensor:
    """(S,N): the share that each position has in an anchor; every row sums to 1.

    Found by sampling maps that are 1 at one position. Of an average these are the very weights, so that attention over
    anchors becomes the attention over positions that it amounts to; of a maximum, any position of the cell may be it.
    """
    parts = []
    for start in range(0, height * width, _BASIS):
        stop = min(start + _BASIS, height * width)
        basis = torch.zeros(1, stop - start, height * width, device=device)
        basis[0, torch.arange(stop - start), torch.arange(start, stop)] = 1
        parts.append(sample(basis.view(1, -1, height, width))[0])
    shares_SN = torch.cat(parts).transpose(0, 1)
    return shares_SN / shares_SN.sum(dim=1, keepdim=True)


def _floats(values: Tensor) -> Floats:
    found: Floats = values.detach().float().cpu().numpy()
    return found
