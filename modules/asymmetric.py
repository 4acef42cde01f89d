"""Asymmetric non-local blocks: few sampled anchors instead of every position (APNB, FNB, AFNB)."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from modules.anchors import AnchorSampling, Sampling
from modules.attention import Fuse, Fusion, Implementation, as_map, attend, inner_width
from modules.fused_attention import gather
from modules.non_local import Mode, PairwiseRelation
from modules.observation import observe
from modules.pointwise import joined, onto_map, times, tokens
from modules.registry import register

_ANN = "Asymmetric Non-local Neural Networks for Semantic Segmentation"


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
        impl: Implementation,
    ) -> None:
        super().__init__()
        self.impl, self.norm = impl, norm
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
        if self.impl == "fused":
            return self._relate_fused(source, target)
        query_BND = self.query(target).flatten(2).transpose(1, 2)
        key_BDS: Tensor = self.sample(self.query(source) if self.share == "query_key" else self.key(source))
        value_BES: Tensor = key_BDS if self.share == "key_value" else self.sample(self.value(source))
        o_BNE = attend(query_BND, key_BDS, value_BES.transpose(1, 2), scale=self.scale)
        result: Tensor = self.out(as_map(o_BNE, target.shape[2], target.shape[3]))
        observe(output=result)
        return result

    def _relate_fused(self, source: Tensor, target: Tensor) -> Tensor:
        """The same, sampled before it is projected where nothing but a 1x1 convolution lies between."""
        asking, query = (self.query(target), None) if self.norm else (target, _bare(self.query))
        shared = self.query if self.share == "query_key" else self.key
        if self.norm:
            seen = self.share == "query_key" and source is target and not self.training
            key_BDS = self.sample(asking if seen else shared(source))
            value_BSE = key_BDS.transpose(1, 2) if self.share == "key_value" else self._anchors(source, self.value)[0]
        elif self.share == "key_value":
            (value_BSE,) = self._anchors(source, _bare(shared))
            key_BDS = value_BSE.transpose(1, 2)
        else:
            key_BSD, value_BSE = self._anchors(source, _bare(shared), self.value)
            key_BDS = key_BSD.transpose(1, 2)
        result = onto_map(*gather(asking, query, key_BDS, value_BSE, self.out, scale=self.scale), target)
        observe(output=result)
        return result

    def _anchors(self, source: Tensor, *convs: nn.Conv2d) -> tuple[Tensor, ...]:
        """(B,S,D) each: what the convolutions return, sampled once for all, and before them where that is the same."""
        if self.sample.kind == "none":
            return tokens(source, *convs)
        widths = [conv.out_channels for conv in convs]
        weight, bias = joined(*convs)
        if self.sample.kind == "max":
            together = functional.conv2d(source, weight[:, :, None, None], bias)
            return torch.split(self.sample(together).transpose(1, 2), widths, dim=2)
        sampled_BSC = self.sample(source).transpose(1, 2)
        return torch.split(times(sampled_BSC, weight.t(), bias), widths, dim=2)


@register("apnb", family="context", paper=_ANN, equation="Eq. 8-11")
class AsymmetricPyramidNonLocal(_Asymmetric):
    """Asymmetric pyramid non-local block: keys and values are pooled to S anchors before the affinity.

    Args:
        channels: C.
        inner: D of query and key; C/2 where not given.
        value_inner: width of the value; D where not given.
        sizes: n of each sampled grid; exactly one unless `sampling` is a pyramid.
        sampling: how anchors come about, see `AnchorSampling`; `none` is the non-local block of the paper (S = N).
        share: one projection and sampling for key and value (paper), one projection for query and key (as the authors'
            code, which has `norm` as well), or none.
        scale: multiply the affinity by 1/sqrt(D).
        norm: batch norm and ReLU after the projections of query and key.
        fuse: how the result joins x.
        seed: of random sampling.
        impl: operator by operator as published, or fused.

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
        impl: Implementation = "reference",
    ) -> None:
        sample, join = AnchorSampling(sampling, sizes, seed, impl), Fuse(channels, fuse, impl=impl)
        super().__init__(channels, channels, inner, value_inner, sample, share, scale, norm, join, impl)

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
        impl: operator by operator as published, or fused.

    Shapes: low (B,C/2,H',W'), high (B,C,H,W) -> (B,C,H,W); 2C channels for `fuse=concat`.

    Raises:
        ValueError: C is odd and a width not given; `scale` without a softmax; `gaussian` with maps of different
            channels; `pool` below 2, or `pool` or `pool_first` without `sub_sample`; a low map of other channels, or
            too small to be sub-sampled.
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
        impl: Implementation = "reference",
    ) -> None:
        low, join = inner_width(channels, low_channels), Fuse(channels, fuse, relu=False, impl=impl)
        super().__init__(channels, low, mode, inner, scale, sub_sample, pool, pool_first, norm, join, impl)

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
        impl: operator by operator as published, or fused.

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
        impl: Implementation = "reference",
    ) -> None:
        low = inner_width(channels, low_channels)
        sample, join = AnchorSampling(sampling, sizes, seed, impl), Fuse(channels, fuse, relu=False, impl=impl)
        super().__init__(channels, low, inner, value_inner, sample, share, scale, norm, join, impl)

    def forward(self, low: Tensor, high: Tensor) -> Tensor:
        result: Tensor = self.fuse(self.relate(low, high), high)
        return result


def _projection(channels: int, width: int, norm: bool) -> nn.Sequential:
    conv = nn.Conv2d(channels, width, 1)
    return nn.Sequential(conv, nn.BatchNorm2d(width), nn.ReLU()) if norm else nn.Sequential(conv)


def _bare(projection: nn.Sequential) -> nn.Conv2d:
    conv = projection[0]
    assert isinstance(conv, nn.Conv2d)
    return conv
