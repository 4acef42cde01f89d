"""The attention of DANet, CCNet and PSANet, against definitions written out position by position and closed forms."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from bench.axes import parse_blocks
from bench.case import make_case
from bench.static import trace_figures, with_fvcore
from bench.workload import build
from modules.criss_cross import CrissCross
from modules.dual_attention import ChannelAttention, PositionAttention
from modules.pointwise_spatial import PointwiseBranch, PointwiseSpatial
from modules.registry import create

MAPS = [(3, 4), (5, 3), (1, 4), (4, 1), (1, 1)]
Position = tuple[int, int]


def positions(x: Tensor) -> list[Position]:
    return list(itertools.product(range(x.shape[2]), range(x.shape[3])))


def at(x: Tensor, image: int, position: Position) -> Tensor:
    """The channels of one image at one position, as a view."""
    return x[image, :, position[0], position[1]]


def prepared(module: nn.Module, gamma: float = 0.7) -> Any:
    """In evaluation mode and double precision, with statistics and a gamma that leave nothing out."""
    for name, tensor in (*module.named_parameters(), *module.named_buffers()):
        if name == "gamma":
            tensor.data.fill_(gamma)
        elif name.endswith("running_mean"):
            tensor.normal_()
        elif name.endswith("running_var"):
            tensor.uniform_(0.5, 2)
    return module.double().eval()


def gather(
    query: Tensor, key: Tensor, value: Tensor, seen: Callable[[Position], list[Position]], sign: float = 1.0
) -> Tensor:
    """For each position the values at those it has `seen`, weighted by softmax of query times key."""
    out = torch.zeros_like(value)
    for b in range(value.shape[0]):
        for i in positions(value):
            logits = torch.stack([sign * at(query, b, i) @ at(key, b, j) for j in seen(i)])
            for weight, j in zip(torch.softmax(logits, 0), seen(i), strict=True):
                at(out, b, i).add_(weight * at(value, b, j))
    return out


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


@pytest.mark.parametrize("size", MAPS)
@torch.no_grad()
def test_pam_gathers_from_every_position(size: Position) -> None:
    module = prepared(PositionAttention(8))
    x = torch.randn(2, 8, *size, dtype=torch.float64)
    expected = gather(module.query(x), module.key(x), module.value(x), lambda _: positions(x))

    torch.testing.assert_close(module(x), 0.7 * expected + x)


@pytest.mark.parametrize("negate", [True, False])
@pytest.mark.parametrize("size", MAPS)
@torch.no_grad()
def test_cam_gathers_from_every_channel(size: Position, negate: bool) -> None:
    module = prepared(ChannelAttention(5, negate=negate))
    x = torch.randn(2, 5, *size, dtype=torch.float64)
    gathered = torch.zeros_like(x)
    for b, i in itertools.product(range(2), range(5)):
        energy = torch.stack([(x[b, i] * x[b, j]).sum() for j in range(5)])
        weights = torch.softmax(energy.max() - energy if negate else energy, 0)
        for j in range(5):
            gathered[b, i] += weights[j] * x[b, j]

    torch.testing.assert_close(module(x), 0.7 * gathered + x)


@pytest.mark.parametrize("recurrence", [1, 2, 3])
@pytest.mark.parametrize("size", MAPS)
@torch.no_grad()
def test_criss_cross_gathers_from_row_and_column(size: Position, recurrence: int) -> None:
    module = prepared(CrissCross(8, recurrence=recurrence))
    x = torch.randn(2, 8, *size, dtype=torch.float64)

    def cross(i: Position) -> list[Position]:
        seen = [j for j in positions(x) if j[0] == i[0] or j[1] == i[1]]
        assert len(seen) == sum(size) - 1
        return seen

    expected = x
    for _ in range(recurrence):
        expected = expected + 0.7 * gather(module.query(expected), module.key(expected), module.value(expected), cross)

    torch.testing.assert_close(module(x), expected)


@pytest.mark.parametrize(("recurrence", "seen"), [(1, 4 + 5 - 1), (2, 4 * 5)])
def test_two_rounds_of_criss_cross_reach_the_whole_map(recurrence: int, seen: int) -> None:
    module = prepared(CrissCross(8, recurrence=recurrence))
    x = torch.randn(1, 8, 4, 5, dtype=torch.float64, requires_grad=True)
    module(x)[0, :, 1, 2].sum().backward()

    assert x.grad is not None
    assert int((x.grad.abs().sum(1) > 0).sum()) == seen


def branch_by_definition(branch: PointwiseBranch, x: Tensor) -> Tensor:
    """A branch of PSA on the shrunken map: the weights that i predicted for j stand at the offset from i to j."""
    x = branch.reduce(x)
    if branch.shrink > 1:
        size = [math.ceil(extent / branch.shrink) for extent in x.shape[2:]]
        x = functional.interpolate(x, size=size, mode="bilinear", align_corners=True)
    predicted = branch.predict(branch.attention(x))
    vertical, horizontal = branch.reach

    def weight(b: int, predictor: Position, other: Position) -> Tensor:
        down, right = other[0] - predictor[0], other[1] - predictor[1]
        if abs(down) > vertical or abs(right) > horizontal:
            return torch.zeros((), dtype=x.dtype)
        channel = (down + vertical) * (2 * horizontal + 1) + right + horizontal
        value: Tensor = at(predicted, b, predictor)[channel]
        return value

    out = torch.zeros_like(x)
    for b in range(x.shape[0]):
        for i in positions(x):
            pairs = [(i, j) if branch.direction == "collect" else (j, i) for j in positions(x)]
            logits = torch.stack([weight(b, *pair) for pair in pairs])
            weights = torch.softmax(logits, 0) if branch.normalise == "softmax" else logits / len(pairs)
            for a, j in zip(weights, positions(x), strict=True):
                at(out, b, i).add_(a * at(x, b, j))
    return out


@pytest.mark.parametrize("size", [(5, 7), (6, 4), (1, 3), (1, 1)])
@pytest.mark.parametrize(
    "options",
    [
        {"reach": 3},
        {"reach": 6, "shrink": 1},
        {"reach": (4, 6), "shrink": 1, "normalise": "count"},
        {"reach": (1, 2), "shrink": 1},
        {"reach": (2, 0), "shrink": 1, "normalise": "count"},
        {"reach": 2, "shrink": 3, "inner": 3},
    ],
    ids=str,
)
@torch.no_grad()
def test_psa_collects_and_distributes_what_each_position_predicts(size: Position, options: dict[str, Any]) -> None:
    module = prepared(PointwiseSpatial(8, **options))
    x = torch.randn(2, 8, *size, dtype=torch.float64)
    parts = [branch_by_definition(branch, x) for branch in (module.collect, module.distribute)]
    for branch, part in zip((module.collect, module.distribute), parts, strict=True):
        torch.testing.assert_close(branch(x), part)
    result = module.project(torch.cat(parts, dim=1))
    result = functional.interpolate(result, size=size, mode="bilinear", align_corners=True)

    torch.testing.assert_close(module(x), torch.cat([result, x], dim=1))


@torch.no_grad()
def test_psa_at_its_default_reach_covers_a_map_of_97() -> None:
    """Every position of the shrunken 49 x 49 map has a prediction of its own for every other."""
    branch = prepared(PointwiseSpatial(16).collect)
    x = torch.randn(1, 16, 97, 97, dtype=torch.float64)
    nn.init.constant_(branch.predict.weight, 0)
    up_and_left = branch.predict.weight[0]
    nn.init.constant_(up_and_left, 1e6)

    torch.testing.assert_close(branch(x)[0, :, -1, -1], branch.reduce(x)[0, :, 0, 0])
    assert branch.predict.out_channels == 97**2


@pytest.mark.parametrize("name", ["pam", "cam", "criss_cross"])
@torch.no_grad()
def test_a_new_block_changes_nothing(name: str) -> None:
    x = torch.randn(2, 8, 5, 6)

    assert torch.equal(create(name, 8)(x), x)


@pytest.mark.parametrize(
    ("name", "options", "out"),
    [
        ("pam", {}, 16),
        ("pam", {"inner": 3}, 16),
        ("cam", {}, 16),
        ("criss_cross", {}, 16),
        ("criss_cross", {"recurrence": 1, "inner": 3}, 16),
        ("psa", {"reach": 7}, 32),
        ("psa", {"reach": (2, 3), "fuse": "none", "normalise": "count", "shrink": 3}, 16),
    ],
)
@pytest.mark.parametrize("size", [(9, 13), (8, 10)])
def test_training_reaches_every_parameter(name: str, options: dict[str, Any], out: int, size: Position) -> None:
    module = create(name, 16, **options)
    if hasattr(module, "gamma"):
        nn.init.constant_(module.gamma, 0.5)
    x = torch.randn(2, 16, *size, requires_grad=True)
    y = module(x)

    assert y.shape == (2, out, *size)
    y.square().sum().backward()
    for parameter_name, tensor in (("x", x), *module.named_parameters()):
        assert tensor.grad is not None
        assert tensor.grad.isfinite().all()
        # softmax does not see what a key's bias adds to all logits of a query alike
        assert tensor.grad.any() or parameter_name == "key.bias"


@pytest.mark.parametrize("name", ["pam", "cam", "criss_cross", "psa:reach=2"])
def test_gradients_are_the_function_s(name: str) -> None:
    ((name, options),) = parse_blocks(name)
    module = prepared(create(name, 8, **options))
    x = torch.randn(2, 8, 4, 3, dtype=torch.float64, requires_grad=True)

    assert torch.autograd.gradcheck(module, (x,))


def criss_cross(h: int, w: int, c: int, d: int) -> int:
    return h * w * (2 * c * d + c * c) + h * w * (h + w) * (d + c)


def psa(h: int, w: int, c: int, offsets: int, shrink: int = 2, width: int | None = None) -> int:
    n, d = math.ceil(h / shrink) * math.ceil(w / shrink), width or c // 4
    return 2 * h * w * c * d + n * (2 * d**2 + 2 * d * offsets + 2 * n * d + 2 * d * c)


FORMS: dict[str, Callable[[int, int, int], int]] = {
    "pam": lambda h, w, c: h * w * (2 * c * (c // 8) + c * c) + (h * w) ** 2 * (c // 8 + c),
    "pam:inner=24": lambda h, w, c: h * w * (2 * c * 24 + c * c) + (h * w) ** 2 * (24 + c),
    "cam": lambda h, w, c: 2 * h * w * c * c,
    "criss_cross": lambda h, w, c: 2 * criss_cross(h, w, c, c // 8),
    "criss_cross:recurrence=3,inner=24": lambda h, w, c: 3 * criss_cross(h, w, c, 24),
    "psa": lambda h, w, c: psa(h, w, c, 97**2),
    "psa:reach=4": lambda h, w, c: psa(h, w, c, 9**2),
    "psa:reach=7+10,shrink=3,inner=8": lambda h, w, c: psa(h, w, c, 15 * 21, 3, 8),
}


@pytest.mark.parametrize(("h", "w", "c"), [(16, 16, 64), (17, 23, 64), (15, 28, 128)])
@pytest.mark.parametrize("block", FORMS)
def test_both_counters_equal_the_closed_form(block: str, h: int, w: int, c: int) -> None:
    ((name, options),) = parse_blocks(block)
    case = make_case(name, options, h, w, c, batch=2)
    figures = with_fvcore(trace_figures(case), build(case))
    expected = 2 * FORMS[block](h, w, c)

    assert (figures.macs, figures.macs_torch, figures.macs_fvcore) == (expected, expected, expected)


def test_psa_holds_no_index_of_all_pairs() -> None:
    """Little more than a branch's predictions (97^2 values a position) and the crop of their rows (49 * 97)."""
    predictions = 4 * 97**2 * 49**2
    figures = trace_figures(make_case("psa", {}, 97, 97, 16))

    assert figures.traced_peak_bytes < 1.6 * predictions


@pytest.mark.parametrize(
    ("name", "channels", "options", "message"),
    [
        ("pam", 12, {}, "channels 12 are not divisible by 8"),
        ("pam", 16, {"inner": 0}, "at least 1, not 0"),
        ("criss_cross", 12, {}, "channels 12 are not divisible by 8"),
        ("criss_cross", 16, {"recurrence": 0}, "recurrence must be at least 1, not 0"),
        ("psa", 10, {}, "channels 10 are not divisible by 4"),
        ("psa", 16, {"shrink": 0}, "shrink must be at least 1, not 0"),
        ("psa", 16, {"reach": -1}, "reach must be at least 0, not -1"),
        ("psa", 16, {"reach": (3, 4, 5)}, "one number, or two for rows and columns, not 3"),
    ],
)
def test_what_does_not_fit_is_refused(name: str, channels: int, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        create(name, channels, **options)
