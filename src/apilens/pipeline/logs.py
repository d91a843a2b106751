"""From log files to the lake."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path

import polars as pl

from apilens import cluster
from apilens.config import load_config
from apilens.errors import ApilensError, Exit, InputError, LakeError, UsageError
from apilens.formats import Detection, Options, detect
from apilens.formats.block import Parsed, Reader, parse
from apilens.formats.fields import rebuild
from apilens.ingest.enrich import Declared, enrich
from apilens.ingest.pieces import Cut, Origin, cut
from apilens.ingest.run import IngestRun, InputReport, Request
from apilens.ingest.sources import LastRun, expand, open_input
from apilens.ingest.unit import Counts
from apilens.ingest.workers import threads
from apilens.lake import Lake, open_lake
from apilens.objects import is_url
from apilens.progress import Progress, unseen
from apilens.routes import OpenApi, RouteMerges, learn
from apilens.schema import CALLS


@dataclass(frozen=True)
class IngestResult:
    """What one ingest did: `reports` input by input, `totals` in all; unchanged: inputs that the lookback left out."""

    reports: list[InputReport]
    totals: Counts
    seconds: float
    exit_code: Exit
    unchanged: int = 0


def ingest(
    lake: str,
    request: Request,
    config: str | None,
    *,
    now: datetime | None = None,
    progress: Progress = unseen,
    scheduler: str | None = None,
) -> IngestResult:
    """Read inputs into the lake, making it when there is none.

    config: path of an apilens.toml; None: found as in load_config, or in a folder that is ingested. scheduler: address as
    in cluster.scheduler; None: threads of this process.
    Raises UsageError, ConfigError, LakeError, and LockedError while another run reads the same; problems of one input stand in its report.
    """
    if request.replace and request.lookback is not None:
        raise UsageError("--replace parses what is known once more, which --lookback leaves out; give one of them")
    began = time.monotonic()
    settings = load_config(config or _config_inside(request.paths))
    opened = open_lake(lake, create=True)
    hire = threads if scheduler is None else cluster.scheduler(scheduler)
    job, began_at = _same_job(request), datetime.now(UTC)
    last = None if request.lookback is None else _last_complete(opened, job, request.lookback, final=request.final)
    run = IngestRun(opened, request, settings, now=now or began_at, progress=progress, hire=hire, last=last)
    # Others may ingest something else meanwhile; the same files again would only wait for this one.
    with nullcontext() if "-" in request.paths else opened.lock(f"ingest-{job}", wait=False):
        run.run()
        if all(report.no_calls or (report.usable and report.problem is None) for report in run.reports):
            read = {"began": began_at.isoformat(), "final": request.final, "files": run.looks}
            opened.save_text(f"ingest-{job}.json", json.dumps(read, separators=(",", ":")) + "\n")
    if run.totals.stored:
        learn_routes(run.lake)
    return IngestResult(run.reports, run.totals, time.monotonic() - began, run.exit_code(), run.unchanged)


def _last_complete(lake: Lake, job: str, lookback: timedelta, *, final: bool) -> LastRun | None:
    """The last run over the same paths that read all of them to the end, less the lookback; None: none did yet.

    A run that was killed, or could not read an input, does not count: the next one makes up for it, however late. final: what
    left last lines waiting does not count either.
    """
    text = lake.read_text(f"ingest-{job}.json")
    try:
        if text is None:
            return None
        kept = json.loads(text)
        if final and not kept.get("final"):
            return None
        since = datetime.fromisoformat(kept["began"]) - lookback
        return LastRun(since, frozenset((inode, size, changed) for inode, size, changed in kept["files"]))
    except (ValueError, KeyError, TypeError):
        return None  # damaged: then all is read once more


def _same_job(request: Request) -> str:
    """What two runs over the same inputs have in common, as a name for a lock."""
    where = sorted({path if is_url(path) else str(Path(path).absolute()) for path in request.paths})
    return sha256(repr((where, request.source, request.environment)).encode()).hexdigest()[:16]


def learn_routes(lake: Lake) -> None:
    """Learn which names in the routes seen so far are variables; merges learned before stay as they are."""
    with lake.lock("routes"):
        text = lake.read_text("routes.json")
        known = RouteMerges() if text is None else RouteMerges.from_json(text)
        seen = lake.scan_sums().group_by("service", "route").agg(pl.col("calls").sum()).collect()
        found = learn(seen.drop_nulls("route"), known)
        if found != known:
            lake.save_text("routes.json", found.to_json())


def keep_openapi(lake: str, files: Sequence[str]) -> None:
    """Keep the operations of OpenAPI documents with the lake, in place of those given before.

    Raises ConfigError when one cannot be read; nothing is changed then.
    """
    from apilens.lens import load_openapi  # all that measures comes with it, which ingest does without

    opened = open_lake(lake)
    found = load_openapi(files)
    with opened.lock("routes"):
        text = opened.read_text("openapi.json")
        try:
            known = OpenApi() if text is None else OpenApi.from_json(text)
        except LakeError:
            known = OpenApi()  # damaged: what is given now replaces it
        if found.operations != known.operations:
            opened.save_text("openapi.json", replace(found, version=known.version + 1).to_json())


def _config_inside(paths: Sequence[str]) -> str | None:
    """The apilens.toml of the only folder named, when the working folder has none."""
    if len(paths) != 1 or Path("apilens.toml").is_file():
        return None
    inside = os.path.join(paths[0], "apilens.toml")  # noqa: PTH118 - Path.is_file raises where the folder may not be looked into
    return inside if os.path.isfile(inside) else None  # noqa: PTH113


def preview(file: str, options: Options, say: Callable[[str], None]) -> Iterator[Parsed]:
    """The calls of one input as canonical rows (schema.CALLS, in the input's order), a block at a time; stores nothing.

    `row` of calls counts in their block, `row` of rejects in the input. say: is told what the layout leaves open.
    Raises InputError when the input cannot be read, FormatError when no format fits.
    """
    item = next(expand([file]))
    if isinstance(item, ApilensError):
        raise item
    stream, reader = open_input(item), None
    for piece in cut(stream, Origin(), lambda head: [], Cut(), final=True):
        if reader is None and piece.block.has_records:
            found = detect(piece.block.head, options, item.name)
            reader = found.reader
            for doubt in found.doubts:
                say(f"{item.name}: {doubt}")
        part = enrich(parse(piece.block, reader or Reader()), piece.block, Declared(item.name))
        rejects = part.rejects.with_columns(pl.col("row").cast(pl.Int64) + piece.block.line - 1)
        yield replace(part, calls=canonical(part.calls), rejects=rejects)
        reader = reader and reader.after(piece.block)


def recognise_format(file: str, options: Options) -> Detection:
    """Which format an input has, and why. Raises InputError when it cannot be read, FormatError when no format fits."""
    item = next(expand([file]))
    if isinstance(item, ApilensError):
        raise item
    for piece in cut(open_input(item), Origin(), lambda head: [], Cut(), final=True):
        if piece.block.has_records:
            return detect(piece.block.head, options, item.name)
    raise InputError(f"{item.name}: holds no log line")


def canonical(calls: pl.DataFrame) -> pl.DataFrame:
    """`row` and every column of schema.CALLS, in the order of the lines."""
    missing = [pl.lit(None, dtype).alias(name) for name, dtype in CALLS.items() if name not in calls.columns]
    # Also those that enriching leaves as categories are text.
    text = [name for name, dtype in CALLS.items() if dtype == pl.String]
    rows = calls.lazy().with_columns(missing).with_columns(pl.col(text).cast(pl.String))
    return rebuild(rows).select("row", *CALLS).sort("row", maintain_order=True).collect()
