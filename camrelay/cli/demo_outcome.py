"""The cast of ``camrelay demo``, what was seen of it, and the verdict: who should see whom, and who did."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from camrelay.cli.demo_client import Person

if TYPE_CHECKING:
    from camrelay.cli.demo_client import Client, Seen

RELAY = "192.168.1.2"
FLOORS = {
    "1F": (
        Person("田中", "営業", "tanaka", "PC-1F-01", "192.168.1.11", "classic", "cp932"),
        Person("Anna", "Sales", "anna", "nb-anna", "192.168.1.12", "iptux", "utf-8"),
        Person("鈴木", "総務", "suzuki", "PC-1F-03", "192.168.1.13", "trailer", "cp932"),
    ),
    "2F": (
        Person("佐藤", "開発", "sato", "PC-2F-01", "192.168.2.21", "trailer", "cp932"),
        Person("Zoe", "Design", "zoe", "nb-zoe", "192.168.2.22", "iptux", "utf-8"),
        Person("Marc", "Support", "marc", "PC-2F-03", "192.168.2.23", "classic", "cp932"),
    ),
}
MESSAGES = (
    ("192.168.1.11", "192.168.2.21", "お昼ご飯、一緒にどうですか?"),
    ("192.168.2.22", "192.168.1.12", "Coffee at three?"),
)
QUITS = "192.168.1.13"


@dataclass(slots=True)
class Delivery:
    """One message across. Times in seconds after sending; the sources are those that the sockets saw."""

    sender: Person
    receiver: Person
    text: str
    arrived: float | None = None
    came_from: str = ""
    receipt: float | None = None
    receipt_from: str = ""

    @property
    def ok(self) -> bool:
        """Delivered and receipted, each directly from the other client."""
        return self.came_from == self.sender.address and self.receipt_from == self.receiver.address


@dataclass(slots=True)
class Outcome:
    """All that was seen. Moments are monotonic seconds; ``started`` is when the daemon was."""

    clients: dict[str, Client]
    before: dict[str, dict[str, Seen]] = field(default_factory=dict)  # viewer -> its list without camrelay
    after: dict[str, dict[str, Seen]] = field(default_factory=dict)  # and with it
    started: float = 0.0
    ready: float | None = None
    seen: dict[tuple[str, str], float] = field(default_factory=dict)  # (viewer, seen) -> moment, across only
    deliveries: list[Delivery] = field(default_factory=list)
    quitter: Person | None = None
    quit_at: float = 0.0
    missed: dict[str, float] = field(
        default_factory=dict
    )  # viewer on the other floor -> when the quitter was off
    exit_code: int | None = None
    seconds: float = 0.0

    def across(self) -> list[tuple[str, str]]:
        """Every (viewer, seen) pair with the router in between."""
        return [(one, other) for one in self.clients for other in self.clients if floor(one) != floor(other)]

    def same_floor(self) -> list[tuple[str, str]]:
        """Every (viewer, seen) pair of one segment."""
        return [
            (one, other)
            for one in self.clients
            for other in self.clients
            if one != other and floor(one) == floor(other)
        ]

    def problems(self) -> list[str]:
        """What did not happen as it should, one line each; empty if everything did."""
        nick = {address: client.person.nick for address, client in self.clients.items()}
        found = [
            f"{nick[viewer]} saw {nick[seen]} across the router without camrelay"
            for viewer, seen in self.across()
            if seen in self.before.get(viewer, {})
        ]
        found += [
            f"{nick[viewer]} never saw {nick[seen]}"
            for viewer, seen in self.across()
            if (viewer, seen) not in self.seen
        ]
        found += [
            f"{d.sender.nick}'s message to {d.receiver.nick} went wrong" for d in self.deliveries if not d.ok
        ]
        if len(self.deliveries) < len(MESSAGES):
            found.append("no message was sent")
        found += [
            f"{nick[viewer]} still lists {nick[QUITS]}"
            for viewer in self.clients
            if floor(viewer) == "2F" and viewer not in self.missed
        ]
        if self.exit_code != 0:
            found.append(f"camrelay ended with exit code {self.exit_code}")
        return found


def floor(address: str) -> str:
    """ "1F" or "2F"."""
    return next(
        name for name, people in FLOORS.items() if any(person.address == address for person in people)
    )


def document(outcome: Outcome) -> dict[str, Any]:
    """The outcome as JSON: times in milliseconds, those of lists after the daemon's start."""

    def since(moment: float | None, start: float) -> float | None:
        return None if moment is None else round((moment - start) * 1000, 1)

    lists = [
        {
            "viewer": client.person.nick,
            "address": address,
            "segment": floor(address),
            "before": list(outcome.before.get(address, {})),
            "after": [
                {"address": seen, "nick": entry.presence.nick_text, "relay": entry.is_relay,
                 "ms": since(outcome.seen.get((address, seen)), outcome.started)}
                for seen, entry in outcome.after.get(address, {}).items()
            ],
        }
        for address, client in outcome.clients.items()
    ]  # fmt: skip
    messages = [
        {
            "from": d.sender.address, "to": d.receiver.address, "text": d.text,
            "came_from": d.came_from or None, "arrived_ms": since(d.arrived, 0),
            "receipt_from": d.receipt_from or None, "receipt_ms": since(d.receipt, 0),
        }
        for d in outcome.deliveries
    ]  # fmt: skip
    problems = outcome.problems()
    return {
        "ok": not problems,
        "problems": problems,
        "seconds": round(outcome.seconds, 2),
        "ready_ms": since(outcome.ready, outcome.started),
        "pairs_across": len(outcome.across()),
        "pairs_across_seen": len(outcome.seen),
        "lists": lists,
        "messages": messages,
        "quit": {
            "who": QUITS,
            "off_ms": {viewer: since(moment, outcome.quit_at) for viewer, moment in outcome.missed.items()},
        },
        "exit_code": outcome.exit_code,
    }
