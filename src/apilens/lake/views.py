"""A DuckDB connection that sees the committed tables and nothing else."""

from __future__ import annotations

from importlib.resources import files

import duckdb
import polars as pl

from apilens.errors import UsageError
from apilens.lake.lake import TABLES, TIME, Lake, Table
from apilens.window import ALWAYS, Window

_MERGES = pl.Schema({"service": pl.String, "route": pl.String, "merged_route": pl.String})


def connect(lake: Lake, merges: pl.DataFrame | None = None, window: Window = ALWAYS) -> duckdb.DuckDBPyConnection:
    """An in-memory connection with the views calls, rollups, rejects, ingests and metrics, as of now.

    merges: service, route, merged_route. window: files of calls, rollups and metrics that hold nothing of it are left out;
    rows are not cut. The connection can read the lake's committed files and no other, and its settings are locked. A stranger's SQL
    still goes through `select`: DuckDB lets COPY overwrite what it lets be read.
    """
    connection = duckdb.connect(config={"autoinstall_known_extensions": False, "autoload_known_extensions": False})
    # After two seconds DuckDB would draw a bar on stdout, into the results.
    connection.execute("SET enable_progress_bar = false")
    lake.storage.attach(connection)
    committed = {name: lake.files(name, window if name in TIME else ALWAYS) for name in TABLES}
    ledger = lake.ledger()
    attempts = ledger.select("unit_id", "attempt")
    _load(connection, "attempts", attempts)
    _load(connection, "route_merges", merges if merges is not None else _MERGES.to_frame())
    for name, schema in TABLES.items():
        _load(connection, f"no_{name}", schema.to_frame())
    sources = {name: _relation(name, paths) for name, paths in committed.items()}
    connection.execute(files("apilens.lake").joinpath("views.sql").read_text(encoding="utf-8").format(**sources))
    allowed = ", ".join(_quoted(path) for paths in committed.values() for path in paths)
    connection.execute("SET TimeZone = 'UTC'")
    connection.execute(f"SET allowed_paths = [{allowed}]")
    connection.execute("SET enable_external_access = false")
    connection.execute("SET lock_configuration = true")
    return connection


def select(connection: duckdb.DuckDBPyConnection, query: str) -> pl.DataFrame:
    """The rows of one SELECT written by a user.

    Raises UsageError for anything else, and with DuckDB's own words for a query that does not run.
    """
    try:
        statements = duckdb.extract_statements(query)
        if len(statements) != 1 or statements[0].type != duckdb.StatementType.SELECT:
            found = ", ".join(statement.type.name for statement in statements) or "nothing"
            raise UsageError(
                f"apilens sql runs one SELECT, found {found}; for example: SELECT route, count(*) FROM calls GROUP BY 1"
            )
        rows: pl.DataFrame = connection.sql(query).pl()
    except duckdb.Error as error:
        raise UsageError(f"the query failed: {error}") from None
    except pl.exceptions.PolarsError as error:
        reason = str(error).split("\n")[0]
        raise UsageError(f"the query's result has no table form ({reason}); try CAST(… AS VARCHAR)") from None
    # DuckDB's sum() of whole numbers is a HUGEINT, which arrives as a decimal and would be a string in JSON.
    huge = [name for name, dtype in rows.schema.items() if isinstance(dtype, pl.Decimal) and dtype.scale == 0]
    small = [name for name in huge if rows[name].is_between(-(2**63), 2**63 - 1).all()]
    return rows.with_columns(pl.col(small).cast(pl.Int64))


def _load(connection: duckdb.DuckDBPyConnection, name: str, frame: pl.DataFrame) -> None:
    connection.register("frame", frame.to_arrow())
    connection.execute(f"CREATE TABLE {name} AS SELECT * FROM frame")
    connection.unregister("frame")


def _relation(name: Table, paths: list[str]) -> str:
    if not paths:
        return f"no_{name}"
    # DuckDB takes the columns of a list from its first file: a list per set of columns, which the names end with. Asked to
    # unite them by itself, it opens every file before any query.
    alike: dict[str, list[str]] = {}
    for path in paths:
        alike.setdefault(path.rpartition("-")[2], []).append(_quoted(path))
    parts = [f"SELECT * FROM read_parquet([{', '.join(files)}], hive_partitioning = false)" for files in alike.values()]
    return f"({' UNION ALL BY NAME '.join([f'SELECT * FROM no_{name}', *parts])})"


def _quoted(path: str) -> str:
    return "'" + path.replace("'", "''") + "'"
