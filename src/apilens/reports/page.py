"""What stands between hostile values and the page: the template, its filters, the policy's hashes, the packed library.

Everything in a report that came from logs or people is hostile until shown: each value passes `_plain` (control characters
written out, length bounded) and Jinja2's autoescape on its way into the page, and `script_json` into the data of the charts.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import json
import re
import zlib
from pathlib import Path

import jinja2
from markupsafe import Markup

from apilens.reports import units
from apilens.reports.visible import safe

_TEMPLATES = Path(__file__).parent / "templates"

#: Characters of one value, of a short one, and of an explanation in sentences; a longer one is cut and ends in "…".
_LONGEST, _SHORT, _PROSE = 300, 80, 800


@functools.cache
def templates() -> jinja2.Environment:
    """The templates; what an expression of theirs puts into the page is plain text of bounded length, or our own markup."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=_plain,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "count": units.count,
        "percent": units.percent,
        "milliseconds": units.milliseconds,
        "size": units.size,
        "moment": units.moment,
        "second": units.second,
        "evidence": units.evidence,
        "day_and_time": units.day_and_time,
        "short": short,
        "prose": _prose,
    }
    return environment


def _plain(value: object) -> object:
    """What an expression of the template may put into the page: our own markup, or one line of visible text."""
    if isinstance(value, Markup):
        return value
    return units.UNKNOWN if value is None else _cut(str(value), _LONGEST)


def short(value: object) -> str:
    """A value that has little room."""
    return units.UNKNOWN if value is None else _cut(str(value), _SHORT)


def _prose(value: object) -> Markup:
    """An explanation, longer than a value may be."""
    return Markup.escape(units.UNKNOWN if value is None else _cut(str(value), _PROSE))


def _cut(text: str, longest: int) -> str:
    # Cut before as well: a line of 64 MB is not worth walking through.
    shown = safe(re.sub(r"\s+", " ", text[: longest + 1]))
    return shown if len(text) <= longest and len(shown) <= 2 * longest else f"{shown[: longest - 1]}…"


def script_json(value: object) -> Markup:
    """JSON that ends no script element early: `<` begins both `</script` and `<!--`."""
    return Markup(json.dumps(value, separators=(",", ":"), sort_keys=True).replace("<", "\\u003c"))


@functools.cache
def asset(name: str) -> str:
    """The text of a style sheet or script of ours."""
    return (_TEMPLATES / name).read_text(encoding="utf-8")


def policy_hash(content: str | bytes) -> str:
    """How a content security policy names a style sheet or script that may be used."""
    raw = content.encode() if isinstance(content, str) else content
    return f"'sha256-{base64.b64encode(hashlib.sha256(raw).digest()).decode()}'"


@functools.cache
def packed_plotly() -> tuple[str, str, str | None]:
    """Plotly's library deflated as base64, its hash for the policy, and the id of a style element it would insert.

    The style belongs to its maps, which the report has none of; an element of that id in the page makes it leave it.
    """
    import plotly

    bundle = (Path(plotly.__file__).parent / "package_data" / "plotly.min.js").read_bytes()
    mark = re.search(rb'getElementById\("([0-9a-f]{64})"\)', bundle)
    packed = base64.b64encode(zlib.compress(bundle, 9)).decode()
    return packed, policy_hash(bundle), None if mark is None else mark[1].decode()
