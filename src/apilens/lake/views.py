"""A DuckDB connection that sees the committed tables and nothing else."""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Collection
from importlib.resources import files
from typing import Literal

import duckdb
import polars as pl

from apilens.arrow import Stream, frame
from apilens.errors import UsageError, deleted_meanwhile
from apilens.lake.days import Sums
from apilens.lake.lake import Lake
from apilens.lake.tables import TABLES, TIME
from apilens.schema import SUMS
from apilens.window import ALWAYS, Window

View = Literal["calls", "rollups", "rejects", "ingests", "metrics", "sums"]
TABLE_VIEWS: tuple[View, ...] = tuple(TABLES)
CALLS_VIEW: tuple[View, ...] = ("calls",)

#: What a query that looks at the catalogue says.
_CATALOGUE = re.compile(
    r"information_schema|duckdb_|pg_|sqlite_|pragma|show|describe|summarize|query_table|from\s+query\b"
)

#: Types that Polars has no column for, in the name of a type without the names of its fields.
_FORMLESS, _QUOTED = re.compile(r"\bINTERVAL\b|\bUNION\("), re.compile(r"\"(?:[^\"]|\"\")*\"|'(?:[^']|'')*'")

_SELECT = duckdb.StatementType.SELECT
_SELECTS = frozenset({"select", "from", "with", "pivot", "pivot_wider"})
_VIEWS = f"The views are {', '.join(TABLE_VIEWS)}"

#: How routes are renamed on read.
MERGES = pl.Schema({"service": pl.String, "route": pl.String, "merged_route": pl.String})


def connect(
    lake: Lake, merges: pl.DataFrame | None = None, window: Window = ALWAYS, views: Collection[View] = TABLE_VIEWS
) -> duckdb.DuckDBPyConnection:
    """An in-memory connection with some views, as of now: calls, rollups, rejects, ingests and metrics, if no others are named.

    merges: service, route, merged_route. window: of calls only its rows are seen; files of rollups and metrics that hold nothing
    of it are left out. The view sums, of schema.SUMS, has the rollups of the window in as few rows as there are: a day in one,
    where it lies in the window as a whole. The connection can read the lake's committed files and no other, and its settings
    are locked. A stranger's SQL still goes through `select`: DuckDB lets COPY overwrite what it lets be read.
    """
    # What a query cannot hold in memory goes there, not to DuckDB's own choice, .tmp in the folder one happens to be in.
    spill = f"{os.environ.get('TMPDIR', '/tmp')}/apilens-{secrets.token_hex(8)}"
    connection = duckdb.connect(
        config={"autoinstall_known_extensions": False, "autoload_known_extensions": False, "temp_directory": spill}
    )
    # After two seconds DuckDB would draw a bar on stdout, into the results.
    connection.execute("SET enable_progress_bar = false")
    lake.storage.attach(connection)
    # What the views are made of has a schema of its own: SHOW TABLES lists the views alone.
    connection.execute("CREATE SCHEMA parts")
    if {"rejects", "ingests"} & set(views):
        # Before the files, as in Lake.committed.
        _load(connection, "parts.attempts", lake.ledger().select("unit_id", "attempt"))
    sources: dict[str, str] = {}
    allowed: list[str] = []
    for name in views:
        if name == "sums":
            sums = lake.sums(window)
            _load(connection, "parts.no_sums", SUMS.to_frame())
            sources[name] = _summed(sums)
            allowed += [*sums.days, *sums.cut, *sums.bins]
        elif name == "calls":
            whole, cut = lake.calls_of(window)
            _load(connection, "parts.no_calls", TABLES["calls"].to_frame())
            sources[name] = _relation("parts.no_calls", whole)
            if cut:  # times are read only where a file reaches over the window's edge
                within = sql_within("start_time", window)
                part = f"SELECT * FROM {_relation('parts.no_calls', cut)} WHERE {within}"
                sources[name] = f"(SELECT * FROM {sources[name]} UNION ALL BY NAME {part})"
            allowed += [*whole, *cut]
        else:
            paths = lake.files(name, window if name in TIME else ALWAYS)
            _load(connection, f"parts.no_{name}", TABLES[name].to_frame())
            sources[name] = _relation(f"parts.no_{name}", paths)
            allowed += paths
    for row in "crs":
        sources |= {f"route_{row}": f"{row}.route", f"merged_{row}": ""}
    if merges is not None and not merges.is_empty():
        _load(connection, "parts.route_merges", merges)
        for row in "crs":
            sources[f"route_{row}"] = f"coalesce(m.merged_route, {row}.route)"
            sources[f"merged_{row}"] = (
                f"LEFT JOIN parts.route_merges AS m ON m.route = {row}.route AND m.service IS NOT DISTINCT FROM {row}.service"
            )
    text = files("apilens.lake").joinpath("views.sql").read_text(encoding="utf-8")
    for statement in re.split(r"^(?=CREATE VIEW )", text, flags=re.MULTILINE)[1:]:
        if statement.split()[2] in views:
            connection.execute(statement.format(**sources))
    connection.execute("SET TimeZone = 'UTC'")
    connection.execute(f"SET allowed_paths = [{', '.join(map(_quoted, allowed))}]")
    connection.execute("SET enable_external_access = false")
    connection.execute("SET lock_configuration = true")
    return connection


def named(query: str) -> tuple[View, ...]:
    """The views that a query names; all of them where it names none or may ask which ones there are. Each costs the opening of a table."""
    text = query.lower()
    found = tuple(name for name in TABLE_VIEWS if name in text)
    return TABLE_VIEWS if not found or _CATALOGUE.search(text) else found


def select(connection: duckdb.DuckDBPyConnection, query: str) -> pl.DataFrame:
    """The rows of one SELECT written by a user.

    Raises UsageError for anything else, and with DuckDB's own words for a query that does not run.
    """
    try:
        statements = duckdb.extract_statements(query)
        if len(statements) != 1 or not (statements[0].type == _SELECT or _pivots(statements[0], query)):
            kinds = ", ".join(statement.type.name for statement in statements) or "nothing"
            raise UsageError(
                f"apilens sql runs one SELECT, found {kinds}; for example: SELECT route, count(*) FROM calls GROUP BY 1"
            )
        found = connection.sql(query)
        if found is None:
            raise UsageError("apilens sql runs one SELECT, found one that changes something")
        for name, kind in zip(found.columns, found.types, strict=True):
            if _FORMLESS.search(_QUOTED.sub("", str(kind))):
                raise UsageError(f"the query's result has no table form: {name} is {kind}; try CAST(… AS VARCHAR)")
        if len({name.lower() for name in found.columns}) < len(found.columns):
            found = found.project("*")  # a name given twice gets a number
        rows = frame(found)
    except duckdb.Error as error:
        if (gone := deleted_meanwhile(error)) is not None:
            raise gone from None
        if isinstance(error, duckdb.CatalogException) and "Table with name" in str(error):
            # DuckDB offers its own tables, and those the views are made of.
            wanted = str(error).partition("\n")[0]
            raise UsageError(f"the query failed: {wanted} {_VIEWS}") from None
        if isinstance(error, duckdb.ParserException):
            raise UsageError(f"the query failed: {error}\n{_VIEWS}; their columns: DESCRIBE calls") from None
        raise UsageError(f"the query failed: {error}") from None
    # DuckDB's sum() of whole numbers is a HUGEINT, which arrives as a decimal and would be a string in JSON.
    huge = [name for name, dtype in rows.schema.items() if isinstance(dtype, pl.Decimal) and dtype.scale == 0]
    small = [name for name in huge if rows[name].is_between(-(2**63), 2**63 - 1).all()]
    return rows.with_columns(pl.col(small).cast(pl.Int64))


def _pivots(statement: duckdb.Statement, query: str) -> bool:
    """Whether it is a PIVOT, or a SELECT with one in it: those make a type of the values they find before they select, so DuckDB
    calls each statement with a PIVOT MULTI, a COPY too. Which one it is, its first word tells."""
    if statement.type != duckdb.StatementType.MULTI:
        return False
    tokens = [start for start, kind in duckdb.tokenize(query) if kind != duckdb.token_type.comment]
    words = (re.match(r"\w+", query.encode()[start:].decode(errors="replace")) for start in tokens)
    first = next((word[0].lower() for word in words if word), "")
    return first in _SELECTS


def _load(connection: duckdb.DuckDBPyConnection, name: str, frame: pl.DataFrame) -> None:
    connection.register("frame", Stream(frame))
    connection.execute(f"CREATE TABLE {name} AS SELECT * FROM frame")
    connection.unregister("frame")


def _relation(empty: str, paths: list[str], columns: str = "*") -> str:
    if not paths:
        return empty
    # DuckDB takes the columns of a list from its first file: a list per set of columns, which the names end with. Asked to
    # unite them by itself, it opens every file before any query.
    alike: dict[str, list[str]] = {}
    for path in paths:
        alike.setdefault(path.rpartition("-")[2], []).append(_quoted(path))
    parts = [
        f"SELECT {columns} FROM read_parquet([{', '.join(files)}], hive_partitioning = false)"
        for files in alike.values()
    ]
    return f"({' UNION ALL BY NAME '.join([f'SELECT * FROM {empty}', *parts])})"


def _summed(sums: Sums) -> str:
    """SQL for the rows of schema.SUMS that lie in some files."""
    columns = ", ".join(SUMS)
    whole = "false" if sums.whole is None else sql_within("bin_start", sums.whole)
    return (
        f"(SELECT * FROM {_relation('parts.no_sums', sums.days)} WHERE {whole}"
        f" UNION ALL BY NAME SELECT * FROM {_relation('parts.no_sums', sums.cut, columns)} WHERE NOT ({whole})"
        f" UNION ALL BY NAME SELECT * FROM {_relation('parts.no_sums', sums.bins, columns)})"
    )


def sql_within(column: str, window: Window) -> str:
    """SQL condition for [start, end); the bounds are our own datetimes, never text of a user."""
    bounds = []
    if window.start is not None:
        bounds.append(f"{column} >= TIMESTAMPTZ '{window.start.isoformat()}'")
    if window.end is not None:
        bounds.append(f"{column} < TIMESTAMPTZ '{window.end.isoformat()}'")
    return " AND ".join(bounds) or "true"


def _quoted(path: str) -> str:
    return "'" + path.replace("'", "''") + "'"
