"""Does what we say in the name of others arrive in our own segments? Said there, and read back by somebody there.

Asked are, in this order: relays of our fleet and `camrelay listen` in the segment, by datagrams that mean nothing to
clients, in our own name and in that of an address that nobody has (192.0.2.x, RFC 5737); else a Windows client, which
for a second lists a test user at that address. Rule kept here: the test user's farewell is said in any case.
"""

from __future__ import annotations

import random
import secrets
from dataclasses import dataclass, field
from functools import partial
from ipaddress import IPv4Network
from typing import TYPE_CHECKING, Any, Final

import msgspec
import trio

from camrelay.daemon.tracing import testuser
from camrelay.daemon.tracing.numbered import NONCE_DIGITS, number_in
from camrelay.errors import CamrelayError, FleetError, MalformedPacket
from camrelay.ipmsg import hostlist
from camrelay.ipmsg.command import PORT, Command
from camrelay.ipmsg.packet import parse
from camrelay.relay.outputs import Datagram, Transmit
from camrelay.relay.questions import Asked
from camrelay.relay.rounds import BROADCAST_TTL
from camrelay.trace.facts import Fact

if TYPE_CHECKING:
    from camrelay.daemon.answers import Request
    from camrelay.daemon.control import Tell
    from camrelay.daemon.tap import Ear, Seen
    from camrelay.daemon.tracing import Stand
    from camrelay.relay.outputs import Interface
    from camrelay.relay.snapshot import UserRow

COPIES: Final = 3  # of what a bad line may lose
EVERY: Final = 0.2  # seconds between them
FOREIGN: Final = 300  # numbers from here on are those in another name; below, in our own
PEER_READY_WITHIN: Final = 3.0
ANSWER_WITHIN: Final = 1.0  # of somebody in the same segment
COUNT_FOR: Final = 4.0  # seconds that a peer listens
SETTLE: Final = 0.5  # until a Windows client has put the test user into its list
LIST_WITHIN: Final = 2.0
MOST_CLIENTS: Final = 3  # Windows clients asked in a segment
MOST_ASKED: Final = 4  # questions to them: a lone one is asked twice, since a question may be lost
NOBODYS: Final = (IPv4Network("192.0.2.0/24"), IPv4Network("198.51.100.0/24"))  # RFC 5737


class Wanted(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``segments``: only these of our own, as "192.168.1.0/24"; all if none is named."""

    segments: tuple[str, ...] = ()


@dataclass(slots=True)
class Witness:
    """Somebody in the segment: which numbers did it hear?"""

    name: str
    by: str  # "relay", "listen" or "windows"
    heard: set[int] = field(default_factory=set)


async def speak(stand: Stand, request: Request, tell: Tell) -> dict[str, Any]:
    """speaking: arrives | dropped | nobody | unable, for each own segment, told as they are found. Some 2 to 12 s."""
    wanted = request.args(Wanted).segments
    if not stand.spoken.spend("trusted" if request.trusted else "", trio.current_time()):
        raise CamrelayError("tested too often: try again in 10 s")
    own = {one.network: one for one in stand.interfaces() if not wanted or one.network in wanted}
    facts: dict[str, Fact] = {}

    async def one(interface: Interface) -> None:
        fact = facts[interface.network] = await in_segment(stand, interface)
        await tell({"fact": fact})

    async with trio.open_nursery() as nursery:
        for interface in own.values():
            nursery.start_soon(one, interface)
    return {"facts": [facts[network] for network in own]}


async def in_segment(stand: Stand, interface: Interface) -> Fact:
    """The fact about one segment."""
    began = trio.current_time()
    detail: dict[str, Any] = {"segment": interface.network, "interface": interface.name}

    def fact(outcome: str, witness: Witness | None = None, **more: Any) -> Fact:
        who = {"witness": witness.name, "by": witness.by} if witness else {}
        return Fact("speaking", outcome, trio.current_time() - began, detail={**detail, **who, **more})

    if not stand.relay.snapshot(began).can_speak:
        return fact("unable")
    source = nobodys_address(interface)
    witnesses = await _say_and_listen(stand, interface, source)
    for witness in witnesses:
        if any(number >= FOREIGN for number in witness.heard):
            return fact("arrives", witness, source=source)
    for witness in witnesses:
        if witness.heard:
            return fact("dropped", witness, source=source)
    client, listed = await _by_windows(stand, interface, source)
    if client is None:
        return fact("nobody")
    return fact("arrives" if listed else "dropped", client, source=source)


def nobodys_address(interface: Interface) -> str:
    """One that no host may have, and that is not of this segment."""
    networks = [IPv4Network(text) for text in (interface.network, *interface.also)]
    free = next(one for one in NOBODYS if not any(one.overlaps(other) for other in networks))
    return str(free[random.randrange(1, 255)])


# -- relays and `camrelay listen` -----------------------------------------------------------------------------


async def _say_and_listen(stand: Stand, interface: Interface, source: str) -> list[Witness]:
    nonce = secrets.token_hex(NONCE_DIGITS // 2)
    peers = stand.far.beside(interface.address) if stand.peers is not None else []
    witnesses = {peer: Witness(stand.far.name(peer), "relay") for peer in peers}
    listeners: dict[str, Witness] = {}
    with stand.tap.listen(partial(_is_answer, nonce.encode())) as ear:
        async with trio.open_nursery() as nursery:
            ready = [trio.Event() for _ in peers]
            for peer, event in zip(peers, ready, strict=True):
                nursery.start_soon(_ask_peer, stand, peer, nonce, witnesses[peer], event)
            with trio.move_on_after(PEER_READY_WITHIN):
                for event in ready:
                    await event.wait()
            for copy in range(COPIES):
                for number, name in ((copy, None), (FOREIGN + copy, source)):
                    data = testuser.question(nonce, number, interface.address)
                    _broadcast(stand, interface, data, name)
                await trio.sleep(EVERY)
            with trio.move_on_after(ANSWER_WITHIN):
                await _gather(ear, nonce, listeners)
    return [*witnesses.values(), *listeners.values()]


async def _ask_peer(stand: Stand, peer: str, nonce: str, witness: Witness, ready: trio.Event) -> None:
    async def told(event: object) -> None:
        if isinstance(event, dict) and event.get("ready"):
            ready.set()
        await trio.lowlevel.checkpoint()

    params = {"nonce": nonce, "seconds": COUNT_FOR, "expected": 2 * COPIES}
    try:
        found = await stand.far.ask(peer, "count", params, told, within=2 * COUNT_FOR, form=Counted)
        witness.heard |= {one.n for one in found.arrived if one.n >= 0}
    except FleetError:
        return
    finally:
        ready.set()


class Number(msgspec.Struct, frozen=True):
    """What interests of a datagram that arrived at a peer."""

    n: int


class Counted(msgspec.Struct, frozen=True):
    """What a peer heard."""

    arrived: list[Number]


def _is_answer(nonce: bytes, seen: Seen) -> bool:
    return not seen.outgoing and nonce in seen.packet.data


async def _gather(ear: Ear, nonce: str, listeners: dict[str, Witness]) -> None:
    """Answers of `camrelay listen`: one from each address for each datagram that it heard."""
    async for seen in ear:
        number = number_in(seen.packet.data, nonce)
        if number >= 0 and testuser.ANSWER in seen.packet.data:
            name = f"camrelay listen ({seen.address})"
            listeners.setdefault(seen.address, Witness(name, "listen")).heard.add(number)


# -- a Windows client -----------------------------------------------------------------------------------------


async def _by_windows(stand: Stand, interface: Interface, source: str) -> tuple[Witness | None, bool]:
    """Who answered with its list, and is the test user in it?"""
    clients = _windows(stand, interface.network)
    if not clients:
        return None, False
    number = secrets.randbelow(2**30)
    try:
        for _ in range(COPIES):
            _broadcast(stand, interface, testuser.presence(number, Command.BR_ABSENCE), source)
            await trio.sleep(EVERY)
        await trio.sleep(SETTLE)
        for client in (clients * 2)[:MOST_ASKED]:
            listed = await _list_of(stand, client.address)
            if listed is not None:
                return Witness(f"{client.nick} ({client.address})", "windows"), source in listed
    finally:
        for _ in range(COPIES):
            _broadcast(stand, interface, testuser.presence(number + 1, Command.BR_EXIT), source)
    return None, False


def _windows(stand: Stand, network: str) -> list[UserRow]:
    found: list[UserRow] = []
    for row in stand.relay.users(trio.current_time()):
        if row.segment == network and row.kind == "windows" and row.state == "online" and row.home:
            found.append(row)
            if len(found) == MOST_CLIENTS:
                break
    return found


async def _list_of(stand: Stand, address: str) -> set[str] | None:
    """The addresses in a client's member list; None if it gave none. The relay asks for further parts by itself."""
    found: set[str] | None = None
    with stand.tap.listen(lambda seen: not seen.outgoing and seen.address == address) as ear:
        now = trio.current_time()
        stand.act(stand.relay.ask(address, Asked.LIST, now), now)
        with trio.move_on_after(LIST_WITHIN):
            async for seen in ear:
                part = _entries(seen.packet)
                if part is not None:
                    following, addresses = part
                    found = (found or set()) | addresses
                    if not following:
                        break
    return found


def _entries(packet: Datagram | Transmit) -> tuple[int, set[str]] | None:
    try:
        said = parse(packet.data)
        if said.mode != Command.ANSLIST:
            return None
        following, entries = hostlist.unpack(said.body)
    except MalformedPacket:
        return None
    return following, {entry.address for entry in entries}


def _broadcast(stand: Stand, interface: Interface, data: bytes, speak_as: str | None) -> None:
    """To all on the wire, in the very way of an announcement."""
    to = "255.255.255.255" if interface.also else interface.broadcast
    transmit = Transmit(data, to, PORT, speak_as, interface.index, BROADCAST_TTL)
    stand.act([transmit], trio.current_time())
