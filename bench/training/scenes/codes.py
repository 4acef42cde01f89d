"""Codes: the bits of a picture that decide labels far from where they are shown."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from bench.training.scenes.classes import ENTRIES
from bench.training.scenes.streams import Bits, Stream
from modules.options import SpecError, nearest

FLIPS = ("scene", *(f"legend{entry}" for entry in range(ENTRIES)), "bars")
"""What a twin may flip: the scene bit, the bit of one legend entry, the bits of both bars (which stay opposite)."""


@dataclass(frozen=True)
class Codes:
    """Bits of n pictures, all fair and independent.

    Attributes:
        scene: (n,), decides ctx0/ctx1 and mark0/mark1.
        legend: (n, 3), one for each entry; decides pair0/pair1 of the blobs of its hue.
        bars: (n,), the bit of the first bar; the second has the opposite one.
    """

    scene: Bits
    legend: Bits
    bars: Bits

    @property
    def mixed(self) -> Bits:
        """(n,): the legend bits are not all equal, so that no vote of the bits decides every blob."""
        count = self.legend.sum(axis=1)
        mixed: Bits = (count > 0) & (count < ENTRIES)
        return mixed

    def flipped(self, which: str) -> Codes:
        """The codes with one of `FLIPS` flipped.

        Raises:
            SpecError: no such flip.
        """
        if which not in FLIPS:
            raise SpecError(f"scenes have no code '{which}'{nearest(which, FLIPS)}")
        if which == "scene":
            return dataclasses.replace(self, scene=~self.scene)
        if which == "bars":
            return dataclasses.replace(self, bars=~self.bars)
        legend = self.legend.copy()
        legend[:, int(which.removeprefix("legend"))] ^= True
        return dataclasses.replace(self, legend=legend)


def draw_codes(stream: Stream) -> Codes:
    """The codes of a stream's pictures."""
    return Codes(stream.bits(), stream.bits(ENTRIES), stream.bits())
