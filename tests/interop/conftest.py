"""Fixtures of the laboratory; and a test that cannot run here says so by name, and in CI it fails."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import pytest

from . import needs
from .clients import IpMessenger, Iptux, IptuxWindow, build_engine
from .faults import Faults
from .fleet import Fleet
from .relay_box import RelayBox
from .rig import BOXES, WIRES, Network
from .sites import Sites

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from .capture import Seen
    from .clients import Client

# For what does not depend on the kernel's reverse path check.
ONCE = pytest.mark.parametrize("whole_network", [0], indirect=True, ids=["rp0"])

RELAYS = {"ra", "ra2", "rb", "dual"}
DUAL_AFTER_ITS_MOVE = "10.77.1.44"

# By the laboratory that they stand on: those of one share it, so they run one after the other, others beside them.
LABORATORIES = {
    "network": "rig",
    "fleet": "sites",
    "bad_lines": "sites",
    "faults": "faults",
    "probing": "probes",
}
MEASURED = "measured"


class Measure(Protocol):
    """See the fixture ``measure``."""

    def __call__(self, what: str, seconds: float, at_most: float | None = None) -> None:
        """Note a time, assert its limit."""


class StartIptux(Protocol):
    """See the fixture ``iptux``."""

    def __call__(self, box: str, name: str, *, wait: bool = True, **more: Any) -> Iptux:
        """Start one; ``more``: as ``Iptux`` takes it."""


class StartIpMessenger(Protocol):
    """See the fixture ``ipymessenger``."""

    def __call__(self, box: str, name: str, group: str = "staff") -> IpMessenger:
        """Start one."""


class StartWindow(Protocol):
    """See the fixture ``iptux_window``."""

    def __call__(self, box: str, name: str, group: str = "staff") -> IptuxWindow:
        """Start one."""


class StartRelay(Protocol):
    """See the fixture ``relay``."""

    def __call__(self, box: str, *, wait: bool = True, **more: Any) -> RelayBox:
        """Start one; ``more``: as ``RelayBox`` takes it."""


def pytest_runtest_setup(item: pytest.Item) -> None:
    fixtures = getattr(item, "fixturenames", ())
    for name in needs.CHECKS:
        if name in fixtures and (reason := needs.lacks(name)):
            if needs.required():
                pytest.fail(f"{item.name}: {reason}", pytrace=False)
            pytest.skip(f"{item.name}: {reason}")


@pytest.hookimpl(tryfirst=True)  # xdist reads the groups in the same hook
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        for fixture in getattr(item, "fixturenames", ()):
            if fixture in LABORATORIES:
                item.add_marker(pytest.mark.xdist_group(LABORATORIES[fixture]))
                if fixture == "faults":  # dozens of traces at a time, and each of them measures
                    item.add_marker(pytest.mark.alone)
                break


def pytest_terminal_summary(terminalreporter: Any) -> None:
    reports = [one for reports in terminalreporter.stats.values() for one in reports]
    notes = [note for one in reports for note in getattr(one, "user_properties", ())]
    times = {tuple(value) for name, value in notes if name == MEASURED}
    if times:
        terminalreporter.section("interop: seconds measured between real clients")
        for test, rp_filter, what, seconds in sorted(times):
            terminalreporter.line(f"{test:<58} rp_filter {rp_filter}  {what:<52} {seconds:8.3f}")


@pytest.fixture(scope="session", params=[0, 1], ids=["rp0", "rp1"])
def whole_network(request: pytest.FixtureRequest) -> Iterator[Network]:
    network = Network(rp_filter=request.param)
    yield network
    network.close()


@pytest.fixture
def network(whole_network: Network) -> Iterator[Network]:
    """The wires as built, nothing captured yet."""
    whole_network.capture.forget()
    yield whole_network
    whole_network.restore()


@pytest.fixture
def started(network: Network) -> Iterator[list[Client | RelayBox]]:
    """Whatever a test starts; all of it is ended before the network is restored. Prints for failed tests."""
    things: list[Client | RelayBox] = []
    yield things
    for seen in network.capture.all()[-60:]:
        print(seen)
    for thing in reversed(things):
        if isinstance(thing, RelayBox):
            print(f"--- log of {thing!r}\n{thing.tail()}")
        thing.close()


@pytest.fixture
def iptux(network: Network, started: list[Any]) -> StartIptux:
    """``iptux(box, name)``: an iptux that has started (``wait=False``: that is starting)."""
    build_engine()

    def start(box: str, name: str, *, wait: bool = True, **more: Any) -> Iptux:
        client = Iptux(network[box], name, **more)
        started.append(client)
        if wait:
            client.ready()
        return client

    return start


@pytest.fixture
def ipymessenger(network: Network, started: list[Any]) -> StartIpMessenger:
    def start(box: str, name: str, group: str = "staff") -> IpMessenger:
        client = IpMessenger(network[box], name, group)
        started.append(client)
        client.ready()
        return client

    return start


@pytest.fixture
def iptux_window(network: Network, started: list[Any]) -> StartWindow:
    def start(box: str, name: str, group: str = "staff") -> IptuxWindow:
        client = IptuxWindow(network[box], name, group)
        started.append(client)
        client.ready()
        return client

    return start


@pytest.fixture
def relay(network: Network, started: list[Any]) -> Iterator[StartRelay]:
    """``relay(box, segments=[...])``: a relay that answers (``wait=False``: not even started)."""

    def start(box: str, *, wait: bool = True, **more: Any) -> RelayBox:
        made = RelayBox(network[box], **more)
        started.append(made)
        if wait:
            made.start()
            made.ready()
        return made

    yield start
    bugs = [thing.tail() for thing in started if isinstance(thing, RelayBox) and thing.found_a_bug()]
    assert not bugs, "\n".join(bugs)
    wrong = [seen for seen in network.capture.all() if seen.sender in RELAYS and breaks_a_rule(seen)]
    assert not wrong, "a relay broke a rule of speaking for others:\n" + "\n".join(map(str, wrong[:20]))


def breaks_a_rule(seen: Seen) -> bool:
    """Who speaks for another says BR_EXIT, ANSENTRY or BR_ABSENCE, not at home, and broadcasts with TTL 1."""
    if seen.source in (*(address for _, address in BOXES[seen.sender]), DUAL_AFTER_ITS_MOVE):
        return False
    if seen.source.startswith(
        ("192.0.2.", "198.51.100.")
    ):  # nobody's: `camrelay doctor` tries whether it arrives
        return not (seen.mode in (0, 2, 4) and seen.to_all and seen.ttl == 1)
    return not (
        seen.mode in (2, 3, 4)
        and seen.source != seen.to
        and (not seen.to_all or (seen.ttl == 1 and not seen.source.startswith(WIRES[seen.wire] + ".")))
    )


@pytest.fixture(scope="session")
def bad_lines() -> None:
    """Named by whatever needs them: see ``needs.py``."""


@pytest.fixture(scope="session")
def whole_fleet(bad_lines: None) -> Iterator[Fleet]:
    sites = Sites()
    fleet = Fleet(sites)
    yield fleet
    fleet.close()
    sites.close()


@pytest.fixture
def fleet(whole_fleet: Fleet, request: pytest.FixtureRequest) -> Iterator[Fleet]:
    """Four linked relays that know nobody, whatever the test before did to them."""
    build_engine()
    whole_fleet.begin()
    failed = request.session.testsfailed
    yield whole_fleet
    whole_fleet.end(passed=request.session.testsfailed == failed)


@pytest.fixture(scope="package")
def faults() -> Iterator[Faults]:
    """Every fault there is, and all clients, for the rest of these tests: idle, they cost nothing but memory."""
    laboratory = Faults()
    try:
        laboratory.start_clients()
        yield laboratory
    finally:
        laboratory.close()


@pytest.fixture
def measure(request: pytest.FixtureRequest) -> Measure:
    """Notes a time for the summary, and asserts its limit if one is given."""

    def note(what: str, seconds: float, at_most: float | None = None) -> None:
        name = request.node.originalname or request.node.name
        callspec = getattr(request.node, "callspec", None)
        rp_filter = callspec.params.get("whole_network", 0) if callspec else 0
        request.node.user_properties.append((MEASURED, (name, rp_filter, what, seconds)))
        assert at_most is None or seconds <= at_most, f"{what}: {seconds:.3f} s, at most {at_most:g} s"

    return note


@pytest.fixture
def some_file(tmp_path: Path) -> Path:
    """Half a megabyte that no text conversion would survive."""
    path = tmp_path / "drawing.bin"
    path.write_bytes(bytes(range(256)) * 2048)
    return path
