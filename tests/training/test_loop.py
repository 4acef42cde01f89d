from __future__ import annotations

import dataclasses
import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from bench.training.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from bench.training.loop import Trained, train
from modules.options import SpecError
from tests.training.toy import Droppy, Toy, droppy, recipe

ROOT = Path(__file__).resolve().parents[2]


class Killed(Exception):
    pass


def state(network: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in network.state_dict().items()}


def assert_equal(one: dict[str, Tensor], other: dict[str, Tensor]) -> None:
    assert list(one) == list(other)
    for name in one:
        assert torch.equal(one[name], other[name]), name


def run(
    path: Path | None = None, *, killed_at: int | None = None, seed: int = 1, **settings: object
) -> tuple[Trained, Droppy]:
    def step(iteration: int, loss: float, miou: float | None) -> None:
        if iteration == killed_at:
            raise Killed

    network = droppy(auxiliary=True)
    return train(network, Toy(), recipe(**settings), seed, "cpu", checkpoint=path, on_step=step), network


def untimed(trained: Trained) -> Trained:
    return dataclasses.replace(trained, seconds=0.0)


def test_a_short_run_reduces_the_loss_and_reports_it() -> None:
    trained, network = run(iterations=60, lr=0.02)
    losses = [loss for _, loss, _ in trained.curve]
    assert (trained.status, trained.reason, trained.iterations) == ("ok", None, 60)
    assert [point for point, _, _ in trained.curve] == list(range(1, 61))
    assert sum(losses[-10:]) < 0.7 * sum(losses[:10])
    assert trained.seconds > 0
    assert not network.training


def test_the_curve_has_a_hundred_points_whose_means_are_the_losses() -> None:
    told: list[float] = []
    trained = train(
        droppy(), Toy(), recipe(iterations=250), 0, "cpu", on_step=lambda iteration, loss, miou: told.append(loss)
    )
    assert [point for point, _, _ in trained.curve] == [*range(3, 250, 3), 250]
    assert len(told) == 250
    assert trained.curve[1][1] == pytest.approx(sum(told[3:6]) / 3)
    assert trained.curve[-1][1] == pytest.approx(told[-1])


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_a_run_killed_at_any_iteration_ends_in_the_same_weights(tmp_path: Path, optimizer: str) -> None:
    whole, network = run(optimizer=optimizer, clip=0.5, ohem=30)
    wanted = state(network)
    moments = random.Random(optimizer).sample(range(1, 20), 4)
    for moment in moments:
        path = tmp_path / f"{moment}.pt"
        for kill in (moment, min(moment + 2, 20)):
            with pytest.raises(Killed):
                run(path, killed_at=kill, optimizer=optimizer, clip=0.5, ohem=30)
        again, network = run(path, optimizer=optimizer, clip=0.5, ohem=30)
        assert_equal(state(network), wanted)
        assert untimed(again) == untimed(whole)


def test_a_run_that_was_over_is_not_trained_again_but_evaluated(tmp_path: Path) -> None:
    path = tmp_path / "run.pt"
    first, network = run(path)
    fresh = droppy(seed=9, auxiliary=True)
    steps: list[tuple[int, float | None]] = []
    again = train(
        fresh,
        Toy(),
        recipe(),
        1,
        "cpu",
        checkpoint=path,
        on_step=lambda iteration, loss, miou: steps.append((iteration, miou)),
        evaluate=lambda network: 12.5,
    )
    assert_equal(state(fresh), state(network))
    assert again.seconds == first.seconds
    assert steps == [(20, 12.5)]
    assert again.curve == (*first.curve[:-1], (20, first.curve[-1][1], 12.5))


def test_evaluation_is_asked_when_due_and_changes_nothing() -> None:
    seen: list[bool] = []

    def evaluate(network: nn.Module) -> float:
        network.eval()
        torch.rand(7)
        seen.append(True)
        return 10.0 * len(seen)

    _, plain = run()
    network = droppy(auxiliary=True)
    trained = train(network, Toy(), recipe(eval_every=8), 1, "cpu", evaluate=evaluate)
    assert {point: miou for point, _, miou in trained.curve if miou is not None} == {8: 10.0, 16: 20.0, 20: 30.0}
    assert_equal(state(network), state(plain))


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_seed_and_loader_processes() -> None:
    _, first = run(seed=1)
    _, second = run(seed=2)
    assert not torch.equal(first.head[1].weight, second.head[1].weight)  # type: ignore[arg-type]
    network = droppy(auxiliary=True)
    train(network, Toy(), recipe(), 1, "cpu", workers=1)
    assert_equal(state(network), state(first))


def test_the_callers_random_state_is_left_alone() -> None:
    torch.manual_seed(4)
    wanted = torch.rand(2)
    torch.manual_seed(4)
    run(iterations=2)
    assert torch.equal(torch.rand(2), wanted)


def test_a_loss_that_is_not_finite_ends_the_run_and_is_not_kept(tmp_path: Path) -> None:
    class Poisoned(Toy):
        def batch(self, indices: object, seed: int | None) -> tuple[Tensor, Tensor]:
            images, labels = super().batch(indices, seed)  # type: ignore[arg-type]
            return (images * torch.nan if 7 in indices else images), labels  # type: ignore[operator]

    path = tmp_path / "run.pt"
    asked: list[nn.Module] = []
    settings = recipe(class_weights="none", checkpoint_every=1)
    trained = train(
        droppy(), Poisoned(), settings, 1, "cpu", checkpoint=path, evaluate=lambda network: asked.append(network)
    )
    assert trained.status == "diverged"
    assert trained.reason == f"the loss was nan in iteration {trained.iterations}"
    assert 1 < trained.iterations <= 5
    assert [point for point, _, _ in trained.curve] == list(range(1, trained.iterations))
    assert not asked
    kept = torch.load(path, weights_only=True)
    assert kept["iteration"] == trained.iterations - 1
    assert all(tensor.isfinite().all() for tensor in kept["network"].values())


def test_checkpoints_of_another_run_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "run.pt"
    run(path)
    for changed, said in (({"lr": 0.5}, "its recipe is"), ({"seed": 5}, "its seed is 1, not 5")):
        with pytest.raises(SpecError, match=said):
            run(path, **changed)  # type: ignore[arg-type]
    with pytest.raises(SpecError, match="its network is"):
        train(droppy(), Toy(), recipe(), 1, "cpu", checkpoint=path)
    with pytest.raises(SpecError, match="its number of examples is 24, not 30"):
        train(droppy(auxiliary=True), Toy(count=30), recipe(), 1, "cpu", checkpoint=path)
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(SpecError, match="cannot read checkpoint"):
        run(path)


def test_a_checkpoint_is_whole_or_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "run.pt"
    one = Checkpoint({"seed": 1}, 3, 1.5, [(3, 0.5, None)], [0.25], {"w": torch.ones(2)}, {}, {})
    save_checkpoint(path, one)

    def torn(content: object, file: object) -> None:
        file.write(b"half")  # type: ignore[attr-defined]
        raise OSError("no space left")

    monkeypatch.setattr(torch, "save", torn)
    with pytest.raises(OSError, match="no space"):
        save_checkpoint(path, dataclasses.replace(one, iteration=9))
    found = load_checkpoint(path, {"seed": 1})
    assert found is not None
    assert (found.iteration, found.seconds, found.curve, found.since) == (3, 1.5, [(3, 0.5, None)], [0.25])
    assert torch.equal(found.network["w"], torch.ones(2))
    assert load_checkpoint(tmp_path / "none.pt", {}) is None


def test_what_cannot_be_trained_is_said() -> None:
    with pytest.raises(SpecError, match="amp 'bf16' needs CUDA, not cpu"):
        run(amp="bf16")
    with pytest.raises(SpecError, match="'toy' has no examples"):
        train(droppy(), Toy(count=0), recipe(), 0, "cpu")


SCRIPT = """
import sys, time
from pathlib import Path
import torch
from bench.training.loop import train
from tests.training.toy import Toy, droppy, recipe

torch.set_num_threads(1)
network = droppy(auxiliary=True)
def step(iteration, loss, miou):
    print(iteration, flush=True)
    time.sleep(0.02)
train(network, Toy(), recipe(), 1, "cpu", checkpoint=Path(sys.argv[1]), on_step=step)
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="this system has no SIGKILL")
def test_a_killed_process_is_taken_up_bit_for_bit(tmp_path: Path) -> None:
    path = tmp_path / "run.pt"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(path)], stdout=subprocess.PIPE, text=True, env=environment, cwd=ROOT
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if int(line) == 8:
                process.send_signal(signal.SIGKILL)
                break
    assert process.returncode == -signal.SIGKILL
    kept = load_checkpoint(path, {"seed": 1})
    assert kept is not None
    assert 6 <= kept.iteration < 20
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        again, network = run(path)
        whole, plain = run()
    finally:
        torch.set_num_threads(threads)
    assert_equal(state(network), state(plain))
    assert untimed(again) == untimed(whole)


@pytest.mark.cuda
@pytest.mark.parametrize("amp", ["none", "bf16", "fp16"])
def test_mixed_precision_trains_and_is_taken_up(tmp_path: Path, amp: str) -> None:
    path = tmp_path / "run.pt"
    settings = recipe(amp=amp, iterations=40, lr=0.02, clip=1.0)

    def step(iteration: int, loss: float, miou: float | None) -> None:
        if iteration == 25:
            raise Killed

    with pytest.raises(Killed):
        train(droppy(auxiliary=True), Toy(), settings, 1, "cuda", checkpoint=path, on_step=step)
    trained = train(droppy(auxiliary=True), Toy(), settings, 1, "cuda", checkpoint=path)
    losses = [loss for _, loss, _ in trained.curve]
    assert trained.iterations == 40
    assert sum(losses[-10:]) < sum(losses[:10])
