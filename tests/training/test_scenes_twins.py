"""Counterfactual twins: only the cue differs in the picture, only what it decides in the labels, and no convolution
of the backbone reaches from one to the other."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional

from bench.training.network import build_network
from bench.training.scenes import FLIPS, LABELS, Scenes
from bench.training.scenes.classes import Part
from bench.training.scenes.render import Rendered, render

COUNT = 24
SIZES = (64, 96, 128)
CUE = {
    "scene": (Part.CUE_DARK, Part.CUE_LIGHT),
    "legend0": (Part.RING,),
    "legend1": (Part.RING + 1,),
    "legend2": (Part.RING + 2,),
    "bars": (Part.BADGE, Part.BADGE + 1),
}
DECIDED = {
    "scene": {"ctx0", "ctx1", "mark0", "mark1"},
    **{f"legend{entry}": {"pair0", "pair1"} for entry in range(3)},
    "bars": {"reg0", "reg1"},
}
REACH = 16
"""Pixels: the backbone sees 11 each way from a position of stride 4, resizing reads up to 5 pixels further."""


@pytest.fixture(scope="module", params=SIZES)
def pair(request: pytest.FixtureRequest) -> tuple[Rendered, dict[str, Rendered]]:
    """Pictures of one side, and their twins."""
    pictures = render("test", range(COUNT), request.param, 0)
    return pictures, {which: render("test", range(COUNT), request.param, 0, which) for which in FLIPS}


Pair = tuple[Rendered, dict[str, Rendered]]


@pytest.mark.parametrize("which", FLIPS)
def test_the_picture_changes_at_the_cue_alone(pair: Pair, which: str) -> None:
    pictures, twin = pair[0], pair[1][which]
    changed = (pictures.images != twin.images).any(1)
    cue = np.isin(pictures.parts, CUE[which])
    assert not (changed & ~cue).any()
    assert changed.any((1, 2)).all()
    if which != "scene":  # a cross and a checker have pixels in common
        assert changed[cue].mean() > 0.99
        assert np.array_equal(pictures.parts, twin.parts)
    assert np.array_equal(np.isin(twin.parts, CUE[which]), cue)


@pytest.mark.parametrize("which", FLIPS)
def test_the_labels_change_to_their_twins_where_the_code_decides(pair: Pair, which: str) -> None:
    pictures, twin = pair[0], pair[1][which]
    changed = pictures.targets != twin.targets
    names = np.array(LABELS.classes)
    before, after = names[pictures.targets[changed]], names[twin.targets[changed]]
    assert set(before) <= DECIDED[which]
    assert all(one[:-1] == other[:-1] and one != other for one, other in zip(before, after, strict=True))
    decided = np.isin(names[pictures.targets], sorted(DECIDED[which]))
    if which.startswith("legend"):
        shares = [changed.sum() / decided.sum() for changed, decided in zip(changed, decided, strict=True)]
        assert 0.1 < np.mean(shares) < 0.6  # one entry of three, drawn anew for each blob
    else:
        assert np.array_equal(changed, decided)


def test_the_three_entries_decide_all_blobs_and_each_its_own(pair: Pair) -> None:
    pictures, twins = pair
    changed = [pictures.targets != twins[f"legend{entry}"].targets for entry in range(3)]
    blobs = np.isin(pictures.targets, LABELS.groups["pairwise"])
    assert np.array_equal(np.sum(changed, axis=0), blobs.astype(int))


def test_the_bars_have_opposite_bits(pair: Pair) -> None:
    for picture, bars in zip(pair[0].targets, pair[0].parts, strict=True):
        labels = [set(picture[np.isin(bars, (Part.BAR + bar, Part.BADGE + bar))].tolist()) for bar in range(2)]
        assert sorted(labels, key=min) == [{LABELS.classes.index("reg0")}, {LABELS.classes.index("reg1")}]


def test_a_twin_of_the_data_set_is_normalised_as_its_batch() -> None:
    scenes = Scenes("test", 8)
    images, labels = scenes.batch([5, 1], seed=None)
    twin, twin_labels = scenes.twin([5, 1], "scene")
    same = images == twin
    assert same.float().mean() > 0.97
    assert not same.all()
    assert (labels != twin_labels).any()
    assert twin.dtype == images.dtype
    assert twin_labels.dtype == labels.dtype
    for missing in (-1, 8):
        with pytest.raises(IndexError):
            scenes.twin([0, missing], "scene")


def near(cue: np.ndarray, reach: int) -> torch.Tensor:
    """Pixels within a square of `reach` around the cue, (n, S, S)."""
    mask = torch.from_numpy(cue).float()[:, None]
    mask = functional.max_pool2d(mask, (2 * reach + 1, 1), stride=1, padding=(reach, 0))
    return functional.max_pool2d(mask, (1, 2 * reach + 1), stride=1, padding=(0, reach))[:, 0] > 0


@pytest.fixture(scope="module")
def network() -> torch.nn.Module:
    """A convolution-only network with statistics of real pictures."""
    net = build_network("identity", {}, LABELS.count, seed=0)
    with torch.no_grad():
        net.train()(Scenes("train", 16).batch(range(16), seed=None)[0])
    return net.eval()


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("which", FLIPS)
def test_convolutions_alone_cannot_see_what_decides_a_label(network: torch.nn.Module, size: int, which: str) -> None:
    scenes = Scenes("test", COUNT, size)
    images, labels = scenes.batch(range(COUNT), seed=None)
    twins, twin_labels = scenes.twin(range(COUNT), which)
    with torch.no_grad():
        moved = (network(images) - network(twins)).abs().amax(1)
    cue = (images != twins).any(1)
    decided = labels != twin_labels
    assert decided.any()
    assert (moved[cue] > 1e-3).float().mean() > 0.9
    if which == "bars":  # the badge stands on its bar; the far end of the bar is out of reach
        decided &= ~near(cue.numpy(), REACH)
        assert decided.sum() > 50 * COUNT
    assert moved[decided].max() < 1e-5


@pytest.mark.parametrize("size", SIZES)
def test_cues_are_further_than_the_reach_from_what_they_decide(size: int) -> None:
    pictures = render("test", range(100), size, 1)
    signs = np.isin(pictures.targets, (LABELS.classes.index("sign"),))
    decided = np.isin(pictures.targets, [*LABELS.groups["scene"], *LABELS.groups["pairwise"]])
    gap = int(1.42 * size / 4 - 4.2) - 1
    assert gap >= REACH
    assert not (near(signs, gap).numpy() & decided).any()


@pytest.mark.parametrize("size", SIZES[1:])
def test_larger_sides_show_the_same_scene(size: int) -> None:
    small, large = Scenes("train", 12), Scenes("train", 12, size)
    assert torch.equal(small.mixed, large.mixed)
    shrunk = functional.interpolate(large.targets[:, None], size=(64, 64), mode="nearest-exact")[:, 0]
    in_units = torch.isin(small.targets, torch.tensor([*range(3), *(5, 6), *range(9, 13)]))
    assert (shrunk == small.targets)[in_units].float().mean() > 0.85
    sign = LABELS.classes.index("sign")
    assert (large.targets == sign).sum() == pytest.approx((small.targets == sign).sum().item(), rel=0.05)
