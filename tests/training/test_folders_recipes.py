"""The papers' recipes hold what the papers state."""

from __future__ import annotations

import sys
from importlib import resources
from typing import Any

import pytest

from bench.training.folders import DATASETS, Transform
from bench.training.recipe import load_recipe

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

# Paper and data set: length, batch, initial rate, crop; as in the papers' sections on their implementation.
STATED: dict[str, tuple[str, int, int, float, int]] = {
    "ann-cityscapes": ("iterations", 60_000, 8, 0.01, 769),
    "ann-ade20k": ("iterations", 150_000, 16, 0.02, 520),
    "ann-pascal-context": ("iterations", 28_000, 16, 0.01, 480),
    "gald-cityscapes": ("iterations", 50_000, 8, 0.01, 769),
    "galdv2-cityscapes": ("iterations", 50_000, 8, 0.01, 832),
    "galdv2-ade20k": ("epochs", 240, 16, 0.01, 512),
    "galdv2-pascal-context": ("epochs", 180, 16, 0.001, 532),
    "galdv2-camvid": ("epochs", 90, 16, 0.001, 640),
    "galdv2-coco-stuff": ("epochs", 240, 16, 0.001, 532),
    "fastfcn-pascal-context": ("epochs", 80, 16, 0.001, 480),
    "fastfcn-ade20k": ("epochs", 120, 16, 0.01, 480),
    "gcnet-cityscapes": ("epochs", 160, 8, 0.01, 769),
}
FOLDER = resources.files("bench.training") / "recipes"


def recipe(name: str) -> dict[str, Any]:
    found: dict[str, Any] = tomllib.loads((FOLDER / f"{name}.toml").read_text(encoding="utf-8"))
    return found


@pytest.mark.parametrize("name", STATED)
def test_what_the_papers_state(name: str) -> None:
    found = recipe(name)
    unit, length, batch, rate, crop = STATED[name]
    assert {"iterations", "epochs"} & set(found) == {unit}
    assert (found[unit], found["batch"], found["lr"], found["crop"]) == (length, batch, rate, [crop, crop])
    assert (found["optimizer"], found["power"]) == ("sgd", 0.9)
    assert (found["scale_low"], found["scale_high"]) == (0.5, 1.75 if name == "galdv2-ade20k" else 2.0)
    assert ("brightness" in found) == name.startswith("ann-")
    assert (found.get("ohem", 0) > 0) == name.startswith(("ann-", "gald"))


@pytest.mark.parametrize("name", STATED)
def test_names_and_crops(name: str) -> None:
    found = recipe(name)
    paper, _, dataset = name.partition("-")
    assert found["name"] == name
    assert dataset in DATASETS
    assert paper.upper() in found["description"].upper().replace(" ", "")


def test_every_shipped_recipe_of_a_paper_is_checked_here() -> None:
    shipped = {path.name.removesuffix(".toml") for path in FOLDER.iterdir() if path.name.endswith(".toml")}
    assert {name for name in shipped if name.partition("-")[2] in DATASETS} == set(STATED)


@pytest.mark.parametrize("name", STATED)
def test_the_loader_takes_them(name: str) -> None:
    found, given = load_recipe(name), recipe(name)
    for field, value in given.items():
        assert getattr(found, field) == (tuple(value) if isinstance(value, list) else value)
    transform = Transform(found.crop, found.scale_low, found.scale_high, found.flip, found.brightness)
    assert transform.crop == tuple(given["crop"])
