"""Where context blocks go inside a residual network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from torch import Tensor, nn

from modules.gald import aggregation

Place: TypeAlias = Literal["after1x1", "after_add"]
Often: TypeAlias = Literal["every", "alternate", "once"]


def applied(block: nn.Module, x: Tensor, returned: int) -> Tensor:
    """What a context block makes of `x`, for a place that takes `returned` channels of it.

    Raises:
        ValueError: it returns other channels.
    """
    y: Tensor = block(x)
    if y.shape[1] != returned:
        raise ValueError(
            f"a context block must return {returned} channels here, not {y.shape[1]} as {type(block).__name__} does"
        )
    return y


@dataclass(frozen=True)
class Insertion:
    """A context block in chosen bottlenecks of chosen stages.

    Attributes:
        context: the block, `name` or `name/option=value`; `none` for none.
        stages: the stages that get it, of 2 to 5 (conv2 to conv5).
        place: before the residual is added (GCNet's after1x1), or behind the whole bottleneck.
        often: in every bottleneck; in every second one (NLNet's five: two in conv3 and three in conv4 of ResNet-50);
            or once, before the stage's last bottleneck.

    Raises:
        ValueError: another stage.

    Source: GCNet, Sec. 4.1 and Table 5 (b, c); Non-local Neural Networks, Sec. 4.
    """

    context: str = "none"
    stages: tuple[int, ...] = (3, 4, 5)
    place: Place = "after1x1"
    often: Often = "every"

    def __post_init__(self) -> None:
        other = [stage for stage in self.stages if not 2 <= stage <= 5]
        if other:
            raise ValueError(f"stage {other[0]} does not exist; allowed: 2, 3, 4, 5")

    def block(self, stage: int, index: int, count: int, channels: int) -> nn.Module | None:
        """The context block of bottleneck `index` out of `count`, for its output `channels`, or nothing.

        Raises:
            SpecError: there is no such block, or it cannot be built for `channels`.
        """
        chosen = {"every": True, "alternate": index % 2 == 1, "once": index == max(count - 2, 0)}[self.often]
        if self.context == "none" or stage not in self.stages or not chosen:
            return None
        return aggregation(self.context, channels)


NOWHERE = Insertion()
