"""Object stores (s3://, gs://, az://): opened by URL, with credentials from their own environment variables, and their errors in words.

Only s3:// is tested, against a real server; gs:// and az:// go the same way through the same library.
"""

from __future__ import annotations

import io
import logging
import os
import re
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

from apilens.errors import ApilensError, InputError, UsageError

if TYPE_CHECKING:
    from obstore.store import ObjectStore

Answer = TypeVar("Answer")
_log = logging.getLogger(
    "apilens"
)  # what is waited for: a line on stderr, unless a program that uses this package has it elsewhere

_URL = re.compile(r"(s3|gs|az)://([^/]+)(?:/(.*))?", re.DOTALL)
_SCHEME = re.compile(r"(s3|gs|az)://")
#: What the library of the stores reads under no name: it takes keys for paths of one form only.
_UNREADABLE = re.compile(r"(?:^|/)(\.\.?|)/|(?:^|/)\.\.?$|[\x00-\x1f\x7f]")
#: How long a request is made again while the store is out or too busy: a server that starts anew, or a failover, takes some
#: seconds. Picked.
PATIENCE_S = 60.0
#: The same for a store that this process has not reached yet: rather a wrong address than a restart. Picked.
FIRST_PATIENCE_S = 5.0
#: The library makes it again this often by itself, over some three seconds; what takes longer is said.
_RETRIES = 5
_PAUSE_S = 1.0
#: Bytes asked for at once. A request takes some 30 ms to answer, so smaller ones would wait more than they read.
RANGE_BYTES = 8 << 20
#: For libraries that open the store by themselves, and wait as long: that of the tables, and Polars. http is for stores of one's
#: own; the public ones are https by nature.
_HTTP = {"allow_http": "true"}
TABLE_OPTIONS = {
    **_HTTP,
    "max_retries": "100",
    "retry_timeout": f"{PATIENCE_S:.0f}s",
    "backoff_config.max_backoff": "5s",
}
SCAN_OPTIONS: dict[str, Any] = {
    **_HTTP,
    "max_retries": 100,
    "retry_timeout_ms": int(PATIENCE_S / 2 * 1000),  # a scan asks twice before it gives up
    "retry_max_backoff_ms": 5000,
}
#: The same for the file system through which DuckDB reads.
FILE_SYSTEM_OPTIONS: dict[str, Any] = {
    "client_options": {"allow_http": True},
    "retry_config": {
        "max_retries": 100,
        "retry_timeout": timedelta(seconds=PATIENCE_S),
        "backoff": {"init_backoff": timedelta(seconds=0.1), "max_backoff": timedelta(seconds=5), "base": 2},
    },
}

#: Where an S3 store of one's own is.
_ENDPOINT_URLS = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT")

_VARIABLES = {
    "s3": "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (AWS_SKIP_SIGNATURE=true for a public bucket)",
    "gs": "GOOGLE_APPLICATION_CREDENTIALS",
    "az": "AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY",
}
_REGIONS = {"s3": "AWS_REGION", "gs": "the right bucket", "az": "AZURE_STORAGE_ACCOUNT_NAME"}
_ENDPOINTS = {"s3": "AWS_ENDPOINT_URL and AWS_REGION", "gs": "the network", "az": "AZURE_STORAGE_ACCOUNT_NAME"}
# What the stores answer, as the libraries hand it on in their texts.
_NO_BUCKET = re.compile(r"NoSuchBucket|ContainerNotFound|bucket does not exist", re.I)
#: A status of 401 or 403, and no time of 1.403ms that an attempt took.
_REFUSED = re.compile(
    r"AccessDenied|InvalidAccessKeyId|SignatureDoesNotMatch|ExpiredToken|InvalidToken|(?<![\d.])40[13](?![\d.]|\s?[mµn]?s\b)",
    re.I,
)
_NO_CREDENTIALS = re.compile(
    r"169\.254\.|metadata|credential|Account must be specified|(?:api|oauth2|\.com)/token", re.I
)
_OTHER_REGION = re.compile(r"AuthorizationHeaderMalformed|PermanentRedirect|incorrectly configured region", re.I)
_CLOCK = re.compile(r"RequestTimeTooSkewed")
_BUSY = re.compile(r"SlowDown|ServerBusy|TooManyRequests|status code: (?:429|5\d\d)")
_BRANCH = re.compile(r"\s*\x1b\[\d*m↳\x1b\[0m ?")
_UNREACHABLE = re.compile(
    r"error sending request|request or response body error|connection (?:refused|reset|closed)|dns error|(?<!retry_)timed? ?out",
    re.I,
)
_BAD_NAME = re.compile(r"Encountered object with invalid path: (.*)", re.DOTALL)
_OF_A_STORE = re.compile(r"Generic (?:S3|GCS|MicrosoftAzure)|object[-_ ]?store|Error performing [A-Z]+ http", re.I)


def is_url(path: str) -> bool:
    """Whether a path names something on an object store."""
    return _SCHEME.match(path) is not None


def shown_url(url: str) -> str:
    """The URL of a database without the passwords in it."""
    url = re.sub(r"(?<=://)([^/@:]*):.*@", r"\1:***@", url)
    return re.sub(r"(?i)([?&](?:ssl)?password=)[^&]*", r"\1***", url)


def check(url: str, kind: type[ApilensError]) -> None:
    """Raises an error of `kind` for a URL that names no bucket, or a key that cannot be read."""
    found = _URL.fullmatch(url)
    if found is None:
        scheme = url.partition(":")[0]
        raise kind(f"{url}: names no bucket; expected {scheme}://BUCKET/PREFIX")
    if _UNREADABLE.search(found[3] or ""):
        raise kind(
            f"{url!r}: has a part that is empty, '.' or '..', or a control character, which no client we know reads; give another name"
        )


def split(url: str) -> tuple[str, str]:
    """(URL of the bucket, key inside it) of an object's or a prefix's URL."""
    found = _URL.fullmatch(url)
    assert found is not None, url
    scheme, bucket, key = found.groups()
    return f"{scheme}://{bucket}", key or ""


@dataclass(frozen=True, order=True)
class Found:
    """An object as its store lists it."""

    url: str
    bytes: int
    changed: datetime


def find(url: str, *, beside: str = "", without: Sequence[str] = ()) -> list[Found]:
    """The objects that a URL means, sorted: the one of this name, else those that match it as a glob, else those
    whose URLs begin with it. Hidden ones (a part of the key begins with a dot) and folder markers are left out, unless named.
    without: leave out folders of these names that lie where an object of the name `beside` does.

    Raises InputError when the store does not answer, or says no.
    """
    check(url, InputError)
    bucket, key = split(url)
    store = open_store(bucket)
    with explained(url, InputError):
        if key and not key.endswith("/"):
            try:
                meta = patiently(url, lambda: store.head(key))
                return [Found(url, meta["size"], meta["last_modified"])]
            except FileNotFoundError:
                pass
        fixed = re.split(r"[*?\[]", key, maxsplit=1)[0]
        matches = re.compile(_glob(key) if fixed != key else re.escape(key) + ".*", re.DOTALL).fullmatch
        # Stores list by whole folders.
        listed = patiently(url, lambda: store.list(fixed.rpartition("/")[0] or None).collect())
    marked = [meta["path"].removesuffix(beside) for meta in listed if f"/{meta['path']}".endswith(f"/{beside}")]
    apart = tuple(f"{where}{name}/" for where in marked for name in without)
    shown = (
        meta
        for meta in listed
        if matches(meta["path"])
        and not _hidden(meta["path"][len(fixed) :])
        and meta["size"]
        and not meta["path"].startswith(apart)
    )
    return sorted(Found(f"{bucket}/{meta['path']}", meta["size"], meta["last_modified"]) for meta in shown)


def _hidden(rest: str) -> bool:
    return rest.startswith(".") or "/." in rest


def _glob(pattern: str) -> str:
    """A shell glob as a regular expression: * and ? stay within a folder, ** does not."""
    words = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    tokens = re.findall(r"\*\*/|\*\*|\*|\?|\[!?[^]]+\]|.", pattern, re.DOTALL)
    return "".join(
        words.get(token) or (token.replace("[!", "[^", 1) if len(token) > 1 else re.escape(token)) for token in tokens
    )


@cache
def open_store(url: str) -> ObjectStore:
    """The store behind a bucket's URL, or behind a prefix in it. Connects to nothing yet; raises UsageError for a setting that is missing or no URL."""
    from obstore.store import from_url

    if url.startswith("s3:"):
        _check_endpoint()
    with explained(url, UsageError):
        return from_url(
            url,
            client_options={"allow_http": True},
            retry_config={"max_retries": _RETRIES, "retry_timeout": timedelta(seconds=PATIENCE_S)},
        )


def _check_endpoint() -> None:
    """Raises UsageError for an endpoint that is no URL: the library of the stores panics at its first request."""
    for name in filter(os.environ.__contains__, _ENDPOINT_URLS):
        value = os.environ[name]
        try:
            parts = urlsplit(value)
            right = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
        except ValueError:  # of a port or an address
            right = False
        if not right or re.search(r"\s", value):
            raise UsageError(
                f"{name}={shown_url(value)!r} is no URL; expected for example http://127.0.0.1:9000, or the variable unset"
            )


_reached: set[str] = set()


def patiently(url: str, ask: Callable[[], Answer]) -> Answer:
    """What a request answers; made again for a minute while the store is out or too busy, which is said once. A store that this
    process has not reached yet is given a few seconds: its address may be wrong.

    In steps of a few seconds, between which Ctrl-C is heard: the library hears nothing while it tries again by itself.
    """
    bucket, began = split(url)[0], time.monotonic()
    while True:
        try:
            answer = ask()
        except Exception as error:
            out = is_outage(error)
            if not out or _BUSY.search(str(error)):
                # Also who says that there is no such object has answered.
                _reached.add(bucket)
            if not out:
                raise
            known = bucket in _reached
            if time.monotonic() > began + (PATIENCE_S if known else FIRST_PATIENCE_S):
                raise
            if known:
                say_waiting(url, error)
            time.sleep(_PAUSE_S)
        else:
            _reached.add(bucket)
            return answer


_said_at, _saying = -PATIENCE_S, threading.Lock()


def say_waiting(url: str, error: BaseException) -> None:
    """Once an outage, whichever of the threads meets it first."""
    global _said_at
    with _saying:
        if time.monotonic() < _said_at + PATIENCE_S:
            return
        _said_at = time.monotonic()
    bucket = split(url)[0]
    why = _answer(str(error)) if _BUSY.search(str(error)) else "it cannot be reached"
    _log.warning("apilens: waiting for %s: %s; tried again for %.0f s", bucket, why, PATIENCE_S)


@contextmanager
def explained(url: str, kind: type[ApilensError]) -> Iterator[None]:
    """Turns a store's failure in the block into an error of `kind` that says what to do. FileNotFoundError of an object goes through."""
    try:
        yield
    except FileNotFoundError as error:
        if not _NO_BUCKET.search(str(error)):
            raise
        raise kind(words(error, url)) from None
    except Exception as error:
        if not is_failure(error):
            raise
        raise kind(words(error, url)) from None


def is_failure(error: BaseException) -> bool:
    """Whether an error of any library comes from an object store."""
    return type(error).__module__.startswith("obstore") or _OF_A_STORE.search(str(error)) is not None


def is_outage(error: BaseException) -> bool:
    """Whether a store failed as one does that is down, restarted or too busy for a moment: the same request may do later."""
    text = str(error)
    if not is_failure(error) or _REFUSED.search(text) or _NO_CREDENTIALS.search(text):
        return False
    return (_BUSY.search(text) or _UNREACHABLE.search(text)) is not None


def _answer(text: str) -> str:
    """What a store that is too busy says."""
    found = (re.search(r"status code: (\d{3} [A-Z][\w ]*)", text), re.search(r"<Code>(\w+)</Code>", text))
    return f"it answers {' '.join(part[1] for part in found if part)}"


def words(error: BaseException, url: str = "s3://") -> str:
    """What a store's failure means, and what to do; url: what was wanted, as far as that is known."""
    # The library of the tables draws its causes, cut at their colons, as a coloured tree.
    text, scheme = _BRANCH.sub(": ", str(error)), url.partition(":")[0]
    where = url if url != "s3://" else "the object store"
    code = re.search(r"<Code>(\w+)</Code>", text)
    if (bad := _BAD_NAME.search(text)) is not None:
        return (
            f"{where}: an object there has a name that cannot be read ({bad[1].splitlines()[0][:300]});"
            " give a longer beginning that leaves it out, or copy it to another name"
        )
    if _NO_BUCKET.search(text):
        return f"{where}: the bucket does not exist; create it first, or give the right name"
    if _OTHER_REGION.search(text):
        return f"{where}: the store says that the bucket is in another region; set {_REGIONS[scheme]}"
    if _CLOCK.search(text):
        return f"{where}: the store says that this machine's clock is wrong; set it, as with: timedatectl set-ntp true"
    if _BUSY.search(text):
        answer = _answer(text).replace("it answers", "the store answered")
        return f"{where}: {answer} each time it was asked. What was committed stays; run it again later"
    if _REFUSED.search(text):
        reason = code.group(1) if code else "access denied"
        return f"{where}: the store refuses access ({reason}); check the bucket's name, {_VARIABLES[scheme]}, and what they may do"
    if _NO_CREDENTIALS.search(text):
        return f"{where}: no credentials found; set {_VARIABLES[scheme]}"
    if _UNREACHABLE.search(text):
        return f"{where}: the store cannot be reached; check {_ENDPOINTS[scheme]}, and that it runs. What was committed stays; run it again"
    return f"{where}: the store failed: {text.splitlines()[0][:300]}. What was committed stays; run it again"


class ObjectReader(io.RawIOBase):
    """An object's bytes, asked for in ranges, the next one while this one is read; two of them are in memory.

    Raises OSError in our words when the store fails, or the object was replaced since it was opened.
    """

    def __init__(self, url: str) -> None:
        bucket, self._key = split(url)
        self._url, self._store = url, open_store(bucket)
        with explained(url, InputError):
            self._meta = patiently(url, lambda: self._store.head(self._key))
        self._at = 0
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="apilens-object")
        self._ahead: tuple[int, Future[bytes]] | None = None
        self._part, self._part_at = b"", 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._meta["size"]}[whence]
        self._at = max(start + offset, 0)
        return self._at

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override] # io types it as any writable buffer
        if self._at >= self._meta["size"]:
            return 0
        if not self._part_at <= self._at < self._part_at + len(self._part):
            self._part, self._part_at = self._range(self._at), self._at
        begin = self._at - self._part_at
        data = self._part[begin : begin + len(buffer)]
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)

    def _range(self, start: int) -> bytes:
        ahead, self._ahead = self._ahead, None
        data = ahead[1].result() if ahead is not None and ahead[0] == start else self._fetch(start)
        if (following := start + len(data)) < self._meta["size"]:
            self._ahead = following, self._pool.submit(self._fetch, following)
        return data

    def _fetch(self, start: int) -> bytes:
        from obstore.exceptions import PreconditionError

        asked: Any = {"range": (start, min(start + RANGE_BYTES, self._meta["size"])), "if_match": self._meta["e_tag"]}
        try:
            return patiently(self._url, lambda: bytes(self._store.get(self._key, options=asked).bytes()))
        except (PreconditionError, FileNotFoundError):
            raise OSError("the object was replaced while it was read; run it again") from None
        except Exception as error:
            if not is_failure(error):
                raise
            raise OSError(words(error, self._url)) from None

    def close(self) -> None:
        self._pool.shutdown(cancel_futures=True)
        super().close()
