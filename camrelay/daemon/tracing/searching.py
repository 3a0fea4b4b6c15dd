"""The external user search: who answers in these segments? Asked at the sweep's own pace, both together never above it.

Rule kept here: who answers is shown, nobody is taken in by it; that takes ``add``, which makes the host part of what
the relay serves. For a peer only segments are searched that this relay is on, or that its configuration names.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Final

import msgspec
import trio
from msgspec import Meta

from camrelay.config import kinds
from camrelay.daemon.discovered import Host
from camrelay.daemon.tracing.allowed import may_look
from camrelay.errors import CamrelayError, MalformedPacket, UsageError
from camrelay.ipmsg.command import Command
from camrelay.ipmsg.packet import parse
from camrelay.ipmsg.presence import read
from camrelay.relay.questions import Asked
from camrelay.relay.segment import expand

if TYPE_CHECKING:
    from camrelay.daemon.answers import Request
    from camrelay.daemon.control import Tell
    from camrelay.daemon.tap import Ear, Seen
    from camrelay.daemon.tracing import Stand
    from camrelay.daemon.tracing.allowed import FarQuestion

MOST_ADDRESSES: Final = 1024
STEP: Final = 0.02  # seconds between two looks whether the pace lets more out
TELL_EVERY: Final = 0.5
ANSWERS_WITHIN: Final = 5.0  # after the last question; the slowest client takes 4.1 s
FAR_WITHIN: Final = 125.0  # 1,024 addresses beside a full sweep
ROOM: Final = 4096  # datagrams: all answers at once

Name = Annotated[str, Meta(max_length=80)]
Segments = Annotated[tuple[Annotated[str, Meta(max_length=32)], ...], Meta(max_length=MOST_ADDRESSES)]


class Hit(msgspec.Struct, frozen=True):
    """Who answered. ``ms``: after the question; ``known``: in the relay's roster before that."""

    address: Annotated[str, Meta(max_length=15, pattern=r"\A[0-9.]{7,15}\Z")]
    nick: Name
    group: Name
    logon: Name
    host: Name
    kind: Name
    version: Annotated[str, Meta(max_length=200)]
    ms: Annotated[float, Meta(ge=0, le=1e6)]
    known: bool


class Wanted(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``segments`` as in [remote] segments; ``add``: serve the hits from now on; ``peer``: let that relay search."""

    segments: Segments = ()
    add: bool = False
    peer: str = ""


class Forget(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Hosts to take out of the discovered ones; "all" for every one."""

    addresses: Segments = ()


class FarWanted(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a peer wants to have searched."""

    segments: Segments


class Progress(msgspec.Struct, frozen=True):
    """What is told on the way; ``found``: the new ones."""

    asked: Annotated[int, Meta(ge=0, le=MOST_ADDRESSES)]
    total: Annotated[int, Meta(ge=0, le=MOST_ADDRESSES)]
    answered: Annotated[int, Meta(ge=0, le=MOST_ADDRESSES)]
    found: Annotated[list[Hit], Meta(max_length=MOST_ADDRESSES)] = []


async def search(stand: Stand, request: Request, tell: Tell) -> dict[str, Any]:
    """Tells ``Progress``; the result: asked, seconds, found (sorted by address), added, by."""
    wanted = request.args(Wanted)
    if wanted.peer and wanted.add:
        raise UsageError("what another relay finds, it serves itself: run `camrelay search --add` there")
    addresses = addresses_of(wanted.segments)
    began = trio.current_time()
    if wanted.peer:
        by, found, asked = await _far(stand, wanted, tell)
    else:
        by, asked = "", len(addresses)
        found = await ask_all(stand, addresses, tell)
    added = await _add(stand, found) if wanted.add and found else 0
    ordered = sorted(found, key=lambda hit: tuple(map(int, hit.address.split("."))))
    return {
        "asked": asked, "seconds": trio.current_time() - began, "found": ordered, "added": added, "by": by,
    }  # fmt: skip


def addresses_of(segments: Segments) -> list[str]:
    """The addresses of segments as in the configuration. UsageError for what is none, and for too many."""
    if not segments:
        raise UsageError('name at least one segment, such as "192.168.3.*" or 10.1.5.20')
    try:
        texts = kinds.SEGMENTS.read(list(segments))
    except kinds.Refused as refused:
        raise UsageError(refused.each[0].text(kinds.SEGMENTS, 'e.g. "192.168.3.*"')) from None
    found = [address for group in expand(texts).values() for address in group]
    if len(found) > MOST_ADDRESSES:
        raise UsageError(f"{len(found)} addresses: at most {MOST_ADDRESSES} at a time (four segments)")
    return found


async def ask_all(stand: Stand, addresses: list[str], tell: Tell) -> list[Hit]:
    """Ask each of them once, as fast as the relay's pace allows, and gather who answers."""
    ours = {address for one in stand.interfaces() for address in (one.address, one.broadcast)}
    left = [address for address in addresses if address not in ours]
    asked: dict[str, float] = {}
    hits: dict[str, Hit] = {}

    def is_answer(seen: Seen) -> bool:
        return not seen.outgoing and seen.address in asked and seen.address not in hits

    with stand.tap.listen(is_answer, ROOM) as ear:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_gather, stand, ear, asked, hits)
            nursery.start_soon(_show, len(left), asked, hits, tell)
            for address in left:
                while not stand.relay.may_ask(trio.current_time()):  # noqa: ASYNC110 - time fills the bucket
                    await trio.sleep(STEP)
                now = trio.current_time()
                asked[address] = now
                stand.act(stand.relay.ask(address, Asked.ENTRY, now), now)
            with trio.move_on_after(ANSWERS_WITHIN):
                while len(hits) < len(left):  # noqa: ASYNC110 - nobody tells; a look in 20 ms is cheap
                    await trio.sleep(STEP)
            nursery.cancel_scope.cancel()
    await tell(Progress(len(asked), len(left), len(hits)))
    return list(hits.values())


async def _gather(stand: Stand, ear: Ear, asked: dict[str, float], hits: dict[str, Hit]) -> None:
    async for seen in ear:
        hit = hit_of(seen, seen.at - asked[seen.address], stand)
        if hit is not None:
            hits.setdefault(seen.address, hit)


def hit_of(seen: Seen, seconds: float, stand: Stand) -> Hit | None:
    """Who answers a BR_ENTRY of ours with this; None if it is no answer to that."""
    try:
        packet = parse(seen.packet.data)
    except MalformedPacket:
        return None
    if packet.mode != Command.ANSENTRY:
        return None
    presence = read(packet, stand.config().relay.codepage)
    names = (
        presence.nick_text or presence.logon_text,
        presence.group_text,
        presence.logon_text,
        presence.host_text,
    )
    nick, group, logon, host = (name[:80] for name in names)
    ms = round(max(0.0, seconds) * 1000, 1)
    known = stand.relay.look.at(seen.address) is not None
    return Hit(seen.address, nick, group, logon, host, presence.kind.value, presence.edition[:200], ms, known)


async def _show(total: int, asked: dict[str, float], hits: dict[str, Hit], tell: Tell) -> None:
    told: set[str] = set()
    while True:
        await trio.sleep(TELL_EVERY)
        new = [hit for address, hit in hits.items() if address not in told]
        told |= {hit.address for hit in new}
        await tell(Progress(len(asked), total, len(hits), new))


# -- hosts that were added ------------------------------------------------------------------------------------------


async def _add(stand: Stand, found: list[Hit]) -> int:
    if stand.discovered is None:
        raise CamrelayError("this relay keeps no discovered hosts")
    hosts = [Host(hit.address, hit.nick, hit.kind) for hit in found if hit.kind != "camrelay"]
    added = await stand.discovered.add(hosts)
    stand.resettle()
    return added


async def discovered(stand: Stand, request: Request, tell: Tell) -> dict[str, Any]:
    """The discovered hosts, and what is wrong with their file."""
    await trio.lowlevel.checkpoint()
    kept = stand.discovered
    return {"hosts": list(kept.hosts.values()) if kept else [], "problem": kept.problem if kept else ""}


async def forget(stand: Stand, request: Request, tell: Tell) -> dict[str, Any]:
    """Takes hosts out; says which were there."""
    wanted = request.args(Forget).addresses
    gone = await stand.discovered.forget(wanted) if stand.discovered else []
    if gone:
        stand.resettle()
    return {"forgotten": gone}


# -- by another relay -----------------------------------------------------------------------------------------------


async def _far(stand: Stand, wanted: Wanted, tell: Tell) -> tuple[str, list[Hit], int]:
    peer = stand.far.find(wanted.peer)
    found: dict[str, Hit] = {}
    allowed = set(addresses_of(wanted.segments))

    async def told(event: object) -> None:
        try:
            progress = msgspec.convert(event, Progress)
        except msgspec.ValidationError:
            return
        found.update((hit.address, hit) for hit in progress.found if hit.address in allowed)
        await tell(progress)

    result = await stand.far.ask(
        peer, "search", FarWanted(wanted.segments), told, within=FAR_WITHIN, form=FarResult
    )
    found.update((hit.address, hit) for hit in result.found if hit.address in allowed)
    return stand.far.name(peer), list(found.values()), result.asked


class FarResult(msgspec.Struct, frozen=True):
    """What was not told before."""

    asked: Annotated[int, Meta(ge=0, le=MOST_ADDRESSES)]
    found: Annotated[list[Hit], Meta(max_length=MOST_ADDRESSES)]


async def far_search(stand: Stand, asked: FarQuestion, tell: Tell) -> FarResult:
    """For a peer: only where we are, or are configured to look."""
    addresses = addresses_of(asked.args(FarWanted).segments)
    may_look(stand, *addresses, ours=True)
    told: set[str] = set()

    async def note(event: object) -> None:
        if isinstance(event, Progress):
            told.update(hit.address for hit in event.found)
        await tell(event)

    found = await ask_all(stand, addresses, note)
    return FarResult(len(addresses), [hit for hit in found if hit.address not in told])
