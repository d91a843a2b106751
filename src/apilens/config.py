"""apilens.toml, validated: an error names the file, the key and the nearest known key."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from datetime import UTC, date
from difflib import get_close_matches
from fnmatch import fnmatch
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import polars as pl
from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from apilens.errors import ConfigError
from apilens.schema import OTHER_SIGNALS, SIGNALS

#: A time with its zone, in UTC from here on.
Moment = Annotated[AwareDatetime, AfterValidator(lambda given: given.astimezone(UTC))]


class Source(BaseModel):
    """What is declared about inputs whose path, seen from the configuration's folder, or whose URL matches `match`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    match: str
    source: str = ""
    environment: str = "default"
    format: str | None = None
    log_format: str | None = None
    log_format_from: str | None = None
    tz: str | None = None
    columns: dict[str, str] = Field(default_factory=dict)


class Mark(BaseModel):
    """A moment that may explain a change: the go-live, a deployment."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    time: Moment
    label: str
    go_live: bool = False


class Objective(BaseModel):
    """An SLO, see measure.slo.Slo: at least `objective` (0..1) of the calls to `endpoints` within `days` are good."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    objective: float = Field(gt=0, lt=1)
    endpoints: str = "*"
    service: str | None = None
    latency_ms: float | None = Field(default=None, gt=0)
    days: int = Field(default=28, ge=1, le=366)


class MetricRule(BaseModel):
    """What is said about system metrics whose name matches: what they are, and from where on they are a problem.

    unit: as exported. above, below: limits in that unit (percent: 0..100), reached for `minutes`.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    match: str
    kind: Literal["cpu", "memory", "disk", "network", "database", "other"] | None = None
    unit: Literal["ratio", "percent", "ms", "s", "bytes"] | None = None
    above: float | None = None
    below: float | None = None
    minutes: int = Field(default=15, ge=5, le=1440)


Signal = Literal[(*SIGNALS, *OTHER_SIGNALS)]  # type: ignore[valid-type]  # the words of schema, once


class About(BaseModel):
    """What a setting is about: endpoints ("METHOD /route" with *), service, signals; what is not given is any."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    endpoints: str = "*"
    service: str | None = None
    signals: tuple[Signal, ...] = ()


class Sensitivity(About):
    """How much proof opens a candidate there: low asks for a thousand times less chance, high for a thirtieth of it; off: none is raised."""

    sensitivity: Literal["off", "low", "normal", "high"]


class Maintenance(About):
    """A window [start, end) in which problems are meant; one that lasts beyond it is raised then."""

    start: Moment
    end: Moment
    label: str = "maintenance"

    @model_validator(mode="after")
    def _forwards(self) -> Maintenance:
        if self.end <= self.start:
            raise ValueError(f"end {self.end.isoformat()} is not after start {self.start.isoformat()}")
        return self


class Mute(About):
    """Candidates that are known and wait: muted until a moment, by fingerprint, or by what they are about."""

    fingerprint: str | None = None
    until: Moment
    why: str | None = None


class Detect(BaseModel):
    """[detect]: how much proof opens a candidate, and where none is wanted. Of `endpoints` the first that fits counts."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    sensitivity: Literal["low", "normal", "high"] = "normal"
    endpoints: tuple[Sensitivity, ...] = ()
    maintenance: tuple[Maintenance, ...] = ()
    mutes: tuple[Mute, ...] = ()


class PullSource(BaseModel):
    """Where feedback is asked for: an interface of one of feedback.PULLS, or imap.

    user: with it HTTP Basic (or the mail account), without it a bearer token. secret: name of the environment variable that
    holds password or token; null: APILENS_NAME_SECRET. query: what to ask for, in the interface's own terms.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: str
    url: str
    query: str = ""
    user: str | None = None
    secret: str | None = None
    channel: str | None = None


class FeedbackRule(BaseModel):
    """What a report that fits is: all conditions given must hold, the first rule that says something counts."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    pattern: str | None = None
    endpoint: str | None = None
    consumer: str | None = None
    channel: str | None = None
    category: (
        Literal["bug", "configuration", "training_gap", "capacity", "dependency", "question", "enhancement"] | None
    ) = None
    severity: Literal["critical", "high", "medium", "low"] | None = None
    module: str | None = None
    owner: str | None = None

    @field_validator("pattern")
    @classmethod
    def _linear(cls, pattern: str | None) -> str | None:
        if pattern is not None:
            try:
                pl.Series([""]).str.contains(pattern)
            except pl.exceptions.ComputeError as bad:
                raise ValueError(f"no regular expression: {str(bad).splitlines()[0]}") from None
        return pattern


class Config(BaseModel):
    """Everything apilens.toml can say."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    sources: tuple[Source, ...] = ()
    marks: tuple[Mark, ...] = ()
    slo: tuple[Objective, ...] = ()
    metrics: tuple[MetricRule, ...] = ()
    detect: Detect = Detect()
    rules: tuple[FeedbackRule, ...] = ()
    pulls: dict[str, PullSource] = Field(default_factory=dict)
    apdex_ms: float = Field(default=500.0, gt=0)
    max_reject_ratio: float = Field(default=0.05, ge=0, le=1)
    folder: Path = Field(default=Path(), exclude=True)

    def source_of(self, path: Path | str) -> Source | None:
        """The first [[sources]] that matches; None: nothing is declared about this path, or (as text) URL."""
        try:
            relative = path if isinstance(path, str) else path.resolve().relative_to(self.folder.resolve()).as_posix()
        except ValueError:
            return None
        return next((source for source in self.sources if fnmatch(relative, source.match)), None)


def load_config(path: str | None) -> Config:
    """The configuration in `path`; None: apilens.toml of the working folder, or the defaults when there is none.

    Raises ConfigError naming file, key and the nearest known key.
    """
    file = Path(path) if path is not None else Path("apilens.toml")
    if path is None and not file.is_file():
        return Config()
    try:
        data = tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{file}: cannot be read: {error.strerror or error}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file}: is no TOML: {error}") from None
    try:
        return Config.model_validate(data | {"folder": file.parent})
    except ValidationError as error:
        raise ConfigError(_explain(file, error)) from None


def _explain(file: Path, error: ValidationError) -> str:
    first: Any = error.errors()[0]
    where = [str(part) for part in first["loc"]]
    key = ".".join(where)
    if first["type"] == "extra_forbidden":
        model = _model_of(where[:-1])
        known = sorted(set(model.model_fields) - {"folder"})
        near = get_close_matches(where[-1], known, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"known keys: {', '.join(known)}"
        return f"{file}: unknown key {key!r}; {hint}"
    said = first["msg"].removeprefix("Value error, ")
    given = first.get("input")
    if first["type"] == "missing":
        return f"{file}: {key} is missing"
    if isinstance(given, dict):  # what is wrong lies between its values, which are named
        return f"{file}: {key}: {said}"
    if first["type"] == "timezone_aware":
        said = f"expected a time with its zone, such as {given.isoformat()}Z or {given.isoformat()}+01:00"
    shown = given.isoformat() if isinstance(given, date) else repr(given)
    return f"{file}: {key} is {shown}; {said}"


def _model_of(where: Sequence[str]) -> type[BaseModel]:
    """The model that the keys of a place belong to; numbers and names of a table's entries lead no further."""
    model: type[BaseModel] = Config
    for part in where:
        field = model.model_fields.get(part)
        if field is not None:
            inside = [field.annotation, *get_args(field.annotation)]
            model = next((one for one in inside if isinstance(one, type) and issubclass(one, BaseModel)), model)
    return model
