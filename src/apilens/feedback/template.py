"""Forms that ask for what a report needs, in the shape each tracker takes."""

from __future__ import annotations

import json

#: part -> (heading, what to write), in the order people tell it; the parts are those of completeness.PARTS.
_PARTS = {
    "steps": ("Steps", "1. …"),
    "error": ("Exact error", "message, status code, and the request id (X-Request-Id) of one failed call"),
    "environment": ("Environment", "production or test, client or browser and its version, your account"),
    "expected": ("Expected result", "what should have happened"),
    "actual": ("Actual result", "what happened instead, since when (with time zone), how often"),
}


def _jira() -> str:
    """Jira's wiki markup, for the description of a new issue."""
    return "\n".join(f"h3. {heading}\n_{hint}_\n" for heading, hint in _PARTS.values())


def _github() -> str:
    """An issue form: .github/ISSUE_TEMPLATE/problem.yml."""
    lines = ["name: Report a problem", "description: What we need to find it in the logs", "body:"]
    for part, (heading, hint) in _PARTS.items():
        lines += ["  - type: textarea", f"    id: {part}", "    attributes:", f"      label: {json.dumps(heading)}"]
        lines += [
            f"      description: {json.dumps(hint, ensure_ascii=False)}",
            "    validations:",
            "      required: true",
        ]
    return "\n".join(lines) + "\n"


def _servicenow() -> str:
    """A record template of the incident table, as JSON of sys_template's fields."""
    words = "\n\n".join(f"{heading}:\n({hint})" for heading, hint in _PARTS.values())
    fields = {"name": "Report a problem", "table": "incident", "template": f"description={words}^EQ"}
    return json.dumps(fields, ensure_ascii=False, indent=2) + "\n"


TEMPLATES = {"jira": _jira, "github": _github, "servicenow": _servicenow}


def template(tracker: str) -> str:
    """The form for one of TEMPLATES; a report that fills it in lacks nothing completeness asks for."""
    return TEMPLATES[tracker]()
