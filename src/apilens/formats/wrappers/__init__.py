"""What carries a gateway's lines: container runtimes, syslog, exporters. A wrapper is one object and one line in WRAPPERS."""

from __future__ import annotations

from apilens.formats.block import Wrapper
from apilens.formats.otlp import Otlp
from apilens.formats.wrappers import containers, envelopes, lists, syslog

__all__ = ["WRAPPERS"]

#: Narrow before wide: of those that take as many lines of a head, the earlier one is tried; see formats.detect.
WRAPPERS: tuple[Wrapper, ...] = (
    containers.Docker(),
    containers.Cri(),
    containers.KUBECTL,
    containers.COMPOSE,
    syslog.SYSLOG,
    syslog.Journal(),
    lists.Loki(),
    Otlp(),
    lists.LIST,
    lists.Cut(),
    envelopes.SHIPPED,
    containers.PM2,
    syslog.LOGGED,
    syslog.TIMED,
    containers.STERN,
)
