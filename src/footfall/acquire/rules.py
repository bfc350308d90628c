"""Operators' rules: pins, exclusions, boosts, floors and caps, read from the text of a TOML file.

    [[pin]]      provider = "shop-1"   share = 0.2   [segment = "ads"]     this share of the segment, or of each
    [[exclude]]  provider = "shop-2"   [segment = "ads"]                   no visits there
    [[boost]]    provider = "shop-3"   factor = 1.2   [segment = "ads"]    weigh its value so many times
    [[floor]]    provider = "shop-4"   visits = 50                         at least so many visits a day
    [[cap]]      provider = "shop-4"   visits = 80                         at most so many visits a day

Unknown keys, segments and providers are refused with near matches: a rule that is silently dropped is worse
than none.
"""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
from msgspec import Struct

from footfall.errors import ConfigError
from footfall.model import Floats, Ints

SHARE_TOLERANCE = 1e-9


class Pin(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Exactly this share of a segment's demand, or (None) of each segment's, for a provider; share in [0, 1]."""

    provider: str
    share: float
    segment: str | None = None


class Exclude(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """No visits for a provider, in one segment or (None) in all."""

    provider: str
    segment: str | None = None


class Boost(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A provider's value counts ``factor`` times inside the plan, in one segment or in all; factor in (0,
    1000].
    """

    provider: str
    factor: float
    segment: str | None = None


class FloorRule(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """At least so many visits a day for a provider."""

    provider: str
    visits: float


class CapRule(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """At most so many visits a day for a provider."""

    provider: str
    visits: float


class Rules(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """All rules of a plan; none by default."""

    pin: tuple[Pin, ...] = ()
    exclude: tuple[Exclude, ...] = ()
    boost: tuple[Boost, ...] = ()
    floor: tuple[FloorRule, ...] = ()
    cap: tuple[CapRule, ...] = ()


@dataclass(frozen=True, eq=False, slots=True)
class IndexedRules:
    """The rules by position: pins pair by pair, the others with -1 for "all segments"; floor and cap as (m,) arrays
    (0 and inf where none).
    """

    pin_segment: Ints
    pin_provider: Ints
    pin_share: Floats
    exclude_segment: Ints
    exclude_provider: Ints
    boost_segment: Ints
    boost_provider: Ints
    boost_factor: Floats
    floor: Floats
    cap: Floats


def parse_rules(text: str, name: str = "rules.toml") -> Rules:
    """Read the text of a rules file; ConfigError names the rule, the key and the bound."""
    try:
        raw = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, ValueError, RecursionError) as error:
        raise ConfigError(f"{name} is not valid TOML: {error}", "mend the line named") from None
    _refuse_unknown(raw, name)
    try:
        rules = msgspec.convert(raw, Rules)
    except msgspec.ValidationError as error:
        raise ConfigError(f"{name}: {error}", "see docs/plan.md for the keys of each rule") from None
    check_rules(rules, name)
    return rules


def _refuse_unknown(raw: Mapping[str, Any], name: str) -> None:
    kinds: dict[str, tuple[str, ...]] = {
        "pin": Pin.__struct_fields__,
        "exclude": Exclude.__struct_fields__,
        "boost": Boost.__struct_fields__,
        "floor": FloorRule.__struct_fields__,
        "cap": CapRule.__struct_fields__,
    }
    for kind, blocks in raw.items():
        if kind not in kinds:
            raise ConfigError(f"{name}: unknown rule {kind!r}", near(kind, tuple(kinds)))
        if not isinstance(blocks, list):
            raise ConfigError(f"{name}: {kind} must be a list of blocks", f"write [[{kind}]], with two brackets")
        for number, block in enumerate(blocks, 1):
            for key in block if isinstance(block, dict) else ():
                if key not in kinds[kind]:
                    raise ConfigError(f"{name}: unknown key {key!r} in [[{kind}]] no. {number}", near(key, kinds[kind]))


def near(word: str, known: Sequence[str]) -> str:
    """A way out for an unknown name: the nearest known ones, else the first few."""
    alike = [name for name in known if _sound(name) == _sound(word)]
    close = list(dict.fromkeys([*alike, *difflib.get_close_matches(word, known, n=3, cutoff=0.5)]))
    if close:
        return f"did you mean {', '.join(close[:3])}?"
    return f"known: {', '.join(known[:10])}{', ...' if len(known) > 10 else ''}"


def _sound(name: str) -> str:
    """A name as it is read aloud: without case, signs between its parts, and zeros before its numbers."""
    return re.sub(r"[\W_]|(?<!\d)0+(?=\d)", "", name.casefold())


def check_rules(rules: Rules, name: str = "rules") -> None:
    """Refuse values outside their range and rules that contradict one another."""
    for number, pin in enumerate(rules.pin, 1):
        _bounded(name, "pin", number, "share", pin.share, 0.0, 1.0)
    for number, boost in enumerate(rules.boost, 1):
        _bounded(name, "boost", number, "factor", boost.factor, 1e-3, 1e3)
    for number, low in enumerate(rules.floor, 1):
        _bounded(name, "floor", number, "visits", low.visits, 0.0, 1e15)
    for number, high in enumerate(rules.cap, 1):
        _bounded(name, "cap", number, "visits", high.visits, 0.0, 1e15)
    _refuse_repeats(name, "pin", [f"{p.provider} in {p.segment or 'all segments'}" for p in rules.pin])
    _refuse_repeats(name, "boost", [f"{b.provider} in {b.segment or 'all segments'}" for b in rules.boost])
    _refuse_repeats(name, "floor", [r.provider for r in rules.floor])
    _refuse_repeats(name, "cap", [r.provider for r in rules.cap])
    _refuse_too_much(rules, name)


def _refuse_too_much(rules: Rules, name: str) -> None:
    """Pins of a segment above 1; those of all segments alone are looked at, too, where none names a segment."""
    named = dict.fromkeys(p.segment for p in rules.pin if p.segment is not None)
    for segment in named or (None,):
        total = sum(share for _, share in _pins_of(rules, segment))
        if total > 1 + SHARE_TOLERANCE:
            where = "of each segment" if segment is None else f"of segment {segment!r}"
            raise ConfigError(
                f"{name}: the pins {where} sum to {total:.4g}; they must sum to 1 or less",
                "lower or remove one of them",
            )


def _pins_of(rules: Rules, segment: str | None) -> list[tuple[str, float]]:
    """The pins that hold in a segment, (provider, share) each; a pin for the segment goes before one for all."""
    share = {p.provider: p.share for p in rules.pin if p.segment is None}
    share |= {p.provider: p.share for p in rules.pin if p.segment is not None and p.segment == segment}
    return list(share.items())


def _bounded(name: str, kind: str, number: int, key: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:  # refuses nan too
        raise ConfigError(
            f"{name}: {key} = {value} in [[{kind}]] no. {number} must be between {low:g} and {high:g}",
            f"correct {key}",
        )


def _refuse_repeats(name: str, kind: str, what: Sequence[str]) -> None:
    seen: set[str] = set()
    for one in what:
        if one in seen:
            raise ConfigError(f"{name}: two [[{kind}]] rules for {one}", "keep one of them")
        seen.add(one)


def index_rules(rules: Rules, segments: Sequence[str], providers: Sequence[str], name: str = "rules") -> IndexedRules:
    """Positions for names, a pin for all segments as one in each of them.

    ConfigError with near matches for a segment or provider that is not there.
    """
    check_rules(rules, name)
    segment_at = {s: i for i, s in enumerate(segments)}
    provider_at = {p: j for j, p in enumerate(providers)}

    def segment(kind: str, wanted: str | None) -> int:
        if wanted is None:
            return -1
        if wanted not in segment_at:
            raise ConfigError(
                f"{name}: [[{kind}]] names segment {wanted!r}, which is not there", near(wanted, segments)
            )
        return segment_at[wanted]

    def provider(kind: str, wanted: str) -> int:
        if wanted not in provider_at:
            raise ConfigError(
                f"{name}: [[{kind}]] names provider {wanted!r}, which is not there", near(wanted, providers)
            )
        return provider_at[wanted]

    floor, cap = np.zeros(len(providers)), np.full(len(providers), np.inf)
    for low in rules.floor:
        floor[provider("floor", low.provider)] = low.visits
    for high in rules.cap:
        cap[provider("cap", high.provider)] = high.visits
    for pin in rules.pin:
        segment("pin", pin.segment)
    pins = [(i, provider("pin", who), share) for i, s in enumerate(segments) for who, share in _pins_of(rules, s)]
    return IndexedRules(
        pin_segment=_ints(i for i, _, _ in pins),
        pin_provider=_ints(j for _, j, _ in pins),
        pin_share=np.array([share for _, _, share in pins], dtype=np.float64),
        exclude_segment=_ints(segment("exclude", e.segment) for e in rules.exclude),
        exclude_provider=_ints(provider("exclude", e.provider) for e in rules.exclude),
        boost_segment=_ints(segment("boost", b.segment) for b in rules.boost),
        boost_provider=_ints(provider("boost", b.provider) for b in rules.boost),
        boost_factor=np.array([b.factor for b in rules.boost], dtype=np.float64),
        floor=floor,
        cap=cap,
    )


def _ints(values: Any) -> Ints:
    return np.array(list(values), dtype=np.int64)
