"""The schema of the control state, one revision a file, run by Alembic when a state of an earlier Footfall is opened.

A revision is never edited after release: a change is a new file in ``versions`` and in ``schema``, from which a new
state is made at once; ``HEAD`` names the newest, and a test holds both to the same tables.
"""

HEAD = "0006"
"""Revision that this Footfall works with; it stands here so that a new or current state opens without Alembic."""
