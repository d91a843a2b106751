"""Options that several commands share; one meaning each."""

from __future__ import annotations

import getpass
import os
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, TypeVar
from zoneinfo import ZoneInfo

import click

from apilens.errors import UsageError
from apilens.window import Window, parse_time

_Command = TypeVar("_Command", bound=Callable[..., Any])

lake_option = click.option(
    "--lake",
    "lake",
    envvar="APILENS_LAKE",
    default="apilens-data",
    show_default=True,
    metavar="DIR",
    help="Folder of the lake, or s3://BUCKET/PREFIX.",
)
state_option = click.option(
    "--state",
    "state",
    envvar="APILENS_STATE",
    metavar="URL",
    help="State database; default: SQLite inside the lake.",
)
config_option = click.option(
    "--config",
    "config",
    envvar="APILENS_CONFIG",
    metavar="FILE",
    help="Configuration; default: apilens.toml of the working folder, if there.",
)
context_option = click.option(
    "--context",
    "context",
    envvar="APILENS_CONTEXT",
    metavar="FILE",
    help="Business context: features, accounts, owners, value of endpoints.",
)
_NOW = "Answer as of this moment (reproducible runs), for example 2026-11-22T10:00Z."
now_option = click.option("--now", "now", metavar="TIME", help=_NOW)
since_option = click.option(
    "--since", "since", metavar="TIME", help="Start of the window: 2h, 7d, yesterday, 2026-11-22T10:00Z."
)
until_option = click.option("--until", "until", metavar="TIME", help="End of the window, left out itself.")
tz_option = click.option(
    "--tz", "tz", envvar="APILENS_TZ", metavar="ZONE", help="Zone of times that name none; default UTC."
)
log_format_from_option = click.option(
    "--log-format-from",
    "log_format_from",
    metavar="FILE",
    help="Gateway configuration (nginx.conf, httpd.conf, …) whose layouts are tried.",
)
openapi_option = click.option(
    "--openapi",
    "openapi",
    metavar="FILE",
    help="OpenAPI document (3.x or Swagger 2) that names the routes of this run.",
)


def output_option(*formats: str) -> Callable[[_Command], _Command]:
    """`--output` with the given formats; the first one is the default."""
    return click.option(
        "--output",
        "output",
        type=click.Choice(formats),
        default=formats[0],
        show_default=True,
        help="Form of the result.",
    )


def decision_options(command: _Command) -> _Command:
    """`--who`, `--why` and `--now` of a decision: who (text), why (text or None) and now (a datetime; default: the clock)."""
    who = click.option(
        "--who",
        "who",
        envvar="APILENS_WHO",
        metavar="NAME",
        callback=lambda _ctx, _option, given: given or _user(),
        help="Who decides; default: the user of this session.",
    )
    why = click.option("--why", "why", metavar="TEXT", help="Why, in words; kept with the decision.")
    now = click.option(
        "--now",
        "now",
        metavar="TIME",
        callback=lambda _ctx, _option, given: moment(given) or datetime.now(UTC),
        help=_NOW,
    )
    return who(why(now(command)))


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user has a number and no name
        return f"user {os.getuid()}"


def zone(name: str | None) -> ZoneInfo:
    """The zone of `--tz`; UTC when not given. Raises UsageError for an unknown name."""
    try:
        return ZoneInfo(name or "UTC")
    except (KeyError, ValueError, OSError):
        raise UsageError(f"--tz {name!r} is no zone; expected a name like UTC or Europe/Berlin") from None


def moment(now: str | None) -> datetime | None:
    """The moment of `--now` in UTC; None when not given."""
    return None if now is None else parse_time(now, now=datetime.now(UTC))


def window(since: str | None, until: str | None, *, now: datetime, tz: str | None = None) -> Window:
    """The window of `--since` and `--until`, relative to `now`."""
    where = zone(tz)
    return Window(
        None if since is None else parse_time(since, now=now, tz=where),
        None if until is None else parse_time(until, now=now, tz=where),
    )
