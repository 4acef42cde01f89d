"""Dataset: what is known of a published data set before any of its files is read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bench.training.folders.annotation import Labels
from bench.training.folders.pairs import Pair
from bench.training.labels import LabelSet


@dataclass(frozen=True)
class Source:
    """The files of a split, and how its annotations are read. `read` can be pickled."""

    pairs: tuple[Pair, ...]
    read: Callable[[Path], Labels]


@dataclass(frozen=True)
class Dataset:
    """A published data set.

    Attributes:
        labels: its classes.
        description: which release it is, in a line.
        splits: names of its splits.
        evaluation: the split on which results are reported.
        layout: paths below the root, with <placeholders>, in a line.
        find: files of a split below a root; raises `MissingFile` where the layout is not that.
    """

    labels: LabelSet
    description: str
    splits: tuple[str, ...]
    evaluation: str
    layout: str
    find: Callable[[Path, str], Source]

    @property
    def name(self) -> str:
        return self.labels.dataset
