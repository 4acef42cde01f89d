from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from bench.plan import judge, make_plan
from bench.static import trace_figures
from bench.static.figures import StaticFigures
from bench.suite import load_suite, read_suite, suite_names
from modules import registry

SMALL = {"grid": [{"blocks": "nl,snl", "sizes": ["8x8", "8x12"], "channels": [16, 32]}]}


def test_the_shipped_suites_are_there_and_read() -> None:
    assert set(suite_names()) == {
        "quick",
        "default",
        "networks",
        "full",
        "ann-1",
        "ann-2",
        "galdv2-iv",
        "fastfcn-2",
        "then-and-now",
    }
    for name in ("quick", "default", "networks", "full"):
        assert len(load_suite(name).cases("cpu")) > 10


def test_the_large_suites_hold_every_entry() -> None:
    entries = {name: {case.entry for case in load_suite(name).cases("cpu")} for name in ("default", "networks", "full")}

    assert entries["networks"] == set(registry.names("network"))
    assert entries["default"] == set(registry.names()) - entries["networks"]
    assert entries["full"] == set(registry.names())


def test_a_suite_written_out_reads_back(tmp_path: Path) -> None:
    for name in suite_names():
        suite = load_suite(name)
        (tmp_path / "again.toml").write_text(suite.toml())
        again = load_suite(str(tmp_path / "again.toml"))
        assert again == suite


def test_a_grid_is_a_product_and_a_case_in_two_grids_is_one() -> None:
    twice = read_suite({"grid": [*SMALL["grid"], {"blocks": "nl", "sizes": "8x8", "channels": "16"}]}, "x")
    assert len(twice.cases("cpu")) == 8


def test_overrides_replace_axes_in_every_grid() -> None:
    suite = load_suite("default").override({"blocks": "gc", "sizes": "8x8", "channels": "64"}, "none")
    ((case, reference),) = suite.cases("cpu").items()
    assert (case.label, case.height, case.channels, reference) == ("gc", 8, 64, None)


def test_a_skip_rule_holds_only_where_all_its_conditions_do() -> None:
    rule = {"reason": "r", "blocks": "nl", "gmacs_above": 1e-4, "positions_above": 64}
    suite = read_suite({**SMALL, "skip": [rule]}, "x")
    skipped = {case: suite.skips[0].explain(case, trace_figures(case)) for case in suite.cases("cpu")}
    assert Counter((case.entry, case.width) for case, reason in skipped.items() if reason) == {("nl", 12): 2}


def test_what_cannot_fit_is_skipped_with_both_figures() -> None:
    case = next(iter(read_suite(SMALL, "x").cases("cpu")))
    verdict = judge(case, read_suite(SMALL, "x"), free_bytes=2**14)
    needed = verdict.figures.resident_bytes + verdict.figures.traced_peak_bytes
    assert verdict.status == "skipped"
    assert verdict.reason == f"needs {needed / 2**20:.4g} MiB (traced), 0.01562 MiB are free on cpu"
    assert judge(case, read_suite(SMALL, "x"), free_bytes=10**9).status == "ok"


def test_a_map_too_small_for_a_block_is_unsupported_and_says_why() -> None:
    suite = read_suite({"grid": [{"blocks": "ldv1", "sizes": "8x8", "channels": "16"}]}, "x")
    plan = make_plan(suite, "cpu", {}, None)
    assert [(v.status, v.reason) for v in plan.unmeasured] == [
        ("unsupported", "ldv1 with 3 stages needs a map of at least 15x15, not 8x8")
    ]


def test_groups_hold_the_cases_that_differ_only_in_the_entry_with_their_reference() -> None:
    plan = make_plan(read_suite(SMALL, "x"), "cpu", {}, None)
    assert len(plan.groups) == 4
    for group in plan.groups:
        assert [member.case.entry for member in group.members] == ["nl", "snl"]
        assert group.reference is group.members[0]


def test_a_reference_outside_of_the_cases_is_measured_beside_them() -> None:
    suite = read_suite({"reference": "gc:ratio=4", **SMALL}, "x")
    for group in make_plan(suite, "cpu", {}, None).groups:
        assert group.reference.case.label == "gc:ratio=4"
        assert group.reference.case.group == group.members[0].case.group


def test_what_is_done_is_not_planned_again() -> None:
    suite = read_suite(SMALL, "x")
    done = {case.key: {"status": "ok"} for case in list(suite.cases("cpu"))[:3]}
    plan = make_plan(suite, "cpu", done, None)
    assert (plan.to_measure, plan.unmeasured, plan.outdated) == (5, (), frozenset())


def test_a_skipped_case_is_judged_again_and_measured_once_it_fits() -> None:
    suite = read_suite({"grid": [{"blocks": "snl", "sizes": "16x16", "channels": "64"}]}, "x")
    (case,) = suite.cases("cpu")
    done = {case.key: {"status": "skipped"}}
    still = make_plan(suite, "cpu", done, 100)
    assert (still.to_measure, still.unmeasured, still.outdated) == (0, (), frozenset())
    now = make_plan(suite, "cpu", done, 10**9)
    assert (now.to_measure, now.outdated) == (1, {case.key})


def test_a_reference_that_is_skipped_is_missed_aloud() -> None:
    suite = read_suite({**SMALL, "skip": [{"reason": "slow", "blocks": "nl"}]}, "x")
    for group in make_plan(suite, "cpu", {}, None).groups:
        assert group.reference is None
        assert group.note == "nl is skipped: slow"


def test_other_blocks_make_one_grid_with_the_reference_of_the_suite() -> None:
    suite = load_suite("default").override({"blocks": "nl,gc"}, None)
    cases = suite.cases("cpu")
    assert set(cases.values()) == {"nl"}
    assert {(case.height, case.channels) for case in cases} == {(s, c) for s in (32, 64, 97) for c in (256, 512, 2048)}


def test_a_group_that_does_not_fit_the_device_together_is_timed_in_parts_each_with_the_reference() -> None:
    suite = read_suite({"grid": [{"blocks": "snl,nl,gc,se,cgnl", "sizes": "16x16", "channels": "64"}]}, "x")
    (whole,) = make_plan(suite, "cpu", {}, 10**9).groups
    resident = max(member.figures.resident_bytes for member in whole.members)
    peak = max(member.figures.traced_peak_bytes for member in whole.members)
    parts = make_plan(suite, "cpu", {}, peak + 4 * resident).groups
    assert len(parts) > 1
    assert [m.case for part in parts for m in part.members] == [m.case for m in whole.members]
    assert {part.reference.case.label for part in parts} == {"nl"}


def test_a_case_that_fits_alone_but_not_beside_the_reference_goes_without() -> None:
    suite = read_suite({"grid": [{"blocks": "snl", "sizes": "16x16", "channels": "64"}]}, "x")
    (whole,) = make_plan(suite, "cpu", {}, 10**9).groups
    needed = whole.reference.figures.resident_bytes + whole.reference.figures.traced_peak_bytes
    (alone,) = make_plan(suite, "cpu", {}, needed).groups
    assert alone.reference is None


@pytest.mark.parametrize("name", ["networks", "full"])
def test_segmentation_networks_are_swept_at_maps_that_all_of_them_make(name: str) -> None:
    cases = load_suite(name).cases("cpu")
    networks = {
        case: reference for case, reference in cases.items() if registry.describe(case.entry).family == "network"
    }
    segmenting = [case for case in networks if case.entry not in ("gc_resnet", "slow_only", "mask_rcnn")]

    assert {case.entry for case in segmenting} == set(registry.names("network")) - {
        "gc_resnet",
        "slow_only",
        "mask_rcnn",
    }
    assert {dict(case.options).get("side") for case in segmenting} == {"odd"}
    assert set(networks.values()) == {"fcn:side=odd"}


@pytest.mark.parametrize("name", ["ann-1", "ann-2", "galdv2-iv", "fastfcn-2"])
def test_a_suite_of_a_table_is_skipped_on_a_cpu_by_the_size_of_its_maps(name: str) -> None:
    suite = load_suite(name)
    why = "a map of a GPU; on a CPU --sizes 32x32 measures the ratios at a smaller one"
    for device, size in (("cpu", None), ("cuda", None), ("cpu", "32x32"), ("cpu", "50x50"), ("cpu", "51x50")):
        for case in suite.override({"sizes": size}, None).cases(device):
            large = device == "cpu" and case.positions > 2500
            found = suite.skips[0].explain(case, StaticFigures(0, 0, 0, None, 0, [], 0, 0, 0, {}, {}, 0, 0))
            assert found == (f"{why} (positions {case.positions:.4g} > 2500)" if large else None)
            assert large == (device == "cpu" and size in (None, "51x50"))


def test_galdv2_s_table_is_compared_with_the_trunk_that_its_networks_have() -> None:
    cases = load_suite("galdv2-iv").cases("cuda")
    assert set(cases.values()) == {"fcn:ceil_mode=true,aux=none"}
    assert "fcn:ceil_mode=true,aux=none" in {case.label for case in cases}


def test_each_form_of_a_block_has_the_reference_in_its_own_form_beside_it() -> None:
    grid = {"blocks": "gc", "sizes": "16x16", "channels": "64", "impl": "reference,fused"}
    suite = read_suite({"reference": "nl", "grid": [grid]}, "x")
    (group,) = make_plan(suite, "cpu", {}, None).groups
    assert group.pacing.name == "nl"
    assert [verdict.case.name for verdict in group.forms] == ["nl (fused)"]
    assert group.steps == ["gc", "gc (fused)", "nl", "nl (fused)", "nl"]
    known = [verdict.figures for verdict in (*group.members, *group.forms, group.reference, group.reference)]
    resident, peak = sum(f.resident_bytes for f in known), max(f.traced_peak_bytes for f in known)
    tight = make_plan(suite, "cpu", {}, resident + peak - 1).groups
    assert [[verdict.case.name for verdict in part.members] for part in tight] == [["gc"], ["gc (fused)"]]
    assert [[verdict.case.name for verdict in part.forms] for part in tight] == [[], ["nl (fused)"]]
