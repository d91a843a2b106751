"""apilens.toml, validated: an error names the file, the key and the nearest known key."""

from __future__ import annotations

import tomllib
from difflib import get_close_matches
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, Literal

import polars as pl
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError, field_validator

from apilens.errors import ConfigError


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

    time: AwareDatetime
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
        models: dict[str, type[BaseModel]] = {
            "sources": Source,
            "marks": Mark,
            "pulls": PullSource,
            "rules": FeedbackRule,
            "slo": Objective,
        }
        model = models[where[0]] if len(where) > 2 else Config
        known = sorted(set(model.model_fields) - {"folder"})
        near = get_close_matches(where[-1], known, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"known keys: {', '.join(known)}"
        return f"{file}: unknown key {key!r}; {hint}"
    return f"{file}: {key} is {first.get('input')!r}; {first['msg']}"
