"""Templates: what fails when filled is refused before anything is planned, and none goes on for ever."""

from __future__ import annotations

import resource
import time
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from footfall import make_workspace
from footfall.app import messaging
from footfall.errors import InputError
from footfall.retain.letters import LANGUAGES, Templates, preview
from footfall.testing.outbox import message


def templates(tmp_path: Path, body: str, name: str = "own.en.txt") -> Templates:
    (tmp_path / "own.en.txt").write_text("Subject: Hello\n\nHello", encoding="utf-8")
    head = "" if name.endswith(".html") else "Subject: Hello\n\n"
    (tmp_path / name).write_text(head + body, encoding="utf-8")
    return Templates(tmp_path)


@pytest.mark.parametrize("name", ["own.en.txt", "own.zh-Hant.txt", "own.en.html"])
@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("{{ name.foo }}", "no attribute 'foo'"),
        ("{% include 'footer.txt' %}", "takes in no others"),
        ("{% extends 'base.txt' %}", "takes in no others"),
        ("{{ name|nosuch }}", "No filter named 'nosuch'"),
        ("{% if name is nosuch %}{% endif %}", "No test named 'nosuch'"),
        ("{{ name + 1 }}", "str"),
        ("{{ name }", "unexpected '}'"),
        ("{{ 1 / (name|length) }}", "division by zero, for a person without a name"),
        ("{{ name.split()[0] }}", "without a name"),
        ("{{ lipsum(n=1000000000) }}", "unknown variable lipsum"),
        ("{{ _steps }}", "unknown variable _steps"),
    ],
)
def test_what_fails_when_filled_is_refused_with_file_and_line(tmp_path: Path, name: str, line: str, told: str) -> None:
    known = templates(tmp_path, f"first\n{line}\n", name)
    with pytest.raises(InputError, match=told) as refused:
        known.check("own")
    number = 2 if name.endswith(".html") else 4
    place = str(tmp_path / name)
    assert f"{place}, line {number}" in refused.value.message or f"{place}: unknown" in refused.value.message
    assert refused.value.way_out


@pytest.mark.parametrize(
    "endless",
    [
        "{% for i in range(10**9) %}{% endfor %}",
        "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}",
        "{% for a in offer * 9999 %}{% for b in offer * 9999 %}{{ a }}{% endfor %}{% endfor %}",
        "{% macro f(n) %}{% if n %}{{ f(n - 1) }}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(30) }}",
        "{% for i in ['ab'] recursive %}{{ loop(['ab', 'ab']) if loop.depth < 30 }}{% endfor %}",
        "{% for i in range(5000) %}{{ 'x' * 100000 }}{% endfor %}",
    ],
)
def test_what_does_not_end_is_refused(tmp_path: Path, endless: str) -> None:
    known = templates(tmp_path, endless)
    began = time.process_time()
    with pytest.raises(InputError, match=r": (Range too big|loops and calls of more than|it makes more than)"):
        known.check("own")
    with pytest.raises(InputError, match=r"own.en.txt"):
        preview(known, "own", "en")  # nor does one get by that was changed after the check
    assert time.process_time() - began < 5.0


DOUBLED = "{% set x = 'abcdefgh' %}" + "{% set x = x ~ x %}" * 60 + "{{ x }}"
CAUGHT = "{% set x = 'abcdefgh' %}" + "{% set x %}{{ x }}{{ x }}{% endset %}" * 60 + "{{ x }}"
NESTED = "{% set x = [1] %}" + "{% set x = [x, x] %}" * 60 + "{{ x }}"
LIKE = "{% set x = (1,) %}{% set y = (1,) %}" + "{% set x = (x, x) %}{% set y = (y, y) %}" * 60 + "{{ x == y }}"
ECHO = "{% macro echo(x) %}{{ x }}{{ x }}{% endmacro %}{{ " + "echo(" * 40 + "name" + ")" * 40 + " }}"
QUOTED = "{% set x = '\\\\' %}" + "{% set x = [x]|string %}" * 60 + "{{ x }}"


@pytest.mark.parametrize("name", ["own.en.txt", "own.en.html"])
@pytest.mark.parametrize(
    "large",
    [
        "{{ [1]|slice(3000000000)|list }}",
        "{{ [1]|batch(10**9, 0)|list }}",
        "{{ name|center(10**9) }}",
        "{{ name|indent(10**9, true) }}",
        "{{ (name * 90000)|wordwrap(1) }}",
        "{{ '%1000000000d'|format(1) }}",
        "{{ '%1000000000d' % 1 }}",
        "{{ '{:1000000000d}'.format(1) }}",
        "{{ 9**(9**9) }}",
        "{{ 10**18 * 10**18 * 10**18 }}",
        "{{ 'x' * 200000000 }}",
        "{{ 200000000 * [name] }}",
        "{{ name.center(10**9) }}",
        "{{ name.ljust(width=10**9) }}",
        "{{ ('a' * 1000)|replace('a', 'x' * 100000) }}",
        "{{ ('a' * 1000).replace('a', 'x' * 100000) }}",
        "{{ range(99999)|join('x' * 99999) }}",
        "{{ 5|round(-1000000000) }}",
        "{{ ('a' * 300000).rfind('b' ~ 'a' * 150000) }}",  # nothing large, but some 10**10 comparisons
        "{{ ('1' * 400000)|int(0, 16) // 7 }}",
        "{% set a %}{% for i in range(9999) %}" + "y" * 9999 + "{% endfor %}{% endset %}",
        DOUBLED,
        CAUGHT,
        NESTED,
        LIKE,
        ECHO,
        QUOTED,
        "{{ " + "(" * 20000 + "1" + ")" * 20000 + " }}",
        "{{ " + "name ~ " * 20000 + "1 }}",
        "{{ " + "9" * 5000 + " }}",
    ],
)
def test_what_grows_without_end_is_refused_before_it_does(tmp_path: Path, name: str, large: str) -> None:
    known = templates(tmp_path, large, name)
    began, most = time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(InputError, match=name):
        known.check("own")
    with pytest.raises(InputError, match=name):
        preview(known, "own", "en")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - most < 100_000  # KiB
    assert time.process_time() - began < 20.0  # without a bound, hours


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("{{ name|upper|replace('N', 'm')|truncate(80) }}", "Amm"),
        ("{{ name.split('n')|join(', ') }}", "A, , "),
        ("{{ ['b', 'a']|sort|join('/') }}{{ [3, 5]|max }}", "a/b5"),
        ("{{ '=' * 20 }} {{ 2 ** 10 % 1000 }} {{ 7.5|round(1) }}", "=" * 20 + " 24 7.5"),
        ("{% filter upper %}{{ name }} b{% endfilter %}", "ANN B"),
        ("{% set x %}{{ name }}!{% endset %}{{ x ~ x }}", "Ann!Ann!"),
        ("{% macro b(x, y='-') %}{{ x }}{{ y }}{{ caller() }}{% endmacro %}{% call b(name) %}z{% endcall %}", "Ann-z"),
        (
            "{% set d = {'k': name} %}{{ d.k }}{{ d['k'] }}{% for a, b in d|items %}{{ a }}{{ b }}{% endfor %}",
            "AnnAnnkAnn",
        ),
        ("{{ name if name is string else 'you' }}{{ code[:4] }}{{ ''|default('-', true) }}", "AnnABCD-"),
    ],
)
def test_what_letters_need_is_there(tmp_path: Path, body: str, expected: str) -> None:
    """Expected as Jinja2's documentation of filters, methods and blocks has it."""
    known = templates(tmp_path, body)
    known.check("own")
    assert preview(known, "own", "en").text == expected


def test_loops_go_as_jinja_has_them(tmp_path: Path) -> None:
    body = "{% for a, b in [(1, 2), (3, 4)] if a %}{{ loop.index }}/{{ loop.length }}:{{ a + b }}{{ ', ' if not loop.last }}{% else %}none{% endfor %}"  # noqa: E501
    known = templates(tmp_path, body + "{% for i in [] %}{% else %}; none{% endfor %}")
    known.check("own")
    assert preview(known, "own", "en").text == "1/2:3, 2/2:7; none"


def test_all_that_come_with_footfall_can_be_filled() -> None:
    known = Templates()
    for name in known.names():
        known.check(name)
        assert all(preview(known, name, language).subject for language in LANGUAGES)


def test_what_goes_into_a_link_cannot_change_where_it_leads(tmp_path: Path) -> None:
    """RFC 3986, sections 2.1 and 2.2: what delimits parts of an address is percent-encoded, beyond ASCII as UTF-8."""
    link = "https://shop.example/{provider_id}?from=letter&shop={provider_id}"
    here = make_workspace(tmp_path / "shop", {"retain": {"link": link}})
    told = msgspec.json.encode({"provider_id": "a&b/ c?é#%7"}).decode()
    letter = messaging.letter_shown(here, replace(message("u:ann"), context=told))
    encoded = "a%26b%2F%20c%3F%C3%A9%23%257"
    expected = f"https://shop.example/{encoded}?from=letter&shop={encoded}"
    assert expected in letter.text
    assert msgspec.json.decode(letter.context)["provider_id"] == "a&b/ c?é#%7"
