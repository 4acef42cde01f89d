"""Weights from files: state dicts of the authors' repositories, or our own, loaded into our modules."""

from modules.checkpoints.file import OWN_NAMES, load_checkpoint, read_state
from modules.checkpoints.official import SOURCES, from_official

__all__ = ["OWN_NAMES", "SOURCES", "from_official", "load_checkpoint", "read_state"]
