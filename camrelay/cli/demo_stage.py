"""What happens in ``camrelay demo``, act by act. Shows nothing itself; ``Outcome`` is what was measured.

The relay is the real daemon in a process of its own. All clients live in this process, each on a socket in
its own box, so one clock times everything.
"""

from __future__ import annotations

import selectors
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from camrelay.cli.demo_client import Client
from camrelay.cli.demo_outcome import FLOORS, MESSAGES, QUITS, RELAY, Delivery, Outcome, floor
from camrelay.errors import StartError

if TYPE_CHECKING:
    from collections.abc import Callable

    from camrelay.cli.demo_client import Seen, Sent
    from camrelay.cli.demo_lab import Lab

QUIET = 0.6  # seconds of listening after the last hello, to show that nobody from the other floor appears
PATIENCE = 15.0  # for anything that should take two seconds at the most
HOME = Path("/run/camrelay-demo")  # on the lab's own tmpfs
CONFIG = f"""\
[relay]
name = "hq"
state = "{HOME}/state"
control = "{HOME}/control.sock"
[remote]
segments = ["192.168.1.*", "192.168.2.*"]
"""


class Stage:
    """Plays the acts in order. ``on_change`` is called ten times a second while something is waited for."""

    def __init__(self, lab: Lab) -> None:
        self.on_change: Callable[[], object] = lambda: None
        self._lab = lab
        self._selector = selectors.DefaultSelector()
        self._began = time.monotonic()
        boxes: dict[str, dict[str, str]] = {}
        for people in FLOORS.values():
            prefix = people[0].address.rpartition(".")[0]
            boxes[prefix] = {person.host.lower(): person.address for person in people}
        boxes[RELAY.rpartition(".")[0]]["relay"] = RELAY
        lab.build(boxes)
        clients = [
            Client(person, lab.socket(person.host.lower())) for people in FLOORS.values() for person in people
        ]
        self.outcome = Outcome({client.person.address: client for client in clients})
        for client in clients:
            self._selector.register(client.socket, selectors.EVENT_READ, client.receive)
        self._daemon: subprocess.Popen[bytes] | None = None

    def before(self) -> None:
        """Everybody says hello; whoever shows up without a relay."""
        for client in self.outcome.clients.values():
            client.enter()
        self._until(lambda: self._listed(self.outcome.same_floor()))
        self.rest(QUIET)
        self.outcome.before = self._lists()

    def relay(self) -> None:
        """The daemon starts on the first floor; until everybody sees everybody."""
        HOME.mkdir()
        (HOME / "camrelay.toml").write_text(CONFIG)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
            notify.bind(str(HOME / "notify"))
            self._selector.register(notify, selectors.EVENT_READ, lambda: self._notified(notify))
            words = [sys.executable, "-m", "camrelay", "run", "--config", str(HOME / "camrelay.toml")]
            self.outcome.started = time.monotonic()
            self._daemon = self._lab.start(
                "relay", words, HOME / "log", {"NOTIFY_SOCKET": str(HOME / "notify")}
            )
            self._until(lambda: self._listed(self.outcome.across()))
            self._selector.unregister(notify)
        self.outcome.after = self._lists()

    def messages(self) -> None:
        """One message each way, with receipts."""
        for one, other, text in MESSAGES:
            sender, receiver = self.outcome.clients[one], self.outcome.clients[other]
            if other not in sender.roster:
                continue
            already = len(receiver.inbox)
            sent = sender.say(other, text)
            self._until(lambda sent=sent: sent.receipt is not None, 3.0)  # type: ignore[misc]
            self.outcome.deliveries.append(_delivery(sender, receiver, text, sent, already))

    def farewell(self) -> None:
        """One client of the first floor quits; then the relay is ended."""
        quitter = self.outcome.clients[QUITS]
        self.outcome.quitter, self.outcome.quit_at = quitter.person, time.monotonic()
        others = {
            address: client for address, client in self.outcome.clients.items() if floor(address) == "2F"
        }
        quitter.leave()
        self._until(lambda: all(QUITS in client.gone for client in others.values()), 3.0)
        self.outcome.missed = {
            address: client.gone[QUITS] for address, client in others.items() if QUITS in client.gone
        }

    def rest(self, seconds: float) -> None:
        """Let the audience look; everybody goes on listening."""
        self._until(lambda: False, seconds)

    def end(self) -> None:
        """Stop the daemon, close everything."""
        if self._daemon:
            self._daemon.send_signal(signal.SIGTERM)
            try:
                self.outcome.exit_code = self._daemon.wait(5)
            except subprocess.TimeoutExpired:
                self._daemon.kill()
                self.outcome.exit_code = self._daemon.wait()
        for client in self.outcome.clients.values():
            client.socket.close()
        self._selector.close()
        self.outcome.seconds = time.monotonic() - self._began

    def log(self) -> list[str]:
        """The daemon's last words, for when something went wrong."""
        path = HOME / "log"
        return path.read_text(errors="replace").splitlines()[-12:] if path.exists() else []

    def _listed(self, pairs: list[tuple[str, str]]) -> bool:
        """Whether every viewer lists its counterpart; notes the moments of those across."""
        clients = self.outcome.clients
        for viewer, seen in pairs:
            if seen in clients[viewer].roster and floor(viewer) != floor(seen):
                self.outcome.seen.setdefault((viewer, seen), clients[viewer].roster[seen].at)
        return all(seen in clients[viewer].roster for viewer, seen in pairs)

    def _lists(self) -> dict[str, dict[str, Seen]]:
        return {address: dict(client.roster) for address, client in self.outcome.clients.items()}

    def _notified(self, notify: socket.socket) -> None:
        if b"READY=1" in notify.recv(4096) and self.outcome.ready is None:
            self.outcome.ready = time.monotonic()

    def _until(self, reached: Callable[[], bool], limit: float = PATIENCE) -> None:
        """Let everybody receive until ``reached`` or ``limit`` seconds have passed."""
        end = time.monotonic() + limit
        shown = 0.0
        while not reached() and (now := time.monotonic()) < end:
            for key, _ in self._selector.select(min(0.05, end - now)):
                key.data()
            if self._daemon and self._daemon.poll() is not None:
                said = self.log()
                raise StartError(f"camrelay ended: {said[-1] if said else 'no word why'}")
            if now - shown > 0.1:
                shown = now
                self.on_change()


def _delivery(sender: Client, receiver: Client, text: str, sent: Sent, already: int) -> Delivery:
    delivery = Delivery(sender.person, receiver.person, text)
    for message in receiver.inbox[already:]:
        if message.text == text:
            delivery.arrived, delivery.came_from = message.at - sent.at, message.source
    if sent.receipt is not None:
        delivery.receipt, delivery.receipt_from = sent.receipt - sent.at, sent.receipt_from
    return delivery
