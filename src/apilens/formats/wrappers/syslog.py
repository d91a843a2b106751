"""syslog, the systemd journal, and lines that somebody put a time before."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from apilens.formats.block import Wrapper
from apilens.formats.escapes import decode
from apilens.formats.wrappers.json import query
from apilens.formats.wrappers.prefix import Prefix

_ISO = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:[.,]\d+)?(?:Z|[+-]\d\d:?\d\d)?"
#: RFC 3164, with the year or the fraction that some senders add; of `journalctl -o short-full` and `short-unix`.
_BSD = r"[A-Z][a-z]{2} [ \d]\d (?:\d{4} )?\d\d:\d\d:\d\d(?:\.\d+)?(?: \d{4})?"
_JOURNAL = r"[A-Z][a-z]{2} \d{4}-\d\d-\d\d \d\d:\d\d:\d\d(?:\.\d+)? [A-Z]{1,5}|\d{10}\.\d{6}"
_TIME = rf"(?:{_BSD}|{_ISO}|{_JOURNAL})"
#: A frame's length (RFC 6587 section 3.4.1) may stand before the priority.
_PRIORITY = r"(?:\d{1,6} )?<\d{1,3}>"
_HOST = r"(?<node>[^\s\[\]{}\"]*[^\s\[\]{}\":])"
_TAG = r"[^\s:\[\]{}\"#][^\s:\[\]{}\"]{0,127}(?:\[[^\]\s]*\]: ?|: |:$)"
_PARAMETER = r' [^\s=\]"]+="(?:[^"\\]|\\.)*"'
#: A registered name has parameters, a private one an @: what else stands in brackets belongs to the line.
_DATA = rf"(?:-|(?:\[(?:[^\s=\]\"@]+@[^\s=\]\"]+(?:{_PARAMETER})*|[A-Za-z-]+(?:{_PARAMETER})+)\])+)"

SYSLOG = Prefix(
    "syslog",
    (
        # RFC 5424; Heroku's drains leave the structured data out. rsyslog keeps the blank that parts tag and message in RFC 3164.
        rf"(?s)^(?:{_PRIORITY})?1 (?:{_ISO}|-) (?<node>\S+) \S+ \S+ \S+(?: {_DATA})?(?:  ?\x{{FEFF}}?(?<line>.*))?$",
        # RFC 3164 as rsyslog, syslog-ng, journalctl and the gateways write it: the host, or the tag, may be missing.
        rf"(?s)^(?:{_PRIORITY})?{_TIME} (?:{_HOST} )?{_TAG}(?<line>.*)",
        rf"(?s)^(?:{_PRIORITY}{_TIME}|{_BSD}) {_HOST} (?<line>.*)",
        rf"(?s)^{_PRIORITY}(?:{_TAG})?(?<line>.*)",
    ),
    sure=True,
    octal=True,  # rsyslog, $EscapeControlCharactersOnReceive
)

#: `docker logs -t`, `kubectl logs --timestamps`, CloudWatch's export to S3; `logcli` (with labels), `aws logs tail` (with the
#: stream), Fluentd's out_file (with the tag).
TIMED = Prefix(
    "time prefix",
    (
        rf'(?s)^{_ISO} \{{(?:\w+="(?:[^"\\]|\\.)*",? ?)*\}} (?<line>\S.*)',
        rf"(?s)^{_ISO}\t[\w.*-]+\t(?<line>\S.*)",
        rf"(?s)^{_ISO} (?<node>[\w.$\[\]-]+/[\w.$\[\]/-]*[A-Za-z\]][\w.$\[\]/-]*) (?<line>\S.*)",
        rf"(?s)^{_ISO} (?<line>\S.*)",
    ),
)


#: What the loggers of hypercorn and gunicorn put before a line: time, process, level.
LOGGED = Prefix(
    "log prefix", (r"(?s)^\[\d{4}-\d\d-\d\d \d\d:\d\d:\d\d [+-]\d{4}\] \[\d+\] \[[A-Z]+\] (?<line>.*)",), sure=True
)

_BYTE = r"(?:1?\d?\d|2[0-4]\d|25[0-5])"
_BYTES = rf"^\[(?:{_BYTE}(?:,{_BYTE})*)?\]$"


@dataclass(frozen=True)
class Journal(Wrapper):
    """`journalctl -o json`: one object per entry; a MESSAGE that is no printable UTF-8 is an array of its bytes.

    Source: systemd, Journal JSON Format.
    """

    name: str = "systemd journal"
    sure: bool = True

    def wraps(self, line: pl.Expr) -> pl.Expr:
        """Objects with a MESSAGE and one of the journal's own fields."""
        return line.str.contains(r'^\s*\{.*"MESSAGE"\s*:') & line.str.contains(
            r'"(?:__REALTIME_TIMESTAMP|__CURSOR|_HOSTNAME|_SYSTEMD_UNIT|SYSLOG_IDENTIFIER)"\s*:'
        )

    def unwrap(self, records: pl.DataFrame) -> pl.DataFrame:
        """One record per entry; node is the host."""
        found = query(
            records,
            """SELECT row, json_extract_string(doc, '$.MESSAGE') AS line, json_extract_string(doc, '$._HOSTNAME') AS node,
                json_type(doc, '$.MESSAGE') = 'ARRAY' AS coded
            FROM docs ORDER BY row""",
        )
        coded = found["coded"].fill_null(False) & found["line"].str.contains(_BYTES)
        if coded.any():
            numbers = found["line"].filter(coded).str.json_decode(pl.List(pl.UInt8)).to_list()
            # Only what the journal itself could not print as text comes here, and Polars casts no broken UTF-8.
            texts = pl.Series(
                [decode(raw := bytes(message), json=b'{"' in raw) for message in numbers], dtype=pl.String
            )
            place = coded.cast(pl.Int64).cum_sum().clip(1) - 1
            found = found.with_columns(line=found["line"].zip_with(~coded, texts.gather(place)))
        return found.select("row", "line", "node")
