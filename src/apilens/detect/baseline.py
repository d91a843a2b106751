"""Rollups → per-endpoint 5-minute series, and what is normal for them, from the past only.

Status codes are sparse (one row per endpoint, code and bin), calls and latency moments dense (endpoints × bins), so a
chunk of endpoints at a time bounds the memory.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import numpy as np
import polars as pl

from apilens import schema
from apilens.detect.bins import DAY, HOUR, MINUTES, WEEK_DAYS, Bools, Counts, Floats, Ints, Sums, same_time
from apilens.detect.movements import GROWTH_WINDOWS, by_group, growth_of, risen_in

#: More calls than so many times the typical are a burst: a job, a crawler, one long session.
STEADY_FACTOR = 2.0
#: Endpoints evaluated at once: 256 × 8,640 bins (30 days) × 8 bytes is 18 MB per matrix.
CHUNK = 256
#: Rollups of so many endpoints are sorted at once.
STRIPE = 8 * CHUNK
#: Dense arithmetic is done for so many of them at a time: 16 × 8,640 × 8 bytes is 1 MB, which the processor's cache holds
#: and the allocator keeps. 256 at once take more than twice as long.
PIECE = 16
#: By how much a window must beat the endpoint's second worst and worst day of the week before.
HABIT_SECOND, HABIT_HIGHEST = 1.35, 1.05
#: Traffic of so many hashed groups of endpoints tells what the whole fleet did; the median over groups ignores the odd
#: one out.
FLEET_GROUPS = 512
#: A fleet of so many endpoints is what thresholds were picked on: worlds of 40, in whose logs scanners and retired routes make up to six more.
FEW = 46
#: By how many decades windows get rarer for each decade of chance that is asked for: those of quiet worlds that are ten times less probable, by the
#: detectors' own words, are 1.8 times rarer (by detector 0.1 to 0.5 decades: what makes them is no noise but small events). So five times as many
#: endpoints need 2.8 decades more, not 0.7, for the same number of false tickets (decision 13).
RARER = 0.25
#: Log durations are known to one part in so many, a power of two.
EXACT = float(1 << 20)
#: The rollups of a fleet, narrow enough to hold those of 10,000 endpoints for a month.
ROWS = pl.Schema(
    [
        ("endpoint", pl.Int32),
        ("bin", pl.Int32),
        ("status_code", pl.Int16),
        ("calls", pl.Int32),
        ("minute_calls", pl.List(pl.Int32)),
        ("durations", pl.Int32),
        ("log_duration_sum", pl.Float64),
        ("log_duration_sumsq", pl.Float64),
        ("bucket", pl.List(pl.Int16)),  # null from 400 on
        ("bucket_calls", pl.List(pl.Int32)),  # null from 400 on
    ]
)


@dataclass(frozen=True, slots=True)
class Fleet:
    """One environment: its endpoints, its time axis, and what all endpoints did together."""

    endpoints: pl.DataFrame  # endpoint (0..), environment, service, method, route
    first_bin: int  # epoch seconds / BIN_S of bin 0
    bins: int
    load: Floats  # (bins) calls of all endpoints; 0: nothing was logged, which is missing data and not a drop
    growth: dict[int, Floats]  # window in bins → (7, bins) factor of its traffic since 1..7 days ago; NaN: unknown
    risen: Bools  # (bins) calls have just risen on many endpoints at once
    many: Floats  # (bins) by how much log10 of a chance must be lower for looking at so many endpoints (RARER)
    launch: int  # bin of the go-live; not after any first call where none was named
    code_ratio: dict[int, Floats]  # status_code → (days) median daily share of all calls over the 7 days before
    born: Ints = field(default_factory=lambda: np.zeros(0, np.int64))  # (endpoints) first bin with a call

    def day_of(self, bin_: Ints) -> Ints:
        """Days since the first bin's UTC midnight."""
        return (bin_ + self.first_bin % DAY) // DAY

    @property
    def days(self) -> int:
        """UTC days that the bins touch."""
        return (self.bins - 1 + self.first_bin % DAY) // DAY + 1

    @property
    def movements(self) -> pl.DataFrame:
        """`risen` and `growth`, one row per bin."""
        return pl.from_numpy(np.vstack([self.risen, *self.growth.values()]).T)

    def since(self, bin_: int) -> Fleet:
        """What is known bin by bin from a bin on, which becomes bin 0; without what is known by day."""
        growth = {width: factor[:, bin_:] for width, factor in self.growth.items()}
        return replace(
            self,
            first_bin=self.first_bin + bin_,
            bins=self.bins - bin_,
            load=self.load[bin_:],
            growth=growth,
            risen=self.risen[bin_:],
            many=self.many[bin_:],
            launch=max(self.launch - bin_, 0),
            code_ratio={},
            born=self.born - bin_,
        )


@dataclass(frozen=True, slots=True)
class Series:
    """A chunk of endpoints; row i of every matrix belongs to endpoint `first_endpoint + i`.

    Latency is that of calls with a status below 400: failures are often fast or run into a time limit, and have a
    detector of their own.
    """

    first_endpoint: int
    calls: Floats  # (endpoints, bins)
    beside: Floats  # (endpoints, bins) calls of all endpoints with the same upstream; of itself where it is not known
    siblings: Floats  # (endpoints, bins) calls of the others with the same upstream, without their bursts
    born: Ints  # (endpoints) first bin with a call
    timed: Floats  # (endpoints, bins) calls below 400 whose duration is known
    log_sum: Floats  # (endpoints, bins) of ln(ms)
    log_sumsq: Floats
    codes: pl.DataFrame  # row (in this chunk), status_code, bin, calls, by_minute, all_by_minute (of any status); 4xx and 5xx only, sorted
    buckets: pl.DataFrame  # row, bin, bucket, calls; below 400

    def pieces(self, rows: Ints) -> Iterator[tuple[Ints, Series]]:
        """The series of some rows without their codes, PIECE at a time, numbered from 0; and which rows these are."""
        place = np.full(len(self.born), -1)
        place[rows] = np.arange(len(rows))
        buckets = self.buckets.with_columns(row=pl.Series(place[self.buckets["row"].to_numpy()]))
        for first in range(0, len(rows), PIECE):
            mine = rows[first : first + PIECE]
            inside = buckets.filter(pl.col("row").is_between(first, first + len(mine) - 1))
            yield (
                mine,
                Series(
                    0,
                    self.calls[mine],
                    self.beside[mine],
                    self.siblings[mine],
                    self.born[mine],
                    self.timed[mine],
                    self.log_sum[mine],
                    self.log_sumsq[mine],
                    self.codes.clear(),
                    inside.with_columns(pl.col("row") - first),
                ),
            )

    def only(self, rows: Ints) -> Series:
        """The series of some rows, numbered from 0."""
        place = pl.DataFrame({"row": rows, "place": np.arange(len(rows))})

        def kept(table: pl.DataFrame) -> pl.DataFrame:
            inside = table.join(place, on="row", maintain_order="left")
            return inside.select(pl.col("place").alias("row"), pl.exclude("row", "place"))

        return Series(
            0,
            self.calls[rows],
            self.beside[rows],
            self.siblings[rows],
            self.born[rows],
            self.timed[rows],
            self.log_sum[rows],
            self.log_sumsq[rows],
            kept(self.codes),
            kept(self.buckets),
        )

    def since(self, bin_: int) -> Series:
        """The series from a bin on, which becomes bin 0; endpoints keep the age they have."""

        def late(table: pl.DataFrame) -> pl.DataFrame:
            return table.filter(pl.col("bin") >= bin_).with_columns(pl.col("bin") - bin_) if bin_ else table

        return Series(
            self.first_endpoint,
            self.calls[:, bin_:],
            self.beside[:, bin_:],
            self.siblings[:, bin_:],
            self.born - bin_,
            self.timed[:, bin_:],
            self.log_sum[:, bin_:],
            self.log_sumsq[:, bin_:],
            late(self.codes),
            late(self.buckets),
        )


def fleet(rollups: pl.DataFrame | pl.LazyFrame, bins: tuple[int, int], launch: int = 0) -> tuple[Fleet, pl.DataFrame]:
    """The fleet of one environment, and its rollups as ROWS.

    rollups: schema.ROLLUPS of one environment, any order. bins: first and one past the last, launch: that of the go-live,
    in epoch seconds / BIN_S.
    """
    rollups = rollups.lazy()
    endpoints = numbered(rollups.select(schema.ENDPOINT).unique().collect(engine="streaming"))
    rows = narrow(rollups, endpoints, bins[0])
    return together(endpoints, rows, bins, launch), rows


def numbered(names: pl.DataFrame) -> pl.DataFrame:
    """Fleet.endpoints of some schema.ENDPOINT."""
    ordered = names.select(schema.ENDPOINT).sort(schema.ENDPOINT, nulls_last=True)
    return ordered.select(pl.int_range(pl.len(), dtype=pl.Int64).alias("endpoint"), *schema.ENDPOINT)


def narrow(rollups: pl.LazyFrame, endpoints: pl.DataFrame, first_bin: int) -> pl.DataFrame:
    """ROWS of the rollups of some endpoints (numbered)."""
    failed = pl.col("status_code") >= 400
    values = {
        "bin": pl.col("bin_start").dt.epoch("s") // schema.BIN_S - first_bin,
        # Of failures nothing is asked but how many there were.
        "bucket": pl.when(~failed).then("bucket"),
        "bucket_calls": pl.when(~failed).then("bucket_calls"),
        # To millionths, whose sums are exact: they must not depend on how the rows came, in which files and order.
        **{name: (pl.col(name) * EXACT).round() / EXACT for name in ("log_duration_sum", "log_duration_sumsq")},
    }
    return (
        rollups.join(endpoints.lazy(), on=list(schema.ENDPOINT), how="left", nulls_equal=True)
        .select(values.get(name, pl.col(name)).cast(dtype).alias(name) for name, dtype in ROWS.items())
        .collect(engine="streaming")
    )


def together(
    endpoints: pl.DataFrame,
    rows: pl.DataFrame,
    bins: tuple[int, int],
    launch: int = 0,
    known: pl.DataFrame | None = None,
    since: int = 0,
) -> Fleet:
    """The fleet of some endpoints and their rows; bins, launch: as for fleet().

    known: Fleet.movements of an earlier scan, which hold for the bins before `since`.
    """
    first_bin, end_bin = bins
    count = end_bin - first_bin
    bin_, calls = (rows[name].to_numpy() for name in ("bin", "calls"))
    load = np.bincount(bin_, calls, count).astype(np.float64)
    named = pl.concat_str(pl.col(schema.ENDPOINT).fill_null("-"), separator="\x1f")
    hashed = endpoints.select(named.hash(7) % FLEET_GROUPS).to_series()
    group = (hashed.rank("dense") - 1).cast(pl.Int64).to_numpy()
    first_calls = rows.lazy().group_by("endpoint").agg(pl.col("bin").min()).collect()
    born = np.full(endpoints.height, count)
    born[first_calls["endpoint"].to_numpy()] = first_calls["bin"].to_numpy()
    many = np.log10(np.maximum(np.cumsum(np.bincount(born, minlength=count)) / FEW, 1.0)) / RARER
    launched = max(launch - first_bin, 0)
    # What is new, with the past that it is compared with.
    begin = max(since - WEEK_DAYS * DAY - max(GROWTH_WINDOWS), 0)
    groups = by_group(rows, group, begin, count)
    moved = np.full((1 + WEEK_DAYS * len(GROWTH_WINDOWS), count), np.nan)
    moved[0, begin:] = risen_in(groups, logged=bool(load[:begin].any()))
    moved[1:, begin:] = np.concatenate([*growth_of(groups, since - begin).values()])
    if known is not None:
        moved[:, :since] = known.to_numpy().T[:, :since]
    growth = dict(zip(GROWTH_WINDOWS, moved[1:].reshape(-1, WEEK_DAYS, count), strict=True))
    shape = Fleet(endpoints, first_bin, count, load, growth, moved[0] > 0, many, launched, {}, born)
    # Lazily: an eager filter copies all columns, the lists of minutes and buckets as well.
    sums = (
        rows.lazy()
        .filter(pl.col("status_code") >= 400)
        .group_by("status_code", day=(pl.col("bin") + first_bin % DAY) // DAY)
        .agg(pl.col("calls").cast(pl.Int64).sum())
        .sort("status_code")
        .collect()
    )
    per_day = np.bincount(shape.day_of(np.arange(count)), weights=load, minlength=shape.days)
    for (code,), part in sums.group_by("status_code", maintain_order=True):
        share = np.zeros(shape.days)
        share[part["day"].to_numpy()] = part["calls"].to_numpy()
        share = np.where(per_day > 0, share / np.maximum(per_day, 1.0), np.nan)
        shape.code_ratio[int(code)] = np.array(
            [_median(share[max(0, day - WEEK_DAYS) : day]) for day in range(shape.days)]
        )
    return shape


def _median(values: Floats) -> float:
    known = values[~np.isnan(values)]
    return float(np.median(known)) if len(known) else 0.0


def chunks(
    shape: Fleet, rows: pl.DataFrame, upstreams: dict[int, str] | None = None, only: Ints | None = None
) -> Iterator[Series]:
    """The fleet's series, CHUNK endpoints at a time; rows as fleet() returns them, upstreams by endpoint where known.

    only: the numbers of some endpoints, ascending; the series have these alone, under their places among them.
    """
    numbers = np.arange(shape.endpoints.height) if only is None else only
    shared = _shared(upstreams or {}, numbers)
    together, steady, bursts = _behind(shape, rows, shared)
    for first, of, part in _parts(rows, numbers):
        size = len(of)
        calls = _dense(part, "calls", size, shape.bins)
        good = part.filter(pl.col("status_code") < 400)
        buckets = (
            good.select("row", "bin", "bucket", pl.col("bucket_calls").alias("calls"))
            .explode("bucket", "calls")
            .drop_nulls("bucket")
        )
        mine, at = _shared_in(shared, of)
        beside, siblings = calls.copy(), np.zeros_like(calls)
        beside[mine] = together[at]
        own = calls[mine]
        there = np.full(size, -1)
        there[mine] = np.arange(len(mine))
        # Ascending, as these are.
        low, high = np.searchsorted(bursts[0], [of[0], of[-1] + 1])
        theirs = np.isin(bursts[0][low:high], of)
        endpoint, bin_, kept = (column[low:high][theirs] for column in bursts)
        own[there[np.searchsorted(of, endpoint)], bin_] = kept
        siblings[mine] = steady[at] - own
        yield Series(
            first,
            calls,
            beside,
            siblings,
            _born(calls),
            _dense(good, "durations", size, shape.bins),
            _dense(good, "log_duration_sum", size, shape.bins),
            _dense(good, "log_duration_sumsq", size, shape.bins),
            _codes(part),
            buckets,
        )


def coded(shape: Fleet, rows: pl.DataFrame) -> Iterator[Series]:
    """chunks() for who asks for calls and codes alone: nothing is known of latency and of others behind the same upstream."""
    rows = rows.select("endpoint", "bin", "status_code", "calls", "minute_calls")
    for first, of, part in _parts(rows, np.arange(shape.endpoints.height)):
        calls = _dense(part, "calls", len(of), shape.bins)
        nothing, codes = calls[:, :0], _codes(part)
        yield Series(
            first,
            calls,
            nothing,
            nothing,
            _born(calls),
            nothing,
            nothing,
            nothing,
            codes,
            codes.select("row", "bin").clear(),
        )


def _born(calls: Floats) -> Ints:
    seen = calls > 0
    first: Ints = np.where(seen.any(axis=1), seen.argmax(axis=1), calls.shape[1]).astype(np.int64)
    return first


def _codes(part: pl.DataFrame) -> pl.DataFrame:
    """Series.codes of the rows of a chunk."""
    minutes = pl.concat_arr(pl.col("minute_calls").list.get(i).sum().cast(pl.Int64) for i in range(MINUTES))
    failed = part.filter(pl.col("status_code") >= 400)
    beside_them = part.join(failed.select("row", "bin").unique(), on=["row", "bin"], how="semi")
    return (
        failed.group_by("row", "status_code", "bin")
        .agg(pl.col("calls").sum(), minutes.alias("by_minute"))
        .join(beside_them.group_by("row", "bin").agg(minutes.alias("all_by_minute")), on=["row", "bin"])
        .sort("row", "status_code", "bin")
    )


def _parts(rows: pl.DataFrame, numbers: Ints) -> Iterator[tuple[int, Ints, pl.DataFrame]]:
    """Some endpoints, ascending, CHUNK at a time: the place of the first, their numbers, and their rows with `row`, the place in the chunk."""
    for begin in range(0, len(numbers), STRIPE):
        stripe = _rows_of(rows, numbers[begin : begin + STRIPE])
        for first in range(begin, min(begin + STRIPE, len(numbers)), CHUNK):
            of = numbers[first : first + CHUNK]
            part = _rows_of(stripe, of)
            row = pl.Series("row", np.searchsorted(of, part["endpoint"].to_numpy()))
            yield first, of, part.with_columns(row)


def _rows_of(rows: pl.DataFrame, numbers: Ints) -> pl.DataFrame:
    """The rows of some endpoints, ascending."""
    inside = pl.col("endpoint").is_between(int(numbers[0]), int(numbers[-1]))
    if len(numbers) <= numbers[-1] - numbers[0]:
        inside &= pl.col("endpoint").is_in(numbers.tolist())
    return rows.filter(inside)


def _shared(upstreams: dict[int, str], numbers: Ints) -> pl.DataFrame:
    """Endpoints that share their upstream with others, and the number (`group`) of that; of upstreams of some endpoints only."""
    named = pl.DataFrame(
        {"endpoint": list(upstreams), "upstream": list(upstreams.values())},
        schema={"endpoint": pl.Int64, "upstream": pl.String},
    )
    asked = pl.col("endpoint").is_in(numbers.tolist()).any().over("upstream")
    return (
        named.filter((pl.len().over("upstream") > 1) & asked)
        .with_columns(group=pl.col("upstream").rank("dense").cast(pl.Int64) - 1)
        .sort("endpoint")
    )


def _shared_in(shared: pl.DataFrame, numbers: Ints) -> tuple[Ints, Ints]:
    """Places among some endpoints, ascending, of those that share their upstream, and the number of that."""
    mine = shared.filter(pl.col("endpoint").is_in(numbers.tolist()))
    return np.searchsorted(numbers, mine["endpoint"].to_numpy()), mine["group"].to_numpy()


def _behind(shape: Fleet, rows: pl.DataFrame, shared: pl.DataFrame) -> tuple[Counts, Counts, tuple[Ints, Ints, Floats]]:
    """(upstreams, bins) calls of all endpoints behind each upstream, and the same without their bursts; and these bursts: endpoint,
    bin, and calls without."""
    # Of all upstreams at once: nine weeks of a thousand are 145 MB, with eight bytes a count twice that.
    together, steady = (np.zeros((shared["group"].n_unique(), shape.bins), np.int32) for _ in range(2))
    bursts = [(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0))]
    for _, of, part in _parts(rows.select("endpoint", "bin", "calls"), shared["endpoint"].to_numpy()):
        _, at = _shared_in(shared, of)
        calls = _dense(part, "calls", len(of), shape.bins)
        calm = without_bursts(calls)
        np.add.at(together, at, calls.astype(np.int32))
        np.add.at(steady, at, calm.astype(np.int32))
        # Few, so that they need not be told a second time.
        row, bin_ = np.nonzero(calm < calls)
        bursts.append((of[row], bin_, calm[row, bin_]))
    endpoint, bin_, kept = (np.concatenate(column) for column in zip(*bursts, strict=True))
    return together, steady, (endpoint, bin_, kept)


def without_bursts(calls: Floats) -> Floats:
    """(endpoints, bins) calls, no more of them than STEADY_FACTOR times (and three deviations above) what is typical: at this
    time of the seven days before, or in the two hours before.

    Typical is the square of a mean root, which a job of a few minutes hardly moves. Whole numbers, whose sums are exact.
    """
    return np.concatenate([calls[:0], *(_steady(calls[at : at + PIECE]) for at in range(0, len(calls), PIECE))])


def _steady(calls: Floats) -> Floats:
    """without_bursts of a few."""
    roots = Sums(np.sqrt(calls))
    age = np.arange(calls.shape[1]) - np.where((calls > 0).any(axis=1), (calls > 0).argmax(axis=1), 0)[:, None]
    days = np.clip(age // DAY, 0, WEEK_DAYS)
    around = same_time(roots.window(HOUR), HOUR // 2) / (HOUR * np.maximum(days, 1))
    root = np.maximum(around, roots.past(2 * HOUR, 1) / (2 * HOUR))
    most = np.where(days > 0, np.floor(STEADY_FACTOR * root**2 + 3 * root + 1), np.inf)
    return np.minimum(calls, most)


def _dense(rows: pl.DataFrame, column: str, endpoints: int, bins: int) -> Floats:
    """Sums of a column by row and bin, which do not depend on the order of the rows (see EXACT)."""
    at = rows["row"].to_numpy() * bins + rows["bin"].to_numpy()
    return np.bincount(at, rows[column].to_numpy(), endpoints * bins).astype(np.float64).reshape(endpoints, bins)


def by_minute(rows: pl.DataFrame, first: int, end: int) -> Floats:
    """Calls in each minute of the bins first .. end-1. rows: ROWS of one endpoint."""
    inside = rows.filter(pl.col("bin").is_between(first, end - 1))
    calls = np.zeros((end - first, MINUTES))
    np.add.at(calls, inside["bin"].to_numpy() - first, inside["minute_calls"].list.to_array(MINUTES).to_numpy())
    return calls.ravel()


def by_bin(rows: pl.DataFrame, bins: int) -> Floats:
    """Calls in each of the first bins. rows: ROWS of one endpoint."""
    return np.bincount(rows["bin"].to_numpy(), rows["calls"].to_numpy(), bins).astype(np.float64)


def habit(matrix: Floats, shape: Fleet, strong: tuple[Ints, Ints]) -> Floats:
    """Per bin what the endpoint itself reached on the seven days before: the higher of HABIT_SECOND × the second
    highest daily maximum and HABIT_HIGHEST × the highest; more where fewer days are known, -inf without a past.

    strong: rows and bins of the windows that open if they beat this. What an endpoint does on two days of a week is its
    habit (a batch job, a nightly backup), whatever a noise model says. A day on which a window opened was an incident:
    it counts for the second highest alone, so that one outage does not excuse the next.
    """
    daily = _by_day(matrix, shape, -np.inf).max(axis=2)
    rows, bins = strong
    opening = np.full_like(daily, -np.inf)
    np.maximum.at(opening, (rows, shape.day_of(bins)), matrix[rows, bins])
    usual, ordinary = np.full_like(daily, -np.inf), daily.copy()
    for day in range(1, shape.days):
        week = slice(max(day - WEEK_DAYS, 0), day)
        known = np.maximum((daily[:, week] > 0).sum(axis=1), 1)
        second = np.partition(daily[:, week], -2, axis=1)[:, -2] if day > 1 else np.full(len(daily), -np.inf)
        highest = ordinary[:, week].max(axis=1)
        usual[:, day] = (1 + 1 / known) * np.maximum(HABIT_SECOND * second, HABIT_HIGHEST * highest)
        ordinary[opening[:, day] > usual[:, day], day] = -np.inf
    return _by_bin(usual, shape)


def spread(square: Floats, usable: Bools, shape: Fleet, *, prior: float, weight: float, skip_days: int = 0) -> Floats:
    """Per bin the mean of `square` over usable bins of the seven days before, without the worst day once there are
    three.

    square: squared errors of the endpoint's own forecasts. prior: what is expected before there are any; weighs like
    `weight` bins. skip_days: the seven days end so many days earlier.
    Leaving out the worst day keeps one incident from hiding the next.
    """
    sums = _by_day(np.where(usable, square, 0.0), shape, 0.0).sum(axis=2)
    counts = _by_day(usable.astype(np.float64), shape, 0.0).sum(axis=2)
    total, number, days = np.zeros_like(sums), np.zeros_like(sums), np.zeros_like(sums)
    worst, worst_sum, worst_number = np.zeros_like(sums), np.zeros_like(sums), np.zeros_like(sums)
    for lag in range(1 + skip_days, min(WEEK_DAYS + skip_days, shape.days - 1) + 1):
        day_sum, day_number = np.zeros_like(sums), np.zeros_like(sums)
        day_sum[:, lag:], day_number[:, lag:] = sums[:, :-lag], counts[:, :-lag]
        mean = day_sum / np.maximum(day_number, 1.0)
        higher = (mean > worst) & (day_number > 0)
        worst = np.where(higher, mean, worst)
        worst_sum, worst_number = np.where(higher, day_sum, worst_sum), np.where(higher, day_number, worst_number)
        total, number, days = total + day_sum, number + day_number, days + (day_number > 0)
    trim = days >= 3
    total, number = total - trim * worst_sum, number - trim * worst_number
    return _by_bin((total + prior * weight) / (number + weight), shape)


def _by_day(matrix: Floats, shape: Fleet, fill: float) -> Floats:
    """(endpoints, UTC days, bins of a day); bins before the first and after the last are `fill`."""
    offset = shape.first_bin % DAY
    padded = np.full((matrix.shape[0], shape.days * DAY), fill)
    padded[:, offset : offset + shape.bins] = matrix
    return padded.reshape(matrix.shape[0], shape.days, DAY)


def _by_bin(daily: Floats, shape: Fleet) -> Floats:
    """A value per day, repeated for each of its bins."""
    offset = shape.first_bin % DAY
    return np.repeat(daily, DAY, axis=1)[:, offset : offset + shape.bins]
