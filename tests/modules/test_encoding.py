"""Context encoding: the authors' recordings, the definition position by position, costs and refusals."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from bench.case import make_case
from bench.static import trace_figures, with_fvcore
from bench.workload import build
from modules.encoding import ContextEncoding, Encoding
from modules.registry import create

FOLDER = Path(__file__).parents[1] / "golden"
NAMES = {
    "encoding.0.": "project.0.",
    "encoding.1.": "project.1.",
    "encoding.3.": "codebook.",
    "encoding.4.": "norm.",
    "fc.": "gate.",
    "selayer.": "selayer.",
}


def read(stem: str) -> dict[str, Any]:
    data: dict[str, Any] = torch.load(FOLDER / f"{stem}.pt", weights_only=True)
    return data


def authors_block() -> tuple[ContextEncoding, dict[str, Any]]:
    golden = read("fast_encmodule")
    config = golden["config"]
    module = ContextEncoding(config["in_channels"], config["ncodes"], config["nclass"])
    state = {}
    for name, value in golden["state_dict"].items():
        old = next(prefix for prefix in NAMES if name.startswith(prefix))
        state[NAMES[old] + name.removeprefix(old)] = value
    module.load_state_dict(state, strict=True)
    return module.eval(), golden


def largest_difference(ours: list[Tensor], theirs: list[Tensor]) -> float:
    return max(float((a - b).abs().max() / b.abs().max()) for a, b in zip(ours, theirs, strict=True))


@torch.no_grad()
def test_the_layer_equals_the_authors() -> None:
    golden = read("fast_encoding")
    module = Encoding(golden["config"]["D"], golden["config"]["K"])
    module.load_state_dict(golden["state_dict"], strict=True)

    assert largest_difference([module(golden["inputs"][0])], [golden["output"]]) < 1e-5
    module.scale.mul_(1.001)
    assert largest_difference([module(golden["inputs"][0])], [golden["output"]]) > 1e-5


@torch.no_grad()
def test_the_block_and_its_classifier_equal_the_authors() -> None:
    module, golden = authors_block()
    y, e = module.encode(golden["inputs"][0])

    assert largest_difference([y, module.classify(e)], golden["output"]) < 1e-5
    assert torch.equal(module(golden["inputs"][0]), y)


@pytest.mark.parametrize("part", ["project", "codebook", "norm", "gate", "selayer"])
@torch.no_grad()
def test_weights_off_by_a_thousandth_are_noticed(part: str) -> None:
    module, golden = authors_block()
    for parameter in getattr(module, part).parameters():
        parameter.mul_(1.001)
    y, e = module.encode(golden["inputs"][0])

    assert largest_difference([y, module.classify(e)], golden["output"]) > 1e-5


@torch.no_grad()
def test_residuals_are_assigned_and_summed_position_by_position() -> None:
    torch.manual_seed(0)
    module = Encoding(5, 3).double()
    x = torch.randn(2, 5, 3, 4, dtype=torch.float64)
    expected = torch.zeros(2, 3, 5, dtype=torch.float64)
    for b in range(2):
        for x_i in x[b].flatten(1).T:
            residuals = x_i - module.codewords
            weights = torch.softmax(module.scale * residuals.pow(2).sum(1), dim=0)
            expected[b] += weights[:, None] * residuals

    torch.testing.assert_close(module(x), expected)


@torch.no_grad()
def test_new_codewords_are_small_and_near_ones_are_preferred() -> None:
    module = Encoding(16, 4)

    assert module.codewords.abs().max() <= 1 / 8
    assert module.scale.min() >= -1
    assert module.scale.max() <= 0


def test_gradients_are_the_function_s() -> None:
    torch.manual_seed(0)
    module = create("encoding", 3, codewords=2).double().eval()
    x = torch.randn(2, 3, 4, 3, dtype=torch.float64, requires_grad=True)

    assert torch.autograd.gradcheck(module, (x,))


@pytest.mark.parametrize("size", [(1, 1), (7, 9), (8, 6)])
def test_training_reaches_every_parameter(size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    module = ContextEncoding(8, 6, classes=5)
    x = torch.randn(3, 8, *size, requires_grad=True)
    y, e = module.encode(x)
    logits = module.classify(e)

    assert (y.shape, e.shape, logits.shape) == (x.shape, (3, 8), (3, 5))
    (y.square().sum() + logits.square().sum()).backward()  # type: ignore[no-untyped-call]
    for tensor in (x, *module.parameters()):
        assert tensor.grad is not None
        assert tensor.grad.isfinite().all()
        assert tensor.grad.any()


@pytest.mark.parametrize(("h", "w", "c"), [(16, 16, 64), (17, 23, 64), (15, 28, 256)])
@pytest.mark.parametrize("k", [32, 7])
def test_both_counters_equal_the_closed_form(h: int, w: int, c: int, k: int) -> None:
    case = make_case("encoding", {"codewords": k}, h, w, c, batch=2)
    figures = with_fvcore(trace_figures(case), build(case))
    expected = 2 * (h * w * c**2 + 2 * h * w * k * c + c**2)

    assert (figures.macs, figures.macs_torch, figures.macs_fvcore) == (expected, expected, expected)


def test_the_residuals_of_all_pairs_are_never_held() -> None:
    pairs = 4 * 48 * 48 * 32 * 64
    figures = trace_figures(make_case("encoding", {}, 48, 48, 64))

    assert figures.traced_peak_bytes < pairs / 4


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"codewords": 0}, "codewords must be at least 1, not 0"),
        ({"classes": 0}, "classes must be at least 1, not 0"),
    ],
)
def test_what_does_not_fit_is_refused(options: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        create("encoding", 8, **options)


def test_a_map_of_other_channels_and_a_missing_classifier_are_refused() -> None:
    with pytest.raises(ValueError, match="8 channels, not 6"):
        Encoding(8)(torch.randn(1, 6, 4, 4))
    module = ContextEncoding(8).eval()
    with pytest.raises(ValueError, match="no classifier"):
        module.classify(module.encode(torch.randn(1, 8, 4, 4))[1])
