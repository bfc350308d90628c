"""footfall.toml: what is refused, and with which way out."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from footfall import config
from footfall.errors import ConfigError, WorkspaceError


@pytest.mark.parametrize("zone", ["UTC", "Europe/Paris", "Asia/Taipei", "America/Argentina/Buenos_Aires"])
def test_zones_of_the_iana_list(zone: str) -> None:
    assert config.check_zone(zone).key == zone


@pytest.mark.parametrize(
    ("zone", "way_out"),
    [
        ("Paris", "Europe/Paris"),
        ("europe/TAIPEI", "Asia/Taipei"),
        ("posix/Europe/Paris", "Europe/Paris"),  # folders of the zone database, whose files are no zones' names
        ("right/Asia/Taipei", "Asia/Taipei"),  # counts leap seconds
        ("Europe", "Europe/"),
        ("", "IANA name"),
        ("../Europe/Paris", "Europe/Paris"),
        ("Mars/Olympus Mons", "IANA name"),
        ("Europe/Par\0is", "IANA name"),
    ],
)
def test_other_zones_are_refused_with_near_names(zone: str, way_out: str) -> None:
    with pytest.raises(ConfigError) as refused:
        config.check_zone(zone)
    assert way_out in (refused.value.way_out or "")


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("[serve]\nprot = 1", "'prot' in [serve]"),
        ("[srve]\nport = 1", "[srve]"),
        ("[journeys.cart]\naudience = 'cart_abandoned'\nstepz = []", "'stepz' in [journeys.cart]"),
        ("[plan]\ninertia = 'much'", "inertia"),
        ("[plan]\ninertia = -1", "inertia"),
        ("[workspace]\nrecipe = 'shop'", "'shop'"),
        ("[value]\nsegment = []", "segment"),
        ("[value]\nsegment = ['channel', 'channel']", "segment"),
        ("[value]\nsegment = ['shoe_size']", "'shoe_size'"),
        ("[retain]\nlink = 'shop.example/{provider_id}'", "[retain] link"),
        ("[retain]\nlink = 'javascript:alert(1)'", "[retain] link"),
        ("[retain]\nlink = 'https://'", "[retain] link"),
        ("[retain]\nlink = 'https://shop.example/a b'", "[retain] link"),
        ("[retain]\npublic_url = 'ftp://shop.example'", "[retain] public_url"),
        ("[plan\ninertia = 1", "TOML"),
        ("[plan]\ninertia = 1\ninertia = 2", "TOML"),
    ],
)
def test_what_is_wrong_is_named(text: str, named: str) -> None:
    with pytest.raises(ConfigError) as refused:
        config.parse(text, "footfall.toml")
    assert named in refused.value.message
    assert "footfall.toml" in refused.value.message
    assert refused.value.way_out


@pytest.mark.parametrize("link", ["", "http://127.0.0.1:8420/x?p={provider_id}", "https://{provider_id}.shop.example/"])
def test_letters_lead_to_addresses_of_the_web(link: str) -> None:
    assert config.parse(f"[retain]\nlink = {link!r}\npublic_url = {link!r}").retain.link == link


def test_a_newer_workspace_and_none_at_all(tmp_path: Path) -> None:
    with pytest.raises(WorkspaceError, match="format 99"):
        config.parse("[workspace]\nformat = 99")
    with pytest.raises(WorkspaceError, match="no workspace"):
        config.load(tmp_path)
    (tmp_path / config.FILE_NAME).write_bytes(b"\xff\xfe[plan]")
    with pytest.raises(ConfigError, match="is not UTF-8"):
        config.load(tmp_path)


def test_what_the_template_puts_in_force_is_read_back(tmp_path: Path) -> None:
    chosen: dict[str, dict[str, object]] = {
        "workspace": {"timezone": "Asia/Taipei", "currency": "TWD"},
        "value": {"segment": ["channel", "device"]},
        "plan": {"inertia": 1e-07},
    }
    (tmp_path / config.FILE_NAME).write_text(config.template(chosen), encoding="utf-8-sig")
    read = config.load(tmp_path)
    assert (read.workspace.timezone, read.workspace.currency) == ("Asia/Taipei", "TWD")
    assert tuple(read.value.segment) == ("channel", "device")
    assert read.plan.inertia == 1e-07
    assert read.serve == config.Config().serve


STEPS = '[[journeys.carts.steps]]\ntemplate = "cart"\n'


@pytest.mark.parametrize(
    ("text", "named", "allowed"),
    [
        (f'[journeys.carts]\naudience = "a"\nholdout = 10\n{STEPS}', "[journeys.carts] holdout = 10", "0 and below 1."),
        (
            f'[journeys.x]\naudience = "a"\nexit = ["buyed"]\n{STEPS.replace("carts", "x")}',
            '[journeys.x] exit no. 1 = "buyed"',
            "one of: bought, left, unsubscribed.",
        ),
        (
            f'[journeys.carts]\naudience = "a"\n{STEPS}wait = "2 days"',
            '[[journeys.carts.steps]] no. 1 wait = "2 days"',
            "3d, 12h, 30m",
        ),
        ('[journeys.x]\naudience = "a"', "[journeys.x] has no steps", "a list in [ ] of at least 1"),
        (
            '[channels.a]\nkind = "file"\n[channels.b]\nkind = "filee"',
            '[channels.b] kind = "filee"',
            "one of: file, robot, smtp, webhook.",
        ),
        ('[workspace]\ncurrency = "EURO"', '[workspace] currency = "EURO"', "such as EUR"),
        ("[retain]\nper_day = 1.5", "[retain] per_day = 1.5", "a whole number of at least 0."),
        ('[record]\nmax_amount = "x"', '[record] max_amount = "x"', "a number above 0 and at most 10000000000000."),
        (
            "[collect.sources.a]\n[collect.sources.b]\nfixed = { a = 1 }",
            "[collect.sources.b.fixed] a = 1",
            "a text in quotes",
        ),
        ('[retain]\nquiet = "9-21"', '[retain] quiet = "9-21"', "HH:MM-HH:MM"),
        ("journeys = 3", "journeys = 3", "a section of settings"),
    ],
)
def test_what_is_not_allowed_is_told_with_what_is(text: str, named: str, allowed: str) -> None:
    with pytest.raises(ConfigError) as found:
        config.parse(text)
    assert found.value.message.startswith(f"footfall.toml: {named}")
    assert allowed in found.value.way_out and not set("^\\|") & set(found.value.way_out)


def test_no_setting_is_told_by_an_expression() -> None:
    """Whatever setting is wrong: its section and key stand in the message, and no pattern in the way out."""
    for section, key, _, _ in config.settings():
        text = f"[{section}]\n{key} = [[1e99]]\n"
        with pytest.raises(ConfigError) as found:
            config.parse(text)
        named = f"[{section}] {key}" if f"[{section}] has no" not in found.value.message else section
        assert named in found.value.message and "^" not in found.value.way_out


@pytest.mark.parametrize(
    "written", ["nan", "-inf", "1979-05-27", "07:32:00", "1979-05-27T07:32:00", '"1979-05-27"', '[1,-inf,"x"]']
)
def test_a_value_that_is_refused_is_told_as_it_was_written(written: str) -> None:
    with pytest.raises(ConfigError, match=rf"half_life_days = {re.escape(written)} is not allowed"):
        config.parse(f"[value]\nhalf_life_days = {written}\n")


def test_a_long_value_is_told_by_its_beginning() -> None:
    with pytest.raises(ConfigError) as refused:
        config.parse(f'[value]\nhalf_life_days = "{"y" * 300}"\n')
    assert 'half_life_days = "' + "y" * 79 + " is not allowed" in refused.value.message
