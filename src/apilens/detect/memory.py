"""What earlier scans have decided, so that a scan judges what is new: the decision from when on that is, and what is kept.

Detection looks at the past only, so what was said of a bin holds while nothing before its end changes. Two facts make this
cheap without any state of a rule. Each bin has a digest of what it holds, so late, replaced and forgotten data show from
where on nothing is known. And only what opens matters: for bins that are new a rule's `may_open` names the few endpoints
that could, and these are judged anew with their whole past, by the same code on the same numbers as in a scan from nothing.
What the log said of windows before that holds as well, so it is asked about what is new alone.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from fnmatch import fnmatch
from functools import cache
from importlib.metadata import version
from importlib.resources import files
from io import BytesIO

import numpy as np
import polars as pl

from apilens import schema
from apilens.detect import ahead, anomalies, baseline
from apilens.detect.baseline import Fleet, Series
from apilens.detect.bins import DAY, HOUR, MINUTES, Bools, Ints
from apilens.detect.breakdowns import Breakdown
from apilens.detect.habits import Told

Detector = Callable[[Series, Fleet], pl.DataFrame]
#: Given series, fleet, a bin and log10 of a chance: which rows of the series can have an anomaly in that bin or later that
#: opens by its rule, or whose chance is no higher.
MayOpen = Callable[[Series, Fleet, int, float], Bools]

#: A window of a day may prolong a problem whose last abnormal bin is so long ago (runs.QUIET before its start).
LIVE = DAY + HOUR
#: Bits of a digest: those of 2^19 rows of one bin still add up in 63.
_DIGEST_BITS = 44
_ANOMALIES = pl.Schema([*((name, pl.String) for name in schema.ENDPOINT), *list(anomalies.ANOMALIES.items())[1:]])
_KNOWN = pl.Schema(
    [
        ("environment", pl.String),
        ("first_bin", pl.Int64),
        ("anyway", pl.Float64),
        ("digests", pl.List(pl.Int64)),
        ("anomalies", pl.Binary),  # these as Parquet, see Known
        ("movements", pl.Binary),
        ("windows", pl.Binary),
        ("answers", pl.Binary),
        ("habits", pl.Binary),
        ("scans", pl.Binary),
        ("pooled", pl.Binary),
        ("outlook", pl.Binary),
    ]
)
_OPENED = pl.Schema(
    [
        *((name, pl.String) for name in schema.ENDPOINT),
        *((name, pl.Int64) for name in ("status_code", "start", "known", "windows", "last", "opened")),
    ]
)
_FRAMES = _KNOWN.names()[4:]
#: What a window is about.
_WHAT = [*schema.ENDPOINT, "start", "end"]
#: So many rows of answers are kept, 50 MB in memory.
_MOST_ANSWERS = 500_000


@dataclass(frozen=True)
class Known:
    """What is known of one environment.

    first_bin: of the time axis, in epoch seconds / BIN_S. anyway: log10 of the chance at which windows open whatever their rule
    says. digests: of each bin since. anomalies: ANOMALIES of the detectors with a may_open, with the names of their endpoints;
    those of endpoints on which nothing ever opened are left out. movements: of the fleet. windows, answers: see Answers.
    habits: by habits.told() when runs opened that one client carries. scans: when those did that a scanner may carry. pooled: ANOMALIES of one client's
    refusals on several endpoints (pooled.refusals), with the names of these. outlook: what is known of bins to come (ahead.OUTLOOK).
    """

    first_bin: int
    anyway: float
    digests: Ints
    anomalies: pl.DataFrame
    movements: pl.DataFrame
    windows: pl.DataFrame = field(default_factory=schema.BREAKDOWN_WINDOWS.to_frame)
    answers: pl.DataFrame = field(default_factory=schema.BREAKDOWN.to_frame)
    habits: pl.DataFrame = field(default_factory=_OPENED.to_frame)
    scans: pl.DataFrame = field(default_factory=_OPENED.to_frame)
    pooled: pl.DataFrame = field(default_factory=_ANOMALIES.to_frame)
    outlook: pl.DataFrame = field(default_factory=ahead.OUTLOOK.to_frame)


@dataclass(frozen=True)
class Few:
    """Where some detectors need not be asked about all endpoints.

    named: by detector the numbers of those it is asked about, ascending. series: of some such numbers, under their places among them.
    """

    named: Mapping[str, Ints]
    series: Callable[[Ints], Iterable[Series]]


class Answers:
    """A breakdown that asks the log for those windows only of which it does not know yet.

    windows: schema.BREAKDOWN_WINDOWS whose answers are known, answers: schema.BREAKDOWN of them.
    """

    def __init__(self, ask: Breakdown, known: Known | None = None, until: datetime | None = None) -> None:
        """until: what is known of windows that end later is forgotten."""
        self._ask = ask
        self.windows = schema.BREAKDOWN_WINDOWS.to_frame() if known is None else known.windows
        self.answers = schema.BREAKDOWN.to_frame() if known is None else known.answers
        if until is not None:
            self.windows = self.windows.filter(pl.col("end") <= until)
            self.answers = self.answers.join(self.windows, on="window_id", how="semi")
        self._asked = [self.windows["window_id"].clear()]

    def __call__(self, windows: pl.DataFrame) -> pl.DataFrame:
        """schema.BREAKDOWN of some schema.BREAKDOWN_WINDOWS."""
        known, answers = self.windows, self.answers
        new = windows.join(known, on=_WHAT, how="anti", nulls_equal=True).unique(_WHAT, maintain_order=True)
        if new.height:
            first = int(known["window_id"].max() or 0) + 1  # type: ignore[arg-type]  # max() of an Int64 column is an int
            new = new.with_columns(window_id=pl.int_range(first, first + new.height))
            known, answers = pl.concat([known, new]), pl.concat([answers, self._ask(new)])
            if answers.height <= _MOST_ANSWERS:
                self.windows, self.answers = known, answers
        asked = windows.select("window_id", *_WHAT).join(
            known.select(*_WHAT, known="window_id"), on=_WHAT, nulls_equal=True
        )
        self._asked.append(asked["known"])
        found = answers.rename({"window_id": "known"}).join(asked.select("window_id", "known"), on="known")
        return found.select(schema.BREAKDOWN.names())

    def asked(self) -> tuple[pl.DataFrame, pl.DataFrame]:
        """The windows that were asked for, and what was said of them: `windows` and `answers` of what is to be known."""
        of_them = pl.col("window_id").is_in(pl.concat(self._asked).unique().implode())
        order = [name for name in schema.BREAKDOWN if name != "request_ids"]
        return self.windows.filter(of_them), self.answers.filter(of_them).sort(order)


def decided(opened: pl.DataFrame, since: int) -> dict[Told, int | None]:
    """Of Known.habits or Known.scans the runs all of whose windows end before a bin."""
    return {row[:-1]: row[-1] for row in opened.filter(pl.col("last") <= since * MINUTES).iter_rows()}


def to_remember(decided: Mapping[Told, int | None]) -> pl.DataFrame:
    """The same as Known has it."""
    return pl.DataFrame([(*run, opened) for run, opened in decided.items()], schema=_OPENED, orient="row")


def digests(endpoints: pl.DataFrame, rows: pl.DataFrame, bins: int) -> Ints:
    """Per bin a number that changes with what the bin holds, whatever the order of its rows; 0: nothing.

    endpoints, rows: baseline.numbered and baseline.narrow of an environment.
    """
    named = endpoints.lazy().select(
        pl.col("endpoint").cast(baseline.ROWS["endpoint"]), name=pl.struct(*schema.ENDPOINT).hash(11)
    )
    measures = ("status_code", "calls", "durations", "log_duration_sum", "log_duration_sumsq")
    each = pl.struct("name", *measures).hash(13) // 2 ** (64 - _DIGEST_BITS)
    found = (
        rows.lazy()
        .select("endpoint", "bin", *measures)
        .join(named, on="endpoint", how="left")
        .group_by("bin")
        .agg(each.cast(pl.Int64).sum().alias("digest"))
        .collect(engine="streaming")
    )
    result = np.zeros(bins, dtype=np.int64)
    result[found["bin"].to_numpy()] = found["digest"].to_numpy()
    return result


def first_new(known: Known | None, first_bin: int, seen: Ints, anyway: float) -> int:
    """The first bin that must be judged; len(seen): none. seen: digests of the bins; first_bin, anyway: as in Known."""
    if known is None or (known.first_bin, known.anyway) != (first_bin, anyway):
        return 0
    both = min(len(known.digests), len(seen))
    differs = np.flatnonzero(known.digests[:both] != seen[:both])
    return int(differs[0]) if len(differs) else both


def judge(
    chunks: Iterable[Series],
    fleet: Fleet,
    detectors: Mapping[str, Detector],
    may_open: Mapping[str, MayOpen],
    known: Known | None,
    seen: Ints,
    anyway: float = -math.inf,
    few: Few | None = None,
) -> tuple[pl.DataFrame, Known]:
    """ANOMALIES of a fleet that can belong to a problem, and what is to be remembered of them.

    may_open: by name of the detector; one without is asked about everything. known: what is remembered (None: nothing),
    seen: digests of the bins as they are now. anyway: log10 of the chance at which a sensitivity lets windows open. few: of the
    detectors named there the chunks are not looked at.
    """
    since = first_new(known, fleet.first_bin, seen, anyway)
    before = anomalies.ANOMALIES.to_frame() if known is None else _recalled(known.anomalies, fleet, since)
    live = before.filter(pl.col("bin") >= since - LIVE)
    found = [anomalies.ANOMALIES.to_frame()]

    def asked(name: str, series: Series, numbers: Ints) -> None:
        """The anomalies of the endpoints of a series that may open, and what is remembered of the others."""
        theirs = before.filter((pl.col("detector") == name) & pl.col("endpoint").is_in(numbers.tolist()))
        if since == fleet.bins:
            found.append(theirs)
            return
        going_on = live.filter(pl.col("detector") == name)["endpoint"].to_numpy()
        rows = np.flatnonzero(may_open[name](series, fleet, since, anyway) | np.isin(numbers, going_on))
        fresh = detectors[name](series if len(rows) == len(numbers) else series.only(rows), fleet)
        offset = series.first_endpoint if len(rows) == len(numbers) else 0
        endpoint = pl.Series(numbers[rows][fresh["endpoint"].to_numpy() - offset], dtype=pl.Int64)
        found.append(fresh.with_columns(endpoint=endpoint))
        found.append(theirs.filter(~pl.col("endpoint").is_in(numbers[rows].tolist())))

    named_few = {} if few is None else few.named
    for series in chunks:
        numbers = np.arange(series.first_endpoint, series.first_endpoint + len(series.born))
        for name, detect in detectors.items():
            if name not in may_open:
                found.append(detect(series, fleet))
            elif name not in named_few:
                asked(name, series, numbers)
    if few is not None:
        of_each = {
            name: np.union1d(few.named[name], live.filter(pl.col("detector") == name)["endpoint"].to_numpy())
            for name in few.named
        }
        for name, mine in of_each.items():
            left = (pl.col("detector") == name) & ~pl.col("endpoint").is_in(mine.tolist())
            found.append(before.filter(left))
        some = np.unique(np.concatenate([np.zeros(0, np.int64), *of_each.values()]))
        for series in few.series(some):
            numbers = some[series.first_endpoint : series.first_endpoint + len(series.born)]
            for name, mine in of_each.items():
                rows = np.flatnonzero(np.isin(numbers, mine))
                if len(rows):
                    asked(name, series.only(rows), numbers[rows])
    abnormal = pl.concat(found)
    if known is not None and since == fleet.bins:
        return abnormal, known
    # Of all detectors, as several may speak of one problem.
    could = (pl.col("opens") | (pl.col("log10_p") <= anyway)).any().over("endpoint")
    kept = abnormal.filter(could).filter(pl.col("detector").is_in(list(may_open)))
    return abnormal, Known(fleet.first_bin, anyway, seen, named(kept, fleet), fleet.movements)


def pooled_before(known: Known | None, fleet: Fleet, since: int) -> pl.DataFrame:
    """Known.pooled before a bin as ANOMALIES."""
    return anomalies.ANOMALIES.to_frame() if known is None else _recalled(known.pooled, fleet, since)


def named(abnormal: pl.DataFrame, fleet: Fleet) -> pl.DataFrame:
    """ANOMALIES with the names of endpoints in place of their numbers, which another scan may give to others."""
    return abnormal.join(fleet.endpoints, on="endpoint", how="left", maintain_order="left").select(_ANOMALIES.names())


def _recalled(named: pl.DataFrame, fleet: Fleet, since: int) -> pl.DataFrame:
    """Anomalies before a bin, under the numbers that endpoints have now."""
    rows = named.filter(pl.col("bin") < since)
    return rows.join(fleet.endpoints, on=schema.ENDPOINT, nulls_equal=True, maintain_order="left").select(
        anomalies.ANOMALIES.names()
    )


class Memory:
    """What is known of each environment. `changed` says whether it is worth being kept again."""

    def __init__(self, data: bytes | None = None, beside: str = "") -> None:
        """data: what to_bytes() gave; None, damaged, of other rules or libraries, or with another `beside`: nothing is known.

        beside: changes with what decisions depend on and rollups do not show.
        """
        self.changed = False
        self._beside = beside
        self._known: dict[str, Known] = {}
        if data is None or data[:32] != self._sealed(data[32:]):
            return
        for row in pl.read_parquet(BytesIO(data[32:])).iter_rows(named=True):
            frames = (pl.read_parquet(BytesIO(row[name])) for name in _FRAMES)
            self._known[row["environment"]] = Known(
                row["first_bin"], row["anyway"], np.array(row["digests"], dtype=np.int64), *frames
            )

    def of(self, environment: str) -> Known | None:
        """What is known of an environment; None: nothing."""
        return self._known.get(environment)

    def learn(self, environment: str, known: Known) -> None:
        """Take over what a scan knows now."""
        self.changed |= self._known.get(environment) is not known
        self._known[environment] = known

    def to_bytes(self) -> bytes:
        """All of it, sealed with its checksum under this version of the rules."""
        rows = [
            (
                name,
                known.first_bin,
                known.anyway,
                known.digests.tolist(),
                *(_parquet(getattr(known, name)) for name in _FRAMES),
            )
            for name, known in self._known.items()
        ]
        data = _parquet(pl.DataFrame(rows, schema=_KNOWN, orient="row"))
        return self._sealed(data) + data

    def _sealed(self, data: bytes) -> bytes:
        return hashlib.sha256(repr((_rules(), self._beside)).encode() + data).digest()


def _parquet(frame: pl.DataFrame) -> bytes:
    out = BytesIO()
    frame.write_parquet(out, compression="zstd")
    return out.getvalue()


@cache
def _rules() -> bytes:
    """What is known depends on besides the data: the text of this package and of the questions, and the libraries that do the arithmetic."""
    texts = sorted(
        (file.name, file.read_bytes())
        for package, names in (("apilens.detect", "*.py"), ("apilens.measure", "*.*"))
        for file in files(package).iterdir()
        if fnmatch(file.name, names)
    )
    libraries = [(name, version(name)) for name in ("numpy", "polars", "scipy")]
    return hashlib.sha256(repr((texts, libraries, schema.BIN_S)).encode()).digest()
