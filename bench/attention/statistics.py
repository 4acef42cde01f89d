"""Statistics: what the figures of a record are made of, gathered image by image."""

from __future__ import annotations

import math
import statistics
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from bench.attention.distance import CHUNK, average_distance
from bench.attention.record import QUANTITIES, SPREADS

CHANNELS_ASK = "channels ask here, not positions"
NOT_SHOWN = "the block shows none"
NO_DIRECTION = "every vector is zero, or one is not finite"
OTHERWISE = {
    "affinity_entropy": "a position weighs its neighbours alone, see the entropy of affinity",
    "mask_mean": "a mask stands in its place, see its spread",
}
_SUM = 1e-3


@dataclass
class PlaceStatistics:
    """Figures of one block over the images that it has seen, one image a call. Of the tensors it keeps the input alone,
    until the block's output is seen.

    Attributes:
        independent: whether one attention map serves all positions.
        channels_ask: whether the channels ask instead of the positions, in the call at hand.
    """

    independent: bool = False
    channels_ask: bool = False
    _figures: dict[str, dict[str, list[float]]] = field(default_factory=lambda: defaultdict(lambda: defaultdict(list)))
    _missing: dict[str, str] = field(default_factory=dict)
    _input: Tensor | None = None

    def see(self, name: str, value: Tensor) -> None:
        """Take up a tensor that the block shows, see `bench.attention.capture.watched`; the batch holds one image.

        Raises:
            ValueError: it holds several.
        """
        if value.shape[0] != 1 and name != "affinity":
            raise ValueError(f"'{name}' of {value.shape[0]} images; one is taken at a time")
        if name == "input":
            self._input, self.channels_ask = value, False
        if name == "query":
            self.channels_ask = self._asked_by_channels(value)
        if name in QUANTITIES:
            if self.channels_ask and name not in ("input", "output"):
                self._missing[name] = CHANNELS_ASK
            else:
                self._distance(name, vectors_of(name, value))
        if name == "attention" and not self.channels_ask:
            self._add("spreads", "attention_entropy", relative_entropy(value[0]))
        if name == "affinity":
            self._add("spreads", "affinity_entropy", relative_entropy(value.flatten(0, 1)))
        if name == "mask":
            for spread, figure in mask_spread(value).items():
                self._add("spreads", spread, figure)
        if name == "output":
            self._input = None

    def fields(self) -> dict[str, Any]:
        """The figures as fields of a record."""
        distances = self._figures["distances"]
        missing = {name: self._missing.get(name, NOT_SHOWN) for name in QUANTITIES if name not in distances}
        for shown, instead in OTHERWISE.items():
            if shown in self._figures["spreads"] and missing.get("attention") == NOT_SHOWN:
                missing["attention"] = instead
        if "output" in missing and "output" not in self._missing:
            missing["output"] = "the block shows none, and its result has another shape than its input"
        return {
            "distances": _over(distances, QUANTITIES, statistics.fmean),
            "sd": _over(distances, QUANTITIES, _sd),
            "vectors": _over(self._figures["vectors"], QUANTITIES, statistics.fmean),
            "zeros": _over(self._figures["zeros"], QUANTITIES, statistics.fmean),
            "missing": missing,
            "independent": self.independent,
            "spreads": _over(self._figures["spreads"], SPREADS, statistics.fmean),
            "spreads_sd": _over(self._figures["spreads"], SPREADS, _sd),
        }

    def _distance(self, name: str, vectors_ND: Tensor) -> None:
        found = average_distance(vectors_ND)
        self._add("vectors", name, float(found.vectors))
        self._add("zeros", name, found.zeros / max(len(vectors_ND), 1))
        if found.mean is None:
            self._missing[name] = NO_DIRECTION
        self._add("distances", name, found.mean)
        if name == "attention":
            self.independent = len(vectors_ND) == 1

    def _add(self, kind: str, name: str, figure: float | None) -> None:
        if figure is not None:
            self._figures[kind][name].append(figure)

    def _asked_by_channels(self, query: Tensor) -> bool:
        """Whether the rows of a query are the channels of the input, as in channel attention."""
        if self._input is None:
            return False
        channels, positions = self._input.shape[1], self._input[0, 0].numel()
        rows, width = query.shape[1:]
        if channels != positions:
            return rows == channels and width == positions
        return rows == channels and torch.equal(query, self._input.flatten(2))


def vectors_of(name: str, value: Tensor) -> Tensor:
    """The vectors (N,D) of one image whose distances are taken.

    Rows of `query`, `product` and `attention` (1,N,D), columns of `key` (1,D,S), positions of a map (1,C,...).
    """
    if name == "key":
        return value[0].transpose(0, 1)
    return value[0] if name in ("query", "product", "attention") else value[0].flatten(1).transpose(0, 1)


def relative_entropy(weights_NS: Tensor) -> float | None:
    """Entropy of rows that are distributions, over that of the uniform one: 1 is uniform, 0 is all on one; their mean.

    Null where a row is no distribution (a weight below 0, a sum that is not 1), and for rows of one weight.
    """
    rows, width = weights_NS.shape
    if width < 2 or not rows:
        return None
    total = 0.0
    for part in torch.split(weights_NS, max(1, CHUNK // width)):
        part = part.double()
        if bool((part < 0).any()) or not bool(((part.sum(1) - 1).abs() < _SUM).all()):
            return None
        total += float(torch.special.entr(part).sum())
    return total / rows / math.log(width)


def mask_spread(mask_BCHW: Tensor) -> dict[str, float]:
    """How a mask differs: its mean; its deviation over positions, mean over channels; and the other way round."""
    mask_CN = mask_BCHW[0].flatten(1).double()
    return {
        "mask_mean": float(mask_CN.mean()),
        "mask_sd_positions": float(mask_CN.std(dim=1, correction=0).mean()),
        "mask_sd_channels": float(mask_CN.std(dim=0, correction=0).mean()),
    }


def _over(found: dict[str, list[float]], names: tuple[str, ...], figure: Any) -> dict[str, float | None]:
    return {name: figure(found[name]) if found.get(name) else None for name in names}


def _sd(figures: list[float]) -> float | None:
    return statistics.stdev(figures) if len(figures) > 1 else None
