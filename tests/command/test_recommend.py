"""Which block is chosen of which rows, and what is said of the others."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from bench.budget import Budget
from bench.recommend import Recommendation, recommend
from tests.report.synthetic import row, write_run

Command = Callable[..., tuple[int, str, str]]
RECORDED = Path(__file__).resolve().parents[2] / "results" / "reference"
MIB = 2**20


def timed(name: str, low: float, ms: float, high: float, mib: int = 10, **fields: Any) -> dict[str, Any]:
    """A row with a time and its interval, ms, and a traced peak."""
    times = {"latency_ms": ms, "latency_ci_low_ms": low, "latency_ci_high_ms": high}
    return row(name, **times, traced_peak_bytes=mib * MIB, noise_floor=0.02, **fields)


ROWS = [
    timed("identity", 0.001, 0.001, 0.001, 1),
    timed("nl", 9.0, 10.0, 11.0, 200),
    timed("gc", 0.9, 1.0, 1.1, 8),
    timed("snl", 1.08, 1.2, 1.3, 6),
    timed("apnb", 2.9, 3.0, 3.1, 30),
    timed("psp", 4.0, 5.0, 6.0, 30),
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_run(tmp_path / "run", ROWS)


def kinds(*carried: str) -> dict[str, bool]:
    return {kind: kind in carried for kind in ("scene", "pairwise", "regional")}


def asked(
    folder: Path, carried: Mapping[str, dict[str, bool]] | None = None, carries: tuple[str, ...] = (), **most: float
) -> Recommendation:
    return recommend(folder, {}, Budget(most, carries), carried=carried)


def verdicts(found: Recommendation) -> list[tuple[str, str]]:
    return [(offer.block, offer.verdict) for offer in found.offers]


def test_the_fastest_that_fits_is_chosen_and_those_close_to_it_are_named(folder: Path) -> None:
    found = asked(folder, ms=3.5)
    assert verdicts(found)[:3] == [("gc", "chosen"), ("snl", "close"), ("apnb", "fits")]
    assert found.summary.endswith(
        "gc (reference) is the fastest of 3 that fit; close, by intervals that meet: snl (reference)"
    )
    assert found.exit_code == 0


def test_the_null_block_is_never_chosen(folder: Path) -> None:
    assert "identity" not in [offer.block for offer in asked(folder).offers]


def test_a_time_whose_interval_holds_the_limit_is_doubtful(folder: Path) -> None:
    found = {offer.block: offer for offer in asked(folder, ms=5.5).offers}
    assert (found["psp"].verdict, found["psp"].reason) == ("doubtful", "4 to 6 of 5.5 ms")
    assert (found["nl"].verdict, found["nl"].reason) == ("over", "10 of 5.5 ms")


def test_where_none_surely_fits_the_doubtful_one_is_named_and_the_exit_code_says_so(folder: Path) -> None:
    found = asked(folder, ms=1.0)
    assert found.exit_code == 4
    assert "none of 5 surely fits; gc (reference) may: 0.9 to 1.1 of 1 ms" in found.summary
    assert asked(folder, ms=0.1).summary.endswith("none of 5 surely fits")


def test_every_limit_counts(folder: Path) -> None:
    assert verdicts(asked(folder, ms=20.0, mib=7.0))[0] == ("snl", "chosen")
    (nl,) = (offer for offer in asked(folder, ms=9.5, mib=100.0).offers if offer.block == "nl")
    assert (nl.verdict, nl.reason) == ("over", "200 of 100 MiB")
    smallest = min(ROWS[1:], key=lambda one: one["params"])
    assert asked(folder, params=float(smallest["params"])).offers[0].block == smallest["entry"]


def test_the_memory_of_a_device_counts_where_it_was_measured(tmp_path: Path) -> None:
    rows = [timed("gc", 1, 1, 1, 1, cuda_peak_bytes=50 * MIB), timed("snl", 2, 2, 2, 90, cuda_peak_bytes=5 * MIB)]
    found = asked(write_run(tmp_path / "run", rows), mib=20.0)
    assert verdicts(found) == [("snl", "chosen"), ("gc", "over")]
    assert found.notes[0] == "MiB above weights and inputs: what the card's allocator reached, measured"


def test_the_measured_memory_of_a_cpu_counts_before_the_traced(tmp_path: Path) -> None:
    wide, slim = timed("gc", 1, 1, 1, 5, cpu_peak_bytes=50 * MIB), timed("snl", 2, 2, 2, 90, cpu_peak_bytes=5 * MIB)
    found = asked(write_run(tmp_path / "run", [wide, slim, timed("nl", 3, 3, 3, 7)]), mib=20.0)
    assert verdicts(found) == [("snl", "chosen"), ("nl", "fits"), ("gc", "over")]
    assert [offer.row()["mib_source"] for offer in found.offers] == [
        *("cpu_peak_bytes", "traced_peak_bytes", "cpu_peak_bytes"),
    ]
    assert found.notes[0] == (
        "MiB above weights and inputs: what the CPU's allocator reached, measured; "
        "of nl (reference): traced, without the workspace of kernels"
    )


def test_a_disturbed_row_is_doubtful_and_no_choice(tmp_path: Path) -> None:
    bad = {"rounds": 12, "disturbed_rounds": 11, "disturbed_by": ["other processes on the CPUs (11 rounds)"]}
    one = write_run(tmp_path / "one", [timed("gc", 1, 1, 1, **bad), timed("snl", 2, 2, 2), timed("nl", 9, 9, 9)])
    found = asked(one, ms=5.0)
    assert verdicts(found) == [("snl", "chosen"), ("gc", "doubtful"), ("nl", "over")]
    assert found.offers[1].reason == "11 of 12 rounds were disturbed: other processes on the CPUs"
    all_of_them = [timed("gc", 1, 1, 1, **bad), timed("snl", 2, 2, 2, **bad)]
    found = asked(write_run(tmp_path / "all", all_of_them), ms=5.0)
    assert verdicts(found) == [("gc", "doubtful"), ("snl", "doubtful")]
    assert found.exit_code == 4
    assert found.summary.endswith(
        "none of 2 surely fits; gc (reference) may: 11 of 12 rounds were disturbed: other processes on the CPUs"
    )
    assert found.notes[1].startswith("2 of 2 measured rows were disturbed by other processes on the CPUs. ")


def test_without_a_measured_peak_the_traced_one_counts(folder: Path) -> None:
    told = "MiB above weights and inputs: traced, without the workspace of kernels"
    assert asked(folder, mib=7.0).notes[0] == told


def test_what_has_no_figure_for_a_limit_is_unknown_and_says_why(tmp_path: Path) -> None:
    gone = {"status": "oom", "reason": "no luck", "latency_ms": None}
    found = asked(write_run(tmp_path / "run", [timed("gc", 1, 1, 1), row("nl", **gone)]), ms=2.0)
    assert verdicts(found) == [("gc", "chosen"), ("nl", "unknown")]
    assert found.offers[1].reason == "oom: no luck"
    (offer,) = asked(write_run(tmp_path / "other", [timed("gc", 1, 1, 1)]), mj=2.0).offers
    assert (offer.verdict, offer.reason) == ("unknown", "mJ not measured")


def test_kinds_of_context_are_asked_for_by_what_training_showed(folder: Path) -> None:
    both = kinds("scene", "pairwise")
    carried = {"nl": both, "apnb": both, "gc": kinds("scene"), "psp": kinds()}
    found = asked(folder, carried, ("pairwise",), ms=20.0)
    assert verdicts(found) == [
        ("apnb", "chosen"),
        ("nl", "fits"),
        ("snl", "unknown"),
        ("gc", "lacks"),
        ("psp", "lacks"),
    ]
    assert {offer.reason for offer in found.offers[-2:]} == {"does not carry pairwise"}


def test_a_block_carries_what_was_shown_with_its_own_options(tmp_path: Path) -> None:
    rows = [timed("gc", 1, 1, 1), timed("gc:ratio=4", 2, 2, 2), timed("snl", 3, 3, 3)]
    found = asked(write_run(tmp_path / "run", rows), {"gc:ratio=4": kinds("scene")}, ("scene",))
    assert [(offer.block, offer.verdict, offer.reason) for offer in found.offers] == [
        ("gc:ratio=4", "chosen", ""),
        ("gc", "unknown", "was trained as gc:ratio=4"),
        ("snl", "unknown", "was not trained"),
    ]


def test_blocks_that_were_priced_as_they_were_trained_have_the_labels_of_their_runs(tmp_path: Path) -> None:
    rows = [timed("trained", 0.1, 0.1, 0.1), timed("trained", 1, 1, 1, options={"chain": "gc@ratio=8;pooling=avg"})]
    carried = {"trained:chain=gc@ratio=8;pooling=avg": kinds("scene")}
    (offer,) = asked(write_run(tmp_path / "run", rows), carried, ("scene",)).offers
    assert (offer.block, offer.verdict) == ("gc:ratio=8,pooling=avg", "chosen")


def test_a_kind_that_none_carries_is_an_answer(folder: Path) -> None:
    found = asked(folder, {"gc": kinds("scene")}, ("regional",))
    assert found.exit_code == 4
    assert found.summary.endswith("none of 5 surely fits")


def test_the_wider_noise_floor_of_two_groups_decides(tmp_path: Path) -> None:
    rows = [timed("gc", 1.0, 1.0, 1.0), timed("snl", 1.05, 1.05, 1.05) | {"noise_floor": 0.1}]
    assert verdicts(asked(write_run(tmp_path / "run", rows))) == [("gc", "chosen"), ("snl", "close")]
    rows[1]["noise_floor"] = None
    assert verdicts(asked(write_run(tmp_path / "other", rows))) == [("gc", "chosen"), ("snl", "fits")]


def test_an_undecided_kind_is_unknown_not_carried_and_not_lacking(folder: Path) -> None:
    one = {"scene": True, "regional": None}
    found = {offer.block: offer for offer in asked(folder, {"gc": one, "nl": kinds()}, ("regional",)).offers}
    assert (found["gc"].verdict, found["gc"].reason) == (
        "unknown",
        "undecided by its training runs: regional",
    )
    assert found["nl"].verdict == "lacks"


def test_what_cannot_run_at_all_comes_last(tmp_path: Path) -> None:
    gone = {"status": "unsupported", "reason": "needs a map of at least 15x15", "latency_ms": None}
    found = asked(write_run(tmp_path / "run", [row("ldv1", **gone), timed("nl", 9, 10, 11)]), ms=1.0)
    assert verdicts(found) == [("nl", "over"), ("ldv1", "unsupported")]


def test_what_surely_does_not_fit_is_not_unknown(tmp_path: Path) -> None:
    gone = {"status": "skipped", "reason": "too large", "latency_ms": None, "traced_peak_bytes": 500 * MIB}
    (offer,) = asked(write_run(tmp_path / "run", [row("nl", **gone)]), ms=5.0, mib=100.0).offers
    assert (offer.verdict, offer.reason) == ("over", "500 of 100 MiB")


def test_implementations_compete(tmp_path: Path) -> None:
    rows = [timed("nl", 9, 10, 11), timed("nl", 4, 5, 6, impl="fused"), timed("nl", 2, 2, 2, compiled=True)]
    found = recommend(write_run(tmp_path / "run", rows), {"impl": None}, Budget())
    assert [offer.form for offer in found.offers] == ["reference, compiled", "fused", "reference"]
    for place, form in (({"impl": "fused"}, "fused"), ({"compile": "on"}, "reference, compiled")):
        assert [offer.form for offer in recommend(tmp_path / "run", place, Budget()).offers] == [form]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ((), "several places; choose one: --sizes 64x64 or 97x97, --mode forward or train"),
        (("--sizes", "96x97"), "no row of --sizes 96x97 in the run; did you mean '97x97'? allowed: 64x64, 97x97"),
        (("--family", "contxt"), "did you mean 'context'?"),
        (("--max-ms", "0"), "--max-ms must be a number above 0, not 0"),
        (("--max-mib", "nan"), "--max-mib must be a number above 0, not nan"),
        (("--carries", "scene"), "--carries needs --trained"),
        (("--trained", "nowhere"), "'nowhere' holds no training runs (--trained): it has no runs.jsonl"),
        (("--sizes", "64x64,97x97"), "--sizes takes one value, not '64x64,97x97'; in the run: 64x64, 97x97"),
    ],
)
def test_what_cannot_be_answered_is_refused(
    command: Command, tmp_path: Path, words: tuple[str, ...], expected: str
) -> None:
    run = write_run(tmp_path / "run", [row("nl"), row("nl", 97, 97), row("gc", mode="train")])
    code, out, err = command("recommend", run, *words)
    assert (code, out) == (2, "")
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert expected in err


def test_a_folder_of_several_runs_names_them(command: Command, tmp_path: Path) -> None:
    (tmp_path / "devices.json").write_text("{}")
    run = write_run(tmp_path / "one", ROWS)
    code, _, err = command("recommend", tmp_path)
    assert code == 2
    assert f"holds a run for each kind of device; give one of them: {run}" in err


def test_a_folder_without_a_sweep_names_those_in_it(command: Command) -> None:
    code, _, err = command("recommend", RECORDED / "h200")
    assert code == 2
    assert f"h200' is no folder of a sweep; sweeps in it: {RECORDED / 'h200' / 'default'}, " in err


def test_the_recorded_runs_answer_as_the_readme_says(command: Command) -> None:
    words = ("--sizes", "97x97", "--mode", "forward", "--batch", "1", "--max-mib", "200")
    trained = ("--trained", RECORDED / "train-cpu", "--carries", "scene,pairwise")
    code, out, _ = command("recommend", RECORDED / "then-and-now-cpu", *words, *trained, "--format", "json")
    assert code == 0
    found = {(offer["block"], offer["form"]): offer for offer in json.loads(out)}
    assert next(iter(found)) == ("apnb", "fused")
    assert [found["nl", form]["verdict"] for form in ("fused", "reference")] == ["fits", "over"]
    assert found["gc", "fused"]["reason"] == "was trained as gc:ratio=4"
    assert found["ldv1", "fused"]["reason"].startswith("was trained as ldv1:")
    code, out, _ = command("recommend", RECORDED / "then-and-now-cpu", *words, *trained)
    assert code == 0
    assert "apnb (fused) is the fastest of" in out.splitlines()[-1]


def test_training_runs_price_and_judge_the_same_blocks(command: Command) -> None:
    words = ("--mode", "forward", "--trained", RECORDED / "train-cpu", "--format", "json")
    code, out, _ = command("recommend", RECORDED / "train-cpu" / "cost", *words, "--carries", "pairwise,regional")
    assert code == 0
    found = {offer["block"]: offer for offer in json.loads(out)}
    assert found["nl+ldv1"]["verdict"] == "chosen"
    assert all(offer["carries"] is not None for offer in found.values())


def test_a_kind_that_some_recorded_seeds_learned_is_undecided(command: Command) -> None:
    words = ("--mode", "forward", "--trained", RECORDED / "train-cpu", "--format", "json")
    code, out, _ = command("recommend", RECORDED / "train-cpu" / "cost", *words, "--carries", "pairwise")
    assert code == 0
    found = {offer["block"]: offer for offer in json.loads(out)}
    assert (found["cam"]["verdict"], found["cam"]["reason"]) == ("unknown", "undecided by its training runs: pairwise")
    assert "pairwise" not in found["cam"]["carries"]
    assert (found["snl"]["verdict"], found["snl"]["reason"]) == ("lacks", "does not carry pairwise")


def test_a_folder_that_judges_nothing_is_refused(command: Command) -> None:
    words = ("recommend", RECORDED / "then-and-now-cpu", "--trained", RECORDED / "train-cpu")
    code, _, err = command(*words, "--baseline", "idntity")
    assert code == 2
    assert "has no run of a baseline 'idntity' (--baseline); trained: identity, mlp," in err
    code, _, err = command(*words, "--carries", "regoinal")
    assert code == 2
    assert "--trained judges no kind 'regoinal'; did you mean 'regional'?" in err
