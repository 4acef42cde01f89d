"""What a suite of training runs may say, and how seeds and settings are read."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.training.chain import read_chain
from bench.training.network import build_network
from bench.training.plan import in_order, load_training_suite, parse_seeds, parse_settings, suite_names
from bench.training.recipe import load_recipe
from modules.options import SpecError


@pytest.mark.parametrize(
    ("text", "seeds"),
    [("5", [0, 1, 2, 3, 4]), ("1", [0]), ("3,", [3]), ("0,3", [0, 3]), ("2, 2,7", [2, 7])],
)
def test_a_number_of_seeds_or_a_list_of_them(text: str, seeds: list[int]) -> None:
    assert parse_seeds(text) == seeds


@pytest.mark.parametrize("text", ["0", "-1", "", "five", "1,-2", "1,,2", "1001", "1.5"])
def test_what_are_no_seeds(text: str) -> None:
    with pytest.raises(SpecError, match=r"seeds '.*' cannot be; allowed: how many"):
        parse_seeds(text)


def test_settings_are_pairs() -> None:
    assert parse_settings(["iterations=600", " lr = 0.01 "]) == {"iterations": "600", "lr": "0.01"}
    with pytest.raises(SpecError, match="--set 'iterations' is not a setting; write name=value"):
        parse_settings(["iterations"])


def test_all_blocks_of_one_seed_come_before_any_of_the_next() -> None:
    chains = [read_chain("gc"), read_chain("nl")]
    assert [(chain.label, seed) for chain, seed in in_order(chains, [4, 0])] == [
        *(("gc", 4), ("nl", 4), ("gc", 0), ("nl", 0)),
    ]


@pytest.mark.parametrize("name", suite_names())
def test_every_suite_that_comes_along_can_be_built(name: str) -> None:
    suite = load_training_suite(name)
    labels = [chain.label for chain in suite.chains()]
    assert read_chain(suite.baseline).label in labels
    load_recipe(suite.recipe, suite.settings)
    for chain in suite.chains():
        build_network(chain, None, 16)


WRONG = [
    ('blocks = "gc"\nblock = "nl"', "unknown key 'block'; did you mean 'blocks'?"),
    ('seeds = "3"', "names no blocks"),
    ('blocks = "gcc"', "unknown block 'gcc'; did you mean 'gc'?"),
    ('blocks = "gc"\nseeds = "x"', "seeds 'x' cannot be"),
    ('blocks = "gc"\nbaseline = "nll"', "unknown block 'nll'"),
    ('blocks = "gc"\nset = 3', r"\[set\] must be a table"),
    ("blocks = ", "is not valid TOML"),
]


@pytest.mark.parametrize(("text", "told"), WRONG)
def test_a_file_that_cannot_be_is_refused_in_one_line(tmp_path: Path, text: str, told: str) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(text)
    with pytest.raises(SpecError, match=told) as caught:
        load_training_suite(str(path))
    assert "\n" not in str(caught.value)
    assert "mine.toml" in str(caught.value)


def test_a_suite_that_is_not_there() -> None:
    with pytest.raises(SpecError, match=r"unknown training suite 'defalt'; did you mean 'default'\?"):
        load_training_suite("defalt")
    with pytest.raises(SpecError, match=r"cannot read training suite 'no\.toml': No such file"):
        load_training_suite("no.toml")


def test_lists_and_settings_of_a_file(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text('blocks = ["gc", "nl", "gc"]\nseeds = [0, 2]\nrecipe = "probe"\n[set]\nlr = 0.004\n')
    suite = load_training_suite(str(path))
    assert (suite.name, [chain.label for chain in suite.chains()]) == ("mine", ["gc", "nl"])
    assert parse_seeds(suite.seeds) == [0, 2]
    assert load_recipe(suite.recipe, suite.settings).lr == 0.004


def test_a_list_of_one_seed_is_that_seed(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text('blocks = ["gc"]\nseeds = [1]\n')
    suite = load_training_suite(str(path))
    assert parse_seeds(suite.seeds) == [1]
    assert [chain.label for chain in suite.chains()] == ["gc"]
