"""Arrived: rows of the inbox, read ahead of the pass that moves them.

Events stand in the inbox as lines of ``gate.Row``, or as calls that were kept as they came (``tracking.KeptCalls``), of
which such lines are made here.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import msgspec

from footfall.config import Config
from footfall.errors import FormatError
from footfall.ports import Inbox
from footfall.record import tracking
from footfall.record.gate import Gate, Kept, Row, Said, Taken
from footfall.record.sources import source_maps

_KEPT = msgspec.json.Decoder(Kept)


@dataclass(slots=True)
class Arrived:
    """Some rows of an inbox. first, last: sequence numbers of the first that the log does not know, and of all.

    events: bodies of lines, in their order, each line with its number (``line``) in it; lines: how many; longest: bytes
    of the longest; kept: what did not pass; decisions: (number, body), of all rows; size: bytes of all.
    """

    first: int
    last: int
    events: list[bytes] = field(default_factory=list)
    lines: int = 0
    longest: int = 0
    kept: list[Kept] = field(default_factory=list)
    decisions: list[tuple[int, bytes]] = field(default_factory=list)
    size: int = 0

    def add(self, body: bytes) -> None:
        """Further events, as lines of objects; a parallel reader keeps no order, so that each gets its number."""
        lines = [line for line in body.split(b"\n") if line[:1] == b"{"]
        self.longest = max(self.longest, *map(len, lines)) if lines else self.longest
        self.events.append(b"\n".join([b'{"line":%d,%b' % (n, line[1:]) for n, line in enumerate(lines, self.lines)]))
        self.lines += len(lines)


class Reader:
    """Reads what an inbox holds, some at a time; from one thread at once."""

    def __init__(self, inbox: Inbox, config: Config, known: int, most_bytes: int, with_decisions: bool) -> None:
        """known: the last number whose events are in the log. with_decisions: else decisions stay in the inbox, and
        what comes after the first of them."""
        self._inbox = inbox
        self._known = known
        self._most_bytes = most_bytes
        self._with_decisions = with_decisions
        self._gate = Gate(config)
        self._maps = source_maps(config, self._gate)

    def read(self, after: int) -> Arrived | None:
        """What comes after a number; None where that is nothing."""
        found: Arrived | None = None
        for seq, kind, body in self._inbox.read(after, self._most_bytes):
            if kind == "decision" and not self._with_decisions:
                break
            if found is None:
                found = Arrived(seq, seq)
            if found.first <= self._known:
                found.first = seq
            found.last = seq
            found.size += len(body)
            if kind == "decision":
                found.decisions.append((seq, body))
            elif seq > self._known:
                self._add(found, kind, body)
        return found

    def _add(self, found: Arrived, kind: str, body: bytes) -> None:
        if kind == "reject":
            found.kept += [kept for line in _lines(body) for kept in self._kept(line)]
        elif kind == "event":
            odd = [line for line in _lines(body) if line[:1] != b"{"]
            found.kept += [kept for line in odd for kept in self._damaged(line).kept]
            found.add(body)
        else:
            for line in _lines(body):
                taken = self._reread(line)
                if taken.rows:
                    found.add(taken.body)
                found.kept += taken.kept

    def _reread(self, line: bytes) -> Taken:
        try:
            return tracking.reread(line, self._gate, self._maps)
        except FormatError:
            return self._damaged(line)

    def _kept(self, line: bytes) -> list[Kept]:
        try:
            return [_KEPT.decode(line)]
        except (msgspec.MsgspecError, UnicodeDecodeError):
            return self._damaged(line).kept

    def _damaged(self, line: bytes) -> Taken:
        taken = Taken()
        self._gate.keep(taken, Row(None, None, None), Said(raw=line), "row:json")
        return taken


def unnumbered(line: bytes) -> bytes:
    """A line as it was before it got its number."""
    return b"{" + line.partition(b",")[2]


def _lines(body: bytes) -> Iterator[bytes]:
    return (line for line in body.split(b"\n") if line)
