"""HTML and Jira's and Slack's markup → the words in them."""

from __future__ import annotations

import html
import re
from typing import Any

_BLOCKS = frozenset(
    {"p", "div", "br", "li", "tr", "table", "ul", "ol", "h1", "h2", "h3", "h4", "h5", "h6", "pre", "blockquote", "hr"}
)
#: Comments, what is not shown, declarations, tags. What is never closed reaches to the end, so each sign is looked at once;
#: the parser of the standard library takes minutes for a page of `<!--`.
_TAG = re.compile(
    r"<!--.*?(?:-->|\Z)|<(script|style|head|title|template)\b[^<>]*>.*?(?:</\1\s*>|\Z)|<[!?][^<>]*>|</?([a-zA-Z][a-zA-Z0-9]*)[^<>]*>",
    re.DOTALL | re.IGNORECASE,
)
_LINK = re.compile(r"""(?is)<a\s[^<>]*?href\s*=\s*["']?(https?://[^"'<>\s]{1,2000})[^<>]*>([^<]{0,2000})</a\s*>""")
_MAX_DEPTH = 100  # of a Jira document; nobody nests lists deeper


def html_text(text: str) -> str:
    """The words of an HTML text, a line per block, and where its links lead; scripts and styles left out."""

    def shown(tag: re.Match[str]) -> str:
        name = (tag[2] or "").lower()
        return "\n" if name in _BLOCKS else " " if name == "td" else ""

    return tidy(html.unescape(_TAG.sub(shown, _LINK.sub(lambda link: _linked(link[2], link[1]), text))))


def _linked(words: str, address: str) -> str:
    """The words of a link and its address, which may name the call a report is about."""
    return words if not address.startswith(("http://", "https://")) or address in words else f"{words} {address}"


def looks_like_html(text: str) -> bool:
    """Whether a text is HTML as a program writes it, and not somebody's talk about a tag."""
    return (
        re.search(r"(?i)^\s*<(!doctype|html|body|div|p|span|table)\b[^>]*>|</(p|div|span|body|table)>\s*$", text)
        is not None
    )


def tidy(text: str) -> str:
    """The text without trailing blanks and with at most one empty line in a row."""
    lines = [re.sub(r"[ \t\xa0]+", " ", line).strip() for line in text.replace("\r\n", "\n").split("\n")]
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip()


def document_text(node: Any, depth: int = 0) -> str:
    """The words of a document in Atlassian's format (ADF): text nodes, a line per block; text stays as it is."""
    if isinstance(node, str):
        return node
    if not isinstance(node, dict) or depth > _MAX_DEPTH:
        return ""
    kind = node.get("type")
    if kind == "text":
        return _linked(str(node.get("text") or ""), _target(node.get("marks")))
    if kind == "hardBreak":
        return "\n"
    if kind in ("mention", "emoji", "inlineCard", "blockCard", "embedCard", "status"):
        attributes = node.get("attrs") or {}
        words = str(attributes.get("text") or attributes.get("url") or "") if isinstance(attributes, dict) else ""
        return words if kind in ("mention", "emoji") else f" {words} "
    content = node.get("content")
    words = "".join(document_text(child, depth + 1) for child in content) if isinstance(content, list) else ""
    block = kind in ("paragraph", "heading", "codeBlock", "listItem", "blockquote", "tableRow", "rule")
    return f"{words}\n" if block else words


def _target(marks: Any) -> str:
    """Where the link among the marks of a text leads; empty: there is none."""
    for mark in marks if isinstance(marks, list) else []:
        if isinstance(mark, dict) and mark.get("type") == "link" and isinstance(mark.get("attrs"), dict):
            return str(mark["attrs"].get("href") or "")
    return ""


def slack_text(text: str, people: dict[str, str]) -> str:
    """Slack's <@U1>, <#C1|room>, <https://x|words> and &amp; as a person sees them."""

    def shown(found: re.Match[str]) -> str:
        target, _, label = found[1].partition("|")
        if target.startswith("@"):
            return "@" + (label or people.get(target[1:], target[1:]))
        if target.startswith("#"):
            return "#" + (label or target[1:])
        if target.startswith("!"):
            return "@" + (label or target[1:])
        return f"{label} {target}" if label and label not in target else target

    plain = re.sub(r"<([@#!][^<>\n]{1,200}|https?:[^<>\n]{1,4000}|mailto:[^<>\n]{1,400})>", shown, text)
    return plain.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
