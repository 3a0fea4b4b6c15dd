"""Who is in the fleet, as gossip makes it known. Pure: no file, no clock, no network.

Rules kept here: a removal is final and anyone may say it; a relay's record changes only in its own words, first hand.
Until it has spoken itself, the newest that any member knows of it counts: that is how a newcomer travels.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from camrelay.daemon.peerkey import key_hash, loadable

if TYPE_CHECKING:
    from collections.abc import Iterable

    from camrelay.daemon.wire import Member
    from camrelay.relay.messages import RelayId

MOST_MEMBERS: Final = (
    1024  # a hostile member may invent others; the links of so many are beyond one relay anyway
)
MOST_REMOVED: Final = 1024
MOST_REVISIONS: Final = 2**62  # nobody comes near by changing its record
CHANGES_A_MINUTE: Final = 60  # by one member; a rotation takes two
MOST_SENSELESS: Final = 8  # records in one message; looking into a certificate takes 0.5 ms
MOST_CERTS: Final = 2  # the key in use and, while it is rotated, the next one
MOST_ADDRESSES: Final = 16
LARGEST_CERT: Final = 512  # bytes; ours have under 300
LONGEST_ADDRESS: Final = 100  # characters
MOST_NEW: Final = 8  # members in a minute that nobody but the sender has named; the others wait their turn
FARTHEST: Final = 2**20  # revisions that a copy of our disk can be behind what we said


class Heard(NamedTuple):
    """What was new in a message."""

    changed: tuple[Member, ...]  # as we know them now
    confirmed: bool  # the sender spoke of itself for the first time
    expelled: bool  # it says that we are removed
    overtaken: int  # the greatest revision of ourselves that is not what we say; 0: none
    ignored: int  # records that nobody could mean
    added: int  # members that we had not heard of
    later: tuple[Member, ...]  # records of those for whom there was no room now


class Membership:
    """The records of all others, living and removed."""

    def __init__(self) -> None:
        self.members: dict[RelayId, Member] = {}
        self.removed: dict[RelayId, Member] = {}
        self.first_hand: set[RelayId] = set()  # those that spoke of themselves
        self._owner: dict[str, RelayId] = {}  # key hash -> whose

    def hear(self, peer: RelayId, told: Iterable[Member], me: Member, room: int = MOST_NEW) -> Heard:
        """Merge what a member told us; ``room``: for so many that we had not heard of."""
        changed: list[Member] = []
        later: list[Member] = []
        before, expelled, overtaken, ignored, added = len(self.first_hand), False, 0, 0, 0
        for record in told:
            if record.id == me.id:
                expelled |= record.removed
                # far ahead is only who wants our revisions to come to their end
                near = me.revision <= record.revision < min(me.revision + FARTHEST, MOST_REVISIONS)
                if near and record != me:
                    overtaken = max(overtaken, record.revision)
            elif record.removed:
                if self.remove(record):
                    changed.append(self.removed[record.id])
            elif ignored < MOST_SENSELESS and self._news(record, own_words=record.id == peer):
                new = record.id not in self.members
                if new and added >= room:
                    later.append(record)
                elif not sane(record) or self.taken(record, me):
                    ignored += 1
                else:
                    added += new
                    if self._put(record, own_words=record.id == peer):
                        changed.append(record)
        confirmed = len(self.first_hand) > before
        return Heard(tuple(changed), confirmed, expelled, overtaken, ignored, added, tuple(later))

    def _news(self, record: Member, *, own_words: bool) -> bool:
        """Would we take this record of a living member?"""
        known, heard_itself = self.members.get(record.id), record.id in self.first_hand
        if record.id in self.removed or (known is None and len(self.members) >= MOST_MEMBERS):
            return False
        if known is None:
            return True
        # whatever others made of it: what a relay says first of itself counts, and after that only what it says
        return (own_words and not heard_itself) or (
            own_words >= heard_itself and record.revision > known.revision
        )

    def _put(self, record: Member, *, own_words: bool) -> bool:
        """Take it; does it differ from what we had?"""
        known = self.members.get(record.id)
        if own_words:
            self.first_hand.add(record.id)
        self.restore(record)
        return record != known

    def taken(self, record: Member, me: Member) -> bool:
        """Does it claim the key of somebody else?"""
        hashes = {key_hash(cert) for cert in record.certs}
        return any(
            self._owner.get(found, record.id) != record.id for found in hashes
        ) or not hashes.isdisjoint(key_hash(cert) for cert in me.certs)

    def restore(self, record: Member) -> None:
        """Keep a record as it is: from disk, or after it was judged."""
        if record.removed:
            self.removed[record.id] = record
        else:
            self._forget_keys(record.id)
            self.members[record.id] = record
            self._owner.update((key_hash(cert), record.id) for cert in record.certs)

    def remove(self, record: Member) -> bool:
        """This relay is no member, for ever; was that new?"""
        known = self.members.pop(record.id, None)
        if record.id in self.removed or (known is None and len(self.removed) >= MOST_REMOVED):
            return False
        self._forget_keys(record.id)
        self.first_hand.discard(record.id)
        # what we knew of it, so that it can be told when it calls, and not what somebody says of it now
        self.removed[record.id] = (known or record._replace(certs=()))._replace(addresses=(), removed=True)
        return True

    def forget(self, relay_id: RelayId) -> None:
        """As if it had never been heard of."""
        self.members.pop(relay_id, None)
        self._forget_keys(relay_id)

    def owner(self, key: str) -> RelayId | None:
        """The living member whose key has this hash."""
        return self._owner.get(key)

    def _forget_keys(self, relay_id: RelayId) -> None:
        self._owner = {found: owner for found, owner in self._owner.items() if owner != relay_id}


def sane(record: Member) -> bool:
    """Can anybody mean this record of a living member?"""
    return (
        record.name.isprintable()
        and record.revision < MOST_REVISIONS
        and 0 < len(record.certs) <= MOST_CERTS
        and len(record.addresses) <= MOST_ADDRESSES
        and all(len(address) <= LONGEST_ADDRESS for address in record.addresses)
        and all(len(cert) <= LARGEST_CERT and loadable(cert) for cert in record.certs)
    )


def bare(record: Member) -> Member:
    """As it travels: of a removed one only that it is removed."""
    return record._replace(certs=(), addresses=()) if record.removed else record


class Budget:
    """How often a member may change something: each change is a write to disk that everything waits for."""

    def __init__(self) -> None:
        self.room = MOST_NEW  # for members that it is the first to name
        self._later: dict[RelayId, Member] = {}
        self._spent = 0
        self._since = float("-inf")

    def left(self, now: float) -> bool:
        """May it now? A new minute is a new budget."""
        if now - self._since >= 60.0:
            self._since, self._spent, self.room = now, 0, MOST_NEW
        return self._spent < CHANGES_A_MINUTE

    def postpone(self, records: Iterable[Member]) -> None:
        """For these there was no room."""
        for record in records:
            if record.id in self._later or len(self._later) < MOST_MEMBERS:
                self._later[record.id] = record

    def due(self, now: float) -> tuple[Member, ...]:
        """What was postponed, if there is room again; it is to be heard again."""
        if not self._later or not self.left(now) or not self.room:
            return ()
        found, self._later = tuple(self._later.values()), {}
        return found

    def spend(self) -> None:
        """It did."""
        self._spent += 1
