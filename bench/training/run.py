"""Run: one block trained from one seed by one recipe on one data set, and the record of it."""

from __future__ import annotations

import copy
import hashlib
import inspect
import json
import shlex
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from bench.environment import describe_environment, environment_hash, git_revision
from bench.static.flops import DispatchCount
from bench.static.trace import Trace
from bench.training.chain import Chain
from bench.training.distributed import current_ranks
from bench.training.evaluate import evaluate, make_inference
from bench.training.loop import train
from bench.training.material import SCENES, Material, open_material
from bench.training.metrics import Score
from bench.training.network import CHANNELS, NETWORK_CHANNELS, STRIDE, build_block, build_network
from bench.training.recipe import Recipe
from bench.training.record import make_record
from bench.training.setting import spelled
from modules import registry
from modules.options import SpecError

OnStep = Callable[[int, int, float, "float | None"], None]
_EVALUATION_BATCH = 50
_COUNTED_SIDE = 512


@dataclass(frozen=True)
class Run:
    """What is to be trained.

    Attributes:
        chain: block, composition of blocks, or whole network.
        seed: of weights and order.
        recipe: how.
        dataset: name.
        root: folder of the data set; null for scenes.
        channels: C of the map; null for the default.
        impl: implementation of the blocks.
        device: `cpu` or `cuda`.
        suite: name of the suite that it belongs to, if any.
    """

    chain: Chain
    seed: int
    recipe: Recipe
    dataset: str = SCENES
    root: Path | None = None
    channels: int | None = None
    impl: str = "reference"
    device: str = "cpu"
    suite: str | None = None

    @property
    def width(self) -> int:
        """C of the block's map, or of the whole network."""
        return self.channels or (NETWORK_CHANNELS if self.chain.family == "network" else CHANNELS)

    @property
    def key(self) -> str:
        """Content hash of all that decides the result: blocks with all options, and the source of those that are a
        user's own; seed, data, recipe, channels, implementation, device."""
        parts = [[part.entry, dict(sorted(part.values.items()))] for part in self.chain.parts]
        facts = [parts, self.seed, self.recipe.settings_hash, self.dataset, self.width, self.impl, self.device]
        facts += sources(self.chain)
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]

    def __str__(self) -> str:
        return f"{self.chain.label}, seed {self.seed}"

    def facts(self, repro: str) -> dict[str, Any]:
        """The fields of a record that are known before anything is trained; `repro` repeats this run alone."""
        single = self.chain.parts[0] if len(self.chain.parts) == 1 else None
        known = single is not None and single.entry in registry.names()
        options = registry.describe(single.entry).changed(single.values) if single and known else self.chain.options
        return {
            **{"key": self.key, "suite": self.suite, "git": git_revision(), "repro": repro},
            **{"entry": self.chain.entry, "label": self.chain.label, "seed": self.seed, "dataset": self.dataset},
            "options": {name: list(v) if isinstance(v, tuple) else v for name, v in options.items()},
            **{"recipe": self.recipe.name, "settings": self.recipe.settings_hash, "device": self.device},
            **{"channels": self.width, "impl": self.impl},
            "size": self.recipe.size if self.dataset == SCENES else None,
        }

    def arguments(self) -> list[str]:
        """The command-line arguments that name this run and no other, but for recipe settings and plugins."""
        words = ["--blocks", self.chain.label, "--seeds", f"{self.seed},", "--dataset", self.dataset]
        words += ["--data-root", str(self.root)] if self.root else []
        words += ["--channels", str(self.channels)] if self.channels else []
        words += ["--impl", self.impl] if self.impl != "reference" else []
        return [*words, "--device", self.device]


def perform(
    run: Run, repro: str, checkpoint: Path | None = None, workers: int = 0, on_step: OnStep | None = None
) -> dict[str, Any]:
    """Train, evaluate and describe; what goes wrong with the block is the record's status and reason.

    Args:
        run: what.
        repro: command that repeats it.
        checkpoint: from which an interrupted run goes on; to be removed once the record is written.
        workers: processes that read the data.
        on_step: told (iteration, iterations in all, loss, mIoU or null).

    Raises:
        SpecError: data, recipe and network do not fit each other, or the checkpoint cannot be written.
    """
    environment = describe_environment(run.device)
    begun = {
        **run.facts(repro),
        "env": environment_hash(environment),
        "threads": torch.get_num_threads(),
        "started_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }
    material = open_material(run.dataset, run.root, run.recipe)
    try:
        measured = _measured(run, material, checkpoint, workers, on_step)
    except SpecError:
        raise
    except Exception as error:  # whatever a block raises is its result
        if current_ranks().world > 1:
            raise  # the other processes wait for this one, so it must end and be seen to
        memory = isinstance(error, (torch.OutOfMemoryError, MemoryError))
        measured = {"status": "oom" if memory else "crashed", "reason": _line(error)}
    return make_record(begun, measured)


def _measured(
    run: Run, material: Material, checkpoint: Path | None, workers: int, on_step: OnStep | None
) -> dict[str, Any]:
    recipe, labels = run.recipe, material.labels
    network = build_network(run.chain, None, labels.count, run.seed, run.channels, run.impl)
    inference = make_inference(
        *(recipe.eval_mode, recipe.eval_scales, recipe.eval_flip),
        recipe.eval_crop or recipe.crop,
        recipe.eval_stride,
    )
    total = recipe.steps(len(material.training))
    place = torch.device(run.device)
    at_once = _EVALUATION_BATCH if material.side is not None else 1

    fields = costs(run, network, material)
    judged: dict[str, Any] = {}

    def look(trained: nn.Module) -> float | None:
        score = Score(labels, material.widths, total=len(material.test), absent=material.absent, device=place)
        scores = evaluate(trained, material.test, score, inference, at_once, place, workers=workers, shared=True)
        judged.update(scores.fields())
        return scores.miou

    def step(iteration: int, loss: float, miou: float | None) -> None:
        if on_step is not None:
            on_step(iteration, total, loss, miou)

    trained = train(
        *(network, material.training, recipe, run.seed, place),
        checkpoint=checkpoint,
        workers=workers,
        on_step=step,
        evaluate=look,
    )
    fields |= {"status": trained.status, "reason": trained.reason}
    fields |= {"iterations": trained.iterations, "seconds": round(trained.seconds, 3)}
    if trained.status == "ok":
        fields |= judged
    return fields | {"curve": [list(point) for point in trained.curve]}


def sources(chain: Chain) -> list[str]:
    """Hashes of the files of those blocks of a chain that do not come along with this package, also inside options."""
    named = {part.entry for part in chain.parts}
    named |= {str(value).partition("/")[0] for part in chain.parts for value in part.values.values()}
    files = {inspect.getsourcefile(registry.describe(name).build) for name in named & set(registry.names())}
    own = Path(registry.__file__).parent
    strange = sorted(path for path in files if path is not None and own not in Path(path).resolve().parents)
    return [hashlib.sha256(Path(path).read_bytes()).hexdigest() for path in strange]


def costs(run: Run, network: nn.Module, material: Material) -> dict[str, Any]:
    """Parameters and multiply-adds of the network and of the block in it, for one image.

    Images of a data set whose sizes differ are taken as 512x512. A whole network has no block of its own.
    """
    side = material.side or _COUNTED_SIDE
    found: dict[str, Any] = {"params": parameters(network), "macs": macs(network, (1, 3, side, side))}
    if run.chain.family == "network":
        return found
    block = build_block(run.chain, run.width, run.seed, run.impl)
    height = -(-side // STRIDE)
    found |= {"block_params": parameters(block), "block_macs": macs(block, (1, run.width, height, height))}
    return found | {"map_height": height, "map_width": height, "map_channels": run.width}


def parameters(module: nn.Module) -> int:
    """Learnable parameters."""
    return sum(parameter.numel() for parameter in module.parameters() if parameter.requires_grad)


def macs(module: nn.Module, shape: tuple[int, ...]) -> int | None:
    """Multiply-adds of one forward pass in evaluation mode, counted on meta, see `bench.static.flops`; null for a
    module that cannot run there, such as one that looks at its values."""
    twin = copy.deepcopy(module).to("meta").eval()
    count = DispatchCount()
    image: Tensor = torch.empty(shape, device="meta")
    try:
        with torch.no_grad(), Trace(count):
            twin(image)
    except Exception:  # a user's block may do anything; without a count it trains all the same
        return None
    return count.macs


def repro_command(run: Run, recipe: str, settings: Mapping[str, object], plugins: tuple[str, ...], jobs: int) -> str:
    """The command that repeats a run alone.

    Args:
        run: which.
        recipe: as it was asked for, a name or a path.
        settings: of the recipe that differ.
        plugins: files that it needs.
        jobs: runs at a time, which decides the number of threads of each.
    """
    words = ["--recipe", recipe, *(word for path in plugins for word in ("--plugin", path))]
    words += [word for name, value in settings.items() for word in ("--set", f"{name}={spelled(name, value)}")]
    words += ["--jobs", str(jobs), "--out", f"results/repro-{run.key}"]
    return f"python run_bench.py train {shlex.join([*run.arguments(), *words])}"


def _line(error: BaseException) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"
