"""Rows to frames to tables, plots and reports. Needs no torch."""

from bench.report.accuracy import is_training, show_accuracy, write_accuracy
from bench.report.claims import Section, show_claims, write_claims
from bench.report.comparison import show_comparison
from bench.report.formats import FORMATS, render
from bench.report.frame import build, load
from bench.report.page import write
from bench.report.readme import rebuild, stale
from bench.report.selfcheck import show_selftest
from bench.report.terminal import show_estimate, show_list, show_run

__all__ = [
    "FORMATS",
    "Section",
    "build",
    "is_training",
    "load",
    "rebuild",
    "render",
    "show_accuracy",
    "show_claims",
    "show_comparison",
    "show_estimate",
    "show_list",
    "show_run",
    "show_selftest",
    "stale",
    "write",
    "write_accuracy",
    "write_claims",
]
