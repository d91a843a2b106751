"""The formats apilens reads, and how it tells which one an input has."""

from __future__ import annotations

# Before the registry, which loads other packages' formats: they import these from here.
from apilens.formats.format import Format, FoundLayout, Options

# isort: split
from apilens.formats.asked import check_options, doubts
from apilens.formats.detection import ADVICE, Detection, detect
from apilens.formats.registry import FORMATS, PROBLEMS

__all__ = [
    "ADVICE",
    "FORMATS",
    "PROBLEMS",
    "Detection",
    "Format",
    "FoundLayout",
    "Options",
    "check_options",
    "detect",
    "doubts",
]
