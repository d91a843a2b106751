"""The order of the stages: each function here is one thing a user asks for, from its inputs to its results."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from pathlib import Path

import polars as pl

from apilens.config import load_config
from apilens.detect import find_candidates
from apilens.errors import ApilensError, ConfigError, Exit, InputError, UsageError
from apilens.feedback import recognise
from apilens.feedback.category import categories
from apilens.feedback.completeness import completeness
from apilens.feedback.duplicates import duplicates
from apilens.feedback.encoding import decode
from apilens.feedback.history import history
from apilens.feedback.records import REJECTS as REJECTED_RECORDS
from apilens.feedback.records import Records, newest, to_items
from apilens.formats import Detection, Options, detect
from apilens.formats.block import Parsed, parse
from apilens.formats.fields import rebuild
from apilens.ingest.enrich import Declared, enrich
from apilens.ingest.pieces import Cut, Origin, cut
from apilens.ingest.run import IngestRun, InputReport, Request
from apilens.ingest.sources import Input, expand, open_input
from apilens.ingest.unit import Counts
from apilens.lake import Lake, open_lake
from apilens.lens import Lens
from apilens.reports.html import Mark, Quality, ReportData, render
from apilens.routes import RouteMerges, learn
from apilens.schema import BIN_S, CALLS, CANDIDATES, ITEMS, SEVERITIES
from apilens.store import Filing, Store, open_store, sqlite_url
from apilens.trackers import open_tracker
from apilens.trackers.outbox import deliver
from apilens.trackers.plan import plan, plan_hash
from apilens.trackers.ticket import ticket
from apilens.triage import CALLS_NAMED, inherit, link, read_context, request_ids
from apilens.triage import queue as rank
from apilens.window import Window


@dataclass(frozen=True)
class IngestResult:
    """What one ingest did: `reports` input by input, `totals` in all."""

    reports: list[InputReport]
    totals: Counts
    seconds: float
    exit_code: Exit


def ingest(lake: str, request: Request, config: str | None, *, now: datetime | None = None) -> IngestResult:
    """Read inputs into the lake, making it when there is none.

    config: path of an apilens.toml; None: found as in load_config, or in a folder that is ingested.
    Raises UsageError, ConfigError and LakeError; problems of one input stand in its report.
    """
    began = time.monotonic()
    settings = load_config(config or _config_inside(request.paths))
    run = IngestRun(open_lake(lake, create=True), request, settings, now=now or datetime.now(UTC))
    run.run()
    if run.totals.stored:
        learn_routes(run.lake)
    return IngestResult(run.reports, run.totals, time.monotonic() - began, run.exit_code())


def learn_routes(lake: Lake) -> None:
    """Learn which names in the routes seen so far are variables; merges learned before stay as they are."""
    with lake.lock("routes"):
        text = lake.learned_routes()
        known = RouteMerges() if text is None else RouteMerges.from_json(text)
        seen = lake.scan("rollups").group_by("service", "route").agg(pl.col("calls").sum()).collect()
        found = learn(seen.drop_nulls("route"), known)
        if found != known:
            lake.save_learned_routes(found.to_json())


def _config_inside(paths: Sequence[str]) -> str | None:
    """The apilens.toml of the only folder named, when the working folder has none."""
    if len(paths) != 1 or Path("apilens.toml").is_file():
        return None
    inside = Path(paths[0]) / "apilens.toml"
    return str(inside) if inside.is_file() else None


def preview(file: str, options: Options) -> Iterator[Parsed]:
    """The calls of one input as canonical rows (schema.CALLS, in the input's order), a block at a time; stores nothing.

    Raises InputError when the input cannot be read, FormatError when no format fits.
    """
    item = next(expand([file]))
    if isinstance(item, ApilensError):
        raise item
    stream, detection = open_input(item), None
    for piece in cut(stream, Origin(), lambda head: [], Cut(), final=True):
        detection = detection or detect(piece.block, options, item.name)
        part = enrich(parse(piece.block, detection.layouts), piece.block, Declared(item.name))
        yield Parsed(canonical(part.calls), part.rejects, part.header, part.filtered, part.blank)


def recognise_format(file: str, options: Options) -> Detection:
    """Which format an input has, and why. Raises InputError when it cannot be read, FormatError when no format fits."""
    item = next(expand([file]))
    if isinstance(item, ApilensError):
        raise item
    for piece in cut(open_input(item), Origin(), lambda head: [], Cut(), final=True):
        return detect(piece.block, options, item.name)
    raise InputError(f"{item.name}: is empty; expected log lines")


def canonical(calls: pl.DataFrame) -> pl.DataFrame:
    """`row` and every column of schema.CALLS, in the order of the lines."""
    missing = [pl.lit(None, dtype).alias(name) for name, dtype in CALLS.items() if name not in calls.columns]
    return rebuild(calls.lazy().with_columns(missing)).select("row", *CALLS).sort("row").collect()


# -- what became abnormal ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Scanned:
    """candidates: schema.CANDIDATES of the window asked for; now: as of when (None: the lake is empty)."""

    candidates: pl.DataFrame
    now: datetime | None

    def at_least(self, severity: str) -> int:
        """How many open candidates are at least that severe."""
        named = SEVERITIES[: SEVERITIES.index(severity) + 1]
        return self.candidates.filter(pl.col("severity").is_in(named) & (pl.col("state") == "open")).height

    def summary(self) -> str:
        """`5 candidates (2 open)`."""
        still = self.candidates.filter(pl.col("state") == "open").height
        return f"{self.candidates.height} candidates ({still} open)"


def scan(
    lake: str, state: str | None, *, since: str | None = None, until: str | None = None, now: datetime | None = None
) -> Scanned:
    """Find candidates as of `now` (None: the end of the data) and keep them; those of [since, until) are returned."""
    lens = Lens(lake)
    moment = now or lens.data_end
    if moment is None:
        return Scanned(CANDIDATES.to_frame(), None)
    # A bin is judged when it is over: the one that holds the last call counts as over at its end.
    edge = datetime.fromtimestamp(-(-moment.timestamp() // BIN_S) * BIN_S, UTC) if now is None else moment
    found = find_candidates(lens.rollups(until=edge).collect(), lens.breakdown, now=edge)
    with open_store(state or default_state(lake)) as store:
        store.save_candidates(found, moment, Window(None, edge))
    window = lens.window(since, until, now=moment)
    if window.start is not None:
        found = found.filter(pl.col("end") > window.start)
    if window.end is not None:
        found = found.filter(pl.col("start") < window.end)
    return Scanned(found, moment)


# -- what people reported ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Imported:
    """What an import did: read = new + updated + rejected + duplicate.

    rejects: columns input, line, reason. remarks: what was noticed about inputs that were read. failures: inputs that
    could not be used, or only in part. max_reject_ratio: share of rejects from which the import counts as partial.
    """

    read: int
    new: int
    updated: int
    rejected: int
    duplicate: int
    rejects: pl.DataFrame
    remarks: list[str]
    failures: list[str]
    inputs: int
    max_reject_ratio: float

    @property
    def exit_code(self) -> Exit:
        """INPUT when no input could be used, PARTIAL when one was missing or damaged or too much was rejected."""
        if self.failures and len(self.failures) == self.inputs and not self.read:
            return Exit.INPUT
        too_many = self.rejected > self.max_reject_ratio * max(self.read, 1)
        return Exit.PARTIAL if self.failures or too_many else Exit.DONE

    @property
    def stored(self) -> int:
        """Items that are in the state database now and were not, or not like this."""
        return self.new + self.updated


def import_feedback(
    paths: Sequence[str],
    *,
    lake: str,
    state: str | None,
    channel: str | None,
    tz: tzinfo,
    now: datetime,
    config: str | None = None,
) -> Imported:
    """Store what people reported, from files, folders, globs or `-`; what is there already is not added again.

    channel: of records that name none. tz: zone of times without one. now: stamped on what is new. An input that
    cannot be used is a failure, and the others are read.
    """
    limit = load_config(config).max_reject_ratio
    items, rejects = [pl.DataFrame(schema=ITEMS)], [pl.DataFrame(schema={"input": pl.String, **REJECTED_RECORDS})]
    remarks: list[str] = []
    failures: list[str] = []
    inputs = read = 0
    for item in expand(paths):
        inputs += 1
        if isinstance(item, ApilensError):
            failures.append(str(item))
            continue
        try:
            records, remark, damage = _records(item)
        except ApilensError as unusable:
            failures.append(str(unusable))
            continue
        good, bad = to_items(records, channel=channel, tz=tz)
        read += records.read
        items.append(good)
        rejects.append(bad.select(pl.lit(item.name).alias("input"), "line", "reason"))
        remarks += [remark] if remark else []
        failures += [damage] if damage else []
    found, rejected = pl.concat(items), pl.concat(rejects)
    unique = newest(found)
    with open_store(state or default_state(lake)) as store:
        counts = store.save_items(unique, history(unique, tz), now)
    duplicate = found.height - unique.height + counts["unchanged"]
    return Imported(
        read, counts["new"], counts["updated"], rejected.height, duplicate, rejected, remarks, failures, inputs, limit
    )


_MAX_EXPORT = 512 * 2**20  # bytes of one export, decompressed: far above any real one, below what a bomb needs


def _records(item: Input) -> tuple[Records, str | None, str | None]:
    """The records of one input, a remark on it, and its damage. Raises InputError, FormatError."""
    stream = open_input(item)
    try:
        parts, size = [], 0
        while part := stream.read(2**20):
            parts.append(part)
            size += len(part)
            if size > _MAX_EXPORT:
                raise InputError(f"{item.name}: more than {_MAX_EXPORT >> 20} MiB; split the export, import the parts")
    finally:
        stream.close()
    text, remark = decode(b"".join(parts))
    said = f"{item.name}: {remark}" if remark else None
    damage = f"{item.name}: {stream.problem}; what was readable is stored" if stream.problem else None
    if not text.strip():
        return Records(), f"{item.name}: is empty", damage
    return recognise(text, item.name).parse(text), said, damage


def default_state(lake: str) -> str:
    """The state database that belongs to a lake when `--state` does not name another."""
    return sqlite_url(Path(lake) / "_apilens" / "state.db")


def reported(*, lake: str, state: str | None) -> pl.DataFrame:
    """schema.ITEMS with category, why it is that category, what a report lacks (missing) and questions to send back."""
    with open_store(state or default_state(lake)) as store:
        items = store.items()
    kinds = categories(items).rename({"reason": "category_reason"})
    complete = completeness(items)
    return items.join(kinds, on=["channel", "id"], maintain_order="left").join(
        complete, on=["channel", "id"], maintain_order="left"
    )


@dataclass(frozen=True)
class Triaged:
    """links: schema.LINKS, one row per item; duplicates: DUPLICATES; changed: items whose candidate is another now."""

    links: pl.DataFrame
    duplicates: pl.DataFrame
    categories: pl.DataFrame
    changed: int
    now: datetime

    def counts(self) -> dict[str, int]:
        """items = linked + to_confirm + no_trace; beside them merged (certain repeats) and questions without trace."""
        bands = dict(self.links["band"].value_counts().rows())
        loose = self.links.filter(pl.col("candidate_id").is_null()).select("channel", id="feedback_id")
        kinds = loose.join(self.categories, on=["channel", "id"])["category"]
        return {
            "items": self.links.height,
            "merged": self.duplicates.filter(pl.col("band") == "auto").height,
            "linked": bands.get("auto", 0),
            "to_confirm": bands.get("suggested", 0),
            "no_trace": bands.get("none", 0),
            "questions": kinds.is_in(["question", "enhancement"]).sum(),
        }


def triage(*, lake: str, state: str | None, context: str | None, now: datetime | None) -> Triaged:
    """Join what people reported with the candidates, find repeats, and keep both with the context for `queue`.

    context: file of the business context; None: the one of the last triage. now: None: the end of the logged data.
    """
    lens = Lens(lake)
    with open_store(state or default_state(lake)) as store:
        text = _context_text(context) if context is not None else store.settings().get("context", "")
        meaning = read_context(text, context or "the context of the last triage")
        items, candidates = store.items(), store.candidates()
        end = lens.data_end
        moment = now or end or datetime.now(UTC)
        logged = Window(lens.period[0], end) if lens.period else Window()
        named = request_ids(items)
        calls = _calls_named(lens, named["request_id"].unique())
        kinds = categories(items)
        known = named.join(calls.select("request_id").unique(), on="request_id")
        repeats = duplicates(items, known)
        population = _population(lens)
        links = inherit(link(items, candidates, calls, kinds, meaning, logged, population), repeats)
        changed = store.save_links(links, repeats, moment)
        store.save_settings({"context": text, "population": population, "now": moment.isoformat()})
    return Triaged(links, repeats, kinds, changed, moment)


def queue(*, lake: str, state: str | None, context: str | None, now: datetime | None) -> pl.DataFrame:
    """schema.QUEUE: candidates and reports ranked together, as the last triage linked them.

    context: None: the one of the last triage. now: None: the moment of the last triage.
    """
    with open_store(state or default_state(lake)) as store:
        return _queue(store, context, now)


def _queue(store: Store, context: str | None, now: datetime | None) -> pl.DataFrame:
    kept = store.settings()
    text = _context_text(context) if context is not None else kept.get("context", "")
    meaning = read_context(text, context or "the context of the last triage")
    items, candidates = store.items(), store.candidates()
    last = datetime.fromisoformat(kept["now"]) if "now" in kept else None
    moment = now or last or candidates.select(pl.col("end").max()).item() or datetime.now(UTC)
    kinds = categories(items)
    links, repeats = store.links(), store.duplicates()
    return rank(candidates, items, links, repeats, kinds, meaning, moment, kept.get("population"))


def _context_text(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ConfigError(f"{path}: cannot be read: {reason}; expected a context.toml") from None


def _calls_named(lens: Lens, ids: pl.Series) -> pl.DataFrame:
    """CALLS_NAMED: the calls whose request or trace id is among `ids`."""
    calls = lens.calls()
    return pl.concat(
        [
            calls.filter(pl.col(column).is_in(ids.implode()))
            .select(
                pl.col(column).alias("request_id"),
                pl.format("{} {}", pl.col("method").fill_null("?"), pl.col("route").fill_null("?")).alias("endpoint"),
                "start_time",
                "consumer",
                "status_code",
            )
            .collect()
            for column in ("request_id", "trace_id")
        ]
    ).select(CALLS_NAMED.names())


def _population(lens: Lens) -> int:
    """Consumers seen in the logs, bots and health checks left out."""
    calls = lens.lake.scan("calls").filter(pl.col("synthetic_type").is_null())
    return int(calls.select(pl.col("consumer").drop_nulls().n_unique()).collect().item())


# -- tickets -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Filed:
    """plan: PLAN as it was applied; outcomes: OUTCOMES of what this run delivered; tracker: its full name."""

    tracker: str
    plan: pl.DataFrame
    outcomes: pl.DataFrame


def plan_tickets(*, lake: str, state: str | None, tracker: str, include_ended: bool) -> tuple[pl.DataFrame, str]:
    """PLAN and its hash: what apply_tickets would do now. Changes nothing."""
    where = open_tracker(tracker)
    with open_store(state or default_state(lake)) as store:
        made = plan(store.candidates(), store.tickets(where.name), include_ended)
    return made, plan_hash(made)


def apply_tickets(
    *,
    lake: str,
    state: str | None,
    tracker: str,
    include_ended: bool,
    expected: str | None,
    now: datetime | None,
    clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    sleep: Callable[[float], None] = time.sleep,
) -> Filed:
    """File each open candidate (or all) once, however often and from however many processes this runs.

    expected: hash of the plan that was looked at; raises UsageError, and does nothing, when it is another now.
    now: as of which the priority in the ticket is; claims in the outbox go by `clock`.
    """
    where = open_tracker(tracker)
    with open_store(state or default_state(lake)) as store:
        candidates = store.candidates()
        problems = {row["id"]: row for row in _queue(store, None, now).filter(pl.col("kind") == "candidate").to_dicts()}
        rows = {row["id"]: row for row in candidates.to_dicts()}

        def decide(filed: pl.DataFrame) -> tuple[pl.DataFrame, list[Filing]]:
            made = plan(candidates, filed, include_ended)
            if expected is not None and plan_hash(made) != expected:
                raise UsageError(
                    f"--plan {expected}: the plan is {plan_hash(made)} by now; nothing was done. "
                    "Look again: apilens tickets plan"
                )
            creates = made.filter(pl.col("action") == "create")["ticket"]
            return made, [Filing(key, ticket(key, problems[key], rows[key]).payload()) for key in creates]

        made = store.enqueue(where.name, decide, clock())
        return Filed(where.name, made, deliver(store, where, clock, sleep))


# -- the report --------------------------------------------------------------------------------------------------


def report(
    *,
    lake: str,
    state: str | None,
    config: str | None = None,
    context: str | None = None,
    now: datetime | None = None,
    since: str | None = None,
    until: str | None = None,
) -> str:
    """The HTML report of [since, until) as of `now` (None: the end of the data); changes nothing."""
    settings = load_config(config)
    lens = Lens(lake, settings)
    moment = now or lens.data_end or datetime.now(UTC)
    window = lens.window(since, until, now=moment)
    with open_store(state or default_state(lake)) as store:
        ranked, candidates, links = _queue(store, context, now), store.candidates(), store.links()
    # An incident or report belongs to the period when it was alive in it.
    alive = pl.lit(True)
    if window.start is not None:
        alive &= pl.col("end") > window.start
    if window.end is not None:
        alive &= pl.col("start") < window.end
    ranked, candidates = ranked.filter(alive.fill_null(True)), candidates.filter(alive)
    rollups = lens.rollups(window.start, window.end).drop("unit_id").collect()
    found = lens.endpoints(window.start, window.end)
    return render(
        ReportData(
            now=moment,
            first_call=found["first_seen"].min(),
            last_call=found["last_seen"].max(),
            queue=ranked,
            candidates=candidates,
            links=links,
            endpoints=found,
            rollups=rollups,
            quality=_quality(lens, window),
            marks=tuple(Mark(mark.time, mark.label, mark.go_live) for mark in settings.marks),
        )
    )


def _quality(lens: Lens, window: Window) -> Quality:
    """What became of the input: the ledger's counts. Duplicates are no units; the run that met them printed them."""
    ledger = lens.lake.ledger()
    names = ("read", "stored", "rejected", "filtered", "lines", "header", "blank", "bytes")
    sums = ledger.select(pl.col(name).sum() for name in names).row(0, named=True)
    inputs = ledger.group_by("input", maintain_order=True).agg(
        pl.col("format").first(),
        *(pl.col(name).sum() for name in ("read", "stored", "rejected", "filtered", "lines", "bytes")),
        pl.col("first_start_time").min(),
        pl.col("last_start_time").max(),
    )
    calls = lens.quality(window)
    return Quality(
        read=sums["read"],
        stored=sums["stored"],
        rejected=sums["rejected"],
        filtered=sums["filtered"],
        duplicate=0,
        lines=sums["lines"],
        record_lines=sums["read"],
        header=sums["header"],
        blank=sums["blank"],
        inputs=inputs.sort("input"),
        identity_coverage=calls.identity_coverage,
        synthetic_share=calls.synthetic_share,
    )
