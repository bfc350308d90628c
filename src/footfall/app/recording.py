"""Recording: what comes into the log and goes out of it, and what is wrong with it; record wired to a workspace."""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from footfall.app import retention, valuing
from footfall.app.build import Workspace
from footfall.app.progress import Advance
from footfall.errors import ConfigError, InputError
from footfall.model import Finding, ImportSummary
from footfall.value.recipes import recipe

if TYPE_CHECKING:
    from footfall.record.erase import Erased
    from footfall.record.fakes import Suspect
    from footfall.record.removal import Brought, Removed


def import_files(
    here: Workspace, files: Sequence[str], *, progress: Advance | None = None, **options: Any
) -> ImportSummary:
    """Read files into the lake; ``options`` as in ``record.intake.import_files``."""
    from footfall.record import intake

    with here.engine() as engine:
        return intake.import_files(
            here.store,
            engine,
            here.config,
            here.clock,
            files,
            quarantine_dir=here.quarantine,
            progress=progress,
            **options,
        )


def imports(here: Workspace) -> tuple[Brought, ...]:
    """What imports brought and the log still has, oldest first."""
    from footfall.record import removal

    with here.engine() as engine:
        return removal.imports(here.store, engine)


def remove_import(here: Workspace, named: str) -> Removed:
    """Take what an import brought out of the log, by its source or batch id."""
    from footfall.record import removal

    with here.engine() as engine:
        return removal.remove(here.store, engine, here.config, here.clock, named, quarantine_dir=here.quarantine)


def record(here: Workspace, frame: Any, **options: Any) -> ImportSummary:
    """Take in any Arrow-capable data frame; ``options`` as in ``record.intake.record_frame``."""
    from footfall.record import intake

    with here.engine() as engine:
        return intake.record_frame(
            here.store, engine, here.config, here.clock, frame, quarantine_dir=here.quarantine, **options
        )


@dataclass(frozen=True, slots=True)
class Checked:
    """What ``check`` found, and tables of events and visitors by name, source and day."""

    findings: tuple[Finding, ...]
    profile: Mapping[str, pa.Table]


def check(here: Workspace) -> Checked:
    """Look for what is wrong with the log; changes nothing."""
    from footfall.record import checks, quarantine
    from footfall.value import facts, refunds

    kind = recipe(here.config.workspace.recipe)
    kept_aside = Counter(reject.reason for reject in quarantine.rejects(here.quarantine))
    with here.engine() as engine:
        known = here.state.providers() or None
        fates = refunds.fates(here.store, engine, facts.rules_of(here.config, known))
        now = here.clock.now()
        found = checks.check(engine, here.store, here.config, now, known, kept_aside, recipe=kind, refunds=fates)
        profile = checks.profile(engine, recipe=kind) if here.store.days() else {}
        return Checked(found, profile)


def suspects(here: Workspace) -> tuple[Suspect, ...]:
    """Providers whose orders look faked, with the visitors; the operator decides."""
    from footfall.record import fakes, queries

    with here.engine() as engine:
        here.store.attach(engine)
        return fakes.suspects(queries.Queries(engine, recipe(here.config.workspace.recipe), here.config))


def rows(here: Workspace, **question: Any) -> pa.Table:
    """The events behind a figure; ``question`` as in ``value.trace.rows``.

    Raises ConfigError where the first day is after the last, and, with near names, where there are none because the log
    does not know the provider or the segment.
    """
    from footfall.value import trace

    valuing.in_order(question.get("first"), question.get("last"))
    with here.engine() as engine:
        found = trace.rows(here.store, engine, here.config, providers=here.state.providers(), **question)
    if not found.num_rows:
        _known(here, question)
    return found


def _known(here: Workspace, question: Mapping[str, Any]) -> None:
    """Refuse a provider or segment that neither the log nor the providers file has."""
    from footfall.acquire.rules import near

    visits, listed = valuing.count(here).visits, here.state.providers()
    for name, column, more in (("provider", "provider_id", listed), ("segment", "segment", ())):
        known = sorted({*visits[column].unique().to_pylist(), *more})
        wanted = question.get(name)
        if wanted is not None and known and wanted not in known:
            raise ConfigError(f"the log knows no {name} {wanted!r}", near(wanted, known))


def forget(here: Workspace, visitor: str, on_wait: Callable[[], None] = lambda: None) -> Erased:
    """Erase a person from the lake, the rows kept aside, this host's inbox, decisions, journeys, letters and coupons.

    What the inbox holds is drained first, so that all that was acknowledged until now is reached. Nobody plans or sends
    messages meanwhile; and where it is cut off, nothing is sent to the person until it is run again. on_wait: called
    where a round or a sender is at work.
    """
    from footfall.app import messaging
    from footfall.channels import files
    from footfall.record import drained, erase
    from footfall.value import facts

    mark = f"{messaging.ERASING} ({secrets.token_hex(4)})"  # of this run: who bears it is found, whoever it is
    received = (here.directory / "inbox" / "inbox.db").exists()

    @contextmanager
    def elsewhere(own: Sequence[str], shared: Sequence[str]) -> Iterator[dict[str, int]]:
        theirs, users = retention.keys_now(engine, shared), {f"u:{one}" for one in own}
        ids = [*own, *(device for device in shared if theirs.get(f"d:{device}") in users)]  # else it is kept of another
        here.outbox.suppress([(one, mark) for one in ids], here.clock.now())
        kept = {"messages": here.outbox.forget(ids), "journeys": here.entries.forget(ids)}
        kept |= {"letters": files.forget(here.directory, ids), "coupons": here.offers.forget(ids)}
        if received:
            kept["sticky choices"] = here.inbox.forget([*own, *shared])
        yield kept
        here.outbox.unlist(ids, messaging.ERASING)

    facts.forget(here.facts_directory)  # before and after: it may be killed between, and facts may be counted between
    here.outbox.suppress([(visitor, mark)] if visitor else [], here.clock.now())  # whoever sends now ends later
    try:
        with messaging.alone(here, on_wait), here.engine() as engine:
            if received:
                where = (here.inbox, here.store, here.decisions, engine, here.config, here.clock)
                drained.drain(*where, quarantine_dir=here.quarantine)
            erased = erase.forget(
                here.store, engine, visitor, here.quarantine, decisions=here.decisions, elsewhere=elsewhere
            )
    except InputError:  # nothing was, nor will be
        here.outbox.unlist([visitor], messaging.ERASING)
        raise
    facts.forget(here.facts_directory)
    return erased
