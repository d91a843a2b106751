"""System metrics out of exports: CPU, memory, disk, network and database time, measured beside the calls.

A reader is one file with `recognises(text)` and `read(text, tz)`, and one line in READERS; what a series is (kind, unit, node) is
told by `naming`.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import tzinfo
from pathlib import PurePath
from types import ModuleType

import polars as pl

from apilens.errors import InputError
from apilens.metrics import prometheus, table
from apilens.metrics.naming import Rule, describe
from apilens.metrics.samples import Samples

__all__ = ["Read", "Rule", "read_metrics"]

READERS: dict[str, ModuleType] = {"prometheus": prometheus, "table": table}


@dataclass(frozen=True)
class Read:
    """What an export holds. samples: schema.METRICS without source_file and import_id; rejects: where, reason;
    empty: samples without a measurement (NaN, blank cells). read = samples + rejects + empty."""

    format: str
    samples: pl.DataFrame
    rejects: list[tuple[str, str]]
    empty: int

    @property
    def read(self) -> int:
        """Samples that the export has, whatever became of them."""
        return self.samples.height + len(self.rejects) + self.empty


def read_metrics(
    text: str, name: str, *, tz: tzinfo, rules: tuple[Rule, ...] = (), known: pl.DataFrame | None = None
) -> Read:
    """The samples of an export.

    name: of its file; series that have no name of their own (those of `rate(…)`) are called after it. tz: zone of times that
    name none. rules: what the user says about series. known: metric, node, environment, labels, unit, scale, counter, kind of
    series read before, which stay what they are. Raises InputError for what is no such export.
    """
    format_, reader = next(((key, one) for key, one in READERS.items() if one.recognises(text)), (None, None))
    if reader is None:
        raise InputError(
            f"{name}: is no export of metrics; expected the JSON of a Prometheus range query"
            " (/api/v1/query_range), or CSV with a time column and numbers"
        )
    found: Samples = reader.read(text, name, tz)
    stem = PurePath(name).name.partition(".")[0] if name != "-" else "metric"
    return Read(str(format_), describe(found.frame(stem), rules, known), found.rejects, found.empty)
