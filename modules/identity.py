"""The null block: what remains of a measurement when nothing is computed."""

from __future__ import annotations

from torch import Tensor, nn

from modules.registry import register


@register("identity", family="context", paper="none", equation="Y = X")
class Identity(nn.Module):
    """The null block: returns its input.

    Shapes: (B,C,...) -> the same tensor. No parameters, no operations.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels = channels

    def forward(self, x: Tensor) -> Tensor:
        return x
