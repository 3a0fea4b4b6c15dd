"""Fleets of relays in memory: what their links would carry is carried by hand, in order, through real bytes."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from camrelay.daemon import joining, leaving, rotating, wire
from camrelay.daemon.fleet import Fleet
from camrelay.daemon.peerkey import PeerKey

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from camrelay.daemon.wire import LinkMessage, Member

NOW = 1_700_000_000.0  # wall time at the beginning


def prepare(fleet: Fleet) -> None:
    """Give it a key if it has none."""
    if not fleet.me.id:
        fleet.take_key(joining.new_key(fleet.directory))


class Box:
    """One relay: its directory, its fleet, and the messages under way to it."""

    def __init__(self, net: Net, name: str) -> None:
        self.net = net
        self.name = name
        self.address = f"{name}.example.com:2425"
        self.directory = net.directory / name
        self.directory.mkdir()
        self.linked: dict[str, Box] = {}  # by the id that the other had when the link came up
        self.inbox: deque[tuple[str, bytes]] = deque()
        self.start()

    def start(self) -> None:
        """As the daemon does it: what is on disk, and our address of today."""
        self.fleet = Fleet.open(self.directory, self.name, wall=lambda: self.net.now)
        self.fleet.changed = self.refresh
        self.fleet.tell = self.tell
        self.move(self.address)

    def move(self, address: str) -> None:
        """It is to be dialled elsewhere from now on."""
        self.address = address
        self.fleet.readdress(self.name, (address,))

    @property
    def id(self) -> str:
        return self.fleet.me.id

    def tell(self, peer: str, message: LinkMessage) -> None:
        """Over the link, if there is one."""
        if peer in self.linked:
            self.linked[peer].inbox.append((self.id, wire.encode(message)))

    def refresh(self) -> None:
        """What Links does: who is no member is told so, and the link ends."""
        for peer in [peer for peer in self.linked if peer not in self.fleet.members]:
            own = next(id_ for id_, box in self.linked[peer].linked.items() if box is self)
            for message in self.fleet.dismissal(peer):
                self.linked[peer].inbox.append((own, wire.encode(message)))
            self.net.cut(self, self.linked[peer])

    def hear(self, times: int = 1) -> None:
        """Take the next message from a link."""
        sender, raw = self.inbox.popleft()
        message = wire.decode(raw)
        if isinstance(message, wire.Members | wire.Seen):
            for _ in range(times):
                for peer, answer in self.fleet.hear(sender, message):
                    self.tell(peer, answer)

    def known(self) -> dict[str, Member]:
        """The whole fleet as this relay knows it."""
        return {**self.fleet.members, self.id: self.fleet.me}


class Net:
    """All relays, and a clock. Links come up only where the keys of both sides are the right ones."""

    def __init__(self, directory: Path, names: Iterable[str] = ()) -> None:
        self.directory = directory
        self.now = NOW
        self.boxes = {name: Box(self, name) for name in names}

    def __getitem__(self, name: str) -> Box:
        return self.boxes[name]

    def link(self, one: Box, other: Box) -> bool:
        """Try to connect these two; do they have a link now?"""
        if one.id in other.linked or not (one.id and other.id):
            return one.id in other.linked
        showing = [(a, b, b.fleet.who(a.fleet.key().fingerprint)) for a, b in ((one, other), (other, one))]
        expected = all(a.fleet.key().fingerprint in b.fleet.pins_of(a.id) for a, b, _ in showing)
        if expected:
            assert all(who == ("member", a.id) for a, _, who in showing)
            one.linked[other.id], other.linked[one.id] = other, one
            for a, b in ((one, other), (other, one)):
                for message in a.fleet.greeting(b.id):
                    a.tell(b.id, message)
            return True
        for a, b, who in showing:
            # a dials b: b's key is the one that a expects, and b knows a as one that was removed
            if who == ("removed", a.id) and b.fleet.key().fingerprint in a.fleet.pins_of(b.id):
                a.inbox.extend((b.id, wire.encode(message)) for message in b.fleet.dismissal(a.id))
        return False

    def cut(self, one: Box, other: Box) -> None:
        """This link ends; what is under way still comes."""
        one.linked = {peer: box for peer, box in one.linked.items() if box is not other}
        other.linked = {peer: box for peer, box in other.linked.items() if box is not one}

    def restart(self, box: Box) -> None:
        """kill -9, and up again: links are gone, and what was under way to it."""
        for other in list(box.linked.values()):
            self.cut(box, other)
        box.inbox.clear()
        box.start()

    def join(self, newcomer: Box, inviter: Box) -> None:
        """All of an enrolment. FleetError."""
        for box in (newcomer, inviter):
            prepare(box.fleet)
        one_time = PeerKey.create()
        joining.invite(inviter.fleet, newcomer.name, one_time.cert)
        self.come(newcomer, inviter, one_time)

    def come(self, newcomer: Box, inviter: Box, one_time: PeerKey) -> None:
        """The newcomer's part of it, with the one-time key of its token."""
        joining.check_alone(newcomer.fleet)
        asked = wire.decode(wire.encode(wire.Join(newcomer.fleet.me)))
        assert isinstance(asked, wire.Join)
        welcome = wire.decode(wire.encode(joining.admit(inviter.fleet, one_time.fingerprint, asked.member)))
        assert isinstance(welcome, wire.Welcome)
        joining.adopt(newcomer.fleet, welcome, inviter.fleet.key().fingerprint)

    def rotate(self, box: Box) -> None:
        """Begin it. FleetError."""
        rotating.take(box.fleet, rotating.check(box.fleet).rotated())
        rotating.settle(box.fleet)

    def remove(self, victim: str, by: Box) -> None:
        """One says that another is no member."""
        leaving.remove(by.fleet, victim)

    def settle(self) -> None:
        """Connect whoever can, carry everything, until nothing happens any more."""
        boxes = list(self.boxes.values())
        for _ in range(8):
            for at, one in enumerate(boxes):
                for other in boxes[at + 1 :]:
                    self.link(one, other)
            quiet = not any(box.inbox for box in boxes)
            while any(box.inbox for box in boxes):
                for box in boxes:
                    if box.inbox:
                        box.hear()
            for box in boxes:
                box.fleet.review()
            if quiet:
                return
