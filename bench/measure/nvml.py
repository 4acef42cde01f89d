"""NVML: what the card of the current CUDA device says of itself. Every quantity may be missing; nothing here raises."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

# The bits are part of NVML's interface; older versions of its Python module lack some of the names.
DISTURBING = {
    0x4: "power cap",
    0x8: "hardware slowdown",
    0x10: "sync boost",
    0x20: "software thermal slowdown",
    0x40: "hardware thermal slowdown",
    0x80: "power brake",
    0x200: "board limit",
}
HEAT = frozenset(DISTURBING[bit] for bit in (0x4, 0x8, 0x20, 0x40))
"""Those that the work on the card brings about and that end when it rests."""
_SM, _MEMORY, _GPU_SENSOR, _MIG_ON = 1, 2, 0, 1
_NOT_FOUND = 13
# Uninitialized, not supported, no permission, function not found, card lost, reset required.
_FINAL = {1, 3, 4, _NOT_FOUND, 15, 16}
_SHARED_BY_MIG = ("power_w", "energy_mj", "foreign_processes")
_NO_MODULE = "the Python module pynvml is not installed"


@dataclass(frozen=True)
class Card:
    """By what NVML finds the card that PyTorch computes on; its own numbering differs from PyTorch's.

    Attributes:
        uuid: without the prefix that NVML puts before it; null where PyTorch does not tell.
        pci_bus_id: domain:bus:device.function; null where PyTorch does not tell.
    """

    uuid: str | None
    pci_bus_id: str | None

    @property
    def names(self) -> list[tuple[str, str]]:
        """NVML functions that find the card, each with what it is given, best first."""
        names = []
        if self.uuid is not None:
            names += [("nvmlDeviceGetHandleByUUID", f"{kind}-{self.uuid}") for kind in ("GPU", "MIG")]
        if self.pci_bus_id is not None:
            names.append(("nvmlDeviceGetHandleByPciBusId", self.pci_bus_id))
        return names


@dataclass(frozen=True)
class CardReading:
    """The state of a card at one moment; what could not be read is null and named in `missing`.

    Attributes:
        sm_clock_mhz, memory_clock_mhz: MHz.
        temperature_c: degrees Celsius.
        power_w: W; on newer cards the driver's mean over the last second.
        throttle: what holds the clocks down, in words; idle and clocks set by a person are not in it.
        foreign_processes: compute processes on the card that are not ours.
        missing: quantity to reason.
    """

    sm_clock_mhz: float | None = None
    memory_clock_mhz: float | None = None
    temperature_c: float | None = None
    power_w: float | None = None
    throttle: tuple[str, ...] | None = None
    foreign_processes: int | None = None
    missing: Mapping[str, str] = field(default_factory=dict)


class Nvml:
    """One card, asked through NVML.

    A quantity that the card, the driver or the rights here do not give is asked for once; after any other failure it is
    asked for again. Either way the reading that lacks it says why.

    Args:
        module: `pynvml`, or something with its functions; null where there is none.
        card: which one.
        ours: processes that are not foreign. By default this one and its parent, whose context is idle while this one
            measures; who starts more of them adds them to the set.
    """

    def __init__(self, module: Any, card: Card, ours: Collection[int] | None = None) -> None:
        self._module = module
        self._ours = {os.getpid(), os.getppid()} if ours is None else ours
        self._gone: dict[str, str] = {}
        self._handle: Any = None
        self._absent = _NO_MODULE if module is None else self._open(card)

    def read(self) -> CardReading:
        """The card's state now."""
        missing: dict[str, str] = {}
        values = {name: self._ask(name, ask, missing) for name, ask in self._questions().items()}
        return CardReading(**values, missing=missing)

    def energy_mj(self) -> tuple[float | None, str | None]:
        """The card's energy since its driver was loaded, mJ; or null, and why."""
        missing: dict[str, str] = {}
        energy = self._ask("energy_mj", lambda: float(self._call("nvmlDeviceGetTotalEnergyConsumption")), missing)
        return energy, missing.get("energy_mj")

    def _questions(self) -> dict[str, Callable[[], Any]]:
        return {
            "sm_clock_mhz": lambda: float(self._call("nvmlDeviceGetClockInfo", _SM)),
            "memory_clock_mhz": lambda: float(self._call("nvmlDeviceGetClockInfo", _MEMORY)),
            "temperature_c": lambda: float(self._call("nvmlDeviceGetTemperature", _GPU_SENSOR)),
            "power_w": lambda: self._call("nvmlDeviceGetPowerUsage") / 1000,
            "throttle": self._throttle,
            "foreign_processes": self._foreign_processes,
        }

    def _open(self, card: Card) -> str | None:
        """Find the card; why that failed, if it did."""
        reason = "PyTorch does not tell which card it is"
        try:
            self._module.nvmlInit()
        except Exception as error:  # no library, no driver, or versions that do not match: no card to ask
            return _words(error)
        for function, name in card.names:
            try:
                self._handle = getattr(self._module, function)(name)
            except Exception as error:  # the next name may be the right one
                reason = f"card {name}: {_words(error)}"
                continue
            if self._is_split(name):
                self._gone = dict.fromkeys(_SHARED_BY_MIG, "the card is split (MIG): its figure is that of all parts")
            return None
        return reason

    def _is_split(self, name: str) -> bool:
        """Whether what was found is a whole card of which PyTorch has only a part."""
        try:
            return not name.startswith("MIG-") and self._call("nvmlDeviceGetMigMode")[0] == _MIG_ON
        except Exception:  # a card that cannot be split, or a driver that does not know of it
            return False

    def _ask(self, name: str, question: Callable[[], Any], missing: dict[str, str]) -> Any:
        """The answer, or null with its reason in `missing`."""
        reason = self._absent or self._gone.get(name)
        if reason is None:
            try:
                return question()
            except Exception as error:  # one quantity fails alone, and telemetry never ends a measurement
                reason = _words(error)
                if getattr(error, "value", None) in _FINAL or isinstance(error, AttributeError):
                    self._gone[name] = reason
        missing[name] = reason
        return None

    def _call(self, function: str, *arguments: int) -> Any:
        return getattr(self._module, function)(self._handle, *arguments)

    def _throttle(self) -> tuple[str, ...]:
        try:
            bits = self._call("nvmlDeviceGetCurrentClocksEventReasons")
        except Exception as error:
            if not isinstance(error, AttributeError) and getattr(error, "value", None) != _NOT_FOUND:
                raise
            bits = self._call("nvmlDeviceGetCurrentClocksThrottleReasons")  # its name in older modules and drivers
        return tuple(word for bit, word in DISTURBING.items() if bits & bit)

    def _foreign_processes(self) -> int:
        """Processes beside ours.

        Raises:
            LookupError: this process is not in the card's list, so that the others cannot be told from it.
        """
        pids = [process.pid for process in self._call("nvmlDeviceGetComputeRunningProcesses")]
        if os.getpid() not in pids:
            raise LookupError("the card's list of processes lacks this one, as in a container")
        return len(set(pids) - set(self._ours))


def current_card() -> Card:
    """The card of PyTorch's current CUDA device."""
    facts = torch.cuda.get_device_properties(torch.cuda.current_device())
    uuid = getattr(facts, "uuid", None)  # neither it nor the bus is known to every version of PyTorch
    bus = [getattr(facts, name, None) for name in ("pci_domain_id", "pci_bus_id", "pci_device_id")]
    return Card(None if uuid is None else str(uuid).removeprefix("GPU-"), None if None in bus else _bus_id(bus))


def open_nvml(ours: Collection[int] | None = None) -> Nvml:
    """NVML on the card of PyTorch's current CUDA device; see `Nvml` for `ours`."""
    try:
        module = importlib.import_module("pynvml")
    except ImportError:
        module = None
    return Nvml(module, current_card(), ours)


def _bus_id(numbers: Sequence[Any]) -> str:
    domain, bus, device = numbers
    return f"{domain:08X}:{bus:02X}:{device:02X}.0"


def _words(error: Exception) -> str:
    """An exception in one line."""
    text = " ".join(str(error).split())
    return text or type(error).__name__
