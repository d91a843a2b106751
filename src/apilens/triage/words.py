"""What a text names: calls, routes, status codes, subjects and kinds of trouble, found by rules anyone can read."""

from __future__ import annotations

import re
from functools import lru_cache
from urllib.parse import urlsplit

import polars as pl

_WORD = re.compile(r"[^\W\d_]{2,40}")
_TOKEN = re.compile(r"[A-Za-z0-9][A-Za-z0-9_\-.]{6,126}[A-Za-z0-9]")
_PATH = re.compile(r"(?:https?://[^\s/\"'<>()]{1,255})?(?<![\w/.<])(/[A-Za-z0-9_\-.~%{}:@/…]{1,400})")
_URL = re.compile(r"https?://[^\s\"'<>()]{1,2000}")
#: A code stands alone: not part of a number, an amount, a time or an id.
_STATUS = re.compile(r"(?<![\w.,:/#-])(4\d\d|5\d\d)(?![\w%€$]|[.,:-]\d|-\w)")
_CODES = {400, 401, 402, 403, 404, 405, 406, 408, 409, 410, 411, 412, 413, 415, 422, 423, 424, 425, 426, 428, 429, 431}
_CODES |= {499, 500, 501, 502, 503, 504, 505, 507, 508, 511, 520, 521, 522, 523, 524}
#: Reason phrases (RFC 9110) people copy instead of the number.
_PHRASES = {
    "unauthorized": 401,
    "forbidden": 403,
    "unprocessable": 422,
    "too many requests": 429,
    "internal server error": 500,
    "bad gateway": 502,
    "service unavailable": 503,
    "gateway timeout": 504,
    "gateway time-out": 504,
}
_MANY = 200  # tokens looked at per text: a dump of ids must not become a query of megabytes
_MANY_PATHS = 20

#: Words of the same meaning in the languages we could check, by stem -> the stem routes use.
_SAME = {
    **dict.fromkeys(("bezahl", "zahlung", "paie", "payer", "pago", "checkout"), "pay"),
    **dict.fromkeys(("bestellung", "bestellen", "command", "pedido"), "order"),
    **dict.fromkeys(("anmeld", "einloggen", "connexion", "signin", "logon"), "login"),
    **dict.fromkeys(("erstattung", "remboursement", "reembolso"), "refund"),
    **dict.fromkeys(("rechnung", "factur", "factura"), "invoic"),
    **dict.fromkeys(("such", "recherch", "buscar"), "search"),
    **dict.fromkeys(("warenkorb", "panier", "basket", "carrito"), "cart"),
    **dict.fromkeys(("lager", "bestand", "inventory"), "stock"),
    **dict.fromkeys(("download",), "export"),
}
#: Parts of routes that say nothing about the subject.
_NO_SUBJECT = frozenset(
    {"api", "rest", "public", "internal", "the", "and", "for", "new", "get", "post", "all", "partn"}
)

#: Kind of trouble (schema.SIGNALS) -> how people put it.
_SIGNAL_WORDS = {
    "latency": (
        r"(?i)\b(slow\w*|sluggish|crawl\w*|spinning|spins|forever|for ages|time[ds]?[ -]?outs?|timing out|hang(s|ing)?|hängt?s?|"
        r"lag(s|gy|ging)?|takes? (too |very |so |an )?(long|eternity)|(took|takes?) (like |about |around |over |more than )?\d+|painfully|loading\.\.|needs? \d+(\.\d+)? ?s(econds)?|waiting (\d|for|too)|"
        r"overloaded|response times?|latency|performance|(used to be|was|no longer|not as) (quick|fast|snappy)|"
        r"langsam\w*|dauert|ewig|träge|lahm|wartezeit\w*|lente?s?|lenteurs?|ralenti\w*|lent[oa]s?|lentitud|tarda)\b"
    ),
    "errors": (
        r"(?i)\b(errors?|fail(s|ed|ing|ure|ures)?|broken|breaks|crash\w*|exceptions?|rejected|refused|(does|do|did)(n'?t| not) "
        r"work|not working|(stopped|quit) working|cannot|can'?t|can not|could ?n[o']t|not able to|unable|blow\w* up|blew up|"
        r"went wrong|bounces?d?|invalid|bad gateway|service unavailable|5\d\ds?|only sometimes|lottery|(second|third) try|"
        r"retry\w* helps|charged twice|(goes|going) wrong|not possible|refuses|(acting|behaves) (up|strange\w*|weird\w*|odd\w*)|(is|are) off|problems? with|(known|any) (problem|issue)s?|trouble|intermittent\w*|fehler\w*|"
        r"fehlgeschlagen|nur manchmal|klappt nicht|geht (\w+ ){0,3}nicht|funktioniert (\w+ ){0,2}nicht|kaputt|erreurs?|"
        r"échou\w*|ne (marche|fonctionne) (pas|plus)|impossible|fallos?|falla\w*|no funciona|no puedo)\b"
    ),
    # Somebody who cannot log in meets a broken login as often as refused credentials: the word alone tells neither.
    "auth": (
        r"(?i)\b((logged|kicked|thrown|signed) out|(log|sign) ?(me |us )?(in|on) again|login loop|credentials?|unauthori[sz]ed|"
        r"forbidden|401|403|access denied|permission denied|not authori[sz]ed|session expired|(token|keys?|password|login) "
        r"(was |is |were |are |got |gets |has been )?(rotated|revoked|refused|rejected|invalid|expired|no longer accepted)|"
        r"abgemeldet|zugriff verweigert|accès refusé|acceso denegado)\b"
    ),
    "rate_limit": (r"(?i)\b(429|rate.?limit\w*|quota|too many requests|throttl\w*|limit (hit|reached|exceeded))\b"),
    "traffic": (
        r"(?i)\b(outages?|down|frozen|dead|offline|nothing (moved|arriv\w*|comes?|goes)|no (connection|data|updates?|calls|"
        r"answers?|responses?|reply|more)|not a single (answer|response|call)|(does|do|did)(n'?t| not) (answer|respond|reply)|(don'?t|do not|didn'?t|did not) (get|receive) (any ?thing|an? \w+)|keine (verbindung|antwort)|"
        r"not (arriv\w*|accepted|reachable|responding|answering)|stopped|silent|can(no|')t (push|reach|connect)|"
        r"hang(ing)? before|queue .{0,60}growing|hanging|unreachable|unavailable|ausfall|nicht erreichbar|antwortet nicht|panne|"
        r"injoignable|caíd[oa]|no responde)\b"
    ),
}


@lru_cache(maxsize=1 << 16)
def stem(word: str) -> str:
    """The word without its ending, in the form routes use: paying, payments, bezahlen → pay."""
    plain = word.casefold()
    for ending in ("ments", "ment", "ings", "ing", "en", "ed", "es", "e", "s"):
        if plain.endswith(ending) and len(plain) - len(ending) >= 3 and not plain.endswith("ss"):
            plain = plain.removesuffix(ending)
            break
    return _SAME.get(plain, plain)


def stems(text: str) -> set[str]:
    """The stems of all words of a text."""
    return {stem(word) for word in _WORD.findall(text)}


def subjects(endpoint: str) -> set[str]:
    """The stems of the words in an endpoint's route: POST /v1/orders/{id}/pay → order, pay."""
    route = re.sub(r"\{[^}]*\}|\bv\d+\b", " ", endpoint.rpartition(" ")[2])
    return {found for found in stems(route) if found not in _NO_SUBJECT}


def tokens(text: str) -> list[str]:
    """What may be a request id: words of 8 to 128 characters with a digit, in the order of the text, at most 200."""
    found = dict.fromkeys(token for token in _TOKEN.findall(text) if any(sign.isdigit() for sign in token))
    return list(found)[:_MANY]


def paths(text: str) -> list[str]:
    """The paths a text names, of URLs too, without query, in the order of the text, at most 20."""
    urls = [urlsplit(url).path for url in _URL.findall(text) if "[" not in url]
    found = [path.rstrip(".:,…") for path in [*urls, *_PATH.findall(_URL.sub(" ", text))]]
    return list(dict.fromkeys(path for path in found if re.search(r"[A-Za-z]{2}", path)))[:_MANY_PATHS]


def statuses(text: str) -> set[int]:
    """The HTTP status codes >= 400 a text names, by number or by reason phrase."""
    lowered = text.casefold()
    by_number = {int(code) for code in _STATUS.findall(text)} & _CODES
    return by_number | {code for phrase, code in _PHRASES.items() if phrase in lowered}


def signals(text: pl.Expr) -> pl.Expr:
    """The kinds of trouble (schema.SIGNALS) a text describes, as a list."""
    named = (pl.when(text.str.contains(words)).then(pl.lit(signal)) for signal, words in _SIGNAL_WORDS.items())
    return pl.concat_list(*named).list.drop_nulls()


def is_route(path: str, endpoint: str) -> bool:
    """Whether a path that somebody wrote is one of the endpoint's: the whole, or a part that holds its last words.

    /v1/orders/12/pay, /orders/12/pay and /v1/orders/.../pay are all POST /v1/orders/{id}/pay.
    """
    named = _segments(path)
    route = _segments(endpoint.rpartition(" ")[2])
    while named and named[-1] in ("...", "…", ".."):
        named.pop()
    if not named or len(named) > len(route) + 3:
        return False
    return any(_fits(named[skip:], route) for skip in range(len(named))) or any(
        _fits(named, route[skip:]) for skip in range(1, len(route))
    )


def _segments(path: str) -> list[str]:
    return [part for part in path.casefold().split("/") if part]


def _fits(named: list[str], route: list[str]) -> bool:
    """Segment by segment; the route may end with one more variable than was written, but not with another word."""
    rest = route[len(named) :]
    if len(named) > len(route) or (rest and not (len(rest) == 1 and rest[0].startswith("{"))):
        return False
    literal = False
    for said, part in zip(named, route, strict=False):
        if part.startswith("{"):
            continue
        if said != part:
            return False
        literal = literal or not re.fullmatch(r"v\d+|api", part)
    return literal
