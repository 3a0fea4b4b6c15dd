"""The words of the test whether speaking as others arrives: of the relay that asks, and of who answers. Pure.

The question is NOOPERATION, which clients send themselves to warm up neighbour tables and do nothing about. Rule kept
here: an answer goes to the relay that the question names, is never larger than it, and means nothing to anybody else.
"""

from __future__ import annotations

import re
from ipaddress import AddressValueError, IPv4Address
from typing import Final, NamedTuple

from camrelay.errors import MalformedPacket
from camrelay.ipmsg import trailer
from camrelay.ipmsg.command import Command, Option
from camrelay.ipmsg.packet import build, parse

ANSWER: Final = b"camrelay heard"
_QUESTION: Final = re.compile(rb"([0-9a-f]{16}) ([0-9]{1,4}) camrelay asks: answer to ([0-9.]{7,15})\.*")

LOGON: Final = "camrelay-test"
NICK: Final = "camrelay test"
GROUP: Final = "CAMRelay"


class Question(NamedTuple):
    """What a relay wants to know. ``to``: its address."""

    nonce: str
    number: int
    to: str


def question(nonce: str, number: int, to: str) -> bytes:
    """Did you hear this? Say so to ``to``."""
    body = f"{nonce} {number} camrelay asks: answer to {to}".encode()
    return build(b"1", number + 1, b"camrelay", b"doctor", Command.NOOPERATION, body)


def read(data: bytes) -> Question | None:
    """The question in a datagram, if it is one."""
    try:
        packet = parse(data)
        found = _QUESTION.fullmatch(packet.body) if packet.mode == Command.NOOPERATION else None
        if found is None:
            return None
        return Question(found[1].decode(), int(found[2]), str(IPv4Address(found[3].decode())))
    except (MalformedPacket, AddressValueError):
        return None


def answer(asked: Question) -> bytes:
    """It was heard. Shorter than any question."""
    body = b"%b %d %b" % (asked.nonce.encode(), asked.number, ANSWER)
    return build(b"1", asked.number + 1, b"camrelay", b"listen", Command.NOOPERATION, body)


def presence(number: int, command: Command) -> bytes:
    """The test user comes (BR_ABSENCE, which nobody answers) or goes (BR_EXIT)."""
    names = (LOGON, "camrelay", NICK, GROUP)
    extra = GROUP.encode() + b"\0" + trailer.write(names, "")
    options = int(Option.CAPUTF8)
    return build(b"1", number, LOGON.encode(), b"camrelay", command | options, NICK.encode(), extra)
