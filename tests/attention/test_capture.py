"""Which context blocks a network holds, what each shows, and what is made of it."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from bench.attention.capture import Place, find_places, survey, watched
from bench.attention.distance import average_distance
from bench.attention.pictures import Point
from bench.attention.sketch import Sketch
from bench.attention.statistics import (
    CHANNELS_ASK,
    NO_DIRECTION,
    NOT_SHOWN,
    PlaceStatistics,
    mask_spread,
    relative_entropy,
)
from bench.training.network import build_network
from modules import registry
from modules.options import SpecError


def shown(network: nn.Module, image: Tensor) -> dict[str, dict[str, Tensor]]:
    found: dict[str, dict[str, Tensor]] = {}

    def told(place: Place, name: str, value: Tensor) -> None:
        found.setdefault(place.path, {})[name] = value.clone()

    with torch.no_grad(), watched(find_places(network), told):
        network.eval()(image)
    return found


def statistics_of(label: str, channels: int = 16, size: int = 64, seed: int = 0) -> dict[str, PlaceStatistics]:
    network = build_network(label, channels=channels, seed=seed).eval()
    places = find_places(network)
    found = {place.path: PlaceStatistics() for place in places}
    image = torch.randn(1, 3, size, size, generator=torch.Generator().manual_seed(seed))
    with torch.no_grad(), watched(places, lambda place, name, value: found[place.path].see(name, value)):
        network(image)
    return found


PLACES = {
    "nl": ["block"],
    "identity": ["block"],
    "mlp": ["block"],
    "gald:ga=nl": ["block", "block.ga", "block.ld"],
    "nl+ldv2": ["block.blocks.0", "block.blocks.1"],
    "mlp+gc": ["block.blocks.1"],
}


@pytest.mark.parametrize("label", PLACES)
def test_blocks_are_found_by_the_path_of_their_module(label: str) -> None:
    assert [place.path for place in find_places(build_network(label, channels=16))] == PLACES[label]


def test_blocks_are_found_in_the_stages_and_the_head_of_a_whole_network() -> None:
    network = registry.create(
        "gcnet", 64, context="gc/ratio=1", stages="3+4", often="once", layers="1+2+2+1", head="snl"
    )
    found = [(place.path, place.entry) for place in find_places(network)]
    assert [entry for _, entry in found] == ["gc", "gc", "snl"]
    assert [path.split(".")[1] for path, _ in found] == ["layer2", "layer3", "block"]


def test_a_fusion_block_asks_from_its_high_map() -> None:
    network = registry.create("ann", 64, layers="1+1+1+1")
    found = shown(network, torch.randn(1, 3, 64, 64))
    (fusion,) = (path for path in found if "source" in found[path])
    assert (found[fusion]["input"].shape[1], found[fusion]["source"].shape[1]) == (64, 32)
    assert found[fusion]["attention"].shape[1] == found[fusion]["input"][0, 0].numel()


def test_what_is_shown_goes_to_the_innermost_block() -> None:
    found = shown(build_network("gald:ga=nl", channels=16), torch.randn(1, 3, 64, 64))
    assert set(found["block.ga"]) == {"input", "query", "key", "product", "attention", "output"}
    assert set(found["block.ld"]) == {"input", "mask", "output"}
    assert set(found["block"]) == {"input", "output"}


def test_output_is_what_joins_the_input_shown_or_not() -> None:
    network = build_network("ldv1", channels=16)
    found = shown(network, torch.randn(1, 3, 64, 64))["block"]
    torch.testing.assert_close(found["output"], found["input"] * found["mask"])
    found = shown(build_network("nl", channels=16), torch.randn(1, 3, 64, 64))["block"]
    network = build_network("nl", channels=16)
    block = network.get_submodule("block").eval()
    torch.testing.assert_close(block(found["input"]) - found["input"], found["output"], atol=1e-5, rtol=1e-4)


def test_nothing_is_watched_any_more_behind_the_block() -> None:
    network = build_network("nl", channels=16)
    shown(network, torch.randn(1, 3, 64, 64))
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in network.modules())


def test_a_survey_knows_the_maps_and_the_memory_without_running_anything() -> None:
    found = survey(build_network("gald:ga=nl", channels=16), (1, 3, 64, 80), "gald")
    assert found.extents == {"block": (16, 20), "block.ga": (7, 9), "block.ld": (16, 20)}
    assert found.finest == ("block", (16, 20))
    assert found.peak_bytes is not None
    assert found.peak_bytes > 0


def test_a_survey_says_what_cannot_take_an_image() -> None:
    with pytest.raises(SpecError, match=r"'slow' cannot look at an image of 64x64: ValueError: input must be a clip"):
        survey(registry.create("slow_only", 32), (1, 3, 64, 64), "slow")


def test_every_quantity_of_a_non_local_block_has_its_distance() -> None:
    found = statistics_of("nl")["block"].fields()
    tensors = shown(
        build_network("nl", channels=16), torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    )
    block = tensors["block"]
    assert found["distances"]["attention"] == pytest.approx(average_distance(block["attention"][0]).mean)
    assert found["distances"]["key"] == pytest.approx(average_distance(block["key"][0].T).mean)
    assert found["distances"]["input"] == pytest.approx(average_distance(block["input"][0].flatten(1).T).mean)
    assert found["distances"]["output"] == pytest.approx(average_distance(block["output"][0].flatten(1).T).mean)
    assert set(found["vectors"].values()) == {256.0}
    assert (found["missing"], found["independent"], found["sd"]["input"]) == ({}, False, None)


@pytest.mark.parametrize("label", ["gc", "snl"])
def test_one_map_for_all_positions_is_at_distance_0_by_construction(label: str) -> None:
    found = statistics_of(label)["block"].fields()
    assert found["independent"]
    assert found["distances"]["attention"] == pytest.approx(0, abs=1e-12)
    assert found["vectors"]["attention"] == 1
    assert found["missing"]["query"] == NOT_SHOWN


def test_blocks_without_attention_say_so() -> None:
    missing = {label: statistics_of(label)["block"].fields()["missing"] for label in ("psp", "ldv1", "ldv2")}
    assert missing["psp"]["attention"] == NOT_SHOWN
    assert "mask" in missing["ldv1"]["attention"]
    assert "affinity" in missing["ldv2"]["attention"]


@pytest.mark.parametrize("channels", [16, 256])
def test_attention_of_channels_is_not_taken_for_that_of_positions(channels: int) -> None:
    found = statistics_of("cam", channels)["block"].fields()
    assert found["missing"]["attention"] == CHANNELS_ASK
    assert found["distances"]["attention"] is None
    assert found["distances"]["input"] is not None


def test_as_many_channels_as_positions_do_not_hide_the_attention_of_positions() -> None:
    assert statistics_of("nl:mode=gaussian", 256)["block"].fields()["distances"]["attention"] is not None


def test_a_new_gc_block_adds_nothing_and_has_no_direction() -> None:
    found = statistics_of("gc")["block"].fields()
    assert (found["distances"]["output"], found["zeros"]["output"]) == (None, 1.0)
    assert found["missing"]["output"] == NO_DIRECTION


def test_several_images_at_once_are_refused() -> None:
    with pytest.raises(ValueError, match="2 images"):
        PlaceStatistics().see("input", torch.zeros(2, 3, 4, 4))


def test_figures_are_means_over_the_images() -> None:
    found = PlaceStatistics()
    for count in (2, 4):
        found.see("attention", torch.eye(count)[None])
    fields = found.fields()
    assert fields["distances"]["attention"] == pytest.approx((1 / 4 + 3 / 8) / 2)
    assert fields["sd"]["attention"] == pytest.approx(0.125 / 2**0.5)
    assert fields["vectors"]["attention"] == 3


def test_relative_entropy() -> None:
    assert relative_entropy(torch.full((3, 8), 1 / 8)) == pytest.approx(1)
    assert relative_entropy(torch.eye(5)) == pytest.approx(0)
    assert relative_entropy(torch.tensor([[0.5, 0.5, 0, 0]])) == pytest.approx(0.5)
    assert relative_entropy(torch.tensor([[1.5, -0.5]])) is None
    assert relative_entropy(torch.tensor([[0.2, 0.2]])) is None
    assert relative_entropy(torch.ones(4, 1)) is None


def test_mask_spread() -> None:
    mask = torch.tensor([[[[0.0, 1.0]], [[0.0, 1.0]]]])
    assert mask_spread(mask) == {"mask_mean": 0.5, "mask_sd_positions": 0.5, "mask_sd_channels": 0.0}
    assert mask_spread(mask.transpose(1, 3))["mask_sd_channels"] == 0.5


POINTS = [Point("a", 0.4, 0.9), Point("b", 0.0, 0.0)]


def sketched(label: str, place: int = 0) -> tuple[Sketch, dict[str, Tensor]]:
    network = build_network(label, channels=16).eval()
    places = find_places(network)
    sketch = Sketch(places[place], POINTS)
    seen: dict[str, Tensor] = {}

    def told(where: Place, name: str, value: Tensor) -> None:
        if where is places[place]:
            seen[name] = value
            sketch.see(name, value)

    with torch.no_grad(), watched(places, told):
        network(torch.randn(1, 3, 64, 64))
    return sketch, seen


def test_a_map_is_the_row_of_the_position_that_asks() -> None:
    sketch, seen = sketched("nl")
    row = 6 * 16 + 14
    torch.testing.assert_close(torch.from_numpy(sketch.maps["attention"][0]), seen["attention"][0, row].view(16, 16))


@pytest.mark.parametrize("sampling", ["pyramid_average", "pyramid_max", "pyramid_random"])
def test_weights_of_anchors_become_weights_of_positions(sampling: str) -> None:
    sketch, seen = sketched(f"apnb:sampling={sampling}")
    assert seen["attention"].shape[2] == 110
    assert sketch.maps["attention"].shape == (2, 16, 16)
    assert sketch.maps["attention"].sum((1, 2)) == pytest.approx([1, 1], abs=1e-5)


def test_weights_of_averages_become_just_those_that_the_positions_have() -> None:
    sketch, seen = sketched("apnb:sizes=1+2")
    whole, *quarters = seen["attention"][0, 0].tolist()
    assert sketch.maps["attention"][1, 0, 0] == pytest.approx(whole / 256 + quarters[0] / 64, abs=1e-7)
    assert sketch.maps["attention"][1, 15, 15] == pytest.approx(whole / 256 + quarters[3] / 64, abs=1e-7)


def test_subsampled_keys_have_a_coarser_map() -> None:
    assert sketched("nl:sub_sample=true")[0].maps["attention"].shape == (2, 8, 8)


def test_affinity_lies_around_the_position_that_asks_within_the_map() -> None:
    found = sketched("ldv2:kernel=3,dilation=2")[0].maps["affinity"]
    rows, columns = (found[0] == found[0]).nonzero()
    assert (sorted(set(rows.tolist())), sorted(set(columns.tolist()))) == ([4, 6, 8], [12, 14])
    assert int((found[1] == found[1]).sum()) == 4


def test_one_map_and_a_mask_are_kept_once() -> None:
    assert sketched("gc")[0].maps["attention"].shape == (1, 16, 16)
    assert sketched("ldv1")[0].maps["mask"].shape == (16, 16)
