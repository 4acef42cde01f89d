"""Classes of the scenes, and the parts of a picture that are drawn one over another."""

from __future__ import annotations

from enum import IntEnum

from bench.training.labels import LabelSet

STUFF_A, STUFF_B, STUFF_C, DISC, SIGN = range(5)
CTX, MARK, REG, PAIR = 5, 7, 9, 11  # of bit 0; the class of bit 1 comes next
POLE, WIRE, DOT = 13, 14, 15

LABELS = LabelSet(
    dataset="scenes",
    classes=(
        *("stuffA", "stuffB", "stuffC", "disc", "sign"),
        *("ctx0", "ctx1", "mark0", "mark1", "reg0", "reg1", "pair0", "pair1"),
        *("pole", "wire", "dot"),
    ),
    groups={
        "plain": (STUFF_A, STUFF_B, STUFF_C, DISC, SIGN),
        "scene": (CTX, CTX + 1, MARK, MARK + 1),
        "regional": (REG, REG + 1),
        "pairwise": (PAIR, PAIR + 1),
        "thin": (POLE, WIRE, DOT),
    },
    twins={
        "scene": ((CTX, CTX + 1), (MARK, MARK + 1)),
        "regional": ((REG, REG + 1),),
        "pairwise": ((PAIR, PAIR + 1),),
    },
)

MARKS, BARS, BLOBS, ENTRIES, DISCS, POLES, DOTS = 2, 2, 6, 3, 2, 2, 4
"""How many of each a picture holds; `ENTRIES` are those of the legend."""


class Part(IntEnum):
    """What one pixel shows. Where a picture holds several, the n-th is the member plus n."""

    STUFF_A = 0
    STUFF_B = 1
    STUFF_C = 2
    CTX = 3
    MARK = 4
    BAR = MARK + MARKS
    BLOB = BAR + BARS
    DISC_DARK = BLOB + BLOBS
    DISC_LIGHT = DISC_DARK + 1
    POLE = DISC_LIGHT + 1
    WIRE = POLE + 1
    DOT = WIRE + 1
    BADGE = DOT + 1
    CUE_DARK = BADGE + BARS
    CUE_LIGHT = CUE_DARK + 1
    RING = CUE_LIGHT + 1
    INTERIOR = RING + ENTRIES


PARTS = Part.INTERIOR + ENTRIES
