"""Layouts that stand in a gateway's configuration: nginx.conf, httpd.conf, squid.conf, haproxy.cfg, lighttpd.conf, uWSGI's ini,
Tomcat's server.xml, h2o.yaml, Envoy, Istio, API Gateway, or alone.

Only text is read here; whoever opens the files hands in what an include names.
"""

from __future__ import annotations

import html
import json
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from apilens.documents import documents, line_of
from apilens.errors import ConfigError
from apilens.formats import apache
from apilens.formats.format import FoundLayout
from apilens.formats.haproxy import OPTIONS
from apilens.formats.nginx import COMBINED
from apilens.formats.squid import BUILT_IN

#: (what an include names, file it stands in) -> (name, text) of the files meant.
Include = Callable[[str, str], Iterable[tuple[str, str]]]


def read_layouts(text: str, name: str, include: Include) -> tuple[FoundLayout, ...]:
    """Every layout of a configuration and of what it includes, in the order they stand in.

    name: of the file, for messages. Raises ConfigError naming file and line when there is none, or when one is cut off.
    """
    if _STRUCTURED.search(text):
        found = _structured(text, name)
    elif _SQUID.search(text) or _SQUID_LOG.search(text):
        found = _squid(text, name)
    elif _LIGHTTPD.search(text):
        found = _lighttpd(text, name)
    elif "AccessLogValve" in text:
        found = _tomcat(text, name)
    elif _NGINX.search(text):
        found = _Nginx(include).layouts(text, name)
    elif _UWSGI.search(text):
        found = _uwsgi(text, name)
    elif _HTTPD.search(text):
        found = _Httpd(include).layouts(text, name)
    elif _HAPROXY.search(text):
        found = _haproxy(text, name)
    else:
        found = _alone(text, name)
    if not found:
        raise ConfigError(f"{name}: no layout found; expected {_EXPECTED}")
    return tuple(found)


_EXPECTED = (
    "log_format (nginx.conf), LogFormat (httpd.conf), logformat (squid.conf), log-format or option httplog (haproxy.cfg), accesslog.format "
    "(lighttpd.conf), log-format (uwsgi.ini), pattern of an AccessLogValve (Tomcat), format of an access-log (h2o), text_format or json_format (Envoy), "
    "accessLogFormat (Istio), an access log Format (API Gateway), or a layout alone"
)


# -- nginx -----------------------------------------------------------------------------------------------------------

_NGINX = re.compile(
    r"(?:^|[;{}\s])(?:log_format|access_log)\s|^\s*(?:http|server)\s*\{|^\s*include\s[^;\n]+;", re.MULTILINE
)
#: A word, a quoted text, a comment or punctuation; as in ngx_conf_read_token, quotes and # only count where a token begins.
_NGINX_TOKEN = re.compile(
    r"""(?P<comment>\#[^\n]*) | (?P<quoted>'(?:[^'\\]|\\.)*' | "(?:[^"\\]|\\.)*") | (?P<open>['"]) | (?P<mark>[;{}])
      | (?P<word>(?:\\.|\$\{|[^\s;{}\\])(?:\\.|\$\{\w*\}|[^\s;{\\])*)""",
    re.VERBOSE | re.DOTALL,
)
_NGINX_ESCAPE = re.compile(r"\\(.)", re.DOTALL)
_CONTROLS = {"t": "\t", "r": "\r", "n": "\n"}


@dataclass(frozen=True)
class _Statement:
    words: tuple[str, ...]
    line: int
    name: str


class _Nginx:
    """log_format and access_log directives, in the order nginx meets them."""

    def __init__(self, include: Include) -> None:
        self._include = include
        self._seen: set[str] = set()

    def layouts(self, text: str, name: str) -> list[FoundLayout]:
        formats: dict[str, tuple[str, str]] = {}
        logs: dict[str, list[str]] = {}
        for one in self._statements(text, name):
            where = f"{one.name}:{one.line}"
            if one.words[0] == "log_format":
                name = _named(one)
                formats[name] = (_log_format(one), where)
            elif len(one.words) > 1 and one.words[1] != "off":
                # Without a name the predefined layout combined is meant, and buffer=, gzip, flush= and if= are none.
                chosen = one.words[2] if len(one.words) > 2 and "=" not in one.words[2] else "combined"
                logs.setdefault(chosen, []).append(one.words[1])
                if chosen == "combined":
                    formats.setdefault("combined", (COMBINED, where))
        return [
            FoundLayout(text, where, layout, tuple(logs.get(layout, ())), "nginx")
            for layout, (text, where) in formats.items()
        ]

    def _statements(self, text: str, name: str) -> Iterator[_Statement]:
        if name in self._seen:
            return
        self._seen.add(name)
        words: list[str] = []
        begin, at = 0, 0
        while (token := _NGINX_TOKEN.search(text, at)) is not None:
            at = token.end()
            if token["comment"]:
                continue
            if not words:
                begin = token.start()
            line = text.count("\n", 0, begin) + 1
            if token["open"] and words and words[0] in ("log_format", "access_log", "include"):
                raise ConfigError(
                    f"{name}:{line}: {words[0]} has a quote that is never closed; expected {token['open']} before ;"
                )
            if (mark := token["mark"]) is None:
                words.append(_unquoted(token[0]))
                continue
            if words and words[0] in ("log_format", "access_log", "include"):
                if mark != ";":
                    raise ConfigError(f"{name}:{line}: {words[0]} is followed by {mark!r}; expected ; at its end")
                if words[0] == "include" and len(words) == 2:
                    for other, inner in self._include(words[1], name):
                        yield from self._statements(inner, other)
                else:
                    yield _Statement(tuple(words), line, name)
            if mark == "{" and words and words[0].endswith("_by_lua_block"):
                at = _behind_block(text, at)
            words = []
        if words and words[0] in ("log_format", "access_log"):
            line = text.count("\n", 0, begin) + 1
            raise ConfigError(f"{name}:{line}: {words[0]} {' '.join(words[1:2])} is cut off; expected ; at its end")


def _behind_block(text: str, at: int) -> int:
    """Where a block of another language ends, whose quotes are none of nginx's."""
    depth = 1
    for brace in re.compile(r"[{}]").finditer(text, at):
        depth += 1 if brace[0] == "{" else -1
        if depth == 0:
            return brace.end()
    return len(text)


def _unquoted(token: str) -> str:
    if token[0] not in "'\"":
        return token

    def undone(found: re.Match[str]) -> str:
        escaped = found[1]
        return escaped if escaped in "'\"\\" else _CONTROLS.get(escaped, found[0])

    return _NGINX_ESCAPE.sub(undone, token[1:-1])


def _named(one: _Statement) -> str:
    if len(one.words) < 3:
        raise ConfigError(
            f"{one.name}:{one.line}: log_format has {len(one.words) - 1} words; expected a name and a layout"
        )
    return one.words[1]


def _log_format(one: _Statement) -> str:
    """The layout's value; the directive where it says how values are escaped."""
    pieces = list(one.words[2:])
    escape = pieces.pop(0) if pieces[0].startswith("escape=") else ""
    value = "".join(pieces)
    if not escape:
        return value
    quoted = value.replace("'", "\\'")
    return f"log_format {one.words[1]} {escape} '{quoted}';"


# -- httpd -----------------------------------------------------------------------------------------------------------

_HTTPD = re.compile(
    r"^\s*(?:LogFormat|CustomLog|GlobalLog|TransferLog|Include(?:Optional)?)\s", re.MULTILINE | re.IGNORECASE
)
_HTTPD_LINE = re.compile(
    r"^[ \t]*(LogFormat|CustomLog|GlobalLog|TransferLog|IncludeOptional|Include)[ \t]+(.*)$", re.IGNORECASE
)
_ARGUMENT = re.compile(r"""\s*("(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|[^\s"']\S*)""", re.DOTALL)


class _Httpd:
    """LogFormat, CustomLog, GlobalLog and TransferLog directives."""

    def __init__(self, include: Include) -> None:
        self._include = include
        self._seen: set[str] = set()

    def layouts(self, text: str, name: str) -> list[FoundLayout]:
        formats: dict[str, tuple[str, str]] = {}
        logs: dict[str, list[str]] = {}
        alone = ""  # the last LogFormat without a nickname, which TransferLog uses
        for directive, arguments, where in self._directives(text, name):
            if directive == "logformat":
                alone = "" if len(arguments) > 1 else where
                formats[arguments[1] if len(arguments) > 1 else where] = (arguments[0], where)
            elif directive == "transferlog":
                logs.setdefault(alone, []).append(arguments[0])
            elif len(arguments) < 2:
                raise ConfigError(f"{where}: {directive} has one argument; expected a file and a format or nickname")
            elif "%" in arguments[1]:
                formats[where] = (arguments[1], where)
                logs.setdefault(where, []).append(arguments[0])
            else:
                logs.setdefault(arguments[1], []).append(arguments[0])
        return [
            FoundLayout(text, where, "" if layout == where else layout, tuple(logs.get(layout, ())), "apache")
            for layout, (text, where) in formats.items()
        ]

    def _directives(self, text: str, name: str) -> Iterator[tuple[str, list[str], str]]:
        if name in self._seen:
            return
        self._seen.add(name)
        # A backslash at the end of a line goes on in the next one.
        joined = re.sub(r"\\\r?\n", lambda found: "\x00" * found[0].count("\n"), text)
        line = 1
        for raw in joined.split("\n"):
            where = f"{name}:{line}"
            line += 1 + raw.count("\x00")
            found = _HTTPD_LINE.match(raw.replace("\x00", "").rstrip("\r"))
            if found is None:
                continue
            directive, rest = found[1].lower(), found[2].strip()
            arguments = [argument[1] for argument in _ARGUMENT.finditer(rest)]
            if not arguments or (rest[:1] in "\"'" and arguments[0][0] != rest[0]):
                raise ConfigError(f"{where}: {found[1]} {rest[:40]}: expected a text in double quotes")
            # Escapes stay: the format undoes them, as in a pasted directive.
            words = [word[1:-1] if word[0] in "\"'" else word for word in arguments]
            if directive.startswith("include"):
                for other, inner in self._include(words[0], name):
                    yield from self._directives(inner, other)
            else:
                yield directive, words, where


# -- Squid -----------------------------------------------------------------------------------------------------------

#: A name before the layout, which httpd has behind it and in quotes.
_SQUID = re.compile(r"^[ \t]*logformat[ \t]+([\w.-]+)[ \t]+(\S.*?)[ \t]*$", re.MULTILINE)
#: A module, the file, and the name of a layout, also as an option; nginx's has a semicolon at its end.
_SQUID_LOG = re.compile(
    r"^[ \t]*access_log[ \t]+(?:\w+:)?(/[^\s;]+)(?:[ \t]+(?:logformat=)?([\w.-]+)(?!\S))?[^;\n]*$", re.MULTILINE
)


def _squid(text: str, name: str) -> list[FoundLayout]:
    """logformat lines, the access_log lines that use them, and the built-in layouts that those name (squid by default)."""
    logs: dict[str, list[str]] = {}
    found = {}
    for one in _SQUID_LOG.finditer(text):
        layout = one[2] if one[2] is not None and "=" not in one[2] else "squid"
        logs.setdefault(layout, []).append(one[1])
        if layout in BUILT_IN:
            found[layout] = (*BUILT_IN[layout], _line(text, one.start()))
    found |= {one[1]: (one[2], "squid", _line(text, one.start())) for one in _SQUID.finditer(text)}
    return [
        FoundLayout(layout, f"{name}:{line}", known, tuple(logs.get(known, ())), gateway)
        for known, (layout, gateway, line) in found.items()
    ]


def _line(text: str, at: int) -> int:
    return text.count("\n", 0, at) + 1


# -- uWSGI -----------------------------------------------------------------------------------------------------------

_UWSGI = re.compile(r"^[ \t]*(?:--)?log-?format[ \t]*=[ \t]*(\S.*?%\([a-z].*?)[ \t]*$", re.MULTILINE)


def _uwsgi(text: str, name: str) -> list[FoundLayout]:
    """log-format lines of an ini file."""
    return [FoundLayout(one[1], f"{name}:{_line(text, one.start())}", "", (), "uwsgi") for one in _UWSGI.finditer(text)]


# -- lighttpd, Tomcat --------------------------------------------------------------------------------------------------

_LIGHTTPD = re.compile(r"""^[^#\n]*\baccesslog\.(format|filename)\s*\+?=\s*"((?:[^"\\]|\\.)*)\"""", re.MULTILINE)


def _lighttpd(text: str, name: str) -> list[FoundLayout]:
    """accesslog.format settings; which of the logs has which one is said by conditions, which are not looked at."""
    settings = list(_LIGHTTPD.finditer(text))
    logs = tuple(one[2] for one in settings if one[1] == "filename")
    return [
        FoundLayout(one[2], f"{name}:{_line(text, one.start(2))}", "", logs, "apache")
        for one in settings
        if one[1] == "format"
    ]


_TOMCAT = re.compile(r"""<Valve\b((?:[^>"']|"[^"]*"|'[^']*')*)>""")
_XML_ATTRIBUTE = re.compile(r"""([\w:.-]+)\s*=\s*("[^"]*"|'[^']*')""")


def _tomcat(text: str, name: str) -> list[FoundLayout]:
    """The patterns of AccessLogValves, two of which have a name."""
    found = []
    for valve in _TOMCAT.finditer(text):
        told = {key: html.unescape(value[1:-1]) for key, value in _XML_ATTRIBUTE.findall(valve[1])}
        if told.get("className", "").endswith(".AccessLogValve") and "pattern" in told:
            written = told["pattern"]
            layout = {"common": apache.COMMON, "combined": apache.COMBINED}.get(written, written)
            file = told.get("prefix", "access_log")  # the date stands behind it
            found.append(FoundLayout(layout, f"{name}:{_line(text, valve.start())}", "", (file,), "apache"))
    return found


# -- HAProxy ---------------------------------------------------------------------------------------------------------

_HAPROXY = re.compile(r"^\s*(?:log-format|option\s+(?:https?log|tcplog))(?:\s|$)", re.MULTILINE)
_HAPROXY_OPTION = re.compile(r"^\s*option\s+(https?log|tcplog)(?:\s+(clf))?\s*(?:#.*)?$")
_HAPROXY_LINE = re.compile(r"^\s*log-format\s+(.*?)\s*$")


def _haproxy(text: str, name: str) -> list[FoundLayout]:
    """log-format lines: in double quotes (backslash escapes), in single quotes (as it is), or with escaped blanks; options
    that stand for a known one."""
    found: dict[str, FoundLayout] = {}
    for number, line in enumerate(text.split("\n"), start=1):
        if (option := _HAPROXY_OPTION.match(line)) is not None:
            chosen = " ".join(filter(None, option.groups()))
            for layout in OPTIONS[chosen]:
                found.setdefault(layout, FoundLayout(layout, f"{name}:{number}", f"option {chosen}", (), "haproxy"))
        if (directive := _HAPROXY_LINE.match(line)) is None:
            continue
        word, at, where = "", 0, f"{name}:{number}"
        written = directive[1]
        while at < len(written) and not written[at].isspace() and written[at] != "#":
            piece = re.compile(r"""'([^']*)'|"((?:[^"\\]|\\.)*)"|\\(.)|([^\s'"\\#]+)""").match(written, at)
            if piece is None:
                raise ConfigError(
                    f"{where}: log-format has a quote that is never closed; expected {written[at]} at its end"
                )
            plain, quoted, escaped, bare = piece.groups()
            word += plain if plain is not None else escaped or bare or re.sub(r"\\(.)", r"\1", quoted or "")
            at = piece.end()
        found.setdefault(word, FoundLayout(word, where, "", (), "haproxy"))
    return list(found.values())


# -- Envoy, Istio, API Gateway, ingress: YAML and JSON ------------------------------------------------------------------

_STRUCTURED = re.compile(
    r"""(?m)(?:^|[\s{,"'])(?:text_?format(?:_source)?|[tT]extFormat(?:Source)?|(?:typed_?)?json_?format|(?:typedJ|j)sonFormat|JSONFormat"""
    r"""|inline_?string|inlineString|string_?format|stringFormat|accessLogFormat|log-format-upstream|AccessLogSettings?"""
    r"""|access_log_format|accesslog-format-string|envoy_log_format)["']?\s*:"""
    r"""|^[\s{,"'-]*[Ff]ormat["']?\s*:(?:.*(?:%[A-Z_]+[(%]|\$context\.)|\s*(?:\n\s*type:.*)?\n\s*(?:text|json):)"""
    r"""|^\s*access-log["']?\s*:"""
)
#: A key of Envoy's at the beginning of a line, by which a piece of its configuration is told from a layout.
_PIECE_OF_ENVOYS = re.compile(
    r"""(?m)^[\s{"'-]*(?:text_format(?:_source)?|textFormat(?:Source)?|inline_string|inlineString|(?:typed_)?json_format"""
    r"""|(?:typedJ|j)sonFormat|accessLogFormat)["']?\s*:"""
)
#: Keys of Envoy's substitution_format_string.proto in both spellings, those of its first access log, and those of Istio, Gloo,
#: Consul, Contour and Emissary.
_TEXTS = {"inline_string", "inlineString", "text_format", "textFormat", "accessLogFormat", "access_log_format"} | {
    "stringFormat", "string_format", "TextFormat", "accesslog-format-string", "envoy_log_format",
}  # fmt: skip
_MAPPINGS = {"json_format", "jsonFormat", "typed_json_format", "typedJsonFormat", "JSONFormat", "envoy_log_format"}


def is_piece_of_envoys(text: str) -> bool:
    """Whether a text is a piece of Envoy's configuration that holds a layout, rather than a layout."""
    return _PIECE_OF_ENVOYS.search(text) is not None


def _mapping(key: str, inside: str, value: Any, name: str) -> dict[str, Any] | None:
    """The object of a JSON layout under a key; None where it is none.

    Envoy Gateway and App Mesh have it as `json` in a `format`, the latter as a list of keys and values; Consul as a text.
    """
    if key == "json" and inside in ("format", "Format"):
        if isinstance(value, list):
            pairs = [one for one in value if isinstance(one, dict) and "key" in one]
            return {one["key"]: one.get("value") for one in pairs} if len(pairs) == len(value) else None
        return value if isinstance(value, dict) else None
    if key not in _MAPPINGS:
        return None
    if isinstance(value, str) and value.lstrip().startswith("{"):
        value = documents(value, name)[0]
    return value if isinstance(value, dict) else None


def _structured(text: str, name: str) -> list[FoundLayout]:
    found: dict[str, FoundLayout] = {}

    def add(layout: str, gateway: str, line: int) -> None:
        found.setdefault(layout, FoundLayout(layout, f"{name}:{line}", "", (), gateway))

    def walk(value: Any, inside: str = "") -> None:
        if isinstance(value, list):
            for inner in value:
                walk(inner, inside)
        if not isinstance(value, dict):
            return
        for key, inner in value.items():
            if key == "log-format-upstream" and isinstance(inner, str):
                escape = "json" if value.get("log-format-escape-json") == "true" else ""
                quoted = inner.replace("'", "\\'")
                add(f"log_format upstream escape=json '{quoted}';" if escape else inner, "nginx", line_of(text, inner))
            elif isinstance(inner, str) and key == "mesh":
                # Istio's ConfigMap holds its mesh configuration as a text.
                for document in documents(inner, name):
                    walk(document)
            elif (mapping := _mapping(key, inside, inner, name)) is not None:
                first = next(iter(mapping), "")
                add(json.dumps(mapping, ensure_ascii=False), "envoy_json", line_of(text, first))
            elif isinstance(inner, str) and (
                key in _TEXTS
                or (key == "text" and inside in ("format", "Format"))
                or (key in ("Format", "format") and ("%" in inner or "$context." in inner))
            ):
                if "%" in inner or "$context." in inner:
                    # One line feed at the end of the text ends the log line, and is none of its values.
                    gateway = "aws" if "$context." in inner else "apache" if inside == "access-log" else "envoy"  # h2o
                    add(_one_line(inner), gateway, line_of(text, inner))
            else:
                walk(inner, key)

    for document in documents(text, name):
        walk(document)
    return list(found.values())


# -- a layout alone ----------------------------------------------------------------------------------------------------

_OPERATORS = re.compile(r"%[A-Z_]+(?:\([^)]*\))?(?::\d+)?%")


def _alone(text: str, name: str) -> list[FoundLayout]:
    layout = _one_line(text.lstrip("\ufeff"))
    if ("%" not in layout and "$" not in layout) or "\n" in layout:
        return []  # another program's configuration, not a layout
    gateway = "aws" if "$context." in layout else "envoy" if _OPERATORS.search(layout) else ""
    return [FoundLayout(layout, f"{name}:1", "", (), gateway)]


def _one_line(layout: str) -> str:
    """A layout as one line: without its last line end; a JSON object that was laid out over lines put together."""
    layout = layout.strip("\r\n")
    if layout.lstrip().startswith("{") and "\n" in layout:
        return " ".join(line.strip() for line in layout.split("\n"))
    return layout.removesuffix("\\n")  # as it stands in a text without escapes
