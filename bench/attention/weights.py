"""Weights: a network whose weights come from a file: a training checkpoint of ours, or a state dict."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from bench.axes import parse_blocks
from bench.training.chain import Chain, parse_chains
from bench.training.checkpoint import Checkpoint, load_checkpoint
from bench.training.material import SCENES, labels_of
from bench.training.network import NETWORK_CHANNELS, build_network
from modules import registry
from modules.checkpoints import load_checkpoint as load_state
from modules.checkpoints.fit import fit
from modules.checkpoints.naming import Naming
from modules.options import SpecError

UNTRAINED = "only the block has these weights: the layers around it are not trained, so its input is that of no task"


@dataclass(frozen=True)
class Loaded:
    """A network with the weights of a file.

    Attributes:
        label: the block or network, as users spell it.
        network: in evaluation mode, on CPU.
        probed: whether it is a block in the probe network.
        scenes: whether it was trained on the generated scenes, as far as the file tells.
        facts: fields of a record.
    """

    label: str
    network: nn.Module
    probed: bool
    scenes: bool
    facts: Mapping[str, object]


def load_network(blocks: str, path: Path, channels: int | None, seed: int) -> Loaded:
    """The one block or network asked for, with the weights in a file.

    Args:
        blocks: what was asked for. A whole network may be given its number of classes where the file is a state dict.
        path: a checkpoint of `train` or `attention`, or what `modules.checkpoints.load_checkpoint` takes for a network,
            or for a block alone, which is then put into a probe network that is not trained.
        channels: of the block's map, or of the whole network; the default where null.
        seed: of the layers around a block that comes alone.

    Raises:
        SpecError: more than one is asked for, it does not exist, or the file does not fit it.
    """
    trained = _read(path)
    if trained is None and blocks.partition(":")[0].strip() in registry.names("network"):
        return _official(blocks, path, channels)
    chains = parse_chains(blocks)
    if len(chains) != 1:
        listed = ", ".join(chain.label for chain in chains)
        raise SpecError(f"--checkpoint '{path}' is for one block or network, not for {len(chains)}: {listed}")
    return _alone(chains[0], path, channels, seed) if trained is None else _ours(chains[0], trained, path, channels)


def _read(path: Path) -> Checkpoint | None:
    """A checkpoint of a training run, or nothing where the file is another."""
    if not path.is_file():
        raise SpecError(f"no checkpoint file '{path}'")
    try:
        return load_checkpoint(path, {})
    except (SpecError, TypeError):  # it is a state dict, or the reader of those says what is wrong
        return None


def _ours(chain: Chain, found: Checkpoint, path: Path, channels: int | None) -> Loaded:
    dataset = str(found.run.get("data set"))
    network = build_network(chain, None, labels_of(dataset).count, 0, channels)
    problem = fit(network, Naming({}), found.network).problem
    if problem:
        raise SpecError(f"'{path}' is of a training run that does not fit '{chain.label}': {problem}")
    network.load_state_dict(found.network)
    facts = {"seed": found.run.get("seed"), "settings": found.run.get("recipe"), "iterations": found.iteration}
    facts |= {"checkpoint": _facts(path, "contextbench"), "entry": chain.entry}
    return Loaded(chain.label, network.eval(), chain.family == "context", dataset == SCENES, facts)


def _official(blocks: str, path: Path, channels: int | None) -> Loaded:
    specs = parse_blocks(blocks)
    if len(specs) != 1:
        listed = ", ".join(name for name, _ in specs)
        raise SpecError(f"--checkpoint '{path}' is for one block or network, not for {len(specs)}: {listed}")
    ((entry, options),) = specs
    known = registry.describe(entry)
    network = registry.create(entry, channels or NETWORK_CHANNELS, **options)
    names = load_state(network, entry, path)
    label = registry.spell(entry, known.changed(known.resolve(options)))
    return Loaded(label, network.eval(), False, False, {"checkpoint": _facts(path, names), "entry": entry})


def _alone(chain: Chain, path: Path, channels: int | None, seed: int) -> Loaded:
    network = build_network(chain, None, labels_of(SCENES).count, seed, channels)
    block = network.get_submodule("block")
    names = load_state(block, chain.entry, path)
    facts = {"checkpoint": _facts(path, names), "seed": seed, "note": UNTRAINED, "entry": chain.entry}
    return Loaded(chain.label, network.eval(), True, True, facts)


def _facts(path: Path, names: str) -> dict[str, str]:
    return {"sha256": hashlib.sha256(path.read_bytes()).hexdigest()[:16], "names": names}
