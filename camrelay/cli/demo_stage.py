"""What happens in ``camrelay demo``, act by act. Shows nothing itself; ``Outcome`` is what was measured."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from camrelay.cli.demo_outcome import FLOORS, MESSAGES, QUITS, RELAY, Outcome, floor
from camrelay.cli.demo_scene import Scene

if TYPE_CHECKING:
    from camrelay.cli.demo_lab import Lab

QUIET = 0.6  # seconds of listening after the last hello, to show that nobody from the other floor appears
CONFIG = '[remote]\nsegments = ["192.168.1.*", "192.168.2.*"]\n'


class Stage(Scene):
    """Plays the acts in order."""

    def __init__(self, lab: Lab) -> None:
        super().__init__(lab)
        boxes: dict[str, dict[str, str]] = {}
        for people in FLOORS.values():
            prefix = people[0].address.rpartition(".")[0]
            boxes[prefix] = {person.host.lower(): person.address for person in people}
        boxes[RELAY.rpartition(".")[0]]["relay"] = RELAY
        lab.build(boxes)
        self.people(person for people in FLOORS.values() for person in people)
        self.outcome = Outcome(self.clients)

    def before(self) -> None:
        """Everybody says hello; whoever shows up without a relay."""
        for client in self.clients.values():
            client.enter()
        self.until(lambda: self._listed(self.outcome.same_floor()))
        self.rest(QUIET)
        self.outcome.before = self.lists()

    def relay(self) -> None:
        """The daemon starts on the first floor; until everybody sees everybody."""
        relay = self.daemon("relay", "hq", CONFIG)
        relay.start()
        self.outcome.started = relay.started
        self.until(lambda: self._listed(self.outcome.across()))
        self.outcome.ready = relay.ready
        self.outcome.after = self.lists()

    def messages(self) -> None:
        """One message each way, with receipts."""
        deliveries = [self.say(*message) for message in MESSAGES]
        self.outcome.deliveries = [one for one in deliveries if one is not None]

    def farewell(self) -> None:
        """One client of the first floor quits."""
        quitter = self.clients[QUITS]
        self.outcome.quitter, self.outcome.quit_at = quitter.person, time.monotonic()
        others = {address: client for address, client in self.clients.items() if floor(address) == "2F"}
        quitter.leave()
        self.until(lambda: all(QUITS in client.gone for client in others.values()), 3.0)
        self.outcome.missed = {
            address: client.gone[QUITS] for address, client in others.items() if QUITS in client.gone
        }

    def end(self) -> None:
        """Stop the daemon, close everything."""
        self.outcome.exit_code = self.close().get("hq")
        self.outcome.seconds = time.monotonic() - self.began

    def _listed(self, pairs: list[tuple[str, str]]) -> bool:
        """Whether every viewer lists its counterpart; notes the moments of those across."""
        for viewer, seen in pairs:
            if seen in self.clients[viewer].roster and floor(viewer) != floor(seen):
                self.outcome.seen.setdefault((viewer, seen), self.clients[viewer].roster[seen].at)
        return all(seen in self.clients[viewer].roster for viewer, seen in pairs)
