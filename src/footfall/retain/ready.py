"""Ready: what becomes of entries that are due. Some go on without a message, some wait, the others get one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import pyarrow as pa
import pyarrow.compute as pc

from footfall.config import JourneySettings
from footfall.retain.drafts import written
from footfall.retain.reach import Reach, out_of_way
from footfall.retain.rules import language

PASSED_OVER = "passed over a step: no address on its channel"
WAIT = "wait for an address"
UNWILLING = "want no messages"
Faults = Mapping[tuple[str, str, bool], str]


def ready(
    due: pa.Table,
    journey: JourneySettings,
    needs: list[str],
    reach: Reach,
    letters: pa.Table,
    faults: Faults,
    otherwise: str,
) -> tuple[pa.Table, pa.Table, Counter[str]]:
    """Entries that go on without a message, entries that get one (with address, timezone, language, name), and how many
    are held back for which reason.

    due: entries of which the time of the step has come. needs: the contact of each step. reach: of their persons.
    letters: of ``Entries.letters``. faults: (template, language, whether the person has a name) -> why it cannot be
    filled; whom that concerns neither gets a message nor goes on. otherwise: the language where none is told.
    """
    is_held_out = pc.equal(due["arm"], "holdout")
    is_past = pc.greater_equal(due["step"], len(journey.steps))  # a step that footfall.toml has no more
    step = pc.min_element_wise(due["step"], len(needs))
    due = due.append_column("needs", pc.take(pa.array([*needs, None]), step))
    is_written = written(due, journey.steps, letters)  # a round that died, or an edited journey
    silent = pc.or_(pc.or_(is_held_out, is_past), is_written)
    lacks = pc.and_not(out_of_way(due, reach.ways), silent)
    held = Counter({"holdout": _count(is_held_out), PASSED_OVER: _count(lacks)})
    silent = pc.or_(silent, lacks)
    rest = due.filter(pc.invert(silent))
    unwilling = pc.is_in(rest["person"], value_set=reach.unwilling["person"].combine_chunks())
    going = rest.join(reach.ways, ["person", "needs"], join_type="inner").drop_columns("needs")
    held[UNWILLING] = _count(unwilling)
    held[WAIT] = rest.num_rows - held[UNWILLING] - going.num_rows
    told = _told(going, journey, faults, otherwise)
    held.update(f"wait until their template is mended: {why}" for why in told.drop_null().to_pylist())
    return due.filter(silent), going.filter(pc.is_null(told)).sort_by("person"), held


def _told(rows: pa.Table, journey: JourneySettings, faults: Faults, otherwise: str) -> pa.Array:
    """Why the template of a step cannot be filled for an entry's person, null where it can be."""
    if not faults:
        return pa.nulls(rows.num_rows, pa.string())
    spoken = rows["language"].combine_chunks().dictionary_encode()
    tongue = pa.array([language(one, otherwise) for one in spoken.dictionary.to_pylist()], pa.string())
    tongues = pc.fill_null(pc.take(tongue, spoken.indices), language(None, otherwise))
    has_name = pc.greater(pc.utf8_length(pc.fill_null(rows["name"], "")), 0).cast(pa.string())
    template = pc.take(pa.array([step.template for step in journey.steps]), rows["step"])
    keys = pc.binary_join_element_wise(template, tongues, has_name, "\x1f").combine_chunks()
    known = pa.array(["\x1f".join((*key[:2], str(key[2]).lower())) for key in faults])
    return pc.take(pa.array(list(faults.values())), pc.index_in(keys, value_set=known))


def _count(which: pa.ChunkedArray) -> int:
    return int(pc.sum(which).as_py() or 0)
