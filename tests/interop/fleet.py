"""Four relays at three sites, made a fleet once by the real command line, and what tests do with them.

They run as long as the tests do. A test leaves them as it found them, all linked and knowing nobody, or is given the
fleet of the beginning: keys and members are kept aside, rosters are not.
"""

from __future__ import annotations

import shutil
import time
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from .clients import IpMessenger, Iptux
from .crowd import Crowd
from .relay_box import RelayBox
from .rig import wait_until

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from .capture import Seen
    from .clients import Client
    from .sites import Sites

RELAYS = ("r1", "r1b", "r2", "r3")
LINKED = 10.0  # seconds that linking all four may take on a loaded machine
SETTLED = 7.0  # seconds after a start: relay/publishing.py, LEARNED, and what is done then
HOME = 5.0  # seconds for a farewell to reach every roster


class Somebody(Protocol):
    """A user: a real client, or one of a crowd."""

    @property
    def address(self) -> str: ...
    @property
    def name(self) -> str: ...


class Fleet:
    """``fleet["r2"]`` is a relay, ``fleet.sites`` the laboratory."""

    def __init__(self, sites: Sites) -> None:
        self.sites = sites
        self.relays = {name: RelayBox(sites[name]) for name in RELAYS}
        self.joined: dict[str, str] = {}  # relay to what its ``peer join`` printed
        self.forming = 0.0  # seconds from the first invitation until all were linked
        self.clients: list[Client] = []
        self.crowds: list[Crowd] = []
        self.traced = False  # the present test has relays put questions to clients beyond their own wires
        self._started = 0.0
        self._spoiled = set(RELAYS)  # all but those that run, are linked and know nobody
        self._other_configuration: set[str] = set()

    def __getitem__(self, name: str) -> RelayBox:
        return self.relays[name]

    def form(self) -> None:
        """Once: each newcomer joins where somebody invited it, three joins for four relays."""
        if self.joined:
            return
        for relay in self.relays.values():
            relay.kill()
            shutil.rmtree(relay.state, ignore_errors=True)
        self.start(*RELAYS)
        began = time.monotonic()
        joined = {
            name: self[name].join(self[host].invite())
            for name, host in (("r2", "r1"), ("r3", "r2"), ("r1b", "r1"))
        }
        self.linked(*RELAYS)
        self.forming = time.monotonic() - began
        for relay in self.relays.values():
            shutil.copytree(relay.state, relay.folder / "kept", ignore=shutil.ignore_patterns("roster.db*"))
        self.joined = joined
        self._spoiled.clear()

    def start(self, *names: str) -> None:
        """Those that do not run."""
        fresh = [self[name] for name in names if not self[name].runs]
        for relay in fresh:
            relay.start()
        for relay in fresh:
            relay.ready()
        if fresh:
            self._started = time.monotonic()

    def settled(self) -> None:
        """Until the relays have run long enough to believe that they know who is here."""
        wait_until(
            lambda: time.monotonic() > self._started + SETTLED, SETTLED + 1, "so many seconds have passed"
        )

    def spoil(self, *names: str) -> None:
        """Give the next test these relays (all, if none is named) as they were when they had just met."""
        self._spoiled.update(names or RELAYS)

    def reload(self, *names: str, **lines: Sequence[str]) -> None:
        """With these lines in the configuration, as ``RelayBox`` takes them, for this test."""
        for name in names:
            self[name].configure(**lines)
            self[name].reload()
        self._other_configuration.update(names if lines else ())

    def begin(self) -> None:
        self.form()
        for name in self._spoiled:
            relay = self[name]
            relay.kill()
            relay.configure()
            shutil.rmtree(relay.state)
            shutil.copytree(relay.folder / "kept", relay.state)
            relay.log.unlink(missing_ok=True)
        if self._spoiled:
            self.start(*self._spoiled)
            self.linked(*RELAYS)
        self._spoiled.clear()
        self.sites.restore()

    def end(self, *, passed: bool) -> None:
        """Everybody goes home. Fails if a relay broke a rule; what it prints shows for failed tests."""
        for line in self.sites.lines.values():
            line.perfect()
        seen = self.sites.capture.all()
        for each in seen[-60:]:
            print(each)
        for relay in self.relays.values():
            print(f"--- log of {relay!r}\n{relay.tail()}")
            if not passed and relay.runs:
                for user in relay.users().values():
                    print(
                        "lists", *(user[key] for key in ("nick", "host", "address", "state", "home", "via"))
                    )
                print("counts", relay.status()["counters"])
        self._go_home()
        bugs = [relay.tail() for relay in self.relays.values() if relay.found_a_bug()]
        wrong = [each for each in seen if self._breaks_a_rule(each)]
        self.traced = False
        if not passed or bugs or wrong:
            self.spoil()
        assert not bugs, "\n".join(bugs)
        assert not wrong, "a relay broke a rule of speaking for others:\n" + "\n".join(map(str, wrong[:20]))
        sound = [name for name in RELAYS if name not in self._spoiled]
        self.reload(*(name for name in sound if name in self._other_configuration))
        self._other_configuration.clear()
        try:
            self.linked(*sound)  # a line that was bad a moment ago: the next try may be seconds away
            self.agree([], sound, within=LINKED)
            self.written(*sound)
        except AssertionError:
            self.spoil()
            raise

    def _go_home(self) -> None:
        for client in self.clients:
            if client.runs:
                client.do("exit")
        for client in self.clients:
            if client.runs and not client.events("stopped"):
                client.wait("stopped")
            client.close()
        self.clients.clear()
        for crowd in self.crowds:
            crowd.leave()
        self.crowds.clear()

    def close(self) -> None:
        for client in self.clients:
            client.close()
        for relay in self.relays.values():
            relay.close()

    def iptux(self, box: str, name: str, *, wait: bool = True, **more: Any) -> Iptux:
        """One that has started (``wait=False``: that is starting)."""
        client = Iptux(self.sites[box], name, **more)
        self.clients.append(client)
        return client.ready() if wait else client

    def ipymessenger(self, box: str, name: str, group: str = "staff") -> IpMessenger:
        client = IpMessenger(self.sites[box], name, group)
        self.clients.append(client)
        return client.ready()

    def crowd(self, box: str, size: int) -> Crowd:
        """Many users at once, who only say that they are there: from .50 on."""
        network = self.sites[box].address.rpartition(".")[0]
        made = Crowd(self.sites[box], [f"{network}.{50 + number}" for number in range(size)])
        self.crowds.append(made)
        made.come()
        return made

    def peers(self, name: str) -> dict[str, dict[str, Any]]:
        """What ``camrelay peer list`` knows, by name."""
        return {row["name"]: row for row in self[name].ask("peers")["peers"]}

    def linked(self, *names: str, within: float = LINKED) -> float:
        """When each of them has a session with each other one."""
        for name in names:
            others = set(names) - {name}
            wait_until(
                partial(self._is_linked, name, others),
                within,
                f"{self[name]!r} is linked with {sorted(others)}",
            )
        return time.monotonic()

    def _is_linked(self, name: str, others: set[str]) -> bool:
        return others <= {peer for peer, row in self.peers(name).items() if row["state"] == "linked"}

    def agree(
        self, clients: Iterable[Somebody], names: Iterable[str] = RELAYS, within: float = HOME
    ) -> float:
        """When these relays list exactly these clients as online."""
        expected = {client.address: client.name for client in clients}
        for name in names:
            wait_until(
                partial(self._lists, name, expected),
                within,
                f"{self[name]!r} lists {expected} and nobody else",
            )
        return time.monotonic()

    def written(self, *names: str) -> None:
        """Until these relays have on disk whom they hear: who left in the last second before a kill -9 comes back."""
        for name in names:
            wait_until(self[name].written, HOME, f"{self[name]!r} has written down who is here")

    def _lists(self, name: str, expected: dict[str, str]) -> bool:
        return clients_of(self[name]) == expected

    def _breaks_a_rule(self, seen: Seen) -> bool:
        """Who speaks for another says BR_EXIT, ANSENTRY or BR_ABSENCE, and never beyond the own wire."""
        if seen.sender not in RELAYS or seen.mode == 0:  # NOOPERATION means nothing: relays measure with it
            return False
        if self.traced and seen.source == self[seen.sender].address:
            return False
        here = f"10.78.{seen.wire}."
        if not seen.to.startswith(here) and seen.to != "255.255.255.255":
            return True
        if seen.source == self[seen.sender].address:
            return False
        return not (
            seen.mode in (2, 3, 4)
            and seen.source != seen.to
            and (not seen.to_all or (seen.ttl == 1 and not seen.source.startswith(here)))
        )


def clients_of(relay: RelayBox) -> dict[str, str]:
    """Who is online in its roster, relays left out: address to name."""
    return {
        address: user["nick"]
        for address, user in relay.users().items()
        if user["state"] == "online" and user["kind"] != "camrelay"
    }


def announcers(sites: Sites, client: Client, wire: str, since: float) -> list[str]:
    """Which relay told the wire of a client of another site, once for each time it said so to all."""
    return [
        seen.sender
        for seen in sites.capture.all(wire=wire, source=client.address, since=since)
        if seen.sender in RELAYS and seen.to_all and seen.mode in (3, 4)
    ]


def undisturbed(
    observer: Client,
    others: Sequence[Somebody],
    since: float,
    had: Collection[str] = (),
    behind: float = 0.0,
) -> None:
    """An AssertionError if since then one of the others left its window, came twice or under another name.

    Until ``behind`` a name that they ``had`` is no fault: a relay that the line keeps from hearing of the new one may
    have to say a second time that they are there (relay/announce.py, REPEAT_AFTER).
    """
    addresses = {other.address for other in others}
    gone = [event for event in observer.events("gone", since) if event["address"] in addresses]
    assert not gone, f"{observer!r} lost {gone}"
    assert not observer.events("cleared", since)
    listed = observer.listed()
    for event in observer.events("changed", since):
        if event["at"] < behind and event["name"] in had:
            continue
        known = [other.name for other in others if other.address == event["address"]]
        assert not known or [event["name"]] == known, f"{observer!r} was told of an old name: {event}"
    for other in others:
        assert listed.get(other.address) == other.name, f"{observer!r} does not list {other!r}, but {listed}"
        twins = [address for address, name in listed.items() if name == other.name]
        assert twins == [other.address], f"{observer!r} lists {other.name} at {twins}"
