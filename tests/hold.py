"""A block that holds a sweep at a group until the test lets it go, so that a kill hits it there on any machine."""

from __future__ import annotations

from pathlib import Path

PLUGIN = """
import os, time
from torch import nn
from modules.registry import register


@register("waits", family="context")
class Waits(nn.Module):
    \"\"\"Waits for a file named after its map: width x channels.\"\"\"

    def __init__(self, channels):
        super().__init__()

    def forward(self, x):
        gate = os.path.join(os.path.dirname(__file__), f"{x.shape[-1]}x{x.shape[1]}")
        while x.device.type != "meta" and not os.path.exists(gate):
            time.sleep(0.01)
        return x * 2
"""


def write_plugin(folder: Path) -> Path:
    """Write the plugin that registers `waits`; it looks for its files in the same folder."""
    path = folder / "waits.py"
    path.write_text(PLUGIN)
    return path


def let_go(plugin: Path, width: int, channels: int) -> None:
    """Let the group of maps of this width and so many channels be measured."""
    (plugin.parent / f"{width}x{channels}").touch()
