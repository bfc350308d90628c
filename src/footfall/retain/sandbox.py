"""What templates run in: Jinja2's sandbox, with an end to all loops and calls, and to what a text may hold."""

from __future__ import annotations

import traceback
from collections.abc import Iterable, Iterator, Mapping
from itertools import count
from typing import Any

from jinja2 import StrictUndefined, Template, TemplateSyntaxError, meta, nodes, pass_context
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment

from footfall.errors import InputError

MOST_STEPS = 10_000  # turns of loops and calls while one text is filled
MOST_SIGNS = 1_000_000  # of a filled text
_STEPS = "_steps"  # the variable that counts them
_MEND = "mend the template; `footfall outbox preview` shows it filled"


class Sandbox(ImmutableSandboxedEnvironment):
    """Plain texts or HTML; what is not known is an error, and so is what does not end."""

    def __init__(self, html: bool) -> None:
        super().__init__(undefined=StrictUndefined, autoescape=html, keep_trailing_newline=not html)
        self.filters["counted"] = _counted
        del self.globals["lipsum"]  # makes texts as long as one likes
        self._compiled: dict[str, Template] = {}

    def unknown(self, text: str, place: str) -> frozenset[str]:
        """Variables of a template that are not set in it. InputError, with place and line, where it is no template."""
        try:
            return frozenset(meta.find_undeclared_variables(self._tree(text, place)))
        except TemplateSyntaxError as error:
            raise InputError(f"{place}, line {error.lineno}: {error.message}", _MEND) from None

    def filled(self, text: str, place: str, values: Mapping[str, Any]) -> str:
        """A template filled. InputError, with place and line, whatever it raises, and where it does not end."""
        parts, signs = list[str](), 0
        try:
            if text not in self._compiled:
                self._compiled[text] = self.from_string(self._tree(text, place))
            for part in self._compiled[text].generate({**values, _STEPS: count(1)}):
                signs += len(part)
                if signs > MOST_SIGNS:
                    raise OverflowError(f"it makes more than {MOST_SIGNS:,} signs")
                parts.append(part)
        except InputError:
            raise
        except Exception as error:  # noqa: BLE001 - a template is the operator's code: whatever it raises is its fault
            told = str(error) or type(error).__name__
            raise InputError(f"{place}{_line(error)}: {told}", _MEND) from None
        return "".join(parts)

    def call(__self, __context: Context, __obj: Any, *args: Any, **kwargs: Any) -> Any:  # noqa: N805
        """As Jinja2 has it, and counted: macros may call themselves."""
        _step(__context)
        return super().call(__context, __obj, *args, **kwargs)

    def _tree(self, text: str, place: str) -> nodes.Template:
        """A template with its loops counted."""
        tree = self.parse(text)
        for part in tree.find_all((nodes.Include, nodes.Import, nodes.FromImport, nodes.Extends)):
            raise InputError(f"{place}, line {part.lineno}: a template takes in no others", "write the text into it")
        for loop in tree.find_all(nodes.For):
            loop.iter = nodes.Filter(loop.iter, "counted", [], [], None, None, lineno=loop.lineno)
        return tree


@pass_context
def _counted(context: Context, values: Iterable[Any]) -> Iterator[Any]:
    for value in values:
        _step(context)
        yield value


def _step(context: Context) -> None:
    if next(context[_STEPS]) > MOST_STEPS:
        raise OverflowError(f"loops and calls of more than {MOST_STEPS:,} turns")


def _line(error: Exception) -> str:
    """Where in a template it happened: Jinja2 puts the template's own lines into the traceback."""
    told = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == "<template>"]
    line = error.lineno if isinstance(error, TemplateSyntaxError) else told[-1] if told else None
    return "" if line is None else f", line {line}"
