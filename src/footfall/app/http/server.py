"""``footfall serve``: a supervisor that binds the socket and keeps workers and the keeper alive.

    supervisor ── worker 1 .. n    answer HTTP on the one socket    app/http/worker.py
              └── keeper           drains, paces, plans             app/keeper.py

A process that dies is started again, after a pause that grows while it keeps dying. All end when the supervisor does:
each holds the reading end of a pipe whose writing end only the supervisor has, so that even kill -9 is noticed.
"""

from __future__ import annotations

import errno
import fcntl
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

import msgspec

from footfall import config
from footfall.app.build import SystemClock, Workspace, open_workspace
from footfall.app.http.metrics import make_board
from footfall.config import ServeSettings
from footfall.errors import ConfigError, WorkspaceError
from footfall.loopback import is_loopback
from footfall.wrong_setting import refused

BACKLOG = 2048
BIND_WAIT_S = 5.0  # processes of a service that was killed let go of the port within this time
STOP_WAIT_S = 15.0
_POLL_S = 0.05


class Spec(msgspec.Struct, frozen=True, kw_only=True):
    """What the supervisor tells a process that it starts; descriptors are inherited. Holds no secrets."""

    directory: str
    settings: ServeSettings
    index: int  # of the process; its row on the board
    rows: int
    alive: int  # descriptor that ends when the supervisor ends
    board: int
    ready: int  # descriptor to write to when ready
    listen: int = -1
    level: str = "info"
    config: str = ""  # footfall.toml as the supervisor read it


@dataclass
class _Child:
    """One process that is to be kept alive."""

    module: str
    spec: Spec
    process: subprocess.Popen[bytes] | None = None
    started: float = 0.0
    failures: int = 0
    not_before: float = 0.0
    ready: bool = field(default=False)


def opened(spec: Spec, log: Any) -> Workspace:
    """The workspace of a process that is started: by footfall.toml, or, where that is broken or gone, by what it said
    when the service began, so that a mistake in a file does not keep a process that died from coming back."""
    try:
        return open_workspace(Path(spec.directory))
    except (ConfigError, WorkspaceError) as error:
        if not spec.config:
            raise
        log.error("footfall.toml cannot be gone by; going on with its settings as they were", error=error.message)
        return Workspace(Path(spec.directory), config.parse(spec.config), SystemClock())


def serve(here: Workspace, settings: ServeSettings, log: Any, level: str = "info", *, out: Any = None) -> int:
    """Run the service until it is told to end (SIGTERM, SIGINT); the exit status.

    Raises ConfigError where it would listen beyond loopback without keys, WorkspaceError where the port is taken or
    another service runs on the workspace.
    """
    check_exposure(here, settings.host)
    text = config.read(here.directory)
    config.parse(text)  # it may have been changed since ``here`` was opened
    with _only_one(here.directory), _bound(settings.host, settings.port) as listening:
        if here.shared:
            check_lake(here)
        return _Supervisor(here, settings, text, listening, log, level).run(out)


def with_options(settings: ServeSettings, **options: object) -> ServeSettings:
    """Settings with what the command line names; ConfigError where that is out of its range."""
    given = {name: value for name, value in options.items() if value is not None}
    wanted = {**msgspec.to_builtins(settings), **given}
    try:
        return msgspec.convert(wanted, ServeSettings)
    except msgspec.ValidationError:
        raise refused(wanted, ServeSettings, "serve") from None


def check_exposure(here: Workspace, host: str) -> None:
    """Refuse to listen where others can reach without any key."""
    if is_loopback(host):
        return
    if not any(key.revoked_at is None for key in here.keys.all()):
        raise ConfigError(
            f"{host} can be reached from other machines, and this workspace has no key",
            "make one with `footfall keys create --scope admin`, or serve on 127.0.0.1",
        )


def check_lake(here: Workspace) -> str:
    """The identity of the lake; WorkspaceError where the state belongs to another one.

    Several hosts that share a state must share the lake: a marker in the lake's folder has to be what the state knows.
    """
    path = here.lake / "lake-id"
    known = here.state.get("lake") or {}
    if not path.exists():
        if known:
            raise WorkspaceError(
                f"the state {here.shown_state} belongs to another lake than {here.lake}",
                "give every host of this state the same folder by [state] lake in footfall.toml",
            )
        here.lake.mkdir(parents=True, exist_ok=True)
        _write_once(path, os.urandom(16).hex())
    found = path.read_text(encoding="ascii").strip()
    if not known:
        here.state.put("lake", {"id": found})
        known = here.state.get("lake") or {}
    if known.get("id") != found:
        raise WorkspaceError(
            f"the state {here.shown_state} belongs to another lake than {here.lake}",
            "give every host of this state the same folder by [state] lake in footfall.toml",
        )
    return found


def _write_once(path: Path, text: str) -> None:
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    partial.write_text(text, encoding="ascii")
    try:
        os.link(partial, path)  # where two hosts begin at once, one of them wins
    except FileExistsError:
        return
    finally:
        partial.unlink()


@contextmanager
def _only_one(directory: Path) -> Iterator[None]:
    """One service a workspace: they would share an inbox."""
    folder = directory / "state"
    folder.mkdir(parents=True, exist_ok=True)
    handle = os.open(folder / "serve.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(handle, 32, 0).decode(errors="replace") or "unknown"
            raise WorkspaceError(
                f"another service runs on this workspace (process {holder})",
                "end that one; [serve] workers gives one service more processes",
            ) from None
        os.ftruncate(handle, 0)
        os.pwrite(handle, str(os.getpid()).encode(), 0)
        yield
    finally:
        os.close(handle)


@contextmanager
def _bound(host: str, port: int) -> Iterator[socket.socket]:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except socket.gaierror as error:
        raise ConfigError(f"[serve] host {host!r}: {error.strerror}", "for example 127.0.0.1 or 0.0.0.0") from None
    family, kind, protocol, _, address = found[0]
    listening = socket.socket(family, kind, protocol)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    until = time.monotonic() + BIND_WAIT_S
    try:
        while True:
            try:
                listening.bind(address)
                listening.listen(BACKLOG)
                break
            except OSError as error:
                if error.errno == errno.EADDRINUSE and time.monotonic() < until:
                    time.sleep(_POLL_S)
                    continue
                raise WorkspaceError(
                    f"{host} port {port} cannot be listened on: {error.strerror}",
                    "end what uses it, or choose another with --port",
                ) from None
        yield listening
    finally:
        listening.close()


class _Supervisor:
    """Starts the processes, starts again those that die, ends them all."""

    def __init__(
        self, here: Workspace, settings: ServeSettings, text: str, listening: socket.socket, log: Any, level: str
    ) -> None:
        """text: of footfall.toml, which parses."""
        self._log = log
        self._listening = listening
        self._alive, self._alive_end = os.pipe()
        self._ready, ready_end = os.pipe()
        self._ready_end = ready_end
        os.set_blocking(self._ready, False)
        self._stopping = False
        rows = settings.workers + 1
        board = make_board(rows)

        def spec(index: int, listen: int) -> Spec:
            return Spec(
                directory=str(here.directory),
                settings=settings,
                index=index,
                rows=rows,
                alive=self._alive,
                board=board,
                ready=ready_end,
                listen=listen,
                level=level,
                config=text,
            )

        self._children = [_Child("footfall.app.keeper", spec(0, -1))]
        self._children += [
            _Child("footfall.app.http.worker", spec(index + 1, listening.fileno())) for index in range(settings.workers)
        ]

    def run(self, out: Any) -> int:
        """Until told to end."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)
        told = False
        try:
            while not self._stopping:
                self._tend()
                if not told and self._all_ready():
                    told = True
                    self._tell(out)
                time.sleep(_POLL_S)
        finally:
            self._end_all()
        return 0

    def _stop(self, _number: int, _frame: FrameType | None) -> None:
        self._stopping = True

    def _tend(self) -> None:
        now = time.monotonic()
        for child in self._children:
            if child.process is None:
                if now >= child.not_before:
                    self._start(child)
            elif (status := child.process.poll()) is not None:
                child.failures = 0 if now - child.started > 60 else child.failures + 1
                pause = min(5.0, 0.05 * 2 ** min(child.failures, 8))
                child.process, child.not_before = None, now + pause
                self._log.error("a process ended", module=child.module, status=status, again_in_s=round(pause, 2))

    def _start(self, child: _Child) -> None:
        spec = child.spec
        descriptors = [spec.alive, spec.board, spec.ready, *([spec.listen] if spec.listen >= 0 else [])]
        child.process = subprocess.Popen(
            [sys.executable, "-m", child.module, msgspec.json.encode(spec).decode()],
            pass_fds=descriptors,
            stdin=subprocess.DEVNULL,
        )
        child.started = time.monotonic()

    def _all_ready(self) -> bool:
        try:
            for index in os.read(self._ready, 256):
                self._children[index].ready = True
        except BlockingIOError:
            pass
        return all(child.ready for child in self._children)

    def _tell(self, out: Any) -> None:
        host, port = self._listening.getsockname()[:2]
        url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
        self._log.info("serving", url=url, workers=len(self._children) - 1)
        if out is not None:
            out.write(f"Serving {url}\n")
            out.flush()

    def _end_all(self) -> None:
        running = [child.process for child in self._children if child.process is not None]
        for process in running:
            process.terminate()
        until = time.monotonic() + STOP_WAIT_S
        for process in running:
            try:
                process.wait(max(0.1, until - time.monotonic()))
            except subprocess.TimeoutExpired:
                self._log.error("a process did not end in time and was killed", process=process.pid)
                process.kill()
                process.wait()
        os.close(self._alive_end)


def read_spec(arguments: list[str]) -> Spec:
    """The spec that a process was started with."""
    return msgspec.json.decode(arguments[1].encode(), type=Spec)


def tell_ready(spec: Spec) -> None:
    """Say to the supervisor that this process does its work now."""
    try:
        os.write(spec.ready, bytes([spec.index]))
    except BrokenPipeError:
        return  # the supervisor has just died; the pipe ``alive`` ends this process, too


def watch(spec: Spec, ended: Callable[[], None]) -> None:
    """Have a thread call ``ended`` when the supervisor has ended."""

    def wait() -> None:
        select.select([spec.alive], [], [])
        ended()

    threading.Thread(target=wait, daemon=True).start()
