"""COCO-Stuff 10k, release 1.1: 171 classes, 80 of things and 91 of stuff (Caesar et al., CVPR 2018).

9,000 images for training and 1,000 for testing, all of COCO's train2014. The later release of 164,000 images has the
same classes but other files and another split; the papers compared here report on the 10k release.
"""

from __future__ import annotations

from pathlib import Path

from bench.training.folders.annotation import Labels, number_table, relabel
from bench.training.folders.dataset import Dataset, Source
from bench.training.folders.matfile import read_matrix
from bench.training.folders.pairs import files, select, words
from bench.training.labels import LabelSet

_THINGS = (
    "person, bicycle, car, motorcycle, airplane, bus, train, truck, boat, traffic light, fire hydrant, stop sign, "
    "parking meter, bench, bird, cat, dog, horse, sheep, cow, elephant, bear, zebra, giraffe, backpack, umbrella, "
    "handbag, tie, suitcase, frisbee, skis, snowboard, sports ball, kite, baseball bat, baseball glove, skateboard, "
    "surfboard, tennis racket, bottle, wine glass, cup, fork, knife, spoon, bowl, banana, apple, sandwich, orange, "
    "broccoli, carrot, hot dog, pizza, donut, cake, chair, couch, potted plant, bed, dining table, toilet, tv, laptop, "
    "mouse, remote, keyboard, cell phone, microwave, oven, toaster, sink, refrigerator, book, clock, vase, scissors, "
    "teddy bear, hair drier, toothbrush"
)
_STUFF = (
    "banner, blanket, branch, bridge, building-other, bush, cabinet, cage, cardboard, carpet, ceiling-other, "
    "ceiling-tile, cloth, clothes, clouds, counter, cupboard, curtain, desk-stuff, dirt, door-stuff, fence, "
    "floor-marble, floor-other, floor-stone, floor-tile, floor-wood, flower, fog, food-other, fruit, furniture-other, "
    "grass, gravel, ground-other, hill, house, leaves, light, mat, metal, mirror-stuff, moss, mountain, mud, napkin, "
    "net, paper, pavement, pillow, plant-other, plastic, platform, playingfield, railing, railroad, river, road, rock, "
    "roof, rug, salad, sand, sea, shelf, sky-other, skyscraper, snow, solid-other, stairs, stone, straw, "
    "structural-other, table, tent, textile-other, towel, tree, vegetable, wall-brick, wall-concrete, wall-other, "
    "wall-panel, wall-stone, wall-tile, wall-wood, water-other, waterdrops, window-blind, window-other, wood"
)
_CLASSES = (*_THINGS.split(", "), *_STUFF.split(", "))
_THING_COUNT = len(_THINGS.split(", "))
_LAST_NUMBER = 182
_NEVER_USED = (12, 26, 29, 30, 45, 66, 68, 69, 71, 83, 91)
"""Things that COCO numbers but never annotated."""
_NUMBERS = [number for number in range(1, _LAST_NUMBER + 1) if number not in _NEVER_USED]
_TABLE = number_table({number: label for label, number in enumerate(_NUMBERS)}, ignored=[0])


def read_label(path: Path) -> Labels:
    """Labels of an annotation: the array `S`, where 0 is unlabelled, 1 to 91 are things and 92 to 182 stuff."""
    return relabel(read_matrix(path, "S"), _TABLE, path)


def _find(root: Path, split: str) -> Source:
    names = words(root / "imageLists" / f"{split}.txt")
    pairs = select(names, files(root / "images", ".jpg"), files(root / "annotations", ".mat"))
    return Source(pairs, read_label)


COCO_STUFF = Dataset(
    labels=LabelSet(
        "coco-stuff",
        _CLASSES,
        {"things": tuple(range(_THING_COUNT)), "stuff": tuple(range(_THING_COUNT, len(_CLASSES)))},
    ),
    description="COCO-Stuff 10k, release 1.1, 171 classes (80 things, 91 stuff)",
    splits=("train", "test"),
    evaluation="test",
    layout="ROOT/images/<name>.jpg, ROOT/annotations/<name>.mat and ROOT/imageLists/<train|test>.txt",
    find=_find,
)
