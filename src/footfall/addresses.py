"""Addresses as they go over the wire, and the keys under which the list of whom not has them.

Mail to one mailbox may be spelled in many ways: capitals, forms of one sign, full-width letters and stops, xn--. What
the mailer writes to and what the list compares are made here, so that no spelling gets around the list.
"""

from __future__ import annotations

import contextlib

from footfall.persons import MARKS


def wired(address: str) -> str:
    """An address without spaces around, its domain in small ASCII letters (IDNA, RFC 3490); as it is with none."""
    name, at, domain = address.strip().rpartition("@")
    if at:
        with contextlib.suppress(UnicodeError):  # no domain
            domain = domain.encode("idna").decode("ascii").lower()
    return name + at + domain


def listed_as(who: str) -> str:
    """The key of an address or person on the list of whom not.

    An address: in small letters, its wired domain as people read it, each of which is of one wired domain only.
    A person, told by the mark of its key (u:, d:): as it is, for its identifier may hold an @, too.
    """
    if who.strip().startswith(MARKS):
        return who.strip()
    name, at, domain = wired(who).rpartition("@")
    if not at:
        return domain
    if "xn--" in domain:
        with contextlib.suppress(UnicodeError):  # not made by IDNA: only as it is wired
            domain = domain.encode("ascii").decode("idna")
    return name.lower() + at + domain


def spellings(who: str) -> tuple[str, str]:
    """The key on the list, and that of lists which were written when an address was only put in small letters."""
    bare = who.strip()
    return listed_as(who), bare.lower() if "@" in bare else bare
