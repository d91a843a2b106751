"""Half-open UTC windows: a window includes its start and leaves out its end."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo

from apilens.errors import UsageError

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_AGO = re.compile(r"(\d{1,9})([smhdw])", re.ASCII)

#: No gateway wrote a log before, and windows around a later moment must not leave the calendar.
_FIRST_YEAR, _LAST_YEAR = 1970, 2199
_LONGEST = timedelta(days=36_525)


@dataclass(frozen=True, slots=True)
class Window:
    """[start, end) in UTC; None on a side: unbounded there."""

    start: datetime | None = None
    end: datetime | None = None

    def __post_init__(self) -> None:
        if self.start is not None and self.end is not None and self.start >= self.end:
            raise UsageError(f"window is empty: it starts {self.start.isoformat()} and ends {self.end.isoformat()}")

    def holds(self, other: Window) -> bool:
        """Whether nothing of the other lies outside."""
        return self.with_all_of(other) == self

    def with_all_of(self, other: Window) -> Window:
        """The shortest window that holds both."""
        start = None if self.start is None or other.start is None else min(self.start, other.start)
        return Window(start, None if self.end is None or other.end is None else max(self.end, other.end))


#: No bound on either side.
ALWAYS = Window()


def parse_duration(text: str) -> timedelta:
    """How long `90s`, `15m`, `2h`, `7d` or `1w` is. Raises UsageError for anything else."""
    found = _AGO.fullmatch(text.strip())
    if found is None:
        raise UsageError(f"{text!r} is no duration; expected for example 15m, 2h or 7d")
    seconds = int(found[1]) * _UNITS[found[2]]
    if seconds > _LONGEST.total_seconds():
        raise UsageError(f"{text!r} is longer than a hundred years; expected a shorter time, for example 90d")
    return timedelta(seconds=seconds)


def parse_time(text: str, *, now: datetime, tz: tzinfo = UTC) -> datetime:
    """A moment in UTC from `2h` (ago), `now`, `today`, `yesterday`, a date, or an ISO 8601 time.

    tz: zone of texts that name none. Raises UsageError with the accepted forms.
    """
    moment = _moment(text, now, tz)
    if not _FIRST_YEAR <= moment.year <= _LAST_YEAR:
        raise UsageError(
            f"{text!r} lies in the year {moment.year}; expected {_FIRST_YEAR} to {_LAST_YEAR}, for example 90d or 2026-11-22"
        )
    return moment


def _moment(text: str, now: datetime, tz: tzinfo) -> datetime:
    word = text.strip()
    if (ago := _AGO.fullmatch(word)) is not None:
        try:
            return now - timedelta(seconds=int(ago[1]) * _UNITS[ago[2]])
        except OverflowError:
            raise UsageError(f"{text!r} reaches before year 1; expected a shorter time, for example 90d") from None
    if word == "now":
        return now
    if word in ("today", "yesterday"):
        midnight = now.astimezone(tz).replace(hour=0, minute=0, second=0, microsecond=0)
        return (midnight - timedelta(days=word == "yesterday")).astimezone(UTC)
    try:
        moment = datetime.fromisoformat(word)
        return (moment if moment.tzinfo else moment.replace(tzinfo=tz)).astimezone(UTC)
    except (ValueError, OverflowError):
        raise UsageError(
            f"{text!r} is no time; expected for example 2h, 7d, yesterday, 2026-11-22 or 2026-11-22T10:00Z"
        ) from None
