"""Non-local block: every position attends to every other."""

from __future__ import annotations

from typing import Literal, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn import functional

from modules.attention import Fuse, Fusion, Implementation, as_map, attend, inner_width
from modules.fused_attention import attend_by_rank, gather
from modules.observation import observe
from modules.pointwise import onto_map, positions, times, tokens
from modules.registry import register

Mode: TypeAlias = Literal["embedded_gaussian", "gaussian", "dot_product", "concat"]


class PairwiseRelation(nn.Module):
    """What each position of a target map gathers from all positions of a source map, by pairwise affinity.

    theta projects the target, phi and g the source; the affinity f(theta, phi) weights g; Wz projects back to C.

    Args:
        channels, source_channels: of the target and of the source.
        mode, inner, scale, sub_sample, pool, pool_first, norm, impl: as of `NonLocal`.
        fuse: joins what `relate` returns with the target; for the subclass to call.

    Raises:
        ValueError: an odd number of channels and no `inner`; `scale` without a softmax; `gaussian` with maps of
            different channels; `pool` below 2, or `pool` or `pool_first` without `sub_sample`.

    Source: Non-local Neural Networks, Eq. 1-6; with two maps, Asymmetric Non-local Neural Networks, Eq. 14-17.
    """

    def __init__(
        self,
        channels: int,
        source_channels: int,
        mode: Mode,
        inner: int | None,
        scale: bool,
        sub_sample: bool,
        pool: int,
        pool_first: bool,
        norm: bool,
        fuse: Fuse,
        impl: Implementation,
    ) -> None:
        super().__init__()
        self.impl = impl
        width = inner_width(channels, inner)
        if scale and mode in ("dot_product", "concat"):
            raise ValueError(f"scale applies to the softmax modes only, mode {mode} divides by the number of keys")
        if mode == "gaussian" and source_channels != channels:
            raise ValueError(f"mode gaussian needs maps of equal channels, not {source_channels} and {channels}")
        if (pool != 2 or pool_first) and not sub_sample:
            raise ValueError("pool and pool_first say how to sub-sample; set sub_sample=true as well")
        if pool < 2:
            raise ValueError(f"pool must be at least 2, not {pool}")
        self.channels, self.source_channels = channels, source_channels
        self.mode, self.sub_sample, self.pool, self.pool_first = mode, sub_sample, pool, pool_first
        self.scale = (channels if mode == "gaussian" else width) ** -0.5 if scale else None
        if mode != "gaussian":
            self.theta = nn.Conv2d(channels, width, 1)
            self.phi = nn.Conv2d(source_channels, width, 1)
        self.g = nn.Conv2d(source_channels, width, 1)
        if mode == "concat":
            self.affinity = nn.Conv2d(2 * width, 1, 1, bias=False)
        out = nn.Conv2d(width, channels, 1, bias=not norm)
        self.out = nn.Sequential(out, nn.BatchNorm2d(channels)) if norm else nn.Sequential(out)
        self.fuse = fuse

    def relate(self, source_BCHW: Tensor, target_BCHW: Tensor, extent: torch.Size) -> Tensor:
        """Wz of the aggregated values, a map of the target's shape.

        Args:
            source_BCHW, target_BCHW: maps, or clips and sequences seen as maps.
            extent: the source's own spatial extent, in which it is sub-sampled.

        Raises:
            ValueError: a source of other channels, or of an extent too small to be sub-sampled.
        """
        if source_BCHW.shape[1] != self.source_channels:
            raise ValueError(f"the low map must have {self.source_channels} channels, not {source_BCHW.shape[1]}")
        if self.sub_sample and min(extent[-2:]) < self.pool:
            raise ValueError(f"sub-sampling needs extents of at least {self.pool}, not {tuple(extent[-2:])}")
        if self.impl == "fused":
            fused: Tensor = self.out[1:](self._relate_fused(source_BCHW, target_BCHW, extent))
            observe(output=fused)
            return fused
        embedded = self.mode != "gaussian"
        query_BND = (self.theta(target_BCHW) if embedded else target_BCHW).flatten(2).transpose(1, 2)
        before, after = (self.sub_sample and self.pool_first), (self.sub_sample and not self.pool_first)
        source = self._sub_sampled(source_BCHW, extent) if before else source_BCHW
        key_BDHW = self.phi(source) if embedded else source
        value_BEHW = self.g(source)
        if after:
            key_BDHW, value_BEHW = self._sub_sampled(key_BDHW, extent), self._sub_sampled(value_BEHW, extent)
        key_BDS, value_BSE = key_BDHW.flatten(2), value_BEHW.flatten(2).transpose(1, 2)
        if self.mode == "concat":
            o_BNE = torch.bmm(self._concat_affinity(query_BND, key_BDS), value_BSE)
        else:
            normalise: Literal["softmax", "count"] = "count" if self.mode == "dot_product" else "softmax"
            o_BNE = attend(query_BND, key_BDS, value_BSE, normalise=normalise, scale=self.scale)
        result: Tensor = self.out(as_map(o_BNE, target_BCHW.shape[2], target_BCHW.shape[3]))
        observe(output=result)
        return result

    def _relate_fused(self, source_BCHW: Tensor, target_BCHW: Tensor, extent: torch.Size) -> Tensor:
        """The same without batch norm, and without an affinity of all pairs where there are many."""
        return onto_map(*self._gather(source_BCHW, target_BCHW, extent), target_BCHW)

    def _gather(
        self, source_BCHW: Tensor, target_BCHW: Tensor, extent: torch.Size
    ) -> tuple[Tensor, Tensor | None, Tensor]:
        """Weight, bias and (B,N,...): what Wz makes of the aggregated values."""
        if self.sub_sample and self.pool_first:
            source_BCHW = self._sub_sampled(source_BCHW, extent)
        pooled, out = self.sub_sample and not self.pool_first, self.out[0]
        assert isinstance(out, nn.Conv2d)
        if self.mode == "concat":
            gathered_BNE = self._gather_by_rank(source_BCHW, target_BCHW, extent if pooled else None)
            return out.weight.flatten(1), out.bias, gathered_BNE
        projections = (self.g,) if self.mode == "gaussian" else (self.phi, self.g)
        key_BDS: Tensor | None
        if pooled:
            maps = [self._sub_sampled(conv(source_BCHW), extent) for conv in projections]
            value_BSE = positions(maps[-1])
            key_BDS = (self._sub_sampled(source_BCHW, extent) if self.mode == "gaussian" else maps[0]).flatten(2)
        else:
            *keys, value_BSE = tokens(source_BCHW, *projections)
            of_others = None if source_BCHW is target_BCHW else source_BCHW.flatten(2)
            key_BDS = keys[0].transpose(1, 2) if keys else of_others
        normalise: Literal["softmax", "count"] = "count" if self.mode == "dot_product" else "softmax"
        query = None if self.mode == "gaussian" else self.theta
        return gather(target_BCHW, query, key_BDS, value_BSE, out, normalise, self.scale)

    def _gather_by_rank(self, source_BCHW: Tensor, target_BCHW: Tensor, pooled: torch.Size | None) -> Tensor:
        """(B,N,E) of `concat`: w = [w_theta, w_phi] asks of each position one number, as of each key."""
        left_1D, right_1D = torch.split(self.affinity.weight.flatten(1), self.theta.out_channels, dim=1)
        left_BN = _scores(left_1D, self.theta, target_BCHW)
        if pooled is None:
            (value_BSE,), right_BS = tokens(source_BCHW, self.g), _scores(right_1D, self.phi, source_BCHW)
        else:
            value_BSE = positions(self._sub_sampled(self.g(source_BCHW), pooled))
            right_BS = times(right_1D, self._sub_sampled(self.phi(source_BCHW), pooled).flatten(2)).squeeze(1)
        gathered_BNE = attend_by_rank(left_BN, right_BS, value_BSE) / value_BSE.shape[1]
        return gathered_BNE.to(value_BSE.dtype)

    def _sub_sampled(self, map_BDHW: Tensor, extent: torch.Size) -> Tensor:
        """(B,D,S,1): the maxima of a map that stands for `extent`, within frames for clips."""
        map_BDHW = map_BDHW.reshape(map_BDHW.shape[0], map_BDHW.shape[1], *extent)
        if len(extent) == 1:
            pooled = functional.max_pool1d(map_BDHW, self.pool, stride=2)
        elif len(extent) == 2:
            pooled = functional.max_pool2d(map_BDHW, self.pool, stride=2)
        else:
            pooled = functional.max_pool3d(map_BDHW, (1, self.pool, self.pool), stride=(1, 2, 2))
        return pooled.flatten(2).unsqueeze(-1)

    def _concat_affinity(self, query_BND: Tensor, key_BDS: Tensor) -> Tensor:
        """(B,N,S): ReLU(w [theta_i, phi_j]) / S over all explicitly concatenated pairs."""
        count, keys = query_BND.shape[1], key_BDS.shape[2]
        left_BDNS = query_BND.transpose(1, 2).unsqueeze(3).expand(-1, -1, -1, keys)
        right_BDNS = key_BDS.unsqueeze(2).expand(-1, -1, count, -1)
        affinity: Tensor = self.affinity(torch.cat([left_BDNS, right_BDNS], dim=1)).squeeze(1)
        observe(query=query_BND, key=key_BDS, product=affinity)
        affinity = torch.relu(affinity)
        affinity = affinity / keys
        observe(attention=affinity)
        return affinity


def _scores(weight_1D: Tensor, conv: nn.Conv2d, map_BCHW: Tensor) -> Tensor:
    """(B,N): w^T conv(x), the two products taken as one."""
    matrix_1C = weight_1D @ conv.weight.flatten(1)
    bias_1 = None if conv.bias is None else weight_1D @ conv.bias
    return times(matrix_1C, map_BCHW.flatten(2), bias_1).squeeze(1)


@register("nl", family="context", paper="Non-local Neural Networks", equation="Eq. 1-6")
class NonLocal(PairwiseRelation):
    """Non-local block: each position gathers from all, weighted by pairwise affinity.

    theta, phi, g project C to D; the affinity f(theta, phi) weights g; Wz projects D to C. `gaussian` has neither
    theta nor phi. `dot_product` and `concat` divide by the number of keys instead of softmax.

    Args:
        channels: C.
        mode: the affinity: softmax(theta^T phi), softmax(x^T x), theta^T phi / S, or ReLU(w [theta, phi]) / S.
        inner: D; C/2 where not given.
        scale: multiply the logits of a softmax by one over the root of their width.
        sub_sample: max pooling of stride 2 of phi and g (for `gaussian`: x and g); within frames for clips.
        pool: kernel of that pooling, unpadded.
        pool_first: pool x before phi and g instead of what they return; cheaper, and what GCNet's costs show.
        norm: batch norm after Wz, which then has no bias.
        fuse: how Wz's result joins x.
        impl: operator by operator as published, or fused.

    Shapes: (B,C,L), (B,C,H,W) or (B,C,T,H,W) -> the same; 2C channels for `fuse=concat`.

    Raises:
        ValueError: C is odd and `inner` not given; `scale` without a softmax; `pool` below 2, or `pool` or
            `pool_first` without `sub_sample`; an input of another rank or channel count, or too small to be
            sub-sampled.
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
        impl: Implementation = "reference",
    ) -> None:
        join = Fuse(channels, fuse, impl=impl)
        super().__init__(channels, channels, mode, inner, scale, sub_sample, pool, pool_first, norm, join, impl)

    def forward(self, x: Tensor) -> Tensor:
        extent = x.shape[2:]
        if not 1 <= len(extent) <= 3 or x.shape[1] != self.channels:
            raise ValueError(f"input must be (B,{self.channels},L), (B,C,H,W) or (B,C,T,H,W), not {tuple(x.shape)}")
        x_BCHW = x.unsqueeze(-1) if len(extent) == 1 else x.flatten(2, -2)
        y_BCHW: Tensor = self.fuse(self.relate(x_BCHW, x_BCHW, extent), x_BCHW)
        return y_BCHW.reshape(y_BCHW.shape[0], y_BCHW.shape[1], *extent)
