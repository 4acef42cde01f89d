"""Devices: the run folders of one sweep on several kinds of device, as `devices.json` lists them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from bench.report import roofline
from bench.report.frame import build
from bench.report.groups import Part, parts
from bench.report.machine import Machine, plain_name, read_machine
from bench.row import DEVICES, ROWS, RunError, read_rows

SCHEMA = 1


@dataclass(frozen=True)
class Device:
    """One kind of device and the rows that were measured on it.

    Attributes:
        folder: name of its run folder.
        name: of the card or the processor.
        title: its name as short as it tells it from the others.
        nodes: host names of the machines that measured.
        counted: rows when `devices.json` was written.
        missing: cases without a row then.
        note: why they are missing, or what else is to be known; empty where nothing is.
        machine: what its `environment.json` says.
        frame: its rows, see `frame.build`.
    """

    folder: str
    name: str
    title: str
    nodes: tuple[str, ...]
    counted: int
    missing: int
    note: str
    machine: Machine
    frame: pd.DataFrame

    @property
    def parts(self) -> list[Part]:
        """The rows by environment and method; a healthy device has one part."""
        return parts(self.frame)

    def words(self) -> str:
        """`NVIDIA H200: 34 rows, from nodes a, b; 2 cases are missing (node b was lost)`."""
        rows = len(self.frame)
        nodes = f", from node{'s' if len(self.nodes) > 1 else ''} {', '.join(self.nodes)}" if self.nodes else ""
        told = [f"{self.name}: {rows} {'row' if rows == 1 else 'rows'}{nodes}"]
        if self.missing:
            told.append(f"{self.missing} {'case is' if self.missing == 1 else 'cases are'} missing")
        else:
            told.append("no case is missing")
        if rows != self.counted:
            told.append(f"{DEVICES} was written at {self.counted} rows")
        return "; ".join(told) + (f" ({self.note})" if self.note else "")


def load_devices(folder: Path) -> pd.DataFrame:
    """The rows of all devices in one frame, device by device, each with its `device_name`; see `frame.build`.

    What is derived from a row holds within its device: ratios and noise floors are those of its own group, the roofline
    is that of its own machine. `rank` alone counts over the whole frame.

    Raises:
        RunError: `devices.json`, rows or an environment cannot be read.
    """
    listed = _listed(folder)
    return _frame(folder, listed, [_rows(folder, device) for device in listed])


def read_devices(folder: Path) -> list[Device]:
    """Every device of the folder, in the order of `devices.json`, with its slice of `load_devices`. Raises as that."""
    listed = _listed(folder)
    rows = [_rows(folder, device) for device in listed]
    frame = _frame(folder, listed, rows)
    found, start = [], 0
    for device, title, own in zip(listed, _titles(listed), rows, strict=True):
        found.append(
            Device(
                folder=device["folder"],
                name=plain_name(device["device"]),
                title=title,
                nodes=tuple(device["nodes"]),
                counted=device["rows"],
                missing=device["missing"],
                note=device.get("note") or "",
                machine=read_machine(folder / device["folder"]),
                frame=frame.iloc[start : start + len(own)],
            )
        )
        start += len(own)
    return found


def _frame(folder: Path, listed: Sequence[Mapping[str, Any]], rows: Sequence[list[dict[str, Any]]]) -> pd.DataFrame:
    frame = build([row for own in rows for row in own])
    shares, start = [], 0
    for device, own in zip(listed, rows, strict=True):
        machine = read_machine(folder / device["folder"])
        shares.append(roofline.columns(frame.iloc[start : start + len(own)], machine))
        start += len(own)
    return frame.assign(**pd.concat(shares)) if shares else frame


def _rows(folder: Path, device: Mapping[str, Any]) -> list[dict[str, Any]]:
    path = folder / device["folder"] / ROWS
    if not device["rows"] and not path.exists():
        return []
    return [{**row, "device_name": row["device_name"] or device["device"]} for row in read_rows(path)]


def _titles(listed: Sequence[Mapping[str, Any]]) -> list[str]:
    """Names without the maker that all share; those of two folders with one name are told apart by the folder."""
    names = [plain_name(device["device"]) for device in listed]
    makers = {name.partition(" ")[0] for name in names}
    if len(names) > 1 and len(makers) == 1 and all(" " in name for name in names):
        names = [name.partition(" ")[2] for name in names]
    return [
        f"{name} ({device['folder']})" if names.count(name) > 1 else name
        for name, device in zip(names, listed, strict=True)
    ]


def _listed(folder: Path) -> list[dict[str, Any]]:
    path = folder / DEVICES
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise RunError(f"cannot read '{path}': {error.strerror}") from None
    except ValueError as error:
        raise RunError(f"'{path}' is not JSON: {error}") from None
    if not isinstance(content, dict) or content.get("schema") != SCHEMA or not isinstance(content.get("devices"), list):
        raise RunError(f"'{path}' is not a list of devices of schema {SCHEMA}")
    if (folder / ROWS).exists():
        raise RunError(f"'{folder}' holds both {DEVICES} and {ROWS}; rows of a device belong in a folder of its own")
    devices: list[dict[str, Any]] = content["devices"]
    for place, device in enumerate(devices, start=1):
        fault = _fault(device)
        if fault:
            raise RunError(f"'{path}', device {place}: {fault}")
    folders = [device["folder"] for device in devices]
    if len(set(folders)) < len(folders):
        raise RunError(f"'{path}' lists folder '{next(name for name in folders if folders.count(name) > 1)}' twice")
    return devices


def _fault(device: object) -> str:
    """What is wrong with an entry, or ""."""
    if not isinstance(device, dict):
        return "not an object"
    for name in ("folder", "device"):
        if not isinstance(device.get(name), str) or not device[name]:
            return f"{name} must be text, not {device.get(name)!r}"
    if device["folder"] in (".", "..") or Path(device["folder"]).name != device["folder"]:
        return f"folder must be a name within this folder, not '{device['folder']}'"
    nodes = device.get("nodes")
    if not isinstance(nodes, list) or not all(isinstance(node, str) for node in nodes):
        return f"nodes must be a list of host names, not {nodes!r}"
    for name in ("rows", "missing"):
        if isinstance(device.get(name), bool) or not isinstance(device.get(name), int) or device[name] < 0:
            return f"{name} must be a count, not {device.get(name)!r}"
    if not isinstance(device.get("note"), (str, type(None))):
        return f"note must be text or null, not {device['note']!r}"
    return ""
