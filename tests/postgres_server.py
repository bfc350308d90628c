"""A PostgreSQL of the tests' own: Debian's package, a folder that goes away, a free port on loopback, no fsync."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

USER = "footfall"
_USERS = ("postgres", "nobody")  # PostgreSQL refuses to run as root


def binaries() -> Path | None:
    """The folder of the newest initdb and postgres, None where the package is not there."""
    found = [p.parent for p in Path("/usr/lib/postgresql").glob("*/bin/initdb") if (p.parent / "postgres").exists()]
    return max(found, key=lambda p: int(p.parent.name), default=None)


@contextmanager
def running() -> Iterator[str]:
    """A server; the URL of its first, empty database. Skips, with the reason, where there can be none."""
    bin_ = binaries()
    if bin_ is None:
        pytest.skip("PostgreSQL is not installed: no /usr/lib/postgresql/*/bin (apt-get install postgresql)")
    as_user = _not_root()
    folder = Path(tempfile.mkdtemp(prefix="footfall-pg-"))
    data = folder / "data"
    try:
        if as_user:
            shutil.chown(folder, as_user[1])
        initialise = [bin_ / "initdb", "-D", data, "-U", USER, "--auth=trust", "--no-sync", "-E", "UTF8", "--locale=C"]
        _run([*as_user[0], *map(str, initialise)])
        port = _free_port()
        options = f"-c fsync=off -c listen_addresses=127.0.0.1 -p {port} -k {folder} -c max_connections=200"
        server = subprocess.Popen(
            [*as_user[0], str(bin_ / "postgres"), "-D", str(data), *options.split()],
            stdout=subprocess.DEVNULL,
            stderr=(folder / "log").open("w"),
            cwd="/",
        )
        try:
            url = f"postgresql+psycopg://{USER}@127.0.0.1:{port}/postgres"
            _wait(port, server, folder / "log")
            yield url
        finally:
            server.send_signal(signal.SIGINT)  # the fast shutdown, which does not wait for clients
            try:
                server.wait(3)
            except subprocess.TimeoutExpired:
                server.kill()
                server.wait(10)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _not_root() -> tuple[list[str], str]:
    if os.geteuid() != 0:
        return [], ""
    import pwd

    setpriv = shutil.which("setpriv")
    for name in _USERS:
        try:
            user = pwd.getpwnam(name)
        except KeyError:
            continue
        if setpriv:
            return [setpriv, f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups", "--"], name
    pytest.skip("PostgreSQL does not run as root, and there is no setpriv or no user to become")


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, cwd="/", check=False)
    if done.returncode:
        raise RuntimeError(f"{command[-1]}: {done.stderr}")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait(port: int, server: subprocess.Popen[bytes], log: Path) -> None:
    until = time.monotonic() + 30
    while time.monotonic() < until:
        if server.poll() is not None:
            raise RuntimeError(f"PostgreSQL ended: {log.read_text()}")
        try:
            import psycopg

            psycopg.connect(f"host=127.0.0.1 port={port} user={USER} dbname=postgres", connect_timeout=2).close()
            return
        except psycopg.OperationalError:
            time.sleep(0.05)
    raise RuntimeError(f"PostgreSQL did not answer: {log.read_text()}")


def new_database(url: str, name: str) -> str:
    """An empty database beside that of ``url``; its URL."""
    import psycopg

    with psycopg.connect(url.replace("+psycopg", ""), autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}"')
    return f"{url.rsplit('/', 1)[0]}/{name}"


def new_schema(url: str, name: str) -> str:
    """An empty schema in the database of ``url``; the URL whose tables are in it and nowhere else."""
    import psycopg

    with psycopg.connect(url.replace("+psycopg", ""), autocommit=True) as connection:
        connection.execute(f'CREATE SCHEMA "{name}"')
    return f"{url}?options=-csearch_path%3D{name}"


class Wire:
    """A way to a server that can be cut: ``silent`` lets nothing through and says nothing, as a host that hangs or is
    cut off; ``away`` ends connections and refuses new ones, as a server that is down."""

    def __init__(self, url: str) -> None:
        import sqlalchemy as sa

        parsed = sa.make_url(url)
        self._to = (parsed.host or "127.0.0.1", parsed.port or 5432)
        self._port = _free_port()
        self.url = parsed.set(host="127.0.0.1", port=self._port).render_as_string(hide_password=False)
        self._through = threading.Event()
        self._ends: list[socket.socket] = []
        self._listening: socket.socket | None = None
        self.back()

    def silent(self) -> None:
        self._through.clear()

    def away(self) -> None:
        listening, self._listening = self._listening, None
        if listening is not None:
            listening.shutdown(socket.SHUT_RDWR)
            listening.close()
        for end in self._ends:
            _shut(end)
        self._ends.clear()
        self._through.set()

    def back(self) -> None:
        self._through.set()
        if self._listening is None:
            self._listening = socket.create_server(("127.0.0.1", self._port))
            threading.Thread(target=self._accept, args=(self._listening,), daemon=True).start()

    def _accept(self, listening: socket.socket) -> None:
        while True:
            try:
                near, _ = listening.accept()
            except OSError:
                return
            far = socket.create_connection(self._to)
            self._ends += [near, far]
            for ends in ((near, far), (far, near)):
                threading.Thread(target=self._carry, args=ends, daemon=True).start()

    def _carry(self, here: socket.socket, there: socket.socket) -> None:
        try:
            while data := here.recv(65536):
                self._through.wait()
                there.sendall(data)
        except OSError:
            pass
        _shut(here)
        _shut(there)


def _shut(end: socket.socket) -> None:
    with suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)
