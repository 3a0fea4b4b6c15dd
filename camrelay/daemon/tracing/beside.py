"""What another relay may have us do for measuring the way between it and us: the answering side of ``sides.There``.

Rule kept here: everything goes to the address that its link has, to the ports that it may ask for, and little of it.
"""

from __future__ import annotations

from ipaddress import AddressValueError, IPv4Address
from typing import TYPE_CHECKING, Annotated

import msgspec
import trio
from msgspec import Meta

from camrelay.daemon.tracing.forms import LONGEST, MOST_HEARD, Volley, Window
from camrelay.daemon.tracing.numbered import Nonce  # noqa: TC001 - msgspec reads the annotations
from camrelay.daemon.tracing.sides import Here
from camrelay.daemon.tracing.sockets import CALL_PORTS, SOCKETS, Sockets
from camrelay.errors import FleetError
from camrelay.ipmsg.command import PORT

if TYPE_CHECKING:
    from camrelay.daemon.control import Tell
    from camrelay.daemon.tracing import Stand
    from camrelay.daemon.tracing.allowed import FarQuestion
    from camrelay.daemon.tracing.forms import Fired, Heard, Opened, Sizes
    from camrelay.trace.facts import Fact

MOST_SENT = 160  # datagrams for one question
MOST_BYTES = 64 << 10

Span = Annotated[float, Meta(gt=0, le=LONGEST)]


class Count(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Listen at the presence socket. See ``sides.Window``."""

    nonce: Nonce
    seconds: Span
    expected: Annotated[int, Meta(ge=0, le=MOST_HEARD)] = 0
    quiet: Annotated[float, Meta(ge=0, le=LONGEST)] = 0.0


class Send(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Datagrams to the asker."""

    nonce: Nonce
    volleys: Annotated[list[Volley], Meta(max_length=12)]


class Open(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The call ports."""

    nonce: Nonce
    seconds: Span


class Sized(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Datagrams of many sizes."""

    nonce: Nonce


class Knock(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """TCP."""

    port: Annotated[int, Meta(ge=1, le=65535)]


class Walk(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """TTL steps."""

    nonce: Nonce
    answers: bool


def here(stand: Stand, asked: FarQuestion, sockets: Sockets) -> Here:
    """Our end of the way to who asks. FleetError if we cannot tell where that is."""
    try:
        return Here(stand, str(IPv4Address(asked.address)), sockets)
    except AddressValueError:
        raise FleetError("the address of the link is not known") from None


async def count(stand: Stand, asked: FarQuestion, tell: Tell, sockets: Sockets = SOCKETS) -> Heard:
    """Tells {"ready"}, then counts."""
    wanted = asked.args(Count)
    window = Window(wanted.seconds, wanted.expected, wanted.quiet)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_say_ready, window, tell)
        return await here(stand, asked, sockets).count(wanted.nonce, window)


async def send(stand: Stand, asked: FarQuestion, tell: Tell, sockets: Sockets = SOCKETS) -> Fired:
    """Sends."""
    wanted = asked.args(Send)
    volleys = wanted.volleys
    datagrams = sum(volley.count for volley in volleys)
    size = sum(volley.count * max(volley.size, 100) for volley in volleys)
    seconds = sum(volley.count * volley.every for volley in volleys)
    if datagrams > MOST_SENT or size > MOST_BYTES or seconds > LONGEST:
        raise FleetError(f"send: expected at most {MOST_SENT} datagrams, {MOST_BYTES} bytes, {LONGEST:g} s")
    if any(volley.port != PORT and volley.port not in CALL_PORTS for volley in volleys):
        raise FleetError("send: expected port 2425 or a call port")
    return await here(stand, asked, sockets).send(wanted.nonce, volleys)


async def sizes(stand: Stand, asked: FarQuestion, tell: Tell, sockets: Sockets = SOCKETS) -> Sizes:
    """Sends."""
    wanted = asked.args(Sized)
    return await here(stand, asked, sockets).sizes(wanted.nonce)


async def open_ports(stand: Stand, asked: FarQuestion, tell: Tell, sockets: Sockets = SOCKETS) -> Opened:
    """Tells {"ready"}, then listens."""
    wanted = asked.args(Open)
    window = Window(wanted.seconds)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_say_ready, window, tell)
        return await here(stand, asked, sockets).listen(wanted.nonce, window)


async def tcp(stand: Stand, asked: FarQuestion, tell: Tell, sockets: Sockets = SOCKETS) -> Fact:
    """Knocks: at the port of IPMSG, or at one where the asker says that it listens."""
    port = asked.args(Knock).port
    peers = stand.peers
    told = peers.fleet.addresses(asked.peer) if peers else ()
    if port != PORT and str(port) not in {address.rpartition(":")[2] for address in told}:
        raise FleetError("tcp: expected port 2425, or the port of your own address")
    return await here(stand, asked, sockets).tcp(port)


async def path(stand: Stand, asked: FarQuestion, tell: Tell, sockets: Sockets = SOCKETS) -> Fact:
    """Steps."""
    wanted = asked.args(Walk)
    return await here(stand, asked, sockets).path(wanted.nonce, wanted.answers)


async def _say_ready(window: Window, tell: Tell) -> None:
    await window.opened.wait()
    await tell({"ready": True})
