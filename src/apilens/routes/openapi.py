"""The routes that OpenAPI documents describe: a versioned mapping from stored routes to them, applied on read.

OpenAPI 3.x (servers) and Swagger 2 (basePath). Source of the rules: OpenAPI Specification 3.1, "Paths Object" (a concrete path is
matched before a templated one; templates that differ only in their names are identical) and "Server Object".
"""

from __future__ import annotations

import itertools
import json
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import Any
from urllib.parse import unquote, urlsplit

import polars as pl

from apilens.errors import ConfigError, LakeError
from apilens.routes.rules import MAX_SEGMENTS, template

#: Fields of a Path Item Object that are operations; `query` came with 3.2.
_METHODS = ("get", "put", "post", "delete", "options", "head", "patch", "trace", "query")
#: Combinations of a server's enumerated variables that are tried; where there are more, any value is taken.
_MAX_SERVERS = 100
#: Ambiguous pairs that are listed; a document with more is not mended pair by pair.
_MAX_CONFLICTS = 1_000

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
        """The path as a route: its variables written {id}, those that may hold slashes {rest}."""
        return _routed(self.path)

    @property
    def bare_route(self) -> str:
        """The route without the base path, for gateways that cut it off before they log."""
        return _routed(self.path[len(self.base) :])


@dataclass(frozen=True, slots=True)
class Conflict:
    """Two documented paths of which a call can be both. kind: identical (they differ in names only) | ambiguous | alike (in
    names that ingest takes for values, as 2026-01 and 2026-04)."""

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
        """Pairs of paths of which a call can be both, in the documents' order; the earlier one, or the more literal one, wins.

        Of paths that are identical or alike each stands with the first of them, which in other pairs stands for those that are
        identical. At most 1,000 pairs that are not identical.
        """
        paths = list(dict.fromkeys(one.path for one in self.operations))
        first: dict[str, int] = {}
        found = [
            ("identical", before, i)
            for i, route in enumerate(map(_routed, paths))
            if (before := first.setdefault(route, i)) != i
        ]
        found += itertools.islice(_overlaps(first), _MAX_CONFLICTS)
        return [Conflict(kind, (paths[a], paths[b])) for kind, a, b in sorted(found, key=lambda one: one[1:])]

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


#: An expression of RFC 6570 that stands for nothing in a path: a query, matrix parameters, a fragment.
_NO_PATH = ("?", "&", ";", "#")
#: A variable that may hold slashes: {proxy+} (API Gateway), {+path} and {path*} (RFC 6570), {*path}, {path:.*}.
_GREEDY = re.compile(r"[+*].*|[^:]*[+*]|[^:]*:\(?\.[*+]\)?\$?", re.DOTALL)


@lru_cache(100_000)
def _routed(path: str) -> str:
    """A documented path as ingest would write it were it a call: without query, matrix parameters and a slash at its end, its
    variables {id}, those that may hold slashes {rest}; several side by side are one."""
    pieces, at = [], 0
    while (begin := path.find("{", at)) >= 0:
        end = _closing(path, begin)
        pieces += [path[at:begin], _written(path[begin + 1 : end])]
        at = end + 1 if path[end : end + 1] == "}" else end
    whole = re.split("[?#]", "".join([*pieces, path[at:]]))[0]
    whole = re.sub(r"(?:\{id\}){2,}", "{id}", re.sub(";[^/]*", "", whole))
    whole = "/".join(part if part == "{rest}" else part.replace("{rest}", "{id}") for part in whole.split("/"))
    return re.sub("/{2,}", "/", f"/{whole}").rstrip("/") or "/"


def _closing(path: str, begin: int) -> int:
    """Where the brace at `begin` is closed, with those inside it (`{day:\\d{4}}`); where it is not, the segment's end."""
    depth = 0
    for i in range(begin, len(path)):
        depth += {"{": 1, "}": -1}.get(path[i], 0)
        if depth == 0:
            return i
    end = path.find("/", begin)
    return len(path) if end < 0 else end


def _written(variable: str) -> str:
    """What stands for a variable (without its braces) in a route."""
    name, sign, inside = variable.partition("=")
    if sign:  # Google's {name=shelves/*}
        return inside.replace("**", "{rest}").replace("*", "{id}")
    if name.startswith(_NO_PATH):
        return ""
    if name[:1] in ("/", "."):
        return f"{name[0]}{{id}}"
    return "{rest}" if _GREEDY.fullmatch(name) else "{id}"


def _matches(templated: str, literal: str) -> bool:
    """Whether a segment with variables in it can be the other one; a variable holds at least a character."""
    begin, *middle, end = templated.split("{id}")
    at = len(begin)
    for piece in middle:
        # The leftmost place is as good as any other: so it takes no going back, which takes forever for some.
        found = literal.find(piece, at + 1)
        if found < 0:
            return False
        at = found + len(piece)
    return literal.startswith(begin) and literal.endswith(end) and len(literal) - len(end) > at


# -- conflicts ---------------------------------------------------------------------------------------------------------


@dataclass
class _Place:
    """A place in the tree of routes with one length. number: of the path that ends here. by_rule: what ingest would write for
    a name -> the names, where that is another text."""

    children: dict[str, _Place] = field(default_factory=dict)
    by_rule: dict[str, list[str]] = field(default_factory=dict)
    number: int = -1

    @cached_property
    def templated(self) -> list[str]:
        """Segments with variables in them."""
        return [part for part in self.children if "{id}" in part]


def _overlaps(routes: Mapping[str, int]) -> Iterator[tuple[str, int, int]]:
    """(kind, number of one route, number of the other) of those that overlap without one being narrower throughout.

    Only what is alike so far is looked at further down: pair by pair, 20,000 paths would take hours.
    """
    roots: dict[int, _Place] = {}
    segments = {route: parts for route in routes if len(parts := _segments(route)) <= MAX_SEGMENTS}
    names = list(dict.fromkeys(part for parts in segments.values() for part in parts if "{" not in part))
    ruled = template(pl.Series([f"/x/{name}" for name in names], dtype=pl.String)).to_list()
    rule = {name: route[3:] for name, route in zip(names, ruled, strict=True)}
    for route, parts in segments.items():
        if "{rest}" in parts:
            continue
        place = roots.setdefault(len(parts), _Place())
        for part in parts:
            if part not in place.children and rule.get(part, part) != part:
                place.by_rule.setdefault(rule[part], []).append(part)
            place = place.children.setdefault(part, _Place())
        place.number = routes[route]
    for root in roots.values():
        yield from _inside(root)


def _inside(place: _Place) -> Iterator[tuple[str, int, int]]:
    """The overlaps of routes that have the same segments up to here."""
    for child in place.children.values():
        yield from _inside(child)
    told: set[frozenset[str]] = set()
    for part in place.templated:
        for other in place.children:
            if other != part and (pair := frozenset((part, other))) not in told:
                told.add(pair)
                yield from _beside(place.children[part], place.children[other], _wider(part, other))
    for first, *others in place.by_rule.values():
        for other in others:
            yield from _beside(place.children[first], place.children[other], frozenset({"alike"}))


def _beside(left: _Place, right: _Place, seen: frozenset[str] | None) -> Iterator[tuple[str, int, int]]:
    """The overlaps of two places; seen: which of them was wider in a segment, or that two were alike; None: they are apart."""
    if seen is None:
        return
    if left.number >= 0 and right.number >= 0:
        both = {"left", "right"} <= seen
        if both or seen == {"alike"}:
            yield ("ambiguous" if both else "alike", *sorted((left.number, right.number)))  # type: ignore[misc]  # two of them
        return
    for part, child in left.children.items():
        if "{id}" in part:
            others = list(right.children)
        else:
            others = [part] if part in right.children else []
            others += right.templated
        for other in others:
            further = _wider(part, other)
            if further is not None:
                yield from _beside(child, right.children[other], seen | further)


def _wider(left: str, right: str) -> frozenset[str] | None:
    """Which of two segments takes more, {left} or {right}; none: they are the same; None: no call is both.

    Of two that both have variables in a part, nobody says which is the narrower one.
    """
    if left == right:
        return frozenset()
    if left == "{id}":
        return frozenset({"left"})
    if right == "{id}":
        return frozenset({"right"})
    if "{id}" in left and "{id}" not in right and _matches(left, right):
        return frozenset({"left"})
    if "{id}" in right and "{id}" not in left and _matches(right, left):
        return frozenset({"right"})
    return None


# -- matching ----------------------------------------------------------------------------------------------------------


@dataclass
class _Node:
    """A place in the tree of documented paths. route: what ends here. greedy: what stands behind a variable that may hold
    slashes."""

    literal: dict[str, _Node] = field(default_factory=dict)
    ruled: dict[str, _Node] = field(default_factory=dict)
    partial: dict[str, _Node] = field(default_factory=dict)
    variable: _Node | None = None
    greedy: _Node | None = None
    route: str | None = None

    def find(self, parts: Sequence[str], at: int = 0) -> str | None:
        """The route of the best documented path for these segments."""
        if at == len(parts):
            return self.route
        for node in self._next(parts[at]):
            if (found := node.find(parts, at + 1)) is not None:
                return found
        if self.greedy is None:
            return None
        ends = range(at + 1, len(parts) + 1)
        return next((found for end in ends if (found := self.greedy.find(parts, end)) is not None), None)

    def _next(self, segment: str) -> Iterator[_Node]:
        if segment in self.literal:
            yield self.literal[segment]
        for part, node in self.partial.items():
            if _matches(part, segment):
                yield node
        if self.variable is not None and segment not in ("", "{rest}"):
            yield self.variable
        if segment.startswith("{") and segment.endswith("}"):
            # Ingest saw a variable in what the document calls by a name, or only in a part of it.
            yield from self.partial.values()
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
            elif part == "{rest}":
                node.greedy = node.greedy or _Node()
                node = node.greedy
            elif "{id}" in part:
                node = node.partial.setdefault(part, _Node())
            else:
                following = node.literal.setdefault(part, _Node())
                if len(ruled) == len(parts) and ruled[i] != part:
                    node.ruled.setdefault(ruled[i], following)
                node = following
        node.route = node.route or route
    return root


# -- reading a document ------------------------------------------------------------------------------------------------


#: (file that a $ref names, file it stands in) -> the document in it and its name. Raises ConfigError.
Beside = Callable[[str, str], tuple[Any, str]]


def read_openapi(documents: Sequence[tuple[Any, str]], version: int = 0, beside: Beside | None = None) -> OpenApi:
    """The operations of documents; each is what `apilens.documents` made of a file, with the file's name.

    beside: what reads a Path Item Object that stands in another file; None: there are no other files.
    Raises ConfigError for what is no OpenAPI 3.x or Swagger 2 document.
    """
    found: dict[tuple[str, str], Operation] = {}
    for document, name in documents:
        for base, path, method, identifier, deprecated, tags in _operations(document, name, beside):
            base = "/" + base.strip("/") if base.strip("/") else ""
            whole = re.sub("/{2,}", "/", f"{base}/{path}").rstrip("/") or "/"
            found.setdefault((method, whole), Operation(method, whole, identifier, base, deprecated, tags))
    if not found:
        raise ConfigError(
            f"{', '.join(name for _, name in documents)}: describes no operation; expected paths with methods"
        )
    return OpenApi(tuple(found.values()), version)


def _operations(
    document: Any, name: str, beside: Beside | None
) -> Iterator[tuple[str, str, str, str | None, bool, tuple[str, ...]]]:
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
        item = {str(key).lower(): value for key, value in _resolved(item, document, name, beside).items()}
        extra = item.get("additionaloperations")
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


def _resolved(item: Any, document: Mapping[str, Any], name: str, beside: Beside | None) -> Mapping[str, Any]:
    """A Path Item Object, behind a $ref inside the document or into a file beside it; one on the network is said."""
    for _ in range(10):
        if not isinstance(item, Mapping) or "$ref" not in item:
            break
        reference = str(item["$ref"])
        file, _, pointer = reference.partition("#")
        if file:
            if beside is None or "://" in file or file.startswith("/"):
                raise ConfigError(
                    f"{name}: $ref {reference[:60]!r} leads out of the files here; expected #/… or a file beside it. Bundle the"
                    " document first, e.g. with: npx @redocly/cli bundle openapi.yaml -o bundled.yaml"
                )
            document, name = beside(file, name)
        target: Any = document
        for step in pointer.split("/")[1:]:
            step = unquote(step).replace("~1", "/").replace("~0", "~")
            if isinstance(target, list):
                target = target[int(step)] if step.isdecimal() and int(step) < len(target) else None
            else:
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
        if math.prod(len(values[variable]) for variable in used) > _MAX_SERVERS:
            used = []  # then they stay variables
        for chosen in itertools.product(*(values[variable] for variable in used)):
            filled = url
            for variable, value in zip(used, chosen, strict=True):
                filled = filled.replace(f"{{{variable}}}", value)
            found[_path_of(filled)] = None
    return list(found) or [""]


def _path_of(url: str) -> str:
    """The path of a server's URL; one that is relative is taken to be relative to the root."""
    try:
        path = unquote(urlsplit(url).path)
    except ValueError:  # an IPv6 host that is none
        return ""
    return "/".join(step for step in path.split("/") if step not in (".", ".."))
