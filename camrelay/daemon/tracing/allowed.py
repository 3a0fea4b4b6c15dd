"""What a member of our fleet may ask of us for a trace: which questions, in which form, about which addresses."""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import AddressValueError, IPv4Address
from typing import TYPE_CHECKING, Final, TypeVar

import msgspec
import trio

from camrelay.daemon.wire import LONGEST_TEXT
from camrelay.errors import CamrelayError, FleetError, causes
from camrelay.relay.segment import network_of

if TYPE_CHECKING:
    from camrelay.daemon.tracing import Stand
    from camrelay.relay.messages import RelayId

T = TypeVar("T")

BROKEN: Final = "an error inside camrelay: see its log"  # in data/reasons.toml, too
DEEPEST: Final = (
    16  # lists in lists of a peer's answer: ours have four, and deeper ones exhaust whoever shows them
)
# Also one without an end: what begins must match, or looking for it takes the square of the length.
_STRING: Final = re.compile(rb'"(?:[^"\\]++|\\.)*+"?', re.DOTALL)

# What is asked -> who answers it: "module:function" in this folder, called with (stand,
# FarQuestion, tell). Each answers for its own limits.
FAR: Final[dict[str, str]] = {
    "host": "host:far_host",
    "search": "searching:far_search",
    "pair": "pair:far_pair",
    "shown": "shown:far_shown",
    "count": "beside:count",
    "send": "beside:send",
    "sizes": "beside:sizes",
    "open": "beside:open_ports",
    "tcp": "beside:tcp",
    "path": "beside:path",
}


@dataclass(frozen=True, slots=True)
class FarQuestion:
    """What another relay asks of us. ``address``: the IPv4 address its link comes from or goes to."""

    do: str
    params: bytes
    peer: RelayId
    name: str
    address: str

    def args(self, form: type[T]) -> T:
        """The parameters, in the form of this question. FleetError where they do not fit."""
        try:
            return msgspec.json.decode(self.params, type=form)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise FleetError(f"{self.do}: {error}") from None


def may_look(stand: Stand, *addresses: str, ours: bool = False) -> None:
    """May a peer have these addresses looked at from here? FleetError if not: a relay is no scanner for others.

    It may in segments that we are on or that our configuration names. Others are what a member says, who may say
    anything: there it may where somebody is known, and at private addresses: a claim alone has nothing sent to the
    internet, a user named there may (offices with public addresses need that). ``ours``: not there.
    """
    rows = stand.relay.snapshot(trio.current_time()).segments
    networks = [(network_of(row.name, strict=False), bool(row.interface or row.addresses)) for row in rows]
    # Made once: a search names 1,024 addresses.
    spans = [(int(one.network_address), int(one.broadcast_address), own) for one, own in networks]
    for address in addresses:
        here = _read(address)
        near = here is not None and any(
            first <= int(here) <= last and (own or not (ours or here.is_global)) for first, last, own in spans
        )
        known = not ours and stand.relay.look.at(address) is not None
        if here is None or not (near or known):
            nobody = "" if ours else ", and nobody known is there"
            raise FleetError(f"{address} is in no segment of this relay{nobody}: not looked at")


def holds(segment: str, address: str) -> bool:
    """Is the address in "192.168.1.0/24", "192.168.1.*", or is it this one address?"""
    here = _read(address)
    return here is not None and here in network_of(segment, strict=False)


def _read(address: str) -> IPv4Address | None:
    try:
        return IPv4Address(address)
    except AddressValueError:
        return None


def too_deep(body: bytes) -> bool:
    """Are lists and objects of this JSON nested deeper than any of ours?"""
    depth = 0
    for sign in _STRING.sub(b"", body):
        depth += (sign in b"[{") - (sign in b"]}")
        if depth > DEEPEST:
            return True
    return False


def words_of(error: Exception) -> str | None:
    """What went wrong, if it is one of our own errors (perhaps out of a task)."""
    first, *others = causes(error)
    return str(first)[:LONGEST_TEXT] if isinstance(first, CamrelayError) and not others else None


def words_in(body: bytes) -> str:
    """A peer's words, fit to be shown."""
    try:
        text = msgspec.json.decode(body, type=str)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        text = "nothing that can be read"
    return "".join(sign if sign.isprintable() else " " for sign in text[:LONGEST_TEXT])
