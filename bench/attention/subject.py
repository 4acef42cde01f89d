"""Subject: one network whose attention is measured, and the record of each context block in it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from bench.attention.capture import Place, find_places, watched
from bench.attention.pictures import Pictures, Point, SceneImages
from bench.attention.record import make_record
from bench.attention.sketch import Sketch
from bench.attention.statistics import PlaceStatistics
from bench.training.evaluate import evaluate
from bench.training.metrics import Score
from bench.training.scenes import LABELS

MAPS = "maps"
_EVALUATION_BATCH = 50


@dataclass(frozen=True)
class Subject:
    """What is looked into.

    Attributes:
        label: as users spell it.
        network: in evaluation mode, on the device.
        pictures: that it is shown.
        points: that ask, of every picture, or null for those that a picture has itself.
        facts: fields that all its records share: what decides the figures, and where they come from.
        judged: whether the network was trained on the scenes that it is shown, so that its accuracy means something.
    """

    label: str
    network: nn.Module
    pictures: Pictures
    points: Sequence[Point] | None
    facts: Mapping[str, Any]
    judged: bool

    def records(self, folder: Path, device: str) -> Iterator[dict[str, Any]]:
        """Show it the pictures, one at a time, and describe each of its blocks; maps go to `folder`.

        Raises:
            SpecError: a file cannot be written.
        """
        places = find_places(self.network)
        if not places:
            yield self.failed("unsupported", "it holds no block of the families context and fusion")
            return
        found = {place.path: PlaceStatistics() for place in places}
        extents: dict[str, set[tuple[int, ...]]] = {place.path: set() for place in places}
        sizes: set[tuple[int, ...]] = set()
        files: dict[str, list[str]] = {place.path: [] for place in places}
        lacking: dict[str, str] = {}
        for index in range(len(self.pictures)):
            sketches = self._sketches(places, index) if index in self.pictures.drawn else {}

            def told(place: Place, name: str, value: Tensor, sketches: dict[str, Sketch] = sketches) -> None:
                found[place.path].see(name, value)
                if name == "input":
                    extents[place.path].add(tuple(value.shape[2:]))
                if place.path in sketches and not found[place.path].channels_ask:
                    sketches[place.path].see(name, value)

            image = self.pictures.tensor(index).to(device)
            sizes.add(tuple(image.shape[2:]))
            with torch.no_grad(), watched(places, told):
                self.network(image)
            for path, sketch in sketches.items():
                name = f"{MAPS}/{self.key(path)}-{index}.npz"
                if sketch.save(folder / name, self.pictures.shown(index), self.pictures.name(index)):
                    files[path].append(name)
                if sketch.lacking is not None:
                    lacking[path] = sketch.lacking
        size = list(sizes.pop()) if len(sizes) == 1 else None
        common = {"label": self.label, "size": size, **self._reached(device)}
        for place in places:
            fields = found[place.path].fields()
            fields["missing"] |= {"map": lacking[place.path]} if place.path in lacking else {}
            known = {"place": place.path, "key": self.key(place.path), "maps": files[place.path], "status": "ok"}
            known |= {"entry": place.entry} if place.entry is not None else {}
            yield make_record(self.facts, common, fields, known, _map(extents[place.path]))

    def failed(self, status: str, reason: str) -> dict[str, Any]:
        """The record of a network that could not be measured."""
        return make_record(self.facts, {"label": self.label, "key": self.key(""), "status": status, "reason": reason})

    def key(self, path: str) -> str:
        """Content hash of what decides the figures of the block at a place."""
        deciding = ("run", "checkpoint", "seed", "channels", "device", "data", "images", "pictures")
        facts = [self.label, path, *(self.facts.get(name) for name in deciding)]
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]

    def _sketches(self, places: Sequence[Place], index: int) -> dict[str, Sketch]:
        points = self.pictures.points(index) if self.points is None else self.points
        return {place.path: Sketch(place, points) for place in places}

    def _reached(self, device: str) -> dict[str, Any]:
        """How well the network solves the task on the very pictures."""
        if not self.judged or not isinstance(self.pictures, SceneImages):
            return {}
        scenes = self.pictures.scenes
        score = Score(LABELS, total=len(scenes), device=device)
        scores = evaluate(self.network, scenes, score, batch=_EVALUATION_BATCH, device=device)
        return {"miou": scores.miou, "resolving": scores.resolving}


def _map(extents: set[tuple[int, ...]]) -> dict[str, int]:
    """The size of the map, where every picture has the same."""
    if len(extents) != 1:
        return {}
    (extent,) = extents
    positions = 1
    for side in extent:
        positions *= side
    return {"positions": positions} | ({"map_height": extent[0], "map_width": extent[1]} if len(extent) == 2 else {})
