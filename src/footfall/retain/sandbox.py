"""What templates run in: Jinja2's sandbox, with an end to loops, calls, and all that is taken up and made on the way.

What a template reads and makes, on the way too, costs as many signs as it is long; a text may cost so many. What makes
much out of little is weighed before it is done: for ``*``, methods of texts and filters, lengths and numbers given are
multiplied. What would hide how much it makes is not there: formats (``%``, ``format``), filters beyond ``FILTERS``,
attributes of anything but texts and loops, namespaces.
"""

from __future__ import annotations

import traceback
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from jinja2 import StrictUndefined, Template, TemplateSyntaxError, meta, nodes, pass_context
from jinja2.exceptions import TemplateAssertionError
from jinja2.runtime import Context, LoopContext
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.visitor import NodeTransformer

from footfall.errors import InputError

MOST_STEPS = 10_000  # turns of loops and calls while one text is filled
MOST_SIGNS = 1_000_000  # of a filled text, and of what is read and made to fill it
MOST_PARTS = 10_000  # of a template: tags, names, operators, values
MOST_NUMBER = 10**18  # that is reckoned with
MOST_POWER = 64
FILTERS = (
    "abs", "capitalize", "count", "d", "default", "dictsort", "e", "escape", "first", "float", "forceescape", "int",
    "items", "join", "last", "length", "list", "lower", "max", "min", "replace", "reverse", "round", "safe", "sort",
    "string", "title", "trim", "truncate", "unique", "upper", "urlencode", "wordcount",
)  # fmt: skip
_NO_METHODS = ("encode", "format", "format_map", "striptags")  # widths within a text; times that go with its square
_INNER = ("_loop_vars", "_block_vars")  # what Jinja2 itself adds to a call
_MEND = "mend the template; `footfall outbox preview` shows it filled"


class Sandbox(ImmutableSandboxedEnvironment):
    """Plain texts or HTML; what is not known is an error, and so is what does not end. For one thread."""

    intercepted_binops = frozenset(ImmutableSandboxedEnvironment.default_binop_table)

    def __init__(self, html: bool) -> None:
        super().__init__(undefined=StrictUndefined, autoescape=html, keep_trailing_newline=not html)
        own = {"counted": self._counted, "spent": self._spent, "weighed": self._weighed}
        self.filters = {name: self.filters[name] for name in FILTERS} | own
        self.globals = {"range": self.globals["range"]}
        self._compiled: dict[str, Template] = {}
        self._steps = self._signs = 0

    def unknown(self, text: str, place: str) -> frozenset[str]:
        """Variables of a template that are not set in it. InputError, with place and line, where it is no template."""
        with _telling(place):
            return frozenset(meta.find_undeclared_variables(self._tree(text, place)))

    def filled(self, text: str, place: str, values: Mapping[str, Any]) -> str:
        """A template filled. InputError, with place and line, whatever it raises, and where it does not end."""
        self._steps = self._signs = 0
        with _telling(place):
            if text not in self._compiled:
                self._compiled[text] = self.from_string(self._tree(text, place))
            return self.concat(self._compiled[text].generate(values))

    def _tree(self, text: str, place: str) -> nodes.Template:
        """A template with its loops counted, and with what it reads and makes spent."""
        tree = self.parse(text)
        for part in tree.find_all((nodes.Include, nodes.Import, nodes.FromImport, nodes.Extends)):
            raise InputError(f"{place}, line {part.lineno}: a template takes in no others", "write the text into it")
        if sum(1 for _ in tree.find_all(nodes.Node)) > MOST_PARTS:
            raise InputError(f"{place}: more than {MOST_PARTS:,} tags, names and values", "write a shorter template")
        _Bounds().visit(tree)
        tree.set_environment(self)
        return tree

    # ------------------------------------------------------------ what Jinja2 asks

    def call(__self, __context: Context, __obj: Any, *args: Any, **kwargs: Any) -> Any:  # noqa: N805
        """As Jinja2 has it, and counted: macros may call themselves."""
        __self._step()
        of = getattr(__obj, "__self__", None)
        if isinstance(of, str):
            __self._weigh(of, *args, *(value for name, value in kwargs.items() if name not in _INNER))
        return __self._spent(None, super().call(__context, __obj, *args, **kwargs))

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        """As Jinja2 has it, within bounds."""
        if operator == "%" and isinstance(left, str):
            raise TypeError("% fills no text here; join its parts by ~")
        whole = [abs(number) for number in (left, right) if isinstance(number, int)]
        if max(whole, default=0) > MOST_NUMBER or (operator == "**" and len(whole) == 2 and right > MOST_POWER):
            raise OverflowError(f"numbers beyond {MOST_NUMBER:,}, or powers beyond {MOST_POWER}")
        if operator == "*" and not (isinstance(left, int | float) and isinstance(right, int | float)):
            self._weigh(*((right, left) if isinstance(left, int) else (left, right)))
        return self._spent(None, super().call_binop(context, operator, left, right))

    def concat(self, parts: Iterable[str]) -> str:
        """The text of these parts: the whole, a macro's, a block's."""
        kept = []
        for part in parts:
            self._spend(len(part))
            kept.append(part)
        return "".join(kept)

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        """Of texts and of loops only."""
        known = isinstance(obj, LoopContext) or (isinstance(obj, str) and attr not in _NO_METHODS)
        return known and super().is_safe_attribute(obj, attr, value)

    def wrap_str_format(self, value: Any) -> None:
        """``format`` is no method here; see ``is_safe_attribute``."""

    # ------------------------------------------------------------ what it costs

    @pass_context  # else Jinja2 would fill in what is constant while it reads a template, and nothing would be spent
    def _counted(self, context: Context, values: Iterable[Any]) -> Iterator[Any]:
        for value in values:
            self._step()
            yield value

    @pass_context
    def _spent(self, context: Context | None, value: Any) -> Any:
        self._spend(_size(value))
        return value

    @pass_context
    def _weighed(self, context: Context, value: Any, name: str, *args: Any, **kwargs: Any) -> Any:
        """The filter of that name, all of what it gives at once."""
        self._weigh(value, *args, *kwargs.values())
        found = self.call_filter(name, value, args, kwargs, context)
        return self._spent(None, list(found) if isinstance(found, Iterator) else found)

    def _weigh(self, value: Any, *others: Any) -> None:
        """Spend the most that may come of it: the length of a value, for each sign or unit of the others."""
        self._spend(_size(value) * sum(abs(one) if isinstance(one, int) else _size(one) for one in others))

    def _spend(self, signs: int) -> None:
        self._signs += signs
        if self._signs > MOST_SIGNS:
            raise OverflowError(f"it makes more than {MOST_SIGNS:,} signs")

    def _step(self) -> None:
        self._steps += 1
        if self._steps > MOST_STEPS:
            raise OverflowError(f"loops and calls of more than {MOST_STEPS:,} turns")


class _Bounds(NodeTransformer):
    """Puts the filters of the sandbox around what a template reads and makes."""

    def visit_Name(self, node: nodes.Name) -> nodes.Node:  # noqa: N802
        return _around(node, "spent") if node.ctx == "load" else node

    def visit_Concat(self, node: nodes.Concat) -> nodes.Node:  # noqa: N802
        self.generic_visit(node)
        return _around(node, "spent")

    def visit_For(self, node: nodes.For) -> nodes.Node:  # noqa: N802
        self.generic_visit(node)
        node.iter = _around(node.iter, "counted")
        return node

    def visit_Filter(self, node: nodes.Filter) -> nodes.Node:  # noqa: N802
        self.generic_visit(node)
        if node.name not in FILTERS:
            raise TemplateAssertionError(f"No filter named {node.name!r} in letters", node.lineno)
        node.args.insert(0, nodes.Const(node.name))
        node.name = "weighed"
        return node


def _around(node: nodes.Node, name: str) -> nodes.Filter:
    return nodes.Filter(node, name, [], [], None, None, lineno=node.lineno)


def _size(value: Any) -> int:
    """How many signs a value stands for, all that is in it included; counted no further than anybody may spend."""
    total, left = 0, [value]
    while left and total <= MOST_SIGNS:
        one = left.pop()
        total += len(one) or 1 if isinstance(one, str | range) else 1
        if isinstance(one, dict):
            left += [*one.keys(), *one.values()]
        elif isinstance(one, list | tuple):
            left += one
    return total


@contextmanager
def _telling(place: str) -> Iterator[None]:
    """Whatever a template raises, as InputError with place and line."""
    try:
        yield
    except InputError:
        raise
    except Exception as error:  # noqa: BLE001 - a template is the operator's code: whatever it raises is its fault
        told = error.message if isinstance(error, TemplateSyntaxError) else str(error)
        raise InputError(f"{place}{_line(error)}: {told or type(error).__name__}", _MEND) from None


def _line(error: Exception) -> str:
    """Where in a template it happened: Jinja2 puts the template's own lines into the traceback."""
    told = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == "<template>"]
    line = error.lineno if isinstance(error, TemplateSyntaxError) else told[-1] if told else None
    return "" if line is None else f", line {line}"
