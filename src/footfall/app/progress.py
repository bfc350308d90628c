"""Progress for people: a bar on a terminal, nothing in a pipe."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from footfall.app.output import console

Advance = Callable[[float, float], None]


@contextmanager
def bar(label: str) -> Iterator[Advance]:
    """A progress bar on standard error; the callback takes (done, total)."""
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    screen = console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=screen, transient=True, disable=not screen.is_terminal) as progress:
        task = progress.add_task(label, total=None)

        def advance(done: float, total: float) -> None:
            progress.update(task, completed=done, total=total or None)

        yield advance
