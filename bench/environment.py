"""Environment: the machine and the versions, and the hash that says which rows may stand side by side."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import os
import platform
import subprocess
import sys
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path

import torch

from bench.measure.precision import tf32_in_convolutions, tf32_in_products
from modules.options import SpecError, nearest

DEVICE_KINDS = ("cpu", "cuda")
_PACKAGES = ("torch", "fvcore", "numpy")
_TUNING = (
    *("ATEN_CPU_CAPABILITY", "DNNL_MAX_CPU_ISA", "ONEDNN_MAX_CPU_ISA", "MKL_CBWR", "MKL_ENABLE_INSTRUCTIONS"),
    *("KMP_AFFINITY", "KMP_BLOCKTIME", "OMP_PLACES", "OMP_PROC_BIND", "OMP_WAIT_POLICY", "LD_PRELOAD"),
    *("PYTORCH_ALLOC_CONF", "PYTORCH_CUDA_ALLOC_CONF", "PYTORCH_NO_CUDA_MEMORY_CACHING", "CUDA_LAUNCH_BLOCKING"),
    *("CUBLAS_WORKSPACE_CONFIG", "NVIDIA_TF32_OVERRIDE", "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE"),
)
"""Variables by which a user makes the same code faster or slower."""
_CGROUPS = (  # limit, use, and within it the cache of files that nobody has read lately, which makes room when needed
    ("memory.max", "memory.current", "memory.stat", "inactive_file"),
    ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes", "memory/memory.stat", "total_inactive_file"),
)


def pick_device(wanted: str) -> str:
    """`cpu` or `cuda`; `auto` is CUDA where there is one.

    Raises:
        SpecError: the device is unknown, or not on this machine.
    """
    allowed = ("auto", *DEVICE_KINDS)
    if wanted not in allowed:
        raise SpecError(f"unknown device '{wanted}'{nearest(wanted, allowed)}")
    if wanted == "cuda" and not torch.cuda.is_available():
        raise SpecError("device 'cuda' was asked for, but PyTorch sees no CUDA device here; allowed: auto, cpu")
    if wanted == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    return wanted


def describe_environment(device: str) -> dict[str, object]:
    """What decides how fast things run here: processor or card, threads, versions. Flat, JSON-ready."""
    facts: dict[str, object] = {
        "device": device,
        "cpu": _cpu_model(),
        "cpu_count": os.cpu_count(),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "threads": torch.get_num_threads(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        **{name: os.environ[name] for name in _TUNING if os.environ.get(name)},
        **{name: metadata.version(name) for name in _PACKAGES},
    }
    if device == "cuda":
        card = torch.cuda.get_device_properties(0)
        facts |= {
            "gpu": card.name,
            "gpu_memory_bytes": card.total_memory,
            "gpu_capability": f"{card.major}.{card.minor}",
            "driver": _driver_version(),
            "cuda": torch.version.cuda,
            "cudnn": torch.backends.cudnn.version(),  # type: ignore[no-untyped-call]
            "cudnn_benchmark": torch.backends.cudnn.benchmark,
            "tf32_matmul": tf32_in_products(),
            "tf32_cudnn": tf32_in_convolutions(),
        }
    return facts


def cards(device: str) -> tuple[str, ...]:
    """Models of the CUDA devices that are visible; none for another device."""
    count = torch.cuda.device_count() if device == "cuda" else 0
    return tuple(torch.cuda.get_device_name(number) for number in range(count))


def device_name(facts: Mapping[str, object]) -> str:
    """The model of the card, or of the processor, in the facts of an environment."""
    return str(facts.get("gpu") or facts["cpu"])


def environment_hash(facts: dict[str, object]) -> str:
    """Short hash of all facts: rows are comparable when it is equal."""
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:12]


@functools.lru_cache(maxsize=1)
def git_revision() -> str | None:
    """Commit of the tree that this code runs from, with `+` if it has changes; null outside of a checkout."""
    root = Path(__file__).resolve().parent.parent
    if not (root / ".git").exists():
        return None

    def ask(*arguments: str) -> str:
        return subprocess.run(["git", "-C", root, *arguments], capture_output=True, text=True, check=True).stdout

    try:
        changed = ask("status", "--porcelain", "--untracked-files=no", "--", "bench", "modules", "run_bench.py")
        return ask("rev-parse", "--short=12", "HEAD").strip() + ("+" if changed.strip() else "")
    except (OSError, subprocess.CalledProcessError):
        return None


def available_bytes(device: str, proc: Path = Path("/proc"), cgroup: Path = Path("/sys/fs/cgroup")) -> int:
    """Memory that a case may still take on the device: of a container, what its limit leaves."""
    if device == "cuda":
        free, _ = torch.cuda.mem_get_info()
        return int(free) + torch.cuda.memory_reserved() - torch.cuda.memory_allocated()
    kib = _named(proc / "meminfo", "MemAvailable:")
    free = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if kib is None else kib * 1024
    for limit, used, stat, cache in _CGROUPS:
        with contextlib.suppress(OSError, ValueError):  # no such limit here, or none set ("max")
            most = int((cgroup / limit).read_text())
            free = min(free, most - int((cgroup / used).read_text()) + (_named(cgroup / stat, cache) or 0))
    return max(free, 0)


def _named(file: Path, name: str) -> int | None:
    """The number behind a name at the beginning of a line; null where the file or the line is not there."""
    with contextlib.suppress(OSError):
        for line in file.read_text().splitlines():
            first, _, rest = line.partition(" ")
            if first == name:
                return int(rest.split()[0])
    return None


def _cpu_model() -> str:
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or sys.platform


def _driver_version() -> str | None:
    import pynvml

    try:
        pynvml.nvmlInit()
        version = pynvml.nvmlSystemGetDriverVersion()
        pynvml.nvmlShutdown()
    except pynvml.NVMLError:
        return None
    return version if isinstance(version, str) else version.decode()
