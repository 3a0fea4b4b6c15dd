"""The first words of clients of unknown kinds, for a bug report: how they are made, never what they say.

Rule kept here: datagrams are looked at only while such a client is new, a minute at a time, and few of few clients.
"""

from __future__ import annotations

import re
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Final

from camrelay.errors import MalformedPacket
from camrelay.ipmsg.packet import is_ipdict, parse
from camrelay.relay.outputs import Datagram

if TYPE_CHECKING:
    from camrelay.daemon.tap import Seen, Tap
    from camrelay.relay.user import User

MOST_CLIENTS: Final = 16
MOST_EACH: Final = 8
LOOK_FOR: Final = 60.0  # seconds after such a client came
LONGEST: Final = 240  # characters of a shape


class Samples:
    """See above. ``by_address``: what was kept, oldest first."""

    def __init__(self, tap: Tap) -> None:
        self.by_address: dict[str, list[dict[str, Any]]] = {}
        self._tap = tap
        self._until = 0.0
        self._looking = ExitStack()

    def meet(self, user: User, now: float) -> None:
        """A user of an unknown kind is here: look at what its client says from now on."""
        if not user.home or user.address in self.by_address or len(self.by_address) >= MOST_CLIENTS:
            return
        self.by_address[user.address] = [sample(user.datagram, at=0.0)]  # what it came with
        if now >= self._until:
            self._looking.enter_context(self._tap.listen(self._look))
        self._until = now + LOOK_FOR

    def _look(self, seen: Seen) -> bool:
        """Keeps it if it is one of those; says no, since nobody waits for it at the tap."""
        packet = seen.packet
        kept = self.by_address.get(packet.source) if isinstance(packet, Datagram) else None
        if kept is not None and len(kept) < MOST_EACH and isinstance(packet, Datagram):
            made = sample(packet.data, at=round(seen.at - (self._until - LOOK_FOR), 3))
            kept.append({**made, "port": packet.port, "ttl": packet.ttl, "broadcast": packet.broadcast})
        return False

    def review(self, now: float) -> None:
        """Stop looking when it is time."""
        if self._until and now >= self._until:
            self._looking.close()
            self._until = 0.0


def sample(data: bytes, at: float) -> dict[str, Any]:
    """How a datagram is made: header fields, lengths, and shapes of what people may have written."""
    found: dict[str, Any] = {"at": at, "size": len(data)}
    try:
        packet = parse(data)
    except MalformedPacket:
        return {**found, "framing": "dictionary" if is_ipdict(data) else "none", "shape": shape(data)}
    return {
        **found,
        "version": packet.version.decode("latin-1")[:LONGEST],
        "number_digits": len(packet.number),
        "command": packet.mode,
        "options": f"{packet.options:#010x}",
        "logon": shape(packet.logon),
        "host": shape(packet.host),
        "body": shape(packet.body),
        "extra": shape(packet.extra),
    }


def shape(data: bytes) -> str:
    """Letters as "a", digits as "0", bytes from 0x80 on as "x", runs with their length; what separates is kept."""
    text = data.decode("latin-1")
    # The two letters of a trailer's tag say how it is made: "UN:", "VS:".
    text = re.sub(r"[A-Za-z]", "a", re.sub(r"(?<=\n)([A-Z]{2}:)", _kept, text))
    text = re.sub(r"[\x80-\xff]", "x", re.sub(r"[0-9]", "0", text)).translate(_BACK)
    text = re.sub(r"(a{4,}|0{4,}|x{4,})", lambda run: f"{run[0][0]}{{{len(run[0])}}}", text)
    return "".join(sign if sign.isprintable() else f"\\x{ord(sign):02x}" for sign in text)[:LONGEST]


def _kept(found: re.Match[str]) -> str:
    return "".join(chr(ord(sign) + _ASIDE) for sign in found[1])


_ASIDE: Final = 0xE000  # private use: out of the way of every pattern
_BACK: Final = {sign + _ASIDE: sign for sign in range(128)}
