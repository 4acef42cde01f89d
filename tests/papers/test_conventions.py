"""The counting rules, against figures worked out by hand and against those that the papers print."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn
from torch.nn import functional

from bench.axes import parse_blocks
from bench.case import Case, make_case
from bench.papers.conventions import (
    COUNTS,
    anchors,
    ann_memory,
    ann_memory_stale,
    macs,
    macs_pooled,
    positions,
    ptflops,
    ptflops_modules,
    recount,
    torchstat,
    torchstat_apart,
    twice_macs,
)
from bench.papers.tally import Tally
from bench.static import trace_figures
from modules.options import SpecError
from tests.papers.nets import Function, Siamese, tally_of

GIGA = 1e9
NB = {"inner": 256, "sampling": "none", "share": "query_key", "norm": True, "fuse": "none"}
APNB = {"inner": 256, "share": "query_key", "norm": True, "fuse": "none"}
SMALL, LARGE = (96, 96), (128, 256)


def case_of(block: str, size: tuple[int, int], channels: int, **axes: object) -> Case:
    ((name, options),) = parse_blocks(block)
    return make_case(name, options, *size, channels, **axes)


@pytest.mark.parametrize(
    ("options", "size", "rule", "giga"),
    [
        (NB, SMALL, torchstat, 58.0127),
        (NB, LARGE, torchstat, 601.4045),
        (APNB, SMALL, torchstat_apart, 15.5737),
        (APNB, LARGE, torchstat_apart, 55.3732),
        (NB, SMALL, macs, 62.8139),
        (NB, LARGE, macs, 618.4753),
        (APNB, SMALL, macs, 19.8464),
        (APNB, LARGE, macs, 70.5650),
    ],
)
def test_ann_table_1_flops(
    options: dict[str, object], size: tuple[int, int], rule: Callable[[Tally], int], giga: float
) -> None:
    assert rule(recount(make_case("apnb", options, *size, 2048)).tally) / GIGA == pytest.approx(giga, abs=5e-5)


@pytest.mark.parametrize(
    ("options", "size", "mebi"),
    [
        (NB, SMALL, 609.01),
        (APNB | {"fuse": "concat"}, SMALL, 150.01),
        (NB, LARGE, 8038.01),
        (APNB | {"fuse": "concat"}, LARGE, 518.01),
    ],
)
def test_ann_table_1_memory_above_the_null_block(
    options: dict[str, object], size: tuple[int, int], mebi: float
) -> None:
    assert ann_memory(make_case("apnb", options, *size, 2048)) == pytest.approx(mebi, abs=0.005)


@pytest.mark.parametrize(("options", "mebi"), [(NB, 7797.0), (APNB | {"fuse": "concat"}, 277.0)])
def test_ann_table_1_memory_above_what_the_smaller_size_left(options: dict[str, object], mebi: float) -> None:
    base = make_case("apnb", NB, *SMALL, 2048)
    assert ann_memory_stale(make_case("apnb", options, *LARGE, 2048), base) == pytest.approx(mebi, abs=0.005)


def test_a_smaller_peak_leaves_nothing_behind() -> None:
    case = make_case("apnb", NB, *LARGE, 2048)
    assert ann_memory_stale(case, make_case("apnb", NB, 8, 8, 2048)) == ann_memory(case)


def test_the_null_block_adds_no_memory() -> None:
    assert ann_memory(make_case("identity", {}, 24, 24, 64)) == 0


@pytest.mark.parametrize(
    ("block", "giga"),
    [
        ("snl", 646.8917 - 646.8818),
        ("gc:ratio=4", 646.8916 - 646.8818),
        ("gc:ratio=4,pooling=avg", 646.8867 - 646.8818),
        ("gc:ratio=4,pooling=avg,fusion=mul", 646.8867 - 646.8818),
        ("nl:inner=256,norm=true", 697.1587 - 646.8818),
        ("identity", 0),
    ],
)
def test_gcnet_table_12_increments(block: str, giga: float) -> None:
    """What a block adds to the baseline of Table 12; both ends of the difference are rounded."""
    assert ptflops(recount(case_of(block, (97, 97), 512)).tally) / GIGA == pytest.approx(giga, abs=1e-4)


@pytest.mark.parametrize(
    ("network", "giga"),
    [
        ("gcnet:head=identity,side=odd", 646.8818),
        ("gcnet:head=snl,side=odd", 646.8917),
        ("gcnet:head=gc/ratio=4,side=odd", 646.8916),
        ("gcnet:head=gc/ratio=4/pooling=avg,side=odd", 646.8867),
        ("gcnet:head=nl/inner=256/norm=true,side=odd", 697.1587),
        ("gcnet:head=identity,context=gc/ratio=4,side=odd", 647.4983),
    ],
)
def test_gcnet_table_12_networks(network: str, giga: float) -> None:
    assert ptflops(recount(case_of(network, (97, 97), 2048)).tally) / GIGA == pytest.approx(giga, abs=5e-5)


@pytest.mark.parametrize(
    ("network", "giga"),
    [
        ("gcnet:head=identity,context=gc/ratio=4,side=odd", 647.1997),
        ("gcnet:head=gc/ratio=4,context=gc/ratio=4,side=odd", 647.2046),
        ("gcnet:head=gc/ratio=4/pooling=avg,side=odd", 646.8867),
    ],
)
def test_gcnet_table_12_without_the_products_of_attention_pooling(network: str, giga: float) -> None:
    assert ptflops_modules(recount(case_of(network, (97, 97), 2048)).tally) / GIGA == pytest.approx(giga, abs=5e-5)


def test_attention_pooling_is_one_product_a_block_of_its_map() -> None:
    tally = recount(case_of("gcnet:head=identity,context=gc/ratio=4,side=odd", (97, 97), 2048)).tally
    blocks = 4 * 97**2 * 512 + 23 * 97**2 * 1024 + 3 * 97**2 * 2048
    assert ptflops(tally) - ptflops_modules(tally) == blocks


def test_both_cells_of_table_12_with_nl_are_one_block_run_twice() -> None:
    """71.22 M and 697.16 G of Table 12 belong to one network: NL with D = 128, applied twice."""
    twice = recount(case_of("ccnet:block=nl/inner=128,side=odd", (97, 97), 2048))
    once = recount(case_of("ccnet:block=nl/inner=128,recurrence=1,side=odd", (97, 97), 2048))
    plain = recount(case_of("gcnet:head=identity,side=odd", (97, 97), 2048))
    n, c, d = 97**2, 512, 128
    a_pass = 4 * n * c * d + 2 * n**2 * d + n * (3 * d + c)
    assert twice.params == once.params == plain.params + 4 * c * d + 3 * d + c == 71_222_630
    assert ptflops(once.tally) == ptflops(plain.tally) + a_pass
    assert ptflops(twice.tally) == ptflops(plain.tally) + 2 * a_pass
    assert ptflops(twice.tally) / GIGA == pytest.approx(697.1587, abs=5e-5)


@pytest.mark.parametrize("context", ["none", "gc/ratio=16", "snl"])
def test_gcnet_table_8_with_and_without_pooling_inputs(context: str) -> None:
    """Stem and global average put 903,168 elements into pooling, too few to show in two decimals."""
    tally = recount(case_of(f"gc_resnet:context={context}", (28, 28), 2048)).tally
    assert macs_pooled(tally) - macs(tally) == 64 * 112**2 + 2048 * 7**2


def test_ptflops_of_a_network_by_hand() -> None:
    network = nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1),
        nn.BatchNorm2d(4),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(2),
        nn.Conv2d(4, 6, 1, bias=False),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(6, 5),
    )
    tally = tally_of(network, 2, 3, 8, 10)
    large, small = 2 * 8 * 10, 2 * 4 * 5
    products = large * 4 * 3 * 9 + small * 6 * 4 + 2 * 6 * 5
    touched = large * 4 + 2 * large * 4 + large * 4 + large * 4 + small * 6 + small * 6
    assert (macs(tally), twice_macs(tally), ptflops(tally)) == (products, 2 * products, products + touched)
    assert torchstat(tally) == torchstat_apart(tally) == products + touched
    assert ptflops_modules(tally) == ptflops(tally)
    assert macs_pooled(tally) == products + large * 4 + small * 6


def test_a_shared_layer_counts_once_where_the_paper_did() -> None:
    batch, width, inner, positions_ = 2, 8, 3, 20
    tally = tally_of(Siamese(nn.Conv2d(width, inner, 1), nn.BatchNorm2d(inner), nn.ReLU()), batch, width, 4, 5)
    projection, elements = batch * positions_ * width * inner, batch * positions_ * inner
    affinity, aggregation = batch * positions_**2 * inner, batch * positions_**2 * width
    assert macs(tally) == 2 * projection + affinity + aggregation
    assert ptflops(tally) == macs(tally) + 2 * (elements + 2 * elements + elements)
    assert torchstat(tally) == projection + (elements + 2 * elements + elements) + 2 * aggregation
    layers = projection + (elements + 2 * elements + elements)
    assert torchstat_apart(tally) == layers + 2 * (affinity + aggregation)
    assert ptflops_modules(tally) == 2 * layers


def test_a_layer_without_weight_is_its_module() -> None:
    shared = Siamese(nn.ReLU())
    assert torchstat(tally_of(shared, 1, 3, 4, 5)) == 60 + 2 * 20 * 20 * 3
    apart = nn.Sequential(nn.ReLU(), nn.ReLU())
    assert torchstat(tally_of(apart, 1, 3, 4, 5)) == 120


def test_pooling_to_another_size_is_another_layer() -> None:
    pyramid = Function(lambda x: torch.cat([functional.adaptive_avg_pool2d(x, n).flatten(2) for n in (1, 3)], 2))
    assert torchstat(tally_of(pyramid, 1, 3, 6, 6)) == 2 * 3 * 36
    layer = nn.MaxPool2d(1)
    assert torchstat(tally_of(nn.Sequential(layer, layer), 1, 3, 6, 6)) == 3 * 36


def test_weights_that_two_modules_share_are_one_layer() -> None:
    first, second = (nn.Conv2d(4, 4, 1, bias=False, device="meta") for _ in range(2))
    second.weight = first.weight
    tally = tally_of(nn.Sequential(first, second), 1, 4, 5, 5)
    assert (macs(tally), torchstat(tally)) == (2 * 400, 400)


def test_a_linear_layer_is_no_product_of_activations() -> None:
    tally = tally_of(nn.Linear(6, 5), 2, 7, 6)
    assert [call.weight for call in tally.calls] == ["weight"]
    assert macs(tally) == ptflops(tally) == torchstat(tally) == torchstat_apart(tally) == 2 * 7 * 6 * 5


BLOCKS = [
    *("identity", "nl", "nl:sub_sample=true,norm=true", "snl", "gc", "se", "apnb", "apnb:sampling=pyramid_random"),
    *("afnb", "fnb", "cgnl", "psp", "aspp", "ldv1", "ldv2", "gald", "jpu", "fpn", "resnet"),
]


@pytest.mark.parametrize("block", BLOCKS)
def test_a_recount_agrees_with_the_static_figures(block: str) -> None:
    case = case_of(block, (16, 20), 64, batch=2)
    found, figures = recount(case), trace_figures(case)
    assert (found.params, macs(found.tally)) == (figures.params, figures.macs)
    assert (found.peak_bytes, found.resident_bytes) == (figures.traced_peak_bytes, figures.resident_bytes)


def test_a_case_is_taken_apart_once() -> None:
    first, again, other = (recount(case_of("gc:ratio=4", (8, 8), c)) for c in (64, 64, 128))
    assert first is again
    assert other is not first


def test_conventions_go_by_their_names() -> None:
    assert set(COUNTS) == {
        *("macs", "twice_macs", "macs_pooled", "ptflops", "ptflops_modules", "torchstat", "torchstat_apart")
    }
    assert COUNTS["ptflops"] is ptflops


@pytest.mark.parametrize(
    ("block", "count"),
    [
        ("apnb", 110),
        ("apnb:sizes=1+4+8+12", 225),
        ("apnb:sampling=pyramid_max,sizes=1+2+3+6", 50),
        ("apnb:sampling=pyramid_random,sizes=1+2+3+6", 50),
        ("apnb:sampling=random,sizes=15", 225),
        ("apnb:sampling=average,sizes=15", 225),
        ("apnb:sampling=none", 97 * 97),
        ("afnb", 110),
    ],
)
def test_anchors_are_found_by_sampling(block: str, count: int) -> None:
    case = case_of(block, (97, 97), 512)
    assert (anchors(case), positions(case)) == (count, 97 * 97)


@pytest.mark.parametrize("block", ["nl", "gc:ratio=4", "identity"])
def test_a_block_that_samples_nothing_has_no_anchors(block: str) -> None:
    with pytest.raises(SpecError, match=f"sample, such as apnb and afnb, not of {block}$"):
        anchors(case_of(block, (16, 16), 64))
