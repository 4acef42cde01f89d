"""One card through a fake NVML: whole, partly supported, failing in mid-run, and not there at all."""

from __future__ import annotations

import importlib
import os
from types import SimpleNamespace

import pynvml
import pytest
import torch

from bench.measure.nvml import Card, CardReading, Nvml, current_card, open_nvml

CARD = Card("ffc79498-8ff3-c2dc-3b0d-fafd804516ae", "00000000:41:00.0")
QUANTITIES = ("sm_clock_mhz", "memory_clock_mhz", "temperature_c", "power_w", "throttle", "foreign_processes")
EVENTS, THROTTLE = "nvmlDeviceGetCurrentClocksEventReasons", "nvmlDeviceGetCurrentClocksThrottleReasons"
PROCESSES = "nvmlDeviceGetComputeRunningProcesses"
FUNCTIONS = {
    "nvmlDeviceGetClockInfo": ("sm_clock_mhz", "memory_clock_mhz"),
    "nvmlDeviceGetTemperature": ("temperature_c",),
    "nvmlDeviceGetPowerUsage": ("power_w",),
    EVENTS: ("throttle",),
    PROCESSES: ("foreign_processes",),
}


class FakeNvml:
    """The functions of `pynvml`; what stands in `failing` raises, what stands in `lacking` is not there."""

    def __init__(self) -> None:
        self.failing: dict[str, Exception] = {}
        self.lacking: set[str] = set()
        self.asked: list[tuple[str, tuple[object, ...]]] = []
        self.answers: dict[str, object] = {
            "nvmlInit": None,
            "nvmlDeviceGetHandleByUUID": "by uuid",
            "nvmlDeviceGetHandleByPciBusId": "by bus",
            "nvmlDeviceGetTemperature": 61,
            "nvmlDeviceGetPowerUsage": 312_500,
            EVENTS: 0x1 | 0x2 | 0x100 | 0x400,
            THROTTLE: 0x8,
            PROCESSES: [SimpleNamespace(pid=os.getpid())],
            "nvmlDeviceGetTotalEnergyConsumption": 8_000_123,
        }

    def __getattr__(self, function: str) -> object:
        if function in self.lacking:
            raise AttributeError(f"module 'pynvml' has no attribute '{function}'")

        def call(*arguments: object) -> object:
            self.asked.append((function, arguments))
            if function in self.failing:
                raise self.failing[function]
            if function == "nvmlDeviceGetMigMode" and function not in self.answers:
                raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED)
            if function == "nvmlDeviceGetClockInfo":
                return {pynvml.NVML_CLOCK_SM: 1410, pynvml.NVML_CLOCK_MEM: 2619}[arguments[1]]
            return self.answers[function]

        return call


def error(name: str) -> Exception:
    return pynvml.NVMLError(getattr(pynvml, f"NVML_ERROR_{name}"))


@pytest.fixture
def fake() -> FakeNvml:
    return FakeNvml()


def test_a_whole_card_tells_everything_in_its_units(fake: FakeNvml) -> None:
    nvml = Nvml(fake, CARD)
    assert nvml.read() == CardReading(1410.0, 2619.0, 61.0, 312.5, (), 0, {})
    assert nvml.energy_mj() == (8_000_123.0, None)


def test_the_card_is_found_by_what_pytorch_calls_it_and_not_by_a_number(fake: FakeNvml) -> None:
    Nvml(fake, CARD).read()
    found = [call for call in fake.asked if "Handle" in call[0]]
    assert found == [("nvmlDeviceGetHandleByUUID", (f"GPU-{CARD.uuid}",))]
    assert ("nvmlDeviceGetPowerUsage", ("by uuid",)) in fake.asked


def test_where_the_uuid_is_unknown_the_card_is_found_by_its_bus(fake: FakeNvml) -> None:
    fake.failing["nvmlDeviceGetHandleByUUID"] = error("NOT_FOUND")
    assert Nvml(fake, CARD).read().power_w == 312.5
    assert ("nvmlDeviceGetPowerUsage", ("by bus",)) in fake.asked
    assert ("nvmlDeviceGetHandleByPciBusId", (CARD.pci_bus_id,)) in fake.asked


@pytest.mark.parametrize(
    ("bits", "words"),
    [
        (0x0, ()),
        (0x1 | 0x2 | 0x100, ()),
        (0x4, ("power cap",)),
        (0x8 | 0x40, ("hardware slowdown", "hardware thermal slowdown")),
        (0x10 | 0x1, ("sync boost",)),
        (0x20, ("software thermal slowdown",)),
        (0x80, ("power brake",)),
        (1 << 40, ()),
    ],
)
def test_reasons_that_disturb_are_told_and_settings_are_not(fake: FakeNvml, bits: int, words: tuple[str, ...]) -> None:
    fake.answers[EVENTS] = bits
    assert Nvml(fake, CARD).read().throttle == words


@pytest.mark.parametrize("where", ["module", "driver"])
def test_reasons_are_read_by_their_older_name_where_the_newer_is_unknown(fake: FakeNvml, where: str) -> None:
    if where == "module":
        fake.lacking.add(EVENTS)
    else:
        fake.failing[EVENTS] = error("FUNCTION_NOT_FOUND")
    reading = Nvml(fake, CARD).read()
    assert (reading.throttle, reading.missing) == (("hardware slowdown",), {})


@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize(
    "failure",
    [*map(error, ("NOT_SUPPORTED", "GPU_IS_LOST", "UNKNOWN", "TIMEOUT")), OSError("mismatch"), AttributeError("gone")],
    ids=lambda failure: str(failure),
)
def test_one_quantity_fails_alone(fake: FakeNvml, function: str, failure: Exception) -> None:
    fake.failing[function] = failure
    if function == EVENTS:
        fake.failing[THROTTLE] = failure
    reading = Nvml(fake, CARD).read()
    lost = FUNCTIONS[function]
    assert reading.missing == dict.fromkeys(lost, str(failure))
    assert [name for name in QUANTITIES if getattr(reading, name) is None] == list(lost)


def test_a_card_without_an_energy_counter_says_so(fake: FakeNvml) -> None:
    fake.failing["nvmlDeviceGetTotalEnergyConsumption"] = error("NOT_SUPPORTED")
    assert Nvml(fake, CARD).energy_mj() == (None, "Not Supported")


def test_what_is_not_supported_is_asked_for_once_and_told_each_time(fake: FakeNvml) -> None:
    fake.failing["nvmlDeviceGetPowerUsage"] = error("NOT_SUPPORTED")
    nvml = Nvml(fake, CARD)
    readings = [nvml.read() for _ in range(3)]
    assert [reading.missing for reading in readings] == [{"power_w": "Not Supported"}] * 3
    assert [name for name, _ in fake.asked].count("nvmlDeviceGetPowerUsage") == 1


def test_a_passing_failure_is_asked_again(fake: FakeNvml) -> None:
    nvml = Nvml(fake, CARD)
    fake.failing["nvmlDeviceGetPowerUsage"] = error("TIMEOUT")
    assert nvml.read().missing == {"power_w": "Timeout"}
    fake.failing.clear()
    assert nvml.read() == CardReading(1410.0, 2619.0, 61.0, 312.5, (), 0, {})


def test_a_card_lost_in_mid_run_leaves_nulls(fake: FakeNvml) -> None:
    nvml = Nvml(fake, CARD)
    assert nvml.read().missing == {}
    fake.failing = dict.fromkeys([*FUNCTIONS, "nvmlDeviceGetTotalEnergyConsumption"], error("GPU_IS_LOST"))
    assert nvml.read() == CardReading(missing=dict.fromkeys(QUANTITIES, "GPU is lost"))
    assert nvml.energy_mj() == (None, "GPU is lost")


@pytest.mark.parametrize("failure", [error("LIBRARY_NOT_FOUND"), error("DRIVER_NOT_LOADED"), OSError("no such file")])
def test_no_library_or_driver_is_every_quantity_missing(fake: FakeNvml, failure: Exception) -> None:
    fake.failing["nvmlInit"] = failure
    nvml = Nvml(fake, CARD)
    assert nvml.read() == CardReading(missing=dict.fromkeys(QUANTITIES, str(failure)))
    assert nvml.energy_mj() == (None, str(failure))
    assert fake.asked == [("nvmlInit", ())]


def test_no_module_is_every_quantity_missing() -> None:
    reading = Nvml(None, CARD).read()
    assert set(reading.missing) == set(QUANTITIES)
    assert set(reading.missing.values()) == {"the Python module pynvml is not installed"}


def test_a_card_that_cannot_be_found_is_every_quantity_missing(fake: FakeNvml) -> None:
    assert set(Nvml(fake, Card(None, None)).read().missing.values()) == {"PyTorch does not tell which card it is"}
    fake.failing["nvmlDeviceGetHandleByUUID"] = error("NOT_FOUND")
    assert set(Nvml(fake, Card("1-2", None)).read().missing.values()) == {"card MIG-1-2: Not Found"}


def test_processes_beside_ours_are_foreign(fake: FakeNvml) -> None:
    pids = [os.getpid(), os.getppid(), 7, 7, 9]
    fake.answers[PROCESSES] = [SimpleNamespace(pid=pid) for pid in pids]
    assert Nvml(fake, CARD).read().foreign_processes == 2
    assert Nvml(fake, CARD, ours={os.getpid(), os.getppid(), 7, 9}).read().foreign_processes == 0


@pytest.mark.parametrize("pids", [[], [31337]])
def test_a_list_without_this_process_tells_nothing_of_others(fake: FakeNvml, pids: list[int]) -> None:
    fake.answers[PROCESSES] = [SimpleNamespace(pid=pid) for pid in pids]
    reading = Nvml(fake, CARD).read()
    assert reading.foreign_processes is None
    assert "lacks this one" in reading.missing["foreign_processes"]


def test_of_a_split_card_nothing_is_told_that_its_parts_share(fake: FakeNvml) -> None:
    fake.answers["nvmlDeviceGetMigMode"] = [1, 1]
    nvml = Nvml(fake, CARD)
    assert set(nvml.read().missing) == {"power_w", "foreign_processes"}
    assert nvml.energy_mj()[0] is None
    fake.answers["nvmlDeviceGetMigMode"] = [0, 0]
    assert Nvml(fake, CARD).read().missing == {}


@pytest.mark.parametrize(
    ("facts", "card"),
    [
        (
            {"uuid": CARD.uuid, "pci_domain_id": 0, "pci_bus_id": 0x41, "pci_device_id": 0},
            CARD,
        ),
        ({"uuid": CARD.uuid}, Card(CARD.uuid, None)),
        ({}, Card(None, None)),
    ],
)
def test_the_card_is_that_of_the_current_device(
    monkeypatch: pytest.MonkeyPatch, facts: dict[str, object], card: Card
) -> None:
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 3)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda number: {3: SimpleNamespace(**facts)}[number])
    assert current_card() == card


def test_a_machine_without_the_module_is_watched_without_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> object:
        raise ImportError(name)

    monkeypatch.setattr("bench.measure.nvml.current_card", lambda: CARD)
    monkeypatch.setattr(importlib, "import_module", absent)
    assert open_nvml().energy_mj() == (None, "the Python module pynvml is not installed")
