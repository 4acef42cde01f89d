"""Record: what is known of the attention of one block at one place. Imports nothing of torch, for reports read it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench.record import fill, read

SCHEMA = 1
ATTENTION = "attention.jsonl"
QUANTITIES = ("input", "key", "query", "product", "attention", "output")
"""In the order of GCNet's Table 3."""
SPREADS = ("attention_entropy", "affinity_entropy", "mask_mean", "mask_sd_positions", "mask_sd_channels")
STATUSES = ("ok", "skipped", "unsupported", "diverged", "crashed", "oom")
RESULTS = ("ok", "skipped", "unsupported")

FIELDS: Mapping[str, object] = {
    "schema": SCHEMA,
    "key": None,  # content hash of all that decides the figures
    "git": None,
    "env": None,
    "started_at": None,
    "repro": None,
    "label": None,  # what was asked for, as users spell it
    "place": None,  # path of the block in the network: block, block.ga, trunk.layer3.4.context
    "entry": None,  # the block at that place
    "channels": None,  # C of the block's map, or of a whole network
    "device": None,
    "run": None,  # key of the training run, whose weights are weights/<run>.pt; null for weights from a file
    "seed": None,  # of the training
    "recipe": None,  # null for weights from a file
    "settings": None,  # hash of the recipe's settings
    "iterations": None,  # of the training
    "checkpoint": None,  # {sha256, names} of the file that the weights came from
    "note": None,  # what a reader of the figures must know
    "data": None,  # scenes, or pictures
    "images": None,  # how many the figures are taken over
    "pictures": None,  # hash of the pictures; null for scenes, whose number and size decide them
    "size": None,  # [height, width] of the images, pixels; null where they differ
    "map_height": None,  # of the map of positions that ask; null where images differ in size
    "map_width": None,
    "positions": None,  # N, the product of the two
    "status": None,
    "reason": None,
    "distances": None,  # {quantity: average cosine distance, mean over the images, or null}
    "sd": None,  # {quantity: standard deviation over the images, or null}
    "vectors": None,  # {quantity: vectors an image, mean over the images, or null}
    "zeros": None,  # {quantity: share of vectors that are zero and were left out, or null}
    "missing": None,  # {quantity: why there is no figure}
    "independent": None,  # whether one attention map serves all positions by construction
    "spreads": None,  # {one of SPREADS: mean over the images, or null}
    "spreads_sd": None,  # {one of SPREADS: standard deviation over the images, or null}
    "miou": None,  # percent, of the whole network on the same scenes
    "resolving": None,  # {scene, pairwise, regional, pairwise_mixed: percent} on them
    "maps": None,  # files of arrays for figures, in the record's folder
}


def make_record(*parts: Mapping[str, Any]) -> dict[str, Any]:
    """A record with the given fields set, see `bench.record.fill`.

    Raises:
        KeyError: a field that the schema does not have.
        ValueError: an unknown status, or one other than `ok` without a reason.
    """
    record = fill(FIELDS, *parts)
    if record["status"] not in STATUSES or (record["status"] != "ok" and not record["reason"]):
        raise ValueError(f"status {record['status']!r} with the reason {record['reason']!r}")
    return record


def read_attention(path: Path) -> list[dict[str, Any]]:
    """The records of an `attention.jsonl`, the last of each key; a last line cut short by a kill is left out.

    Raises:
        RunError: the file cannot be read, or holds something else.
    """
    found: dict[str, dict[str, Any]] = {}
    for record in read(path, FIELDS, "a record of attention"):
        found.pop(str(record["key"]), None)
        found[str(record["key"])] = record
    return list(found.values())
