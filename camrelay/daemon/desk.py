"""What people ask and change about the fleet: the requests of the control socket, the view of it, its warnings.

Rule kept here: one change at a time, so that two people at two terminals cannot undo each other's.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final, Never

import trio

from camrelay.daemon import fleetnames, joining, leaving, rotating, token
from camrelay.daemon.answers import (
    FleetView,
    InvitationView,
    Invited,
    Joined,
    PeerView,
    Removed,
    Rotated,
    Synced,
)
from camrelay.daemon.enrol import have_key
from camrelay.daemon.peerkey import PeerKey, key_hash
from camrelay.daemon.token import Token
from camrelay.daemon.words import words_of
from camrelay.errors import FleetError, UsageError
from camrelay.relay.sharing import unmatched

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from camrelay.config import Config
    from camrelay.daemon.answers import Request
    from camrelay.daemon.control import Tell
    from camrelay.daemon.enrol import Enrolment
    from camrelay.daemon.fleet import Fleet
    from camrelay.daemon.links import Links
    from camrelay.daemon.neighbour import LinkRow
    from camrelay.relay.outputs import Interface, Output
    from camrelay.relay.relay import Relay
    from camrelay.relay.rules import Share
    from camrelay.relay.snapshot import PeerRow

    Ask = Callable[[Request, Tell], Awaitable[object]]

REVIEW_EVERY: Final = 30.0  # seconds: an invitation's end may be seen so much later
SYNC_WITHIN: Final = 15.0  # seconds that somebody waits for what differs to be repaired
ANSWER_WITHIN: Final = 2.0  # seconds for a peer to answer; who takes longer is said to be awaited
LOOK_EVERY: Final = 0.2
COMPLAIN_AFTER: Final = 60.0  # seconds without a link: a restart takes less
LONGEST_NAME: Final = 64


class Desk:
    """See above. ``act`` lets happen what the relay decided."""

    def __init__(
        self,
        fleet: Fleet,
        enrolment: Enrolment,
        links: Links,
        relay: Relay,
        act: Callable[[list[Output], float], None],
    ) -> None:
        self._fleet = fleet
        self._enrolment = enrolment
        self._links = links
        self._relay = relay
        self._act = act
        self._changing = trio.Lock()
        # request -> may only root and our own user do that?, and what does it
        self.requests: dict[str, tuple[bool, Ask]] = {
            "peers": (False, self._list),
            "invite": (True, self._invite),
            "join": (True, self._join),
            "remove": (True, self._remove),
            "rotate": (True, self._rotate),
            "sync": (True, self._sync),
        }

    async def run(self) -> Never:
        """What is due without anybody asking, until cancelled."""
        while True:
            await trio.sleep(REVIEW_EVERY)
            self._fleet.review()

    def readdress(self, config: Config, interfaces: Sequence[Interface], hostname: str) -> None:
        """How other relays are to call and dial us, by what is configured and the interfaces that there are."""
        name = config.relay.name or hostname
        if not name.isprintable() or not 0 < len(name) <= LONGEST_NAME:
            name = f"relay {interfaces[0].address}" if interfaces else "relay"
        self._fleet.readdress(name, dialled_at(config, interfaces))

    # -- looking ------------------------------------------------------------------------------------------

    def view(self) -> FleetView:
        """The fleet now."""
        fleet, now = self._fleet, trio.current_time()
        links = {row.id: row for row in self._links.rows()}
        told = {row.id: row for row in self._relay.peers(now)}
        peers = [self._row(peer, links.get(peer), told.get(peer)) for peer in fleet.members]
        return FleetView(
            id=fleet.me.id,
            name=fleet.label(fleet.me.id),
            words=fleet.key().words if fleet.me.id else "",
            addresses=list(fleet.me.addresses),
            problem=fleet.problem or fleet.trouble,
            removed_by=fleet.removed_by,
            removed=max(0.0, fleet.wall() - fleet.removed_at) if fleet.removed_by else None,
            rotating=rotating.in_progress(fleet),
            awaited=rotating.awaited(fleet),
            invitations=self._invitations(),
            peers=sorted(peers, key=lambda row: (row.name.casefold(), row.id)),
        )

    def _invitations(self) -> list[InvitationView]:
        fleet = self._fleet
        return [
            InvitationView(
                id=key[:16],
                name=one.name,
                left=max(0.0, one.expires - fleet.wall()),
                used_by=fleet.label(one.used_by) if one.used_by else "",
            )
            for key, one in fleet.invitations.by_key.items()
        ]

    def _row(self, peer: str, link: LinkRow | None, told: PeerRow | None) -> PeerView:
        member = self._fleet.members[peer]
        return PeerView(
            id=peer,
            name=self._fleet.label(peer),
            state=state(link),
            since=link.since if link else 0.0,
            why=link.problem if link and link.state != "linked" else "",
            address=link.address if link else "",
            addresses=list(member.addresses),
            software=link.software if link else "",
            rtt=link.rtt if link else None,
            users=told.users if told else 0,
            owed=told.owed if told else 0,
            synced=told.synced if told else None,
            sent=link.sent if link else 0,
            received=link.received if link else 0,
            drops=dict(link.drops) if link else {},
            words=words_of(key_hash(member.certs[0])),
        )

    def warnings(self) -> list[str]:
        """What is wrong with the fleet, with the remedy."""
        fleet, found = self._fleet, []
        if fleet.problem:
            found.append(f"no fleet: {fleet.problem}")
        if fleet.me.id and fleet.key().note:
            found.append(fleet.key().note)
        if fleet.trouble:
            found.append(f"the fleet is not saved: {fleet.trouble}")
        if fleet.removed_by:
            found.append(
                f"this relay was removed from its fleet (said by {fleet.removed_by}) and runs alone:"
                " to come back, `camrelay peer invite` on a member and `camrelay peer join` here"
            )
        for row in self.view().peers:
            if row.state != "linked" and (row.since > COMPLAIN_AFTER or row.state == "refused"):
                found.append(f"relay {row.name}: {row.state}: {row.why or 'no answer yet'}")
        return found

    def unmatched(self, shares: Sequence[Share]) -> list[str]:
        """Rules of sharing that mean a relay nobody knows: misspelt, or it calls itself something else now."""
        fleet = self._fleet
        if not fleet.members:
            return []
        relays = [(fleet.label(id_), id_) for id_ in (fleet.me.id, *fleet.members)]
        return [
            f'"{pattern}" in [[share]] is no relay of the fleet, so the rule hides and shows nothing there:'
            " see `camrelay peer list`, and write its id instead of a name that may change"
            for pattern in unmatched(shares, relays)
        ]

    # -- requests -----------------------------------------------------------------------------------------

    async def _list(self, request: Request, tell: Tell) -> FleetView:
        return self.view()

    async def _invite(self, request: Request, tell: Tell) -> Invited:
        name = request.name.strip()
        if len(name) > LONGEST_NAME or not name.isprintable():
            raise UsageError(f"expected a name of at most {LONGEST_NAME} letters for the new relay")
        fleet = self._fleet
        async with self._changing:
            await have_key(fleet)
            seed = os.urandom(32)
            key = await trio.to_thread.run_sync(PeerKey.from_seed, seed)
            made = joining.invite(fleet, name, key.cert)
        return Invited(
            id=key.fingerprint[:16],
            token=token.write(Token(fleet.me.addresses, fleet.key().fingerprint, seed)),
            left=made.expires - fleet.wall(),
            name=name,
            relay=fleet.label(fleet.me.id),
            words=fleet.key().words,
            addresses=list(fleet.me.addresses),
        )

    async def _join(self, request: Request, tell: Tell) -> Joined:
        fleet = self._fleet
        async with self._changing:
            inviter = await self._enrolment.join(request.token)
        return Joined(
            inviter=inviter.name,
            inviter_words=words_of(key_hash(inviter.certs[0])),
            name=fleet.label(fleet.me.id),
            words=fleet.key().words,
            relays=len(fleet.members) + 1,
        )

    async def _remove(self, request: Request, tell: Tell) -> Removed:
        fleet = self._fleet
        async with self._changing:
            peer = fleetnames.find(fleet, request.peer)
            told = sum(row.state == "linked" and row.id != peer for row in self._links.rows())
            made = Removed(fleet.label(peer), peer, peer == fleet.me.id, told)
            leaving.remove(fleet, peer)
        return made

    async def _rotate(self, request: Request, tell: Tell) -> Rotated:
        fleet = self._fleet
        async with self._changing:
            await have_key(fleet)
            key = await trio.to_thread.run_sync(rotating.check(fleet).rotated)
            rotating.take(fleet, key)
            rotating.settle(fleet)
            with trio.move_on_after(ANSWER_WITHIN):
                while rotating.in_progress(fleet):  # noqa: ASYNC110 - acknowledgements tell nobody
                    await trio.sleep(LOOK_EVERY)
        return Rotated(words_of(key_hash(key.certs[-1])), rotating.awaited(fleet))

    async def _sync(self, request: Request, tell: Tell) -> list[Synced]:
        fleet = self._fleet
        wanted = [fleetnames.find(fleet, name) for name in request.peers] or list(fleet.members)
        if fleet.me.id in wanted:
            raise UsageError("this relay is always in step with itself: name another one")
        if not wanted:
            raise FleetError("this relay is in no fleet: see `camrelay peer --help`")
        began = trio.current_time()
        self._act(self._relay.sync_now(began, wanted), began)
        while self._unsettled(wanted, trio.current_time() - began):  # noqa: ASYNC110 - peers tell nobody
            await trio.sleep(LOOK_EVERY)
        rows = {row.id: row for row in self._relay.peers(trio.current_time())}
        return [
            Synced(
                fleet.label(peer),
                self._state_after(peer, began),
                rows[peer].owed if peer in rows else 0,
                rows[peer].users if peer in rows else 0,
            )
            for peer in wanted
        ]

    def _unsettled(self, wanted: Sequence[str], waited: float) -> bool:
        """Is it worth to wait for more?"""
        states = {self._state_after(peer, trio.current_time() - waited) for peer in wanted}
        return ("behind" in states and waited < SYNC_WITHIN) or ("told" in states and waited < ANSWER_WITHIN)

    def _state_after(self, peer: str, began: float) -> str:
        now = trio.current_time()
        row = next((row for row in self._relay.peers(now) if row.id == peer), None)
        if row is None or not row.linked:
            return "away"
        if row.owed:
            return "behind"
        return "equal" if row.synced is not None and row.synced <= now - began else "told"


def state(link: LinkRow | None) -> str:
    """In one word how it is with a member."""
    if link is None:
        return "connecting"
    if link.state == "linked":
        return "linked"
    if link.refused:
        return "refused"
    if link.drops:
        return "away"
    return "unreachable" if link.problem else "connecting"


def dialled_at(config: Config, interfaces: Sequence[Interface]) -> tuple[str, ...]:
    """What other relays are told to dial, "host:port"."""
    peers = config.peers
    if peers.address:
        return (peers.address if ":" in peers.address else f"{peers.address}:{peers.port}",)
    found = dict.fromkeys(f"{interface.address}:{peers.port}" for interface in interfaces)
    return tuple(found)[: token.MOST_ADDRESSES]
