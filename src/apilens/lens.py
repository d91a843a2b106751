"""The Python view of a lake: its tables as Polars frames, the same numbers as on the command line."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import copy
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import duckdb
import polars as pl

from apilens.documents import documents
from apilens.errors import ConfigError, LakeError, UsageError
from apilens.ingest.rollup import roll_up
from apilens.lake import open_lake
from apilens.lake.views import CALLS_VIEW, MERGES, TABLE_VIEWS, View, connect, named, select, sql_within
from apilens.measure import breakdown as _breakdown
from apilens.measure import strangers as _strangers
from apilens.measure.addresses import addresses
from apilens.measure.callers import callers, statuses
from apilens.measure.clients import clients
from apilens.measure.compare import compare
from apilens.measure.endpoints import endpoints, set_apart
from apilens.measure.explain import explain
from apilens.measure.facts import instances, skew
from apilens.measure.inventory import inventory
from apilens.measure.models import models
from apilens.measure.quality import CallQuality, call_quality
from apilens.measure.refusals import refusals
from apilens.measure.signals import REACH, friction, implicit_signals
from apilens.measure.slo import Slo, budgets, longest, read_slos
from apilens.measure.trace import trace
from apilens.measure.trends import trends
from apilens.metrics import Rule as MetricRule
from apilens.routes import OpenApi, RouteMerges, read_openapi
from apilens.routes.coverage import Coverage, coverage
from apilens.schema import BIN_S, METRIC_SERIES, SUMS
from apilens.window import ALWAYS, Window, parse_time

if TYPE_CHECKING:
    from apilens.config import Config, Mark
    from apilens.store import Store

Moment = datetime | str | None

#: The largest public documents have about 12 MiB.
_MAX_DOCUMENT_BYTES = 64 << 20


def escalated(store: Store, rules: Sequence[Mapping[str, Any]]) -> pl.DataFrame:
    """triage.escalation.ESCALATIONS of an opened state as the last triage linked, by these [[rules]]."""
    from apilens.feedback.category import DECIDED, Rule, categories  # what people said takes 0.3 s to import
    from apilens.triage import escalations, read_context

    items, kept = store.items(), store.settings()
    kinds = categories(items, [Rule(**rule) for rule in rules], store.decisions(*DECIDED), kept.get("category_model"))
    context = read_context(kept.get("context", ""), "the context of the last triage")
    return escalations(
        items, store.links(), store.duplicates(), kinds, store.candidates(), context, kept.get("population")
    )


class Lens:
    """A lake, opened for reading. Every method sees what is committed at the time it is called; threads may share it."""

    def __init__(self, path: str, config: Config | None = None, *, openapi: str | None = None) -> None:
        """openapi: file with the document that names the routes; None: the one the lake was given, if any.

        Raises LakeError when there is no lake at `path`, ConfigError when the document cannot be read.
        """
        self.lake = open_lake(path)
        self._config = config
        self._held: _Held | None = None
        self.openapi = load_openapi([openapi]) if openapi is not None else _stored(self.lake.read_text("openapi.json"))

    @cached_property
    def config(self) -> Config:
        """The settings given, else those of apilens.toml. Raises ConfigError naming file, key and nearest known key."""
        if self._config is not None:
            return self._config
        # Pydantic takes a fifth of the import; most questions ask for no setting.
        from apilens.config import load_config

        return load_config(None)

    @property
    def period(self) -> tuple[datetime, datetime] | None:
        """start_time of the first and of the last call; None: no calls."""
        # Not from the ledger, which keeps what a unit was read with: some of it may be forgotten since.
        seen = self.lake.scan_sums().select(pl.col("first_seen").min(), pl.col("last_seen").max()).collect()
        first, last = seen.row(0)
        return (first, last) if first is not None else None

    @property
    def data_end(self) -> datetime | None:
        """The end of what was logged: just behind the last call; None: no calls.

        A call that claims to be from after tomorrow is left out, unless all do: one clock that is wrong must not make
        everything else look long past.
        """
        sums = self.lake.scan_sums()
        tomorrow = datetime.now(UTC) + timedelta(days=1)
        last = pl.col("last_seen")
        found = sums.select(last.filter(last < tomorrow).max().alias("real"), last.max().alias("any")).collect()
        end = found["real"][0] or found["any"][0]
        return None if end is None else end + timedelta(microseconds=1)

    def endpoints(
        self,
        since: Moment = None,
        until: Moment = None,
        *,
        now: datetime | None = None,
        exact: bool = False,
        include_synthetic: bool = False,
    ) -> pl.DataFrame:
        """measure.endpoints.ENDPOINTS of the calls whose start_time lies in [since, until).

        since, until: a time, or text as for --since, relative to now (default: the wall clock). exact: percentiles of the
        logged values instead of histograms (error <= 1 %). include_synthetic: count bots, scanners and health checks too.
        """
        return self.endpoints_and_apart(since, until, now=now, exact=exact, include_synthetic=include_synthetic)[0]

    def endpoints_and_apart(
        self,
        since: Moment = None,
        until: Moment = None,
        *,
        now: datetime | None = None,
        exact: bool = False,
        include_synthetic: bool = False,
    ) -> tuple[pl.DataFrame, dict[str, int]]:
        """What `endpoints` and `set_apart` give, of one look at the lake."""
        window = self.window(since, until, now=now)
        whole, edges = self._bins(window)
        bins = sql_within("bin_start", whole) if whole is not None else "false"
        views: tuple[View, ...] = ("sums", "calls") if exact else ("sums",)
        with self.connect(window, views) as connection:
            found = endpoints(
                connection,
                bins=bins,
                edges=edges,
                exact=exact,
                apdex_ms=self.config.apdex_ms,
                operations=self.openapi.ids.drop("path", "deprecated"),
                include_synthetic=include_synthetic,
            )
            return found, set_apart(connection, bins=bins, edges=edges)

    def set_apart(self, since: Moment = None, until: Moment = None, *, now: datetime | None = None) -> dict[str, int]:
        """How many calls of a window are those of bots, scanners and health checks, which `endpoints` leaves out."""
        return self.endpoints_and_apart(since, until, now=now)[1]

    def models(
        self,
        since: Moment = None,
        until: Moment = None,
        *,
        now: datetime | None = None,
        include_synthetic: bool = False,
    ) -> pl.DataFrame:
        """measure.models.MODELS of [since, until): calls, errors, tokens and latency per (endpoint, provider, model)."""
        window = self.window(since, until, now=now)
        with self.connect(window, CALLS_VIEW) as connection:
            return models(connection, window=sql_within("start_time", window), include_synthetic=include_synthetic)

    def sql(self, query: str) -> pl.DataFrame:
        """The rows of one SELECT over the views calls, rollups, rejects, ingests and metrics. Raises UsageError for anything else."""
        with self.connect(views=named(query)) as connection:
            return select(connection, query)

    def calls(self, since: Moment = None, until: Moment = None, *, now: datetime | None = None) -> pl.LazyFrame:
        """schema.CALLS of [since, until), lazily; url and request_line as the lake stores them (see decision 1)."""
        return self._merged(self.lake.scan("calls", self.window(since, until, now=now)))

    def _state(self, state: str | None) -> Store:
        # SQLAlchemy takes 0.2 s to import; only what people said and decided needs it.
        from apilens.store import open_state

        return open_state(self.lake.root, state, create=False)

    def links(self, state: str | None = None) -> pl.DataFrame:
        """schema.LINKS as the last triage left them. state: URL of the state database; None: the lake's own."""
        with self._state(state) as store:
            return store.links()

    def related(self, state: str | None = None) -> pl.DataFrame:
        """triage.related.RELATED: which problem is caused by, or blocks, which other one. state: as in links."""
        from apilens.triage import related  # what people said takes 0.3 s to import, which figures do without

        with self._state(state) as store:
            return related(store.candidates(), store.decisions("caused_by", "blocks"))

    def escalations(self, state: str | None = None) -> pl.DataFrame:
        """triage.escalation.ESCALATIONS: what only talk is about and should be a ticket, by the context and the rules of the
        last triage. state: as in links."""
        with self._state(state) as store:
            return escalated(store, store.settings().get("rules", []))

    def rollups(self, since: Moment = None, until: Moment = None, *, now: datetime | None = None) -> pl.LazyFrame:
        """schema.ROLLUPS of the bins that start in [since, until), lazily."""
        return self._merged(self.lake.scan("rollups", self.window(since, until, now=now)))

    @contextmanager
    def held(self) -> Iterator[Lens]:
        """This lens for one thread's many questions about calls in a row: they share a connection, which takes longer to make than
        most take to answer, and sees what was committed when it was made."""
        held = copy(self)
        held._held = _Held()
        try:
            yield held
        finally:
            held._held.close()

    @contextmanager
    def _calls(self, window: Window) -> Iterator[duckdb.DuckDBPyConnection]:
        """A connection with the view calls, which has at least those of a window."""
        if self._held is None:
            with self.connect(window, CALLS_VIEW) as connection:
                yield connection
            return
        if self._held.connection is None or not self._held.window.holds(window):
            # Whoever asks about a time asks about the day before as well, to compare.
            wider = Window(window.start and window.start - timedelta(days=1), window.end)
            if self._held.connection is not None:
                wider = self._held.window.with_all_of(wider)
            self._held.close()
            self._held.connection, self._held.window = self.connect(wider, CALLS_VIEW), wider
        yield self._held.connection

    def quality(self, window: Window = ALWAYS) -> CallQuality:
        """Identity coverage and the like of a window's calls."""
        with self.connect(window, CALLS_VIEW) as connection:
            return call_quality(connection, window=sql_within("start_time", window))

    def breakdown(self, windows: pl.DataFrame) -> pl.DataFrame:
        """schema.BREAKDOWN of the calls in some windows of single endpoints."""
        with self._calls(_bounds(windows)) as connection:
            return _breakdown.breakdown(connection, windows)

    def refusals(self, asked: pl.DataFrame) -> pl.DataFrame:
        """schema.REFUSALS: how often some consumers were answered with some status codes, per endpoint and minute."""
        with self._calls(_bounds(asked)) as connection:
            return refusals(connection, asked)

    def strangers(self, asked: pl.DataFrame) -> pl.DataFrame:
        """schema.STRANGERS: what clients without identity that were refused somewhere met elsewhere, in the week before as well."""
        earlier = asked.with_columns(pl.col("start") - _strangers.BEFORE - timedelta(hours=1))
        with self._calls(_bounds(earlier)) as connection:
            return _strangers.strangers(connection, asked)

    def clients(self, environment: str | None, start: datetime, since: datetime, end: datetime) -> pl.DataFrame:
        """schema.CLIENTS: what consumers of an environment that were refused on several endpoints since then were answered in [start, end)."""
        with self._calls(Window(start, end)) as connection:
            return clients(connection, environment, start, since, end)

    def compare(self, before: Window, after: Window) -> pl.DataFrame:
        """measure.compare.COMPARISON of two windows, cut to the whole bins inside them: a bin in which one begins or ends has
        calls of outside. Raises UsageError where there is none."""
        return compare(*(self.rollups(part.start, part.end).collect() for part in map(_whole_bins, (before, after))))

    def callers(
        self, most: int, since: Moment = None, until: Moment = None, *, now: datetime | None = None
    ) -> pl.DataFrame:
        """measure.callers.CALLERS of [since, until), at most `most` of them."""
        with self.connect(self.window(since, until, now=now), CALLS_VIEW) as connection:
            return callers(connection, most)

    def statuses(self, since: Moment = None, until: Moment = None, *, now: datetime | None = None) -> pl.DataFrame:
        """measure.callers.STATUSES of [since, until)."""
        with self.connect(self.window(since, until, now=now), CALLS_VIEW) as connection:
            return statuses(connection)

    def trace(
        self, *, request: str | None = None, consumer: str | None = None, window: Window = ALWAYS
    ) -> pl.DataFrame:
        """The calls of a request id or a consumer in sequence, see measure.trace."""
        with self.connect(window, CALLS_VIEW) as connection:
            return trace(connection, request=request, consumer=consumer, window=window)

    def trends(self, since: Moment = None, until: Moment = None, *, now: datetime | None = None) -> pl.DataFrame:
        """measure.trends.TRENDS of [since, until)."""
        return trends(self.rollups(since, until, now=now).collect())

    @property
    def marks(self) -> tuple[Mark, ...]:
        """The marks of the configuration and those kept with the lake (`apilens mark`), by time."""
        return tuple(sorted({*self.config.marks, *self.kept_marks}, key=lambda mark: (mark.time, mark.label)))

    @property
    def kept_marks(self) -> list[Mark]:
        """The marks kept with the lake, in the order in which they came. Raises LakeError when they cannot be read."""
        from apilens.config import Mark

        try:
            return [Mark.model_validate(one) for one in json.loads(self.lake.read_text("marks.json") or "[]")]
        except (ValueError, TypeError):
            raise LakeError(
                f"{self.lake.storage.uri('_apilens/marks.json')}: is damaged; expected the list of marks that apilens wrote."
                " Restore it from a backup, or remove it and mark anew: apilens mark"
            ) from None

    def explain(self, candidate: Mapping[str, Any]) -> pl.DataFrame:
        """measure.explain.CARRIERS of a candidate (row of schema.CANDIDATES)."""
        with self._calls(Window(candidate["start"] - timedelta(days=1), candidate["end"])) as connection:
            return explain(connection, **_asked(candidate))

    def addresses(self, candidate: Mapping[str, Any], most: int) -> pl.DataFrame:
        """measure.addresses.ADDRESSES of a candidate (row of schema.CANDIDATES), at most `most` of them."""
        with self.connect(Window(candidate["start"], candidate["end"]), CALLS_VIEW) as connection:
            return addresses(connection, **_asked(candidate), most=most)

    def implicit_signals(
        self, since: Moment = None, until: Moment = None, *, now: datetime | None = None
    ) -> pl.DataFrame:
        """measure.signals.IMPLICIT of [since, until): friction told from the sequence of calls."""
        window = self.window(since, until, now=now)
        with self.connect(window, CALLS_VIEW) as connection:
            return implicit_signals(connection, window=sql_within("start_time", window))

    def inventory(self, since: Moment = None, until: Moment = None, *, now: datetime | None = None) -> pl.DataFrame:
        """measure.inventory.INVENTORY: every endpoint and documented operation, calls and consumers of [since, until)."""
        window = self.window(since, until, now=now)
        with self.connect(views=CALLS_VIEW) as connection:
            return inventory(connection, window=sql_within("start_time", window), operations=self.openapi.ids)

    def metrics(self, since: Moment = None, until: Moment = None, *, now: datetime | None = None) -> pl.LazyFrame:
        """schema.METRICS of [since, until), lazily."""
        return self.lake.scan("metrics", self.window(since, until, now=now))

    def metric_series(self) -> pl.DataFrame:
        """One row per series of the metrics: detect.system's names and limits, samples, first_seen, last_seen, latest, highest.

        Of a counter the values are those exported, which only ever grow.
        """
        from apilens.detect.system import with_limits  # SciPy comes with it, a second

        keys = list(METRIC_SERIES)
        value = pl.col("value").sort_by("timestamp")
        found = (
            self.metrics()
            .group_by(*keys, "kind", "unit", "counter")
            .agg(
                samples=pl.len(),
                latest=value.last(),
                highest=pl.col("value").max(),
                first_seen=pl.col("timestamp").min(),
                last_seen=pl.col("timestamp").max(),
            )
        )
        rules = tuple(MetricRule(**one.model_dump()) for one in self.config.metrics)
        return with_limits(found.collect().sort("kind", *keys, nulls_last=True), rules)

    def facts(self, first: datetime, end: datetime) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
        """measure.facts of [first, end): INSTANCES, and SKEW and FRICTION of its whole blocks."""
        with self.connect(Window(first - REACH, end + REACH), CALLS_VIEW) as connection:
            return instances(connection, first, end), skew(connection, first, end), friction(connection, first, end)

    def instances(self, first: datetime, end: datetime) -> pl.DataFrame:
        """measure.facts.INSTANCES of [first, end)."""
        with self._calls(Window(first, end)) as connection:
            return instances(connection, first, end)

    def skew(self, first: datetime, end: datetime) -> pl.DataFrame:
        """measure.facts.SKEW of the whole blocks in [first, end)."""
        with self.connect(Window(first - REACH, end + REACH), CALLS_VIEW) as connection:
            return skew(connection, first, end)

    def budgets(self, objectives: list[Slo], *, now: datetime) -> pl.DataFrame:
        """measure.slo.BUDGETS of some objectives as of `now`."""
        period = longest(objectives, now)
        return budgets(self.rollups(period.start, period.end).collect(), objectives, now=now)

    def connect(self, window: Window = ALWAYS, views: Collection[View] = TABLE_VIEWS) -> duckdb.DuckDBPyConnection:
        """A DuckDB connection with the views calls, rollups, rejects, ingests and metrics, for SQL of your own; see lake.views.connect."""
        return connect(self.lake, self._mapping, window, views)

    def window(self, since: Moment, until: Moment, *, now: datetime | None = None) -> Window:
        """The window [since, until) in UTC."""
        clock = now or datetime.now(UTC)

        def moment(given: Moment) -> datetime | None:
            return parse_time(given, now=clock) if isinstance(given, str) else given

        return Window(moment(since), moment(until))

    # -- routes --------------------------------------------------------------------------------------------------

    @cached_property
    def merges(self) -> RouteMerges:
        """The route merges learned so far."""
        text = self.lake.read_text("routes.json")
        return RouteMerges() if text is None else RouteMerges.from_json(text)

    @cached_property
    def _mapping(self) -> pl.DataFrame:
        """service, route, merged_route of the routes that learning or a document changed; a document knows better."""
        if not self.merges.merges and not self.openapi.operations:
            return MERGES.to_frame()
        routes = self.stored_routes.select("service", "route").unique()
        documented = self.openapi.mapping(routes)
        own = routes.join(documented, on=["service", "route"], how="anti", nulls_equal=True)
        mapping = pl.concat([documented, self.merges.mapping(own)])
        return mapping.filter(pl.col("route") != pl.col("merged_route"))

    @property
    def stored_routes(self) -> pl.DataFrame:
        """service, method, route as ingest stored it, calls: one row per endpoint, before anything is applied on read."""
        sums = self.lake.scan_sums().group_by("service", "method", "route").agg(pl.col("calls").sum())
        return sums.collect().drop_nulls("route").sort("calls", "service", "method", "route", descending=True)

    def _merged(self, rows: pl.LazyFrame) -> pl.LazyFrame:
        mapping = self._mapping
        if mapping.is_empty():
            return rows
        joined = rows.join(mapping.lazy(), on=["service", "route"], how="left", nulls_equal=True)
        return joined.with_columns(route=pl.coalesce("merged_route", "route")).drop("merged_route")

    def coverage(self) -> Coverage | None:
        """What of the documented routes was called, and what else; None: no OpenAPI document was given.

        Calls of bots, scanners and health checks count: a probed path is one that no document has.
        """
        return coverage(self.openapi, self.stored_routes) if self.openapi.operations else None

    # -- bins ----------------------------------------------------------------------------------------------------

    def _bins(self, window: Window) -> tuple[Window | None, pl.DataFrame]:
        """The part of a window that whole bins cover (None: no such part), and the rest rolled up from its calls."""
        start = window.start and _aligned(window.start, up=True)
        end = window.end and _aligned(window.end, up=False)
        if start is not None and end is not None and start >= end:
            return None, self._rolled(window)
        edges = []
        if window.start is not None and start != window.start:
            edges.append(self._rolled(Window(window.start, start)))
        if window.end is not None and end != window.end:
            edges.append(self._rolled(Window(end, window.end)))
        return Window(start, end), pl.concat(edges) if edges else SUMS.to_frame()

    def _rolled(self, window: Window) -> pl.DataFrame:
        """schema.SUMS of the calls of a window."""
        rows = roll_up(self._merged(self.lake.scan("calls", window)).collect(), "edge of a window")
        return rows.select(pl.col(name).cast(dtype) for name, dtype in SUMS.items())


@dataclass
class _Held:
    """A connection that several questions share, and the window whose calls it has."""

    connection: duckdb.DuckDBPyConnection | None = None
    window: Window = ALWAYS

    def close(self) -> None:
        if self.connection is not None:
            self.connection.close()


def _bounds(asked: pl.DataFrame) -> Window:
    """From the first `start` to the last `end`; without a row the whole time."""
    start, end = asked["start"].min(), asked["end"].max()
    return Window(start, end) if isinstance(start, datetime) and isinstance(end, datetime) else ALWAYS


def load_openapi(files: Sequence[str], version: int = 0) -> OpenApi:
    """The operations of OpenAPI documents, YAML or JSON, and of files beside them that they name. Raises ConfigError naming
    the file."""
    known: dict[str, object] = {}

    def document(file: str) -> tuple[object, str]:
        if file not in known:
            known[file] = next(iter(documents(_document_text(file), file)), None)
        return known[file], file

    return read_openapi(
        [document(file) for file in files],
        version,
        lambda other, file: document(str(Path(file).parent / unquote(other))),
    )


def _document_text(file: str) -> str:
    try:
        if Path(file).stat().st_size > _MAX_DOCUMENT_BYTES:
            raise ConfigError(f"{file}: is larger than {_MAX_DOCUMENT_BYTES >> 20} MiB; expected an OpenAPI document")
        return Path(file).read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{file}: cannot be read: {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{file}: is no UTF-8 text; expected an OpenAPI document in YAML or JSON") from None


def load_slos(config: Config, files: Sequence[str]) -> list[Slo]:
    """The objectives of [[slo]] and of OpenSLO or Sloth documents. Raises ConfigError naming the file, or when there is none."""
    found = [Slo(**one.model_dump()) for one in config.slo]
    for file in files:
        try:
            text = Path(file).read_text(encoding="utf-8")
        except OSError as error:
            raise ConfigError(f"{file}: cannot be read: {error.strerror or error}") from None
        except UnicodeDecodeError:
            raise ConfigError(f"{file}: is no UTF-8 text; expected an OpenSLO or Sloth document") from None
        found += read_slos(list(documents(text, file)), file)
    if not found:
        raise ConfigError("no objective is set; next: [[slo]] in apilens.toml, or apilens slo --slo FILE")
    return found


def _asked(candidate: Mapping[str, Any]) -> dict[str, Any]:
    """Which calls a candidate is about, as measure.explain and measure.addresses ask for them."""
    status = candidate["hint"]["status"]
    same = {name: candidate[name] for name in ("environment", "endpoints", "signal", "start", "end")}
    return {**same, "status": None if status is None else int(status)}


def _stored(text: str | None) -> OpenApi:
    return OpenApi() if text is None else OpenApi.from_json(text)


def _aligned(moment: datetime, *, up: bool) -> datetime:
    seconds = moment.timestamp()
    rest = timedelta(seconds=seconds % BIN_S)
    floor = moment - rest
    return floor + timedelta(seconds=BIN_S) if up and rest else floor


def _whole_bins(window: Window) -> Window:
    start = window.start and _aligned(window.start, up=True)
    end = window.end and _aligned(window.end, up=False)
    if start is not None and end is not None and start >= end:
        named = f"{window.start:%Y-%m-%dT%H:%M:%SZ}..{window.end:%Y-%m-%dT%H:%M:%SZ}"
        raise UsageError(f"window {named} holds no whole five minutes; expected a longer one, such as 1h..now")
    return Window(start, end)
