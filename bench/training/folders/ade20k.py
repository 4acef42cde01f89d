"""ADE20K as of the scene parsing challenge of 2016: 150 classes (Zhou et al., CVPR 2017)."""

from __future__ import annotations

from pathlib import Path

from bench.training.folders.annotation import Labels, number_table, read_numbers
from bench.training.folders.dataset import Dataset, Source
from bench.training.folders.pairs import files, home, match
from bench.training.labels import LabelSet

_NAMES = (
    "wall, building, sky, floor, tree, ceiling, road, bed, windowpane, grass, cabinet, sidewalk, person, earth, door, "
    "table, mountain, plant, curtain, chair, car, water, painting, sofa, shelf, house, sea, mirror, rug, field, "
    "armchair, seat, fence, desk, rock, wardrobe, lamp, bathtub, railing, cushion, base, box, column, signboard, "
    "chest of drawers, counter, sand, sink, skyscraper, fireplace, refrigerator, grandstand, path, stairs, runway, "
    "case, pool table, pillow, screen door, stairway, river, bridge, bookcase, blind, coffee table, toilet, flower, "
    "book, hill, bench, countertop, stove, palm, kitchen island, computer, swivel chair, boat, bar, arcade machine, "
    "hovel, bus, towel, light, truck, tower, chandelier, awning, streetlight, booth, television receiver, airplane, "
    "dirt track, apparel, pole, land, bannister, escalator, ottoman, bottle, buffet, poster, stage, van, ship, "
    "fountain, conveyer belt, canopy, washer, plaything, swimming pool, stool, barrel, basket, waterfall, tent, bag, "
    "minibike, cradle, oven, ball, food, step, tank, trade name, microwave, pot, animal, bicycle, lake, dishwasher, "
    "screen, blanket, sculpture, hood, sconce, vase, traffic light, tray, ashcan, fan, pier, crt screen, plate, "
    "monitor, bulletin board, shower, radiator, glass, clock, flag"
)
_CLASSES = tuple(_NAMES.split(", "))
_TABLE = number_table({label + 1: label for label in range(len(_CLASSES))}, ignored=[0])
_FOLDERS = {"train": "training", "val": "validation"}


def read_label(path: Path) -> Labels:
    """Labels of an annotation: 1 to 150 are the classes in the order of `objectInfo150.txt`, 0 is everything else."""
    return read_numbers(path, _TABLE)


def _find(root: Path, split: str) -> Source:
    base = home(root, "ADEChallengeData2016")
    images = files(base / "images" / _FOLDERS[split], ".jpg")
    labels = files(base / "annotations" / _FOLDERS[split], ".png")
    return Source(match(images, labels), read_label)


ADE20K = Dataset(
    labels=LabelSet("ade20k", _CLASSES),
    description="ADE20K of the scene parsing challenge of 2016, 150 classes",
    splits=tuple(_FOLDERS),
    evaluation="val",
    layout=(
        "ROOT/images/<training|validation>/<name>.jpg and ROOT/annotations/<training|validation>/<name>.png, "
        "or the folder above them, with ADEChallengeData2016 in it"
    ),
    find=_find,
)
