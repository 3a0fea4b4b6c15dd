"""A new key for a relay that stays the same: announced over live links, taken into use when everybody has it.

Until then the old one is shown: a member that was away knows no other. Both are on disk, so a restart goes on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from camrelay.errors import FleetError

if TYPE_CHECKING:
    from camrelay.daemon.fleet import Fleet
    from camrelay.daemon.peerkey import PeerKey


def check(fleet: Fleet) -> PeerKey:
    """The key that can be rotated. FleetError unless that can begin."""
    if fleet.problem:
        raise FleetError(fleet.problem)
    if in_progress(fleet):
        raise FleetError(f"the key is being changed already; still to take it: {', '.join(awaited(fleet))}")
    return fleet.key()


def in_progress(fleet: Fleet) -> bool:
    """Is there a next key?"""
    return len(fleet.me.certs) > 1


def awaited(fleet: Fleet) -> list[str]:
    """Who has not said yet that it has our next key, in words; [] if nobody, or if there is none.

    Open invitations count: their tokens name the key that is in use now.
    """
    if not in_progress(fleet):
        return []
    behind = [fleet.label(peer) for peer in fleet.members if fleet.seen.get(peer, 0) < fleet.me.revision]
    invited = fleet.invitations.open(fleet.wall())
    return behind + [f"the invitation {one.name}".rstrip() for one in invited]


def settle(fleet: Fleet) -> None:
    """Use the next key alone, if all have it."""
    if in_progress(fleet) and not awaited(fleet):
        try:
            take(fleet, fleet.key().settled())
        except FleetError as error:
            fleet.trouble = str(error)


def take(fleet: Fleet, key: PeerKey) -> None:
    """Our key from now on, made from the one before. FleetError if it cannot be kept: then nothing has changed.

    Making it takes a while, in which we may have been removed: what was made from a former key is nobody's.
    """
    if key.certs[0] not in fleet.me.certs:
        raise FleetError("this relay was removed from its fleet meanwhile: its key is not changed")
    key.save(fleet.directory)
    fleet.take_key(key)
    fleet.save()
    fleet.spread(fleet.me)
    fleet.changed()
