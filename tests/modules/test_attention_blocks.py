"""Blocks of pairwise attention and their anchors: `nl`, `fnb`, `apnb`."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from modules.asymmetric import AnchorSampling
from modules.options import SpecError
from modules.registry import create

Options = dict[str, Any]


@pytest.mark.parametrize(
    "options", [{}, {"mode": "gaussian"}, {"mode": "dot_product"}, {"mode": "concat"}, {"norm": True}]
)
@torch.no_grad()
def test_nl_sees_positions_in_any_number_of_dimensions(options: Options) -> None:
    module = create("nl", 8, **options).eval()
    clip = torch.randn(2, 8, 3, 4, 5)

    expected = module(clip.reshape(2, 8, 12, 5))
    torch.testing.assert_close(module(clip).reshape(expected.shape), expected)
    torch.testing.assert_close(module(clip.flatten(2)).reshape(expected.shape), expected)


@pytest.mark.parametrize("mode", ["embedded_gaussian", "gaussian", "dot_product", "concat"])
@torch.no_grad()
def test_nl_sub_samples_within_frames(mode: str) -> None:
    module = create("nl", 8, mode=mode, sub_sample=True)
    frames = torch.randn(2, 8, 5, 7)

    torch.testing.assert_close(module(frames.unsqueeze(2)).squeeze(2), module(frames))
    assert module(torch.randn(2, 8, 3, 5, 7)).shape == (2, 8, 3, 5, 7)
    assert module(torch.randn(2, 8, 9)).shape == (2, 8, 9)


@pytest.mark.parametrize("mode", ["embedded_gaussian", "gaussian"])
@pytest.mark.parametrize(("pool", "keys"), [(2, 12), (3, 6), (5, 2)])
@torch.no_grad()
def test_nl_pools_before_or_after_its_convolutions(mode: str, pool: int, keys: int) -> None:
    torch.manual_seed(0)
    options: Options = {"mode": mode, "sub_sample": True, "pool": pool, "fuse": "none"}
    after, before = (create("nl", 8, pool_first=first, **options) for first in (False, True))
    before.load_state_dict(after.state_dict())
    x = torch.randn(2, 8, 6, 8)

    def pooled(map_BCHW: Tensor) -> Tensor:
        return nn.functional.max_pool2d(map_BCHW, pool, stride=2)

    def gathered(key: Tensor, value: Tensor) -> Tensor:
        query = (x if mode == "gaussian" else after.theta(x)).flatten(2)
        assert key.flatten(2).shape[2] == value.flatten(2).shape[2] == keys
        weight = torch.einsum("bdn,bds->bns", query, key.flatten(2)).softmax(-1)
        return after.out(torch.einsum("bns,bes->ben", weight, value.flatten(2)).unflatten(2, (6, 8)))

    phi = nn.Identity() if mode == "gaussian" else after.phi
    torch.testing.assert_close(after(x), gathered(pooled(phi(x)), pooled(after.g(x))))
    torch.testing.assert_close(before(x), gathered(phi(pooled(x)), after.g(pooled(x))))
    assert not torch.allclose(before(x), after(x))


@pytest.mark.parametrize("name", ["nl", "fnb"])
@pytest.mark.parametrize("options", [{"pool": 3}, {"pool": 0}, {"pool_first": True}, {"pool": 3, "pool_first": True}])
def test_how_to_sub_sample_is_said_only_where_it_is_done(name: str, options: Options) -> None:
    with pytest.raises(SpecError, match=r"pool and pool_first say how to sub-sample; set sub_sample=true as well$"):
        create(name, 8, **options)
    create(name, 8, **{**options, "pool": 3}, sub_sample=True)


@torch.no_grad()
def test_nl_pools_first_within_frames() -> None:
    module = create("nl", 8, sub_sample=True, pool=3, pool_first=True)
    frames, clip = torch.randn(2, 8, 5, 7), torch.randn(2, 8, 3, 5, 7)
    order = [2, 0, 1]

    torch.testing.assert_close(module(frames.unsqueeze(2)).squeeze(2), module(frames))
    torch.testing.assert_close(module(clip[:, :, order]), module(clip)[:, :, order])
    assert module(torch.randn(2, 8, 9)).shape == (2, 8, 9)


@torch.no_grad()
def test_dot_product_divides_by_the_keys_that_are_left() -> None:
    full, halved = (create("nl", 4, mode="dot_product", sub_sample=sub, fuse="none").eval() for sub in (False, True))
    halved.load_state_dict(full.state_dict())
    x = torch.randn(1, 4, 3, 3).repeat_interleave(2, 2).repeat_interleave(2, 3)

    torch.testing.assert_close(halved(x), full(x))


@pytest.mark.parametrize("name", ["nl", "apnb"])
@torch.no_grad()
def test_fuse_joins_the_same_result_with_the_input(name: str) -> None:
    alone, added, joined = (create(name, 8, fuse=fuse) for fuse in ("none", "add", "concat"))
    added.load_state_dict(alone.state_dict())
    joined.load_state_dict(alone.state_dict())
    x = torch.randn(2, 8, 9, 8)

    torch.testing.assert_close(added(x), alone(x) + x)
    torch.testing.assert_close(joined(x), torch.cat([alone(x), x], dim=1))


@torch.no_grad()
def test_apnb_without_sampling_is_a_scaled_non_local_block() -> None:
    ours = create("apnb", 8, sampling="none", share="none")
    theirs = create("nl", 8, scale=True)
    names = {"theta": "query.0", "phi": "key.0", "g": "value", "out.0": "out"}
    state = dict(ours.state_dict())
    theirs.load_state_dict(
        {f"{nl}.{p}": state[f"{apnb}.{p}"] for nl, apnb in names.items() for p in ("weight", "bias")}
    )
    x = torch.randn(2, 8, 6, 5)

    torch.testing.assert_close(ours(x), theirs(x))


@torch.no_grad()
def test_fnb_of_one_map_is_nl() -> None:
    fusion = create("fnb", 8, low_channels=8, norm=True, sub_sample=True).eval()
    single = create("nl", 8, norm=True, sub_sample=True).eval()
    single.load_state_dict(fusion.state_dict())
    x = torch.randn(2, 8, 6, 5)

    torch.testing.assert_close(fusion(x, x), single(x))


@pytest.mark.parametrize(
    ("share", "convolutions", "projections"), [("key_value", 3, 3), ("query_key", 3, 4), ("none", 4, 4)]
)
def test_sharing_saves_weights_and_only_with_the_value_also_work(
    share: str, convolutions: int, projections: int
) -> None:
    module = create("apnb", 8, share=share)
    calls: Counter[str] = Counter()
    for name, child in module.named_modules():
        if isinstance(child, nn.Conv2d):
            child.register_forward_hook(lambda *_, name=name: calls.update([name]))
    module(torch.randn(1, 8, 9, 9))

    assert len(calls) == convolutions
    assert sum(calls.values()) == projections


def test_random_anchors_depend_on_the_seed_alone() -> None:
    x = torch.arange(144.0).view(1, 1, 12, 12)
    one, same, other = (AnchorSampling("pyramid_random", (2, 5), seed)(x).flatten().tolist() for seed in (3, 3, 4))

    assert one == same != other
    assert len(set(one[:4])) == 4
    assert len(set(one[4:])) == 25


def test_random_anchors_do_not_depend_on_sizes_seen_before() -> None:
    fresh, used = AnchorSampling("random", (3,), 0), AnchorSampling("random", (3,), 0)
    used(torch.randn(1, 1, 5, 5))
    x = torch.randn(1, 1, 6, 6)

    assert torch.equal(fresh(x), used(x))


def test_random_anchors_are_drawn_once(monkeypatch: pytest.MonkeyPatch) -> None:
    module = create("apnb", 8, sampling="random", sizes=(3,), share="none")
    x = torch.randn(1, 8, 6, 6)
    first = module(x)

    def drawn(*_: object, **__: object) -> Tensor:
        raise AssertionError("drawn again")

    monkeypatch.setattr(torch, "randperm", drawn)
    torch.testing.assert_close(module(x), first)


@torch.no_grad()
def test_random_keys_and_values_are_the_same_positions() -> None:
    """Values that say where they are come back from where the keys are."""
    sampling = AnchorSampling("random", (3,), 1)
    x = torch.randn(1, 2, 6, 6)

    assert torch.equal(sampling(x + 1), sampling(x) + 1)
