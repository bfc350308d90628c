"""GroupCommit: requests of one worker share their way to the disk.

A request puts its rows and waits. One thread takes all that waits, joins it, has the inbox write it in one
transaction, and wakes the waiters: how many wait decides how many share, so nobody waits for a timer.

Bodies are packed on the event loop: the thread has to wait for the interpreter's lock after each step that lets go of
it, and a request waits for the thread.
"""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Callable, Sequence

from footfall.errors import FootfallError, StorageError
from footfall.model import Sticky
from footfall.ports import Inbox, InboxKind, Packed

Rows = Sequence[tuple[InboxKind, bytes]]
_MOST_ROW_BYTES = 4 << 20  # bodies are joined up to this, as they came: the drain unpacks a row as a whole
_MOST_GROUP_BYTES = 16 << 20
_TURN_BYTES = 1 << 20  # packed, of one turn of the loop: more than that is worth a commit beside the rest of the turn


Done = Callable[[StorageError | None], None]


class _Waiting:
    """The rows of one request, and whom to tell."""

    __slots__ = ("done", "rows", "size", "sticky")

    def __init__(
        self, rows: Sequence[tuple[InboxKind, bytes, int]], sticky: Sequence[Sticky], size: int, done: Done
    ) -> None:
        self.rows = rows  # kind, body as it is to be written, bytes of the body as it came
        self.sticky = sticky
        self.size = size
        self.done = done


class GroupCommit:
    """The way of a worker's rows into its inbox; used from one event loop."""

    def __init__(self, inbox: Inbox, most_bytes: int = 64 << 20) -> None:
        """most_bytes: what may wait at once; beyond, ``put`` refuses instead of filling the memory."""
        self._inbox = inbox
        self._most = most_bytes
        self._queue: queue.SimpleQueue[list[_Waiting] | None] = queue.SimpleQueue()
        self._gathered: list[_Waiting] = []  # in this turn of the event loop
        self._gathered_bytes = 0
        self._ending = threading.Lock()  # nothing is put after the None that ends the thread
        self._loop: asyncio.AbstractEventLoop | None = None
        self._closed = False
        self.waiting_bytes = 0
        self.commits = 0
        self.failing = False
        self._thread = threading.Thread(target=self._work, name="footfall-commit", daemon=True)
        self._thread.start()

    async def put(self, rows: Rows, sticky: Sequence[Sticky] = ()) -> None:
        """Return when the rows are on the disk; each body is one or more JSON objects, each with its newline.

        StorageError where they could not be written, or where too much waits already: then they are not there, and
        the same may be tried again.
        """
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def done(failure: StorageError | None) -> None:
            if future.done():  # its request was given up
                return
            if failure is None:
                future.set_result(None)
            else:
                future.set_exception(failure)

        self.submit(rows, sticky, done)
        await future

    def submit(self, rows: Rows, sticky: Sequence[Sticky], done: Done) -> None:
        """As ``put``, for who does not wait: ``done`` is called on the event loop, with None when the rows are on the
        disk, else with what kept them from it. It must not raise. StorageError at once where ``put`` would refuse."""
        packed = [(kind, self._inbox.pack(body), len(body)) for kind, body in rows]
        size = sum(len(body) for _, body, _ in packed) + sum(len(s.body) for s in sticky)
        if self.waiting_bytes and self.waiting_bytes + size > self._most:
            raise StorageError(
                f"{self.waiting_bytes:,} bytes wait for the disk already", "send it again in a second, or more slowly"
            )
        loop = self._loop = self._loop or asyncio.get_running_loop()
        if self._closed:
            raise StorageError("the service is ending", "send it again")
        if not self._gathered:  # what else comes in this turn of the loop goes along: fewer commits, fewer wakings
            loop.call_soon(self._hand_over)
        self.waiting_bytes += size
        self._gathered.append(_Waiting(packed, sticky, size, done))
        self._gathered_bytes += size
        if self._gathered_bytes >= _TURN_BYTES:
            self._hand_over()

    def _hand_over(self) -> None:
        gathered, self._gathered, self._gathered_bytes = self._gathered, [], 0
        if not gathered:
            return
        with self._ending:
            if not self._closed:
                self._queue.put(gathered)
                return
        self._wake(gathered, StorageError("the service is ending", "send it again"))

    def close(self) -> None:
        """Write what waits, and end the thread. Blocks; ``put`` refuses from now on."""
        with self._ending:
            self._closed = True
            self._queue.put(None)
        self._thread.join()

    # ------------------------------------------------------------ in the thread

    def _work(self) -> None:
        ending = False
        while not ending:
            first = self._queue.get()
            if first is None:
                return
            group, held = list(first), sum(waiting.size for waiting in first)
            while held < _MOST_GROUP_BYTES:
                try:
                    more = self._queue.get_nowait()
                except queue.Empty:
                    break
                if more is None:
                    ending = True
                    break
                group += more
                held += sum(waiting.size for waiting in more)
            self._write(group)

    def _write(self, group: list[_Waiting]) -> None:
        failure: FootfallError | None = None
        try:
            self._inbox.append(_joined(group), [s for w in group for s in w.sticky])
        except FootfallError as error:
            failure = error
        except Exception as error:  # noqa: BLE001  a waiter that nobody wakes would hang for ever
            failure = StorageError(f"the inbox cannot be written: {type(error).__name__}: {error}", "send it again")
        loop = self._loop
        if loop is not None and not loop.is_closed():
            loop.call_soon_threadsafe(self._wake, group, failure)

    def _wake(self, group: list[_Waiting], failure: FootfallError | None) -> None:
        self.commits += 1
        self.failing = failure is not None
        for waiting in group:
            self.waiting_bytes -= waiting.size
            told = None if failure is None else StorageError(failure.message, failure.way_out)
            try:
                waiting.done(told)
            except Exception as error:  # noqa: BLE001 - a defect in one answer must not keep the others waiting
                asyncio.get_running_loop().call_exception_handler(
                    {"message": "an answer could not be made", "exception": error}
                )


def _joined(group: Sequence[_Waiting]) -> list[tuple[InboxKind, bytes]]:
    """The rows of a group with the bodies of each kind joined: a row less is a page less to write."""
    bodies: dict[tuple[InboxKind, bool], list[tuple[bytes, int]]] = {}
    for waiting in group:
        for kind, body, length in waiting.rows:
            bodies.setdefault((kind, isinstance(body, Packed)), []).append((body, length))
    joined: list[tuple[InboxKind, bytes]] = []
    for (kind, packed), parts in bodies.items():
        made = Packed if packed else bytes
        held: list[bytes] = []
        size = 0
        for part, length in parts:
            if held and size + length > _MOST_ROW_BYTES:
                joined.append((kind, made(b"".join(held))))
                held, size = [], 0
            held.append(part)
            size += length
        joined.append((kind, made(b"".join(held))))
    return joined
