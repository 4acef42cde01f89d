"""Record: the fields of one training run in `runs.jsonl`. Imports nothing of torch, for the reports read it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench.record import fill, read
from bench.row import RUNS

__all__ = ["FIELDS", "FOLDS", "PRICED", "RUNS", "SCHEMA", "make_record", "packed", "read_records", "unpacked"]

SCHEMA = 1
FOLDS = 20
PRICED = "trained"
"""Entry by which a sweep measures a block as it was trained."""
_PACKING = str.maketrans(":,", "@;")
_UNPACKING = str.maketrans("@;", ":,")

FIELDS: Mapping[str, object] = {
    "schema": SCHEMA,
    "key": None,  # content hash of all that decides the result: entry, options, seed, dataset, size, recipe, ...
    "suite": None,  # null unless a suite of runs was asked for
    "git": None,
    "env": None,
    "started_at": None,
    "repro": None,
    "entry": None,
    "label": None,  # the block as users spell it: gc:ratio=4
    "options": None,
    "seed": None,
    "dataset": None,
    "channels": None,  # C of the block's map, or of a whole network
    "impl": None,  # implementation of the blocks
    "size": None,  # image side, pixels; null where images differ
    "recipe": None,
    "settings": None,  # hash of the recipe's settings
    "iterations": None,
    "status": None,  # ok, crashed, diverged, oom
    "reason": None,
    "params": None,  # learnable parameters of the network as trained
    "macs": None,  # multiply-adds of one image's forward pass through it
    "block_params": None,  # of the block alone; null for whole networks
    "block_macs": None,
    "map_height": None,  # positions of the map that the block sees
    "map_width": None,
    "map_channels": None,
    "miou": None,  # percent, as all that follow
    "pixel_accuracy": None,
    "class_iou": None,  # {class: percent or null}
    "groups": None,  # {group: mean IoU}
    "resolving": None,  # {scene, pairwise, regional, pairwise_mixed: percent}, null for data without twins
    "boundary_f1": None,  # at the narrowest width asked for
    "boundary_f1_at": None,  # {width in pixels as text: percent}
    "boundary_f1_merged": None,  # narrowest width, twin classes merged: shape alone
    "seconds": None,  # of training, evaluation excluded
    "curve": None,  # [[iteration, loss, mIoU or null], ...]
    "folds": None,  # {intersection, prediction, target}: pixel counts by test fold and class, for the bootstrap
    "threads": None,
    "device": None,
    "node": None,  # of the cluster that trained it
}


def packed(label: str) -> str:
    """A label that can stand as the value of an option."""
    return label.translate(_PACKING)


def unpacked(text: str) -> str:
    """The label that `packed` made this of."""
    return text.translate(_UNPACKING)


def make_record(*parts: Mapping[str, Any]) -> dict[str, Any]:
    """A record with the given fields set, see `bench.record.fill`.

    Raises:
        KeyError: a field that the schema does not have.
    """
    return fill(FIELDS, *parts)


def read_records(path: Path) -> list[dict[str, Any]]:
    """The records of a `runs.jsonl`; a last line cut short by a kill is left out.

    Raises:
        RunError: the file cannot be read, or holds something else.
    """
    return read(path, FIELDS, "a training run")
