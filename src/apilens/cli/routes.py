"""`apilens routes`: the templates behind the endpoints."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from apilens.cli.options import lake_option, output_option
from apilens.errors import Exit

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from apilens.routes.coverage import Coverage


@click.command()
@lake_option
@click.option(
    "--openapi",
    "openapi",
    multiple=True,
    metavar="FILE",
    help="OpenAPI document (3.x or Swagger 2) that names the routes from now on; once per document.",
)
@output_option("table", "json")
def routes(lake: str, openapi: tuple[str, ...], output: str) -> int:
    """List the route templates, and the merges that were learned from many paths and are applied on reading.

    Merges are learned after each ingest and only ever added to, so an endpoint keeps its name.

    --openapi: the documents are kept with the lake and name its routes wherever they are read, in place of those given
    before; what they say of the calls is listed: operations called, paths called with another method, routes that no
    document has, operations never called, and paths that conflict.

    \b
    apilens routes
    apilens routes --openapi api.yaml --output json
    """
    import json

    from apilens.lens import Lens
    from apilens.pipeline import logs
    from apilens.reports.ndjson import records
    from apilens.reports.terminal import Column, safe, table

    if openapi:
        logs.keep_openapi(lake, openapi)
    lens = Lens(lake)
    listed = lens.sql(
        "SELECT service, route, count(DISTINCT method) AS methods, sum(calls) AS calls FROM rollups"
        " GROUP BY ALL ORDER BY calls DESC, service NULLS FIRST, route NULLS FIRST"
    )
    covered = lens.coverage()
    if output == "json":
        rows = records(listed)
        merges = json.loads(lens.merges.to_json())
        body = {"schema_version": 1, "routes": rows, "learned": merges, "openapi": _as_json(covered)}
        click.echo(json.dumps(body, ensure_ascii=False))
        return Exit.DONE
    if openapi and covered is not None:
        _print(covered)
        return Exit.DONE
    table("", ["service", "route", Column("methods", "right"), Column("calls", "right")], listed.iter_rows())
    for merge in lens.merges.merges:
        kept = f" except {', '.join(merge.keep)}" if merge.keep else ""
        click.echo(safe(f"learned: below {merge.prefix or '/'} every name is {{id}}{kept}"), err=True)
    if covered is not None:
        click.echo(
            f"OpenAPI: {covered.matched.height} operations called, {covered.never_called.height} never,"
            f" {covered.unmatched.height} routes unmatched; apilens routes --output json lists them",
            err=True,
        )
    return Exit.DONE


def _as_json(covered: Coverage | None) -> dict[str, object] | None:
    """What a document says of the calls; None: the lake was given none."""
    from apilens.reports.ndjson import records

    if covered is None:
        return None
    parts = {name: records(getattr(covered, name)) for name in ("matched", "other_method", "unmatched", "never_called")}
    return {**parts, "conflicts": [{"kind": one.kind, "paths": list(one.paths)} for one in covered.conflicts]}


def _print(covered: Coverage) -> None:
    """The same for people."""
    from apilens.reports.terminal import Column, table

    calls = Column("calls", "right")
    operation = ["method", "path", "operation"]
    conflicts = [(one.kind, *one.paths) for one in covered.conflicts]
    parts: list[tuple[str, list[Column | str], Iterable[Sequence[object]]]] = [
        ("matched", [*operation, calls], covered.matched.iter_rows()),
        ("path known, method not documented", ["method", "route", calls], covered.other_method.iter_rows()),
        ("unmatched", ["service", "method", "route", calls], covered.unmatched.iter_rows()),
        ("documented, never called", [*operation], covered.never_called.iter_rows()),
        ("conflicts: a call can be of both", ["kind", "path", "and"], conflicts),
    ]
    for title, columns, rows in parts:
        listed = list(rows)
        click.echo(f"{title}: {len(listed)}")
        if listed:
            table("", columns, listed)
