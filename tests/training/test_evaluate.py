from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from bench.training.evaluate import MultiScale, Sliding, Whole, evaluate, make_inference
from bench.training.labels import IGNORE, LabelSet
from bench.training.metrics import Score, Scores
from modules.options import SpecError

LABELS = LabelSet(dataset="toy", classes=("low", "middle", "high"), twins={"scene": ((0, 1),)})


class Pixelwise(nn.Module):
    """Logits of a pixel from that pixel alone."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([-x[:, :1], x[:, 1:2] * x[:, 2:], x[:, :1]], dim=1)


class Crops(nn.Module):
    """Logits that tell how often the network was asked, and what it was shown."""

    def __init__(self) -> None:
        super().__init__()
        self.shown: list[Tensor] = []

    def forward(self, x: Tensor) -> Tensor:
        self.shown.append(x)
        return torch.full_like(x, float(len(self.shown)))


@dataclasses.dataclass
class Toy:
    count: int = 11
    labels: LabelSet = LABELS
    asked: list[tuple[list[int], int | None]] = dataclasses.field(default_factory=list)

    def __len__(self) -> int:
        return self.count

    def batch(self, indices: Sequence[int], seed: int | None) -> tuple[Tensor, Tensor]:
        self.asked.append((list(indices), seed))
        pairs = [self._one(index) for index in indices]
        return torch.stack([image for image, _ in pairs]), torch.stack([label for _, label in pairs])

    def _one(self, index: int) -> tuple[Tensor, Tensor]:
        generator = torch.Generator().manual_seed(index)
        image = torch.randn(3, 8, 8, generator=generator)
        labels = torch.randint(3, (8, 8), generator=generator)
        return image, labels.masked_fill(torch.rand(8, 8, generator=generator) < 0.1, IGNORE)


class Marked(Toy):
    @property
    def mixed(self) -> list[bool]:
        return [index % 2 == 0 for index in range(self.count)]


def images(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def by_hand(count: Sequence[int], mixed: bool = False) -> Scores:
    toy = Toy()
    score = Score(LABELS)
    for index in count:
        image, target = toy.batch([index], None)
        prediction = Pixelwise()(image).argmax(1)
        score.update(prediction, target, [index], torch.tensor([index % 2 == 0]) if mixed else None)
    return score.result()


@settings(max_examples=40)
@given(
    seed=st.integers(0, 10**6),
    height=st.integers(1, 17),
    width=st.integers(1, 17),
    crop=st.tuples(st.integers(1, 12), st.integers(1, 12)),
    stride=st.sampled_from([0.1, 1 / 3, 2 / 3, 1.0]),
)
def test_sliding_over_a_pixelwise_network_is_the_whole_image_to_the_last_bit(
    seed: int, height: int, width: int, crop: tuple[int, int], stride: float
) -> None:
    x = images(seed, 2, 3, height, width)
    assert torch.equal(Sliding(crop, stride)(Pixelwise(), x), Whole()(Pixelwise(), x))


def test_sliding_averages_where_crops_overlap() -> None:
    network = Crops()
    found = Sliding((2, 4), stride=0.5)(network, torch.zeros(1, 3, 2, 7))
    # Crops begin at 0, 2 and 3, the last flush with the border.
    assert found[0, 0, 0].tolist() == pytest.approx([1, 1, 1.5, 2, 2.5, 2.5, 3])


def test_the_crops_are_those_that_cover_the_image_in_order() -> None:
    network = Crops()
    x = images(1, 1, 3, 5, 6)
    Sliding((3, 4), stride=2 / 3)(network, x)
    corners = [(0, 0), (0, 2), (2, 0), (2, 2)]  # strides 2 and 3; the last row and column end at the border
    assert len(network.shown) == len(corners)
    for shown, (top, left) in zip(network.shown, corners, strict=True):
        assert torch.equal(shown, x[..., top : top + 3, left : left + 4])


def test_an_image_smaller_than_the_crop_is_padded_with_the_mean() -> None:
    network = Crops()
    x = images(2, 1, 3, 3, 5)
    assert Sliding((6, 5))(network, x).shape == (1, 3, 3, 5)
    assert len(network.shown) == 1
    assert torch.equal(network.shown[0], F.pad(x, (0, 0, 0, 3)))


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("inner", [Whole(), Sliding((4, 5))])
def test_scales_and_flip_of_a_pixelwise_network_on_flat_images_are_one_scale(
    flip: bool, inner: Whole | Sliding
) -> None:
    x = images(3, 2, 3, 1, 1).expand(2, 3, 9, 7).contiguous()
    found = MultiScale((0.5, 0.75, 1.0, 1.75), flip, inner)(Pixelwise(), x)
    torch.testing.assert_close(found, Pixelwise()(x).softmax(1))


def test_flip_turns_the_image_and_turns_the_answer_back() -> None:
    class Columns(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.cumsum(-1)

    x = images(4, 1, 3, 4, 6)
    found = MultiScale((1.0,), flip=True)(Columns(), x)
    there, back = Columns()(x).softmax(1), Columns()(x.flip(-1)).flip(-1).softmax(1)
    torch.testing.assert_close(found, (there + back) / 2)
    assert not torch.allclose(there, back)


def test_scales_are_averaged_as_probabilities_at_the_size_of_the_image() -> None:
    x = images(5, 1, 3, 6, 10)
    found = MultiScale((0.5, 1.5), flip=False)(Pixelwise(), x)
    parts = []
    for size in ((3, 5), (9, 15)):
        logits = Pixelwise()(F.interpolate(x, size=size, mode="bilinear", align_corners=False))
        parts.append(F.interpolate(logits, size=(6, 10), mode="bilinear", align_corners=False).softmax(1))
    torch.testing.assert_close(found, (parts[0] + parts[1]) / 2)
    torch.testing.assert_close(found.sum(1), torch.ones(1, 6, 10))


def test_of_a_tuple_the_first_counts_and_small_logits_are_resized() -> None:
    class Headed(nn.Module):
        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            return F.avg_pool2d(x, 2).to(torch.bfloat16), x

    x = images(6, 1, 3, 8, 8)
    found = Whole()(Headed(), x)
    small = F.avg_pool2d(x, 2).bfloat16().float()
    assert torch.equal(found, F.interpolate(small, size=(8, 8), mode="bilinear", align_corners=False))


def test_evaluation_judges_every_example_once_and_unaugmented() -> None:
    toy = Toy()
    found = evaluate(Pixelwise(), toy, Score(LABELS, total=len(toy)), batch=4)
    assert found == by_hand(range(11))
    assert toy.asked == [([0, 1, 2, 3], None), ([4, 5, 6, 7], None), ([8, 9, 10], None)]


def test_evaluation_can_be_of_some_examples() -> None:
    assert evaluate(Pixelwise(), Toy(), Score(LABELS), batch=2, indices=[9, 0, 5]) == by_hand([0, 5, 9])


def test_the_score_is_told_which_images_are_mixed() -> None:
    found = evaluate(Pixelwise(), Marked(), Score(LABELS), batch=3)
    assert found == by_hand(range(11), mixed=True)
    assert found.resolving is not None
    assert found.resolving["scene_mixed"] not in (None, found.resolving["scene"])


@pytest.mark.parametrize("workers", [1, 3, 20])
def test_loading_ahead_changes_nothing(workers: int) -> None:
    toy = Toy()
    assert evaluate(Pixelwise(), toy, Score(LABELS, total=len(toy)), batch=2, workers=workers) == by_hand(range(11))


def test_what_loading_ahead_meets_is_raised_here() -> None:
    class Torn(Toy):
        def batch(self, indices: Sequence[int], seed: int | None) -> tuple[Tensor, Tensor]:
            if 7 in indices:
                raise SpecError("image 7 cannot be read")
            return super().batch(indices, seed)

    with pytest.raises(SpecError, match="image 7 cannot be read"):
        evaluate(Pixelwise(), Torn(), Score(LABELS), batch=2, workers=2)


def test_the_inference_is_the_one_asked_for() -> None:
    network = Crops()
    evaluate(network, Toy(count=1), Score(LABELS), Sliding((4, 8), 1.0))
    assert [tuple(shown.shape) for shown in network.shown] == [(1, 3, 4, 8)] * 2


@pytest.mark.parametrize("fails", [False, True])
def test_modes_statistics_and_random_numbers_are_left_as_found(fails: bool) -> None:
    network = nn.Sequential(nn.BatchNorm2d(3), nn.Dropout(0.5), nn.Conv2d(3, 3, 1))
    network[0].eval()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    state = torch.get_rng_state()
    if fails:
        with pytest.raises(SpecError):
            evaluate(network, Toy(), Score(LabelSet("small", ("one", "two"))))
    else:
        evaluate(network, Toy(), Score(LABELS))
    assert [module.training for module in network.modules()] == [True, False, True, True]
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())
    assert torch.equal(torch.get_rng_state(), state)


def test_a_network_is_judged_in_evaluation_mode_and_without_gradients() -> None:
    class Watching(Pixelwise):
        seen: tuple[bool, bool] | None = None

        def forward(self, x: Tensor) -> Tensor:
            Watching.seen = (self.training, torch.is_grad_enabled())
            return super().forward(x)

    evaluate(Watching(), Toy(), Score(LABELS))
    assert Watching.seen == (False, False)


def share_of(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2)
    try:
        toy = Marked()
        found = evaluate(Pixelwise(), toy, Score(LABELS, total=len(toy)), batch=2, shared=True)
        assert sum(len(indices) for indices, _ in toy.asked) == 6 - rank
        torch.save(found, f"{folder}/{rank}.pt")
    finally:
        dist.destroy_process_group()


def test_two_processes_share_the_work_and_both_know_the_whole(tmp_path: Path) -> None:
    torch.multiprocessing.spawn(  # type: ignore[attr-defined,no-untyped-call]
        share_of, args=(str(tmp_path),), nprocs=2
    )
    for rank in range(2):
        assert torch.load(tmp_path / f"{rank}.pt", weights_only=False) == by_hand(range(11), mixed=True)


@pytest.mark.parametrize(
    ("settings", "wanted"),
    [
        ({"mode": "single", "scales": (0.5, 1.0), "flip": True}, MultiScale((1.0,), True)),
        ({"mode": "multi", "scales": [0.5, 1.0], "flip": True}, MultiScale((0.5, 1.0), True)),
        ({"mode": "single", "scales": (0.5, 1.0)}, Whole()),
        ({"mode": "sliding", "crop": [769, 513], "stride": 0.5}, Sliding((769, 513), 0.5)),
        ({"mode": "sliding", "crop": [5, 5], "scales": [0.5]}, Sliding((5, 5))),
        ({"mode": "sliding", "crop": [5, 5], "flip": True}, MultiScale((1.0,), True, Sliding((5, 5)))),
    ],
)
def test_settings_of_a_recipe_name_an_inference(settings: dict[str, object], wanted: object) -> None:
    assert make_inference(**settings) == wanted  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"mode": "multy"}, "evaluation mode 'multy'; did you mean 'multi'.* allowed: single, multi, sliding"),
        ({"mode": "sliding"}, "evaluation crop none for mode 'sliding'; allowed: "),
        ({"mode": "sliding", "crop": [3]}, r"evaluation crop \[3\] for mode 'sliding'; allowed: "),
        ({"mode": "sliding", "crop": [0, 3]}, r"evaluation crop \[0, 3\]; allowed: "),
        ({"mode": "sliding", "crop": [3, 3], "stride": 0.0}, "evaluation stride 0; allowed: "),
        ({"mode": "sliding", "crop": [3, 3], "stride": 1.5}, r"evaluation stride 1\.5; allowed: "),
        ({"mode": "multi", "scales": []}, r"evaluation scales \[\]; allowed: "),
        ({"mode": "multi", "scales": [1.0, -0.5]}, r"evaluation scales \[1, -0\.5\]; allowed: "),
        ({"mode": "multi", "scales": [math.nan]}, r"evaluation scales \[nan\]; allowed: "),
    ],
)
def test_settings_that_cannot_be_are_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        make_inference(**settings)  # type: ignore[arg-type]


def test_a_batch_of_nothing_is_refused() -> None:
    with pytest.raises(SpecError, match="evaluation batch 0; allowed: integers from 1"):
        evaluate(Pixelwise(), Toy(), Score(LABELS), batch=0)


@pytest.mark.cuda
def test_a_gpu_gives_the_same_figures() -> None:
    network = Pixelwise().cuda()
    found = evaluate(network, Toy(), Score(LABELS), Sliding((5, 5)), device="cuda")
    assert found == by_hand(range(11))
