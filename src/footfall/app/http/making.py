"""Putting a worker's parts together: the one place where handlers' adapters are named."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from footfall.app.build import Workspace
from footfall.app.http.access import Access
from footfall.app.http.collect import Collector
from footfall.app.http.commit import GroupCommit
from footfall.app.http.context import Context
from footfall.app.http.limits import Rates
from footfall.app.http.live import Live
from footfall.app.http.metrics import Metrics
from footfall.app.http.reading import Reader
from footfall.app.http.server import Spec
from footfall.loopback import is_loopback


async def make_context(here: Workspace, spec: Spec, log: Any) -> Context:
    """The context of a worker, its decider in force where a plan is. A state that is away is opened once it is back."""
    settings = spec.settings
    metrics = Metrics(spec.board if spec.board >= 0 else None, spec.index, spec.rows)
    inbox = here.inbox
    commit = GroupCommit(inbox)
    access = Access(
        lambda: here.keys,
        loopback=is_loopback(settings.host),
        rates=Rates(settings.rate_per_key, spending=metrics.spending),
        origins=settings.cors_origins,
    )
    live = Live(here, inbox, commit, metrics, log)

    def tell(accepted: int, rejected: Mapping[str, int]) -> None:
        metrics.add("footfall_events_accepted", by=accepted)
        for reason, events in rejected.items():
            metrics.rejected(reason, events)

    collector = Collector(here.config, here.clock, tell)
    context = Context(
        here=here,
        settings=settings,
        inbox=inbox,
        commit=commit,
        keys=access,
        metrics=metrics,
        collector=collector,
        live=live,
        reader=Reader(spec),
    )
    await access.look()
    await live.start()
    return context
