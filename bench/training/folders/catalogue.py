"""Catalogue: the data sets that can be opened by name."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from bench.training.folders.ade20k import ADE20K
from bench.training.folders.camvid import CAMVID
from bench.training.folders.cityscapes import CITYSCAPES
from bench.training.folders.coco_stuff import COCO_STUFF
from bench.training.folders.dataset import Dataset
from bench.training.folders.examples import FolderExamples
from bench.training.folders.pairs import MissingFile
from bench.training.folders.pascal_context import PASCAL_CONTEXT, PASCAL_CONTEXT_60
from bench.training.folders.transform import Transform
from modules.options import SpecError, nearest

_ALL = (CITYSCAPES, ADE20K, PASCAL_CONTEXT, PASCAL_CONTEXT_60, COCO_STUFF, CAMVID)
DATASETS: Mapping[str, Dataset] = {dataset.name: dataset for dataset in _ALL}


def dataset_named(name: str) -> Dataset:
    """What is known of a data set.

    Raises:
        SpecError: there is none of that name.
    """
    if name not in DATASETS:
        raise SpecError(f"no data set '{name}'{nearest(name, DATASETS)}")
    return DATASETS[name]


def open_folder(dataset: str, root: Path | None, split: str, transform: Transform | None = None) -> FolderExamples:
    """A split of a data set that lies in a folder; its files are found now and read later.

    Args:
        dataset: name of the data set.
        root: folder with its files, or the one that its archive unpacked to.
        split: name of the split; each data set has its own.
        transform: of images; null for normalised whole images.

    Raises:
        SpecError: no such data set or split, no root, or not the layout of the data set.
    """
    known = dataset_named(dataset)
    if split not in known.splits:
        raise SpecError(f"data set '{dataset}' has no split '{split}'{nearest(split, known.splits)}")
    if root is None:
        raise SpecError(f"data set '{dataset}' needs the folder it lies in; expected: {known.layout}")
    if not root.is_dir():
        raise SpecError(f"no folder '{root}' for data set '{dataset}'; expected: {known.layout}")
    try:
        source = known.find(root, split)
    except MissingFile as missing:
        raise SpecError(f"data set '{dataset}', split '{split}': {missing}; expected: {known.layout}") from None
    if not source.pairs:
        raise SpecError(f"data set '{dataset}', split '{split}': no images in '{root}'; expected: {known.layout}")
    return FolderExamples(known.labels, source, transform or Transform())
