"""How sure `compare --base` is: its own sampling order and its own rule, on simulated times.

    python experiments/duel_power.py                             # every table, a quarter of an hour
    python experiments/duel_power.py --table power --runs 200    # a quick look at one of them

Only the clock is invented. `bench.slices.take_turns` decides the order of builds and slices, `bench.turns` that of two
processes, `bench.duel` turns samples into ratios and ratios into verdicts.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench.case import Case, make_case
from bench.cell import judge
from bench.duel import Finding, find, undisturbed
from bench.slices import SAMPLES, take_turns
from bench.turns import SLICES_APART

THRESHOLD = 0.1
CASE = make_case("snl", {}, 4, 4, 8)


@dataclass(frozen=True)
class World:
    """What disturbs the times.

    Attributes:
        spread: relative sd of the noise of a sample.
        memory: correlation of a sample's noise with that of the sample before it.
        offset: relative sd of what an instance (or in `apart` a process) has for as long as it lives.
        first: how much slower everything of the tree that goes first in a process is.
        drift: how much slower the machine gets from one process to the next, and over one process.
        bursts: share of the time in which something else runs, which makes calls 1.3 to 2 times as long.
        apart: whether each tree has a process of its own.
        new_first: whether the new tree always goes first, with no coin; what a wrong rule would do.
    """

    spread: float = 0.03
    memory: float = 0.0
    offset: float = 0.0
    first: float = 0.0
    drift: float = 0.0
    bursts: float = 0.0
    apart: bool = False
    new_first: bool = False


WORLDS = {
    "independent noise, sd 3 %": World(),
    "AR(0.8) noise, sd 3 %": World(memory=0.8),
    "AR(0.8) noise, sd 10 %": World(spread=0.1, memory=0.8),
    "offsets of instances, sd 2 %": World(offset=0.02),
    "offsets of instances, sd 6 %": World(offset=0.06),
    "the first 3 % slower": World(first=0.03),
    "drift, 2 % a process": World(drift=0.02),
    "bursts, half of the time": World(bursts=0.5),
    "two processes, offsets sd 2 %": World(offset=0.02, apart=True),
    "two processes, offsets sd 6 %": World(offset=0.06, apart=True),
    "two processes, the first 3 % slower": World(offset=0.02, first=0.03, apart=True),
    "two processes, AR(0.8), offsets 4 %, drift": World(memory=0.8, offset=0.04, drift=0.02, apart=True),
}


@dataclass
class Machine:
    """Gives the noise of samples, one after the other."""

    world: World
    rng: np.random.Generator
    now: float = 0.0
    state: float = 0.0
    busy: bool = False
    calls: int = field(default=0)

    def noise(self, samples: int) -> list[float]:
        """Factors on the times of the next samples."""
        world, found = self.world, []
        for step in self.rng.standard_normal(samples).tolist():
            self.state = world.memory * self.state + math.sqrt(1 - world.memory**2) * step
            factor = math.exp(world.spread * self.state) * (1 + world.drift * self.now)
            self.now += 1 / 80
            if world.bursts:
                if self.rng.random() < 0.02:
                    self.busy = self.rng.random() < world.bursts
                factor *= self.rng.uniform(1.3, 2.0) if self.busy else 1.0
            found.append(factor)
        return found


@dataclass
class InventedSeat:
    """A tree whose calls take 1 ms, times `effect`, on a machine."""

    machine: Machine
    effect: float
    inputs: tuple[Tensor, ...] | None = None
    offset: float = 1.0

    def hold(self, case: Case) -> float:
        self.offset = math.exp(self.machine.world.offset * self.machine.rng.standard_normal())
        return 1.0

    def slice(self, samples: int) -> list[float]:
        return [self.effect * self.offset * noise for noise in self.machine.noise(samples)]

    def drop(self) -> None:
        return None


def one_ratio(machine: Machine, ratio: float) -> float:
    """What one process (or pair of them) gives for a case that takes `ratio` times as long in the new tree."""
    new_first = machine.world.new_first or bool(machine.rng.integers(2))
    effects = [ratio, 1.0] if new_first else [1.0, ratio]
    effects[0] *= 1 + machine.world.first
    seats = [InventedSeat(machine, effect) for effect in effects]
    if machine.world.apart:
        times: Sequence[list[float]] = ([], [])
        for seat in seats:
            seat.hold(CASE)
        for place in SLICES_APART:
            times[place].extend(seats[place].slice(SAMPLES))
    else:
        times = take_turns(CASE, seats, (0, 1), lambda number: None).times
    first, second = map(undisturbed, times)
    return first / second if new_first else second / first


@dataclass(frozen=True)
class Ending:
    """How a comparison ended.

    Attributes:
        findings: of its cases.
        missed: whether the interval of a case did, at some look, not hold the true ratio.
    """

    findings: tuple[Finding, ...]
    missed: bool

    @property
    def verdicts(self) -> list[str]:
        return [judge(finding.ratio, 0.0, THRESHOLD)[0] for finding in self.findings]

    @property
    def regressed(self) -> list[bool]:
        pairs = zip(self.verdicts, self.findings, strict=True)
        return [verdict == "slower" and found.ratio.median >= 1 + THRESHOLD for verdict, found in pairs]


def compare(
    world: World, truth: Sequence[float], rng: np.random.Generator, most: int = 40, all_looks: bool = False
) -> Ending:
    """A comparison of cases with true ratios, of so many processes at most; `all_looks` never stops before."""
    machine = Machine(world, rng)
    ratios: list[list[float]] = [[] for _ in truth]
    findings: list[Finding | None] = [None] * len(truth)
    missed = False
    for _ in range(most):
        for number, ratio in enumerate(truth):
            found = findings[number]
            if found is not None and found.decided and not all_looks:
                continue
            ratios[number].append(one_ratio(machine, ratio))
            findings[number] = found = find(ratios[number], THRESHOLD, len(truth))
            # one that is `same` is bounded for itself; all others together
            joint = judge(found.ratio, 0.0, THRESHOLD)[0] != "same" or len(truth) == 1
            low, high = found.ratio.low, found.ratio.high
            missed |= joint and low is not None and high is not None and not low <= ratio <= high
        if not all_looks and all(found is not None and found.decided for found in findings):
            break
    return Ending(tuple(found for found in findings if found is not None), missed)


def repeated(
    runs: int, seed: int, world: World, truth: Sequence[float], most: int = 40, all_looks: bool = False
) -> list[Ending]:
    """Many comparisons, each of its own seed; see `compare`."""
    return [compare(world, truth, np.random.default_rng((seed, run)), most, all_looks) for run in range(runs)]


def share(endings: Sequence[Ending], is_so: Callable[[Ending], bool]) -> str:
    return f"{100 * sum(map(is_so, endings)) / len(endings):.1f} %"


def processes(endings: Sequence[Ending]) -> int:
    """The median of how many processes the last case took."""
    return round(float(np.median([max(f.processes for f in ending.findings) for ending in endings])))


def unchanged(runs: int, cases: int) -> str:
    """Unchanged code: how often anything is called slower or faster, regressed, same; and how often, where nothing is
    ever decided, the interval of some case does at some of 40 looks not hold 1. No error may be above 5 %."""
    lines = [
        f"| {cases} unchanged cases | slower or faster | regressed | all *same* | an interval missed | processes |"
    ]
    lines += ["| --- | --- | --- | --- | --- | --- |"]
    for seed, (name, world) in enumerate(WORLDS.items()):
        ends, looks = (
            repeated(runs, seed, world, [1.0] * cases),
            repeated(runs, 1000 + seed, world, [1.0] * cases, all_looks=True),
        )
        wrong = share(ends, lambda e: bool({"slower", "faster"} & set(e.verdicts)))
        cells = [wrong, share(ends, lambda e: any(e.regressed)), share(ends, lambda e: set(e.verdicts) == {"same"})]
        lines.append("| " + " | ".join([name, *cells, share(looks, lambda e: e.missed), str(processes(ends))]) + " |")
    return "\n".join(lines)


POWER_WORLDS = (
    "independent noise, sd 3 %",
    "AR(0.8) noise, sd 10 %",
    "offsets of instances, sd 6 %",
    "two processes, offsets sd 6 %",
)


def power(runs: int) -> str:
    """One of two cases slower: how often that is confirmed, called same, or left open."""
    lines = ["| slower by | " + " | ".join(POWER_WORLDS) + " |", "| --- |" + " --- |" * len(POWER_WORLDS)]
    for percent in (5, 8, 10, 12, 15, 20, 30):
        cells = []
        for seed, name in enumerate(POWER_WORLDS):
            ends = repeated(runs, 2000 + 100 * percent + seed, WORLDS[name], [1 + percent / 100, 1.0])
            same = share(ends, lambda e: e.verdicts[0] == "same")
            cells.append(f"{share(ends, lambda e: e.regressed[0])} / {same} / {processes(ends)}")
        lines.append(f"| {percent} % | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--runs", type=int, default=2000)
    parser.add_argument("--table", choices=("two", "many", "power"), help="one of the tables; all where not given")
    given = parser.parse_args()
    tables = {
        "two": lambda: unchanged(given.runs, 2),
        "many": lambda: unchanged(max(1, given.runs // 10), 28),
        "power": lambda: "regressed / same / processes\n\n" + power(given.runs),
    }
    print("\n\n".join(make() for name, make in tables.items() if given.table in (None, name)))


if __name__ == "__main__":
    main()
