"""`train`: from the command line to records, reports and errors; tiny data, some iterations."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bench.training.record import FIELDS, packed, read_records

pytestmark = pytest.mark.usefixtures("registered")

Command = Callable[..., tuple[int, str, str]]
ROOT = Path(__file__).resolve().parents[2]
SETTINGS = ("iterations=4", "train_count=32", "test_count=40", "batch=8", "warmup=1")
TINY = ("--recipe", "probe", *(word for setting in SETTINGS for word in ("--set", setting)))
MINE = """
from torch import nn
from modules.registry import register

@register("mine", family="context")
class Mine(nn.Module):
    \"\"\"Average of the map, added.\"\"\"
    def __init__(self, channels: int, gain: float = 1.0) -> None:
        super().__init__()
        self.gain = gain
    def forward(self, x):
        return x + self.gain * x.mean((2, 3), keepdim=True)

@register("dies", family="context")
class Dies(nn.Module):
    \"\"\"Ends its process in training.\"\"\"
    def __init__(self, channels: int) -> None:
        super().__init__()
    def forward(self, x):
        if self.training and x.shape[0] == 8:
            import os
            os.abort()
        return x

@register("raises", family="context")
class Raises(nn.Module):
    \"\"\"Raises in training.\"\"\"
    def __init__(self, channels: int) -> None:
        super().__init__()
    def forward(self, x):
        if self.training and x.shape[0] == 8:
            raise KeyError("no such luck")
        return x
"""


def records(folder: Path) -> dict[tuple[str, int], dict[str, Any]]:
    return {(found["label"], found["seed"]): found for found in read_records(folder / "runs.jsonl")}


@pytest.fixture
def plugin(tmp_path: Path) -> Path:
    path = tmp_path / "my_block.py"
    path.write_text(MINE)
    return path


def test_blocks_and_a_plugin_s_own_are_trained_reported_and_not_repeated(
    command: Command, tmp_path: Path, plugin: Path
) -> None:
    out = tmp_path / "run"
    words = ("train", "--blocks", "identity,mine,gc+ldv1", "--seeds", "2", *TINY, "--out", out)
    code, shown, _ = command(*words, "--plugin", plugin, "--no-costs", "--device", "cpu")
    assert code == 0, shown
    found = records(out)
    assert list(found) == [(label, seed) for seed in (0, 1) for label in ("identity", "mine", "gc+ldv1")]
    one = found["mine", 1]
    assert list(one) == list(FIELDS)
    assert (one["status"], one["iterations"], one["dataset"], one["size"]) == ("ok", 4, "scenes", 64)
    assert set(one["resolving"]) >= {"scene", "pairwise", "regional", "pairwise_mixed"}
    assert (one["map_height"], one["map_channels"], one["block_params"]) == (16, 48, 0)
    assert 0 < one["miou"] < 100
    assert sum(sum(fold) for fold in one["folds"]["target"]) == 40 * 64 * 64
    assert "--plugin" in one["repro"]
    assert "--seeds 1," in one["repro"]
    assert (out / "accuracy.md").exists()
    assert "gc+ldv1" in shown
    before = (out / "runs.jsonl").read_bytes()
    code, shown, _ = command(*words, "--no-costs", "--device", "cpu")
    assert (code, "nothing missing" in shown) == (0, True)
    assert (out / "runs.jsonl").read_bytes() == before
    assert not (out / "checkpoints").exists()


def test_the_same_seed_gives_the_same_run_however_many_train_at_a_time(command: Command, tmp_path: Path) -> None:
    for jobs in (1, 2):
        words = ("--blocks", "identity,gc", "--seeds", "1", "--jobs", jobs, "--out", tmp_path / str(jobs))
        assert command("train", *words, *TINY, "--no-costs", "--device", "cpu")[0] == 0
    one, two = (records(tmp_path / name) for name in ("1", "2"))
    assert list(one) == list(two)
    for key in one:
        assert one[key]["curve"][0][:2] == pytest.approx(two[key]["curve"][0][:2], rel=1e-4)


def test_a_block_that_dies_or_raises_is_a_record_and_the_others_are_trained(
    command: Command, tmp_path: Path, plugin: Path
) -> None:
    out = tmp_path / "run"
    words = ("--plugin", plugin, "--blocks", "dies,raises,identity", "--seeds", "1", *TINY, "--out", out)
    code, shown, _ = command("train", *words, "--no-costs", "--device", "cpu")
    assert code == 3
    found = {label: (one["status"], one["reason"]) for (label, _), one in records(out).items()}
    assert found["dies"] == ("crashed", "the training process was killed by SIGABRT")
    assert found["raises"] == ("crashed", "KeyError: 'no such luck'")
    assert found["identity"] == ("ok", None)
    assert "no such luck" in shown


def test_fused_blocks_are_trained_and_priced_beside_those_that_are_as_published(
    command: Command, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    words = ("--blocks", "identity,gc", "--impl", "fused", "--seeds", "1", *TINY, "--out", out, "--device", "cpu")
    assert command("train", *words)[0] == 0
    assert {record["impl"] for record in records(out).values()} == {"fused"}
    rows = [json.loads(line) for line in (out / "cost" / "rows.jsonl").read_text().splitlines()]
    assert {(row["impl"], row["status"]) for row in rows} == {("fused", "ok")}
    assert all(row["checked_at"] == "16x16" for row in rows)


def test_costs_are_measured_at_the_size_of_the_map_and_joined(command: Command, tmp_path: Path) -> None:
    out = tmp_path / "run"
    words = (
        "--blocks",
        "identity,gc:ratio=8,pooling=avg,nl+ldv1,mlp",
        "--seeds",
        "1",
        *TINY,
        "--out",
        out,
        "--device",
        "cpu",
    )
    assert command("train", *words)[0] == 0
    rows = [json.loads(line) for line in (out / "cost" / "rows.jsonl").read_text().splitlines()]
    labels = ("identity", "gc@ratio=8;pooling=avg", "nl+ldv1", "mlp")
    assert {(row["options"].get("chain", "identity"), row["height"], row["channels"], row["mode"]) for row in rows} == {
        (label, 16, 48, mode) for label in labels for mode in ("forward", "train")
    }
    trained = {label: one["block_params"] for (label, _), one in records(out).items()}
    assert {row["options"].get("chain", "identity"): row["params"] for row in rows} == {
        packed(label): params for label, params in trained.items()
    }
    assert any(path.name.startswith("pareto-") for path in (out / "plots").iterdir())
    code, shown, _ = command("report", out, "--baseline", "mlp", "--format", "json")
    assert code == 0
    assert {row["block"] for row in json.loads(shown)} == set(trained)


def test_a_suite_s_own_baseline_that_was_not_trained_is_said_and_the_report_stands(
    command: Command, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    words = ("--suite", "ldv2", "--blocks", "gc", "--seeds", "1", "--out", out)
    code, shown, _ = command("train", *words, *TINY, "--no-costs", "--device", "cpu")
    assert code == 0
    assert "Nothing is compared with the baseline" in " ".join(shown.split())
    assert (out / "accuracy.md").exists()


def test_runs_with_other_channels_are_another_table(command: Command, tmp_path: Path) -> None:
    out = tmp_path / "run"
    for channels in (48, 64):
        words = ("--blocks", "gc", "--seeds", "1", "--channels", channels, "--out", out)
        code, shown, _ = command("train", *words, *TINY, "--no-costs", "--device", "cpu")
        assert code == 0
    assert len(read_records(out / "runs.jsonl")) == 2
    assert shown.count("scenes at 64 px") >= 2


BAD = [
    (["--blocks", "gcc"], "unknown block 'gcc'; did you mean 'gc'?"),
    (["--blocks", "afnb"], "'afnb' is of family 'fusion' and cannot be trained"),
    (["--blocks", "gc", "--seeds", "none"], "seeds 'none' cannot be; allowed: how many"),
    (["--recipe", "defalt"], "unknown recipe 'defalt'; did you mean 'default'?"),
    (["--set", "iteration=3"], "unknown setting 'iteration'; did you mean 'iterations'?"),
    (["--set", "size=50"], "image side 50; allowed: multiples of 4 from 64 on"),
    (["--dataset", "cityscape"], "unknown data set 'cityscape'; did you mean 'cityscapes'?"),
    (["--dataset", "camvid"], "camvid"),
    (["--suite", "gald"], "unknown training suite 'gald'; did you mean 'gald-1'?"),
    (["--impl", "fusd"], "has no implementation 'fusd'"),
    (["--blocks", "gc,nl", "--baseline", "identity"], "baseline 'identity' is not among the blocks"),
    (["--device", "tpu"], "unknown device 'tpu'; did you mean 'cpu'? allowed: auto, cpu, cuda"),
    (["--preview", "x.jpg"], "--preview 'x.jpg' is no .png file"),
    (["--preview", "x.png", "--dataset", "camvid"], "'camvid' lies in a folder"),
    (["--channels", "50", "--blocks", "gc"], "cannot build 'gc:ratio=4': channels 50 are not divisible"),
]


@pytest.mark.parametrize(("words", "told"), BAD)
def test_bad_input_is_one_line_and_nothing_is_written(
    command: Command, tmp_path: Path, words: list[str], told: str
) -> None:
    code, shown, err = command("train", *words, "--out", tmp_path / "run")
    assert (code, shown) == (2, ""), err
    assert told in err
    assert err.count("\n") == 1
    assert not (tmp_path / "run").exists()


def test_two_processes_of_torchrun_train_as_one_does_and_repeat_nothing(command: Command, tmp_path: Path) -> None:
    words = ("train", "--blocks", "identity,gc", "--seeds", "1", *TINY, "--no-costs", "--device", "cpu")
    assert command(*words, "--out", tmp_path / "one")[0] == 0
    run = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "run_bench.py"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    for _ in range(2):
        done = subprocess.run(
            [*run, *words, "--out", str(tmp_path / "two")],
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        )
    assert "nothing missing" in done.stdout
    one, two = (records(tmp_path / name) for name in ("one", "two"))
    assert list(one) == list(two)
    for key, alone in one.items():
        assert two[key]["status"] == "ok"
        for point, other in zip(alone["curve"], two[key]["curve"], strict=True):
            assert point[:2] == pytest.approx(other[:2], rel=1e-4)
        assert sum(map(sum, two[key]["folds"]["target"])) == 40 * 64 * 64


def test_the_preview_is_a_picture(command: Command, tmp_path: Path) -> None:
    path = tmp_path / "scenes.png"
    assert command("train", "--preview", path)[0] == 0
    assert path.read_bytes().startswith(b"\x89PNG")
