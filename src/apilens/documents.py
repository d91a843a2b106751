"""YAML and JSON that people wrote, as plain values whose text remembers its line.

Every scalar is the text that stands there (`true`, `0644` and dates included) or None; what it means is for the reader to say.
"""

from __future__ import annotations

import json
from typing import Any

from apilens.errors import ConfigError

#: Deeper documents are attacks; Python's own stack ends near 1,000.
_MAX_DEPTH = 100
#: Values that a document may have once its aliases are followed: a page of them can spell a billion.
_MAX_VALUES = 2_000_000


class Text(str):
    """A scalar, and the 1-based line it begins in."""

    __slots__ = ("line",)
    line: int


def documents(text: str, name: str) -> list[Any]:
    """The documents of a YAML stream, or the one of a JSON text; dicts, lists, Text and None.

    name: of the file, for messages. Raises ConfigError with file and line where it is neither.
    """
    # JSON by its own parser: it is quicker, and some JSON (tabs, surrogate pairs) is no YAML.
    if text.lstrip("\ufeff \t\r\n")[:1] in ("{", "["):
        try:
            found = [json.loads(text.lstrip("\ufeff"), parse_int=str, parse_float=str, parse_constant=str)]
            return [_of_json(value, _Budget()) for value in found]
        except (ValueError, RecursionError):
            pass  # a YAML file may begin with a brace as well
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        return [_of_yaml(node, _Budget()) for node in yaml.compose_all(str(text), loader) if node is not None]
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark is not None else 1
        raise ConfigError(f"{name}:{line}: is neither YAML nor JSON: {error.problem or error.context}") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise ConfigError(f"{name}: is neither YAML nor JSON: {reason}") from None


def line_of(text: str, value: str) -> int:
    """The line of `text` in which a value of its documents stands; 1 where that cannot be told."""
    if isinstance(value, Text):
        return value.line
    return text.count("\n", 0, max(text.find(json.dumps(value, ensure_ascii=False)), 0)) + 1


class _Budget:
    """Refuses what only an attacker writes; raises ValueError."""

    def __init__(self) -> None:
        self.left = _MAX_VALUES

    def spend(self, depth: int) -> None:
        self.left -= 1
        if self.left < 0:
            raise ValueError(f"it has more than {_MAX_VALUES:,} values")
        if depth > _MAX_DEPTH:
            raise ValueError(f"it is nested deeper than {_MAX_DEPTH} levels")


def _of_json(value: Any, budget: _Budget, depth: int = 0) -> Any:
    budget.spend(depth)
    if isinstance(value, dict):
        return {key: _of_json(inner, budget, depth + 1) for key, inner in value.items()}
    if isinstance(value, list):
        return [_of_json(inner, budget, depth + 1) for inner in value]
    return {True: "true", False: "false"}[value] if isinstance(value, bool) else value


def _of_yaml(node: Any, budget: _Budget, depth: int = 0) -> Any:
    import yaml

    budget.spend(depth)
    if isinstance(node, yaml.MappingNode):
        found: dict[str, Any] = {}
        for key, inner in node.value:
            name, value = _of_yaml(key, budget, depth + 1), _of_yaml(inner, budget, depth + 1)
            if key.tag == "tag:yaml.org,2002:merge":
                for merged in reversed(value if isinstance(value, list) else [value]):
                    found = (merged if isinstance(merged, dict) else {}) | found
            elif isinstance(name, str):
                found[name] = value
        return found
    if isinstance(node, yaml.SequenceNode):
        return [_of_yaml(inner, budget, depth + 1) for inner in node.value]
    if node.tag == "tag:yaml.org,2002:null":
        return None
    text = Text(node.value)
    text.line = node.start_mark.line + 1
    return text
