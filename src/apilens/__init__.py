"""apilens: what users ran into, read from the call logs an API gateway already writes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from apilens.version import __version__

if TYPE_CHECKING:
    from apilens.lens import Lens


def open(path: str = "apilens-data", *, openapi: str | None = None) -> Lens:
    """A lens on the lake at `path`: its tables as Polars frames. Nothing is read until a table is asked for.

    openapi: file with the OpenAPI document that names the routes; None: the one the lake was given, if any.
    """
    from apilens.lens import Lens  # polars takes 14 x a bare interpreter to import; `apilens --help` must not pay

    return Lens(path, openapi=openapi)


__all__ = ["__version__", "open"]
