"""How much a machine caches, and the flush."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from bench.measure.cache import Flush, cache_bytes, flush_for
from bench.measure.method import make_method
from bench.selftest.cache import flushed
from tests.measure.fake import FakeClock


def describe(cpus: Path, cpu: int, *caches: tuple[int, str, str, str]) -> None:
    for number, facts in enumerate(caches):
        folder = cpus / f"cpu{cpu}" / "cache" / f"index{number}"
        folder.mkdir(parents=True)
        for name, value in zip(("level", "type", "size", "shared_cpu_list"), facts, strict=True):
            (folder / name).write_text(f"{value}\n")


def test_last_level_caches_count_once_each_however_many_processors_share_them(tmp_path: Path) -> None:
    for cpu in range(4):
        shared = "0-1" if cpu < 2 else "2-3"
        own = [(1, "Data", "48K", str(cpu)), (1, "Instruction", "64K", str(cpu)), (2, "Unified", "2M", str(cpu))]
        describe(tmp_path, cpu, *own, (3, "Unified", "32768K", shared))
    (tmp_path / "cpufreq").mkdir()
    assert cache_bytes("cpu", tmp_path) == 2 * 32 * 2**20


def test_without_a_shared_level_the_caches_of_all_processors_count(tmp_path: Path) -> None:
    for cpu in range(2):
        describe(tmp_path, cpu, (1, "Data", "64K", str(cpu)), (2, "Unified", "1M", str(cpu)))
    assert cache_bytes("cpu", tmp_path) == 2 * 2**20


def test_caches_that_nobody_describes_are_unknown(tmp_path: Path) -> None:
    assert cache_bytes("cpu", tmp_path) is None
    describe(tmp_path, 0, (3, "Unified", "much", "0"))
    assert cache_bytes("cpu", tmp_path) is None


@pytest.mark.parametrize(("facts", "held"), [({"L2_cache_size": 50 * 2**20}, 50 * 2**20), ({}, None)])
def test_a_card_says_its_own(monkeypatch: pytest.MonkeyPatch, facts: dict[str, int], held: int | None) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: SimpleNamespace(**facts))
    assert cache_bytes("cuda") == held


def test_a_flush_is_twice_the_caches_and_touches_all_of_it() -> None:
    flush = Flush("cpu", 2**16)
    assert flush.bytes == 2**17
    flush()
    flush()
    assert (flush._buffer == 2).all()


def test_only_cold_caches_have_a_flush(monkeypatch: pytest.MonkeyPatch) -> None:
    assert flush_for(make_method({}), "cpu") is None
    monkeypatch.setattr("bench.measure.cache.cache_bytes", lambda device: None)
    with pytest.raises(RuntimeError, match="cannot be read"):
        flush_for(make_method({"cache": "cold"}), "cpu")


class Cached(FakeClock):
    """Reads take 1 ms, and `factor` ms behind a flush."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, factor: float) -> None:
        super().__init__()
        self.cold = False
        clock = self

        class Noted(Flush):
            def __call__(self) -> None:
                clock.cold = True

        monkeypatch.setattr("bench.selftest.cache.Flush", Noted)
        monkeypatch.setattr("bench.selftest.cache.cache_bytes", lambda device: 2**16)
        self.factor = factor

    def time(self, call: object, repeats: int = 1) -> float:
        taken, self.cold = (self.factor if self.cold else 1.0), False
        return taken


@pytest.mark.parametrize(("factor", "verdict"), [(1.8, "pass"), (1.0, "warn"), (0.5, "warn")])
def test_the_self_test_says_whether_the_flush_reaches_the_caches(
    monkeypatch: pytest.MonkeyPatch, factor: float, verdict: str
) -> None:
    line = flushed("cpu", Cached(monkeypatch, factor))
    assert (line.verdict, f"{factor:.2f}x" in line.figure) == (verdict, True)
