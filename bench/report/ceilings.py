"""Ceilings: the rates that a machine can have at most, from its probes and from the rows of the run themselves."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from bench.report.digits import number
from bench.report.machine import Machine

TAPPED = ("convolution", "grouped")
"""Classes whose kernels are larger than 1x1."""
_MIB = 2**20
_RATE = re.compile(r"machine\.(?:gemm|mm|bmm|conv1x1)_(\w+)_tflops")
_COPY = re.compile(r"machine\.copy_(\d+)_mib_gb_s")
_REFUSED = "machine.refused."
_OLD_COPY, _OLD_COPY_MIB = "machine.copy_gb_s", 512
"""Runs before the probes at several footprints copied 256 MiB to another 256 MiB."""


@dataclass(frozen=True)
class Timed:
    """A forward pass that was timed, with what its ceiling depends on.

    Attributes:
        macs: executed multiply-adds by class, see `bench.static.taps`.
        precisions: what each class computed in.
        moved: compulsory bytes.
        ms: of a call.
    """

    macs: Mapping[str, int]
    precisions: Mapping[str, str]
    moved: float
    ms: float

    @property
    def used(self) -> dict[str, str]:
        """The precisions of the classes that it has multiply-adds of."""
        return {kind: self.precisions[kind] for kind, macs in self.macs.items() if macs}


@dataclass(frozen=True)
class Ceilings:
    """The highest rates seen.

    Attributes:
        gflops: GFLOP/s by precision, two FLOPs a multiply-add.
        probed, reached: GB/s by footprint in bytes, of copies and of rows.
        spared: classes whose multiply-adds a kernel may spare, see `spared_on`.
    """

    gflops: Mapping[str, float]
    probed: Mapping[float, float]
    reached: Mapping[float, float]
    spared: frozenset[str]

    def compute_ms(self, case: Timed, leave: Iterable[str] = ()) -> float | None:
        """Milliseconds that the multiply-adds take at least, each at the rate of its class's precision, without the
        classes to leave out; null where one of these rates is not known."""
        parts = [(case.macs[kind], self.gflops.get(name)) for kind, name in case.used.items() if kind not in leave]
        if any(rate is None for _, rate in parts):
            return None
        return sum(2 * macs / rate / 1e6 for macs, rate in parts if rate)

    def gb_s(self, footprint: float) -> float | None:
        """GB/s at most for so many bytes: the best of the copies from the next smaller footprint on and of the rows
        from this one on, for what is smaller may lie in a faster cache. Null where no copy was measured."""
        if not self.probed:
            return None
        start = max((size for size in self.probed if size <= footprint), default=min(self.probed))
        copied = [rate for size, rate in self.probed.items() if size >= start]
        return max([*copied, *(rate for size, rate in self.reached.items() if size >= footprint)])


def ceilings(machine: Machine, cases: Iterable[Timed]) -> Ceilings:
    """The ceilings of a run.

    A row raises the rate of a precision if all of its multiply-adds have that precision and none can have been spared.
    Only rates that a probe has can be raised: a row alone does not say how near it comes.
    """
    spared = spared_on(machine)
    gflops: dict[str, float] = {}
    probed: dict[float, float] = {}
    for name, value in machine.facts.items():
        rate = number(value)
        product, copied = _RATE.fullmatch(name), _COPY.fullmatch(name)
        if rate and product:
            gflops[product[1]] = max(1e3 * rate, gflops.get(product[1], 0.0))
        elif rate and (copied or name == _OLD_COPY):
            probed[_MIB * (float(copied[1]) if copied else _OLD_COPY_MIB)] = rate
    reached: dict[float, float] = {}
    for case in cases:
        names = set(case.used.values())
        if len(names) == 1 and spared.isdisjoint(case.used) and names <= set(gflops):
            (name,) = names
            gflops[name] = max(gflops[name], 2 * sum(case.macs.values()) / case.ms / 1e6)
        reached[case.moved] = max(reached.get(case.moved, 0.0), case.moved / case.ms / 1e6)
    return Ceilings(gflops, probed, reached, spared)


def spared_on(machine: Machine) -> frozenset[str]:
    """Classes of which a kernel may spare multiply-adds, as Winograd's algorithm does in convolutions larger than 1x1.

    On x86 CPUs there are none: PyTorch asks oneDNN for the direct algorithm, or multiplies matrices itself.
    """
    x86 = str(machine.facts.get("system", "")).lower().endswith(("x86_64", "amd64"))
    return frozenset(() if machine.facts.get("device") == "cpu" and x86 else TAPPED)


def refused(machine: Machine) -> str:
    """What disturbed the probes of rates that a run lacks for it, or ""."""
    causes = [str(value) for name, value in machine.facts.items() if name.startswith(_REFUSED)]
    return ", ".join(dict.fromkeys(causes))


def precisions(row: Mapping[Any, Any], machine: Machine) -> dict[str, str]:
    """What each class of a row computed in: as the row says or, if it is older than that field, as the switches for
    TF32 stood in its environment."""
    told = row.get("class_precisions")
    if isinstance(told, dict):
        return dict(told)
    found = dict.fromkeys(("product", "pointwise", *TAPPED), str(row["dtype"]))
    if row["dtype"] == "fp32":
        found |= dict.fromkeys(("pointwise", *TAPPED), "tf32") if machine.facts.get("tf32_cudnn") else {}
        found |= {"product": "tf32"} if machine.facts.get("tf32_matmul") else {}
    return found
