"""Anchors: a map reduced to few positions by grids of averages or maxima, or by a draw."""

from __future__ import annotations

from typing import Literal, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn import functional

from modules.attention import Implementation

Sampling: TypeAlias = Literal["pyramid_average", "pyramid_max", "pyramid_random", "average", "max", "random"]


class AnchorSampling(nn.Module):
    """Reduce a map to S anchors: grids of n x n averages or maxima, or n^2 random positions, for each size n.

    Random positions are drawn without replacement from a seeded generator, once for each map size and device; all
    maps of that size then use the same.

    Args:
        how: what a grid cell holds, a single grid or a pyramid of several; `none` keeps all N positions.
        sizes: n of each grid; exactly one unless `how` is a pyramid. `none` takes no notice of them.
        seed: of the random draws.
        impl: `fused` averages along rows and columns one after the other, for all grids together, as matrix products.

    Shapes: (B,D,H,W) -> (B,D,S), S = sum of n^2, or H*W.

    Raises:
        ValueError: sizes that do not fit `how`; more random positions than the map has.

    Source: Asymmetric Non-local Neural Networks, Sec. 3.2, Fig. 4 and Table 7.
    """

    def __init__(
        self, how: Sampling | Literal["none"], sizes: tuple[int, ...], seed: int, impl: Implementation = "reference"
    ) -> None:
        super().__init__()
        self.impl = impl
        if how in ("random", "max", "average") and len(sizes) != 1:
            raise ValueError(f"sampling {how} takes exactly 1 size, such as sizes=15, not {len(sizes)}")
        if min(sizes) < 1:
            raise ValueError(f"sizes must be at least 1, not {min(sizes)}")
        self.sizes = sizes
        self.kind = how.removeprefix("pyramid_")
        self.seed = seed
        self._drawn: dict[tuple[int, torch.device], Tensor] = {}
        self._shares: dict[tuple[int, torch.dtype, torch.device], Tensor] = {}

    def forward(self, map_BDHW: Tensor) -> Tensor:
        if self.kind == "none":
            return map_BDHW.flatten(2)
        if self.kind == "random":
            return map_BDHW.flatten(2).index_select(2, self._positions(map_BDHW))
        if self.kind == "average" and self.impl == "fused" and map_BDHW.is_contiguous():
            return self._averages(map_BDHW)
        grids = [self._grid(map_BDHW, size).flatten(2) for size in self.sizes]
        return torch.cat(grids, dim=2) if len(grids) > 1 else grids[0]

    def _grid(self, map_BDHW: Tensor, size: int) -> Tensor:
        if self.kind == "average":
            return functional.adaptive_avg_pool2d(map_BDHW, size)
        pooled: Tensor = functional.adaptive_max_pool2d(map_BDHW, size)
        return pooled

    def _averages(self, map_BDHW: Tensor) -> Tensor:
        """What the adaptive averages are: each a mean of columns of means of rows."""
        batch, channels, height, width = map_BDHW.shape
        shares = self._shares_of(width, map_BDHW), torch.split(self._shares_of(height, map_BDHW), [*self.sizes], dim=1)
        strips_BDHX = (map_BDHW.reshape(-1, width) @ shares[0]).view(batch, channels, height, -1)
        grids = []
        for size, strip_BDHX, share_HY in zip(
            self.sizes, torch.split(strips_BDHX, [*self.sizes], dim=3), shares[1], strict=True
        ):
            grid_XY = strip_BDHX.transpose(2, 3).reshape(-1, height) @ share_HY
            grids.append(grid_XY.view(batch, channels, size, size).transpose(2, 3).flatten(2))
        return torch.cat(grids, dim=2) if len(grids) > 1 else grids[0]

    def _shares_of(self, extent: int, map_BDHW: Tensor) -> Tensor:
        """(extent, sum of n): the share of each row (column) in the cells of every grid; made once for each extent."""
        key = (extent, map_BDHW.dtype, map_BDHW.device)
        if key not in self._shares:
            columns = []
            for size in self.sizes:
                for cell in range(size):
                    first, end = cell * extent // size, -(-(cell + 1) * extent // size)
                    columns.append([1 / (end - first) if first <= place < end else 0.0 for place in range(extent)])
            shares = torch.tensor(columns, dtype=torch.float64, device="cpu").t()
            self._shares[key] = shares.to(map_BDHW.device, map_BDHW.dtype).contiguous()
        return self._shares[key]

    def _positions(self, map_BDHW: Tensor) -> Tensor:
        count, device = map_BDHW.shape[2] * map_BDHW.shape[3], map_BDHW.device
        if max(self.sizes) ** 2 > count:
            raise ValueError(f"cannot draw {max(self.sizes) ** 2} positions from a map of {count}")
        if (count, device) not in self._drawn:
            generator = torch.Generator("cpu").manual_seed(self.seed)
            draws = [torch.randperm(count, generator=generator, device="cpu")[: size**2] for size in self.sizes]
            self._drawn[count, device] = torch.cat(draws).to(device)
        return self._drawn[count, device]
