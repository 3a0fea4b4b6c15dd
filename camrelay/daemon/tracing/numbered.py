"""Numbered datagrams between two relays, and what can be read from those that arrived. Pure.

Each is an IPMSG packet that means nothing to anybody (NOOPERATION; clients send such ones to warm up neighbour tables),
so whatever lets presence through lets it through, and a client that gets one shows nothing.
"""

from __future__ import annotations

import re
from itertools import pairwise
from statistics import fmean
from typing import TYPE_CHECKING, Annotated, Any, Final, NamedTuple

import msgspec
from msgspec import Meta

from camrelay.ipmsg.command import Command
from camrelay.ipmsg.packet import build

if TYPE_CHECKING:
    from collections.abc import Sequence

PACED: Final = 0  # numbers of those for loss and jitter: these and the 19 after it
PACED_COUNT: Final = 20
PACED_EVERY: Final = 0.05  # seconds: a voice call sends as often
LARGE: Final = 100
SPEAK_OWN: Final = 200
SPEAK_FOREIGN: Final = 300
CALL: Final = 400
SIZED: Final = 500  # all of those whose size is what counts
STEP: Final = 600
COPIES: Final = 3  # of what is to arrive at all, on a line that loses some
LARGE_BYTES: Final = 3000  # of payload: three fragments
MOST_NUMBER: Final = 9999

NONCE_DIGITS: Final = 16
NONCE: Final = rf"\A[0-9a-f]{{{NONCE_DIGITS}}}\Z"
Nonce = Annotated[str, Meta(pattern=NONCE)]
Address = Annotated[str, Meta(max_length=15, pattern=r"\A[0-9.]{7,15}\Z")]
Seconds = Annotated[float, Meta(ge=-1e12, le=1e12)]


class Arrival(msgspec.Struct, frozen=True):
    """A datagram with our nonce that came to the other relay. ``n``: its number, -1 if it has none."""

    n: Annotated[int, Meta(ge=-1, le=MOST_NUMBER)]
    at: Seconds  # on the clock of who heard it
    size: Annotated[int, Meta(ge=0, le=65535)]  # of the payload
    ttl: Annotated[int, Meta(ge=0, le=255)]  # 0: not known
    source: Address
    port: Annotated[int, Meta(ge=0, le=65535)]
    broadcast: bool = False


class Flow(NamedTuple):
    """One direction: when each number was sent, and what arrived. Two clocks, whose difference nobody knows."""

    sent: dict[int, float]
    arrived: Sequence[Arrival]

    @property
    def delays(self) -> dict[int, float]:
        """By number, plus that difference; of copies the first one counts."""
        found: dict[int, float] = {}
        for one in self.arrived:
            if one.n in self.sent:
                found.setdefault(one.n, one.at - self.sent[one.n])
        return found


def datagram(nonce: str, number: int, size: int = 0) -> bytes:
    """One, of exactly this many bytes; 0: as few as it needs. Under some 80 bytes nothing is left of the nonce."""

    def made(filling: int) -> bytes:
        body = f"{nonce} {number} camrelay trace: means nothing".encode() + b"." * filling
        return build(b"1", number + 1, b"camrelay", b"trace", Command.NOOPERATION, body)

    needed = len(made(0))
    return made(max(0, size - needed))[: size or needed]


def number_in(data: bytes, nonce: str) -> int:
    """The number behind the nonce, -1 if there is none."""
    found = re.search(re.escape(nonce.encode()) + rb" ([0-9]{1,4})(?![0-9])", data)
    return int(found.group(1)) if found else -1


def way(flow: Flow, back: Flow | None = None) -> tuple[str, dict[str, Any]]:
    """Outcome and detail of ``udp-out`` or ``udp-in``: what became of one direction.

    ``ms``: from sending to arrival, if both ways take equally long at their best (only the sum can be measured, and
    only if ``back`` brought something); ``jitter_ms``: the mean difference of delays one after the other.
    """
    delays, sent = flow.delays, len(flow.sent)
    if not delays:
        return "silent", {"sent": sent}
    in_order = [delays[number] for number in sorted(delays)]
    steps = [abs(after - before) for before, after in pairwise(in_order)]
    lost = sent - len(delays)
    detail: dict[str, Any] = {
        "sent": sent,
        "received": len(delays),
        "jitter_ms": _ms(fmean(steps)) if steps else 0.0,
        "lost_percent": round(100 * lost / sent),
    }
    returned = back.delays if back else {}
    if returned:
        both = min(in_order) + min(returned.values())
        detail["ms"] = _ms(max(0.0, both / 2 + fmean(in_order) - min(in_order)))
    return ("lossy" if lost else "passes"), detail


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 1)
