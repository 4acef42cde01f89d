from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from bench.training.recipe import Recipe, load_recipe, recipe_names
from bench.training.setting import RULES
from modules.options import SpecError

DEFAULT = {"iterations": 1200, "batch": 16, "optimizer": "adamw", "lr": 8e-3, "weight_decay": 1e-4}
SCENES = {"decay_norms": False, "warmup": 50, "power": 0.9, "class_weights": "sqrt", "train_count": 2000}


def test_every_setting_has_a_rule_and_no_other() -> None:
    assert set(RULES) == {field.name for field in dataclasses.fields(Recipe)}


@pytest.mark.parametrize("name", recipe_names())
def test_shipped_recipes_are_read_and_carry_their_file_name(name: str) -> None:
    recipe = load_recipe(name)
    assert recipe.name == name
    assert recipe.description


def test_default_and_probe_are_the_scenes_recipe_of_two_lengths() -> None:
    default, probe = load_recipe("default"), load_recipe("probe")
    given = dataclasses.asdict(default)
    assert {key: given[key] for key in DEFAULT | SCENES} == DEFAULT | SCENES
    assert (default.test_count, default.size) == (400, 64)
    longer = dataclasses.replace(probe, iterations=1200, eval_every=300, name="default")
    assert dataclasses.replace(longer, description=default.description) == default
    assert probe.iterations == 300
    assert dataclasses.replace(default, description="", eval_every=0) == Recipe()


def test_overrides_are_read_from_text_and_from_values() -> None:
    text = {"lr": "0.01", "crop": "512x1024", "flip": "yes", "eval_scales": "0.5+1", "iterations": "7", "ohem": "2"}
    values = {"lr": 0.01, "crop": [512, 1024], "flip": True, "eval_scales": [0.5, 1], "iterations": 7, "ohem": 2}
    assert load_recipe("default", text) == load_recipe("default", values)
    assert load_recipe("default", text).crop == (512, 1024)
    assert load_recipe("default", {"crop": "none"}).crop is None


def test_epochs_become_iterations_with_the_data_sets_length() -> None:
    assert Recipe(epochs=3, batch=16).steps(100) == 19
    assert Recipe(epochs=1, batch=16).steps(3) == 1
    assert Recipe(iterations=5).steps(10_000) == 5
    assert load_recipe("fastfcn-ade20k").steps(20_210) == round(120 * 20_210 / 16)
    assert load_recipe("fastfcn-ade20k", {"iterations": 10}).steps(20_210) == 10
    assert load_recipe("default", {"epochs": 2}).steps(160) == 20


def test_the_hash_changes_with_what_decides_the_result_alone() -> None:
    plain = Recipe()
    looks = {"name": "other", "description": "x", "eval_every": 5, "checkpoint_every": 9}
    assert dataclasses.replace(plain, **looks).settings_hash == plain.settings_hash  # type: ignore[arg-type]
    changed = [dataclasses.replace(plain, lr=0.1), dataclasses.replace(plain, ohem=1), Recipe(iterations=3)]
    hashes = {recipe.settings_hash for recipe in (plain, *changed)}
    assert len(hashes) == 4
    assert Recipe(epochs=2, iterations=3).settings_hash == Recipe(epochs=2).settings_hash


@pytest.mark.parametrize("name", recipe_names())
def test_a_recipe_survives_its_own_file(name: str, tmp_path: Path) -> None:
    recipe = load_recipe(name)
    path = tmp_path / "copy.toml"
    path.write_text(recipe.toml(), encoding="utf-8")
    assert load_recipe(str(path)) == recipe


def test_a_file_of_ones_own_is_named_by_its_stem(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text("lr = 1\n")
    assert (load_recipe(str(path)).name, load_recipe(str(path)).lr) == ("mine", 1.0)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"learning": 1}, "unknown setting 'learning'; did you mean 'warmup'?|unknown setting 'learning'"),
        ({"batchs": 1}, "did you mean 'batch'"),
        ({"optimizer": "adam"}, "'optimizer' cannot be 'adam'; did you mean 'adamw'"),
        ({"lr": 0}, "'lr' cannot be 0; allowed: a number above 0"),
        ({"lr": "nan"}, "'lr' cannot be 'nan'"),
        ({"lr": True}, "'lr' cannot be True"),
        ({"iterations": 0}, "a whole number of at least 1"),
        ({"iterations": 2.5}, "a whole number of at least 1"),
        ({"momentum": 1.5}, "at most 1"),
        ({"flip": "perhaps"}, "true or false"),
        ({"flip": 1}, "true or false"),
        ({"crop": [1, 2, 3]}, "two whole numbers of pixels"),
        ({"crop": "0x5"}, "two whole numbers of pixels"),
        ({"eval_scales": []}, "numbers joined by"),
        ({"name": 3}, "'name' cannot be 3; allowed: text"),
        ({"epochs": 2, "iterations": 3}, "both 'iterations' and 'epochs'"),
        ({"scale_low": 3}, "scale_low 3 is above scale_high 1"),
        ({"eval_mode": "sliding"}, "needs eval_crop or crop"),
    ],
)
def test_what_cannot_be_is_one_line_that_says_what_can(settings: dict[str, object], said: str) -> None:
    with pytest.raises(SpecError, match=said) as caught:
        load_recipe("default", settings)
    assert "\n" not in str(caught.value)


def test_recipes_that_do_not_exist_or_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="unknown recipe 'defaul'; did you mean 'default'"):
        load_recipe("defaul")
    with pytest.raises(SpecError, match="cannot read recipe"):
        load_recipe(str(tmp_path / "none.toml"))
    broken = tmp_path / "broken.toml"
    broken.write_text("lr = = 1")
    with pytest.raises(SpecError, match="is not valid TOML"):
        load_recipe(str(broken))
    broken.write_text("rate = 1")
    with pytest.raises(SpecError, match="unknown setting 'rate'"):
        load_recipe(str(broken))
