"""The fleet as this relay knows it: who is in it, which keys are theirs, who was invited. State and file, no network.

Rules kept here: what others rely on (an acknowledged key, a spent token) is on disk before it is said; a removal counts
at once, disk or not. Whatever changes calls ``changed``, and what others must hear goes through ``tell``.
"""

from __future__ import annotations

import time
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Final

from camrelay.daemon import fleetfile, rotating
from camrelay.daemon.durably import reason
from camrelay.daemon.fleetfile import Other, Saved, Self
from camrelay.daemon.fleetnames import label
from camrelay.daemon.invitations import Invitations
from camrelay.daemon.membership import Budget, Membership, bare
from camrelay.daemon.peerkey import FILE as KEY_FILE
from camrelay.daemon.peerkey import PeerKey, key_hash
from camrelay.daemon.wire import Bye, Member, Members, Seen
from camrelay.errors import FleetError

if TYPE_CHECKING:
    import os
    from collections.abc import Callable

    from camrelay.daemon.wire import LinkMessage
    from camrelay.relay.messages import RelayId

AT_ONCE: Final = 64  # records in one message: some 25 KB
REMOVED_PINNED: Final = 64  # of the relays removed last: so that they can be told


class Fleet:
    """Membership, keys and invitations. ``problem`` says why there can be no fleet; ``trouble`` why it is not saved."""

    def __init__(
        self, directory: str | os.PathLike[str], name: str, wall: Callable[[], float] = time.time
    ) -> None:
        self.changed: Callable[[], object] = lambda: None  # members, keys or pins are others now
        self.tell: Callable[[RelayId, LinkMessage], object] = lambda peer, message: None
        self.log: Callable[..., object] = lambda event, **keys: None  # what a log is to say
        self.counters: dict[str, int] = {}
        self.problem = self.trouble = ""
        self.removed_by, self.removed_at = "", 0.0
        self.me = Member("", name, (), (), 0)
        self.invitations = Invitations()
        self.directory = Path(directory)
        self.wall = wall
        self._key: PeerKey | None = None
        self.former: Member | None = None  # what we were when we left: the last words to the others
        self.membership = Membership()
        self.seen: dict[RelayId, int] = {}
        self._changes: dict[RelayId, Budget] = {}

    @classmethod
    def open(
        cls, directory: str | os.PathLike[str], name: str, wall: Callable[[], float] = time.time
    ) -> Fleet:
        """What is on disk. Never raises: with unusable files the relay runs alone and says so (``problem``)."""
        made = cls(directory, name, wall)
        try:
            try:
                made._load()
            except OSError as error:
                raise FleetError(f"{error.filename}: {reason(error)}") from None
        except FleetError as error:
            made = cls(directory, name, wall)
            made.problem = str(error)
        return made

    def _load(self) -> None:
        path = self.directory / fleetfile.FILE
        saved = fleetfile.load(path)
        if saved is not None and not saved.relay.id:  # removed, and perhaps the key outlived a crash
            (self.directory / KEY_FILE).unlink(missing_ok=True)
        if (self.directory / KEY_FILE).exists():
            self._key = PeerKey.load_or_create(self.directory)
        elif saved is not None and saved.relay.id:
            raise FleetError(f"{self.directory / KEY_FILE}: missing: put a copy back, or remove {path} too")
        own_id = self._key.id if self._key else ""
        if saved is None:
            self.me = self.me._replace(id=own_id, certs=self._key.certs if self._key else (), revision=1)
            return
        if saved.relay.id != own_id:
            raise FleetError(f"{path}: of another relay than {KEY_FILE} beside it: put the right ones back")
        self._restore(saved)

    def _restore(self, saved: Saved) -> None:
        own = saved.relay
        self.me = Member(own.id, own.name, own.addresses, own.certs, own.revision)
        self.removed_by, self.removed_at = own.removed_by, own.removed_at
        try:
            for other in saved.member:
                self.membership.restore(
                    Member(other.id, other.name, other.addresses, other.certs, other.revision, other.removed)
                )
            self.invitations = Invitations(saved.invitation)
        except ValueError:
            raise FleetError(f"{self.directory / fleetfile.FILE}: damaged: a certificate is none") from None
        self.membership.first_hand = {other.id for other in saved.member if other.first_hand}
        self.seen = {other.id: other.seen for other in saved.member if not other.removed}
        if self._key and self._key.certs != own.certs:  # a crash in the middle of a rotation
            self.speak(certs=self._key.certs)
            self.save()

    # -- for the links ------------------------------------------------------------------------------------

    @property
    def members(self) -> dict[RelayId, Member]:
        """The others. Not to be changed."""
        return self.membership.members

    @property
    def needed(self) -> bool:
        """Is there anybody whose connection we would take?"""
        membership = self.membership
        return bool(self._key and (membership.members or membership.removed or self.invitations.by_key))

    def key(self) -> PeerKey:
        """Our key as it is now: it changes with a rotation. FleetError if there is none."""
        if self._key is None:
            raise FleetError(self.problem or "this relay has no peer key yet")
        return self._key

    def pins(self) -> tuple[bytes, ...]:
        """The certificates whose owners get through the handshake; ``who`` says what they are to us."""
        lately = list(self.membership.removed.values())[-REMOVED_PINNED:]
        certs = [cert for member in (*self.members.values(), *lately) for cert in member.certs]
        return (*certs, *(one.cert for one in self.invitations.by_key.values()))

    def who(self, key: str) -> tuple[str, str] | None:
        """Whose key is this (``peer_key_of``)? ("member" or "removed", id), ("invitation", name), or None."""
        if (owner := self.membership.owner(key)) is not None:
            return "member", owner
        if (one := self.invitations.by_key.get(key)) is not None:
            return "invitation", one.name
        for removed in self.membership.removed.values():
            if key in map(key_hash, removed.certs):
                return "removed", removed.id
        return None

    def addresses(self, peer: RelayId) -> tuple[str, ...]:
        """Where to dial a member, "host:port"; () if it is none any more."""
        return self.members[peer].addresses if peer in self.members else ()

    def pins_of(self, peer: RelayId) -> frozenset[str]:
        """The key hashes that a member may show when it is dialled."""
        return frozenset(map(key_hash, self.members[peer].certs)) if peer in self.members else frozenset()

    def greeting(self, peer: RelayId) -> list[LinkMessage]:
        """What a member is told when a link to it is up: all we know."""
        records = iter((self.me, *self.members.values(), *map(bare, self.membership.removed.values())))
        messages: list[LinkMessage] = []
        while piece := tuple(islice(records, AT_ONCE)):
            messages.append(Members(piece))
        return messages

    def dismissal(self, peer: RelayId) -> list[LinkMessage]:
        """The last words to one that is no member: it is to know."""
        if (removed := self.membership.removed.get(peer)) is not None:
            return [Members((bare(removed),)), Bye("removed from the fleet")]
        if self.former is not None:
            return [Members((self.former,)), Bye(f"{self.me.name} has left the fleet")]
        return [Bye(f"{self.me.name} was removed from the fleet")]

    def hear(self, peer: RelayId, message: Members | Seen) -> list[tuple[RelayId, LinkMessage]]:
        """What a member told us over its link, and what is to be said to whom because of it."""
        if peer not in self.members:
            return []
        if isinstance(message, Seen):
            self._acknowledged(peer, message)
            return []
        told, budget = message.members, self._changes.setdefault(peer, Budget())
        if not (within := budget.left(time.monotonic())):
            told = tuple(record for record in told if record.removed)  # final, so nobody can say many
            if len(told) < len(message.members):
                self._count("fleet messages ignored: too many changes")
            if not told:
                return []
        heard = self.membership.hear(peer, told, self.me, budget.room)
        budget.room -= heard.added
        budget.postpone(heard.later)
        if heard.ignored:
            self._count("fleet records ignored: senseless", heard.ignored)
        unsaved = heard.changed or heard.confirmed or heard.overtaken or (within and self.trouble)
        if heard.ignored or unsaved:
            budget.spend()
        if heard.expelled:
            self.reset(by=self.label(peer))
            return []
        if heard.overtaken:  # our file is older than what we said: it came from a copy
            self.me = self.me._replace(revision=heard.overtaken)
            self.speak()
        saved = self.save() if unsaved else True
        if heard.overtaken:
            self.spread(self.me)
        said: list[tuple[RelayId, LinkMessage]] = [
            (other, Members(tuple(bare(record) for record in heard.changed)))
            for other in self.members
            if other != peer and heard.changed
        ]
        own = next((record for record in told if record.id == peer), None)
        if saved and own is not None and peer in self.members:  # one may say of itself that it is removed
            said.append((peer, Seen(peer, self.members[peer].revision)))
        for record in heard.changed:
            what = "relay removed" if record.removed else "relay in the fleet"
            self.log(what, peer=self.label(record.id), by=self.label(peer))
        if heard.changed:
            self.changed()
        return said

    def _acknowledged(self, peer: RelayId, message: Seen) -> None:
        """A member has this revision of our record."""
        if message.id == self.me.id and self.seen.get(peer, 0) < message.revision <= self.me.revision:
            self.seen[peer] = message.revision
            if rotating.in_progress(self) and message.revision == self.me.revision:  # the last one is awaited
                self.save()  # it may be away when we are started again
                rotating.settle(self)

    def label(self, peer: RelayId) -> str:
        """How people call a relay: see ``fleetnames``."""
        return label(self, peer)

    # -- changes ------------------------------------------------------------------------------------------

    def readdress(self, name: str, addresses: tuple[str, ...]) -> None:
        """How we are called and dialled from now on."""
        if (name, addresses) != (self.me.name, self.me.addresses):
            self.speak(name=name, addresses=addresses)
            if self._key:
                self.save()
                self.spread(self.me)

    def take_key(self, key: PeerKey) -> None:
        """Ours from now on. It is on disk already."""
        self._key = key
        self.me = self.me._replace(id=key.id)
        self.speak(certs=key.certs)

    def review(self) -> None:
        """Once a minute: what time and acknowledgements bring about, and another try to save."""
        if self.problem:
            return
        if self.invitations.purge(self.wall()):
            self.save()
            self.changed()
        if self.trouble:
            self.save()
        for peer, budget in list(self._changes.items()):
            if due := budget.due(time.monotonic()):
                for other, said in self.hear(peer, Members(due)):
                    self.tell(other, said)
        rotating.settle(self)

    def speak(self, **fields: object) -> None:
        """Our record says something else now."""
        self.me = self.me._replace(**fields, revision=self.me.revision + 1)  # type: ignore[arg-type]

    def spread(self, record: Member) -> None:
        """Tell every member."""
        for peer in self.members:
            self.tell(peer, Members((record,)))

    def reset(self, by: str = "") -> None:
        """We are in no fleet: its members go, and our key, which they will never take again."""
        self.log("left the fleet", by=by or "here")
        if by:
            self.former = None
        self.removed_by, self.removed_at = by, self.wall() if by else 0.0
        self._key, self.me = None, Member("", self.me.name, self.me.addresses, (), 0)
        self.membership, self.invitations, self.seen, self._changes = Membership(), Invitations(), {}, {}
        if self.save():
            with suppress(OSError):  # it is of no use any more, and goes with the next start
                (self.directory / KEY_FILE).unlink(missing_ok=True)
        self.changed()

    def save(self) -> bool:
        """Write fleet.toml. If that fails ``trouble`` says why, and ``review`` tries again."""
        try:
            self.save_or_fail()
        except FleetError as error:
            self.trouble = str(error)
            return False
        return True

    def save_or_fail(self) -> None:
        """The same; FleetError."""
        if self.problem:
            raise FleetError(self.problem)
        me = self.me
        relay = Self(me.id, me.name, me.revision, me.addresses, me.certs, self.removed_by, self.removed_at)
        members = (*self.members.values(), *self.membership.removed.values())
        others = [
            Other(
                m.id, m.name, m.revision, m.addresses, m.certs, m.removed,
                m.id in self.membership.first_hand, self.seen.get(m.id, 0),
            )
            for m in members
        ]  # fmt: skip
        invited = tuple(self.invitations.by_key.values())
        fleetfile.save(
            self.directory / fleetfile.FILE, Saved(relay, member=tuple(others), invitation=invited)
        )
        self.trouble = ""

    def _count(self, what: str, times: int = 1) -> None:
        self.counters[what] = self.counters.get(what, 0) + times
