"""What the relay itself knows of an address when a trace begins, as facts; it asks nobody."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Final

from camrelay.daemon.tracing.checklist import ready
from camrelay.ipmsg.presence import Kind, Presence
from camrelay.relay.user import State
from camrelay.trace.facts import Fact

if TYPE_CHECKING:
    from camrelay.daemon.tracing import Stand
    from camrelay.daemon.tracing.checklist import Look
    from camrelay.relay.user import User

MOST_MISSING: Final = 8  # names of users that a client lacks
WITH_LISTS: Final = (Kind.WINDOWS, Kind.MAC, Kind.UNKNOWN)  # who may answer GETLIST
FULL_TTLS: Final = (32, 64, 128, 255)  # what systems begin with
TOLD: Final = "this relay told it nothing yet, or everything only just now"
MOST_ROUTERS: Final = 3  # between two hosts that take each other for neighbours


class Known:
    """Of the host at ``address``, now."""

    def __init__(self, stand: Stand, address: str, now: float) -> None:
        look, relay = stand.relay.look, stand.relay
        user = relay.look.at(address)
        self.presence: Presence | None = user.presence.anew() if user else None
        self.facts = [
            _roster(user, now),
            _pointed(look.pointed.times(address, now)),
            _segment(stand, address),
        ]
        self.names_heard = look.pointed.names(address, now)
        self.reads_its_list = partial(look.reads, address)
        expected = look.expected(address, now)
        self._expected = None if expected is None else {one.address: one for one in expected}
        self._own = look.own_addresses
        kind = self.presence.kind if self.presence else Kind.UNKNOWN
        # Why its client will not show its member list; "" if it may.
        self.keeps_its_list = "" if kind in WITH_LISTS else f"{kind.value} has no such question"

    def looks(self) -> dict[str, Look]:
        """All facts, as checks."""
        return {fact.check: ready(fact) for fact in self.facts}

    def view(self, listed: set[str], source: str) -> Fact:
        """A client's member list (addresses) against whom it must list by now. ``source``: our address towards it."""
        detail: dict[str, Any] = {"listed": len(listed)}
        expected = self._expected
        if expected is None:
            return Fact("view", "not-checked", detail=detail | {"why": TOLD})
        missing = [user for address, user in expected.items() if address not in listed]
        if missing:
            names = [nick(user) for user in missing[:MOST_MISSING]]
            return Fact("view", "missing", detail=detail | {"count": len(missing), "names": names})
        if not self._own & listed:
            return Fact("view", "without-us", detail=detail | {"address": source})
        return Fact("view", "complete", detail=detail)


def _roster(user: User | None, now: float) -> Fact:
    if user is None:
        return Fact("roster", "unknown")
    detail: dict[str, Any] = {
        "nick": nick(user),
        "home": user.home,
        "via": user.via or "",
        "segment": user.segment.name,
        "since": round(now - user.joined),
        "heard": round(now - user.heard),
    }
    if user.state is State.OFFLINE:
        return Fact("roster", "offline", detail=detail)
    if user.twin:
        return Fact("roster", "twin", detail=detail | {"other": user.twin})
    if not user.home and user.segment.interface is not None:
        return Fact("roster", "external-here", detail=detail)
    return Fact("roster", "online", detail=detail)


def _pointed(times: int) -> Fact:
    return Fact("pointed", "yes", detail={"count": times}) if times else Fact("pointed", "no")


def _segment(stand: Stand, address: str) -> Fact:
    home = stand.relay.look.segment(address)
    if home is None:
        return Fact("segment", "unknown")
    if home.interface:
        return Fact("segment", "ours", detail={"interface": home.interface, "name": home.name})
    return Fact("segment", "remote", detail={"name": home.name})


def client(presence: Presence | None, version: str) -> Fact:
    """client: what a presence and the answer to GETINFO say."""
    if presence is None:
        return Fact("client", "none", detail={"version": version} if version else {})
    detail: dict[str, Any] = {"version": presence.edition or version}
    if presence.kind is Kind.CAMRELAY:
        return Fact("client", "relay", detail=detail)
    if presence.kind is Kind.UNKNOWN:
        return Fact("client", "unknown-kind", detail=detail)
    return Fact("client", "known", detail=detail | {"kind": presence.kind.value, "charset": presence.charset})


def decremented(ttl: int) -> bool:
    """Has a datagram with this TTL passed a router or a few?"""
    return any(0 < full - ttl <= MOST_ROUTERS for full in FULL_TTLS)


def is_windows(user: User) -> bool:
    """Does it answer GETINFO, which its user does not see?"""
    return user.presence.kind is Kind.WINDOWS


def nick(user: User) -> str:
    """How people call it."""
    presence = user.presence.anew()
    return presence.nick_text or presence.logon_text
