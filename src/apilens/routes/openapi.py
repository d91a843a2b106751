"""The routes that OpenAPI documents describe: a versioned mapping from stored routes to them, applied on read.

OpenAPI 3.x (servers) and Swagger 2 (basePath). Source of the rules: OpenAPI Specification 3.1, "Paths Object" (a concrete path is
matched before a templated one; templates that differ only in their names are identical) and "Server Object".
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any
from urllib.parse import urlsplit

import polars as pl

from apilens.errors import ConfigError, LakeError
from apilens.routes.rules import template

#: Fields of a Path Item Object that are operations; `query` came with 3.2.
_METHODS = ("get", "put", "post", "delete", "options", "head", "patch", "trace", "query")
_VARIABLE = re.compile(r"\{[^{}/]*\}")
#: Combinations of a server's enumerated variables that are tried.
_MAX_SERVERS = 100

#: Route -> the documented route it is a call of; one row per distinct (service, route) that a document has.
MAPPING = pl.Schema({"service": pl.String, "route": pl.String, "merged_route": pl.String})


@dataclass(frozen=True, slots=True)
class Operation:
    """One method of one documented path. path: as the document has it, behind its base path; id: operationId;
    deprecated: the document says that it should no longer be used; tags: what the document groups it under."""

    method: str
    path: str
    id: str | None = None
    base: str = ""
    deprecated: bool = False
    tags: tuple[str, ...] = ()

    @property
    def route(self) -> str:
        """The path as a route: its variables written {id}."""
        return _VARIABLE.sub("{id}", self.path)

    @property
    def bare_route(self) -> str:
        """The route without the base path, for gateways that cut it off before they log."""
        return _VARIABLE.sub("{id}", self.path[len(self.base) :] or "/")


@dataclass(frozen=True, slots=True)
class Conflict:
    """Two documented paths of which a call can be both. kind: identical (they differ in names only) | ambiguous."""

    kind: str
    paths: tuple[str, str]


@dataclass(frozen=True)
class OpenApi:
    """The operations of some documents, in their order; version counts how often a lake was given others."""

    operations: tuple[Operation, ...] = ()
    version: int = 0

    def to_json(self) -> str:
        """Text that from_json reads back; the same operations give the same text."""
        operations = [
            [one.method, one.path, one.id, one.base, one.deprecated, list(one.tags)] for one in self.operations
        ]
        return json.dumps({"version": self.version, "operations": operations}, ensure_ascii=True, indent=1)

    @classmethod
    def from_json(cls, text: str) -> OpenApi:
        """Raises LakeError when the text is not what to_json wrote."""
        try:
            found: Any = json.loads(text)
            operations = tuple(
                # Lakes of earlier versions do not say what is deprecated, nor tags.
                Operation(
                    str(method),
                    str(path),
                    None if name is None else str(name),
                    str(base),
                    rest[:1] == [True],
                    _texts(rest[1] if rest[1:] else None),
                )
                for method, path, name, base, *rest in found["operations"]
            )
            return cls(operations, int(found["version"]))
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise LakeError(
                f"the stored OpenAPI mapping cannot be read ({type(error).__name__}: {error}); give the document again with"
                " apilens routes --openapi FILE, or remove _apilens/openapi.json"
            ) from None

    @property
    def features(self) -> dict[str, list[str]]:
        """Tag -> its operations as `METHOD /route`, with and without their base path."""
        found: dict[str, dict[str, None]] = {}
        for one in self.operations:
            for tag in one.tags:
                routes = dict.fromkeys(f"{one.method} {route}" for route in (one.route, one.bare_route))
                found.setdefault(tag, {}).update(routes)
        return {tag: list(routes) for tag, routes in found.items()}

    @property
    def conflicts(self) -> list[Conflict]:
        """Pairs of paths of which a call can be both, in the documents' order; the earlier one, or the more literal one, wins."""
        by_length: dict[int, list[tuple[str, list[str]]]] = {}
        for path in dict.fromkeys(one.path for one in self.operations):
            parts = _segments(_VARIABLE.sub("{}", path))
            by_length.setdefault(len(parts), []).append((path, parts))
        return [
            Conflict(kind, (a, b))
            for paths in by_length.values()
            for (a, left), (b, right) in itertools.combinations(paths, 2)
            if (kind := _conflict(left, right)) is not None
        ]

    def mapping(self, routes: pl.DataFrame) -> pl.DataFrame:
        """MAPPING of the routes (service, route) that a document has; service plays no part in it.

        A route is as ingest stored it, so a segment may be {id} where the rules saw a variable. Segments are matched from the
        left, literal before partly templated before templated; a path without its base path comes after all with it.
        """
        distinct = routes.select(pl.col("route").unique().drop_nulls())["route"].to_list()
        found = {route: path for route in distinct if (path := self._find(route)) is not None}
        table = pl.DataFrame({"route": list(found), "merged_route": list(found.values())}, schema_overrides=_TEXTS)
        known = routes.select(pl.col("service").cast(pl.String), "route").unique(maintain_order=True)
        return known.join(table, on="route", how="inner", maintain_order="left").select(MAPPING.names())

    @cached_property
    def ids(self) -> pl.DataFrame:
        """method, route, operation_id, path, deprecated: one row per documented (method, route), with its base path and
        without; of identical ones the first.
        """
        rows = [(one.method, one.route, one.id, one.path, one.deprecated) for one in self.operations]
        rows += [(one.method, one.bare_route, one.id, one.path, one.deprecated) for one in self.operations]
        frame = pl.DataFrame(rows, schema=_IDS, orient="row")
        return frame.unique(["method", "route"], keep="first", maintain_order=True)

    def _find(self, route: str) -> str | None:
        if not route.startswith("/"):
            return None
        parts = _segments(route)
        return next((found for tree in self._trees if (found := tree.find(parts)) is not None), None)

    @cached_property
    def _trees(self) -> tuple[_Node, _Node]:
        bare = (one.bare_route for one in self.operations if one.base.strip("/"))
        return _tree(one.route for one in self.operations), _tree(bare)


def _texts(values: Any) -> tuple[str, ...]:
    return tuple(value for value in values if isinstance(value, str)) if isinstance(values, list) else ()


_TEXTS = {"route": pl.String, "merged_route": pl.String}
_IDS = {
    "method": pl.String,
    "route": pl.String,
    "operation_id": pl.String,
    "path": pl.String,
    "deprecated": pl.Boolean,
}


def _segments(path: str) -> list[str]:
    return path.strip("/").split("/")


def _conflict(left: list[str], right: list[str]) -> str | None:
    """How two paths of one length conflict; variables are written {}."""
    if left == right:
        return "identical"
    ahead = behind = False
    for a, b in zip(left, right, strict=True):
        if a == b:
            continue
        if "{}" in a and "{}" in b:
            # Which of two partly templated segments is the narrower one, nobody says; a whole variable is the wider one.
            if a != "{}" and b != "{}":
                return None
            ahead, behind = ahead or b == "{}", behind or a == "{}"
        elif "{}" not in a and "{}" not in b:
            return None
        elif "{}" in a:
            if not _matches(a, b):
                return None
            behind = True
        else:
            if not _matches(b, a):
                return None
            ahead = True
    return "ambiguous" if ahead and behind else None


def _matches(templated: str, literal: str) -> bool:
    return re.fullmatch(".+".join(map(re.escape, templated.split("{}"))), literal, re.DOTALL) is not None


# -- matching ----------------------------------------------------------------------------------------------------------


@dataclass
class _Node:
    """A place in the tree of documented paths. route: what ends here."""

    literal: dict[str, _Node] = field(default_factory=dict)
    ruled: dict[str, _Node] = field(default_factory=dict)
    partial: dict[str, tuple[re.Pattern[str], _Node]] = field(default_factory=dict)
    variable: _Node | None = None
    route: str | None = None

    def find(self, parts: Sequence[str], at: int = 0) -> str | None:
        """The route of the best documented path for these segments."""
        if at == len(parts):
            return self.route
        for node in self._next(parts[at]):
            if (found := node.find(parts, at + 1)) is not None:
                return found
        return None

    def _next(self, segment: str) -> Iterator[_Node]:
        if segment in self.literal:
            yield self.literal[segment]
        for pattern, node in self.partial.values():
            if pattern.fullmatch(segment):
                yield node
        if self.variable is not None and segment not in ("", "{rest}"):
            yield self.variable
        if _VARIABLE.fullmatch(segment):
            # Ingest saw a variable in what the document calls by a name, or only in a part of it.
            yield from (node for _, node in self.partial.values())
        if segment in self.ruled:
            yield self.ruled[segment]


def _tree(documented: Iterable[str]) -> _Node:
    root = _Node()
    routes = list(dict.fromkeys(documented))
    stored = template(pl.Series("path", routes, dtype=pl.String)).to_list()
    for route, by_rule in zip(routes, stored, strict=True):
        node, ruled = root, _segments(by_rule)
        parts = _segments(route)
        for i, part in enumerate(parts):
            if part == "{id}":
                node.variable = node.variable or _Node()
                node = node.variable
            elif "{id}" in part:
                pattern = re.compile(".+".join(map(re.escape, part.split("{id}"))), re.DOTALL)
                node = node.partial.setdefault(part, (pattern, _Node()))[1]
            else:
                following = node.literal.setdefault(part, _Node())
                if len(ruled) == len(parts) and ruled[i] != part:
                    node.ruled.setdefault(ruled[i], following)
                node = following
        node.route = node.route or route
    return root


# -- reading a document ------------------------------------------------------------------------------------------------


def read_openapi(documents: Sequence[tuple[Any, str]], version: int = 0) -> OpenApi:
    """The operations of documents; each is what `apilens.documents` made of a file, with the file's name.

    Raises ConfigError for what is no OpenAPI 3.x or Swagger 2 document.
    """
    found: dict[tuple[str, str], Operation] = {}
    for document, name in documents:
        for base, path, method, identifier, deprecated, tags in _operations(document, name):
            base = "/" + base.strip("/") if base.strip("/") else ""
            whole = re.sub("/{2,}", "/", f"{base}/{path}").rstrip("/") or "/"
            found.setdefault((method, whole), Operation(method, whole, identifier, base, deprecated, tags))
    if not found:
        raise ConfigError(
            f"{', '.join(name for _, name in documents)}: describes no operation; expected paths with methods"
        )
    return OpenApi(tuple(found.values()), version)


def _operations(document: Any, name: str) -> Iterator[tuple[str, str, str, str | None, bool, tuple[str, ...]]]:
    """(base path, path, METHOD, operationId, deprecated, tags) of one document."""
    if not isinstance(document, Mapping):
        raise ConfigError(
            f"{name}: is no OpenAPI document; found {type(document).__name__}, expected openapi: 3.x or swagger: 2.0"
        )
    is_3, is_2 = str(document.get("openapi", "")).startswith("3."), str(document.get("swagger", "")).startswith("2")
    if not (is_3 or is_2):
        keys = ", ".join(list(map(str, document))[:5]) or "nothing"
        raise ConfigError(f"{name}: is no OpenAPI document; found {keys}, expected openapi: 3.x or swagger: 2.0")
    paths = document.get("paths") or {}
    if not isinstance(paths, Mapping):
        raise ConfigError(f"{name}: paths is {type(paths).__name__}, expected a mapping of paths")
    for path, item in paths.items():
        if not str(path).startswith("/"):
            if str(path).startswith("x-"):
                continue
            line = getattr(path, "line", None)
            raise ConfigError(
                f"{name}{f':{line}' if line else ''}: path {str(path)[:60]!r} begins with no /, expected e.g. /v1/orders"
            )
        item = _resolved(item, document, name)
        extra = item.get("additionalOperations")
        methods = {
            **{key: item[key] for key in _METHODS if key in item},
            **(extra if isinstance(extra, Mapping) else {}),
        }
        for method, operation in methods.items():
            operation = operation if isinstance(operation, Mapping) else {}
            identifier = operation.get("operationId")
            servers = next((one["servers"] for one in (operation, item, document) if one.get("servers")), None)
            name_of = None if identifier is None else str(identifier)
            old = str(operation.get("deprecated")).lower() == "true"
            for base in [document.get("basePath") or ""] if is_2 else _bases(servers):
                yield str(base), str(path), str(method).upper(), name_of, old, _texts(operation.get("tags"))


def _resolved(item: Any, document: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """A Path Item Object, behind a $ref inside the document; one in another file is said."""
    for _ in range(10):
        if not isinstance(item, Mapping) or "$ref" not in item:
            break
        reference = str(item["$ref"])
        if not reference.startswith("#/"):
            raise ConfigError(
                f"{name}: $ref {reference[:60]!r} leads out of the file; bundle the document first, expected #/…"
            )
        target: Any = document
        for step in reference[2:].split("/"):
            step = step.replace("~1", "/").replace("~0", "~").replace("%7B", "{").replace("%7D", "}")
            target = target.get(step) if isinstance(target, Mapping) else None
        item = (
            {**target, **{key: value for key, value in item.items() if key != "$ref"}}
            if isinstance(target, Mapping)
            else {}
        )
    return item if isinstance(item, Mapping) else {}


def _bases(servers: Any) -> list[str]:
    """The paths of the servers' URLs, with every value of their variables; without servers the root."""
    found: dict[str, None] = {}
    for server in servers if isinstance(servers, list) else []:
        if not isinstance(server, Mapping):
            continue
        url = str(server.get("url") or "/")
        variables = server.get("variables")
        values: dict[str, list[str]] = {}
        for variable, meaning in (variables if isinstance(variables, Mapping) else {}).items():
            meaning = meaning if isinstance(meaning, Mapping) else {}
            options = meaning.get("enum")
            listed = [str(option) for option in options] if isinstance(options, list) else []
            values[str(variable)] = list(dict.fromkeys([str(meaning.get("default") or ""), *listed]))
        used = [variable for variable in values if f"{{{variable}}}" in url]
        for chosen in itertools.islice(itertools.product(*(values[variable] for variable in used)), _MAX_SERVERS):
            filled = url
            for variable, value in zip(used, chosen, strict=True):
                filled = filled.replace(f"{{{variable}}}", value)
            found[_path_of(filled)] = None
    return list(found) or [""]


def _path_of(url: str) -> str:
    try:
        return urlsplit(url).path
    except ValueError:  # an IPv6 host that is none
        return ""
