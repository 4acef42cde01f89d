"""Codes of scenes: fair, independent, and not to be told from how anything near a pixel looks."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from bench.training.labels import IGNORE
from bench.training.scenes import FLIPS, LABELS
from bench.training.scenes.classes import BLOBS, ENTRIES, PAIR, Part
from bench.training.scenes.codes import Codes, draw_codes
from bench.training.scenes.render import CODES, Rendered, render
from bench.training.scenes.streams import Stream
from modules.options import SpecError

MANY = 8_000
BADGES = (Part.BADGE, Part.BADGE + 1)
CUES = (Part.CUE_DARK, Part.CUE_LIGHT)


def codes_of(split: str, count: int, seed: int = 0) -> Codes:
    return draw_codes(Stream(CODES, split, seed, range(count)))


@pytest.fixture(scope="module")
def bits() -> np.ndarray:
    """(n, 5): scene, legend, bars."""
    codes = codes_of("train", MANY)
    return np.column_stack([codes.scene, codes.legend, codes.bars]).astype(float)


def test_codes_are_fair(bits: np.ndarray) -> None:
    assert np.abs(bits.mean(0) - 0.5).max() < 4 * 0.5 / MANY**0.5


def test_codes_are_independent_of_each_other_and_of_the_picture_before(bits: np.ndarray) -> None:
    between = np.corrcoef(bits.T) - np.eye(5)
    assert np.abs(between).max() < 4 / MANY**0.5
    after = np.corrcoef(bits[:-1].T, bits[1:].T)[:5, 5:]
    assert np.abs(after).max() < 4 / MANY**0.5


def test_all_combinations_are_as_likely(bits: np.ndarray) -> None:
    counts = np.bincount((bits @ [1, 2, 4, 8, 16]).astype(int), minlength=32)
    expected = MANY / 32
    assert ((counts - expected) ** 2 / expected).sum() < 62  # chi squared of 31 degrees: p = 0.001


def test_mixed_are_three_of_four() -> None:
    codes = codes_of("test", MANY)
    assert codes.mixed.mean() == pytest.approx(0.75, abs=0.02)
    assert codes.mixed.tolist() == [0 < sum(entry) < 3 for entry in codes.legend.tolist()]


@pytest.mark.parametrize("which", FLIPS)
def test_a_flip_changes_one_code(which: str) -> None:
    codes = codes_of("train", 50)
    flipped = codes.flipped(which)
    before = np.column_stack([codes.scene, codes.legend, codes.bars])
    after = np.column_stack([flipped.scene, flipped.legend, flipped.bars])
    assert (before != after).any(0).tolist() == [name == which for name in FLIPS]
    assert (before != after)[:, FLIPS.index(which)].all()
    again = flipped.flipped(which)
    assert np.array_equal(np.column_stack([again.scene, again.legend, again.bars]), before)


def test_an_unknown_flip_is_refused() -> None:
    with pytest.raises(SpecError, match="no code 'legend3'; did you mean 'legend"):
        codes_of("train", 1).flipped("legend3")


@pytest.fixture(scope="module")
def pictures() -> Rendered:
    return render("train", range(480), 64, 0)


def looks(pictures: Rendered, label: int) -> np.ndarray:
    """Of each picture with enough of a class: mean colour, deviation, and contrast of neighbours there, (m, 7)."""
    found = []
    for image, target in zip(pictures.images.astype(float) / 255, pictures.targets, strict=True):
        inside = target == label
        if inside.sum() < 40:
            continue
        pixels = image[:, inside]
        both = inside[:, 1:] & inside[:, :-1]
        steps = np.abs(np.diff(image, axis=2))[:, both].mean() if both.any() else 0.0
        found.append([*pixels.mean(1), *pixels.std(1), steps])
    return np.array(found)


def difference(pictures: Rendered, kind: str) -> np.ndarray:
    """How far the looks of the two classes of a pair are apart, in standard errors: (7,)."""
    zero, one = (looks(pictures, LABELS.classes.index(kind + bit)) for bit in "01")
    assert min(len(zero), len(one)) > 100
    error = (zero.var(0) / len(zero) + one.var(0) / len(one)) ** 0.5
    return np.abs(zero.mean(0) - one.mean(0)) / error


@pytest.mark.parametrize("kind", ["ctx", "pair"])
def test_the_two_of_a_pair_look_alike(pictures: Rendered, kind: str) -> None:
    assert difference(pictures, kind).max() < 4


def test_only_their_badges_tell_bars_apart(pictures: Rendered) -> None:
    assert difference(pictures, "reg")[:3].min() > 10
    bare = np.where(np.isin(pictures.parts, BADGES), IGNORE, pictures.targets)
    assert difference(dataclasses.replace(pictures, targets=bare), "reg").max() < 4


def test_the_two_cues_of_the_scene_have_one_mean_colour(pictures: Rendered) -> None:
    cue = np.isin(pictures.parts, CUES)
    means = np.array(
        [image[:, inside].mean() / 255 for image, inside in zip(pictures.images.astype(float), cue, strict=True)]
    )
    zero, one = means[~pictures.codes.scene], means[pictures.codes.scene]
    assert abs(zero.mean() - one.mean()) < 4 * (zero.var() / len(zero) + one.var() / len(one)) ** 0.5
    assert means.mean() == pytest.approx(0.5, abs=0.01)


def hues_of(pictures: Rendered, part: int) -> np.ndarray:
    """Hue of each picture's part, read from its pixels as they are seen, (n,); NaN where the part is hidden."""
    found = []
    for image, parts in zip(pictures.images.astype(float), pictures.parts, strict=True):
        red, green, blue = image[:, parts == part].mean(1) if (parts == part).any() else (np.nan,) * 3
        found.append(np.arctan2((green - blue) / 2**0.5, (2 * red - green - blue) / 6**0.5))
    return np.array(found)


def test_three_sums_for_the_whole_picture_resolve_every_blob_where_a_vote_of_the_bits_stops_at_three_quarters() -> None:
    """One vector of a picture, (sum s, sum s cos(hue), sum s sin(hue)) over the legend, read out with a blob's own hue.

    s is -1 or +1 for a bit. As hues lie a third of the circle apart, 1/3 + 2/3 cos(difference) is 1 for the entry of
    the blob's hue and 0 for the others.
    """
    found = render("test", range(600), 64, 0)
    signs = np.where(found.codes.legend, 1.0, -1.0)
    hues = np.stack([hues_of(found, Part.INTERIOR + entry) for entry in range(ENTRIES)], axis=1)
    sums = [signs.sum(1), (signs * np.cos(hues)).sum(1), (signs * np.sin(hues)).sum(1)]
    total = right = voted = 0
    for blob in range(BLOBS):
        mine = found.parts == Part.BLOB + blob
        own = hues_of(found, Part.BLOB + blob)
        read = sums[0] / 3 + 2 / 3 * (np.cos(own) * sums[1] + np.sin(own) * sums[2])
        bits = found.targets == PAIR + 1
        total += mine.sum()
        right += (mine & (bits == (read > 0)[:, None, None])).sum()
        voted += (mine & (bits == (sums[0] > 0)[:, None, None])).sum()
    assert right == total
    assert 0.74 < voted / total < 0.77
