"""Rules above every journey: quiet hours where the person is, and the language that the person reads."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from footfall import zones

_LANGUAGES = {"zh-hant": "zh-Hant", "zh-tw": "zh-Hant", "zh-hk": "zh-Hant", "zh": "zh-Hans", "en": "en"}


def language(told: str | None, otherwise: str) -> str:
    """One of the languages of templates for what a person's device or profile says."""
    text_ = (told or "").replace("_", "-").lower()
    for prefix, found in _LANGUAGES.items():
        if text_ == prefix or text_.startswith(prefix + "-"):
            return found
    return otherwise


def quiet_until(hours: str, now: datetime, zone_name: str, otherwise: ZoneInfo) -> datetime | None:
    """When quiet hours are over in a person's zone, None where it is not quiet now.

    hours: "21:00-09:00", "" for none. zone_name: the person's, where known; the workspace's ``otherwise``.
    """
    if not hours:
        return None
    try:
        zone = zones.zone(zone_name) if zone_name else otherwise
    except ZoneInfoNotFoundError:
        zone = otherwise
    local = now.astimezone(zone)
    first, last = (timedelta(hours=int(part[:2]), minutes=int(part[3:])) for part in hours.split("-"))
    since_midnight = timedelta(hours=local.hour, minutes=local.minute, seconds=local.second)
    inside = first <= since_midnight < last if first <= last else since_midnight >= first or since_midnight < last
    if not inside:
        return None
    day = local.date() + timedelta(days=1 if since_midnight >= last else 0)
    # Wall-clock arithmetic, then the zone: right on days that are an hour longer or shorter.
    end = datetime(day.year, day.month, day.day, tzinfo=zone) + last
    if end.astimezone(UTC) <= now:  # that time of day comes twice, and its first is over
        end = end.replace(fold=1)
    return end.astimezone(UTC)
