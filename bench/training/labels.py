"""Labels: the classes of a data set, and how they are grouped when a prediction is judged."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

IGNORE = 255
"""Label of pixels that neither train nor count."""


@dataclass(frozen=True)
class LabelSet:
    """Classes of a data set.

    Attributes:
        dataset: its name.
        classes: names; the place in the tuple is the label.
        groups: name of a group and the labels whose IoU it averages.
        twins: kind of context and its pairs of classes that look alike, (label for bit 0, label for bit 1); only
            context tells the two of a pair apart. Empty for data sets that were not built so.
    """

    dataset: str
    classes: tuple[str, ...]
    groups: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    twins: Mapping[str, tuple[tuple[int, int], ...]] = field(default_factory=dict)

    @property
    def count(self) -> int:
        return len(self.classes)
