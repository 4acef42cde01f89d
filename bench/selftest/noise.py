"""How far two copies of one block come apart here when they are timed as a sweep times them."""

from __future__ import annotations

from collections.abc import Callable

from bench.case import make_case
from bench.measure.clock import Call, Clock
from bench.measure.method import Method
from bench.measure.sampler import Member, Sampler
from bench.selftest.line import Line, unverified
from bench.workload import build

NOISE = "A/A noise"
BLOCK, SIDE, CHANNELS = "nl", 32, 256
_BOUND = 0.05
_MEANS = "differences between blocks below the floor are called ties"


def block(device: str) -> Call:
    """A call of the non-local block at 32x32, 256 channels, fp32."""
    return build(make_case(BLOCK, {}, SIDE, SIDE, CHANNELS, device=device)).call


def twins(device: str, clock: Clock, method: Method | None = None, make: Callable[[str], Call] = block) -> Line:
    """The noise floor of a block and its twin in interleaved rounds; above 5 % is a warning."""
    sampler = Sampler(clock, method or Method())
    one = Member("one", make(device))
    other = Member("twin", make(device), twin_of=one)
    sampler.run([one, other], seed=0)
    failure = one.failure or other.failure
    if failure is not None:
        return unverified(NOISE, failure, _MEANS)
    timing = sampler.timing(one, one, other)
    if timing.noise_floor is None or timing.twin_ratio is None:
        return unverified(NOISE, "too few rounds", _MEANS)
    figure = (
        f"{BLOCK} {SIDE}x{SIDE}x{CHANNELS}: {timing.latency.median:.3g} ms, floor {timing.noise_floor:.2%}, "
        f"median ratio {timing.twin_ratio:.4f}, {timing.rounds} rounds"
    )
    loud = timing.noise_floor > _BOUND
    return Line(NOISE, "warn" if loud else "pass", figure, f"{_MEANS}; leave the machine alone" if loud else _MEANS)
