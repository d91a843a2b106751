"""Business context: what the endpoints, accounts and teams mean to the business (context.toml)."""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from functools import cache, cached_property
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from apilens.errors import ConfigError


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Account(_Strict):
    """Who a customer is in the logs and in the mail."""

    consumers: list[str] = []
    domains: list[str] = []
    vip: bool = False  # what its people write becomes a ticket


class Endpoint(_Strict):
    """What an endpoint means to the business."""

    core: bool = False  # the product is not usable without it
    revenue: bool = False  # money passes through it
    compliance: bool = False  # a failure is a matter for regulators or auditors
    value_per_call: Annotated[float, Field(ge=0, allow_inf_nan=False)] = (
        0.0  # in your currency, lost with a failed call
    )


class Context(_Strict):
    """context.toml as a whole.

    A pattern is `[METHOD ]/path`: `*` stands for anything, a trailing `/*` also for nothing, and the variables of a
    route are the same whatever their name.
    """

    features: dict[str, list[str]] = {}  # name people use -> patterns
    accounts: dict[str, Account] = {}
    endpoints: dict[str, Endpoint] = {}  # pattern -> meaning
    owners: dict[str, list[str]] = {}  # team -> patterns
    upstreams: dict[str, str] = {}  # address in the log -> name people use

    @property
    def is_empty(self) -> bool:
        """Nothing is known about the business."""
        return self == Context()

    def with_features(self, features: Mapping[str, Sequence[str]]) -> Context:
        """This context and, for names it does not have itself, these features (an API document's tags -> its operations)."""
        return self.model_copy(update={"features": {name: list(of) for name, of in features.items()} | self.features})

    def owner(self, endpoints: Iterable[str]) -> str | None:
        """The team that owns the first of these endpoints that has an owner; None: nobody is named."""
        for endpoint in endpoints:
            for team, patterns in self.owners.items():
                if any(matches(pattern, endpoint) for pattern in patterns):
                    return team
        return None

    def meanings(self, endpoints: Iterable[str]) -> list[Endpoint]:
        """What is known about each of these endpoints; nothing for those no pattern names."""
        return [
            meaning
            for endpoint in endpoints
            for pattern, meaning in self.endpoints.items()
            if matches(pattern, endpoint)
        ]

    def consumers_of(self, reporter: str | None, account: str | None) -> list[str]:
        """The consumers a reporter speaks for: of the account named, else of the account with the mail domain."""
        entry = self._account(reporter, account)
        return [] if entry is None else entry.consumers

    def is_vip(self, reporter: str | None, account: str | None) -> bool:
        """Whether a reporter speaks for an account marked `vip`."""
        entry = self._account(reporter, account)
        return entry is not None and entry.vip

    def _account(self, reporter: str | None, account: str | None) -> Account | None:
        if account is not None and (entry := self._by_name.get(account.casefold())) is not None:
            return entry
        domain = (reporter or "").rpartition("@")[2].rstrip(">").casefold()
        while domain:
            if (entry := self._by_domain.get(domain)) is not None:
                return entry
            domain = domain.partition(".")[2]
        return None

    @cached_property
    def _by_name(self) -> dict[str, Account]:
        return {name.casefold(): entry for name, entry in self.accounts.items()}

    @cached_property
    def _by_domain(self) -> dict[str, Account]:
        return {domain.casefold(): entry for entry in self.accounts.values() for domain in entry.domains}


def read_context(text: str, name: str) -> Context:
    """The context in a TOML text.

    name: how errors call the file. Raises ConfigError with the file, the key and the nearest known key.
    """
    try:
        return Context.model_validate(tomllib.loads(text))
    except tomllib.TOMLDecodeError as bad:
        raise ConfigError(f"{name}: no TOML: {bad}") from None
    except ValidationError as wrong:
        raise ConfigError("\n".join(_explained(name, error) for error in wrong.errors())) from None


def _explained(name: str, error: object) -> str:
    assert isinstance(error, dict)
    *where, key = [str(part) for part in error["loc"]]
    section = "".join(f"[{part}] " for part in where)
    if error["type"] != "extra_forbidden":
        return f"{name}: {section}{key!r} is {error['input']!r}: {error['msg']}"
    known = sorted((Context if not where else Account if where[0] == "accounts" else Endpoint).model_fields)
    near = difflib.get_close_matches(key, known, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    return f"{name}: {section}unknown key {key!r}, expected one of {', '.join(known)}{hint}"


def matches(pattern: str, endpoint: str) -> bool:
    """Whether `[METHOD ]/path/*` names the endpoint `METHOD /path/{id}`."""
    method, _, path = pattern.rpartition(" ")
    own_method, _, route = endpoint.rpartition(" ")
    if method and method.upper() != own_method.upper():
        return False
    return _compiled(path).fullmatch(route) is not None


@cache
def _compiled(path: str) -> re.Pattern[str]:
    plain = re.sub(r"\{[^}]*\}", "{id}", path)
    stem = plain.removesuffix("/*")
    pattern = "[^\n]*".join(re.escape(piece) for piece in re.split(r"\*+", stem))
    return re.compile(pattern + ("(?:/.*)?" if stem != plain else ""))
