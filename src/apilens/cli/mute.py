"""`apilens mute`: problems that are known and wait."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import click
from click.core import ParameterSource

from apilens.cli.options import decision_options, lake_option, output_option, state_option
from apilens.errors import Exit, UsageError


@click.command()
@click.argument("candidate", required=False)
@click.option("--endpoint", "endpoint", metavar="PATTERN", help="Those of these endpoints: 'METHOD /route' with *.")
@click.option("--signal", "signals", multiple=True, metavar="NAME", help="Only of this signal; once per signal.")
@click.option("--until", "until", metavar="TIME", help="Muted until then: 2026-11-22T10:00Z, or 7d, 12h from now.")
@click.option("--lift", "lift", is_flag=True, help="End the mute now.")
@decision_options
@lake_option
@state_option
@output_option("table", "json")
def mute(
    candidate: str | None,
    endpoint: str | None,
    signals: tuple[str, ...],
    until: str | None,
    lift: bool,
    who: str,
    why: str | None,
    now: datetime,
    lake: str,
    state: str | None,
    output: str,
) -> int:
    """Let a problem wait: CANDIDATE (an id of apilens scan, or its beginning) and whenever it comes back, or all of some
    endpoints and signals. Muted candidates are still looked at and listed, but file no ticket and fail no --fail-on. When
    the time is over they are open again. Without arguments the mutes are listed, as they stand at --now, default the end
    of the data; those of apilens.toml are not among them.

    \b
    apilens mute 1361c5c5d0 --until 7d --why "known, fixed in 1.9"
    apilens mute --endpoint "GET /v1/exports/*" --signal latency --until 2026-04-01
    """
    from apilens.lens import Lens
    from apilens.pipeline import incidents
    from apilens.reports.terminal import table
    from apilens.reports.units import moment as shown
    from apilens.schema import OTHER_SIGNALS, SIGNALS
    from apilens.window import parse_duration, parse_time

    given = click.get_current_context().get_parameter_source("now") is not ParameterSource.DEFAULT
    # What stands is said as a scan would: by the end of the data, as it judges what was logged so far.
    clock = now if given else Lens(lake).data_end or now
    if candidate is not None or endpoint is not None or signals:
        unknown = [name for name in signals if name not in (*SIGNALS, *OTHER_SIGNALS)]
        if unknown:
            raise UsageError(f"--signal {unknown[0]!r}; expected one of {', '.join((*SIGNALS, *OTHER_SIGNALS))}")
        if lift == (until is not None):
            raise UsageError("how long is it to be muted? Give --until TIME, for example --until 7d, or --lift")
        if lift or until is None:
            # Over at any moment that a scan may be asked about, also of a log that ends long ago.
            end = datetime(1970, 1, 1, tzinfo=UTC)
        else:
            end = now + parse_duration(until) if until[-1:] in "smhdw" else parse_time(until, now=now)
            if end <= now:
                raise UsageError(f"--until {until} is over already; expected a time after {now:%Y-%m-%d %H:%MZ}")
        changed = incidents.mute(
            lake,
            state,
            candidate=candidate,
            endpoints=endpoint,
            signals=signals,
            until=end,
            who=who,
            why=why,
            now=now,
        )
        click.echo(f"{changed} candidate{'' if changed == 1 else 's'} changed", err=True)
    elif until is not None or lift:
        raise UsageError("name what is to be muted: a CANDIDATE, or --endpoint PATTERN and --signal NAME")
    found = incidents.mutes(lake, state)
    if output == "json":
        rows = [
            {**json.loads(one.about.model_dump_json()), "who": one.who, "at": one.at.isoformat(), "standing": one.about.until > clock}
            for one in found
        ]  # fmt: skip
        click.echo(json.dumps({"schema_version": 1, "mutes": rows}, ensure_ascii=False))
    elif found:
        table(
            "",
            ["muted until", "", "candidate", "endpoints", "signals", "by", "why"],
            (
                (
                    shown(one.about.until),
                    "" if one.about.until > clock else "over" if one.about.until.year > 1970 else "lifted",
                    one.about.fingerprint,
                    one.about.endpoints,
                    ", ".join(one.about.signals) or "any",
                    one.who,
                    one.about.why,
                )
                for one in found
            ),
        )
    else:
        click.echo("nothing is muted; next: apilens mute CANDIDATE --until 7d", err=True)
    return Exit.DONE
