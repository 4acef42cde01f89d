"""Recipe: how a network is trained and evaluated, and the TOML files that say so."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from bench.shelf import Shelf
from bench.training.setting import RULES, read_setting
from modules.options import SpecError, nearest

SHELF = Shelf("bench.training", "recipes", "recipe")
_OUTSIDE_OF_HASH = ("name", "description", "eval_every", "checkpoint_every")


@dataclass(frozen=True)
class Recipe:
    """Settings of a training run and of its evaluation.

    The defaults are those of the recipe `default`, but for `eval_every`.

    Attributes:
        name: of the recipe.
        description: one line.
        iterations: optimiser steps; they do not count where `epochs` is given.
        epochs: passes over the data set instead; 0 for none.
        batch: images a step, over all processes together.
        optimizer: `sgd` or `adamw`.
        lr: learning rate at its peak.
        lr_head_factor: times `lr` for everything but the backbone.
        momentum: of SGD.
        weight_decay: L2 penalty of SGD, decoupled decay of AdamW.
        decay_norms: decay biases and normalisation parameters as well as weights.
        power: of the poly schedule, rate = lr (1 - i / iterations)^power.
        warmup: iterations in which the rate rises linearly to that of the schedule.
        clip: largest norm of the gradient; 0 for none.
        aux: weight of the loss of each auxiliary output.
        presence: weight of the loss on the classes present in an image, for networks that predict them.
        class_weights: `sqrt` weighs a class by 1/sqrt(frequency), normalised to an expected weight of 1.
        ohem: online hard example mining; the least number of pixels of a batch that count, 0 for no mining.
        ohem_threshold: with mining, pixels whose class has less than this probability count as well.
        amp: mixed precision, on CUDA only: `none`, `bf16` or `fp16`.
        sync_bn: batch statistics over all processes.
        train_count, test_count: images generated for training and test; scenes only.
        size: image side in pixels; scenes only.
        crop: (height, width) in pixels of training crops, null for whole images; folder data sets only, as the next.
        scale_low, scale_high: bounds of the random scale before the crop.
        flip: mirror images at random.
        brightness: bound of the random change of brightness, in units of full scale.
        eval_mode: whole image (`single`), several scales (`multi`), or overlapping crops (`sliding`).
        eval_scales: scales of `multi`.
        eval_flip: average with the mirrored image.
        eval_crop: (height, width) in pixels of the crops of `sliding`; that of training where null.
        eval_stride: step of these crops as a share of their sides.
        eval_every: iterations between evaluations while training; 0 for one at the end only.
        checkpoint_every: iterations between checkpoints; 0 for one at the end only.

    Raises:
        SpecError: a value is of the wrong kind or out of range.
    """

    name: str = "default"
    description: str = ""
    iterations: int = 1200
    epochs: int = 0
    batch: int = 16
    optimizer: Literal["sgd", "adamw"] = "adamw"
    lr: float = 0.008
    lr_head_factor: float = 1.0
    momentum: float = 0.9
    weight_decay: float = 1e-4
    decay_norms: bool = False
    power: float = 0.9
    warmup: int = 50
    clip: float = 0.0
    aux: float = 0.4
    presence: float = 0.2
    class_weights: Literal["none", "sqrt"] = "sqrt"
    ohem: int = 0
    ohem_threshold: float = 0.7
    amp: Literal["none", "bf16", "fp16"] = "none"
    sync_bn: bool = True
    train_count: int = 2000
    test_count: int = 400
    size: int = 64
    crop: tuple[int, int] | None = None
    scale_low: float = 1.0
    scale_high: float = 1.0
    flip: bool = False
    brightness: float = 0.0
    eval_mode: Literal["single", "multi", "sliding"] = "single"
    eval_scales: tuple[float, ...] = (0.5, 0.75, 1.0, 1.25, 1.5, 1.75)
    eval_flip: bool = False
    eval_crop: tuple[int, int] | None = None
    eval_stride: float = 2 / 3
    eval_every: int = 0
    checkpoint_every: int = 200

    def __post_init__(self) -> None:
        for name in RULES:
            object.__setattr__(self, name, read_setting(name, getattr(self, name), f"recipe '{self.name}'"))
        if self.scale_low > self.scale_high:
            raise SpecError(
                f"recipe '{self.name}': scale_low {self.scale_low:g} is above scale_high {self.scale_high:g}"
            )
        if self.crop is None and self.eval_crop is None and self.eval_mode == "sliding":
            raise SpecError(f"recipe '{self.name}': eval_mode 'sliding' needs eval_crop or crop")

    @property
    def settings_hash(self) -> str:
        """Short hash of everything that decides the result: not name, description, and how often it is looked at."""
        values = {key: value for key, value in dataclasses.asdict(self).items() if key not in _OUTSIDE_OF_HASH}
        if self.epochs:
            del values["iterations"]
        return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:12]

    def steps(self, examples: int) -> int:
        """Iterations of a run over a data set of so many examples: `iterations`, or what `epochs` come to, rounded."""
        return max(1, round(self.epochs * examples / self.batch)) if self.epochs else self.iterations

    def toml(self) -> str:
        """The recipe as a file that `load_recipe` reads back."""
        values = dataclasses.asdict(self)
        del values["iterations" if self.epochs else "epochs"]
        lines = []
        for name, value in values.items():
            text = json.dumps(list(value) if isinstance(value, tuple) else value, ensure_ascii=False)
            lines += [f"{name} = {text}"] if value is not None else []
        return "\n".join(lines) + "\n"


def recipe_names() -> list[str]:
    """The recipes that come with the package."""
    return SHELF.names()


def load_recipe(wanted: str, overrides: Mapping[str, object] | None = None) -> Recipe:
    """A recipe by name or from a file of one's own, with some settings changed.

    Args:
        wanted: name of a shipped recipe, or the path of a `.toml` file.
        overrides: settings that stand over the file's, as values or as text: `{"lr": "0.01", "crop": "512x1024"}`.

    Raises:
        SpecError: it does not exist, is not TOML, or holds an unknown setting or value.
    """
    given = _checked(SHELF.read(wanted), f"recipe '{wanted}'")
    changed = _checked(overrides or {}, "the settings given")
    if changed.get("iterations"):
        given.pop("epochs", None)
    fallback = {"name": Path(wanted).stem}
    return Recipe(**{**fallback, **given, **changed})


def _checked(settings: Mapping[str, object], place: str) -> dict[str, Any]:
    """The settings as values."""
    for name in settings:
        if name not in RULES:
            raise SpecError(f"{place}: unknown setting '{name}'{nearest(name, RULES)}")
    values = {name: read_setting(name, value, place) for name, value in settings.items()}
    if values.get("epochs") and "iterations" in values:
        raise SpecError(f"{place}: both 'iterations' and 'epochs'; allowed: one of them")
    return values
