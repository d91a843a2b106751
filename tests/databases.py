"""The state databases the suite runs on: SQLite always, PostgreSQL where its server programs are installed."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

_DEBIAN = Path("/usr/lib/postgresql")


def _program(name: str) -> str | None:
    return shutil.which(name) or next((str(path) for path in sorted(_DEBIAN.glob(f"*/bin/{name}"))), None)


def _missing(what: str) -> None:
    message = f"no PostgreSQL for the tests: {what}; apt-get install postgresql, pip install 'apilens[postgres]'"
    if os.environ.get("CI"):
        pytest.fail(message)
    pytest.skip(message)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """host:port of a PostgreSQL of our own on 127.0.0.1, gone afterwards."""
    pytest.importorskip("psycopg") if not os.environ.get("CI") else __import__("psycopg")
    initdb, server = _program("initdb"), _program("postgres")
    if initdb is None or server is None:
        _missing("initdb or postgres is not installed")
        return
    folder = Path(tempfile.mkdtemp(prefix="apilens-pg-"))
    # PostgreSQL refuses to run as root.
    user = ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups"] if os.geteuid() == 0 else []
    if user:
        shutil.chown(folder, "nobody", "nogroup")
    folder.chmod(0o700)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    data = folder / "data"
    made = subprocess.run(
        [*user, initdb, "-D", data, "-U", "apilens", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"],
        capture_output=True,
        text=True,
        cwd=folder.parent,
    )
    if made.returncode:
        _missing(made.stderr)
    running = subprocess.Popen(
        [*user, server, "-D", data, "-p", str(port), "-h", "127.0.0.1", "-k", "", "-c", "fsync=off"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd=folder.parent,
    )
    try:
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.1)
        yield f"127.0.0.1:{port}"
    finally:
        running.terminate()
        running.wait(timeout=30)
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(params=["sqlite", "postgresql"])
def state_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty state database."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/state.db"
    server = request.getfixturevalue("postgres_server")
    import psycopg

    name = f"state_{uuid.uuid4().hex}"
    for attempt in range(20):
        try:
            with psycopg.connect(f"postgresql://apilens@{server}/postgres", autocommit=True) as connection:
                connection.execute(f"CREATE DATABASE {name}")
            break
        except psycopg.OperationalError:  # it listens before it is ready
            if attempt == 19:
                raise
            time.sleep(0.2)
    return f"postgresql+psycopg://apilens@{server}/{name}"
