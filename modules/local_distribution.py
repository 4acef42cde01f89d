"""Local distribution: global context handed back to each position (LDv1 by masks, LDv2 by local affinity)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from modules.attention import Implementation, as_map, inner_width
from modules.dilated_windows import Windows, attend_classes, join_classes, split_classes
from modules.observation import observe
from modules.pyramid import upsample
from modules.registry import register
from modules.window_attention import attend_windows, kernels_take


def strided_depthwise(channels: int, padding: int = 0, relu: bool = True) -> nn.Sequential:
    """Depthwise 3x3 convolution of stride 2, batch norm, ReLU: (B,C,H,W) -> (B,C,(H-1)/2,(W-1)/2), halves rounded down;
    padded by 1, half the size rounded up."""
    conv = nn.Conv2d(channels, channels, 3, stride=2, padding=padding, groups=channels)
    norm = nn.BatchNorm2d(channels)
    return nn.Sequential(conv, norm, nn.ReLU()) if relu else nn.Sequential(conv, norm)


@register("ldv1", family="context", paper="Global Aggregation then Local Distribution (GALD)", equation="Eq. 1-2")
class LocalDistribution(nn.Module):
    """Local distribution by masks: out = x + M * x, M = sigmoid(upsample(W_d x)).

    W_d shrinks the map `stages` times by two. The defaults are those of the authors' code.

    Args:
        channels: C.
        down: how: depthwise 3x3 convolutions of stride 2, 3x3 averages of stride 2, or bilinear interpolation to
            the same size.
        stages: how often; 3 is the paper's rate 8.
        padding: of each stage, 0 or 1. Unpadded, each stage loses the rim, and the upsampled mask is stretched by as
            much: on a small map its cells come to lie far from where they looked.
        relu: ReLU behind the last depthwise stage too, as behind the others. The mask then stays above 1/2, where the
            paper has it in [0, 1]. Averages and interpolation take no notice of it.
        impl: operator by operator as published, or fused.

    Shapes: (B,C,H,W) -> (B,C,H,W), H and W at least 2^(stages+1) - 1: 15 for 3 stages; any with padding.

    Raises:
        ValueError: fewer than 1 stage; another padding; a map too small.
    """

    def __init__(
        self,
        channels: int,
        down: Literal["depthwise", "average", "bilinear"] = "depthwise",
        stages: int = 3,
        padding: int = 0,
        relu: bool = True,
        impl: Implementation = "reference",
    ) -> None:
        super().__init__()
        self.impl = impl
        if stages < 1:
            raise ValueError(f"stages must be at least 1, not {stages}")
        if padding not in (0, 1):
            raise ValueError(f"padding must be 0 or 1, not {padding}")
        self.stages, self.smallest = stages, 1 if padding else 2 ** (stages + 1) - 1
        if down == "depthwise":
            behind = (*(True for _ in range(stages - 1)), relu)
            self.down: nn.Module = nn.Sequential(*(strided_depthwise(channels, padding, last) for last in behind))
        elif down == "average":
            pool = nn.AvgPool2d(3, stride=2, padding=padding, count_include_pad=False)
            self.down = nn.Sequential(*(pool for _ in range(stages)))
        else:
            self.down = _Shrink(stages, padding)

    def forward(self, x: Tensor) -> Tensor:
        if min(x.shape[2:]) < self.smallest:
            raise ValueError(
                f"ldv1 with {self.stages} stages needs a map of at least {self.smallest}x{self.smallest}, "
                f"not {x.shape[2]}x{x.shape[3]}"
            )
        if self.impl == "fused":
            mask = upsample(self.down(x), like=x).sigmoid_()
            observe(mask=mask)
            return torch.addcmul(x, x, mask)
        mask = torch.sigmoid(upsample(self.down(x), like=x))
        observe(mask=mask)
        return x + x * mask


class _Shrink(nn.Module):
    """Bilinear interpolation to the size that as many 3x3 convolutions of stride 2 leave."""

    def __init__(self, stages: int, padding: int) -> None:
        super().__init__()
        self.stages, self.padding = stages, padding

    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[2:]
        for _ in range(self.stages):
            height, width = ((side - 1) // 2 + self.padding for side in (height, width))
        return functional.interpolate(x, size=(height, width), mode="bilinear", align_corners=True)


@register("ldv2", family="context", paper="Global Aggregation then Local Distribution (GALDv2)", equation="Eq. 5-8")
class DynamicLocalDistribution(nn.Module):
    """Local distribution by affinity: each position attends to k x k dilated neighbours of x = [X_g, X_l].

    logit = q(p) . k(p + r d), softmax over the K = k^2 offsets d, weighted sum of v(p + r d), batch-normed 1x1,
    concatenated with X_l, fused by 1x1, batch norm and ReLU. Outside the map k and v are zero, so an outside
    neighbour has logit 0 unless masked.

    Args:
        channels: C of X_g and of X_l.
        kernel: k, odd.
        dilation: r.
        inner: D; C where not given.
        value_from: values from x, or from X_g alone.
        mask_border: leave neighbours outside the map out of the softmax.
        scale: divide the logits by sqrt(D).
        impl: operator by operator, or fused: no map of the k^2 neighbours, see `modules.window_attention` (CUDA)
            and `modules.dilated_windows`.

    Shapes: x_g (B,C,H,W), x_l (B,C,H,W) or nothing (then x_l = x_g) -> (B,C,H,W).

    Raises:
        ValueError: an even kernel; a kernel or dilation below 1; X_g and X_l of different shapes.
    """

    def __init__(
        self,
        channels: int,
        kernel: int = 5,
        dilation: int = 6,
        inner: int | None = None,
        value_from: Literal["x", "xg"] = "x",
        mask_border: bool = False,
        scale: bool = False,
        impl: Implementation = "reference",
    ) -> None:
        super().__init__()
        self.impl = impl
        if kernel < 1 or kernel % 2 == 0:
            raise ValueError(f"kernel must be odd and at least 1, not {kernel}")
        if dilation < 1:
            raise ValueError(f"dilation must be at least 1, not {dilation}")
        width = inner_width(channels, channels if inner is None else inner)
        self.kernel, self.dilation, self.mask_border = kernel, dilation, mask_border
        self.value_from = value_from
        self.scale = width**-0.5 if scale else None
        self.query = nn.Conv2d(2 * channels, width, 1)
        self.key = nn.Conv2d(2 * channels, width, 1)
        self.value = nn.Conv2d(channels if value_from == "xg" else 2 * channels, width, 1)
        self.out = nn.Sequential(nn.Conv2d(width, channels, 1, bias=False), nn.BatchNorm2d(channels))
        self.fuse = nn.Sequential(nn.Conv2d(2 * channels, channels, 1, bias=False), nn.BatchNorm2d(channels), nn.ReLU())

    def forward(self, x_g: Tensor, x_l: Tensor | None = None) -> Tensor:
        local = x_g if x_l is None else x_l
        if local.shape != x_g.shape:
            raise ValueError(f"ldv2 needs maps of one shape, not {tuple(x_g.shape)} and {tuple(local.shape)}")
        if self.impl == "fused":
            return self._fused(x_g, local)
        y = self.out(self.distribute(x_g, local))
        result: Tensor = self.fuse(torch.cat([y, local], dim=1))
        return result

    def distribute(self, x_g: Tensor, x_l: Tensor) -> Tensor:
        """X_gald (B,D,H,W) of Eq. 8: the neighbours' values, summed by affinity."""
        batch, _, height, width = x_g.shape
        x = torch.cat([x_g, x_l], dim=1)
        query_P1D = self.query(x).flatten(2).transpose(1, 2).reshape(batch * height * width, 1, -1)
        key_PDK = self._neighbours(self.key(x)).reshape(batch * height * width, -1, self.kernel**2)
        value = self._neighbours(self.value(x_g if self.value_from == "xg" else x))
        value_PKD = value.reshape(batch * height * width, -1, self.kernel**2).transpose(1, 2)
        logits_P1K = torch.bmm(query_P1D, key_PDK)
        if self.scale is not None:
            logits_P1K = logits_P1K * self.scale
        if self.mask_border:
            inside = self._neighbours(torch.ones_like(x_g[:, :1]))
            logits_P1K = logits_P1K.masked_fill(inside.reshape(logits_P1K.shape) == 0, float("-inf"))
        result_P1D = torch.bmm(_softmax(logits_P1K), value_PKD)
        return as_map(result_P1D.view(batch, height * width, -1), height, width)

    def _fused(self, x_g: Tensor, x_l: Tensor) -> Tensor:
        """The same without [X_g, X_l]: each half has its half of the weights, and one map alone has their sum."""
        y = self.out(self._gathered(x_g, x_l))
        mix, norm, _ = self.fuse
        assert isinstance(mix, nn.Conv2d)
        return functional.relu(norm(_of_halves(mix, y, x_l)), inplace=True)

    def _gathered(self, x_g: Tensor, x_l: Tensor) -> Tensor:
        windows = Windows(self.kernel, self.dilation, 1.0 if self.scale is None else self.scale, self.mask_border)
        if kernels_take(x_l, windows):
            query, key, value = self._projected(x_g, x_l)
            return attend_windows(query, key, value, windows)
        query, key, value = (split_classes(part, self.dilation) for part in self._projected(x_g, x_l))
        classes = attend_classes(query, key, value, windows, (x_l.shape[2], x_l.shape[3]))
        del query, key, value
        return join_classes(classes, self.dilation, x_l.shape[2], x_l.shape[3])

    def _projected(self, x_g: Tensor, x_l: Tensor) -> Iterator[Tensor]:
        """Query, key and value, one after the other, so that each can be rearranged before the next is there."""
        for conv in (self.query, self.key):
            yield _of_halves(conv, x_g, x_l)
        yield self.value(x_g) if self.value_from == "xg" else _of_halves(self.value, x_g, x_l)

    def _neighbours(self, map_BDHW: Tensor) -> Tensor:
        """(B,N,D,K): the dilated, zero-padded neighbourhood of every position, offsets in row-major order."""
        padding = self.dilation * (self.kernel // 2)
        unfolded = functional.unfold(map_BDHW, self.kernel, dilation=self.dilation, padding=padding)
        batch, _, count = unfolded.shape
        return unfolded.view(batch, map_BDHW.shape[1], self.kernel**2, count).permute(0, 3, 1, 2)


def _softmax(logits_P1K: Tensor) -> Tensor:
    affinity_P1K = torch.softmax(logits_P1K, dim=-1)
    observe(affinity=affinity_P1K)
    return affinity_P1K


def _of_halves(conv: nn.Conv2d, first: Tensor, second: Tensor) -> Tensor:
    """The 1x1 convolution of [first, second] without their concatenation."""
    halves = torch.split(conv.weight, first.shape[1], dim=1)
    if first is second:
        return functional.conv2d(first, halves[0] + halves[1], conv.bias)
    return functional.conv2d(first, halves[0], conv.bias).add_(functional.conv2d(second, halves[1]))
