"""How a relay comes into a fleet: what changes on either side. The talking is in ``enrol``.

Rule kept here: a token is spent on disk before its owner is welcome; what cannot be kept has not happened.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from camrelay.daemon.membership import MOST_MEMBERS, Membership, sane
from camrelay.daemon.peerkey import PeerKey, key_hash
from camrelay.daemon.wire import Members, Welcome
from camrelay.errors import FleetError

if TYPE_CHECKING:
    from pathlib import Path

    from camrelay.daemon.fleet import Fleet
    from camrelay.daemon.fleetfile import Invitation
    from camrelay.daemon.wire import Member


def new_key(directory: Path) -> PeerKey:
    """The first key of a relay, on disk. Takes 0.2 s. FleetError if it cannot be kept."""
    key = PeerKey.create()
    key.save(directory)
    return key


def invite(fleet: Fleet, name: str, cert: bytes) -> Invitation:
    """A new invitation, whose one-time key has this certificate. FleetError if it cannot be kept."""
    if not fleet.me.addresses:
        raise FleetError("this relay has no address that another could call: set [peers] address")
    made = fleet.invitations.add(name, cert, fleet.wall())
    try:
        fleet.save_or_fail()
    except FleetError:
        del fleet.invitations.by_key[key_hash(cert)]
        raise
    fleet.changed()
    return made


def admit(fleet: Fleet, key: str, newcomer: Member) -> Welcome:
    """Let in who came with the key of an invitation; the token is spent. FleetError says in words why not."""
    fleet.invitations.check(key, newcomer.id, fleet.wall())
    known = fleet.members.get(newcomer.id)
    if known is None:
        _check_newcomer(fleet, newcomer)
    elif newcomer.removed or newcomer.certs != known.certs:
        raise FleetError("a relay of this id is a member already, with another key: was its disk copied?")
    before = fleet.invitations.by_key[key]
    if known is None or not before.used_by:
        fleet.invitations.use(key, newcomer.id)
        if known is None:
            fleet.membership.restore(newcomer)
        try:
            fleet.save_or_fail()
        except FleetError:
            fleet.invitations.by_key[key] = before
            if known is None:
                fleet.membership.forget(newcomer.id)
            raise
        for peer in fleet.members:
            if known is None and peer != newcomer.id:
                fleet.tell(peer, Members((newcomer,)))
        fleet.changed()
    return Welcome((fleet.me, *fleet.members.values()))


def _check_newcomer(fleet: Fleet, newcomer: Member) -> None:
    membership = fleet.membership
    if newcomer.id in membership.removed:
        raise FleetError("this relay was removed from the fleet: remove its peer.pem to be a new one")
    if newcomer.removed or not sane(newcomer):
        raise FleetError("this relay says what cannot be: an address is too long, or its key is none")
    if newcomer.id == fleet.me.id or membership.taken(newcomer, fleet.me):
        raise FleetError("this relay's key is in use here already: was its disk copied?")
    if len(membership.members) >= MOST_MEMBERS:
        raise FleetError(f"the fleet is full: {MOST_MEMBERS} relays")


def check_alone(fleet: Fleet) -> None:
    """FleetError unless this relay may join a fleet."""
    if fleet.members:
        raise FleetError(
            f"this relay is in a fleet of {len(fleet.members) + 1} already: to leave it run here:"
            f" camrelay peer remove {fleet.label(fleet.me.id)}"
        )


def adopt(fleet: Fleet, welcome: Welcome, key: str) -> Member:
    """Become a member: the relay with this key took us in. Returns it. FleetError if that cannot be kept."""
    check_alone(fleet)
    records = [one for one in welcome.members if one.id != fleet.me.id and not one.removed and sane(one)]
    inviter = next((one for one in records if key in map(key_hash, one.certs)), None)
    if inviter is None:
        raise FleetError("the inviting relay does not name itself: is it another camrelay?")
    before, fleet.membership = fleet.membership, Membership()  # who was removed before was another fleet's
    for record in records:
        fleet.membership.restore(record)
    try:
        fleet.save_or_fail()
    except FleetError:
        fleet.membership = before
        raise
    fleet.removed_by, fleet.removed_at, fleet.seen = "", 0.0, {}
    fleet.changed()
    return inviter
