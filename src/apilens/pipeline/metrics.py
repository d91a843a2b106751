"""System metrics into the lake, beside the calls."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import tzinfo
from hashlib import sha256

import polars as pl

from apilens.config import Config, load_config
from apilens.errors import ApilensError, Exit, InputError
from apilens.ingest.sources import expand
from apilens.lake import open_lake
from apilens.metrics import Read, Rule, read_metrics
from apilens.pipeline.exports import whole
from apilens.schema import METRIC_SERIES

#: An export is read as a whole; above it the period is better cut.
_MAX_BYTES = 512 * 2**20


@dataclass(frozen=True)
class FileReport:
    """What became of one export: read = stored + rejected + empty + duplicate. problem: why it, or some of it, is missing."""

    name: str
    format: str | None = None
    stored: int = 0
    rejected: int = 0
    empty: int = 0
    duplicate: int = 0
    series: int = 0
    rejects: tuple[tuple[str, str], ...] = ()
    problem: str | None = None

    @property
    def read(self) -> int:
        """Samples in the export."""
        return self.stored + self.rejected + self.empty + self.duplicate


@dataclass(frozen=True)
class ImportedMetrics:
    """reports: one per export. max_reject_ratio: share of rejects from which the import counts as partial."""

    reports: list[FileReport]
    max_reject_ratio: float

    @property
    def exit_code(self) -> Exit:
        """INPUT when no export could be used, PARTIAL when one was missing or damaged or too much was rejected."""
        if self.reports and all(report.format is None for report in self.reports):
            return Exit.INPUT
        bad = any(
            report.problem is not None or report.rejected > self.max_reject_ratio * report.read
            for report in self.reports
        )
        return Exit.PARTIAL if bad else Exit.DONE


def rules_of(config: Config) -> tuple[Rule, ...]:
    """[[metrics]] of the configuration."""
    return tuple(Rule(**one.model_dump()) for one in config.metrics)


def import_metrics(
    paths: Sequence[str], *, lake: str, tz: tzinfo, name: str | None = None, config: str | None = None
) -> ImportedMetrics:
    """Read exports of metrics into the lake, making it when there is none; a sample that is there is not added again.

    name: of series that have none; None: that of their file. Problems of one export stand in its report.
    """
    settings = load_config(config)
    opened = open_lake(lake, create=True)
    rules = rules_of(settings)
    reports = []
    for item in expand(paths):
        if isinstance(item, ApilensError):
            reports.append(FileReport(str(item).partition(": ")[0], problem=str(item)))
            continue
        try:
            raw, damage = whole(item, most=_MAX_BYTES, advice="export a shorter period or a longer step")
            text = raw.decode("utf-8-sig", errors="replace")
            known = opened.scan("metrics").unique([*METRIC_SERIES]).collect()
            found = read_metrics(text, f"{name}." if name else item.name, tz=tz, rules=rules, known=known)
        except InputError as error:
            reports.append(FileReport(item.name, problem=str(error).replace(f"{name}.:", f"{item.name}:", 1)))
            continue
        samples = found.samples.with_columns(
            source_file=pl.lit(item.name, pl.String), import_id=pl.lit(sha256(raw).hexdigest(), pl.String)
        )
        twice = opened.add_metrics(samples, sha256(raw).hexdigest()) if samples.height else 0
        reports.append(_report(item.name, found, twice, damage))
    return ImportedMetrics(reports, settings.max_reject_ratio)


def _report(name: str, found: Read, duplicate: int, damage: str | None) -> FileReport:
    return FileReport(
        name,
        found.format,
        stored=found.samples.height - duplicate,
        rejected=len(found.rejects),
        empty=found.empty,
        duplicate=duplicate,
        series=found.samples.select(METRIC_SERIES).n_unique(),
        rejects=tuple(found.rejects[:5]),
        problem=damage,
    )
