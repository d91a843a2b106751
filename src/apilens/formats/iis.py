"""Microsoft IIS, and other servers that write W3C extended log files.

Source: Microsoft Learn, "W3C Logging" (Http.sys) and "IIS: Log Files for a Web Site"; field names in any order.
"""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from apilens.formats import fields as f
from apilens.formats.format import Format, Options
from apilens.formats.w3c import W3cLayout, address, method, path, spaced

_ID = "date time {}cs-method cs-uri-stem cs-uri-query s-port cs-username c-ip "
_END = "sc-status sc-substatus sc-win32-status "

#: What IIS 6 to 10 and Azure App Service write unless told otherwise, and what is commonly switched on; for lines whose
#: header was lost. The longer ones first; an X-Forwarded-For that was added stands last.
_KNOWN = tuple(
    layout + forwarded
    for layout in (
        _ID.format("s-sitename s-computername s-ip ")
        + "cs-version cs(User-Agent) cs(Cookie) cs(Referer) cs-host " + _END + "sc-bytes cs-bytes time-taken",
        _ID.format("s-sitename s-ip ") + "cs(User-Agent) cs(Cookie) cs(Referer) cs-host " + _END + "sc-bytes cs-bytes time-taken",
        _ID.format("s-sitename ") + "cs(User-Agent) cs(Cookie) cs(Referer) cs-host " + _END + "sc-bytes cs-bytes time-taken",
        _ID.format("s-ip ") + "cs(User-Agent) cs(Referer) " + _END + "sc-bytes cs-bytes time-taken",
        _ID.format("s-ip ") + "cs(User-Agent) cs(Referer) " + _END + "time-taken",
        _ID.format("s-ip ") + "cs(User-Agent) " + _END + "time-taken",
        _ID.format("s-sitename s-ip ") + "cs(User-Agent) " + _END.rstrip(),
    )
    for forwarded in ("", " X-Forwarded-For")
)  # fmt: skip

_ADDRESS = r"(?:-|\[?[0-9A-Fa-f.:]+(?:%\w+)?\]?(?:\(http\S*\))?)"
_PATTERNS = {
    "date": r"\d{4}-\d\d-\d\d",
    "time": r"\d\d:\d\d:\d\d(?:\.\d+)?",
    "s-sitename": r"[A-Za-z]\S*",
    "s-ip": _ADDRESS,
    "c-ip": _ADDRESS,
    "cs-method": r"(?:[A-Za-z_-]+)",
    "cs-uri-stem": r"(?:[/*]\S*|-)",
    "s-port": r"(?:\d{1,5}|-)",
    "cs-version": r"(?:HTTP/\d(?:\.\d)?|-)",
    "sc-status": r"\d{3}",
    "sc-substatus": r"\d+",
    "sc-win32-status": r"\d+",
    "sc-bytes": r"(?:\d+|-)",
    "cs-bytes": r"(?:\d+|-)",
    "time-taken": r"\d+",
}


def _time_taken(software: str | None) -> f.Field:
    """Milliseconds of IIS; the draft's seconds have a decimal point. Whole numbers of others say nothing of their unit."""
    ms = f.duration("duration_ms", 1.0)
    seconds = f.duration("duration_ms", 1e3)
    iis = software is None or "Microsoft" in software or "IIS" in software

    def read(raw: pl.Expr) -> f.Columns:
        fraction = raw.str.contains(".", literal=True)
        if iis:
            return {
                "duration_ms": pl.when(fraction)
                .then(seconds.careful(raw)["duration_ms"])
                .otherwise(ms.careful(raw)["duration_ms"])
            }
        return {
            "duration_ms": seconds.careful(pl.when(fraction).then(raw))["duration_ms"],
            "attributes.time-taken": pl.when(~fraction).then(raw),
        }

    return f.Field(read, read, accept_careful=ms.accept_careful)


#: Names that Tomcat's extended log has for its own. Source: Tomcat, ExtendedAccessLogValve.
_TOMCAT: dict[str, f.Field] = {
    "bytes": f.integer("response_body_bytes"),
    "time-taken-s": f.duration("duration_ms", 1e3, rank=3),
    "time-taken-ms": f.duration("duration_ms", 1.0, rank=2),
    "time-taken-us": f.duration("duration_ms", 1e-3, rank=1),
    "time-taken-ns": f.duration("duration_ms", 1e-6),
    "time-taken-fracsec": f.duration("duration_ms", 1e3, rank=2),
    "x-h(remoteuser)": f.text("user_name"),
    "x-h(protocol)": f.http_version(),
    "x-h(scheme)": f.token("scheme"),
}


def _kinds(software: str | None) -> Mapping[str, f.Field]:
    return (_TOMCAT if software is not None and "Tomcat" in software else {}) | {
        "cs-method": method(),
        "cs-uri-stem": path(),
        "cs-uri-query": f.text("query"),
        "cs-uri": f.url(),
        "sc-status": f.status(),
        "time-taken": _time_taken(software),
        "timetakenms": f.duration("duration_ms", 1.0),
        "c-ip": address("client_ip", "c-ip"),
        "c-port": f.integer("client_port", pl.Int32),
        "s-port": f.integer("server_port", pl.Int32),
        "s-sitename": f.text("service"),
        "s-computername": f.text("node"),
        "cs-username": f.text("user_name"),
        "cs(user-agent)": spaced("user_agent"),
        "cs(referer)": f.text("referrer"),
        "cs(referrer)": f.text("referrer"),
        "cs-host": f.host(),
        "cs(host)": f.host(rank=1),
        "sc-bytes": f.integer("response_bytes"),
        "cs-bytes": f.integer("request_bytes"),
        "cs-version": f.http_version(),
        "x-forwarded-for": spaced("forwarded_for"),
        **{
            name: f.kept_if_outranked(field, name)
            for header, field in f.CALLERS.items()
            for name in (header, f"cs({header})")
        },
    }


def _open(head: pl.DataFrame, options: Options) -> list[W3cLayout]:
    return [W3cLayout("iis_w3c", _kinds, _KNOWN, _PATTERNS, r"(?i)cs-method|cs-uri", options.tz)]


FORMAT = Format(
    "iis_w3c",
    "Microsoft IIS, and W3C extended logs of other servers",
    "#Fields: date time s-ip cs-method cs-uri-stem cs-uri-query s-port cs-username c-ip cs(User-Agent) sc-status time-taken\n"
    "2026-03-09 14:00:00 10.0.0.1 GET /v1/carts - 443 - 203.0.113.7 curl/8.5 200 42",
    _open,
)
