"""The schema of the control state, one revision a file, run by Alembic when the state is opened.

A revision is never edited after release: a change is a new file in ``versions``; ``HEAD`` names the newest.
"""

HEAD = "0006"
"""Revision that this Footfall works with; it stands here so that a current state opens without Alembic."""
