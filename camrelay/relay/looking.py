"""What the relay knows, for people who look for a fault. Nothing is decided or changed here; what tells why
somebody is known is loaded when it is first asked for."""

from __future__ import annotations

from ipaddress import AddressValueError
from typing import TYPE_CHECKING, NamedTuple

from camrelay.ipmsg.command import Command
from camrelay.ipmsg.packet import build
from camrelay.relay.segment import number
from camrelay.relay.user import State

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from camrelay.relay.inside import Inside
    from camrelay.relay.reasons import WhyRow
    from camrelay.relay.segment import Segment
    from camrelay.relay.user import Key, User

# Seconds after which a client must list who came: paced announcements, and one that is said again after 8 s.
SETTLED = 10.0
_NOBODY = b"camrelay"


class Home(NamedTuple):
    """The segment of an address. ``interface``: ours on it, "" if none is."""

    name: str
    interface: str


class Looking:
    """See above."""

    def __init__(self, inside: Inside) -> None:
        self._inside = inside
        self._context = inside.context
        self._announcer = inside.announcer
        self.pointed = inside.hearing.hints.pointed  # who spoke to us alone, unasked

    @property
    def name(self) -> str:
        """Ours."""
        return self._context.settings.name

    @property
    def own_addresses(self) -> frozenset[str]:
        """Ours."""
        return self._context.segments.own_addresses

    def at(self, address: str) -> User | None:
        """Who is at this address, or was the last to be."""
        return self._context.roster.last_at(address)

    def names_at(self, address: str) -> list[Key]:
        """Who lives at this address, and who did, as far as they are still known."""
        return [user.key for user in self._context.roster.names_at(address)]

    def search(self, word: str) -> Iterator[User | None]:
        """Users by address, logon, host, logon/host or nick, whatever the case; None: a pause for others."""
        from camrelay.relay.why import search

        return search(list(self._context.roster.by_key.values()), word)

    def explain(self, users: Sequence[User], now: float) -> Iterator[WhyRow | None]:
        """Why each of these is known, to whom, and for how long; None: a pause for others."""
        from camrelay.relay.why import rows

        self._inside.parts.name_servers()
        return rows(self._inside, users, now)

    def why(self, users: str | Sequence[User], now: float) -> list[WhyRow]:
        """The same at once, also of those that a word means. UsageError if they are too many."""
        from camrelay.relay.why import few

        if isinstance(users, str):
            users = few([user for user in self.search(users) if user is not None], users)
        return [row for row in self.explain(users, now) if row is not None]

    def reads(self, address: str) -> bool:
        """Is a member list from there read to its end, once we asked for it?"""
        return address in self._context.roster.at

    def segment(self, address: str) -> Home | None:
        """Where ``address`` belongs; None: to nothing that we serve."""
        try:
            found = self._context.segments.of(address)
        except AddressValueError:
            return None
        return Home(found.name, found.interface.name if found.interface else "") if found else None

    def others(self, address: str, most: int) -> list[User]:
        """Up to ``most`` other users of that segment, those heard last first."""
        segment = self._context.segments.of(address)
        there = segment.users if segment else ()
        here = [u for u in there if u.state is State.ONLINE and not u.is_relay and u.address != address]
        return sorted(here, key=lambda user: -user.heard)[:most]

    def expected(self, address: str, now: float) -> list[User] | None:
        """Whom the client at ``address`` must list by now, of the users beyond its segment.

        None: nobody is there, or was told everything before, or it is not our part to tell.
        """
        user = self._context.roster.at.get(address)
        if user is None or not self._serves(user) or now - user.listed < SETTLED:
            return None
        signed = user.dialect.signed and self._context.identity is not None
        external = self._announcer.rounds.external_to(user.segment, signed)
        return [one for one in external if now - one.joined >= SETTLED and one.address != address]

    def beyond(self, address: str, most: int) -> list[str]:
        """Addresses of other segments, the most similar first: neighbours to a host with too wide a mask."""
        own = self._context.segments.of(address)
        here = number(address)
        found = {
            sample: (number(sample) ^ here).bit_length()
            for segment in self._context.segments.all
            if segment is not own and (sample := _sample(segment)) and sample != address
        }
        return sorted(found, key=lambda sample: found[sample])[:most]

    def _serves(self, user: User) -> bool:
        """Are those like ``user`` told of others by us?"""
        if user.segment.interface is not None and self._context.can_speak:
            return user.home and user.segment.served
        return self._announcer.serves(user)


def nothing(length: int) -> bytes:
    """A datagram of this many bytes that means nothing to any client (NOOPERATION): only whether it arrives counts."""
    head = build(b"1", 1, _NOBODY, _NOBODY, Command.NOOPERATION)
    return head + b"x" * (length - len(head)) if length > len(head) else head[:length]


def _sample(segment: Segment) -> str:
    user: Iterator[User] = iter(segment.users)
    return next((one.address for one in user), "") or next(iter(segment.addresses), "")
