"""Method: the settings that decide how a figure is measured, and their hash."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass

from modules.options import SpecError, nearest

CACHES = ("warm", "cold")
_LEAST = {"min_rounds": 6, "max_rounds": 6, "settle_rounds": 2, "repeats": 1}
_MOST = {"rest_seconds": 10, "seed": 2**63 - 1}


@dataclass(frozen=True)
class Method:
    """How times are sampled. Rows with different methods are not compared unless asked.

    Attributes:
        target: relative half width of the 95 % interval of the median at which a case is done, from `settle_rounds` on.
        seconds: time budget of a group, per member.
        min_rounds: rounds that every group gets, whatever its budget; 6 is the least that bounds a median at 95 %.
        max_rounds: rounds at which every group ends.
        sample_ms: a sample lasts at least this long; shorter calls are repeated inside of it.
        prime_ms: each sample of a call shorter than this follows an untimed call, so that caches and allocator are as
            warm as in a loop of that call alone; longer calls turn the caches over by themselves.
        warm_seconds: longest warm-up of a member.
        warm_tolerance: a member is warm when its last calls are not faster than those before by more than this.
        settle_rounds: window of rounds in which the spread must have stayed put to call the noise settled, and the
            rounds before which no interval ends the sampling of a case.
        settle_tolerance: relative change of the spread within that window.
        retry_rounds: a group that lacks undisturbed rounds is given up once more than these were disturbed and its time
            budget is spent. The budget outlasts a dip in the clocks or a neighbour's job of some seconds.
        fold: 1 to fold batch norms into the convolutions ahead of them before anything is traced or timed; else 0.
        rest_seconds: longest pause ahead of each sample of a round that is repeated because the card's own power or
            heat held its clocks down; 0 for none.
        use_disturbed: 1 to let rounds count in which something held the card's clocks down or another process was on
            it, for cards that are never without; else 0.
        foreign_cpus: CPUs that other processes may keep busy in a round before it is called disturbed. Threads wait for
            each other, so one CPU taken holds all of them up, however many there are; hence not a share of the machine.
            Half of one is more than an idle system takes, and less than any process that computes.
        steal: share of the CPUs' time that the hypervisor may take in a round before it is called disturbed.
        energy_seconds: least length of the pass that measures a call's energy, on cards that count it; 0 for none.
        cache: `warm` (each sample finds the caches as the call before left them) or `cold` (every sample is one call
            behind a flush, which is not timed).
        cuda_graph: 1 to capture each call in a CUDA graph and time its replay; else 0.
        repeats: fresh worker processes that measure each group, one after the other.
        seed: of the order within rounds, the weights and the inputs.
    """

    target: float = 0.02
    seconds: float = 1.5
    min_rounds: int = 6
    max_rounds: int = 100
    sample_ms: float = 1.0
    prime_ms: float = 100.0
    warm_seconds: float = 0.5
    warm_tolerance: float = 0.05
    settle_rounds: int = 20
    settle_tolerance: float = 0.05
    retry_rounds: int = 20
    use_disturbed: int = 0
    foreign_cpus: float = 0.5
    steal: float = 0.05
    energy_seconds: float = 0.3
    cache: str = "warm"
    cuda_graph: int = 0
    fold: int = 0
    rest_seconds: float = 0.0
    repeats: int = 1
    seed: int = 0

    @property
    def hash(self) -> str:
        """Short hash of all settings; those of `_LATER` count where they are not as they always were before."""
        settings = dataclasses.asdict(self)
        text = json.dumps({k: v for k, v in settings.items() if _LATER.get(k) != v}, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]


_LATER = {"cache": "warm", "cuda_graph": 0, "fold": 0, "rest_seconds": 0.0, "repeats": 1}


def make_method(settings: Mapping[str, object]) -> Method:
    """A method with some settings changed, as a suite file's `[method]` table gives them.

    Raises:
        SpecError: a setting does not exist or has a value of the wrong type or range.
    """
    whole = {name: isinstance(value, int) for name, value in dataclasses.asdict(Method()).items()}
    values: dict[str, float | int | str] = {}
    for name, value in settings.items():
        if name not in whole:
            raise SpecError(f"unknown method setting '{name}'{nearest(name, whole)}")
        if name == "cache":
            if value not in CACHES:
                raise SpecError(f"method setting 'cache' must be one of {', '.join(CACHES)}, not {value!r}")
            values[name] = str(value)
            continue
        least, most = _LEAST.get(name, 0), _MOST.get(name, math.inf)
        kind = "whole number" if whole[name] else "number"
        if (
            isinstance(value, bool)
            or not isinstance(value, (int, float))
            or not math.isfinite(value)
            or not least <= value <= most
            or (whole[name] and int(value) != value)
        ):
            allowed = f"of at least {least}" if most == math.inf else f"from {least} to {most}"
            raise SpecError(f"method setting '{name}' must be a {kind} {allowed}, not {value!r}")
        values[name] = int(value) if whole[name] else float(value)
    return dataclasses.replace(Method(), **values)  # type: ignore[arg-type]
