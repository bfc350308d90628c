"""Letters: a message and its template in; subject, text and HTML out.

A template is ``NAME.LANGUAGE.txt``, whose first line is ``Subject: ...``, and, where wanted, ``NAME.LANGUAGE.html``.
The workspace's folder ``templates`` goes before those that come with Footfall; a language that is missing falls back to
English. Templates run in a sandbox; a variable that nobody knows, and what fails for an example, is refused before
anything is planned.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from importlib.resources import files
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

    @cached_property
    def _files(self) -> Mapping[str, tuple[str, str]]:
        """File name -> (text, place)."""
        found = {}
        for entry in files("footfall.retain").joinpath("templates").iterdir():
            if entry.name.endswith((".txt", ".html")):
                found[entry.name] = (entry.read_text(encoding="utf-8"), entry.name)
        for path in self._own():
            try:
                found[path.name] = (path.read_text(encoding="utf-8-sig"), str(path))
            except UnicodeDecodeError as error:
                raise InputError(f"{path} is not UTF-8 (byte {error.start})", "save it as UTF-8") from None
        return found

    def _own(self) -> Iterator[Path]:
        if self._folder is not None and self._folder.is_dir():
            yield from sorted(p for p in self._folder.iterdir() if p.suffix in (".txt", ".html"))

    def names(self) -> tuple[str, ...]:
        """Names of all templates."""
        return tuple(sorted({name.split(".")[0] for name in self._files if name.endswith(".txt")}))

    def template(self, name: str, language: str) -> Template:
        """A template in that language, else in English; InputError where there is none, naming what is there."""
        for wanted in (language, "en"):
            if f"{name}.{wanted}.txt" in self._files:
                text, place = self._files[f"{name}.{wanted}.txt"]
                html, html_place = self._files.get(f"{name}.{wanted}.html", ("", ""))
                return Template(name, wanted, text, html, place, html_place)
        raise InputError(f"no template {name!r} in {language} or English", f"there are: {', '.join(self.names())}")

    def check(self, name: str) -> None:
        """Refuse a template that would fail when filled, in any of its languages; the error names file and line."""
        self.template(name, "en" if f"{name}.en.txt" in self._files else LANGUAGES[0])
        for language in LANGUAGES:
            for suffix, sandbox in (("txt", self._plain), ("html", self._html)):
                if f"{name}.{language}.{suffix}" in self._files:
                    text, place = self._files[f"{name}.{language}.{suffix}"]
                    if suffix == "txt" and not text.lower().startswith("subject:"):
                        raise InputError(f"{place}: its first line is no subject", "begin it with `Subject: ...`")
                    _check(text, place, sandbox)

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


def _check(text: str, place: str, sandbox: Sandbox) -> None:
    unknown = sandbox.unknown(text, place) - VARIABLES.keys()
    if unknown:
        raise InputError(f"{place}: unknown variable {', '.join(sorted(unknown))}", f"known: {', '.join(VARIABLES)}")
    sandbox.filled(text, place, EXAMPLE)
    try:
        sandbox.filled(text, place, {**EXAMPLE, "name": ""})
    except InputError as error:
        raise InputError(f"{error.message}, for a person without a name", error.way_out) from None


def preview(templates: Templates, name: str, language: str) -> Letter:
    """A template filled with an example."""
    told, day = msgspec.json.encode(EXAMPLE).decode(), datetime(2026, 3, 2, tzinfo=UTC)
    return templates.letter(Message("", "", "", 0, 0, "", "ann@example.com", name, language, told, day, 0.0))
