"""Up-to-date facts of a workspace."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from footfall.config import Config
from footfall.ports import Engine, Store
from footfall.value.relations import Progress, Rules, count
from footfall.value.recipes import recipe
from footfall.value.fact_tables import FactTables

__all__ = ["FactTables", "Rules", "facts", "rules_of"]


def rules_of(config: Config, providers: Mapping[str, Mapping[str, str]] | None = None) -> Rules:
    """The rules that a workspace's settings and its providers (provider_id -> {category, name}) amount to."""
    told = {key: row["category"] for key, row in (providers or {}).items() if row.get("category")}
    return Rules(
        recipe=recipe(config.workspace.recipe),
        segment=config.value.segment,
        window_days=config.value.window_days,
        attribution=config.value.attribution,
        exclude_visitors=config.value.exclude_visitors,
        categories=told,
    )


def facts(
    store: Store,
    engine: Engine,
    config: Config,
    directory: Path,
    progress: Progress | None = None,
    providers: Mapping[str, Mapping[str, str]] | None = None,
) -> FactTables:
    """Up-to-date facts of the log.

    directory: where facts are kept. providers: provider_id -> {category, name} (``State.providers()``); its categories
    go before those that events tell. progress: told the name of each step.
    """
    rules = rules_of(config, providers)
    store.attach(engine)
    return count(engine, rules, progress).with_categories(dict(rules.categories or {}))
