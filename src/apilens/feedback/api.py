"""Asking a REST interface: patient with limits, bounded in size, never led to another host."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, Protocol

from apilens.errors import InputError
from apilens.feedback.export import inner, word
from apilens.feedback.records import Records

if TYPE_CHECKING:
    # Imported where it is used: only `feedback pull` talks to anybody.
    import httpx2

_MAX_ANSWER = 64 * 2**20
_ATTEMPTS = 6
_PATIENCE_S = 120.0  # a limit that lasts longer is left to the next run
_AGAIN = (429, 502, 503, 504)


@dataclass(frozen=True, slots=True)
class Page:
    """Some records, and where to go on behind them, also in a later run."""

    records: Records
    cursor: str


class Pull(Protocol):
    """How a channel is asked for what is new."""

    def __call__(self, api: Api, query: str, cursor: str | None) -> Iterator[Page]:
        """The pages behind `cursor` (None: from the beginning). query: what to ask for, in the channel's own terms."""


class _TryAgain(Exception):  # noqa: N818 - it is no error yet
    def __init__(self, why: str, after_s: float | None) -> None:
        super().__init__(why)
        self.after_s = after_s


class Api:
    """The interface at one URL. Use as a context manager."""

    def __init__(self, url: str, *, user: str | None, secret: str, secret_name: str, proxies: bool = True) -> None:
        """user: with it HTTP Basic, without it a bearer token. secret_name: the variable it came from, for messages."""
        import httpx2

        self._secret_name = secret_name
        base = httpx2.URL(url.rstrip("/") + "/")
        self._client = httpx2.Client(
            base_url=base,
            auth=(user, secret) if user else None,
            headers={"Accept": "application/json", "User-Agent": "apilens"}
            | ({} if user else {"Authorization": f"Bearer {secret}"}),
            timeout=30.0,
            trust_env=proxies,
        )

    def __enter__(self) -> Api:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def get(self, path: str, params: Mapping[str, str] | None = None) -> tuple[Any, Mapping[str, str]]:
        """The answer's JSON (numbers as text) and headers. path: below the URL, or a whole URL on the same host.

        Raises InputError: refused, not found, moved, too large, no JSON, or not there after several attempts.
        """
        import httpx2
        import stamina

        url = self._client.base_url.join(path)
        if url.host != self._client.base_url.host or url.scheme != self._client.base_url.scheme:
            raise InputError(f"{self._client.base_url.host} points to {url.host}; answers of one host only are read")

        def again(error: Exception) -> bool | float | timedelta:
            if isinstance(error, _TryAgain):
                return True if error.after_s is None else error.after_s
            return isinstance(error, httpx2.TransportError)

        try:
            for attempt in stamina.retry_context(on=again, attempts=_ATTEMPTS, timeout=_PATIENCE_S * 2):
                with attempt:
                    return self._once(url, params)
        except _TryAgain as limit:
            raise InputError(f"{url.host}: {limit}, {_ATTEMPTS} times; run this again later") from None
        except httpx2.HTTPError as error:
            raise InputError(f"{url.host}: cannot be reached: {error or type(error).__name__}") from None
        raise AssertionError("the loop above returns or raises")

    def _once(self, url: httpx2.URL, params: Mapping[str, str] | None) -> tuple[Any, Mapping[str, str]]:
        with self._client.stream("GET", url, params=dict(params) if params else None) as answer:
            if answer.status_code in _AGAIN or _limited(answer):
                raise self._later(answer)
            if answer.status_code in (401, 403):
                raise InputError(
                    f"{url.host} refuses {url.path} with {answer.status_code}: does {self._secret_name} hold a valid "
                    "secret, and may it read this?"
                )
            if answer.status_code != 200:
                to = f" to {answer.headers['location']}" if "location" in answer.headers else ""
                raise InputError(f"{url.host} answers {url.path} with {answer.status_code}{to}, expected 200")
            parts, size = [], 0
            for part in answer.iter_bytes():
                parts.append(part)
                size += len(part)
                if size > _MAX_ANSWER:
                    raise InputError(f"{url.host}: an answer of more than {_MAX_ANSWER >> 20} MiB; ask for less")
            headers = dict(answer.headers)
        try:
            return json.loads(b"".join(parts), parse_int=str, parse_float=str, parse_constant=str), headers
        except (ValueError, RecursionError) as bad:
            raise InputError(f"{url.host} answers {url.path} with no JSON ({bad}); is the URL right?") from None

    def _later(self, answer: httpx2.Response) -> _TryAgain:
        after = _retry_after(answer)
        if after is not None and after > _PATIENCE_S:
            raise InputError(f"{answer.url.host}: asks to come back in {after:.0f} s; run this again then")
        return _TryAgain(f"answers {answer.status_code}", after)


def _limited(answer: httpx2.Response) -> bool:
    """GitHub's limits come as 403."""
    return answer.status_code == 403 and (
        "retry-after" in answer.headers or answer.headers.get("x-ratelimit-remaining") == "0"
    )


def _retry_after(answer: httpx2.Response) -> float | None:
    """Seconds to wait as the answer says them, in seconds or as a date (RFC 9110, 10.2.3); None: it does not."""
    text = answer.headers.get("retry-after", "")
    try:
        if text.strip().isdecimal():
            return float(text)
        if text:
            return max(0.0, parsedate_to_datetime(text).timestamp() - time.time())
        return max(0.0, float(answer.headers["x-ratelimit-reset"]) - time.time())
    except (KeyError, ValueError):
        return None


def pages(
    api: Api,
    path: str,
    params: dict[str, str],
    since: tuple[str, str | None],
    of: Callable[[list[tuple[int, Any]], list[tuple[int, str]]], Records],
) -> Iterator[Page]:
    """Lists of issues, the one changed first at the head; the cursor is the latest `updated_at`. since: name of the parameter
    that asks for what changed at or after a moment, and the cursor. of: (numbered issues, rejects) -> records.

    Behind a page what changed since its last issue is asked for. By number the next page would begin one too far for each
    earlier issue that somebody changes meanwhile. Only where a whole page changed at one moment its Link header is followed.
    """
    name, newest = since[0], since[1] or ""
    asked = newest
    answer, headers = api.get(path, params | ({name: newest} if newest else {}))
    while True:
        if not isinstance(answer, list):
            raise InputError(f"{path} answers no list of issues; is the URL that of the REST interface?")
        changed = [word(inner(issue, "updated_at")) or "" for issue in answer]
        newest = max([newest, *changed])
        yield Page(of(list(enumerate(answer, 1)), []), newest)
        further = _next_link(headers)
        if further is None:
            return
        if newest > asked and newest > min(changed):
            asked = newest
            answer, headers = api.get(path, params | {name: newest})
        else:
            answer, headers = api.get(further)


def _next_link(headers: Mapping[str, str]) -> str | None:
    """The URL of the next page in a Link header (RFC 8288); None on the last one."""
    for part in headers.get("link", "").split(","):
        target, *parameters = part.split(";")
        if any(parameter.strip().replace('"', "") == "rel=next" for parameter in parameters):
            return target.strip().strip("<>")
    return None
