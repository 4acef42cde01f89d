"""CamVid: 11 classes of driving scenes (Brostow et al., 2008), split and merged as for SegNet (2017).

367 images for training, 101 for validation and 233 for testing, by the lists that came with SegNet. The frames are
960x720 with annotations in colours, 32 classes that SegNet merged into 11; SegNet also published them at 480x360 with
numbers for colours. Both are read; where both lie in one folder the large ones are taken.
"""

from __future__ import annotations

from pathlib import Path, PurePosixPath

from bench.training.folders.annotation import Labels, number_table, read_colours, read_numbers
from bench.training.folders.dataset import Dataset, Source
from bench.training.folders.pairs import MissingFile, Pair, files, select, words
from bench.training.labels import IGNORE, LabelSet

_MEMBERS: dict[str, dict[str, tuple[int, int, int]]] = {
    "sky": {"Sky": (128, 128, 128)},
    "building": {
        "Building": (128, 0, 0),
        "Archway": (192, 0, 128),
        "Bridge": (0, 128, 64),
        "Tunnel": (64, 0, 64),
        "Wall": (64, 192, 0),
    },
    "pole": {"Column_Pole": (192, 192, 128), "TrafficCone": (0, 0, 64)},
    "road": {"Road": (128, 64, 128), "LaneMkgsDriv": (128, 0, 192), "LaneMkgsNonDriv": (192, 0, 64)},
    "pavement": {"Sidewalk": (0, 0, 192), "ParkingBlock": (64, 192, 128), "RoadShoulder": (128, 128, 192)},
    "tree": {"Tree": (128, 128, 0), "VegetationMisc": (192, 192, 0)},
    "sign": {"SignSymbol": (192, 128, 128), "Misc_Text": (128, 128, 64), "TrafficLight": (0, 64, 64)},
    "fence": {"Fence": (64, 64, 128)},
    "car": {
        "Car": (64, 0, 128),
        "SUVPickupTruck": (64, 128, 192),
        "Truck_Bus": (192, 128, 192),
        "Train": (192, 64, 128),
        "OtherMoving": (128, 64, 64),
    },
    "pedestrian": {
        "Pedestrian": (64, 64, 0),
        "Child": (192, 128, 64),
        "CartLuggagePram": (64, 0, 192),
        "Animal": (64, 128, 64),
    },
    "bicyclist": {"Bicyclist": (0, 128, 192), "MotorcycleScooter": (192, 0, 192)},
}
"""The 11 classes in SegNet's order, and of which of the 32 each is made."""
_VOID = (0, 0, 0)
_COLOURS = {colour: label for label, members in enumerate(_MEMBERS.values()) for colour in members.values()}
_COLOURS[_VOID] = IGNORE
_TABLE = number_table({label: label for label in range(len(_MEMBERS))}, ignored=[len(_MEMBERS)])
_PARTS = {"train": ("train",), "val": ("val",), "trainval": ("train", "val"), "test": ("test",)}


def read_colour_label(path: Path) -> Labels:
    """Labels of a `_L.png` of 960x720: the colours of 32 classes, merged into 11; black is void."""
    return read_colours(path, _COLOURS)


def read_number_label(path: Path) -> Labels:
    """Labels of SegNet's annotation of 480x360: 0 to 10 are the classes, 11 is void."""
    return read_numbers(path, _TABLE)


def _find(root: Path, split: str) -> Source:
    large, lists = (root / "701_StillsRaw_full").is_dir(), _PARTS[split]
    pairs: list[Pair] = []
    for part in lists:
        path = root / f"{part}.txt"
        listed = [PurePosixPath(word) for word in words(path)]
        if len(listed) % 2:
            raise MissingFile(f"'{path}' does not name an image and an annotation on each line")
        if large:
            images = files(root / "701_StillsRaw_full", ".png")
            pairs += select(
                (image.stem for image in listed[::2]), images, files(root / "LabeledApproved_full", "_L.png")
            )
            continue
        images = files(root / part, ".png")
        labels = files(root / f"{part}annot", ".png")
        named = {image.stem: label.stem for image, label in zip(listed[::2], listed[1::2], strict=True)}
        pairs += select(named, images, {image: labels[label] for image, label in named.items() if label in labels})
    return Source(tuple(pairs), read_colour_label if large else read_number_label)


CAMVID = Dataset(
    labels=LabelSet("camvid", tuple(_MEMBERS)),
    description="CamVid, 11 classes and the split of SegNet",
    splits=tuple(_PARTS),
    evaluation="test",
    layout=(
        "SegNet's lists ROOT/<train|val|test>.txt (an image and an annotation on each line), and either the frames of "
        "960x720 as ROOT/701_StillsRaw_full/<name>.png and ROOT/LabeledApproved_full/<name>_L.png, or SegNet's of "
        "480x360 as ROOT/<split>/<name>.png and ROOT/<split>annot/<name>.png"
    ),
    find=_find,
)
