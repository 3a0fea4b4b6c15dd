"""What happens in ``camrelay demo --sites 3``, act by act: three relays meet, one of them dies and comes back."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from camrelay.cli.asking import result
from camrelay.cli.demo_fleet_outcome import (
    DIES,
    JOINS,
    LATECOMER,
    MEANWHILE,
    MESSAGES,
    QUITS,
    RELAYS,
    SITES,
    FleetOutcome,
    Join,
    elsewhere,
    there,
)
from camrelay.cli.demo_scene import Scene

if TYPE_CHECKING:
    from camrelay.cli.demo_lab import Lab

QUIET = 0.6  # seconds of listening after the last hello, to show that nobody of another site appears
SAVED = 1.5  # seconds: a relay writes its roster once a second, and what it has not written dies with it
OUTAGE = 1.0  # seconds without the relay: people start and quit in that


class FleetStage(Scene):
    """Plays the acts in order."""

    def __init__(self, lab: Lab) -> None:
        super().__init__(lab)
        boxes: dict[str, dict[str, str]] = {}
        for name, people in SITES.items():
            here = [*people, LATECOMER] if name == DIES else people
            front = RELAYS[name].rpartition(".")[0]
            boxes[front] = {person.host.lower(): person.address for person in here} | {name: RELAYS[name]}
        lab.build(boxes)
        self.people(person for people in SITES.values() for person in people)
        self.outcome = FleetOutcome(self.clients)

    def before(self) -> None:
        """Everybody says hello, and a relay starts at each site: each serves its own site and knows of no other."""
        for client in self.clients.values():
            client.enter()
        for name in SITES:
            self.daemon(name, name).start()
        self.until(lambda: all(daemon.ready for daemon in self.daemons.values()))
        self.until(lambda: self._listed(across=False))
        self.rest(QUIET)
        for name, daemon in self.daemons.items():
            if daemon.ready:
                self.outcome.ready[name] = daemon.ready - daemon.started
        self.outcome.before = self.lists()

    def join(self, inviter: str, newcomer: str) -> Join:
        """One member invites, one relay joins, by the commands that everybody uses."""
        token, _ = self.command(inviter, ("peer", "invite", "--for", newcomer))
        said, _ = self.command(newcomer, ("peer", "join"), token)
        made = Join(inviter, newcomer, said.splitlines())
        self.outcome.joins.append(made)
        self.outcome.joined_at = time.monotonic()
        return made

    def meet(self) -> None:
        """Until everybody sees everybody."""
        self.until(lambda: len(self.outcome.joins) == len(JOINS) and self._listed(across=True))
        self.outcome.after = self.lists()

    def messages(self) -> None:
        """One message each way, with receipts."""
        deliveries = [self.say(*message) for message in MESSAGES]
        self.outcome.deliveries = [one for one in deliveries if one is not None]

    def outage(self) -> None:
        """One relay is killed. Meanwhile somebody starts there, somebody quits elsewhere, and a message goes across."""
        outcome = self.outcome
        self.rest(SAVED)
        outcome.killed_at = time.monotonic()
        self.daemons[DIES].kill()
        for name in SITES:
            if name != DIES:
                self.until(lambda name=name: self._lost(name), 3.0)  # type: ignore[misc]
        outcome.meanwhile = self.say(*MEANWHILE)
        self.people([LATECOMER])
        self.clients[LATECOMER.address].enter()
        self.clients[QUITS].leave()
        self.rest(OUTAGE)
        outcome.too_early = [viewer for viewer in elsewhere() if self._sees(viewer, LATECOMER.address)]

    def back(self) -> None:
        """It is started again; until all lists are right."""
        outcome = self.outcome
        outcome.back_at = time.monotonic()
        self.daemons[DIES].start()
        self.until(self._repaired)
        self.rest(QUIET)  # a gap would show late, too
        outcome.vanished = {
            (viewer, seen)
            for viewer, seen in (*outcome.pairs(across=True), *outcome.pairs(across=False))
            if QUITS not in (viewer, seen)
            and (seen in self.clients[viewer].gone or not self._sees(viewer, seen))
        }
        outcome.final = self.lists()

    def end(self) -> None:
        """Stop all relays, close everything."""
        self.outcome.exit_codes = self.close()
        self.outcome.seconds = time.monotonic() - self.began

    # -- what there is to see ------------------------------------------------------------------------------

    def _sees(self, viewer: str, seen: str) -> bool:
        return seen in self.clients[viewer].roster

    def _listed(self, *, across: bool) -> bool:
        """Whether every viewer lists its counterpart; notes the moments of those across."""
        pairs = self.outcome.pairs(across=across)
        for viewer, seen in pairs:
            if across and self._sees(viewer, seen):
                self.outcome.seen.setdefault((viewer, seen), self.clients[viewer].roster[seen].at)
        return all(self._sees(viewer, seen) for viewer, seen in pairs)

    def _lost(self, relay: str) -> bool:
        """Does this relay know that it has lost the link?"""
        rows = {row["name"]: row for row in result(self.daemons[relay].config, {"do": "peers"})["peers"]}
        if DIES not in rows or rows[DIES]["state"] == "linked":
            return False
        self.outcome.noticed[relay] = time.monotonic() - rows[DIES]["since"]
        return True

    def _repaired(self) -> bool:
        for viewer in elsewhere():
            if self._sees(viewer, LATECOMER.address):
                at = self.clients[viewer].roster[LATECOMER.address].at
                self.outcome.late.setdefault(viewer, at)
        for viewer in there():
            if QUITS in self.clients[viewer].gone:
                self.outcome.missed.setdefault(viewer, self.clients[viewer].gone[QUITS])
        known = all(self._sees(LATECOMER.address, viewer) for viewer in elsewhere())
        return (
            known and len(self.outcome.late) == len(elsewhere()) and len(self.outcome.missed) == len(there())
        )
