"""Job: one network to look into, before it has been trained, and everything about it that can be refused early."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from bench.attention.capture import Survey, survey
from bench.attention.pictures import Photos, Pictures, Point, asked_points
from bench.attention.subject import Subject
from bench.attention.weights import Loaded
from bench.training.chain import Chain
from bench.training.folders.transform import IMAGENET_MEAN, IMAGENET_SD
from bench.training.loop import Trained, train
from bench.training.material import SCENES, open_material
from bench.training.network import STRIDE, build_network
from bench.training.recipe import Recipe
from bench.training.run import Run
from bench.training.scenes import LABELS
from bench.training.scenes.dataset import MEAN, SD
from modules.options import SpecError

_NETWORK_STRIDE = 8

OnStep = Callable[[int, int, float], None]


@dataclass(frozen=True)
class Job:
    """A network to look into.

    Attributes:
        label: as users spell it.
        network: with its initial weights, or those of a file; on CPU.
        run: how it is trained; null where the weights come from a file.
        probed: whether it is a block in the probe network.
        scenes: whether the scenes are what it was or will be trained on.
        facts: fields of its records that are known before it is measured.
    """

    label: str
    network: nn.Module
    run: Run | None
    probed: bool
    scenes: bool
    facts: Mapping[str, Any]

    def photos(self, paths: Sequence[Path]) -> Photos:
        """Image files as this network takes them.

        Its sides are the nearest multiples of the stride, and those that a whole network asks for by `input_shape`.
        They are normalised as the scenes where it is trained on them, else by ImageNet's mean and deviation.

        Raises:
            SpecError: a file cannot be read, or the network takes no image.
        """
        if self.scenes:
            return Photos(paths, self._fitted, (MEAN,) * 3, (SD,) * 3)
        return Photos(paths, self._fitted, IMAGENET_MEAN, IMAGENET_SD)

    def surveyed(self, pictures: Pictures) -> Survey:
        """What the network would do with the largest picture.

        Raises:
            SpecError: it cannot take it.
        """
        several = 1 if pictures.data == SCENES else len(pictures)
        shapes = [tuple(pictures.tensor(index).shape) for index in range(several)]
        return survey(self.network, max(shapes, key=math.prod), self.label)

    def points(self, queries: Sequence[tuple[int, int]] | None, found: Survey) -> list[Point] | None:
        """The positions asked for as points; they are counted on the finest map of the network.

        Raises:
            SpecError: one lies outside of that map.
        """
        if queries is None or found.finest is None:
            return None
        return asked_points(queries, *found.finest, self.label)

    def subject(self, pictures: Pictures, points: Sequence[Point] | None, device: str) -> Subject:
        """What is to be measured, its network on the device."""
        judged = self.scenes and self.facts.get("note") is None and pictures.data == SCENES
        facts = {**self.facts, "data": pictures.data, "images": len(pictures), "pictures": pictures.digest}
        return Subject(self.label, self.network.to(device).eval(), pictures, points, facts, judged)

    def train(self, weights: Path, device: str, on_step: OnStep) -> Trained | None:
        """Train the network in place, from its checkpoint on where there is one; nothing for weights of a file.

        Raises:
            SpecError: recipe, data and network do not fit each other, or the checkpoint cannot be used.
        """
        if self.run is None:
            return None
        recipe, examples = self.run.recipe, open_material(SCENES, None, self.run.recipe).training
        total = recipe.steps(len(examples))
        path = weights / f"{self.run.key}.pt"

        def step(iteration: int, loss: float, miou: float | None) -> None:
            on_step(iteration, total, loss)

        return train(self.network, examples, recipe, self.run.seed, device, checkpoint=path, on_step=step)

    def _fitted(self, height: int, width: int) -> tuple[int, int]:
        stride = STRIDE if self.probed else _NETWORK_STRIDE
        rows, columns = (max(1, round(side / stride)) for side in (height, width))
        asked = getattr(self.network, "input_shape", None)
        if asked is None or self.probed:
            return stride * rows, stride * columns
        shape = asked(1, rows, columns)
        if len(shape) != 4:
            raise SpecError(f"'{self.label}' takes inputs of {len(shape)} dimensions, not images")
        return int(shape[2]), int(shape[3])


def job_to_train(chain: Chain, recipe: Recipe, seed: int, channels: int | None, device: str) -> Job:
    """A block or network that is trained on the scenes.

    Raises:
        SpecError: it cannot be built.
    """
    run = Run(chain, seed, recipe, channels=channels, device=device)
    network = build_network(chain, None, LABELS.count, seed, channels)
    facts = {"run": run.key, "seed": seed, "recipe": recipe.name, "settings": recipe.settings_hash}
    facts |= {"channels": run.width, "entry": chain.entry, "device": device}
    return Job(chain.label, network, run, chain.family == "context", True, facts)


def job_of_file(loaded: Loaded, channels: int, device: str) -> Job:
    """A block or network whose weights came from a file."""
    facts = {**loaded.facts, "channels": channels, "device": device}
    return Job(loaded.label, loaded.network, None, loaded.probed, loaded.scenes, facts)
