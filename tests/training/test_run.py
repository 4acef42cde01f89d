"""One run: what its key hangs on, what it costs, and the command that repeats it."""

from __future__ import annotations

import itertools
import shlex
from pathlib import Path

import pytest
import torch
from torch import nn

from bench.plugin import load_plugins
from bench.training.chain import read_chain
from bench.training.network import build_block
from bench.training.recipe import Recipe, load_recipe
from bench.training.run import Run, macs, parameters, perform, repro_command
from bench.training.setting import spelled

TINY = Recipe(name="tiny", iterations=3, batch=4, warmup=1, train_count=12, test_count=20)
MINE = """
from torch import nn
from modules.registry import register

@register("mine", family="context")
class Mine(nn.Module):
    \"\"\"Scales.\"\"\"
    def __init__(self, channels: int) -> None:
        super().__init__()
    def forward(self, x):
        {look}
        return x * {factor}
"""


def run(label: str, seed: int = 0, **more: object) -> Run:
    return Run(read_chain(label), seed, TINY, **more)  # type: ignore[arg-type]


def test_the_key_follows_what_decides_the_result_and_nothing_else() -> None:
    one = run("gc")
    assert one.key == run("gc:ratio=4").key == run("gc", channels=48).key == run("gc", suite="default").key
    others = [run("gc:ratio=8"), run("gc", 1), run("gc", channels=64), run("gc", device="cuda"), run("gc+ldv1")]
    assert len({one.key, *(other.key for other in others)}) == 6
    longer = Run(read_chain("gc"), 0, Recipe(name="tiny", iterations=4, batch=4, warmup=1, train_count=12))
    assert longer.key != one.key


@pytest.mark.usefixtures("registered")
def test_a_user_s_block_that_was_edited_is_another_run(tmp_path: Path) -> None:
    keys = set()
    for factor in (1, 2):
        path = tmp_path / f"{factor}" / "mine.py"
        path.parent.mkdir()
        path.write_text(MINE.format(factor=factor, look="pass"))
        load_plugins([str(path)])
        keys |= {run("mine").key, run("gald:ga=mine").key}
        from modules import registry

        del registry._ENTRIES["mine"]
    assert len(keys) == 4


@pytest.mark.usefixtures("registered")
def test_a_block_that_cannot_be_counted_is_trained_all_the_same(tmp_path: Path) -> None:
    path = tmp_path / "looks.py"
    path.write_text(MINE.format(factor=1, look="x.abs().max().item()"))
    load_plugins([str(path)])
    record = perform(run("mine"), "")
    assert (record["status"], record["macs"], record["block_macs"]) == ("ok", None, None)
    assert record["params"] > 0
    assert record["miou"] is not None


def test_costs_are_those_of_the_block_that_is_trained() -> None:
    block = build_block(read_chain("mlp"))
    assert parameters(block) == 2 * (48 * 48 + 2 * 48)
    assert macs(block, (1, 48, 16, 16)) == 2 * 48 * 48 * 256
    assert macs(nn.Conv2d(3, 8, 3, padding=1), (1, 3, 10, 10)) == 3 * 8 * 9 * 100


def test_memory_that_is_lacking_is_told_as_such(monkeypatch: pytest.MonkeyPatch) -> None:
    def lacks(*arguments: object, **more: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr("bench.training.run.train", lacks)
    record = perform(run("gc"), "")
    assert (record["status"], record["miou"]) == ("oom", None)


def test_the_command_names_this_run_and_its_settings_as_the_command_line_spells_them() -> None:
    one = run("nl+ldv2:kernel=5,dilation=2", 3)
    settings = {"crop": [64, 128], "eval_scales": (0.5, 1.0), "flip": True, "lr": 0.004}
    words = shlex.split(repro_command(one, "my recipe.toml", settings, ("my block.py",), 2))
    given = dict(itertools.pairwise(words))
    assert given["--blocks"] == "nl+ldv2:kernel=5,dilation=2"
    assert (given["--seeds"], given["--recipe"], given["--plugin"]) == ("3,", "my recipe.toml", "my block.py")
    assert given["--jobs"] == "2"
    told = dict(word.split("=") for word in words if word.partition("=")[0] in settings)
    assert told == {"crop": "64x128", "eval_scales": "0.5+1.0", "flip": "true", "lr": "0.004"}
    recipe = load_recipe("probe", told)
    assert (recipe.crop, recipe.eval_scales, recipe.flip) == ((64, 128), (0.5, 1.0), True)
    assert spelled("crop", None) == "none"
