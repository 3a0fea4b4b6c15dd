"""What the relay decided, carried where it belongs: datagrams to the LAN, events to log, disk and watchers.

The relay knows none of these; a new listener to events is one more line here.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Final

from camrelay.daemon.history import History
from camrelay.daemon.samples import Samples
from camrelay.ipmsg.kind import Kind
from camrelay.relay import view
from camrelay.relay.outputs import (
    Connect,
    PeerForgotten,
    PeerSaid,
    SweepDone,
    Tell,
    Transmit,
    Twin,
    UserChanged,
    UserForgotten,
    UserHeard,
    UserJoined,
    UserLeft,
    UserMoved,
    UserYielded,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from camrelay.daemon.calls import Calls
    from camrelay.daemon.control import Control, Pass
    from camrelay.daemon.lan import LanLike
    from camrelay.daemon.links import Links
    from camrelay.daemon.log import Log
    from camrelay.daemon.store import Store
    from camrelay.daemon.tap import Tap
    from camrelay.relay.outputs import Event, Output
    from camrelay.relay.user import User

# What watchers are told, by event; and the line that is logged.
NAMES: Final[dict[type, str]] = {
    UserJoined: "joined",
    UserChanged: "changed",
    UserMoved: "moved",
    UserLeft: "left",
    UserForgotten: "forgotten",
}


class Router:
    """Takes every list of outputs, in the order in which they were decided."""

    def __init__(self, lan: LanLike, store: Store, log: Log, tap: Tap) -> None:
        self._lan = lan
        self._tap = tap
        self._store = store
        self._log = log
        self.history = History()
        self.samples = Samples(tap)
        self.control: Control | None = None  # made later: it needs the service, which needs this
        self.calls: Calls | None = None  # for the same reason
        self.links: Links | None = None  # where there may be a fleet
        self.passes: list[Pass] = []  # sweeps that somebody waits for
        self.changed = True  # did users come or go since somebody set this to False?

    def take(self, outputs: Iterable[Output], now: float) -> None:
        """Send the datagrams, tell the events."""
        transmits: list[Transmit] = []
        others: list[Connect | Tell | Event] = []
        for output in outputs:
            if isinstance(output, Transmit):
                transmits.append(output)
            else:
                others.append(output)
        if transmits:  # first: log and disk can wait, clients should not
            self._lan.send(transmits)
            self._store.used_numbers(len(transmits))
            if self._tap.active:
                self._tap.sent(transmits, now)
        for other in others:
            if isinstance(other, Tell):
                if self.links is not None:
                    self.links.tell(other.peer, other.message)
            elif not isinstance(other, Connect):
                self._event(other, now)
            elif self.calls is not None:
                self._store.used_numbers(1)
                self.calls.start(other)

    def _event(self, event: Event, now: float) -> None:
        self.history.note(event, now)
        match event:
            case UserHeard(user):
                self._save(user, now)
            case UserYielded(user):
                self._store.forget(user.key)
            case UserForgotten(user):
                self._store.forget(user.key)
                self._tell(event, user, now)
            case UserJoined(user) | UserChanged(user):
                self._save(user, now)
                self._tell(event, user, now)
            case UserMoved(user, was):
                self._save(user, now)
                self._tell(event, user, now, was=was)
            case UserLeft(user, reason):
                self._save(user, now)
                self._tell(event, user, now, reason=reason)
            case PeerSaid(peer, rows, gone):
                self._store.told(peer, rows, gone)
            case PeerForgotten(peer):
                self._store.forget_peer(peer)
            case Twin(user, other):
                self._log.warning("one name at two addresses", **_who(user), other=other)
            case SweepDone():
                self._sweep_done(event)

    def _save(self, user: User, now: float) -> None:
        """A user whom we hear first hand; what a peer tells is kept as it says it (PeerSaid)."""
        if user.home:
            self._store.save(user.key, user.saved(now))

    def _tell(self, event: Event, user: User, now: float, **more: str) -> None:
        self.changed = True
        name = NAMES[type(event)]
        if user.presence.kind is Kind.UNKNOWN:
            self.samples.meet(user, now)
        self._log.info(f"user {name}", **_who(user), **more)
        if self.control is not None and self.control.watched:
            self.control.publish({"event": name, "user": asdict(view.row(user, now)), **more})

    def _sweep_done(self, done: SweepDone) -> None:
        self._log.info(
            "sweep pass done",
            segment=done.segment, asked=done.asked, answered=done.answered, seconds=round(done.seconds, 1),
        )  # fmt: skip
        for waiting in self.passes:
            waiting.done(done.segment, done.answered)
        self.passes = [waiting for waiting in self.passes if waiting.segments]


def _who(user: User) -> dict[str, str]:
    presence = user.presence
    return {
        "nick": presence.nick_text,
        "logon": presence.logon_text,
        "host": presence.host_text,
        "address": user.address,
        "segment": user.segment.name,
        "kind": presence.kind.value,
    }
