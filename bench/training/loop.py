"""Loop: trains a network by a recipe, and goes on from where it was stopped."""

from __future__ import annotations

import contextlib
import hashlib
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from bench.training.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from bench.training.distributed import current_ranks, from_first, parallel, share_buffers, total
from bench.training.examples import Examples
from bench.training.loss import class_weights, training_loss
from bench.training.optimizer import learning_rate, make_optimizer, set_learning_rate
from bench.training.order import Order, batches, drawn_seed
from bench.training.recipe import Recipe
from modules.options import SpecError

POINTS = 100
"""Points of a learning curve, at most, beside those at which the network was evaluated."""

_AMP = {"bf16": torch.bfloat16, "fp16": torch.float16}
_AHEAD = 10  # steps that a card may be given before their losses are read

OnStep = Callable[[int, float, "float | None"], None]
Evaluate = Callable[[nn.Module], "float | None"]


@dataclass(frozen=True)
class Trained:
    """What came of a run.

    Attributes:
        status: `ok` or `diverged`.
        reason: of what is not `ok`.
        iterations: done.
        seconds: that they took, in all processes that had a part in them one after the other; evaluation and
            checkpoints excluded.
        curve: (iteration, mean loss since the point before, mIoU in percent or null), iterations counted from 1.
    """

    status: str
    reason: str | None
    iterations: int
    seconds: float
    curve: tuple[tuple[int, float, float | None], ...]


@dataclass
class _Progress:
    """Where a run stands."""

    iteration: int = 0
    seconds: float = 0.0
    curve: list[tuple[int, float, float | None]] = field(default_factory=list)
    since: list[float] = field(default_factory=list)
    pending: list[Tensor] = field(default_factory=list)
    reason: str | None = None


def train(
    network: nn.Module,
    examples: Examples,
    recipe: Recipe,
    seed: int,
    device: torch.device | str,
    *,
    checkpoint: Path | None = None,
    workers: int = 0,
    on_step: OnStep | None = None,
    evaluate: Evaluate | None = None,
) -> Trained:
    """Train a network in place; it ends in evaluation mode.

    What an iteration draws (examples, augmentation, dropout) depends on the seed and its number alone. On a CPU with a
    given number of threads the result is the same bit for bit, however often the run was stopped; on CUDA as far as
    its kernels are deterministic. Where torch.distributed is initialised, every process takes its share of the same
    batch, and the first writes the checkpoints.

    Args:
        network: image (B,3,H,W) -> logits (B,classes,H,W), or a tuple as `training_loss` takes it.
        examples: to train on.
        recipe: how.
        seed: of order, augmentation and dropout; the initial weights are the network's.
        device: where the network is moved.
        checkpoint: file that is written every `checkpoint_every` iterations and at the end, and from which a run that
            was stopped goes on; null for none.
        workers: processes that read batches ahead.
        on_step: told iteration, loss and mIoU or null, for display.
        evaluate: gives the mIoU of the network, in percent; asked every `eval_every` iterations and once at the end,
            where the run is taken up when it was over already, too. Called in every process.

    Raises:
        SpecError: the recipe does not fit device, data or network; the checkpoint is of another run, or cannot be
            written.
    """
    place = torch.device(device)
    if recipe.amp != "none" and place.type != "cuda":
        raise SpecError(f"recipe '{recipe.name}': amp '{recipe.amp}' needs CUDA, not {place.type}; allowed: none")
    if not len(examples):
        raise SpecError(f"'{examples.labels.dataset}' has no examples to train on")
    world = current_ranks().world
    if recipe.batch < world:
        raise SpecError(f"recipe '{recipe.name}': a batch of {recipe.batch} for {world} processes; allowed: {world}")
    with torch.random.fork_rng(devices=[place] if place.type == "cuda" else []):
        return _Run(network, examples, recipe, seed, place, checkpoint, workers, on_step, evaluate).finish()


class _Run:
    def __init__(
        self,
        network: nn.Module,
        examples: Examples,
        recipe: Recipe,
        seed: int,
        device: torch.device,
        checkpoint: Path | None,
        workers: int,
        on_step: OnStep | None,
        evaluate: Evaluate | None,
    ) -> None:
        self.examples, self.recipe, self.seed, self.device = examples, recipe, seed, device
        self.path, self.workers, self.on_step, self.evaluate = checkpoint, workers, on_step, evaluate
        self.ranks = current_ranks()
        self.iterations = recipe.steps(len(examples))
        self.network = network.to(device)
        self.optimizer = make_optimizer(network, recipe)
        self.scaler = torch.amp.GradScaler(device.type, enabled=recipe.amp == "fp16")
        self.run = {
            "seed": seed,
            "recipe": recipe.settings_hash,
            "iterations": self.iterations,
            "data set": examples.labels.dataset,
            "number of examples": len(examples),
            "network": _shapes(network),
        }
        self.progress = self._taken_up()
        self.trained = parallel(network, device, recipe.sync_bn)
        weights = class_weights(examples, recipe)
        self.weights = None if weights is None else weights.to(device)

    def finish(self) -> Trained:
        now = self.progress
        numbers = range(now.iteration, self.iterations)
        order = Order(len(self.examples), self.recipe.batch, self.seed)
        self.network.train()
        if numbers:
            loaded = batches(self.examples, order, numbers, self.ranks, self.workers, self.device.type == "cuda")
            self._all(numbers, loaded)
        if now.reason is None and self.evaluate is not None:
            self._look()
        share_buffers(self.network)
        self.network.eval()
        status = "ok" if now.reason is None else "diverged"
        return Trained(status, now.reason, now.iteration, now.seconds, tuple(now.curve))

    def _all(self, numbers: range, loaded: Any) -> None:
        now = self.progress
        start = self._clock()
        for number, (images, target) in zip(numbers, loaded, strict=True):
            now.pending.append(self._step(number, images, target))
            now.iteration = number + 1
            done = now.iteration
            evaluates = self._due(self.recipe.eval_every) and self.evaluate is not None and done < self.iterations
            saves = self.path is not None and (self._due(self.recipe.checkpoint_every) or done == self.iterations)
            point = evaluates or self._due(math.ceil(self.iterations / POINTS)) or done == self.iterations
            if not (point or saves or self.device.type == "cpu" or len(now.pending) == _AHEAD):
                continue
            if not self._settle():
                now.seconds += self._clock() - start
                return
            if point:
                now.curve.append((done, math.fsum(now.since) / len(now.since), None))
                now.since.clear()
            if evaluates or saves or done == self.iterations:
                now.seconds += self._clock() - start
                if evaluates:
                    self._look()
                    self.network.train()
                if saves:
                    self._save()
                start = self._clock()

    def _step(self, number: int, images: Tensor, target: Tensor) -> Tensor:
        """One iteration; its loss, this process's part, still on the device."""
        torch.manual_seed(drawn_seed(self.seed, "step", number, self.ranks.rank))
        set_learning_rate(self.optimizer, learning_rate(self.recipe, number, self.iterations))
        images = images.to(self.device, non_blocking=True)
        target = target.to(self.device, non_blocking=True)
        amp = _AMP.get(self.recipe.amp)
        with contextlib.nullcontext() if amp is None else torch.autocast(self.device.type, amp):
            outputs = self.trained(images)
        loss = training_loss(outputs, target, self.recipe, self.weights)
        self.optimizer.zero_grad(set_to_none=True)
        self.scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
        if self.recipe.clip:
            self.scaler.unscale_(self.optimizer)
            nn.utils.clip_grad_norm_(self.network.parameters(), self.recipe.clip)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        return loss.detach()

    def _settle(self) -> bool:
        """Read the losses of the steps that were taken since; false where one of them is not finite."""
        now = self.progress
        losses = (total(torch.stack(now.pending)) / self.ranks.world).tolist()
        first = now.iteration - len(losses) + 1
        now.pending.clear()
        for iteration, loss in enumerate(losses, first):
            if not math.isfinite(loss):
                now.iteration, now.reason = iteration, f"the loss was {loss} in iteration {iteration}"
                return False
            now.since.append(loss)
            if self.on_step is not None and (iteration < self.iterations or self.evaluate is None):
                self.on_step(iteration, loss, None)
        return True

    def _look(self) -> None:
        """Evaluate the network, with the same buffers in every process; it may be left in evaluation mode."""
        assert self.evaluate is not None
        share_buffers(self.network)
        self.network.eval()
        iteration, loss, _ = self.progress.curve[-1]
        self.progress.curve[-1] = (iteration, loss, self.evaluate(self.network))
        if self.on_step is not None:
            self.on_step(*self.progress.curve[-1])

    def _save(self) -> None:
        if self.path is None or not self.ranks.writes:
            return
        now = self.progress
        states = (self.network.state_dict(), self.optimizer.state_dict(), self.scaler.state_dict())
        save_checkpoint(
            self.path, Checkpoint(self.run, now.iteration, now.seconds, list(now.curve), list(now.since), *states)
        )

    def _taken_up(self) -> _Progress:
        """Where the checkpoint, if there is one, leaves the run; network and optimiser are set to it."""
        found = load_checkpoint(self.path, self.run) if self.path is not None and self.ranks.writes else None
        found = from_first(found)
        if found is None:
            return _Progress()
        self.network.load_state_dict(found.network)
        self.optimizer.load_state_dict(found.optimizer)
        self.scaler.load_state_dict(found.scaler)
        return _Progress(found.iteration, found.seconds, list(found.curve), list(found.since))

    def _due(self, every: int) -> bool:
        return every > 0 and self.progress.iteration % every == 0

    def _clock(self) -> float:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return time.perf_counter()


def _shapes(network: nn.Module) -> str:
    """Short hash of the names and shapes of a network's parameters and buffers."""
    text = str([(name, tuple(tensor.shape)) for name, tensor in network.state_dict().items()])
    return hashlib.sha256(text.encode()).hexdigest()[:12]
