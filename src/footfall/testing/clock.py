"""A clock for tests."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta


class FixedClock:
    """``ports.Clock`` that stands still until it is told to move."""

    def __init__(self, now: datetime) -> None:
        """now: an aware time."""
        if now.tzinfo is None:
            raise ValueError("a clock needs an aware time")
        self._now = now.astimezone(UTC)

    def now(self) -> datetime:
        """The time it was set to, UTC."""
        return self._now

    def advance(self, delta: timedelta) -> None:
        """Move on by ``delta``."""
        self._now += delta
