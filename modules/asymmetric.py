"""Asymmetric non-local blocks: few sampled anchors instead of every position (APNB, FNB, AFNB)."""

from __future__ import annotations

from typing import Literal, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn import functional

from modules.attention import Fuse, Fusion, as_map, attend, inner_width
from modules.non_local import Mode, PairwiseRelation
from modules.observation import observe
from modules.registry import register

Sampling: TypeAlias = Literal["pyramid_average", "pyramid_max", "pyramid_random", "average", "max", "random"]
_ANN = "Asymmetric Non-local Neural Networks for Semantic Segmentation"


class AnchorSampling(nn.Module):
    """Reduce a map to S anchors: grids of n x n averages or maxima, or n^2 random positions, for each size n.

    Random positions are drawn without replacement from a seeded generator, once for each map size and device; all
    maps of that size then use the same.

    Args:
        how: what a grid cell holds, a single grid or a pyramid of several; `none` keeps all N positions.
        sizes: n of each grid; exactly one unless `how` is a pyramid. `none` takes no notice of them.
        seed: of the random draws.

    Shapes: (B,D,H,W) -> (B,D,S), S = sum of n^2, or H*W.

    Raises:
        ValueError: sizes that do not fit `how`; more random positions than the map has.

    Source: Asymmetric Non-local Neural Networks, Sec. 3.2, Fig. 4 and Table 7.
    """

    def __init__(self, how: Sampling | Literal["none"], sizes: tuple[int, ...], seed: int) -> None:
        super().__init__()
        if how in ("random", "max", "average") and len(sizes) != 1:
            raise ValueError(f"sampling {how} takes exactly 1 size, such as sizes=15, not {len(sizes)}")
        if min(sizes) < 1:
            raise ValueError(f"sizes must be at least 1, not {min(sizes)}")
        self.sizes = sizes
        self.kind = how.removeprefix("pyramid_")
        self.seed = seed
        self._drawn: dict[tuple[int, torch.device], Tensor] = {}

    def forward(self, map_BDHW: Tensor) -> Tensor:
        if self.kind == "none":
            return map_BDHW.flatten(2)
        if self.kind == "random":
            return map_BDHW.flatten(2).index_select(2, self._positions(map_BDHW))
        grids = [self._grid(map_BDHW, size).flatten(2) for size in self.sizes]
        return torch.cat(grids, dim=2) if len(grids) > 1 else grids[0]

    def _grid(self, map_BDHW: Tensor, size: int) -> Tensor:
        if self.kind == "average":
            return functional.adaptive_avg_pool2d(map_BDHW, size)
        pooled: Tensor = functional.adaptive_max_pool2d(map_BDHW, size)
        return pooled

    def _positions(self, map_BDHW: Tensor) -> Tensor:
        count, device = map_BDHW.shape[2] * map_BDHW.shape[3], map_BDHW.device
        if max(self.sizes) ** 2 > count:
            raise ValueError(f"cannot draw {max(self.sizes) ** 2} positions from a map of {count}")
        if (count, device) not in self._drawn:
            generator = torch.Generator("cpu").manual_seed(self.seed)
            draws = [torch.randperm(count, generator=generator, device="cpu")[: size**2] for size in self.sizes]
            self._drawn[count, device] = torch.cat(draws).to(device)
        return self._drawn[count, device]


class _Asymmetric(nn.Module):
    """What the two blocks share: positions of one map attend to anchors of another."""

    def __init__(
        self,
        channels: int,
        source_channels: int,
        inner: int | None,
        value_inner: int | None,
        sample: AnchorSampling,
        share: Literal["key_value", "query_key", "none"],
        scale: bool,
        norm: bool,
        fuse: Fuse,
    ) -> None:
        super().__init__()
        width = inner_width(channels, inner)
        value_width = inner_width(channels, width if value_inner is None else value_inner)
        if share == "key_value" and value_width != width:
            raise ValueError(f"share=key_value needs one width, but inner is {width} and value_inner {value_width}")
        self.share, self.source_channels = share, source_channels
        self.scale = width**-0.5 if scale else None
        self.query = _projection(channels, width, norm)
        if share != "query_key":
            self.key = _projection(source_channels, width, norm)
        if share != "key_value":
            self.value = nn.Conv2d(source_channels, value_width, 1)
        self.sample = sample
        self.out = nn.Conv2d(value_width, channels, 1)
        self.fuse = fuse

    def relate(self, source: Tensor, target: Tensor) -> Tensor:
        """Wo(O): what each position of `target` gathers from the anchors of `source`."""
        if source.shape[1] != self.source_channels:
            raise ValueError(f"the low map must have {self.source_channels} channels, not {source.shape[1]}")
        query_BND = self.query(target).flatten(2).transpose(1, 2)
        key_BDS: Tensor = self.sample(self.query(source) if self.share == "query_key" else self.key(source))
        value_BES: Tensor = key_BDS if self.share == "key_value" else self.sample(self.value(source))
        o_BNE = attend(query_BND, key_BDS, value_BES.transpose(1, 2), scale=self.scale)
        result: Tensor = self.out(as_map(o_BNE, target.shape[2], target.shape[3]))
        observe(output=result)
        return result


@register("apnb", family="context", paper=_ANN, equation="Eq. 8-11")
class AsymmetricPyramidNonLocal(_Asymmetric):
    """Asymmetric pyramid non-local block: keys and values are pooled to S anchors before the affinity.

    Args:
        channels: C.
        inner: D of query and key; C/2 where not given.
        value_inner: width of the value; D where not given.
        sizes: n of each sampled grid; exactly one unless `sampling` is a pyramid.
        sampling: how anchors come about, see `AnchorSampling`; `none` is the non-local block of the paper (S = N).
        share: one projection and sampling for key and value (paper), one projection for query and key (code), or none.
        scale: multiply the affinity by 1/sqrt(D).
        norm: batch norm and ReLU after the projections of query and key.
        fuse: how the result joins x.
        seed: of random sampling.

    Shapes: (B,C,H,W) -> (B,C,H,W); 2C channels for `fuse=concat`.

    Raises:
        ValueError: C is odd and `inner` not given; widths, sizes, `sampling` and `share` that do not fit each other;
            a map with fewer positions than are drawn.
    """

    def __init__(
        self,
        channels: int,
        inner: int | None = None,
        value_inner: int | None = None,
        sizes: tuple[int, ...] = (1, 3, 6, 8),
        sampling: Sampling | Literal["none"] = "pyramid_average",
        share: Literal["key_value", "query_key", "none"] = "key_value",
        scale: bool = True,
        norm: bool = False,
        fuse: Fusion = "add",
        seed: int = 0,
    ) -> None:
        sample, join = AnchorSampling(sampling, sizes, seed), Fuse(channels, fuse)
        super().__init__(channels, channels, inner, value_inner, sample, share, scale, norm, join)

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.fuse(self.relate(x, x), x)
        return result


@register("fnb", family="fusion", paper=_ANN, equation="Eq. 14-17")
class FusionNonLocal(PairwiseRelation):
    """Fusion non-local block: each position of the high map gathers from all positions of the low map.

    Args:
        channels: C of the high map.
        mode: the affinity, as of the non-local block.
        inner: D; C/2 where not given.
        scale: multiply the logits of a softmax by one over the root of their width.
        sub_sample: max pooling of stride 2 of phi and g.
        pool: kernel of that pooling, unpadded.
        pool_first: pool the low map before phi and g instead of what they return.
        norm: batch norm after Wz, which then has no bias.
        fuse: how the result joins the high map; `project` has no ReLU here.
        low_channels: of the low map; C/2 where not given.

    Shapes: low (B,C/2,H',W'), high (B,C,H,W) -> (B,C,H,W); 2C channels for `fuse=concat`.

    Raises:
        ValueError: C is odd and a width not given; `scale` without a softmax; `gaussian` with maps of different
            channels.
    """

    def __init__(
        self,
        channels: int,
        mode: Mode = "embedded_gaussian",
        inner: int | None = None,
        scale: bool = False,
        sub_sample: bool = False,
        pool: int = 2,
        pool_first: bool = False,
        norm: bool = False,
        fuse: Fusion = "add",
        low_channels: int | None = None,
    ) -> None:
        low, join = inner_width(channels, low_channels), Fuse(channels, fuse, relu=False)
        super().__init__(channels, low, mode, inner, scale, sub_sample, pool, pool_first, norm, join)

    def forward(self, low: Tensor, high: Tensor) -> Tensor:
        result: Tensor = self.fuse(self.relate(low, high, low.shape[2:]), high)
        return result


@register("afnb", family="fusion", paper=_ANN, equation="Eq. 8-10, 14-17")
class AsymmetricFusionNonLocal(_Asymmetric):
    """Asymmetric fusion non-local block: each position of the high map gathers from S anchors of the low map.

    Args:
        channels: C of the high map.
        inner: D of query and key; C/2 where not given.
        value_inner: width of the value; D where not given.
        sizes: n of each sampled grid; exactly one unless `sampling` is a pyramid.
        sampling: how anchors come about, see `AnchorSampling`; `none` attends to all positions of the low map.
        share: one projection and sampling for key and value (paper), or none (code).
        scale: multiply the affinity by 1/sqrt(D).
        norm: batch norm and ReLU after the projections of query and key.
        fuse: how the result joins the high map; `project` has no ReLU here.
        seed: of random sampling.
        low_channels: of the low map; C/2 where not given.

    Shapes: low (B,C/2,H',W'), high (B,C,H,W) -> (B,C,H,W); 2C channels for `fuse=concat`.

    Raises:
        ValueError: C is odd and a width not given; widths, sizes, `sampling` and `share` that do not fit each other;
            a low map with fewer positions than are drawn.
    """

    def __init__(
        self,
        channels: int,
        inner: int | None = None,
        value_inner: int | None = None,
        sizes: tuple[int, ...] = (1, 3, 6, 8),
        sampling: Sampling | Literal["none"] = "pyramid_average",
        share: Literal["key_value", "none"] = "key_value",
        scale: bool = True,
        norm: bool = False,
        fuse: Fusion = "add",
        seed: int = 0,
        low_channels: int | None = None,
    ) -> None:
        low = inner_width(channels, low_channels)
        sample, join = AnchorSampling(sampling, sizes, seed), Fuse(channels, fuse, relu=False)
        super().__init__(channels, low, inner, value_inner, sample, share, scale, norm, join)

    def forward(self, low: Tensor, high: Tensor) -> Tensor:
        result: Tensor = self.fuse(self.relate(low, high), high)
        return result


def _projection(channels: int, width: int, norm: bool) -> nn.Sequential:
    conv = nn.Conv2d(channels, width, 1)
    return nn.Sequential(conv, nn.BatchNorm2d(width), nn.ReLU()) if norm else nn.Sequential(conv)
