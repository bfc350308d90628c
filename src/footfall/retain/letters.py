"""Letters: a message and its template in; subject, text and HTML out.

A template is ``NAME.LANGUAGE.txt``, whose first line is ``Subject: ...``, and, where wanted, ``NAME.LANGUAGE.html``.
The workspace's folder ``templates`` goes before those that come with Footfall; a language that is missing falls back to
English. Templates run in a sandbox; with a variable that nobody knows, and where one fails for an example, nothing is
planned for whom that concerns.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

import msgspec

from footfall.errors import InputError
from footfall.model import Letter, Message
from footfall.retain.sandbox import Sandbox
from footfall.texts import one_line

LANGUAGES = ("en", "zh-Hant", "zh-Hans")
VARIABLES: Mapping[str, str] = {
    "name": "the person's name, or ''",
    "customer_id": "the person's identifier in the log",
    "provider_id": "the shop, creator or channel it is about, or ''",
    "provider": "its name, else its identifier",
    "category": "its category, or ''",
    "shop": "the workspace's own name",
    "link": "where the message leads",
    "code": "the coupon's code, or ''",
    "offer": "the offer in words, or ''",
    "since": "the local day of the visit or purchase behind it, YYYY-MM-DD",
    "unsubscribe_url": "the link that ends all messages",
}


@dataclass(frozen=True, slots=True)
class Template:
    """A template in one language: its name, its two texts ("" without HTML), and where each stands."""

    name: str
    language: str
    text: str
    html: str
    place: str
    html_place: str


class Templates:
    """All templates of a workspace."""

    def __init__(self, folder: Path | None = None) -> None:
        """folder: the workspace's own; they go before those that come with Footfall."""
        self._folder = folder
        self._plain, self._html = Sandbox(html=False), Sandbox(html=True)
        self._texts: dict[str, tuple[str, str]] = {}

    @cached_property
    def _files(self) -> Mapping[str, Path | Traversable]:
        """File name -> the file."""
        own = self._folder.iterdir() if self._folder is not None and self._folder.is_dir() else iter(())
        shipped = files("footfall.retain").joinpath("templates").iterdir()
        return {file.name: file for file in (*shipped, *own) if file.name.endswith((".txt", ".html"))}

    def _read(self, name: str) -> tuple[str, str]:
        """Text and place of a file; InputError where it cannot be read."""
        if name not in self._texts:
            file = self._files[name]
            place = str(file) if isinstance(file, Path) and file.parent == self._folder else name
            try:
                self._texts[name] = (file.read_bytes().decode("utf-8-sig"), place)
            except UnicodeDecodeError as error:
                raise InputError(f"{place} is not UTF-8 (byte {error.start})", "save it as UTF-8") from None
            except OSError as error:
                raise InputError(f"{place} cannot be read: {error.strerror}", "check its permissions") from None
        return self._texts[name]

    def names(self) -> tuple[str, ...]:
        """Names of all templates."""
        return tuple(sorted({name.split(".")[0] for name in self._files if name.endswith(".txt")}))

    def template(self, name: str, language: str) -> Template:
        """A template in that language, else in English; InputError where there is none, naming what is there."""
        for wanted in (language, "en"):
            if f"{name}.{wanted}.txt" in self._files:
                text, place = self._read(f"{name}.{wanted}.txt")
                html, html_place = (
                    self._read(f"{name}.{wanted}.html") if f"{name}.{wanted}.html" in self._files else ("", "")
                )
                return Template(name, wanted, text, html, place, html_place)
        raise InputError(f"no template {name!r} in {language} or English", f"there are: {', '.join(self.names())}")

    def check(self, name: str) -> None:
        """Refuse a template that would fail when filled, in any of its languages; the error names file and line."""
        for language in LANGUAGES:
            for has_name in (True, False):
                self._check(name, language, has_name)

    def faults(self, name: str) -> dict[tuple[str, bool], str]:
        """(language, whether a person has a name) -> what fails when a template is filled for such persons, with file
        and line. InputError where there is none of that name."""
        if f"{name}.en.txt" not in self._files:
            self.template(name, "en")
        found: dict[tuple[str, bool], str] = {}
        for language in LANGUAGES:
            for has_name in (True, False):
                try:
                    self._check(name, language, has_name)
                except InputError as error:
                    found[language, has_name] = found.get((language, True), error.message)
        return found

    def _check(self, name: str, language: str, has_name: bool) -> None:
        """Fill a template with an example; InputError where that fails."""
        template = self.template(name, language)
        if not template.text.lower().startswith("subject:"):
            raise InputError(f"{template.place}: its first line is no subject", "begin it with `Subject: ...`")
        parts = [(template.text, template.place, self._plain), (template.html, template.html_place, self._html)]
        for text, place, sandbox in parts:
            unknown = sandbox.unknown(text, place) - VARIABLES.keys()
            if unknown:
                names = ", ".join(sorted(unknown))
                raise InputError(f"{place}: unknown variable {names}", f"known: {', '.join(VARIABLES)}")
            try:
                sandbox.filled(text, place, EXAMPLE if has_name else {**EXAMPLE, "name": ""})
            except InputError as error:
                whom = "" if has_name else ", for a person without a name"
                raise InputError(error.message + whom, error.way_out) from None

    def letter(self, message: Message) -> Letter:
        """The letter of a message; InputError names the template and what failed."""
        template = self.template(message.template, message.language)
        context = msgspec.json.decode(message.context or "{}", type=dict[str, Any])
        given = {name: context.get(name, "") for name in VARIABLES}
        filled = {name: one_line(value) if isinstance(value, str) else value for name, value in given.items()}
        text = self._plain.filled(template.text, template.place, filled)
        html = self._html.filled(template.html, template.html_place, filled) if template.html else ""
        subject, _, body = text.partition("\n")
        return Letter(
            message_id=message.message_id,
            address=message.address,
            subject=" ".join(subject.partition(":")[2].split()),
            text=body.lstrip("\n"),
            html=html,
            unsubscribe_url=str(filled["unsubscribe_url"]),
            context=message.context,
        )


EXAMPLE: Mapping[str, str] = {
    "name": "Ann",
    "customer_id": "ann",
    "provider_id": "shop-001",
    "provider": "Shop One",
    "category": "snacks",
    "shop": "The Shop",
    "link": "https://shop.example/shop-001",
    "code": "ABCD-EFGH-JKMN",
    "offer": "-10 %",
    "since": "2026-03-01",
    "unsubscribe_url": "https://shop.example/u/example",
}


def preview(templates: Templates, name: str, language: str) -> Letter:
    """A template filled with an example."""
    told, day = msgspec.json.encode(EXAMPLE).decode(), datetime(2026, 3, 2, tzinfo=UTC)
    return templates.letter(Message("", "", "", 0, 0, "", "ann@example.com", name, language, told, day, 0.0))
