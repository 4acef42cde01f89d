from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn

from bench.training.distributed import (
    Ranks,
    SharedBatchNorm,
    current_ranks,
    from_first,
    gathered,
    joined,
    parallel,
    share_statistics,
    started_ranks,
    total,
)
from bench.training.loop import train
from modules.options import SpecError
from tests.training.toy import Toy, droppy, recipe

ROOT = Path(__file__).resolve().parents[2]
needs_gloo = pytest.mark.skipif(
    not (dist.is_available() and dist.is_gloo_available()), reason="this PyTorch has no gloo"
)
SETTINGS = {"iterations": 10, "batch": 5, "ohem": 200, "checkpoint_every": 4, "optimizer": "sgd", "lr": 0.05}

SCRIPT = """
import sys
from pathlib import Path
import torch
from bench.training.distributed import joined
from bench.training.loop import train
from tests.training.test_distributed import SETTINGS, steady
from tests.training.toy import Toy, recipe

folder = Path(sys.argv[1])
how = recipe(**SETTINGS, sync_bn=sys.argv[2] == "True")
class Killed(Exception):
    pass
def step(iteration, loss, miou):
    if iteration == 7:
        raise Killed
torch.set_num_threads(1)
with joined("cpu") as (ranks, device):
    try:
        train(steady(), Toy(), how, 1, device, checkpoint=folder / "run.pt", on_step=step)
    except Killed:
        pass
    network = steady()
    trained = train(network, Toy(), how, 1, device, checkpoint=folder / "run.pt")
    torch.save({"network": network.state_dict(), "curve": trained.curve}, folder / f"rank{ranks.rank}.pt")
"""


def steady() -> nn.Module:
    """A network without dropout, which differs between processes."""
    network = droppy(auxiliary=True)
    network.head[0] = nn.Identity()
    return network


@pytest.fixture
def single(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK"):
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


@needs_gloo
@pytest.mark.parametrize("sync_bn", [True, False])
def test_two_processes_train_as_one_does(tmp_path: Path, single: pytest.MonkeyPatch, sync_bn: bool) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    base = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": "2", "PYTHONPATH": str(ROOT)}
    processes = [
        subprocess.Popen(
            [sys.executable, "-W", "error", "-c", SCRIPT, str(tmp_path), str(sync_bn)],
            env={**os.environ, **base, "RANK": str(rank), "LOCAL_RANK": str(rank), "OMP_NUM_THREADS": "1"},
            cwd=ROOT,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    errors = [process.communicate()[1] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], errors
    first, second = (torch.load(tmp_path / f"rank{rank}.pt", weights_only=True) for rank in range(2))
    assert first["curve"] == second["curve"]
    for name, mine in first["network"].items():
        assert torch.equal(mine, second["network"][name]), name
    if not sync_bn:  # each process normalises by its own half of the batch, which is another training
        return
    network = steady()
    trained = train(network, Toy(), recipe(**SETTINGS), 1, "cpu")
    losses = [[loss for _, loss, _ in curve] for curve in (first["curve"], trained.curve)]
    torch.testing.assert_close(*map(torch.tensor, losses), atol=1e-4, rtol=1e-4)
    for name, wanted in network.state_dict().items():
        torch.testing.assert_close(first["network"][name], wanted, atol=1e-4, rtol=1e-4, msg=name)


def test_a_single_process_needs_no_group(single: pytest.MonkeyPatch) -> None:
    assert started_ranks() == current_ranks() == Ranks()
    with joined("cpu") as (ranks, device):
        assert (ranks, device, ranks.writes) == (Ranks(), torch.device("cpu"), True)
    network = steady()
    assert parallel(network, torch.device("cpu"), sync_bn=True) is network
    values = torch.tensor([1.0, 2.0])
    assert torch.equal(total(values), values)
    assert torch.equal(gathered(values), values)
    assert from_first("x") == "x"


def test_torchruns_environment_is_read(single: pytest.MonkeyPatch) -> None:
    for name, value in (("RANK", "5"), ("WORLD_SIZE", "8"), ("LOCAL_RANK", "1")):
        single.setenv(name, value)
    assert started_ranks() == Ranks(5, 8, 1)
    assert not started_ranks().writes
    single.setenv("RANK", "8")
    with pytest.raises(SpecError, match="RANK=8"):
        started_ranks()
    single.setenv("RANK", "first")
    with pytest.raises(SpecError, match="RANK=first"):
        started_ranks()


@pytest.mark.parametrize("momentum", [0.1, None])
@pytest.mark.parametrize("shape", [(6, 3), (4, 3, 5), (4, 3, 5, 6)])
def test_the_batch_norm_of_several_processes_is_torchs_where_there_is_one(
    momentum: float | None, shape: tuple[int, ...]
) -> None:
    kind = {2: nn.BatchNorm1d, 3: nn.BatchNorm1d, 4: nn.BatchNorm2d}[len(shape)]
    plain, other = kind(3, momentum=momentum), kind(3, momentum=momentum)
    holder = nn.Sequential(other)
    share_statistics(holder)
    assert isinstance(holder[0], SharedBatchNorm)
    generator = torch.Generator().manual_seed(0)
    gradients: list[Tensor] = []
    for step in range(3):
        for norm in (plain, holder[0]):
            norm.train(step < 2)
        x = 3 * torch.randn(shape, generator=generator) + 1
        pair = [x.clone().requires_grad_() for _ in range(2)]
        results = [norm(leaf) for norm, leaf in zip((plain, holder[0]), pair, strict=True)]
        torch.testing.assert_close(*results, atol=1e-5, rtol=1e-5)
        gradients = [torch.autograd.grad(r.pow(3).sum(), leaf)[0] for r, leaf in zip(results, pair, strict=True)]
        torch.testing.assert_close(*gradients, atol=1e-4, rtol=1e-4)
    assert list(plain.state_dict()) == list(holder[0].state_dict())
    for name, tensor in plain.state_dict().items():
        torch.testing.assert_close(holder[0].state_dict()[name], tensor)
