"""Sources: what the events of a source mean, where footfall.toml says more than the tracking API does."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from footfall.config import Config, SourceSettings
from footfall.errors import ConfigError
from footfall.record.fields import check_options
from footfall.record.gate import AT_PROVIDER, SPECIAL, Gate
from footfall.record.names import canonical_event

DEFAULT = "default"
_ROOTS = ("properties", "traits", "context", "event", "name", "groupId")
_IN_CONTEXT = ("campaign", "device", "location", "locale")


@dataclass(frozen=True, slots=True)
class SourceMap:
    """What the events of one source mean: ``names`` of events, ``paths`` of fields in a call, ``fixed`` values."""

    names: Mapping[str, str]
    at_provider: Mapping[str, str]  # those of them that a visit's provider comes with,
    elsewhere: Mapping[str, str]  # and those without; neither have what needs a closer look in any case (gate.SPECIAL)
    paths: Mapping[str, tuple[str, ...]]
    fixed: Mapping[str, str]
    named: bool = False  # whether the settings name events

    @property
    def is_own(self) -> bool:
        """Whether the settings tell anything: then what a call means may change with them."""
        return self.named or bool(self.paths or self.fixed)

    @classmethod
    def of(cls, settings: SourceSettings, gate: Gate, source: str = "default") -> SourceMap:
        """The map that the settings tell; ConfigError for an unknown event, field or place."""
        where = f"footfall.toml: [collect.sources.{source}]"
        # Senders write "Order Completed"; whatever else is found in lower case.
        names = {given.title(): name for given, name in gate.names.items()} | gate.names
        for given, name in settings.events.items():
            ours = canonical_event(name)
            if ours is None:
                raise ConfigError(f"{where} events: {given!r} = {name!r}, which is no event", "see `footfall import`")
            names[given] = names[given.lower()] = ours
        try:
            fixed = check_options(None, dict(settings.fields), dict(settings.fixed))
        except ConfigError as error:
            raise ConfigError(f"{where}: {error}", "fields and fixed name fields of the log") from None
        own = {"ts", "message_id", "properties"} & {*settings.fields, *fixed}
        if own:
            raise ConfigError(f"{where}: {min(own)} is the tracking API's own", "leave it out")
        paths = {name: tuple(path.split(".")) for name, path in settings.fields.items()}
        for name, path in paths.items():
            if path[0] not in _ROOTS or (path[0] == "context" and path[1:2] and path[1] not in _IN_CONTEXT):
                raise ConfigError(
                    f"{where} fields: {name} = {'.'.join(path)!r} is no place in a call that may be read",
                    f"begin with one of: {', '.join(_ROOTS)}; of the context: {', '.join(_IN_CONTEXT)}",
                )
        plain = {given: name for given, name in names.items() if name not in SPECIAL}
        at_provider = {given: name for given, name in plain.items() if name in AT_PROVIDER}
        elsewhere = {given: name for given, name in plain.items() if name not in AT_PROVIDER}
        return cls(names, at_provider, elsewhere, paths, fixed, bool(settings.events))


def source_maps(config: Config, gate: Gate) -> dict[str, SourceMap]:
    """Source -> its map; ``default`` is for all others. ConfigError for a map that names what does not exist."""
    maps = {name: SourceMap.of(settings, gate, name) for name, settings in config.collect.sources.items()}
    maps.setdefault(DEFAULT, SourceMap.of(SourceSettings(), gate))
    return maps
