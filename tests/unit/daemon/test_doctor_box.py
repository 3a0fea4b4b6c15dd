"""What a doctor sees of a box: made-up /proc folders, clocks, disks and statuses in, facts out."""

from __future__ import annotations

import copy
import os
from typing import TYPE_CHECKING, Any

import pytest

from camrelay.config import Config, parse
from camrelay.daemon.doctor import host, running
from camrelay.daemon.doctor.box import Box, Ran, run, synchronised
from camrelay.daemon.doctor.look import EACH, look
from camrelay.daemon.interfaces import Choice
from camrelay.daemon.probes.ways import Way
from camrelay.relay.outputs import Interface
from camrelay.trace.facts import Fact
from camrelay.trace.judge import judge
from camrelay.trace.reading import checks
from camrelay.trace.words import meaning
from tests.unit.cli.conftest import STATUS

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

ETH0 = Interface(2, "eth0", "10.77.1.2", "10.77.1.0/24", "10.77.1.255")
NOON = 1_795_000_000.0  # in November 2026
HEADS = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
GiB = 1 << 30


def row(port: int, inode: int, uid: int = 0) -> str:
    return f"  1: 00000000:{port:04X} 00000000:0000 07 00000000:00000000 00:00000000 00000000 {uid} 0 {inode} 2 0 0\n"


def space(free: int, flag: int = 0, files: int = 1000) -> os.statvfs_result:
    return os.statvfs_result((4096, 4096, 1 << 20, free >> 12, free >> 12, files, files, files, flag, 255))


class FakeBox:
    """Files below a made-up /proc."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.proc("net/udp", HEADS)

    def proc(self, name: str, text: str) -> None:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def process(self, pid: int, name: str, inode: int) -> None:
        self.proc(f"{pid}/comm", f"{name}\n")
        folder = self.root / str(pid) / "fd"
        folder.mkdir()
        (folder / "3").symlink_to(f"socket:[{inode}]")

    def box(self, **more: Any) -> Box:
        given: dict[str, Any] = {
            "run": lambda words: Ran(-1, "", ""),
            "wall": lambda: NOON,
            "synchronised": lambda: True,
            "space": lambda path: space(GiB),
            "way": lambda address: Way(interface="eth9"),
            "usable": lambda names, also: [ETH0],
            "explain": lambda names, also: [Choice("eth0", "10.77.1.2", ETH0.network, True, "good")],
        }
        return Box(proc=self.root, **{**given, **more})


@pytest.fixture
def fake(tmp_path: Path) -> FakeBox:
    return FakeBox(tmp_path)


def short(fact: Fact) -> tuple[str, Mapping[str, Any]]:
    return fact.outcome, fact.detail


# -- the port ----------------------------------------------------------------------------------------------------


def test_nobody_holds_the_port(fake: FakeBox) -> None:
    fake.proc("net/udp", HEADS + row(53, 7))
    assert short(host.port(fake.box(), None)) == ("free", {})


def test_the_daemon_holds_it_with_systemd(fake: FakeBox) -> None:
    fake.proc("net/udp", HEADS + row(2425, 7))
    fake.process(1, "systemd", 7)
    fake.process(612, "camrelay", 7)
    assert host.port(fake.box(), 612).outcome == "ours"
    found = host.port(fake.box(), None)
    assert (found.outcome, found.detail["holder"]) == (
        "taken",
        "camrelay",
    )  # by a camrelay of another configuration


def test_systemd_alone_waits_for_the_daemon(fake: FakeBox) -> None:
    fake.proc("net/udp", HEADS + row(2425, 7))
    fake.process(1, "systemd", 7)
    assert host.port(fake.box(), None).outcome == "waiting"


def test_another_program_has_it_and_is_named(fake: FakeBox) -> None:
    fake.proc("net/udp6", HEADS + row(2425, 9, uid=1000))
    fake.process(88, "iptux", 9)
    assert short(host.port(fake.box(), None)) == ("taken", {"holder": "iptux", "uid": 1000, "pid": 88})
    assert host.port(fake.box(), 612).outcome == "shared"


def test_without_root_a_holder_is_a_user(fake: FakeBox) -> None:
    fake.proc("net/udp", HEADS + row(2425, 9, uid=1000))
    assert host.port(fake.box(), None).detail["holder"] == "a program of the user with id 1000"
    assert host.port(fake.box(), 612).outcome == "ours"


# -- the kernel ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("all_", "one", "also", "outcome"),
    [
        (0, 0, ("10.77.9.0/24",), "off"),
        (2, 0, ("10.77.9.0/24",), "off"),
        (1, 0, (), "fine"),
        (0, 1, ("10.77.9.0/24",), "drops"),
        (2, 1, ("10.77.9.0/24",), "off"),  # the greater one counts
    ],
)
def test_a_strict_reverse_path_filter_drops_a_second_network(
    fake: FakeBox, all_: int, one: int, also: tuple[str, ...], outcome: str
) -> None:
    fake.proc("sys/net/ipv4/conf/all/rp_filter", f"{all_}\n")
    fake.proc("sys/net/ipv4/conf/eth0/rp_filter", f"{one}\n")
    wire = Interface(2, "eth0", "10.77.1.2", "10.77.1.0/24", "10.77.1.255", also)
    (fact,) = host.reverse_paths(fake.box(), [wire])
    assert fact.outcome == outcome


def test_a_second_network_with_a_route_of_its_own_is_not_dropped(fake: FakeBox) -> None:
    fake.proc("sys/net/ipv4/conf/all/rp_filter", "1\n")
    wire = Interface(2, "eth0", "10.77.1.2", "10.77.1.0/24", "10.77.1.255", ("10.77.9.0/24",))
    (fact,) = host.reverse_paths(fake.box(way=lambda address: Way(interface="eth0")), [wire])
    assert fact.outcome == "fine"


def test_no_such_setting_is_not_checked(fake: FakeBox) -> None:
    assert [fact.outcome for fact in host.reverse_paths(fake.box(), [ETH0])] == ["not-checked"]


def test_the_neighbour_table_must_hold_all_hosts_of_own_segments(fake: FakeBox) -> None:
    fake.proc("sys/net/ipv4/neigh/default/gc_thresh3", "1024\n")
    assert short(host.neighbours(fake.box(), [ETH0])) == ("enough", {"limit": 1024, "wanted": 254})
    large = Interface(2, "eth0", "10.77.1.2", "10.77.0.0/21", "10.77.7.255")
    assert short(host.neighbours(fake.box(), [large])) == ("small", {"limit": 1024, "wanted": 2046})


def test_a_neighbour_table_that_was_full_is_told_until_it_is_large(fake: FakeBox) -> None:
    fake.proc("net/stat/arp_cache", "entries allocs table_fulls\n00000003 0 0a\n00000003 0 06\n")
    assert host.neighbours(fake.box(), [ETH0]).detail["times"] == 16
    fake.proc("sys/net/ipv4/neigh/default/gc_thresh3", "8192\n")
    assert host.neighbours(fake.box(), [ETH0]).outcome == "enough"


@pytest.mark.parametrize("text", ["", "entries\n", "table_fulls\n\n", "a table_fulls\n1\n"])
def test_strange_statistics_count_nothing(text: str) -> None:
    assert host.table_fulls(text) == 0


@pytest.mark.parametrize(
    ("wall", "kept", "outcome"),
    [(NOON, True, "kept"), (NOON, False, "alone"), (NOON, None, "not-checked"), (0.0, True, "wrong")],
)
def test_the_clock(fake: FakeBox, wall: float, kept: bool | None, outcome: str) -> None:
    assert host.clock(fake.box(wall=lambda: wall, synchronised=lambda: kept)).outcome == outcome


@pytest.mark.parametrize(
    ("found", "outcome"),
    [
        (space(GiB), "enough"),
        (space(100 << 20), "low"),
        (space(1 << 20), "full"),
        (space(GiB, files=0), "enough"),  # a filesystem without inodes
        (space(GiB, flag=os.ST_RDONLY), "read-only"),
    ],
)
def test_the_disk(fake: FakeBox, found: os.statvfs_result, outcome: str) -> None:
    assert host.disk(fake.box(space=lambda path: found), "/x").outcome == outcome


def test_a_state_folder_that_is_not_there(fake: FakeBox, tmp_path: Path) -> None:
    assert host.disk(fake.box(space=os.statvfs), str(tmp_path / "no")).outcome == "missing"


def test_programs_are_run_and_missing_ones_are_said() -> None:
    assert run(("sh", "-c", "echo $LC_ALL; exit 3")) == Ran(3, "C.UTF-8\n", "")
    assert run(("no-such-program-here",)) == Ran(-1, "", "no-such-program-here is not installed")


def test_the_kernel_tells_whether_the_clock_is_kept() -> None:
    assert synchronised() in (True, False, None)


# -- the daemon ----------------------------------------------------------------------------------------------------


def status(**changes: Any) -> dict[str, Any]:
    """STATUS with some of its values changed: "relay.can_speak"."""
    made = copy.deepcopy(STATUS)
    made["counters"]["datagrams heard"] = 100
    for path, value in changes.items():
        *folders, last = path.split("__")
        inner = made
        for folder in folders:
            inner = inner[folder]
        inner[last] = value
    return made


PEER: dict[str, Any] = {"name": "osaka", "state": "linked", "owed": 0, "synced": 5.0, "why": "", "since": 9.0}


@pytest.mark.parametrize(
    ("found", "check", "outcome"),
    [
        (status(), "privilege", "speaks"),
        (status(relay__can_speak=False), "privilege", "lists-only"),
        (status(), "buffers", "granted"),
        (status(sockets__receive_buffer=212_992), "buffers", "small"),
        (status(counters={"receive buffer overflowed": 3}), "buffers", "overflowed"),
        (status(), "receiving", "hears"),
        (status(counters={}), "receiving", "nothing"),
        (status(counters={}, uptime=3.0), "receiving", "early"),
        (status(), "database", "works"),
        (status(database__error="disk full"), "database", "failing"),
        (status(), "sync", "alone"),
        (status(fleet__problem="no key"), "sync", "broken"),
        (status(fleet__peers=[PEER]), "sync", "in-step"),
        (status(fleet__peers=[{**PEER, "owed": 3}]), "sync", "behind"),
        (status(fleet__peers=[{**PEER, "synced": None}]), "sync", "unproven"),
        (status(fleet__peers=[{**PEER, "synced": 9e5}]), "sync", "unproven"),
        (status(fleet__peers=[{**PEER, "state": "away", "why": "no route"}]), "sync", "away"),
    ],
)
def test_what_the_status_says(found: dict[str, Any], check: str, outcome: str) -> None:
    assert [fact.outcome for fact in running.facts(found, 7200.0) if fact.check == check] == [outcome]


def test_a_healthy_box_has_no_verdict(fake: FakeBox) -> None:
    fake.proc("sys/net/ipv4/conf/all/rp_filter", "0\n")
    fake.proc("net/udp", HEADS + row(2425, 7))
    config = parse(b"", "camrelay.toml")
    facts = list(look(config, status(), None, fake.box()))
    assert judge("doctor", [fact for fact in facts if fact.check not in EACH]) == []
    assert [found for fact in facts if fact.check in EACH for found in judge("doctor", [fact])] == []
    known = checks()
    for fact in facts:
        assert fact.outcome in known[fact.check].outcomes, fact
        assert "?" not in meaning(fact, "en") + meaning(fact, "ja"), fact


def test_without_the_daemon_the_box_is_looked_at(fake: FakeBox) -> None:
    facts = list(look(Config(), None, Fact("daemon", "not-running"), fake.box()))
    assert {"daemon", "config", "port", "segments", "interface", "clock", "disk"} <= {f.check for f in facts}
    assert "privilege" not in {fact.check for fact in facts}


def test_who_may_not_ask_does_not_know_whose_the_port_is(fake: FakeBox) -> None:
    facts = list(look(Config(), None, Fact("daemon", "not-allowed"), fake.box()))
    assert "port" not in {fact.check for fact in facts}


def test_a_refused_configuration_and_an_older_daemon_are_told(fake: FakeBox) -> None:
    found = status(config__problem="line 3", version="0.0.9")
    facts = {fact.check: fact for fact in look(Config(), found, None, fake.box())}
    assert facts["config"].outcome == "refused"
    assert facts["daemon"].outcome == "older"
