"""Standing faults: what is bad since the go-live, else since an endpoint was first called, and would become its own baseline.

There is no better past to compare with, so its peers are: the endpoints of the same stretch of the fleet (sorted by service), at
the same moment. Only in the first days; later a baseline of its own exists, and what was not found by then is known.
"""

from __future__ import annotations

import numpy as np
import polars as pl
from scipy.special import betainc, betaincinv

from apilens.detect import anomalies
from apilens.detect.baseline import Fleet, Series
from apilens.detect.bins import DAY, HOUR, Floats, Ints
from apilens.detect.counting import Events

#: So long after the first call (the go-live) a fault can still be one of the launch (DETECTION: days 0-4).
FIRST_DAYS = 4 * DAY
#: A launch's first two hours are a matter of warming up.
WAIT = 2 * HOUR
#: Calls with the code, all calls, and hours with the code that are the least.
MIN_HITS, MIN_CALLS, MIN_HOURS = 8, 30, 3
#: Beyond doubt (99.99 %: it is asked each five minutes for four days) more than this share of all calls, and so many times what three quarters of the peers have. 404 and 400
#: are part of how some interfaces are used; 5xx are not. Picked on worlds whose endpoints differ in their usual errors.
LEAST_SHARE = {"server": 0.06, "client": 0.12, "refused": 0.06, "missing": 0.08, "lookup": 0.3, "credentials": 0.5}
#: Codes that say something of what was asked for: an item that is not there (yet), where a route with a variable is read (RFC 9110,
#: 15.5.5), or that was changed meanwhile (15.5.10, 15.5.11, 15.5.13). Without a variable, 404 says that the route itself is missing.
CONFLICT = (409, 410, 412)
#: Who asks for a token or logs in is told 401 for a wrong secret (RFC 6749, 5.2): that is what these are for.
CREDENTIALS = r"(?i)\b(oauth2?|tokens?|log-?in|sign-?in|sessions?|auth|authenticate|otp|password|mfa)\b"
PEER_FACTOR = 3.0
DOUBT = 0.0001


def detect(series: Series, fleet: Fleet) -> pl.DataFrame:
    """Anomalies (anomalies.ANOMALIES) of signals errors, auth and rate_limit, from the first call on."""
    table = series.codes
    if table.is_empty():
        return anomalies.ANOMALIES.to_frame()
    events = Events(table, series, fleet)
    born = np.maximum(series.born[events.row], fleet.launch)
    age = events.bin - born
    young = np.flatnonzero((age >= WAIT) & (age < FIRST_DAYS))
    k, n = events.between(young, born[young], events.bin[young] + 1)
    enough = (k >= MIN_HITS) & (n >= MIN_CALLS)
    young, k, n = young[enough], k[enough], n[enough]
    if len(young) == 0:
        return anomalies.ANOMALIES.to_frame()
    auth, limited = np.isin(events.code[young], [401, 403]), events.code[young] == 429
    signal = np.select([auth, limited], ["auth", "rate_limit"], "errors")
    least = _least(events.code[young], fleet.endpoints[events.row[young] + series.first_endpoint])
    least = np.maximum(least, PEER_FACTOR * _peers(events, young))
    low = betaincinv(k + 0.5, n - k + 0.5, DOUBT)
    # Still so in the last two hours that had calls enough to tell, and in several hours.
    recent, recent_n = events.between(young, events.bin[young] - WAIT + 1, events.bin[young] + 1)
    hours = _hours(events)[young]
    # A burst is no standing fault: the first half of its life has as much of it as the second, within a factor of four.
    middle = (born[young] + events.bin[young]) // 2
    early, early_n = events.between(young, born[young], middle)
    even = early / np.maximum(early_n, 1.0) > k / n / 2
    opens = (low > least) & even & (hours >= MIN_HOURS) & (recent >= 0.5 * k / n * recent_n)
    at = young[opens]
    observed, expected = (k / n)[opens], least[opens] / PEER_FACTOR
    log10_p = anomalies.log10_tail(betainc(k[opens], n[opens] - k[opens] + 1, least[opens]))
    return pl.DataFrame(
        {
            "endpoint": events.row[at] + series.first_endpoint,
            "detector": "standing",
            "signal": signal[opens],
            "status_code": events.code[at],
            "direction": 1,
            "bin": events.bin[at],
            "minutes": None,
            "start_bin": born[at],
            "opens": True,
            "log10_p": log10_p,
            "observed": observed,
            "expected": expected,
            "unit": "ratio",
            "n": n[opens],
            "excess": (observed - expected) * n[opens],
        },
        schema=dict(anomalies.ANOMALIES),
        strict=False,
    )


def _least(code: Ints, endpoints: pl.DataFrame) -> Floats:
    """The share of each code that is a fault on such a route; endpoints: those, row by row."""
    names = endpoints.select(
        lookup=pl.col("method").is_in(["GET", "HEAD"]) & pl.col("route").str.contains("{", literal=True),
        credentials=pl.col("route").str.contains(CREDENTIALS),
    )
    lookup, credentials = (names[name].fill_null(False).to_numpy() for name in names.columns)
    return np.select(
        [
            code >= 500,
            (code == 401) & credentials,
            np.isin(code, CONFLICT) | (code == 404) & lookup,
            code == 404,
            np.isin(code, [403, 429]),
        ],
        [LEAST_SHARE[name] for name in ("server", "credentials", "lookup", "missing", "refused")],
        LEAST_SHARE["client"],
    )


def _peers(events: Events, at: Ints) -> Floats:
    """Per event `at` the upper quartile of the code's share until its hour began, over the endpoints of the chunk that
    are called enough; 0.0 where none is."""
    hours, of_hour = np.unique(events.bin[at] // HOUR, return_inverse=True)
    ends = hours * HOUR
    total = events.total[:, ends]
    peers = np.zeros(len(at))
    for code in np.unique(events.code[at]):
        hits = np.zeros((len(total), len(hours) + 1))
        mine = events.code == code
        np.add.at(hits, (events.row[mine], np.searchsorted(ends, events.bin[mine], side="right")), events.calls[mine])
        share = np.cumsum(hits[:, :-1], axis=1) / np.maximum(total, 1.0)
        quartile = _upper_quartile(np.where(total >= MIN_CALLS, share, np.nan))
        asked = events.code[at] == code
        peers[asked] = quartile[of_hour[asked]]
    return peers


def _upper_quartile(values: Floats) -> Floats:
    """Of each column, of what is not NaN, between two values in proportion; 0.0 where nothing is.

    numpy.nanquantile says the same, column by column: a hundred times as dear.
    """
    ordered = np.sort(values, axis=0)
    at = 0.75 * np.maximum((~np.isnan(values)).sum(axis=0) - 1, 0)
    low, high = np.floor(at).astype(np.int64), np.ceil(at).astype(np.int64)
    lower, upper = (np.take_along_axis(ordered, place[None, :], axis=0)[0] for place in (low, high))
    quartile: Floats = np.nan_to_num(lower + (upper - lower) * (at - low))
    return quartile


def _hours(events: Events) -> Ints:
    """Per event in how many hours its pair has had the code so far."""
    hour = events.bin // HOUR
    new = np.r_[True, (np.diff(hour) != 0) | (np.diff(events.pair) != 0)]
    count = np.cumsum(new)
    first = np.flatnonzero(np.r_[True, np.diff(events.pair) != 0])
    so_far: Ints = count - count[first][events.pair] + 1
    return so_far
