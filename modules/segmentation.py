"""What whole segmentation networks share: trunk, neck, head, auxiliary head, and the size of image and logits."""

from __future__ import annotations

from typing import Literal, TypeAlias

from torch import Tensor, nn

from modules.heads import classifier
from modules.pyramid import upsample
from modules.resnet import ResNet

Auxiliary: TypeAlias = Literal["train", "always", "none"]
Side: TypeAlias = Literal["even", "odd"]


class Segmentation(nn.Module):
    """A segmentation network: image -> trunk -> neck -> head -> logits.

    Args:
        trunk: image -> (c2, c3, c4, c5).
        head: (c2, c3, c4, c5) -> logits, or logits and more.
        neck: (c3, c4, c5) -> map that stands in for c5, where given.
        auxiliary: c4 -> logits; null where there is none.
        aux: when the auxiliary head and the head's further outputs are returned: in training mode or always.
        side: sides of the image for n positions of the stride-8 map: 8n, or 8n-7 (`odd`, such as 769 for 97).
        resize: logits at the image's size instead of the map's.

    Shapes: image (B,3,H,W) -> logits (B,classes,H,W); in training mode, or where `aux` is `always`, a tuple with the
    head's further outputs and the auxiliary logits behind.
    """

    def __init__(
        self,
        trunk: ResNet,
        head: nn.Module,
        *,
        neck: nn.Module | None = None,
        auxiliary: nn.Module | None = None,
        aux: Auxiliary = "train",
        side: Side = "even",
        resize: bool = True,
    ) -> None:
        super().__init__()
        self.trunk, self.neck, self.head = trunk, neck, head
        self.auxiliary = auxiliary
        self.aux, self.side, self.resize = aux, side, resize

    def input_shape(self, batch: int, height: int, width: int) -> tuple[int, ...]:
        """Shape of the image for a stride-8 map of height x width.

        A trunk whose stem pools with `ceil_mode` makes one position more of an even image: 129x257 of 1024x2048.
        """
        less = 7 if self.side == "odd" else 0
        return batch, 3, 8 * height - less, 8 * width - less

    def forward(self, image: Tensor) -> Tensor | tuple[Tensor, ...]:
        maps = self.trunk(image)
        outputs = self.head(maps if self.neck is None else (*maps[:3], self.neck(*maps[1:])))
        logits, more = (outputs, []) if isinstance(outputs, Tensor) else (outputs[0], list(outputs[1:]))
        logits = self._sized(logits, image)
        if self.aux == "none" or (self.aux == "train" and not self.training):
            return logits
        if self.auxiliary is not None:
            more.append(self._sized(self.auxiliary(maps[2]), image))
        return (logits, *more)

    def _sized(self, logits: Tensor, image: Tensor) -> Tensor:
        return upsample(logits, like=image) if self.resize else logits


def auxiliary_head(channels: int, width: int, classes: int, aux: Auxiliary, bias: bool) -> nn.Module | None:
    """The head on c4 of `channels`: 3x3 to `width`, batch norm, ReLU, 1x1; nothing where `aux` is `none`.

    Source: Pyramid Scene Parsing Network, Sec. 3.3.
    """
    return None if aux == "none" else classifier(channels, width, classes, bias)
