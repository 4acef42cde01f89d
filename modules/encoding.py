"""Context encoding: a map told by its residuals to learned codewords, which then gate its channels."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from modules.attention import Implementation
from modules.pointwise import times
from modules.pyramid import conv_norm
from modules.registry import register


class Encoding(nn.Module):
    """Encoding layer: every position softly assigned to codewords, its residuals to them summed over positions.

    a_ik = softmax over k of s_k ||x_i - c_k||^2, e_k = sum over i of a_ik (x_i - c_k). Both are computed without the
    residuals of all N * K pairs: the distance as ||x||^2 - 2 x.c + ||c||^2, the sum as (sum a x) - (sum a) c.

    Args:
        channels: D, of the map and of the codewords.
        codewords: K.
        impl: `fused` folds the scales into the codewords, and leaves out what all logits of a position share.

    Shapes: (B,D,H,W) -> (B,K,D). MACs: 2NKD.

    Raises:
        ValueError: fewer than one codeword; a map of other channels.

    Source: Context Encoding for Semantic Segmentation, Sec. 3.1; Deep TEN: Texture Encoding Network, Eq. 2-4.
    """

    def __init__(self, channels: int, codewords: int = 32, impl: Implementation = "reference") -> None:
        super().__init__()
        self.impl = impl
        if codewords < 1:
            raise ValueError(f"codewords must be at least 1, not {codewords}")
        bound = (codewords * channels) ** -0.5
        self.codewords = nn.Parameter(torch.empty(codewords, channels).uniform_(-bound, bound))
        self.scale = nn.Parameter(torch.empty(codewords).uniform_(-1, 0))

    def forward(self, x: Tensor) -> Tensor:
        if x.shape[1] != self.codewords.shape[1]:
            raise ValueError(f"the map must have {self.codewords.shape[1]} channels, not {x.shape[1]}")
        x_BDN = x.flatten(2)
        if self.impl == "fused":
            lengths_B1N = x_BDN.square().sum(1, keepdim=True)
            offsets_K1 = (self.scale * self.codewords.square().sum(1))[:, None]
            products_BKN = times(-2 * self.scale[:, None] * self.codewords, x_BDN, offsets_K1)
            beside_K1 = (self.scale - self.scale.detach().max())[:, None]  # softmax is blind to what all logits share
            assigned_BKN = torch.softmax(torch.addcmul(products_BKN, beside_K1, lengths_B1N), dim=1)
            sums_BKD = torch.bmm(assigned_BKN, x_BDN.transpose(1, 2))
            return sums_BKD - assigned_BKN.sum(2, keepdim=True) * self.codewords
        codes_BKD = self.codewords.expand(x.shape[0], -1, -1)
        distance_BKN = -2 * torch.bmm(codes_BKD, x_BDN)
        distance_BKN = distance_BKN + x_BDN.square().sum(1, keepdim=True)
        distance_BKN = distance_BKN + self.codewords.square().sum(1)[:, None]
        assigned_BKN = torch.softmax(self.scale[:, None] * distance_BKN, dim=1)
        sums_BKD = torch.bmm(assigned_BKN, x_BDN.transpose(1, 2))
        return sums_BKD - assigned_BKN.sum(2, keepdim=True) * self.codewords


@register("encoding", family="context", paper="Context Encoding for Semantic Segmentation", equation="Sec. 3.1, Fig. 2")
class ContextEncoding(nn.Module):
    """Context encoding: the map's residuals to learned codewords, averaged, gate its channels.

    1x1 C->C, batch norm, ReLU; encoding layer; batch norm over the K codewords, ReLU, mean over K: the vector e.
    Then ReLU(x + x * sigmoid(fc(e))).

    Args:
        channels: C, which is also the width D of the codewords.
        codewords: K.
        classes: of the classifier that tells from e which classes are present; where not given there is none.
        impl: operator by operator as published, or fused.

    Shapes: (B,C,H,W) -> the same. MACs: N C^2 + 2NKC + C^2; `classify` C * classes more.

    Raises:
        ValueError: fewer than one codeword or class.
    """

    def __init__(
        self, channels: int, codewords: int = 32, classes: int | None = None, impl: Implementation = "reference"
    ) -> None:
        super().__init__()
        self.impl = impl
        if classes is not None and classes < 1:
            raise ValueError(f"classes must be at least 1, not {classes}")
        self.project = conv_norm(channels, channels)
        self.codebook = Encoding(channels, codewords, impl)
        self.norm = nn.BatchNorm1d(codewords)
        self.gate = nn.Sequential(nn.Linear(channels, channels), nn.Sigmoid())
        self.selayer = None if classes is None else nn.Linear(channels, classes)

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The gated map (B,C,H,W) and the vector e (B,C) that gates it."""
        e_BKC = torch.relu(self.norm(self.codebook(self.project(x))))
        e_BC = e_BKC.mean(1)
        gate: Tensor = self.gate(e_BC)
        if self.impl == "fused":
            return functional.relu(x * (1 + gate)[:, :, None, None], inplace=True), e_BC
        return torch.relu(x + x * gate[:, :, None, None]), e_BC

    def classify(self, e_BC: Tensor) -> Tensor:
        """Logits (B,classes) of the classes present, for the semantic encoding loss.

        Raises:
            ValueError: the block was built without classes.
        """
        if self.selayer is None:
            raise ValueError("this encoding has no classifier; build it with classes=<their number>")
        logits: Tensor = self.selayer(e_BC)
        return logits

    def forward(self, x: Tensor) -> Tensor:
        return self.encode(x)[0]
