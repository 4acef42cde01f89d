"""Scenes: generated pictures whose labels need context by construction, and of which kind is known."""

from bench.training.scenes.classes import LABELS
from bench.training.scenes.codes import FLIPS
from bench.training.scenes.dataset import Scenes
from bench.training.scenes.preview import preview

__all__ = ["FLIPS", "LABELS", "Scenes", "preview"]
