"""What both demos stand on: clients and relays in boxes, one clock for all, and waiting while everybody listens.

The relays are real daemons in processes of their own. All clients live in this process, each on a socket in its own
box, so one clock times everything.
"""

from __future__ import annotations

import selectors
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from camrelay.cli.demo_client import Client
from camrelay.cli.demo_outcome import Delivery
from camrelay.errors import StartError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from camrelay.cli.demo_client import Person, Seen, Sent
    from camrelay.cli.demo_lab import Lab

PATIENCE = 15.0  # for anything that should take two seconds at the most
HOME = Path("/run/camrelay-demo")  # on the lab's own tmpfs
PROGRAM = (sys.executable, "-m", "camrelay")


class Daemon:
    """One relay in a box. Moments are monotonic seconds; ``ready`` is None until it has said so."""

    def __init__(self, lab: Lab, box: str, name: str, more: str = "") -> None:
        self.name = name
        self.started = 0.0
        self.ready: float | None = None
        self.process: subprocess.Popen[bytes] | None = None
        self._lab = lab
        self._box = box
        home = HOME / name
        home.mkdir(parents=True)
        self.config, self._log = home / "camrelay.toml", home / "log"
        self.config.write_text(
            f'[relay]\nname = "{name}"\nstate = "{home}/state"\ncontrol = "{home}/control.sock"\n{more}'
        )
        self.notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.notify.bind(str(home / "notify"))

    def start(self) -> None:
        """Begin, or begin again."""
        words = [*PROGRAM, "run", "--config", str(self.config)]
        told = {"NOTIFY_SOCKET": str(self.notify.getsockname())}
        self.ready, self.started = None, time.monotonic()
        self.process = self._lab.start(self._box, words, self._log, told)

    def notified(self) -> None:
        """It said something about itself."""
        if b"READY=1" in self.notify.recv(4096) and self.ready is None:
            self.ready = time.monotonic()

    def kill(self) -> None:
        """As when the power fails."""
        if self.process:
            self.process.kill()
            self.process.wait()
            self.process = None

    def end(self) -> None:
        """As systemd does."""
        if self.process:
            self.process.send_signal(signal.SIGTERM)

    def code(self) -> int | None:
        """Its exit code, when it has ended."""
        if not self.process:
            return None
        try:
            return self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait()

    def last_words(self, lines: int) -> list[str]:
        """The end of its log, for when something went wrong."""
        return self._log.read_text(errors="replace").splitlines()[-lines:] if self._log.exists() else []


class Scene:
    """The boxes with all in them. ``on_change`` is called ten times a second while something is waited for."""

    def __init__(self, lab: Lab) -> None:
        self.on_change: Callable[[], object] = lambda: None
        self.began = time.monotonic()
        self.clients: dict[str, Client] = {}
        self.daemons: dict[str, Daemon] = {}
        self._lab = lab
        self._selector = selectors.DefaultSelector()

    def people(self, people: Iterable[Person]) -> None:
        """Give each of them a client in the box that is called as the host."""
        for person in people:
            client = Client(person, self._lab.socket(person.host.lower()))
            self.clients[person.address] = client
            self._selector.register(client.socket, selectors.EVENT_READ, client.receive)

    def daemon(self, box: str, name: str, more: str = "") -> Daemon:
        """A relay, not started yet."""
        made = self.daemons[name] = Daemon(self._lab, box, name, more)
        self._selector.register(made.notify, selectors.EVENT_READ, made.notified)
        return made

    def command(self, relay: str, words: Sequence[str], given: str = "") -> tuple[str, str]:
        """What a command of camrelay prints at that relay: stdout and stderr. StartError if it fails."""
        running = subprocess.Popen(
            [*PROGRAM, *words, "--config", str(self.daemons[relay].config)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert running.stdin
        running.stdin.write(given)
        running.stdin.close()
        running.stdin = None
        self.until(lambda: running.poll() is not None)
        if running.poll() is None:
            running.kill()
        said, complained = running.communicate()
        if running.returncode:
            raise StartError(f"camrelay {' '.join(words)} at {relay}: {complained.strip() or 'no answer'}")
        return said, complained

    def say(self, sender: str, receiver: str, text: str) -> Delivery | None:
        """A message, and its receipt; None if the sender does not list the receiver."""
        one, other = self.clients[sender], self.clients[receiver]
        if receiver not in one.roster:
            return None
        already = len(other.inbox)
        sent = one.say(receiver, text)
        self.until(lambda: sent.receipt is not None, 3.0)
        return _delivery(one, other, text, sent, already)

    def lists(self) -> dict[str, dict[str, Seen]]:
        """Everybody's list as it is now."""
        return {address: dict(client.roster) for address, client in self.clients.items()}

    def rest(self, seconds: float) -> None:
        """Let the audience look; everybody goes on listening."""
        self.until(lambda: False, seconds)

    def until(self, reached: Callable[[], Any], limit: float = PATIENCE) -> None:
        """Let everybody receive until ``reached`` or ``limit`` seconds have passed. StartError: a relay ended."""
        end = time.monotonic() + limit
        shown = 0.0
        while not reached() and (now := time.monotonic()) < end:
            for key, _ in self._selector.select(min(0.05, end - now)):
                key.data()
            for daemon in self.daemons.values():
                if daemon.process and daemon.process.poll() is not None:
                    said = daemon.last_words(1)
                    raise StartError(f"camrelay ended: {said[0] if said else 'no word why'}")
            if now - shown > 0.1:
                shown = now
                self.on_change()

    def close(self) -> dict[str, int | None]:
        """Stop all relays and close everything; the relays' exit codes."""
        for daemon in self.daemons.values():
            daemon.end()
        codes = {name: daemon.code() for name, daemon in self.daemons.items()}
        for daemon in self.daemons.values():
            daemon.notify.close()
        for client in self.clients.values():
            client.socket.close()
        self._selector.close()
        return codes

    def log(self) -> list[str]:
        """The relays' last words, for when something went wrong."""
        lines = 12 // max(1, len(self.daemons))
        return [line for daemon in self.daemons.values() for line in daemon.last_words(lines)]


def _delivery(sender: Client, receiver: Client, text: str, sent: Sent, already: int) -> Delivery:
    delivery = Delivery(sender.person, receiver.person, text)
    for message in receiver.inbox[already:]:
        if message.text == text:
            delivery.arrived, delivery.came_from = message.at - sent.at, message.source
    if sent.receipt is not None:
        delivery.receipt, delivery.receipt_from = sent.receipt - sent.at, sent.receipt_from
    return delivery
