"""Numbers with their units, the way people read them; "–" where nothing is known."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

UNKNOWN = "–"


def count(number: float | None) -> str:
    """`212,408`; one decimal below 100 where there is a fraction."""
    if number is None:
        return UNKNOWN
    return f"{number:,.0f}" if number == round(number) or abs(number) >= 100 else f"{number:,.1f}"


def percent(ratio: float | None) -> str:
    """A ratio 0..1 as `2.3 %`; never `0 %` or `100 %` for what is only near them."""
    if ratio is None:
        return UNKNOWN
    share = 100 * ratio
    if 0 < share < 0.01:
        return "<0.01 %"
    if 99 < share < 100:
        return f"{min(share, 99.99):.4g} %"
    return f"{share:.2g} %" if share < 10 else f"{share:,.0f} %"


def milliseconds(duration_ms: float | None) -> str:
    """`0.42 ms`, `118 ms`, `4.9 s`, `2.5 min`."""
    if duration_ms is None:
        return UNKNOWN
    if duration_ms < 999.5:
        return f"{duration_ms:.2g} ms" if duration_ms < 10 else f"{duration_ms:.0f} ms"
    if duration_ms < 99_950:
        return f"{duration_ms / 1000:.1f}".removesuffix(".0") + " s"
    return f"{duration_ms / 60_000:,.1f}".removesuffix(".0") + " min"


def size(number: float | None) -> str:
    """Bytes as `512 B`, `4.2 kB`, `1.3 GB` (powers of 1000)."""
    if number is None:
        return UNKNOWN
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if abs(number) < 999.5:
            return f"{number:.0f} {unit}" if unit == "B" or number >= 10 else f"{number:.1f} {unit}"
        number /= 1000
    return f"{number:,.0f} PB"


def moment(time: datetime | None) -> str:
    """`2026-03-09 14:10Z`, in UTC, to the minute."""
    return UNKNOWN if time is None else time.astimezone(UTC).strftime("%Y-%m-%d %H:%MZ")


def second(time: datetime | None) -> str:
    """`2026-03-09 14:10:07`, in UTC, cut to the second."""
    return UNKNOWN if time is None else time.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S")


def day_and_time(time: datetime | None) -> str:
    """`03-09 14:10Z`, where the year stands beside it."""
    return UNKNOWN if time is None else time.astimezone(UTC).strftime("%m-%d %H:%MZ")


def lasting(span: timedelta) -> str:
    """The two largest units: `6 d 10 h`, `2 h 5 min`, `40 min`."""
    minutes = max(0, round(span.total_seconds() / 60))
    days, hours, rest = minutes // 1440, minutes // 60 % 24, minutes % 60
    if days:
        return f"{days} d {hours} h" if hours else f"{days} d"
    if hours:
        return f"{hours} h {rest} min" if rest else f"{hours} h"
    return f"{rest} min"


def measured(value: float | None, unit: str | None) -> str:
    """A value of `schema.CANDIDATES` in its unit; calls are per 5 minutes."""
    if value is None:
        return UNKNOWN
    if unit == "calls":
        return f"{count(value)} calls/5 min"
    return evidence(value, unit)


def evidence(value: float | None, unit: str | None) -> str:
    """A value of `schema.EVIDENCE` in its unit; calls are per hour."""
    if value is None:
        return UNKNOWN
    if unit == "ratio":
        return percent(value)
    if unit == "ms":
        return milliseconds(value)
    if unit == "bytes":
        return size(value)
    if unit == "s":
        return f"{value:,.0f} s" if abs(value) < 5_400 else f"{value / 3600:,.1f} h"
    if unit == "calls":
        return f"{count(value)} calls/h"
    return f"{value:,.4g}{f' {unit}' if unit else ''}"


def times(ratio: float | None, low: float | None, high: float | None) -> str:
    """A change as `×5.1 [4.4–5.9]`; `no change` where the interval holds 1."""
    if ratio is None or low is None or high is None:
        return UNKNOWN
    if low <= 1 <= high:
        return "no change"
    return f"×{ratio:.2g} [{low:.2g}–{high:.2g}]"
