"""A command that the user may type next, quoted for the shell and safe to print."""

from __future__ import annotations

import shlex
from collections.abc import Mapping

import click
from click.core import ParameterSource

from apilens.reports.visible import safe

#: Option -> its value; None: not given.
Given = Mapping[str, str | None]


def command_line(*words: str, given: Given | None = None) -> str:
    """`apilens WORDS…` with the options that were given."""
    options = [part for flag, value in (given or {}).items() if value is not None for part in (flag, value)]
    return safe(shlex.join(["apilens", *words, *options]))


def lake_given(lake: str) -> Given:
    """`--lake` where it was typed; the default and the environment hold for the next command as well."""
    source = click.get_current_context().get_parameter_source("lake")
    return {"--lake": lake if source is ParameterSource.COMMANDLINE else None}
