"""``trace peer``: the way between two relays, measured in both directions with the help of both."""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, Any

import msgspec
import trio

from camrelay.daemon.tracing.findings import Facts
from camrelay.daemon.tracing.one_way import OneWay
from camrelay.daemon.tracing.sides import Here, There
from camrelay.daemon.tracing.sockets import SOCKETS
from camrelay.errors import FleetError, UsageError
from camrelay.trace.facts import Fact

if TYPE_CHECKING:
    from camrelay.daemon.answers import Request
    from camrelay.daemon.control import Tell
    from camrelay.daemon.tracing import Stand
    from camrelay.daemon.tracing.allowed import FarQuestion
    from camrelay.daemon.tracing.sockets import Sockets
    from camrelay.relay.messages import RelayId

SHARED = 20.0  # seconds for which what was found is good enough for a part of another trace
WAITS = (
    60.0  # seconds: the other relay answers two of our questions at a time, and others may be asked before
)


class Named(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which relay: a name, or the beginning of an id."""

    peer: str


async def pair(stand: Stand, request: Request, tell: Tell) -> dict[str, Any]:
    """For the control socket. UsageError for a name that is no other relay's."""
    began = trio.current_time()
    peer = stand.far.find(request.args(Named).peer)
    subject = names(stand, peer)
    await tell({"subject": subject})
    facts = await measure(stand, peer, tell)
    return {"subject": subject, "facts": facts, "seconds": round(trio.current_time() - began, 3)}


async def far_pair(stand: Stand, asked: FarQuestion, tell: Tell) -> dict[str, Any]:
    """For another relay, which wants to know about the way between us and a third one."""
    try:
        peer = stand.far.find(asked.args(Named).peer)
    except UsageError as error:
        raise FleetError(str(error)) from None
    return {"subject": names(stand, peer), "facts": await measure(stand, peer, tell)}


def names(stand: Stand, peer: RelayId) -> dict[str, str]:
    """What the texts call the two of them."""
    far = stand.far
    there = far.address(peer) or _told_address(stand, peer)
    here = SOCKETS.way(there)[0] if there else ""
    return {"here": far.me, "there": far.name(peer), "here_address": here, "there_address": there}


async def measure(
    stand: Stand, peer: RelayId, tell: Tell, role: str = "", sockets: Sockets = SOCKETS
) -> list[Fact]:
    """All facts about the way to this relay; each is told as it is found, and that its check begins.

    ``role``: for a part of another trace ("pair"); its facts are ``by`` the other relay, so that it is named, and may
    be some seconds old: several traces to one place share them. Takes 5 to 10 s on a sound line, and 45 s at the most,
    after those who measure the same. Raises nothing for what the line or the other relay does.
    """
    found = Facts(tell, role, stand.far.name(peer) if role else "")
    oldest = trio.current_time() - (SHARED if role else 0.0)
    async with stand.far.measuring[peer]:
        began, facts = stand.far.measured.get(peer, (-inf, []))
        if began >= oldest:
            for fact in facts:
                await found.add(fact)
        else:
            began = trio.current_time()
            await _measure(stand, peer, found, sockets)
            stand.far.measured[peer] = began, found.in_order()
    return found.in_order()


async def _measure(stand: Stand, peer: RelayId, found: Facts, sockets: Sockets) -> None:
    far, began = stand.far, trio.current_time()
    link = far.link(peer)
    if link is None or link.state != "linked":
        why = (link.problem if link else "") or "no answer yet"
        await found.add(Fact("link", "away", detail={"why": why}))
        await _alone(stand, peer, found, sockets)
        return
    rtt = link.rtt or 0.0
    detail: dict[str, Any] = {"address": link.address} | ({"rtt_ms": round(rtt * 1000, 1)} if rtt else {})
    await found.add(Fact("link", "linked", trio.current_time() - began, detail=detail))
    here, there = Here(stand, far.address(peer), sockets), There(far, peer)
    out, back = OneWay("-out", here, there, found, rtt), OneWay("-in", there, here, found, rtt, WAITS)
    await _datagrams(out, back)
    async with trio.open_nursery() as nursery:
        for each, told in ((out, far.dialled_at(peer)), (back, far.dialled_at())):
            nursery.start_soon(each.rest)
            nursery.start_soon(each.tcp, [address.rpartition(":")[2] for address in told])


async def _alone(stand: Stand, peer: RelayId, found: Facts, sockets: Sockets) -> None:
    """What can be seen from here of a relay that is not linked."""
    if (address := _told_address(stand, peer)) == "":
        return
    side = Here(stand, address, sockets)
    one = OneWay("-out", side, side, found, 0.0)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(one.tcp, [told.rpartition(":")[2] for told in stand.far.dialled_at(peer)])
        nursery.start_soon(one.path)


async def _datagrams(out: OneWay, back: OneWay) -> None:
    """Both directions at the same time, as a call would be."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(out.volleys)
        nursery.start_soon(back.volleys)
    await out.read(back)
    await back.read(out)


def _told_address(stand: Stand, peer: RelayId) -> str:
    """The first IPv4 address at which it says that it is to be reached; "" if there is none."""
    for told in stand.far.dialled_at(peer):
        host = told.rpartition(":")[0]
        if all(part.isdecimal() for part in host.split(".")) and host.count(".") == 3:
            return host
    return ""
