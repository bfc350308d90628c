"""Figures as people read them: whole visits, money with its currency, percentages, days. Never NaN or inf."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal

from footfall import zones
from footfall.app.report.words import Language

DASH = "–"
MINUS = "\u2212"  # as wide as the plus sign, unlike the hyphen
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_WEEKDAYS = {
    "en": ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"),
    "zh-Hant": ("週一", "週二", "週三", "週四", "週五", "週六", "週日"),
    "zh-Hans": ("周一", "周二", "周三", "周四", "周五", "周六", "周日"),
}
_SCALES = {
    "en": ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "k")),
    "zh-Hant": ((1e12, "兆"), (1e8, "億"), (1e4, "萬")),
    "zh-Hans": ((1e12, "万亿"), (1e8, "亿"), (1e4, "万")),
}

Number = float | Decimal | None


def known(value: Number) -> float | None:
    """The value as a finite float, or None."""
    if value is None:
        return None
    number = float(value)
    return number if math.isfinite(number) else None


@dataclass(frozen=True, slots=True)
class Figures:
    """Formats of one report: its language, currency and the currency's decimals."""

    language: Language
    currency: str
    decimals: int = 2
    unit_reward: bool = False

    def whole(self, value: Number) -> str:
        """A whole number: 1,234."""
        return _grouped(value, 0)

    def visits(self, value: Number) -> str:
        """Visits a day: one decimal below 10."""
        number = known(value)
        small = number is not None and 0 < abs(number) < 9.95 and abs(number - round(number)) >= 0.05
        return _grouped(value, 1 if small else 0)

    def signed(self, value: Number) -> str:
        """A change in visits: +12, −3.4, 0."""
        return _with_sign(value, self.visits(value))

    def amount(self, value: Number) -> str:
        """Money without its currency, as in a table."""
        return _grouped(value, 0 if self.unit_reward else self.decimals)

    def money(self, value: Number) -> str:
        """Money with its currency: TWD 1,234.00; whole units from 10,000 on, where decimals only distract."""
        number = known(value)
        if number is None:
            return DASH
        if self.unit_reward:  # clicks are whole, what is expected of them is not
            places = 1 if abs(number) < 1000 and number != round(number) else 0
        else:
            places = 0 if abs(number) >= 10_000 else self.decimals
        return self._coded(_grouped(value, places))

    def per_visit(self, value: Number) -> str:
        """Money per visit, without its currency: more decimals where a visit is worth little."""
        number = known(value)
        if number is None:
            return DASH
        size = abs(number)
        places = 0 if size >= 10_000 else 2 if size >= 0.1 or size == 0 else 4
        return _grouped(value, places)

    def money_per_visit(self, value: Number) -> str:
        """Money per visit with its currency."""
        return self._coded(self.per_visit(value))

    def _coded(self, text: str) -> str:
        return text if self.unit_reward or text == DASH else f"{self.currency}\u00a0{text}"

    def share(self, value: Number) -> str:
        """A fraction as a percentage: 2.13%, 45.0%."""
        number = known(value)
        if number is None:
            return DASH
        percent = 100 * number
        return f"{_grouped(percent, 2 if 0 < abs(percent) < 9.995 else 1 if percent else 0)}%"

    def percent(self, value: Number) -> str:
        """A fraction as a whole percentage, where columns are many: 45%."""
        number = known(value)
        return DASH if number is None else f"{_grouped(100 * number, 0)}%"

    def change(self, now: Number, before: Number) -> str:
        """Relative change: +12.3%, −4.0%; a dash where there was nothing before."""
        a, b = known(now), known(before)
        if a is None or b is None or b <= 0:
            return DASH
        percent = 100 * (a - b) / b
        return _with_sign(percent, f"{_grouped(percent, 1 if abs(percent) < 999.95 else 0)}%")

    def gap(self, value: Number) -> str:
        """A certified gap, a fraction: two significant digits."""
        number = known(value)
        if number is None:
            return DASH
        percent = max(100 * number, 0.0)
        if percent < 1e-7:  # 1e-9 as a fraction, below which the command line tells none either
            return "0.0000001%"
        return f"{percent:.{max(1 - math.floor(math.log10(percent)), 0)}f}%"

    def compact(self, value: Number) -> str:
        """Short, for an axis: 12k, 1.5M; 1.2萬."""
        number = known(value)
        if number is None:
            return DASH
        for size, unit in _SCALES[self.language]:
            if abs(number) >= size:
                return f"{_minus(f'{number / size:.4g}')}{unit}"
        return _minus(f"{number:,.4g}") if abs(number) >= 1e-4 or number == 0 else _minus(f"{number:.1e}")

    def day(self, value: date, weekday: bool = False) -> str:
        """23 Nov 2026; 2026年11月23日."""
        name = _WEEKDAYS[self.language][value.weekday()]
        if self.language == "en":
            text = f"{value.day} {_MONTHS[value.month - 1]} {value.year}"
            return f"{name} {text}" if weekday else text
        text = f"{value.year}年{value.month}月{value.day}日"
        return f"{text}（{name}）" if weekday else text

    def short_day(self, value: date) -> str:
        """23 Nov; 11/23."""
        return f"{value.day} {_MONTHS[value.month - 1]}" if self.language == "en" else f"{value.month}/{value.day}"

    def moment(self, value: datetime, zone: str) -> str:
        """A time (UTC, also where it does not say so) as the clock of ``zone`` shows it."""
        local = (value if value.tzinfo else value.replace(tzinfo=UTC)).astimezone(zones.zone(zone))
        return f"{self.day(local.date())} {local:%H:%M}"


def _grouped(value: Number, places: int) -> str:
    number = known(value)
    if value is None or number is None:
        return DASH
    text = _minus(f"{value:,.{places}f}")
    return text.removeprefix(MINUS) if not text.strip(MINUS + "0.,") else text


def _minus(text: str) -> str:
    return text.replace("-", MINUS)


def _with_sign(value: Number, text: str) -> str:
    number = known(value)
    return f"+{text}" if number is not None and number > 0 and text.strip("0.,%") else text
