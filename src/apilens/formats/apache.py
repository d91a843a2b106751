"""Apache httpd: common, combined, vhost and any LogFormat; what Tomcat, gunicorn, lighttpd, h2o, morgan, Traffic Server, Squid
and Varnish write alike."""

from __future__ import annotations

import re
from dataclasses import replace
from functools import cache, lru_cache

import polars as pl

from apilens.errors import UsageError
from apilens.formats import fields as f
from apilens.formats.block import Layout
from apilens.formats.escapes import Escape
from apilens.formats.format import Format, Options, pasted
from apilens.formats.layout import TextLayout, Variable, nearest

COMMON = '%h %l %u %t "%r" %>s %b'
COMBINED = f'{COMMON} "%{{Referer}}i" "%{{User-Agent}}i"'

#: OpenLiteSpeed writes the quotes around its logFormat as well, and some set-ups put the virtual host in front.
_LITESPEED = {layout: (f'"{layout}"', f'"%v {layout}"') for layout in (COMBINED, COMMON)}

#: The patterns for Tomcat that Spring Boot's documentation has shown over the years, whose times say their units.
_SPRING = ('%t %a "%r" %s (%{ms}T ms)', '%t %a "%r" %s (%D microseconds)', "%t %a %r %s (%D microseconds)")

#: lighttpd has the host where Apache has the user's name in the identity protocol.
_LIGHTTPD = COMBINED.replace("%l", "%{lighttpd}v", 1)

#: What Apache Traffic Server puts behind common in `extended` and `extended2`, as Netscape's proxies did.
_EXTENDED = (
    f"{COMMON} %{{sssc}}x %{{sscl}}x %{{cqcl}}x %{{pqcl}}x %{{cqhl}}x %{{pshl}}x %{{pqhl}}x %{{sshl}}x %{{tts}}x"
)

#: Lines of its error log, of 2.4 and 2.2, and what it says before it has one: they are no calls.
_ERROR_LOG = r"^(?:\[[A-Z][a-z]{2} [A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d(?:\.\d+)? \d{4}\] \[(?:[\w-]+:)?[a-z]+\d?\] |(?:\(\d+\)[^:]+: )?AH\d{5}: )"

#: Layouts tried when no LogFormat is given, narrow before wide.
KNOWN = {
    "apache_vhost_combined": (
        COMBINED.replace("%h", "%v:%p %h", 1).replace("%b", "%O"),
        f"{COMBINED.replace('%h', '%v:%p %h', 1).replace('%b', '%O')} %D",
        f"{COMMON.replace('%h', '%v:%p %h', 1)}",
        f"{COMMON.replace('%h', '%v:%p %h', 1)} %D",
    ),
    "apache_combined": (
        _LIGHTTPD,
        f"{_LIGHTTPD} %D",
        COMBINED,
        f"{COMBINED} %D",
        f"{COMBINED} %{{microseconds}}T",
        # morgan, whose :response-time has its unit behind it.
        f"{COMBINED} - %{{ms}}T ms",
        f"{COMBINED} %{{ms}}T ms",
        f"{COMBINED} %T/%D",
        f"{COMBINED} %I %O",
        f"{COMBINED} %I %O %D",
        f'{COMBINED} "%{{X-Forwarded-For}}i"',
        f'{COMBINED} "%{{X-Forwarded-For}}i" %D',
        # Squid: its size counts the headers.
        *(f"{layout.replace('%b', '%O')} %{{squid_result}}x:%{{squid_hierarchy}}x" for layout in (COMBINED, COMMON)),
        COMBINED.replace("%h", "%v %h", 1),
        COMBINED.replace('"%{Referer}i" "%{User-Agent}i"', "%{bare_referer}i %{bare_user_agent}i"),
        *_LITESPEED[COMBINED],
    ),
    "apache_common": (
        COMMON,
        f"{COMMON} %D",
        f"{COMMON} %{{microseconds}}T",
        f"{_EXTENDED} %{{phr}}x %{{cfsc}}x %{{pfsc}}x %{{crc}}x",
        _EXTENDED,
        '%t %h %{SSL_PROTOCOL}x %{SSL_CIPHER}x "%r" %b',
        *_SPRING,
        *_LITESPEED[COMMON],
    ),
}

#: Decoded, so that it may hold blanks; what stands before a query holds no question mark.
_PATH = replace(f.path(rank=1), pattern=".*?")


def _query(pattern: str) -> f.Field:
    """A query, with its question mark or without."""

    def read(raw: pl.Expr) -> f.Columns:
        return {"query": raw.str.strip_prefix("?")}

    def accept(raw: pl.Expr, columns: f.Columns) -> pl.Expr:
        return raw.is_null() | raw.str.contains(f"^{pattern}$")

    return f.Field(read, read, accept=accept, pattern=pattern, rank=1, escaped=True)


def _caller(*, rank: int = 0) -> f.Field:
    """The client's address or name; hypercorn and daphne write its port behind it. rank as in Field."""
    peer = f.peer(rank=rank)

    def accept(raw: pl.Expr, columns: f.Columns) -> pl.Expr:
        return raw.is_null() | ((raw.str.count_matches(":", literal=True) != 1) & ~raw.str.starts_with("["))

    def alone(raw: pl.Expr) -> f.Columns:
        return {"client_ip": raw, "client_port": pl.lit(None, pl.Int32)}

    return replace(peer, quick=alone, accept=accept, pattern=r"\S*", escaped=True)


def _received() -> f.Field:
    """Bytes of the request; the name of a thread where Tomcat wrote it."""

    def read(raw: pl.Expr) -> f.Columns:
        size = raw.cast(pl.Int64, strict=False)
        return {"request_bytes": size, "attributes.thread": pl.when(size.is_null()).then(raw)}

    return f.Field(read, read)


_FIELDS: dict[str, f.Field] = {
    "h": _caller(rank=1),
    "a": _caller(),
    "{c}a": f.token("client_ip", rank=2),
    "l": f.attribute("remote_logname", r"\S+"),
    "u": f.text("user_name"),
    "r": f.request_line(),
    "m": f.token("method"),
    "U": _PATH,
    "U?": replace(_PATH, pattern="[^?]*?"),
    "q": _query(r"(?:\?\S*)?"),
    "{bare}q": _query(r"\S*"),
    "H": f.http_version(),
    ">s": f.status(),
    "s": f.status(),
    "<s": f.attribute("original_status", r"\d{3}|-"),
    "b": f.integer("response_body_bytes", null_is_zero=True),
    "B": f.integer("response_body_bytes"),
    "O": f.integer("response_bytes"),
    "I": _received(),
    "v": f.host(),
    "V": f.host(rank=1),
    "p": f.integer("server_port", pl.Int32),
    "{canonical}p": f.integer("server_port", pl.Int32),
    "{local}p": f.integer("server_port", pl.Int32),
    "{remote}p": f.integer("client_port", pl.Int32),
    "D": f.duration("duration_ms", 1e-3, decimals=0),
    # Of several durations the finest wins. Tomcat writes its seconds with a fraction.
    "T": f.duration("duration_ms", 1e3, rank=2),
    "{s}T": f.duration("duration_ms", 1e3, rank=2, decimals=0),
    "{ms}T": f.duration("duration_ms", 1.0, rank=1),
    "{decimal}T": f.duration("duration_ms", 1e3),
    "{us}T": f.duration("duration_ms", 1e-3, decimals=0),
    "X": f.attribute("connection_status", r"[-+X]"),
    "{referer}i": f.text("referrer"),
    "{user-agent}i": f.text("user_agent"),
    "{x-forwarded-for}i": f.text("forwarded_for"),
    "{host}i": f.host(rank=2),
    "{x-request-id}i": f.token("request_id"),
    "{x-request-id}o": f.token("request_id", rank=1),
    "{unique_id}e": f.token("request_id", rank=2),
    "L": f.token("request_id", rank=3),
    "{ssl_protocol}x": f.token("tls_version"),
    "{ssl_cipher}x": f.attribute("ssl_cipher", r"\S+"),
    "{ssl_client_s_dn}x": f.kept_if_outranked(f.CERTIFICATE["subject"], "ssl_client_s_dn"),
    # Not Apache's own: what sister servers write in the same places.
    "{lighttpd}v": f.strictly(f.host(), r"(?:[\w-]+\.[\w.-]+|localhost)(?::\d+)?"),
    "{squid_result}x": f.strictly(f.text("cache_status"), "(?:TCP|UDP|NONE)[A-Z_]*"),
    "{squid_hierarchy}x": f.attribute("squid_hierarchy", r"[A-Z_]+"),
    "{bare_referer}i": f.strictly(f.text("referrer"), r"\S*[/:]\S*", "a URL"),
    "{bare_user_agent}i": f.strictly(f.text("user_agent"), r"[^\s\d\"][^\"]*", "a user agent"),
    # gunicorn's %(L)s, h2o's %{duration}x.
    "{microseconds}T": f.strictly(
        f.duration("duration_ms", 1e3), r"\d+\.\d{6}|0", "seconds with six digits behind the point"
    ),
    "{unknown}T": f.strictly(f.attribute("duration_of_unknown_unit"), r"\d+", "a whole number"),
    "{duration}x": f.duration("duration_ms", 1e3),
    "{total-time}x": f.duration("duration_ms", 1e3, rank=1),
    "{sssc}x": f.upstream_status(),
    "{sscl}x": f.attribute("server_content_length", r"\d+"),
    "{cqcl}x": f.integer("request_body_bytes"),
    "{pqcl}x": f.attribute("proxy_request_content_length", r"\d+"),
    "{cqhl}x": f.attribute("client_request_header_length", r"\d+"),
    "{pshl}x": f.attribute("proxy_response_header_length", r"\d+"),
    "{pqhl}x": f.attribute("proxy_request_header_length", r"\d+"),
    "{sshl}x": f.attribute("server_response_header_length", r"\d+"),
    "{tts}x": f.duration("duration_ms", 1e3, decimals=0),
    "{phr}x": f.attribute("proxy_hierarchy_route", r"[A-Z_]+"),
    "{cfsc}x": f.attribute("client_finish_status", r"[A-Z_]+"),
    "{pfsc}x": f.attribute("proxy_finish_status", r"[A-Z_]+"),
    "{crc}x": f.text("cache_status", pattern=r"[A-Z_]+"),
}

#: %{X-Client-Id}i and the like.
_CALLERS = {f"{{{header}}}i": f.kept_if_outranked(field, header) for header, field in f.CALLERS.items()}
#: What lighttpd and Squid call them, as people know them.
_OWN_NAMES = {"{lighttpd}v": "%V", "{squid_result}x": "%Ss", "{squid_hierarchy}x": "%Sh"}
#: What stands in their places where another layout, or a prefix, was written is none of them.
_WRITTEN = {
    "h": f.client(rank=1),
    "a": f.client(),
    "I": f.integer("request_bytes"),
    "l": f.strictly(f.attribute("remote_logname"), r"[\w.@$-]+", "a user's name"),
    "u": f.strictly(f.text("user_name"), f.USER, "a user's name"),
    "v": f.strictly(f.host(), f.HOST, "a host name"),
}

_DIRECTIVE = re.compile(r'^\s*LogFormat\s+"((?:[^"\\]|\\.)*)"(?:\s+\S+)?\s*$', re.IGNORECASE)
#: %, the modifiers [!]400,501 and < >, an argument in braces, one letter (or ^ti, ^to, ^FB)
_VARIABLE = re.compile(r"%(?:%|!?[\d,]*([<>]?)(?:\{([^}]*)\})?[<>]?(\^[A-Za-z]{2}|[A-Za-z]))")
_CLOCKS = {"sec": 1e6, "msec": 1e3, "usec": 1.0, "sec.%3f": 1e6, "sec.%6f": 1e6}
#: A time written in pieces, which Apache makes necessary for a fraction of a second: %{%F}tT%{%T}t.%{usec_frac}t%{%z}t
_PIECE_OF_TIME = r"%\{(?:(?:begin|end):)?(?:[^}]*%[^}]*|[mu]sec_frac)\}t"
_IN_PIECES = re.compile(
    rf'{_PIECE_OF_TIME}(?:[^%"]*{_PIECE_OF_TIME})+|%\{{(?:begin:|end:)?sec\}}t\.%\{{(?:begin:|end:)?[mu]sec_frac\}}t'
)
_PIECE = re.compile(r"([^%]*)%\{(?:begin:|end:)?([^}]*)\}t")
#: The directives of which a time has one; a date without it would be midnight.
_HOURS = re.compile("%[HIklTRrcsX+]")
_FRACTIONS = {"msec_frac": "%3f", "usec_frac": "%6f"}
#: Gunicorn's variables, and what Apache calls them.
_GUNICORN = {
    "h": "%h", "l": "%l", "u": "%u", "t": "%t", "r": "%r", "m": "%m", "U": "%U", "q": "%q", "H": "%H", "s": "%>s",
    "B": "%B", "b": "%b", "f": "%{Referer}i", "a": "%{User-Agent}i", "T": "%T", "M": "%{ms}T", "D": "%D",
    "L": "%{decimal}T", "p": "%P",
}  # fmt: skip
_GUNICORN_VARIABLE = re.compile(r"%\((?:\{([^}]*)\})?(\w)\)s")
#: A date as Tomcat's %{…}t has it (Java), and as strftime has it.
_JAVA = {
    "yyyy": "%Y",
    "MMM": "%b",
    "MM": "%m",
    "dd": "%d",
    "HH": "%H",
    "mm": "%M",
    "ss": "%S",
    "SSS": "%3f",
    "Z": "%z",
    "XXX": "%:z",
}
_JAVA_PIECE = re.compile("|".join(sorted(_JAVA, key=len, reverse=True)))


def _time(argument: str | None, tz: str) -> tuple[str | Variable, ...]:
    """%t in all its forms; a date or a fraction of a second that stands apart from its time is an attribute."""
    if argument is None:
        return ("[", Variable("%t", f.clf_time("start")), "]")
    layout = argument.removeprefix("begin:").removeprefix("end:")
    kind = "end" if argument.startswith("end:") else "start"
    name = f"%{{{argument}}}t"
    if layout in _CLOCKS:
        return (Variable(name, f.epoch_time(kind, _CLOCKS[layout])),)
    if "%" not in layout and "yyyy" in layout:
        layout = _JAVA_PIECE.sub(lambda piece: _JAVA[piece[0]], layout).replace("'", "")
    if layout in _FRACTIONS:
        return (Variable(name, f.attribute(layout, r"\d+")),)
    if not _HOURS.search(layout):
        return (Variable(name, f.attribute(name)),)
    return (Variable(name, f.strftime_time(kind, layout, tz)),)


_NAMES = {
    "A": "local_ip",
    "F": "commit_ms",
    "f": "filename",
    "k": "keepalive_requests",
    "P": "pid",
    "R": "handler",
    "S": "transferred_bytes",
    "^FB": "first_byte_us",
}


def _unquoted_chain() -> f.Field:
    """X-Forwarded-For in a place without quotes, as where %h stood: addresses with commas and blanks between them, unless a
    client sent other text."""

    def accept(raw: pl.Expr, columns: f.Columns) -> pl.Expr:
        return raw.is_null() | ~raw.str.ends_with(",")

    chain = f.text("forwarded_for", pattern=r'(?:[^\s,"]+(?:, *[^\s,"]+)*|(?:[^"\\]|\\.)*?|"")')
    return replace(chain, accept=accept)


def _attribute(letter: str, argument: str | None) -> f.Field:
    """A value without a column of its own; a cookie is named so that it is never stored in the clear."""
    if argument is None:
        return f.attribute(_NAMES.get(letter, f"%{letter}"))
    return f.attribute(f"cookie_{argument.lower()}" if letter in "Cc" else argument.lower())


def _of_gunicorn(found: re.Match[str]) -> str:
    return f"%{{{found[1]}}}{found[2]}" if found[1] else _GUNICORN.get(found[2], f"%{found[2]}")


def _in_one(found: re.Match[str]) -> str:
    """The pieces as one strftime layout, or as decimal seconds; those of two times stay apart."""
    side = "end:" if found[0].startswith("%{end:") else ""
    whole = "".join(before + _FRACTIONS.get(piece, piece) for before, piece in _PIECE.findall(found[0]))
    directives = re.findall("%[.:]?[0-9]?.", whole)
    return f"%{{{side}{whole}}}t" if len(set(directives)) == len(directives) else found[0]


def _new(name: str, seen: set[str]) -> str:
    """The name, told from those of the same variable before it."""
    while name in seen:
        name += "'"
    seen.add(name)
    return name


@cache
def layout(log_format: str, tz: str = "UTC", gateway: str = "apache_logformat") -> TextLayout:
    """The layout of a LogFormat: its value, or the whole directive as it stands in httpd.conf.

    Raises UsageError when it holds no time.
    """
    text = log_format
    if (directive := _DIRECTIVE.match(log_format)) is not None:
        text = directive[1]
    text = text.replace('\\"', '"').replace("\\t", "\t").replace("\\\\", "\\")
    text = _GUNICORN_VARIABLE.sub(_of_gunicorn, text)
    text = _IN_PIECES.sub(_in_one, text)
    parts: list[str | Variable] = []
    at = 0

    def literal(piece: str) -> None:
        if not piece:
            return
        if parts and isinstance(parts[-1], str):
            parts[-1] += piece
        else:
            parts.append(piece)

    seen: set[str] = set()
    doubts: list[str] = []
    for found in _VARIABLE.finditer(text):
        literal(text[at : found.start()])
        at = found.end()
        side, argument, letter = found[1], found[2], found[3]
        if letter is None:
            literal("%")
        elif letter == "t":
            for part in _time(argument, tz):
                if isinstance(part, str):
                    literal(part)
                else:
                    parts.append(Variable(_new(part.name, seen), part.field))
        else:
            key = (side if letter == "s" else "") + (f"{{{argument.lower()}}}" if argument else "") + letter
            if key == "<s" and "%>s" not in text:
                key = "s"
            if key == "U" and text.startswith("%q", at):
                key = "U?"
            name = _new(_OWN_NAMES.get(key, found[0]), seen)
            known = _WRITTEN.get(key) if gateway in KNOWN else None
            if gateway in KNOWN and key == "{referer}i" and not text[: found.start()].endswith('"'):
                known = f.strictly(f.text("referrer"), r"[A-Za-z][\w+.-]*:[^\"]*", "a URL")
            if key == "{x-forwarded-for}i" and not text[: found.start()].endswith('"'):
                known = _unquoted_chain()
            known = known or _FIELDS.get(key) or _CALLERS.get(key)
            if known is None and gateway not in KNOWN:
                doubts += _doubt(found[0], argument, letter)
            parts.append(Variable(name, known or _attribute(letter, argument)))
    literal(text[at:])
    if not any(isinstance(part, Variable) and part.field.mandatory for part in parts):
        raise UsageError(f"LogFormat {log_format!r} has no time: expected %t, %{{usec}}t or %{{format}}t in it")
    escape: Escape = "none" if "{squid_" in text else "apache"
    if gateway in KNOWN and text.endswith(_UNKNOWN):
        doubts.append(_UNIT)
    # h2o writes a value that it has not as a JSON null, its quotes included.
    nulls = ("-", "", "null") if text.lstrip().startswith("{") else ("-", "")
    return TextLayout(
        gateway, text, tuple(parts), escape, filtered=_ERROR_LOG, nulls=nulls, doubts=tuple(dict.fromkeys(doubts))
    )


#: The letters of mod_log_config (^ti, ^to: its trailers), mod_logio (I, O, S, ^FB) and mod_ssl (x, c); Tomcat's F.
_LETTERS = {*"aABbCDefFhHikLlmnopPqrRsStTuUvVXIOSxc", "^ti", "^to", "^FB"}


def _doubt(written: str, argument: str | None, letter: str) -> list[str]:
    """What a directive without a column may be a slip for."""
    if letter not in _LETTERS:
        return [f"LogFormat has {written}, which is no directive of httpd; its values are kept in attributes"]
    known = {key[1 : -len(letter) - 1]: key for key in _FIELDS if key.startswith("{") and key.endswith(f"}}{letter}")}
    near = nearest(argument.lower(), known) if argument else None
    return [f"LogFormat has {written}; did you mean %{known[near]}? Its values are kept in attributes"] if near else []


#: In the place of %D, where the numbers are no microseconds.
_UNKNOWN = " %{unknown}T"
_UNIT = (
    "the whole number at the end of its lines is too small for microseconds (%D) and says not whether it is seconds (%T) or"
    ' milliseconds; it is kept in attributes. Say what it is: --log-format \'%h %l %u %t "%r" %>s %b "%{Referer}i"'
    ' "%{User-Agent}i" %{ms}T\', for example'
)
#: A call takes no less, also one that is refused (11 µs by lighttpd on a machine of 2026), and hardly ever less than 1.
_LEAST_US, _ZEROS = 10, 0.1


def _too_small(lines: pl.Series) -> bool:
    """Whether the whole numbers behind common or combined lines can be no microseconds, as which they would be read: %T of
    httpd and Tomcat, %D of Tomcat before release 10 and what uWSGI, h2o and others count are of other units."""
    last = lines.str.extract(r'(?:"|" \d{3} (?:\d+|-)) (\d{1,18})$').drop_nulls().cast(pl.Int64)
    if last.is_empty():
        return False
    return bool((last < _LEAST_US).mean() > 0.5 or (last == 0).mean() >= _ZEROS)  # type: ignore[operator]  # of booleans


@lru_cache(8)
def _odd_numbers(lines: tuple[str, ...]) -> tuple[bool, bool]:
    """What `_too_small` and `_no_requests` say of a head, which three formats ask."""
    head = pl.Series(lines, dtype=pl.String)
    return _too_small(head), _no_requests(head)


#: Bytes of `GET / HTTP/1.0` with a line end.
_LEAST_REQUEST = 16


def _no_requests(lines: pl.Series) -> bool:
    """Whether the first of two whole numbers behind combined lines can be no size of requests (%I %O): they are other things,
    like the milliseconds and microseconds of a uWSGI that imitates combined."""
    first = lines.str.extract(r'" (\d{1,18}) \d+(?: \d+)?$').drop_nulls().cast(pl.Int64)
    return bool(first.len() and (first < _LEAST_REQUEST).mean() > 0.5)  # type: ignore[operator]  # of booleans


def _known(name: str, description: str, example: str) -> Format:
    def layouts(head: pl.DataFrame, options: Options) -> list[TextLayout]:
        unknown, none_received = _odd_numbers(tuple(head["line"]))
        texts = (
            text.removesuffix(" %D") + _UNKNOWN if unknown and text.endswith(" %D") else text
            for text in KNOWN[name]
            if not (none_received and "%I" in text)
        )
        return [layout(text, options.tz, name) for text in texts]

    return Format(name, description, example, layouts, plain=True)


VHOST_FORMAT = _known(
    "apache_vhost_combined",
    "Apache httpd combined with the virtual host in front",
    'shop.example:443 203.0.113.7 - - [09/Mar/2026:14:00:00 +0000] "GET /v1/carts HTTP/1.1" 200 740 "-" "curl/8.5"',
)
COMBINED_FORMAT = _known(
    "apache_combined",
    "Apache httpd combined",
    '203.0.113.7 - jsmith [09/Mar/2026:14:00:00 +0000] "GET /v1/carts HTTP/1.1" 200 - "-" "curl/8.5" 42113',
)
COMMON_FORMAT = _known(
    "apache_common",
    "Apache httpd common (CLF)",
    '203.0.113.7 - - [09/Mar/2026:14:00:00 +0000] "GET /v1/carts HTTP/1.1" 200 512',
)
_PASTED = pasted(
    "apache_logformat", "Apache httpd, any LogFormat given with --log-format", COMBINED, re.compile("%"), layout
)
#: A query by itself, in httpd's and in gunicorn's spelling.
_QUERY = re.compile(r"(?<!%U)(?<!%\(U\)s)(?:%q|%\(q\)s)")


def _open_pasted(head: pl.DataFrame, options: Options) -> list[Layout]:
    """The layout; where it has a query by itself also the one of lighttpd and gunicorn, who write it without its question mark."""
    found = list(_PASTED.open(head, options))
    text = options.log_format
    if text is not None and (bare := _QUERY.sub("%{bare}q", text)) != text:
        found.append(layout(bare, options.tz))
    return found


PASTED_FORMAT = replace(_PASTED, open=_open_pasted)
