"""Stateless rules: a raw URL path becomes a route, its variables written {id}.

A segment is judged alone, never by what other paths look like: the same path gives the same route in every run and on
every machine. What looks like a plain word stays; learned.py merges on read what the rules cannot know (user names).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import polars as pl

from apilens.distinct import distinct

#: A route has at most this many segments; what follows is written {rest}. Picked.
MAX_SEGMENTS = 16

#: Longer segments are never names of something. Picked.
MAX_SEGMENT_CHARS = 40

#: What stands before three digits in names of algorithms (sha256, x509, h264, rs256); usr123 is an id.
_ALGORITHMS = ("sha", "x", "h", "rs", "es", "hs", "ps")

#: What stands between two numbers in a version (v1beta2); other letters between digits are ids (9f3).
_STAGES = ("alpha", "beta", "rc")

#: A name of four words that starts with one of these is an action (send-password-reset-email), else a slug.
VERBS = (
    "accept",
    "approve",
    "archive",
    "assign",
    "batch",
    "bulk",
    "cancel",
    "change",
    "check",
    "clear",
    "close",
    "complete",
    "confirm",
    "convert",
    "copy",
    "create",
    "deactivate",
    "delete",
    "disable",
    "download",
    "enable",
    "export",
    "fetch",
    "forgot",
    "generate",
    "get",
    "import",
    "invite",
    "list",
    "mark",
    "personal",
    "preview",
    "publish",
    "refresh",
    "register",
    "reject",
    "remove",
    "request",
    "resend",
    "reset",
    "restore",
    "revoke",
    "search",
    "send",
    "set",
    "start",
    "stop",
    "submit",
    "sync",
    "test",
    "toggle",
    "unassign",
    "unlink",
    "update",
    "upload",
    "validate",
    "verify",
)

#: File name endings that stay in the route: two endings of one id are two representations.
_EXTENSIONS = (
    "json",
    "jsonl",
    "ndjson",
    "xml",
    "csv",
    "tsv",
    "yaml",
    "yml",
    "txt",
    "html",
    "htm",
    "pdf",
    "png",
    "jpg",
    "jpeg",
    "gif",
    "svg",
    "webp",
    "ico",
    "css",
    "js",
    "mjs",
    "map",
    "wasm",
    "woff",
    "woff2",
    "ttf",
    "zip",
    "gz",
    "tar",
    "md",
    "rss",
    "atom",
    "ics",
    "xlsx",
    "xls",
    "docx",
    "doc",
    "mp3",
    "mp4",
    "webm",
    "php",
    "asp",
    "aspx",
    "jsp",
)


def _other_than(words: Iterable[str]) -> str:
    """A regex for a run of letters that is none of `words`; whatever follows it must not be a letter.

    The engine has no look-around, so the complement is spelled out letter by letter.
    """
    tails: dict[str, list[str]] = {}
    for word in words:
        if word:
            tails.setdefault(word[0], []).append(word[1:])
    if not tails:
        return "[A-Za-z]+"
    # The run ends here, unless that would spell one of the words; or it goes on with another letter; or with the same.
    branches = [f"{letter}{_continued(rest)}" for letter, rest in sorted(tails.items())]
    return f"(?:{_letters_but(tails)}[A-Za-z]*|{'|'.join(branches)})"


def _continued(rest: list[str]) -> str:
    return _other_than(rest) if "" in rest else f"(?:{_other_than(rest)})?"


def _letters_but(letters: Iterable[str]) -> str:
    return "[A-Z" + "".join(c for c in "abcdefghijklmnopqrstuvwxyz" if c not in set(letters)) + "]"


# Each alternative only says how a variable segment starts or what it contains, and the match then runs to the segment's
# end: so no match needs the slash that follows, and neighbours are found in one pass. (?-u:\b) is ASCII: the Unicode
# one drops the engine out of its DFA.
_NUMBER = r"-?[0-9]+(?-u:\b)"
_COMMON = (
    r"(?:(?-u:\b)|_)[0-9]{2}",  # app-06, user_42, 12ab, 2026-11-23, {6a64…}
    r"[0-9]{4}",
    rf"[0-9]{_other_than(_STAGES)}[0-9]",  # hex, ULID, base62; but v1beta1, k8s, oauth2
    r"[^A-Za-z0-9._~:$@*{}/-]",  # percent-encoded, non-ASCII, control characters, lists, quotes
)
#: Words of two letters in names (findByStatus), by their first letter.
_LITTLE = {"A": "snt", "B": "ye", "D": "o", "G": "o", "H": "e", "I": "dfnst", "M": "ey", "N": "o", "O": "fknr", "S": "o", "T": "o"} | {
    "U": "ps", "V": "s", "W": "e"
}  # fmt: skip


def _capital() -> str:
    """A capital and a small letter that are no word in a name, or two or three capitals and a small letter."""
    others = "".join(c for c in "ABCDEFGHIJKLMNOPQRSTUVWXYZ" if c not in _LITTLE)
    words = (
        f"{first}[{''.join(c for c in 'abcdefghijklmnopqrstuvwxyz' if c not in rest)}]"
        for first, rest in _LITTLE.items()
    )
    return f"(?:[A-Z]{{2,3}}[a-z]|[{others}][a-z]|{'|'.join(words)})"


_RARE = (
    rf"(?:(?-u:\b)|_){_other_than(_ALGORITHMS)}[0-9]{{3}}",  # usr123 but sha256
    r"[A-Za-z]{2}[0-9]{2}[A-Za-z]{2}",  # sku12ab but i18n
    r"(?-u:\b)[0-9A-Fa-f]{7,}(?-u:\b)",  # a commit; words that long of a to f (defaced, effaced) name no endpoint
    r"[A-Z]-[0-9]",  # PROJ-7 but step-1
    rf"[a-z]{_capital()}[A-Z]",  # kQwZ: letters of a token, not camelCase
    r":[^/]*:",  # urn:…, arn:…, IPv6, MAC
    r"[A-Za-z0-9]@",  # e-mail but @me
    r"-[^/-]+-[0-9](?-u:\b)",  # blue-shoes-5
    r"-[^/]*-[^/]*-[^/]*-",
)
_FOUR_WORDS = rf"{_other_than(VERBS)}-[^/]*-[^/]*-"
_BRACED = rf"\{{{_other_than(('id', 'rest'))}[^A-Za-z/]"  # {userId}, as gateways write it

# The engine's time grows with the pattern: every row sees the first, only what it leaves distinct sees all of it.
_USUAL = rf"/(?:{_NUMBER}|[^/]*(?:{'|'.join(_COMMON)})|{_FOUR_WORDS})[^/]*"
_VARIABLE = rf"/(?:{_NUMBER}|[^/]*(?:{'|'.join(_COMMON + _RARE)})|{_FOUR_WORDS}|{_BRACED})[^/]*"

# A number that is a version: first, or right after "api" or "rest" (/2/tweets, /1.1/…, /rest/api/3/…, /v1.41/…).
_VERSION_HEAD = (
    r"^((?:(?:/[A-Za-z_]{1,20}(?:-[A-Za-z]{1,9}){0,2})?(?:/(?:api|rest)){1,2})?"
    r"/(?:[0-9](?:\.[0-9]{1,2})?|v[0-9]{1,2}\.[0-9]{2}))/"
)
# What stays behind an id at the end: a known file ending, or a custom verb (with a letter that is no hex digit).
_TAIL = rf"(\.(?:{'|'.join(_EXTENSIONS)})|:[a-z]*[g-z][A-Za-z]*)$"
_ORIGIN = r"^[A-Za-z][A-Za-z0-9+.-]*://[^/?#]*"
_TOO_LONG = rf"[^/]{{{MAX_SEGMENT_CHARS + 1},}}"
_TOO_DEEP = rf"(?s)^((?:/[^/]*){{{MAX_SEGMENTS - 1}}})/[^/]*/.*$"


def template(path: pl.Series) -> pl.Series:
    """The route of each path; same length, same name; null stays null.

    path: URL path as received, percent-encoding kept, no query. Any text is accepted.

    - Variable segments become `{id}`: numbers, dates, UUIDs, tokens, e-mail addresses, mixed ids, slugs of four words
      or with a number, percent-encoded or non-ASCII text, anything longer than MAX_SEGMENT_CHARS.
    - Words stay, also with one or two digits behind (`orders0`, `oauth2`), versions (`v2`, `/api/2.0/`), and names of
      two or three words (`reset-password`).
    - `/img/12345.png` → `/img/{id}.png`; `/jobs/17:cancel` → `/jobs/{id}:cancel`.
    - `;matrix=parameters` are cut, repeated slashes count once, a trailing slash is dropped (`/a/` is `/a`): servers
      redirect one to the other, and two rows for one endpoint help nobody.
    - `http://host/p` → `/p`; `*` stays; empty → `/`; what is no path at all (garbage, host:port) → `{id}`.
    - More than MAX_SEGMENTS segments: the last one kept is `{rest}`.

    template(template(p)) == template(p).
    """
    return distinct(path).map(_template)


def _template(path: pl.Series) -> pl.Series:
    each = pl.col("path")
    odd = (
        ~each.str.starts_with("/")
        | each.str.contains(";", literal=True)
        | each.str.contains("//", literal=True)
        | (each.str.ends_with("/") & (each.str.len_bytes() > 1))
    )
    path = _on(path, path.to_frame("path").select(odd).to_series(), _tidied)
    framed = each.str.contains(_VERSION_HEAD) | each.str.contains(_TAIL)
    at = path.to_frame("path").select(framed.arg_true()).to_series()
    route = _of_distinct(path.str.replace_all(_USUAL, "/{id}"), _judged)
    if len(at):
        route = route.clone().scatter(at, _of_distinct(_judged_inside(path.gather(at)), _cut))
    return route


def _tidied(path: pl.Series) -> pl.Series:
    path = _on(path, ~path.str.starts_with("/"), _without_origin)
    path = _on(path, path.str.contains(";", literal=True), lambda odd: odd.str.replace_all("(?s);[^/]*", ""))
    path = _on(path, path.str.contains("//", literal=True), lambda odd: odd.str.replace_all("/{2,}", "/"))
    trailing = path.str.ends_with("/") & (path.str.len_bytes() > 1)
    return _on(path, trailing, lambda odd: odd.str.strip_chars_end("/"))


def _without_origin(target: pl.Series) -> pl.Series:
    path = pl.col("path").str.replace(_ORIGIN, "")
    known = pl.col("path").is_in(["*", "{id}"])
    return target.to_frame("path").select(
        pl.when(known | path.str.starts_with("/"))
        .then(path)
        .when(path == "")
        .then(pl.lit("/"))
        .otherwise(pl.lit("{id}"))
    )["path"]


def _judged(path: pl.Series) -> pl.Series:
    # No "$" in the replacement: the engine then looks for matches only, not for captures.
    return _cut(path.str.replace_all(_VARIABLE, "/{id}"))


def _judged_inside(path: pl.Series) -> pl.Series:
    """Routes of paths with a version in front or an ending behind, which both stay as they are."""
    head = path.str.extract(_VERSION_HEAD).fill_null("")
    tail = path.str.extract(_TAIL).fill_null("")
    return head + path.str.replace(_VERSION_HEAD, "/").str.replace(_TAIL, "").str.replace_all(_VARIABLE, "/{id}") + tail


def _cut(route: pl.Series) -> pl.Series:
    # Hardly ever: Polars keeps 32 regexes per thread, and compiling those again that it dropped took as long as using them.
    long = route.str.len_bytes() > MAX_SEGMENT_CHARS
    route = _on(route, long, lambda odd: odd.str.replace_all(_TOO_LONG, "{id}"))
    deep = route.str.count_matches("/", literal=True) >= MAX_SEGMENTS
    return _on(route, deep, lambda odd: odd.str.replace(_TOO_DEEP, "${1}/{rest}"))


def _of_distinct(rows: pl.Series, change: Callable[[pl.Series], pl.Series]) -> pl.Series:
    distinct = rows.unique()
    return rows.replace_strict(distinct, change(distinct), return_dtype=pl.String)


def _on(rows: pl.Series, where: pl.Series, change: Callable[[pl.Series], pl.Series]) -> pl.Series:
    """`rows` with `change` applied to those `where` holds: what is rare then costs only the test."""
    index = where.arg_true()
    return rows.clone().scatter(index, change(rows.gather(index))) if len(index) else rows
