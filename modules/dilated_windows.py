"""Dilated windows: attention of every position to k x k neighbours of a dilation, without unfolding the neighbours.

Positions whose rows and columns agree modulo the dilation r attend among themselves alone: r^2 small maps, each with
undilated windows. Within a tile of such a map the logits of all queries and keys are one matrix product, of which the
windows are a band.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

TILE = 8


@dataclass(frozen=True)
class Windows:
    """Which neighbours a position attends to.

    Attributes:
        kernel: k, odd.
        dilation: r.
        scale: of the logits.
        masked: whether neighbours outside the map are left out; else they have key and value zero, so logit zero.
    """

    kernel: int
    dilation: int
    scale: float
    masked: bool


def split_classes(map_BDHW: Tensor, dilation: int) -> Tensor:
    """(B,r,r,h,w,D), h = ceil(H/r), w = ceil(W/r): the positions of each class, zero beyond the map."""
    height, width = map_BDHW.shape[2:]
    map_BDHW = functional.pad(map_BDHW, (0, -width % dilation, 0, -height % dilation))
    batch, channels, height, width = map_BDHW.shape
    split = map_BDHW.reshape(batch, channels, height // dilation, dilation, width // dilation, dilation)
    return split.permute(0, 3, 5, 2, 4, 1).contiguous()


def join_classes(classes: Tensor, dilation: int, height: int, width: int) -> Tensor:
    """(B,D,H,W) of what `split_classes` gives."""
    joined = classes.permute(0, 5, 3, 1, 4, 2).reshape(
        classes.shape[0], classes.shape[5], classes.shape[3] * dilation, classes.shape[4] * dilation
    )
    return joined[:, :, :height, :width]


def attend_classes(query: Tensor, key: Tensor, value: Tensor, windows: Windows, extent: tuple[int, int]) -> Tensor:
    """softmax over k x k neighbours of query . key, times their values; all of (B,r,r,h,w,D).

    The backward pass computes the affinity again from query, key and value, which are all that is kept.

    Args:
        query, key, value: as `split_classes` gives them.
        windows: which neighbours.
        extent: height and width of the map.

    Source: GALDv2, Eq. 5-8.
    """
    if torch.is_grad_enabled() and any(part.requires_grad for part in (query, key, value)):
        result: Tensor = _Windowed.apply(query, key, value, windows, extent)  # type: ignore[no-untyped-call]
        return result
    return _forward(query, key, value, windows, extent)


class _Windowed(torch.autograd.Function):
    @staticmethod
    def forward(
        context: Any, query: Tensor, key: Tensor, value: Tensor, windows: Windows, extent: tuple[int, int]
    ) -> Tensor:
        context.save_for_backward(query, key, value)
        context.windows, context.extent = windows, extent
        return _forward(query, key, value, windows, extent)

    @staticmethod
    def backward(context: Any, *incoming: Tensor) -> tuple[Tensor, Tensor, Tensor, None, None]:
        query, key, value = context.saved_tensors
        windows, (given,) = context.windows, incoming
        to_query, to_key, to_value = (torch.zeros_like(part) for part in (query, key, value))
        for tile in _tiles(query, windows, context.extent):
            asking, keys, values = tile.asking(query), tile.asked(key), tile.asked(value)
            wanted = tile.asking(given)
            affinity = tile.affinity(asking, keys, windows.scale)
            slope = torch.bmm(wanted, values.transpose(1, 2))
            slope.sub_((slope * affinity).sum(-1, keepdim=True)).mul_(affinity)
            slope.mul_(windows.scale)
            tile.put(to_query, torch.bmm(slope, keys))
            tile.add(to_key, torch.bmm(slope.transpose(1, 2), asking))
            tile.add(to_value, torch.bmm(affinity.transpose(1, 2), wanted))
        return to_query, to_key, to_value, None, None


def _forward(query: Tensor, key: Tensor, value: Tensor, windows: Windows, extent: tuple[int, int]) -> Tensor:
    result = torch.empty_like(query)
    for tile in _tiles(query, windows, extent):
        affinity = tile.affinity(tile.asking(query), tile.asked(key), windows.scale)
        tile.put(result, torch.bmm(affinity, tile.asked(value)))
    return result


@dataclass(frozen=True)
class _Tile:
    """A rectangle of queries, of every class alike, with the rectangle of keys that their windows reach.

    Attributes:
        rows, columns: of the queries.
        above, left: of the keys, those on the map.
        hidden: (1 or classes, queries, keys): which pairs do not count.
        beyond: (queries): how many neighbours of each lie outside of the keys on the map, with logit and value zero.
    """

    rows: slice
    columns: slice
    above: slice
    left: slice
    hidden: Tensor
    beyond: Tensor | None

    def asking(self, classes: Tensor) -> Tensor:
        return classes[:, :, :, self.rows, self.columns].flatten(0, 2).flatten(1, 2)

    def asked(self, classes: Tensor) -> Tensor:
        return classes[:, :, :, self.above, self.left].flatten(0, 2).flatten(1, 2)

    def affinity(self, asking: Tensor, keys: Tensor, scale: float) -> Tensor:
        logits = torch.bmm(asking, keys.transpose(1, 2))
        if scale != 1.0:
            logits.mul_(scale)
        logits.view(-1, *self.hidden.shape).masked_fill_(self.hidden, torch.finfo(logits.dtype).min)
        if self.beyond is None:
            return torch.softmax(logits, dim=-1, out=logits)
        most = logits.amax(-1, keepdim=True).clamp_(min=0.0)
        logits.sub_(most).exp_()
        total = logits.sum(-1, keepdim=True) + self.beyond[:, None] * torch.exp(-most)
        return logits.div_(total)

    def put(self, classes: Tensor, values: Tensor) -> None:
        place = classes[:, :, :, self.rows, self.columns]
        place.copy_(values.view(place.shape))

    def add(self, classes: Tensor, values: Tensor) -> None:
        place = classes[:, :, :, self.above, self.left]
        place.add_(values.view(place.shape))


def _tiles(query: Tensor, windows: Windows, extent: tuple[int, int]) -> Iterator[_Tile]:
    """Every tile; what makes its mask is small, one number a pair of places."""
    height, width = query.shape[3:5]
    reach, dilation = windows.kernel // 2, windows.dilation
    exact = all(side % dilation == 0 for side in extent)
    for rows in _cuts(height):
        above = slice(max(0, rows.start - reach), min(height, rows.stop + reach))
        for columns in _cuts(width):
            left = slice(max(0, columns.start - reach), min(width, columns.stop + reach))
            vertical = _near(rows, above, reach, query.device)
            horizontal = _near(columns, left, reach, query.device)
            near = (vertical[:, None, :, None] & horizontal[None, :, None, :]).flatten(0, 1).flatten(1, 2)
            beyond = None
            if not windows.masked:
                missing = windows.kernel**2 - near.sum(-1)
                inner = above.stop - above.start == rows.stop - rows.start + 2 * reach
                inner = inner and left.stop - left.start == columns.stop - columns.start + 2 * reach
                beyond = None if inner else missing.to(query.dtype)
            elif not exact:
                near = near & _on_map(above, left, dilation, extent, query.device)[:, None, :]
                near = near.repeat(query.shape[0], 1, 1) if query.shape[0] > 1 else near
            hidden = ~near if near.ndim == 3 else ~near[None]
            yield _Tile(rows, columns, above, left, hidden, beyond)


def _cuts(extent: int) -> list[slice]:
    """Tiles of about equal length, at most `TILE`."""
    many = -(-extent // TILE)
    edges = [extent * index // many for index in range(many + 1)]
    return [slice(start, stop) for start, stop in itertools.pairwise(edges)]


def _near(asking: slice, asked: slice, reach: int, device: torch.device) -> Tensor:
    places = torch.arange(asked.start, asked.stop, device=device)
    return (torch.arange(asking.start, asking.stop, device=device)[:, None] - places).abs() <= reach


def _on_map(above: slice, left: slice, dilation: int, extent: tuple[int, int], device: torch.device) -> Tensor:
    """(r^2, keys): which keys of each class lie on the map, not on what fills it up to a multiple of r."""
    steps = torch.arange(dilation, device=device)[:, None]
    rows = torch.arange(above.start, above.stop, device=device) * dilation + steps < extent[0]
    columns = torch.arange(left.start, left.stop, device=device) * dilation + steps < extent[1]
    return (rows[:, None, :, None] & columns[None, :, None, :]).flatten(0, 1).flatten(1, 2)
