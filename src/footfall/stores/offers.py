"""Coupons and gifts in the state's database (``ports.Offers``): SQLite, or PostgreSQL for many workers.

A use takes its place in the counts of its offer by one conditional update within a transaction that no other writer
shares, so that neither number nor money goes above its ceiling, in whatever order uses are reserved, committed,
released and expired, and in however many processes.
"""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import sqlalchemy as sa

from footfall.errors import InputError
from footfall.model import Coupon, Offer, OfferCount, Redemption, Refusal
from footfall.stores import joins, schema
from footfall.stores.database import OnDatabase, naive
from footfall.stores.schema import HELD, coupons, offer_counts, redemptions

_FEW = 500  # values of one condition
_SPACE = uuid.UUID("5e6f4fb2-6d51-4f0c-9d7e-2f6c1f9a7d10")  # of redemption ids: one key, one id


class SqlOffers(OnDatabase):
    """``ports.Offers`` on SQLAlchemy; opening it brings the schema up to date."""

    def issue(self, offer: Offer, person: str, code: str, now: datetime) -> Coupon:
        """Give ``person`` the code, once for an offer and a person: the coupon that they have already, while it holds.

        A shared code is everybody's: nothing is kept of who was told it. InputError where the code is another person's
        already, where the person has used the offer as often as it may be, and where as many codes are out as may be
        redeemed.
        """
        if offer.code:
            return Coupon(offer.code, offer.name, person, now, None)
        ends = naive(now + timedelta(days=offer.valid_days))
        mine = (coupons.c.offer == offer.name) & (coupons.c.person == person)
        with self._writing() as connection:
            if self._uses(connection, offer, person=person) >= offer.per_person:
                raise InputError(f"{person} has used {offer.name} as often as it may be", "leave them out")
            known = connection.execute(sa.select(coupons).where(mine)).first()
            used = known is not None and self._uses(connection, offer, code=known.code) > 0
            over = known is not None and known.expires_at is not None and known.expires_at <= naive(now)
            if known is not None and not used and not over:
                return _coupon(known)
            given = connection.execute(sa.select(offer_counts.c.issued).where(offer_counts.c.offer == offer.name))
            freed = 1 if known is not None and not used else 0  # one that nobody used, and nobody can any more
            if offer.count is not None and (given.scalar() or 0) - freed >= offer.count:
                raise InputError(
                    f"{offer.name}: all {offer.count} codes have been given out",
                    "raise [offers] count, or leave it out",
                )
            if connection.execute(sa.select(coupons.c.code).where(coupons.c.code == code)).first() is not None:
                raise InputError(f"code {code!r} was issued before", "draw another")
            row = {"code": code, "offer": offer.name, "person": person, "issued_at": naive(now), "expires_at": ends}
            change = coupons.insert() if known is None else coupons.update().where(mine)
            connection.execute(change.values(**row))
            self._count(connection, offer.name, issued=1 - freed)
        return Coupon(code, offer.name, person, now, ends.replace(tzinfo=UTC))

    def join(self, ids: Mapping[str, str], shown: str) -> None:
        """As ``ports.Offers.join``."""
        with self._writing() as connection:
            joins.join_offers(connection, ids, shown)

    def owner(self, code: str) -> str:
        """Whose own code it is, "" where it is nobody's."""
        with self._reading() as connection:
            return str(connection.execute(sa.select(coupons.c.person).where(coupons.c.code == code)).scalar() or "")

    def reserve(
        self,
        offers: Mapping[str, Offer],
        code: str,
        person: str,
        order_id: str,
        order_minor: int,
        provider_id: str,
        key: str,
        now: datetime,
        hold_s: float,
    ) -> Redemption | Refusal:
        """Hold a use for an order, if ceilings in number and money leave room; the same ``key`` gives the same answer,
        and where that use was released or has expired, holds one anew.

        InputError without a person or a key, and for a key that was used for another code, person or order.
        """
        if not person or not key or order_minor < 0:
            raise InputError(
                f"person {person!r}, key {key!r}, order of {order_minor}", "name a person, a key, an order of 0 or more"
            )
        with self._writing() as connection:
            self._expire(connection, now)
            known = connection.execute(sa.select(redemptions).where(redemptions.c.key == key)).first()
            if known is not None:
                if (known.code, known.person, known.order_id) != (code, person, order_id):
                    raise InputError(f"key {key!r} was used for another redemption", "give each redemption its own key")
                if known.status in HELD:
                    return _redemption(known)
            found = self._offer_of(connection, offers, code, person, now)
            if isinstance(found, Refusal):
                return found
            off = off_minor(found, order_minor)
            refused = _unfit(found, order_minor, provider_id) or self._taken(connection, found, code, person)
            refused = refused or self._hold(connection, found, off)
            if refused is not None:
                return refused
            row = {
                "redemption_id": str(uuid.uuid5(_SPACE, key)),
                "key": key,
                "offer": found.name,
                "code": code,
                "person": person,
                "order_id": order_id,
                "off_minor": off,
                "status": "reserved",
                "reserved_at": naive(now),
                "expires_at": naive(now + timedelta(seconds=hold_s)),
                "settled_at": None,
            }
            mine = redemptions.c.key == key
            change = redemptions.insert() if known is None else redemptions.update().where(mine)
            connection.execute(change.values(**row))
            made = connection.execute(sa.select(redemptions).where(redemptions.c.key == key)).one()
        return _redemption(made)

    def commit(self, redemption_id: str, now: datetime) -> Redemption | Refusal:
        """Make a reserved use final; harmless where it is. Refused where it was released, or has expired."""
        with self._writing() as connection:
            row = self._row(connection, redemption_id)
            if row is None:
                return Refusal("unknown", f"there is no redemption {redemption_id}")
            if row.status == "reserved":
                self._settle(connection, row, "committed", now)
            elif row.status != "committed":
                return Refusal("expired", f"redemption {redemption_id} was {row.status}: reserve it anew")
            return _redemption(self._row(connection, redemption_id))

    def release(self, redemption_id: str, now: datetime) -> Redemption | Refusal:
        """Give a reserved use back; harmless where that is done. A committed one is refused."""
        with self._writing() as connection:
            row = self._row(connection, redemption_id)
            if row is None:
                return Refusal("unknown", f"there is no redemption {redemption_id}")
            if row.status == "committed":
                return Refusal("used", f"redemption {redemption_id} is committed: it cannot be given back")
            if row.status == "reserved":
                self._settle(connection, row, "released", now)
            return _redemption(self._row(connection, redemption_id))

    def expire(self, now: datetime) -> int:
        """Give back all reservations whose time is over; how many."""
        with self._writing() as connection:
            return self._expire(connection, now)

    def counts(self) -> tuple[OfferCount, ...]:
        """What became of each offer, by name."""
        with self._reading() as connection:
            rows = connection.execute(sa.select(offer_counts).order_by(offer_counts.c.offer)).all()
        return tuple(OfferCount(*row) for row in rows)

    def spent(self, offer: str, within: Mapping[str, tuple[datetime, datetime]] | None = None) -> Mapping[str, int]:
        """person -> money of an offer's committed uses, minor units; ``within``: of these persons, each from when to
        when the use was reserved (UTC, without zone)."""
        c = redemptions.c
        query = sa.select(c.person, c.reserved_at, c.off_minor).where((c.offer == offer) & (c.status == "committed"))
        found: Counter[str] = Counter()
        with self._reading() as connection:
            for person, at, off in connection.execute(query):
                after, until = (at, at) if within is None else within.get(person, (datetime.max, datetime.min))
                if after <= at <= until:
                    found[person] += int(off)
        return found

    def forget(self, people: Sequence[str]) -> int:
        """Make these persons' coupons and their uses nobody's; how many. Codes, money and all counts stay.

        Each gets a name of its own that tells nothing, and a use neither its order nor its key.
        """
        gone, known = 0, schema.spelled(people)
        with self._writing() as connection:
            for at in range(0, len(known), _FEW):
                few = known[at : at + _FEW]
                for row in connection.execute(sa.select(coupons.c.code).where(coupons.c.person.in_(few))).all():
                    change = coupons.update().where(coupons.c.code == row.code)
                    gone += connection.execute(change.values(person=_nobody())).rowcount
                theirs = sa.select(redemptions.c.redemption_id).where(redemptions.c.person.in_(few))
                for row in connection.execute(theirs).all():
                    change = redemptions.update().where(redemptions.c.redemption_id == row.redemption_id)
                    gone += connection.execute(change.values(person=_nobody(), key=_nobody(), order_id="")).rowcount
        with schema.readable_errors(self._place):
            schema.scrub(self._engine)
        return gone

    # ------------------------------------------------------------ inside

    def _offer_of(
        self, connection: sa.Connection, offers: Mapping[str, Offer], code: str, person: str, now: datetime
    ) -> Offer | Refusal:
        """The offer behind a code, if the person may use it now."""
        for offer in offers.values():
            if offer.code and offer.code == code:
                return offer
        row = connection.execute(sa.select(coupons).where(coupons.c.code == code)).first()
        if row is None or row.offer not in offers:
            return Refusal("unknown", f"there is no coupon {code!r}")
        if row.person and row.person != person:
            return Refusal("not yours", f"coupon {code!r} was given to somebody else")
        if row.expires_at is not None and row.expires_at <= naive(now):
            return Refusal("expired", f"coupon {code!r} held until {row.expires_at:%Y-%m-%d %H:%M} UTC")
        return offers[row.offer]

    def _taken(self, connection: sa.Connection, offer: Offer, code: str, person: str) -> Refusal | None:
        """A code of one's own serves once; every offer at most so often a person."""
        if not offer.code and self._uses(connection, offer, code=code):
            return Refusal("used", f"coupon {code!r} has been used")
        if self._uses(connection, offer, person=person) >= offer.per_person:
            return Refusal("too often", f"{offer.name} may be used {offer.per_person} times by one person")
        return None

    def _uses(self, connection: sa.Connection, offer: Offer, **of: str) -> int:
        """Uses of an offer that hold their place, of one code or one person."""
        held = redemptions.c.status.in_(HELD) & (redemptions.c.offer == offer.name)
        for name, value in of.items():
            held &= redemptions.c[name] == value
        return int(connection.execute(sa.select(sa.func.count()).select_from(redemptions).where(held)).scalar_one())

    def _hold(self, connection: sa.Connection, offer: Offer, off: int) -> Refusal | None:
        """Take a place in the counts, if the ceilings leave one."""
        self._count(connection, offer.name)
        c = offer_counts.c
        room = c.offer == offer.name
        if offer.count is not None:
            room &= c.reserved + c.committed + 1 <= offer.count
        if offer.money_minor is not None:
            room &= c.reserved_minor + c.committed_minor + off <= offer.money_minor
        change = offer_counts.update().where(room)
        done = connection.execute(change.values(reserved=c.reserved + 1, reserved_minor=c.reserved_minor + off))
        if done.rowcount == 1:
            return None
        return Refusal("sold out", f"{offer.name}: all that was to be given away has been")

    def _count(self, connection: sa.Connection, name: str, issued: int = 0) -> None:
        """Make the counts of an offer where there are none; add what was issued."""
        c = offer_counts.c
        known = connection.execute(offer_counts.update().where(c.offer == name).values(issued=c.issued + issued))
        if known.rowcount == 0:
            connection.execute(offer_counts.insert().values(offer=name, issued=issued))

    def _settle(self, connection: sa.Connection, row: Any, status: str, now: datetime) -> None:
        """End a reservation: its place becomes committed, or free."""
        c = offer_counts.c
        values: dict[str, Any] = {"reserved": c.reserved - 1, "reserved_minor": c.reserved_minor - row.off_minor}
        if status == "committed":
            values |= {"committed": c.committed + 1, "committed_minor": c.committed_minor + row.off_minor}
        connection.execute(offer_counts.update().where(c.offer == row.offer).values(**values))
        change = redemptions.update().where(redemptions.c.redemption_id == row.redemption_id)
        connection.execute(change.values(status=status, settled_at=naive(now)))

    def _expire(self, connection: sa.Connection, now: datetime) -> int:
        over = (redemptions.c.status == "reserved") & (redemptions.c.expires_at <= naive(now))
        rows = connection.execute(sa.select(redemptions).where(over)).all()
        for row in rows:
            self._settle(connection, row, "expired", now)
        return len(rows)

    def _row(self, connection: sa.Connection, redemption_id: str) -> Any:
        return connection.execute(sa.select(redemptions).where(redemptions.c.redemption_id == redemption_id)).first()


def _nobody() -> str:
    """A person that was erased; each a different one."""
    return f"erased-{uuid.uuid4().hex}"


def off_minor(offer: Offer, order_minor: int) -> int:
    """What an offer takes off an order, or what its gift costs, in minor units; half a unit goes to the customer."""
    if offer.kind == "gift":
        return offer.cost_minor
    # Percent in millionths: exact in whole numbers.
    share = -(-order_minor * round(offer.percent * 1_000_000) // 100_000_000)
    off = min(share + offer.amount_minor, order_minor)
    return min(off, offer.most_minor) if offer.most_minor else off


def _unfit(offer: Offer, order_minor: int, provider_id: str) -> Refusal | None:
    if order_minor < offer.least_order_minor:
        return Refusal("order too small", f"{offer.name} is for orders from {offer.least_order_minor} minor units on")
    if offer.providers and provider_id not in offer.providers:
        return Refusal("not here", f"{offer.name} does not hold at {provider_id!r}")
    return None


def _coupon(row: Any) -> Coupon:
    ends = None if row.expires_at is None else row.expires_at.replace(tzinfo=UTC)
    return Coupon(row.code, row.offer, row.person, row.issued_at.replace(tzinfo=UTC), ends)


def _redemption(row: Any) -> Redemption:
    return Redemption(
        redemption_id=row.redemption_id,
        offer=row.offer,
        code=row.code,
        person=row.person,
        order_id=row.order_id,
        off_minor=row.off_minor,
        status=row.status,
        reserved_at=row.reserved_at.replace(tzinfo=UTC),
        expires_at=row.expires_at.replace(tzinfo=UTC),
    )
