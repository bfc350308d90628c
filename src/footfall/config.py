"""footfall.toml -> a frozen ``Config``. The only reader of settings files and of the environment.

The settings below are the one table: type, range, default and meaning stand together, and the commented file that
``footfall init`` writes, the JSON schema and the checks are all made from them. Unknown keys are refused.
"""

from __future__ import annotations

import contextlib
import os
import re
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec
from msgspec import Meta, Struct

from footfall import zones
from footfall.errors import ConfigError, WorkspaceError
from footfall.wrong_setting import refused

FILE_NAME = "footfall.toml"
FORMAT_VERSION = 1
RECIPES = ("store", "clicks")
_WEB = r"^$|^https?://[^\s/?#]\S*$"  # an address of the web, or none
SEGMENT_COLUMNS = ("channel", "category", "campaign", "device", "country", "position")


class WorkspaceSettings(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What the workspace is."""

    format: Annotated[int, Meta(description="Version of the workspace's layout; do not change.", ge=1)] = FORMAT_VERSION
    recipe: Annotated[str, Meta(description="Which events count as a visit and what a visit earns: store, clicks.")] = (
        "store"
    )
    currency: Annotated[
        str,
        Meta(description="ISO 4217 code, such as EUR; amounts in others are kept aside.", pattern="^[A-Z]{3}$"),
    ] = "USD"
    timezone: Annotated[
        str, Meta(description="IANA zone of local days, for example Asia/Taipei. Fixed once events are in.")
    ] = "UTC"
    language: Annotated[
        Literal["en", "zh-Hant", "zh-Hans"], Meta(description="Language of reports: en, zh-Hant, zh-Hans.")
    ] = "en"


class RecordSettings(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How events are taken in."""

    earliest: Annotated[
        str, Meta(description="Events before this day, YYYY-MM-DD, are kept aside.", pattern=r"^\d{4}-\d{2}-\d{2}$")
    ] = "1990-01-01"
    future_days: Annotated[
        int, Meta(description="Events later than now by more than this are kept aside.", ge=0, le=36500)
    ] = 366
    max_amount: Annotated[
        float, Meta(description="Amounts above this, in major units, are kept aside.", gt=0, le=1e13)
    ] = 1e12
    memory_mb: Annotated[int, Meta(description="Memory for reading and counting, MiB.", ge=128)] = 1024
    threads: Annotated[int, Meta(description="Threads; 0 = all cores.", ge=0, le=1024)] = 0


class ValueSettings(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How visits become values."""

    segment: Annotated[
        tuple[str, ...],
        Meta(description="Columns whose tuple is the segment: channel, category, campaign, device, country, position."),
    ] = ("channel",)
    window_days: Annotated[
        int, Meta(description="A purchase belongs to a visit at most this many days before it.", ge=0, le=365)
    ] = 30
    attribution: Annotated[
        Literal["first", "last"],
        Meta(description="Which visit in the window gets the purchase: first, last."),
    ] = "first"
    half_life_days: Annotated[float, Meta(description="Longest half-life of evidence, in days.", gt=0, le=3650)] = 28.0
    exclude_visitors: Annotated[
        tuple[str, ...], Meta(description="Visitors left out of all counts (bots, staff, faked orders).")
    ] = ()


class PlanSettings(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How tomorrow's visits are planned."""

    inertia: Annotated[
        float,
        Meta(description="How strongly shares hold to the reference; 0 = plain linear programme.", ge=0, le=100),
    ] = 0.3
    reference_days: Annotated[int, Meta(description="Days whose delivered shares are the reference.", ge=1, le=90)] = 7
    eligible_days: Annotated[int, Meta(description="A pair with a visit in these days is eligible.", ge=1, le=365)] = 28
    newcomer_days: Annotated[
        int, Meta(description="A provider first seen at most this many days ago is a newcomer.", ge=0, le=365)
    ] = 14
    newcomer_visits: Annotated[
        int, Meta(description="Visits a day that every newcomer is given, where traffic allows.", ge=0)
    ] = 20
    newcomer_share: Annotated[
        float,
        Meta(description="Share of a segment mixed into the reference for its newcomers together.", ge=0, lt=1),
    ] = 0.01
    max_change: Annotated[
        float,
        Meta(
            description="Largest change of visits against today's shares of the day's demand; 0.3 = 30 %.",
            gt=0,
            le=1000,
        ),
    ] = 0.3
    max_provider_share: Annotated[
        float,
        Meta(description="Largest share of a segment for one provider, or today's where larger.", gt=0, le=1),
    ] = 0.5
    capacity_factor: Annotated[
        float,
        Meta(
            description="Capacity without a file: this x the provider's largest day of the last 28.",
            gt=0,
            le=1000,
        ),
    ] = 1.3
    gap: Annotated[float, Meta(description="Certified gap at which the solver stops.", ge=1e-9, lt=1)] = 1e-4
    time_limit_s: Annotated[float, Meta(description="Longest time for one solve, seconds.", gt=0)] = 600.0


class CheckSettings(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """When `footfall check` speaks up."""

    bot_events_per_hour: Annotated[
        int, Meta(description="A visitor with more events in one hour looks like a bot.", ge=1)
    ] = 500
    absurd_amount_factor: Annotated[
        float, Meta(description="An order above this x the median order looks absurd.", gt=1)
    ] = 1000.0
    fake_orders_per_visitor: Annotated[
        int,
        Meta(
            description="A visitor with at least this many orders at one provider in 7 days is looked at.",
            ge=2,
        ),
    ] = 5
    fake_share: Annotated[
        float, Meta(description="A provider with at least this share of such orders is named.", gt=0, le=1)
    ] = 0.2


class SourceSettings(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What the events of one source, a key of the service by its name, mean here."""

    events: Annotated[
        dict[str, str], Meta(description="Names of the source's events and ours: 'Store Entered' = 'visit'.")
    ] = {}
    fields: Annotated[
        dict[str, str],
        Meta(description="Field of the log and where the source has it: provider_id = 'properties.vendor.id'."),
    ] = {}
    fixed: Annotated[
        dict[str, str], Meta(description="Field of the log and one value for all events: provider_id = 'main-store'.")
    ] = {}


class CollectSettings(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How old events may be that come over HTTP, and what those of the tracking API mean beyond the usual names."""

    past_days: Annotated[
        int,
        Meta(
            description="Events that come over HTTP more than this after they happened are kept aside; `footfall "
            "import` takes them.",
            ge=1,
            le=36500,
        ),
    ] = 90
    sources: Annotated[
        dict[str, SourceSettings],
        Meta(
            description="Tables [collect.sources.NAME] with events, fields and fixed; NAME is a key's name, or "
            "default for all keys without a table."
        ),
    ] = {}


class ServeSettings(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The live service: where it listens, what it refuses, and what its keeper does."""

    host: Annotated[
        str, Meta(description="Address to listen on; another than loopback needs a key: `footfall keys create`.")
    ] = "127.0.0.1"
    port: Annotated[int, Meta(description="Port to listen on; 0 = any free one.", ge=0, le=65535)] = 8420
    workers: Annotated[int, Meta(description="Processes that answer; one a core that may be used.", ge=1, le=64)] = 1
    cors_origins: Annotated[
        tuple[str, ...],
        Meta(description="Origins of web pages that may call the service, for example https://shop.example; * = all."),
    ] = ()
    max_body_kb: Annotated[int, Meta(description="Largest body as sent, KiB.", ge=1, le=1_048_576)] = 2048
    max_unpacked_kb: Annotated[int, Meta(description="Largest body after gzip, KiB.", ge=1, le=1_048_576)] = 16384
    max_batch: Annotated[int, Meta(description="Most events in one request.", ge=1, le=1_000_000)] = 10_000
    max_depth: Annotated[int, Meta(description="Deepest nesting of JSON in a request.", ge=2, le=500)] = 32
    max_connections: Annotated[int, Meta(description="Most open connections of one worker.", ge=1, le=1_000_000)] = 2000
    rate_per_key: Annotated[
        float,
        Meta(description="Requests a second that one key may send to this host's workers; 0 = no bound.", ge=0, le=1e9),
    ] = 5000.0
    header_timeout_s: Annotated[float, Meta(description="Seconds in which headers have to arrive.", gt=0, le=600)] = (
        10.0
    )
    body_timeout_s: Annotated[
        float, Meta(description="Seconds in which a body has to arrive, and an answer to be read on.", gt=0, le=600)
    ] = 20.0
    answer_timeout_s: Annotated[
        float, Meta(description="Seconds after which a read request is given up.", gt=0, le=3600)
    ] = 120.0
    drain_s: Annotated[float, Meta(description="Seconds between drains of the inbox.", ge=0.05, le=3600)] = 1.0
    facts_s: Annotated[
        float, Meta(description="Seconds between refreshes of the facts; 0 = only before they are read.", ge=0)
    ] = 300.0
    plan_at: Annotated[
        str,
        Meta(
            description="Local time at which the next plan is made each night, HH:MM; empty = never.",
            pattern=r"^(([01]\d|2[0-3]):[0-5]\d)?$",
        ),
    ] = "00:15"
    plan_rules: Annotated[
        str, Meta(description="Rules file of the nightly plan, from the workspace; empty = none.")
    ] = ""
    plan_capacity: Annotated[
        str, Meta(description="Capacity file of the nightly plan, from the workspace; empty = none.")
    ] = ""
    publish_gap: Annotated[
        float, Meta(description="Largest certified gap with which a nightly plan is published.", gt=0, le=1)
    ] = 0.001
    publish_change: Annotated[
        float,
        Meta(
            description="Largest change of visits of a provider with 1 % of them or more, for a nightly plan to be "
            "published; 0.5 = 50 %.",
            gt=0,
            le=1000,
        ),
    ] = 0.5
    lead_lease_s: Annotated[
        float, Meta(description="Seconds after which a silent leader is replaced by another host.", ge=2, le=600)
    ] = 10.0


class StateSettings(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Where plans, keys and leases are kept, and the log of several hosts."""

    url: Annotated[
        str,
        Meta(
            description="postgresql+psycopg://USER@HOST/NAME for several hosts; empty = SQLite in the workspace. "
            "FOOTFALL_STATE_URL stands above it: put a password there."
        ),
    ] = ""
    lake: Annotated[
        str, Meta(description="Folder of a log that several hosts share; empty = lake/ in the workspace.")
    ] = ""


class LiveSettings(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How live decisions are drawn, held to capacity and paced."""

    explore: Annotated[
        float, Meta(description="Part of every draw that is spread evenly over the eligible providers.", ge=0, le=1)
    ] = 0.05
    max_slots: Annotated[int, Meta(description="Choices that one decision may ask for at most.", ge=1, le=50)] = 50
    slot_weights: Annotated[
        tuple[Annotated[float, Meta(ge=0, le=1e6)], ...],
        Meta(
            description="Relative chance that the visit goes to the 1st, 2nd, ... choice; the last holds for all "
            "further ones. A choice reserves its part of one visit.",
            min_length=1,
            max_length=50,
        ),
    ] = (1.0, 0.5, 0.35, 0.25, 0.2)
    reservation_s: Annotated[
        float, Meta(description="A visit keeps its decision's reservation within this time, seconds.", ge=1, le=86400)
    ] = 1800.0
    sticky_s: Annotated[
        float,
        Meta(description="A returning visitor gets the same choices within this time, seconds; 0 = never.", ge=0),
    ] = 0.0
    shadow: Annotated[
        bool, Meta(description="Answer with the caller's own order and only log what would have been drawn.")
    ] = False
    on_log_failure: Annotated[
        Literal["refuse", "mark"],
        Meta(description="A decision that cannot be logged: refuse (503), or answer it marked as not logged."),
    ] = "refuse"
    unknown_visits: Annotated[
        int,
        Meta(
            description="Visits a day for a candidate that the plan does not know; the newcomers' floor where -1.",
            ge=-1,
        ),
    ] = -1
    lease_s: Annotated[
        float, Meta(description="A worker that is not heard of for so long loses its leases, seconds.", ge=5, le=3600)
    ] = 30.0
    lease_block: Annotated[
        int, Meta(description="Visits of a provider that a worker leases at once, at least.", ge=1, le=1_000_000)
    ] = 20
    lease_interval_s: Annotated[
        float, Meta(description="How often a worker looks after its leases, seconds.", gt=0, le=60)
    ] = 0.25
    pacing_interval_s: Annotated[
        float, Meta(description="How often prices are moved during the day, seconds.", ge=1, le=86400)
    ] = 60.0
    pacing_step: Annotated[
        float,
        Meta(
            description="Largest change of a price in one pacing, in parts of tau (1 = a share times e).", gt=0, le=10
        ),
    ] = 0.25
    pacing_limit: Annotated[
        float, Meta(description="Largest offset of a price from the plan's, in parts of tau.", gt=0, le=100)
    ] = 6.0


class RetainSettings(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How visitors and customers are followed up: rules that stand above every journey."""

    audience_limit_s: Annotated[
        float, Meta(description="Longest time for one audience's SQL, seconds.", gt=0, le=3600)
    ] = 30.0
    per_day: Annotated[int, Meta(description="Most messages of all journeys to one person in 24 hours.", ge=0)] = 1
    per_week: Annotated[int, Meta(description="Most messages of all journeys to one person in 7 days.", ge=0)] = 3
    quiet: Annotated[
        str,
        Meta(
            description="Hours without messages, HH:MM-HH:MM, in the person's time zone; empty = none.",
            pattern=r"^$|^([01]\d|2[0-3]):[0-5]\d-([01]\d|2[0-3]):[0-5]\d$",
        ),
    ] = "21:00-09:00"
    consent: Annotated[
        Literal["opt-out", "opt-in"],
        Meta(description="opt-in: only to persons who subscribed; opt-out: to all who did not unsubscribe."),
    ] = "opt-out"
    shop: Annotated[str, Meta(description="The name that letters are signed with.", max_length=200)] = ""
    link: Annotated[
        str,
        Meta(description="Where letters lead, an http(s) address; {provider_id} is filled in, encoded.", pattern=_WEB),
    ] = ""
    public_url: Annotated[
        str,
        Meta(
            description="http(s) address under which the service is reached from outside, for links that unsubscribe.",
            pattern=_WEB,
        ),
    ] = ""
    prior_lift: Annotated[
        float,
        Meta(description="Part of the stake that a message is taken to win until its journey is measured.", gt=0, le=1),
    ] = 0.05
    interval_s: Annotated[
        float, Meta(description="Least time between two rounds of the service, seconds.", ge=1, le=86400)
    ] = 60.0


class StepSettings(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One message of a journey, in [[journeys.NAME.steps]]."""

    template: Annotated[str, Meta(description="The template's name.", min_length=1)]
    wait: Annotated[
        str,
        Meta(
            description="Time after what brought the person in, or the step before: 3d, 12h, 30m, now; auto.",
            pattern=r"^(auto|now|\d{1,6}(\.\d{1,9})?[dhm])$",
        ),
    ] = "auto"
    channel: Annotated[str, Meta(description="The channel's name.", min_length=1)] = "email"
    offer: Annotated[str, Meta(description="The offer that goes with it; empty: none.")] = ""
    cost: Annotated[float, Meta(description="What sending one costs, major units.", ge=0)] = 0.0


class JourneySettings(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One journey, in a section [journeys.NAME]: to whom, what, when, and how it is proved."""

    audience: Annotated[str, Meta(description="The audience's name: `footfall audiences`.", min_length=1)]
    steps: Annotated[
        tuple[StepSettings, ...], Meta(description="The messages, each a [[journeys.NAME.steps]].", min_length=1)
    ]
    exit: Annotated[
        tuple[Literal["bought", "unsubscribed", "left"], ...],
        Meta(description="What ends it for a person: bought, unsubscribed, left (the audience)."),
    ] = ("bought", "unsubscribed")
    holdout: Annotated[
        float, Meta(description="Share of persons who get nothing, to prove what the others' messages add.", ge=0, lt=1)
    ] = 0.1
    re_entry_days: Annotated[
        float, Meta(description="A person may enter again this long after entering before; 0 = never.", ge=0)
    ] = 0.0
    paused: Annotated[bool, Meta(description="True: nobody enters and nothing is sent until it goes on.")] = False
    budget: Annotated[float, Meta(description="Most cost of its messages in a round, major units; 0: any.", ge=0)] = 0.0
    margin: Annotated[float, Meta(description="Part of GMV that is kept, for proving what it earned.", gt=0, le=1)] = (
        1.0
    )
    outcome_days: Annotated[
        int, Meta(description="Days after entering in which purchases count for or against it.", ge=1, le=365)
    ] = 30


class ChannelSettings(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One channel, in a section [channels.NAME]; its password, secret or robot's URL is FOOTFALL_CHANNEL_NAME."""

    kind: Annotated[
        Literal["smtp", "webhook", "robot", "file"], Meta(description="smtp, webhook, robot (apprise) or file.")
    ]
    host: Annotated[str, Meta(description="smtp: the server.")] = "localhost"
    port: Annotated[int, Meta(description="smtp: its port.", ge=1, le=65535)] = 587
    tls: Annotated[Literal["starttls", "tls", "none"], Meta(description="smtp: starttls, tls or none.")] = "starttls"
    user: Annotated[str, Meta(description="smtp: who signs in; empty: nobody.")] = ""
    sender: Annotated[str, Meta(description="smtp: the address that letters come from.")] = ""
    sender_name: Annotated[str, Meta(description="smtp: the name beside it.")] = ""
    url: Annotated[str, Meta(description="webhook: where letters are posted.")] = ""
    folder: Annotated[str, Meta(description="file: the folder of letters, in the workspace.")] = "letters"
    timeout_s: Annotated[float, Meta(description="Longest wait for an answer, seconds.", gt=0, le=120)] = 30.0


class OfferSettings(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One offer, in a section [offers.NAME]: what is given, to how many, within which ceilings."""

    kind: Annotated[Literal["coupon", "gift"], Meta(description="coupon: money off an order; gift: from a stock.")] = (
        "coupon"
    )
    code: Annotated[
        str, Meta(description="A code shared by all; empty: each person gets one of their own.", max_length=64)
    ] = ""
    percent: Annotated[float, Meta(description="Taken off the order, percent.", ge=0, le=100)] = 0.0
    amount: Annotated[float, Meta(description="Taken off the order, major units.", ge=0)] = 0.0
    most: Annotated[float, Meta(description="Most that is taken off an order, major units; 0 = no bound.", ge=0)] = 0.0
    least_order: Annotated[float, Meta(description="Smallest order that it holds for, major units.", ge=0)] = 0.0
    count: Annotated[int, Meta(description="Most redemptions of all persons; a gift's stock; 0 = no bound.", ge=0)] = 0
    money: Annotated[float, Meta(description="Most money that all redemptions may take off; 0 = no bound.", ge=0)] = 0.0
    per_person: Annotated[int, Meta(description="Most redemptions of one person.", ge=1)] = 1
    valid_days: Annotated[int, Meta(description="Days that a person's own code holds.", ge=1, le=3650)] = 30
    cost: Annotated[float, Meta(description="Cost of one gift, major units.", ge=0)] = 0.0
    providers: Annotated[tuple[str, ...], Meta(description="Providers where it holds; empty = everywhere.")] = ()


class Config(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """All settings of a workspace."""

    workspace: WorkspaceSettings = WorkspaceSettings()
    record: RecordSettings = RecordSettings()
    value: ValueSettings = ValueSettings()
    plan: PlanSettings = PlanSettings()
    check: CheckSettings = CheckSettings()
    retain: RetainSettings = RetainSettings()
    offers: dict[str, OfferSettings] = {}
    journeys: dict[str, JourneySettings] = {}
    channels: dict[str, ChannelSettings] = {}
    collect: CollectSettings = CollectSettings()
    live: LiveSettings = LiveSettings()
    serve: ServeSettings = ServeSettings()
    state: StateSettings = StateSettings()


# [section.NAME], as many as wanted; each with an example, since some settings have no default.
NAMED_SECTIONS: dict[str, Struct] = {
    "offers": OfferSettings(),
    "journeys": JourneySettings(audience="cart_abandoned", steps=(StepSettings(template="cart"),)),
    "channels": ChannelSettings(kind="smtp"),
}


def load(directory: Path) -> Config:
    """Read ``directory/footfall.toml``; ConfigError says what is wrong in it, WorkspaceError that none is here."""
    return parse(read(directory), str(directory / FILE_NAME))


def read(directory: Path) -> str:
    """The text of ``directory/footfall.toml``; ConfigError where it is no text, WorkspaceError where none is here or it
    cannot be read."""
    path = directory / FILE_NAME
    try:
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise WorkspaceError(
            f"no workspace at {directory}: there is no {FILE_NAME}",
            f"make one with `footfall init {directory}`, or name another with --workspace DIR",
        ) from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not UTF-8: {error}", "save it as UTF-8") from None
    except OSError as error:
        raise WorkspaceError(f"{path} cannot be read: {error}", "check its permissions") from None


def parse(text: str, name: str = FILE_NAME) -> Config:
    """Parse and check the text of a footfall.toml."""
    try:
        raw = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, ValueError, RecursionError) as error:
        raise ConfigError(
            f"{name} is not valid TOML: {error}", "mend the line named, or start anew from `footfall init`"
        ) from None
    _refuse_unknown(raw, name)
    try:
        config = msgspec.convert(raw, Config)
    except msgspec.ValidationError:
        raise refused(raw, Config, name) from None
    _check(config, name)
    return config


def _refuse_unknown(raw: dict[str, Any], name: str) -> None:
    sections = get_type_hints(Config)
    for section, values in raw.items():
        if section not in sections:
            raise ConfigError(f"{name}: unknown section [{section}]", f"known sections: {', '.join(sections)}")
        if section in NAMED_SECTIONS:
            for own, inner in values.items() if isinstance(values, dict) else ():
                _refuse_keys(inner, type(NAMED_SECTIONS[section]), f"{section}.{own}", name)
        else:
            _refuse_keys(values, sections[section], section, name)


def _refuse_keys(values: object, kind: type[Struct], section: str, name: str) -> None:
    for key in values if isinstance(values, dict) else ():
        if key not in kind.__struct_fields__:
            known = ", ".join(kind.__struct_fields__)
            raise ConfigError(f"{name}: unknown key {key!r} in [{section}]", f"known keys: {known}")


def _check(config: Config, name: str) -> None:
    if config.workspace.format > FORMAT_VERSION:
        raise WorkspaceError(
            f"{name}: this workspace has format {config.workspace.format}; this Footfall knows {FORMAT_VERSION}",
            "update Footfall",
        )
    if config.workspace.recipe not in RECIPES:
        raise ConfigError(f"{name}: unknown recipe {config.workspace.recipe!r}", f"known recipes: {', '.join(RECIPES)}")
    check_zone(config.workspace.timezone)
    for column in config.value.segment:
        if column not in SEGMENT_COLUMNS:
            raise ConfigError(
                f"{name}: [value] segment names {column!r}, which is no segment column",
                f"use some of: {', '.join(SEGMENT_COLUMNS)}",
            )
    if not config.value.segment or len(set(config.value.segment)) != len(config.value.segment):
        raise ConfigError(
            f"{name}: [value] segment needs at least one column, each once",
            f"choose from: {', '.join(SEGMENT_COLUMNS)}",
        )


def check_zone(zone: str) -> ZoneInfo:
    """The time zone of that IANA name, or ConfigError with near names."""
    with contextlib.suppress(ZoneInfoNotFoundError):
        return zones.zone(zone)
    near = sorted(n for n in zones.names() if zone and zone.split("/")[-1].lower() in n.lower())[:5]
    raise ConfigError(
        f"unknown time zone {zone!r}",
        f"did you mean {', '.join(near)}?" if near else "use an IANA name such as Asia/Taipei",
    )


def schema() -> dict[str, Any]:
    """JSON schema of footfall.toml (draft 2020-12)."""
    return msgspec.json.schema(Config)


def settings() -> list[tuple[str, str, object, str]]:
    """Every setting as (section, key, default, meaning), in file order; named sections stand as offers.NAME."""
    rows = []
    for section, kind in get_type_hints(Config).items():
        default = NAMED_SECTIONS.get(section) or kind()
        if section in NAMED_SECTIONS:
            section, kind = f"{section}.NAME", type(default)
        hints = get_type_hints(kind, include_extras=True)
        for key in kind.__struct_fields__:
            hint = hints[key]
            meaning = (
                next((m.description for m in get_args(hint)[1:] if isinstance(m, Meta)), "") if get_origin(hint) else ""
            )
            rows.append((section, key, getattr(default, key), meaning or ""))
    return rows


def template(overrides: dict[str, dict[str, object]] | None = None) -> str:
    """The text of a new footfall.toml: every setting with its meaning; overridden ones in force, the rest commented."""
    overrides = overrides or {}
    lines = ["# Settings of this Footfall workspace. A line that begins with # shows the default.", ""]
    current = ""
    for section, key, default, meaning in settings():
        if section != current:
            # A named section is shown as a comment as a whole: it would be one called NAME otherwise.
            lines += ([""] if current else []) + [f"{'# ' if section.endswith('.NAME') else ''}[{section}]"]
            current = section
        lines.append(f"# {meaning}")
        chosen = overrides.get(section, {})
        lines.append(f"{key} = {toml_value(chosen[key])}" if key in chosen else f"# {key} = {toml_value(default)}")
    return "\n".join(lines) + "\n"


def toml_value(value: object) -> str:
    """A setting as TOML writes it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return msgspec.json.encode(value).decode()  # a JSON string is a TOML basic string
    if isinstance(value, (tuple, list)):
        return "[" + ", ".join(toml_value(v) for v in value) + "]"
    if isinstance(value, Struct):
        told = {key: getattr(value, key) for key in value.__struct_fields__}
        return "{ " + ", ".join(f"{key} = {toml_value(v)}" for key, v in told.items()) + " }"
    return re.sub(r"^(\d+(\.\d+)?)e\+?(-?\d+)$", r"\1e\3", repr(value))


def workspace_from_environment() -> Path:
    """The workspace when no --workspace is given: FOOTFALL_WORKSPACE, else the current folder."""
    return Path(os.environ.get("FOOTFALL_WORKSPACE", "."))


def channel_secret_from_environment(name: str) -> str:
    """A channel's password, signing secret or robot's URL: FOOTFALL_CHANNEL_NAME, the name in capitals, - as _."""
    return os.environ.get(f"FOOTFALL_CHANNEL_{name.upper().replace('-', '_')}", "")


def state_url_from_environment() -> str:
    """The state's address, with its password, when it is not to stand in footfall.toml: FOOTFALL_STATE_URL."""
    return os.environ.get("FOOTFALL_STATE_URL", "")
