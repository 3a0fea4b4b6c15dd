"""How relays are called, and which one a person means. The id decides, names are for people."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from camrelay.errors import UsageError
from camrelay.relay.sharing import bare

if TYPE_CHECKING:
    from camrelay.daemon.fleet import Fleet
    from camrelay.relay.messages import RelayId

LEAST_ID: Final = 4  # digits of an id by which a relay may be named
SUFFIX: Final = 4  # digits behind a name that two relays have, or as many more as tell them apart


def label(fleet: Fleet, peer: RelayId) -> str:
    """Its name, with the start of its id where another one has that name too."""
    known = fleet.me if peer == fleet.me.id else fleet.members.get(peer) or fleet.membership.removed.get(peer)
    if known is None:
        return peer[:8]
    name, everyone = bare(known.name).casefold(), (fleet.me, *fleet.members.values())
    twins = [other.id for other in everyone if other.id != peer and bare(other.name).casefold() == name]
    if not twins:
        return known.name
    digits = SUFFIX
    while digits < len(peer) and any(twin.startswith(peer[:digits]) for twin in twins):
        digits += SUFFIX
    return f"{known.name}~{peer[:digits]}"


def find(fleet: Fleet, text: str) -> RelayId:
    """The relay with this name (as listed, or as it calls itself), or whose id begins so. UsageError if unclear."""
    everyone = (fleet.me, *fleet.members.values())
    wanted = text.strip().casefold()
    for candidates in (
        {one.id for one in everyone if fleet.label(one.id).casefold() == wanted},
        {one.id for one in everyone if one.name.casefold() == wanted},
        {one.id for one in everyone if len(wanted) >= LEAST_ID and one.id.startswith(wanted)},
    ):
        if len(candidates) == 1:
            return candidates.pop()
        if candidates:
            names = ", ".join(sorted(fleet.label(one) for one in candidates))
            raise UsageError(f"{text!r} is more than one relay: {names}")
    raise UsageError(f"no relay of the fleet is called {text!r}: see camrelay peer list")
