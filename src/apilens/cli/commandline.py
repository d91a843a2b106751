"""A command that the user may type next, quoted for the shell and safe to print."""

from __future__ import annotations

import shlex
from collections.abc import Mapping

import click
from click.core import ParameterSource

from apilens import objects
from apilens.reports.visible import safe

#: Option -> its value; None: not given.
Given = Mapping[str, str | None]


def command_line(*words: str, given: Given | None = None) -> str:
    """`apilens WORDS…` with the options that were given."""
    options = [part for flag, value in (given or {}).items() if value is not None for part in (flag, value)]
    return safe(shlex.join(["apilens", *words, *options]))


def lake_given(lake: str) -> Given:
    """`--lake`, and `--state` of commands that have it, where they were typed; the default and the environment hold for the next
    command as well."""
    context = click.get_current_context()
    state = context.params.get("state")
    given = {"--lake": lake, "--state": None if state is None else objects.shown_url(state)}
    typed = {name: context.get_parameter_source(name[2:]) is ParameterSource.COMMANDLINE for name in given}
    return {name: value if typed[name] else None for name, value in given.items()}
