"""The cast of ``camrelay demo --sites 3``, what was seen of it, and the verdict."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from camrelay.cli.demo_client import Person

if TYPE_CHECKING:
    from camrelay.cli.demo_client import Client, Seen
    from camrelay.cli.demo_outcome import Delivery

SITES = {
    "tokyo": (
        Person("田中", "営業", "tanaka", "PC-TYO-01", "192.168.1.11", "classic", "cp932"),
        Person("Anna", "Sales", "anna", "nb-anna", "192.168.1.12", "iptux", "utf-8"),
    ),
    "osaka": (
        Person("佐藤", "開発", "sato", "PC-OSA-01", "192.168.2.21", "trailer", "cp932"),
        Person("Zoe", "Design", "zoe", "nb-zoe", "192.168.2.22", "iptux", "utf-8"),
    ),
    "naha": (
        Person("鈴木", "総務", "suzuki", "PC-OKA-01", "192.168.3.31", "trailer", "cp932"),
        Person("Marc", "Support", "marc", "PC-OKA-02", "192.168.3.32", "classic", "cp932"),
    ),
}
RELAYS = {"tokyo": "192.168.1.2", "osaka": "192.168.2.2", "naha": "192.168.3.2"}
JOINS = (("tokyo", "osaka"), ("osaka", "naha"))  # who invites whom: any member may
DIES = "naha"  # whose relay is killed
LATECOMER = Person("高橋", "総務", "takahashi", "PC-OKA-03", "192.168.3.33", "trailer", "cp932")  # meanwhile
QUITS = "192.168.1.12"  # meanwhile, too
MESSAGES = (
    ("192.168.3.31", "192.168.1.11", "那覇からこんにちは"),
    ("192.168.2.22", "192.168.3.32", "Coffee at three?"),
)
MEANWHILE = ("192.168.2.21", "192.168.3.31", "中継サーバーがなくても届きます")


class Join(NamedTuple):
    """One relay that came into the fleet, and what the command printed there."""

    inviter: str
    newcomer: str
    said: list[str]


@dataclass(slots=True)
class FleetOutcome:
    """All that was seen. Moments are monotonic seconds."""

    clients: dict[str, Client]
    before: dict[str, dict[str, Seen]] = field(default_factory=dict)  # viewer -> its list without a fleet
    after: dict[str, dict[str, Seen]] = field(default_factory=dict)  # and with it
    final: dict[str, dict[str, Seen]] = field(default_factory=dict)  # and when the killed relay was back
    ready: dict[str, float] = field(default_factory=dict)  # relay -> seconds after its start
    joins: list[Join] = field(default_factory=list)
    joined_at: float = 0.0  # when the last one had its welcome
    seen: dict[tuple[str, str], float] = field(default_factory=dict)  # (viewer, seen) -> moment, across only
    deliveries: list[Delivery] = field(default_factory=list)
    killed_at: float = 0.0
    noticed: dict[str, float] = field(default_factory=dict)  # relay -> when it knew that the link was lost
    meanwhile: Delivery | None = None
    too_early: list[str] = field(default_factory=list)  # who listed the latecomer while the relay was dead
    back_at: float = 0.0
    late: dict[str, float] = field(default_factory=dict)  # viewer elsewhere -> when it listed the latecomer
    missed: dict[str, float] = field(default_factory=dict)  # viewer there -> when the quitter was off
    vanished: set[tuple[str, str]] = field(default_factory=set)  # (viewer, seen): was off a list, and is here
    exit_codes: dict[str, int | None] = field(default_factory=dict)
    seconds: float = 0.0

    def pairs(self, *, across: bool) -> list[tuple[str, str]]:
        """Every (viewer, seen) of different sites, or of the same; without the latecomer."""
        cast = [person.address for people in SITES.values() for person in people]
        return [
            (one, other)
            for one in cast
            for other in cast
            if one != other and (site(one) != site(other)) is across
        ]

    def problems(self) -> list[str]:
        """What did not happen as it should, one line each; empty if everything did."""
        return [*self._meeting_problems(), *self._outage_problems()]

    def _meeting_problems(self) -> list[str]:
        nick = self._nick
        found = [
            f"{nick(viewer)} saw {nick(seen)} of another site before the relays knew each other"
            for viewer, seen in self.pairs(across=True)
            if seen in self.before.get(viewer, {})
        ]
        found += [
            f"{nick(viewer)} never saw {nick(seen)}"
            for viewer, seen in self.pairs(across=True)
            if (viewer, seen) not in self.seen
        ]
        found += [
            f"{d.sender.nick}'s message to {d.receiver.nick} went wrong" for d in self.deliveries if not d.ok
        ]
        if len(self.deliveries) < len(MESSAGES):
            found.append("a message was not sent")
        return found

    def _outage_problems(self) -> list[str]:
        nick = self._nick
        found = [
            f"{name} did not notice that {DIES} was gone"
            for name in SITES
            if name != DIES and name not in self.noticed
        ]
        found += [f"{nick(viewer)} listed {LATECOMER.nick} without a relay" for viewer in self.too_early]
        if self.meanwhile is None or not self.meanwhile.ok:
            found.append("without the relay no message arrived")
        found += [f"{nick(viewer)} lost {nick(seen)}" for viewer, seen in sorted(self.vanished)]
        found += [
            f"{nick(viewer)} never saw {LATECOMER.nick}" for viewer in elsewhere() if viewer not in self.late
        ]
        found += [
            f"{nick(viewer)} still lists {nick(QUITS)}" for viewer in there() if viewer not in self.missed
        ]
        found += [
            f"camrelay at {name} ended with exit code {self.exit_codes.get(name)}"
            for name in SITES
            if self.exit_codes.get(name) != 0
        ]
        return found

    def _nick(self, address: str) -> str:
        return self.clients[address].person.nick


def site(address: str) -> str:
    """The site of an address: "tokyo", "osaka" or "naha"."""
    front = address.rpartition(".")[0]
    return next(name for name, relay in RELAYS.items() if relay.rpartition(".")[0] == front)


def elsewhere() -> list[str]:
    """Everybody who is to hear of the latecomer from another site, but for who quits."""
    return [p.address for name, people in SITES.items() if name != DIES for p in people if p.address != QUITS]


def there() -> list[str]:
    """Everybody who is to hear from another site that somebody quit while no relay was there."""
    return [person.address for person in SITES[DIES]]


def _since(moment: float | None, start: float) -> float | None:
    return None if moment is None else round((moment - start) * 1000, 1)


def document(outcome: FleetOutcome) -> dict[str, Any]:
    """The outcome as JSON: times in milliseconds."""
    deliveries = [*outcome.deliveries, *([outcome.meanwhile] if outcome.meanwhile else [])]
    problems = outcome.problems()
    return {
        "ok": not problems,
        "problems": problems,
        "seconds": round(outcome.seconds, 2),
        "ready_ms": {name: round(seconds * 1000, 1) for name, seconds in outcome.ready.items()},
        "joins": [{"inviter": join.inviter, "newcomer": join.newcomer} for join in outcome.joins],
        "pairs_across": len(outcome.pairs(across=True)),
        "pairs_across_seen": len(outcome.seen),
        "lists": [_list(outcome, address) for address in outcome.clients],
        "messages": [
            {
                "from": d.sender.address, "to": d.receiver.address, "text": d.text,
                "came_from": d.came_from or None, "arrived_ms": _since(d.arrived, 0),
                "receipt_from": d.receipt_from or None, "receipt_ms": _since(d.receipt, 0),
            }
            for d in deliveries
        ],
        "outage": {
            "relay": DIES,
            "noticed_ms": {name: _since(at, outcome.killed_at) for name, at in outcome.noticed.items()},
            "vanished": len(outcome.vanished),
            "latecomer": LATECOMER.address,
            "listed_ms": {viewer: _since(at, outcome.back_at) for viewer, at in outcome.late.items()},
            "quit": QUITS,
            "off_ms": {viewer: _since(at, outcome.back_at) for viewer, at in outcome.missed.items()},
        },
        "exit_codes": outcome.exit_codes,
    }  # fmt: skip


def _list(outcome: FleetOutcome, address: str) -> dict[str, Any]:
    return {
        "viewer": outcome.clients[address].person.nick,
        "address": address,
        "site": site(address),
        "before": list(outcome.before.get(address, {})),
        "after": [
            {"address": seen, "nick": entry.presence.nick_text, "relay": entry.is_relay,
             "ms": _since(outcome.seen.get((address, seen)), outcome.joined_at)}
            for seen, entry in outcome.after.get(address, {}).items()
        ],
        "final": list(outcome.final.get(address, {})),
    }  # fmt: skip
