"""Our part among the relays of the fleet: which segments we tell of others, and which we sweep (see ``duty``).

Rule kept here: what was a peer's part until now is told everything, and whoever only a lost peer knew there is asked.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from camrelay.relay.duty import FIT, Realm, holder

if TYPE_CHECKING:
    from camrelay.relay.announce import Announcer
    from camrelay.relay.context import Context
    from camrelay.relay.messages import RelayId
    from camrelay.relay.peers import Peer, Peers
    from camrelay.relay.publishing import Publishing
    from camrelay.relay.segment import Segment, Segments
    from camrelay.relay.settling import Settling
    from camrelay.relay.sweep import Sweep

LINKED_WITHIN = 10.0  # seconds after a start in which peers link, so that we do not sweep what they cover
MOST_CLAIMED = 4_096  # segments of one peer that nobody else has, until our addresses change
FADED = 60.0  # seconds in which the peer that serves a segment now learns all that we know
ADOPTED = 60.0  # seconds: a dead line is known on all sides after 25, and asking takes up to 40


class Parts:
    """Keeps ``Segment.served`` and ``Segment.ours_only``."""

    def __init__(
        self,
        context: Context,
        peers: Peers,
        publishing: Publishing,
        settling: Settling,
        announcer: Announcer,
        sweep: Sweep,
        now: float,
    ) -> None:
        self._context = context
        self._peers = peers
        self._publishing = publishing
        self._settling = settling
        self._announcer = announcer
        self._sweep = sweep
        self._until = now + LINKED_WITHIN
        self._fading: dict[Segment, float] = {}  # until when
        self._again: dict[Segment, float] = {}  # taken over: who is found there meanwhile hears it all, too
        self._holds = False  # is the sweep held back until peers have linked?

    def assign(self, now: float) -> None:
        """Find out anew what is our part."""
        me, realms = self._settling.me, self._realms()
        fit = self._publishing.ready, self._context.can_speak
        taken = []
        for segment in self._context.segments.ours:
            # Two sites may use the same numbers: a peer is on a wire of ours if a relay was heard there.
            alone = segment.interface is not None and not any(user.is_relay for user in segment.listeners)
            who = me if alone else holder(segment, me, fit, realms)
            ours = who == me
            segment.server = self._name(who)
            if ours and not segment.served:
                taken.append(segment)
            elif segment.served and not ours:
                segment.fading = True
                self._fading[segment] = now + FADED
            segment.served = ours
            segment.ours_only = not ours and self._tells_too(segment, realms)
            if ours and segment.others:
                self._settling.adopt(segment, now)
        self._announcer.rounds.take_over(taken)
        self._again.update({s: now + ADOPTED for s in taken if s.interface is None})
        self._holds = now < self._until and any(not peer.linked for peer in self._peers.values())
        self._sweep.readdress(self.swept(), now)

    def _realms(self) -> list[tuple[RelayId, Realm]]:
        return [(peer.id, peer.realm) for peer in self._peers.linked if peer.realm is not None]

    def _tells_too(self, segment: Segment, realms: list[tuple[RelayId, Realm]]) -> bool:
        """A peer sweeps this segment that we name, too, and no relay is in it: routers let each speak for its own."""
        if segment.told or segment.interface is not None or not segment.addresses:
            return False
        alone = not any(realm.is_in(segment) for _, realm in realms)
        return alone and self._context.can_speak and not self._context.settings.between_remote

    def name_servers(self) -> None:
        """Who serves the segments of others, for people: ``Segment.server``."""
        me, realms = self._settling.me, self._realms()
        for segment in self._context.segments.claimed:
            segment.server = self._name(holder(segment, me, FIT, realms))

    def _name(self, relay: RelayId | None) -> str | None:
        """Of a peer; None: of us, or of nobody."""
        return self._peers[relay].name if relay is not None and relay in self._peers else None

    def swept(self) -> list[Segment]:
        """The remote segments whose addresses it is our part to ask."""
        return [] if self._holds else [s for s in self._context.segments.remote if s.served]

    def live(self, address: str) -> bool:
        """Would a relay that is there now hear a user at ``address``?"""
        segments = self._context.segments
        segment = segments.of(address)
        if segment is None or segment in segments.pointed:
            return False
        return holder(segment, self._settling.me, FIT, self._realms()) is not None

    def readdress(self, before: Segments, now: float) -> None:
        """Our segments are others now."""
        served = {segment.name: segment.served for segment in before.all}
        for peer in self._peers.values():
            peer.claimed = 0
        for segment in self._context.segments.all:
            segment.served = served.get(segment.name, True)
        for peer in self._peers.values():
            self._claim(peer)
        self.assign(now)
        self._publishing.say_reach()

    def believe(self, peer: Peer, now: float) -> None:
        """``peer`` said where it hears users."""
        assert peer.reach is not None
        try:
            peer.realm = Realm(peer.reach)
        except ValueError:
            peer.realm = None
            self._context.count("reaches of peers refused")
        self._claim(peer)
        self.assign(now)

    def _claim(self, peer: Peer) -> None:
        segments = self._context.segments
        if peer.reach is None or peer.realm is None:
            return
        claims = (*peer.reach.local, *peer.reach.remote, *peer.reach.pointed)
        new = [segments.claim(text) for text in claims if peer.claimed < MOST_CLAIMED]
        peer.claimed += sum(segment is not None for segment in new)
        if any(new):
            for pointed in segments.pointed:
                for user in list(pointed.users):
                    self._context.roster.reseat(user, segments.of(user.address) or pointed)

    def next_due(self) -> float:
        """When there is something to do."""
        due = min((*self._again.values(), *self._fading.values()), default=math.inf)
        return min(due, self._until) if self._holds else due

    def tick(self, now: float) -> None:
        """Whatever is due."""
        for segment in [one for one, due in self._again.items() if now >= due]:
            del self._again[segment]
            self._announcer.rounds.take_over([segment])
        for segment in [one for one, due in self._fading.items() if now >= due]:
            del self._fading[segment]
            segment.fading = False
        if self._holds and now >= self._until:
            self.assign(now)
