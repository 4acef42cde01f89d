"""Rows to frames to tables, plots and reports. Needs no torch."""

from bench.report.accuracy import show_accuracy, write_accuracy
from bench.report.attention import show_attention, write_attention
from bench.report.breakdown import show_profile, write_profile
from bench.report.carries import carried_by
from bench.report.claims import Section, show_claims, write_claims
from bench.report.comparison import show_comparison
from bench.report.folder import load, show_folder, write_folder
from bench.report.formats import FORMATS, render
from bench.report.frame import build
from bench.report.html import write_html
from bench.report.page import write
from bench.report.readme import rebuild, stale
from bench.report.recommendation import show_recommendation
from bench.report.selfcheck import show_selftest
from bench.report.terminal import show_estimate, show_list, show_run

__all__ = [
    "FORMATS",
    "Section",
    "build",
    "carried_by",
    "load",
    "rebuild",
    "render",
    "show_accuracy",
    "show_attention",
    "show_claims",
    "show_comparison",
    "show_estimate",
    "show_folder",
    "show_list",
    "show_profile",
    "show_recommendation",
    "show_run",
    "show_selftest",
    "stale",
    "write",
    "write_accuracy",
    "write_attention",
    "write_claims",
    "write_folder",
    "write_html",
    "write_profile",
]
