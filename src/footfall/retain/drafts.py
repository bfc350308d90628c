"""Drafts: entries that are due, as tables, become messages piece by piece; a round may make many."""

from __future__ import annotations

import hashlib
import uuid
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from footfall.config import JourneySettings, StepSettings
from footfall.model import Message
from footfall.persons import id_of
from footfall.retain.rules import language

PIECE = 20_000  # messages at a time: some 20 MB
FIRST_SPACE = uuid.UUID("8f0c2f61-7f0a-4b65-9e35-0d3d8b4a6a0e")  # of messages that began before workspaces had one


def message_id(space: uuid.UUID, journey: str, person: str, step: int, entry: int) -> str:
    """The id of a message, one for one step of one entry: ``uuid.uuid5`` (RFC 9562) of the four in the workspace's own
    ``space``, at a tenth of its cost."""
    told = "\x1f".join((journey, person, str(step), str(entry))).encode()
    digest = bytearray(hashlib.sha1(space.bytes + told, usedforsecurity=False).digest()[:16])
    digest[6] = digest[6] & 0x0F | 0x50
    digest[8] = digest[8] & 0x3F | 0x80
    text = digest.hex()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def written(rows: pa.Table, steps: Sequence[StepSettings], letters: pa.Table) -> pa.Array:
    """Whether an entry (person, entry, step) has the letter of its step already, wherever that step stood then; bool.

    letters: of ``Entries.letters``. A journey may send a letter several times: its n-th step with it asks for n.
    """
    kinds = [(step.template, step.channel) for step in steps]
    at = pc.min_element_wise(rows["step"], len(steps) - 1).combine_chunks()
    asked = [pc.take(pa.array(names), at) for names in zip(*kinds, strict=True)]
    nth = pa.array([kinds[: k + 1].count(kind) for k, kind in enumerate(kinds)])
    known = _joined(letters["person"], letters["entry"], letters["template"], letters["channel"])
    there = pc.index_in(_joined(rows["person"], rows["entry"], *asked), value_set=known.combine_chunks())
    return pc.greater_equal(pc.fill_null(pc.take(letters["messages"], there), 0), pc.take(nth, at))


def _joined(person: pa.ChunkedArray, entry: pa.ChunkedArray, *more: pa.Array) -> pa.ChunkedArray:
    return pc.binary_join_element_wise(person, entry.cast(pa.string()), *more, "\x1f")


@dataclass(frozen=True, slots=True)
class Drafts:
    """Messages of a round before they are written out. rows: journey -> entries that are due, with address, timezone,
    language, name and value. names: provider -> its name."""

    now: datetime
    rows: Mapping[str, pa.Table]
    journeys: Mapping[str, JourneySettings]
    names: Mapping[str, str]
    zone: ZoneInfo
    language: str
    space: uuid.UUID

    def __len__(self) -> int:
        return sum(rows.num_rows for rows in self.rows.values())

    def totals(self) -> dict[str, tuple[int, float]]:
        """journey -> how many messages, and the money that they are expected to win, major units."""
        return {name: (rows.num_rows, float(pc.sum(rows["value"]).as_py() or 0.0)) for name, rows in self.rows.items()}

    def offers(self) -> Counter[str]:
        """offer -> how many messages bring it."""
        found: Counter[str] = Counter()
        for name, rows in self.rows.items():
            for step in pc.value_counts(rows["step"]).to_pylist():
                found[self.journeys[name].steps[step["values"]].offer] += step["counts"]
        del found[""]
        return found

    def pieces(self, size: int = PIECE) -> Iterator[list[Message]]:
        """All messages, at most ``size`` at a time."""
        for name, rows in self.rows.items():
            for at in range(0, rows.num_rows, size):
                yield self._written(name, rows.slice(at, size))

    def told(self, most: int = 0) -> Iterator[tuple[Message, str]]:
        """The first ``most`` messages (0 = all), each with why it goes, in words."""
        left = most or len(self)
        for name, rows in self.rows.items():
            for at in range(0, min(rows.num_rows, left), PIECE):
                part = rows.slice(at, min(PIECE, left - at))
                yield from zip(self._written(name, part), self._why(name, part), strict=True)
            left -= min(rows.num_rows, left)

    def _written(self, name: str, rows: pa.Table) -> list[Message]:
        steps = self.journeys[name].steps
        spoken: dict[str | None, str] = {}
        found = []
        for row in _rows(rows, ("person", "step", "entry", "address", "language", "name", "provider_id", "category", "timezone", "since", "value")):  # fmt: skip  # noqa: E501
            person, number, entry, address, tongue, called, provider, category, timezone, since, value = row
            step = steps[number]
            if tongue not in spoken:
                spoken[tongue] = language(tongue, self.language)
            context = {
                "name": called or "",
                "customer_id": id_of(person),
                "provider_id": provider,
                "provider": self.names.get(provider) or provider,
                "category": category,
                "since": since.replace(tzinfo=UTC).astimezone(self.zone).date().isoformat(),
                "timezone": timezone or "",
                "offer_name": step.offer,
                "cost": step.cost,
            }
            found.append(
                Message(
                    message_id=message_id(self.space, name, person, number, entry),
                    journey=name,
                    person=person,
                    step=number,
                    entry=entry,
                    channel=step.channel,
                    address=address,
                    template=step.template,
                    language=spoken[tongue],
                    context=msgspec.json.encode(context).decode(),
                    due_at=self.now,
                    value=value,
                )
            )
        return found

    def _why(self, name: str, rows: pa.Table) -> list[str]:
        journey = self.journeys[name]
        found = []
        for step, since, stake in _rows(rows, ("step", "since", "stake")):
            local = since.replace(tzinfo=UTC).astimezone(self.zone)
            told = f"{journey.audience} since {local:%Y-%m-%d %H:%M}, step {step + 1} of {len(journey.steps)}, "
            found.append(told + f"stake {stake:,.2f}")
        return found


def _rows(rows: pa.Table, names: Sequence[str]) -> Iterator[tuple[Any, ...]]:
    return zip(*(rows[name].to_pylist() for name in names), strict=True)
