"""What earlier scans have decided, so that a scan judges what is new: the decision from when on that is, and what is kept.

Detection looks at the past only, so what was said of a bin holds while nothing before its end changes. Two facts make this
cheap without any state of a rule. Each bin has a digest of what it holds, so late, replaced and forgotten data show from
where on nothing is known. And only what opens matters: for bins that are new a rule's `may_open` names the few endpoints
that could, and these are judged anew with their whole past, by the same code on the same numbers as in a scan from nothing.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from importlib.resources import files
from io import BytesIO

import numpy as np
import polars as pl

from apilens import schema
from apilens.detect import anomalies, baseline
from apilens.detect.baseline import DAY, HOUR, Bools, Fleet, Ints, Series

Detector = Callable[[Series, Fleet], pl.DataFrame]
#: Given series, fleet, a bin and log10 of a chance: which rows of the series can have an anomaly in that bin or later that
#: opens by its rule, or whose chance is no higher.
MayOpen = Callable[[Series, Fleet, int, float], Bools]

#: A window of a day may prolong a problem whose last abnormal bin is so long ago (incidents.QUIET before its start).
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
        ("anomalies", pl.List(pl.Struct(_ANOMALIES))),
    ]
)


@dataclass(frozen=True)
class Known:
    """What is known of one environment.

    first_bin: of the time axis, in epoch seconds / BIN_S. anyway: log10 of the chance at which windows open whatever their rule
    says. digests: of each bin since. anomalies: ANOMALIES of the detectors with a may_open, with the names of their endpoints;
    those of endpoints on which nothing ever opened are left out.
    """

    first_bin: int
    anyway: float
    digests: Ints
    anomalies: pl.DataFrame


def digests(fleet: Fleet, rows: pl.DataFrame, upstreams: Mapping[int, str]) -> Ints:
    """Per bin a number that changes with what the bin holds, whatever the order of its rows; 0: nothing.

    rows: as baseline.fleet returns them; upstreams: by endpoint.
    """
    behind = pl.DataFrame(
        {"endpoint": list(upstreams), "upstream": list(upstreams.values())},
        schema={"endpoint": pl.Int64, "upstream": pl.String},
    )
    named = (
        fleet.endpoints.lazy()
        .join(behind.lazy(), on="endpoint", how="left")
        .select("endpoint", name=pl.struct(*schema.ENDPOINT, "upstream").hash(11))
        .with_columns(pl.col("endpoint").cast(baseline.ROWS["endpoint"]))
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
    result = np.zeros(fleet.bins, dtype=np.int64)
    result[found["bin"].to_numpy()] = found["digest"].to_numpy()
    return result


def first_new(known: Known | None, fleet: Fleet, seen: Ints, anyway: float) -> int:
    """The first bin that must be judged; fleet.bins: none. seen: digests of the bins; anyway: as in Known."""
    if known is None or (known.first_bin, known.anyway) != (fleet.first_bin, anyway):
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
) -> tuple[pl.DataFrame, Known]:
    """ANOMALIES of a fleet that can belong to a problem, and what is to be remembered of them.

    may_open: by name of the detector; one without is asked about everything. known: what is remembered (None: nothing),
    seen: digests of the bins as they are now. anyway: log10 of the chance at which a sensitivity lets windows open.
    """
    since = first_new(known, fleet, seen, anyway)
    before = anomalies.ANOMALIES.to_frame() if known is None else _recalled(known, fleet, since)
    live = before.filter(pl.col("bin") >= since - LIVE)
    found = [anomalies.ANOMALIES.to_frame()]
    for series in chunks:
        here = pl.col("endpoint").is_between(series.first_endpoint, series.first_endpoint + len(series.born) - 1)
        for name, detect in detectors.items():
            mine = (pl.col("detector") == name) & here
            if name not in may_open:
                found.append(detect(series, fleet))
            elif since == fleet.bins:
                found.append(before.filter(mine))
            else:
                asked = may_open[name](series, fleet, since, anyway)
                asked[live.filter(mine)["endpoint"].to_numpy() - series.first_endpoint] = True
                rows = np.flatnonzero(asked)
                fresh = detect(series.only(rows), fleet)
                endpoints = rows + series.first_endpoint
                found.append(fresh.with_columns(endpoint=pl.Series(endpoints[fresh["endpoint"]], dtype=pl.Int64)))
                found.append(before.filter(mine & ~pl.col("endpoint").is_in(endpoints)))
    abnormal = pl.concat(found)
    if known is not None and since == fleet.bins:
        return abnormal, known
    could = (pl.col("opens") | (pl.col("log10_p") <= anyway)).any().over("detector", "endpoint")
    kept = abnormal.filter(pl.col("detector").is_in(list(may_open))).filter(could)
    named = kept.join(fleet.endpoints, on="endpoint", how="left", maintain_order="left").select(_ANOMALIES.names())
    return abnormal, Known(fleet.first_bin, anyway, seen, named)


def _recalled(known: Known, fleet: Fleet, since: int) -> pl.DataFrame:
    """The known anomalies before a bin, under the numbers that endpoints have now."""
    rows = known.anomalies.filter(pl.col("bin") < since)
    return rows.join(fleet.endpoints, on=schema.ENDPOINT, nulls_equal=True, maintain_order="left").select(
        anomalies.ANOMALIES.names()
    )


class Memory:
    """What is known of each environment. `changed` says whether it is worth being kept again."""

    def __init__(self, data: bytes | None = None) -> None:
        """data: what to_bytes() gave; None, damaged, or of other rules or libraries: nothing is known."""
        self.changed = False
        self._known: dict[str, Known] = {}
        if data is None or data[:32] != _sealed(data[32:]):
            return
        for row in pl.read_parquet(BytesIO(data[32:])).iter_rows(named=True):
            rows = pl.DataFrame(row["anomalies"], schema=_ANOMALIES)
            self._known[row["environment"]] = Known(
                row["first_bin"], row["anyway"], np.array(row["digests"], dtype=np.int64), rows
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
            (name, known.first_bin, known.anyway, known.digests.tolist(), known.anomalies.to_dicts())
            for name, known in self._known.items()
        ]
        out = BytesIO()
        pl.DataFrame(rows, schema=_KNOWN, orient="row").write_parquet(out, compression="zstd")
        return _sealed(out.getvalue()) + out.getvalue()


def _sealed(data: bytes) -> bytes:
    return hashlib.sha256(_rules() + data).digest()


@cache
def _rules() -> bytes:
    """What the decisions depend on besides the data: the text of this package, and the libraries that do the arithmetic."""
    texts = sorted(
        (file.name, file.read_bytes()) for file in files("apilens.detect").iterdir() if file.name.endswith(".py")
    )
    libraries = [(name, version(name)) for name in ("numpy", "polars", "scipy")]
    return hashlib.sha256(repr((texts, libraries, schema.BIN_S)).encode()).digest()
