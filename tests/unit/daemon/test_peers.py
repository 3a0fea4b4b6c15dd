"""Whole daemons as a fleet: found again after a restart, told apart from strangers, and left in peace without one."""

from __future__ import annotations

import socket
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
import trio

from camrelay.daemon.fleet import Fleet
from camrelay.daemon.peerkey import PeerKey
from camrelay.daemon.peers import Peers
from camrelay.ipmsg.command import Command
from tests.unit.daemon.test_service import Client, Daemon, clients

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from camrelay.daemon.tasks import Tasks

pytestmark = pytest.mark.real_time


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port: int = sock.getsockname()[1]
    return port


class Relay(Daemon):
    """A daemon that other relays reach at the loopback."""

    def __init__(self, tmp_path: Path, name: str, network: str) -> None:
        self.home = tmp_path / name
        self.home.mkdir(exist_ok=True)
        self.port = free_port()
        self.name = name
        super().__init__(self.home, f'[peers]\naddress = "127.0.0.1"\nport = {self.port}\n')
        self.lan = self.network.host(f"{network}.1/24", can_speak=True)

    def configure(self, text: str, tmp_path: Path) -> None:
        super().configure(text, tmp_path)
        self.path.write_text(self.path.read_text().replace('name = "hq"', f'name = "{self.name}"'))

    @asynccontextmanager
    async def up(self) -> AsyncIterator[Tasks]:
        async with self.running(peers=Peers) as tasks:
            yield tasks

    def fleet(self) -> Fleet:
        """What is on disk, for enrolling while it is not running."""
        PeerKey.load_or_create(self.home)
        found = Fleet.open(self.home, self.name)
        found.readdress(self.name, (f"127.0.0.1:{self.port}",))
        return found


def enrol(one: Relay, two: Relay) -> None:
    """Both know each other, as after invite and join."""
    first, second = one.fleet(), two.fleet()
    for ours, theirs in ((first, second), (second, first)):
        ours.membership.restore(theirs.me)
        ours.save_or_fail()


async def until(true: Callable[[], object]) -> None:
    with trio.fail_after(10):
        while not true():  # noqa: ASYNC110 - told by calls, not by events
            await trio.sleep(0.01)


def linked(tasks: Tasks) -> bool:
    peers = tasks._peers
    return peers is not None and [row.state for row in peers.links.rows()] == ["linked"]


def names(tasks: Tasks) -> set[str]:
    return {row.logon for row in tasks._answering.users()}


async def test_a_user_of_one_is_listed_by_the_clients_of_the_other_within_a_second(tmp_path: Path) -> None:
    one, two = Relay(tmp_path, "one", "10.1.0"), Relay(tmp_path, "two", "10.2.0")
    enrol(one, two)
    bob = Client(one.network.host("10.1.0.5/24"), b"bob")
    carol = Client(two.network.host("10.2.0.7/24"), b"carol")
    async with clients(bob, carol), one.up() as first, two.up() as second:
        carol.say(Command.BR_ENTRY)
        await until(lambda: linked(first) and linked(second) and "carol" in names(second))
        begun = trio.current_time()
        bob.say(Command.BR_ENTRY)
        await until(lambda: carol.listed.get("10.1.0.5") == b"bob")
        assert trio.current_time() - begun < 1
    assert "peer linked peer=two" in one.said.getvalue()


async def test_after_a_restart_what_a_peer_told_is_there_before_it_is(tmp_path: Path) -> None:
    one, two = Relay(tmp_path, "one", "10.1.0"), Relay(tmp_path, "two", "10.2.0")
    enrol(one, two)
    bob = Client(one.network.host("10.1.0.5/24"), b"bob")
    async with clients(bob), one.up() as first, two.up() as second:
        await until(lambda: linked(first) and linked(second))
        bob.say(Command.BR_ENTRY)
        await until(lambda: "bob" in names(second))
        await second._store.flush()
    async with Relay(tmp_path, "two", "10.2.0").up() as second:
        (peer,) = second._relay.peers(trio.current_time())
        assert (peer.linked, peer.users) == (False, 1)  # served, if it does not link within 10 s


async def test_leaving_is_said_to_peers(tmp_path: Path) -> None:
    one, two = Relay(tmp_path, "one", "10.1.0"), Relay(tmp_path, "two", "10.2.0")
    enrol(one, two)
    async with one.up() as first:
        async with two.up() as second:
            await until(lambda: linked(first) and linked(second))
            two.kill(15)
            await two.ended.wait()
            await until(lambda: not linked(first))
        assert "it is being stopped" in one.said.getvalue()


async def test_a_daemon_without_a_fleet_has_a_door_and_no_key(tmp_path: Path) -> None:
    one = Relay(tmp_path, "one", "10.1.0")
    async with one.up() as tasks:
        peers = tasks._peers
        assert peers
        await until(lambda: peers.door.listening == one.port)
        assert peers.links.context is None
        assert peers.links.rows() == []
        assert peers.warnings() == []
        async with await trio.open_tcp_stream("127.0.0.1", one.port) as stream:
            await stream.send_all(b"1:100:bob:pc:2097248:1a:0:0")
            assert await stream.receive_some() == b""
        assert tasks._answering.status().counters["connections closed: file requests to the relay"] == 1
    assert not (one.home / "peer.pem").exists()


async def test_a_damaged_fleet_file_is_said_and_the_relay_serves_on(tmp_path: Path) -> None:
    one = Relay(tmp_path, "one", "10.1.0")
    (one.home / "fleet.toml").write_text("nonsense")
    bob = Client(one.network.host("10.1.0.5/24"), b"bob")
    async with clients(bob), one.up() as tasks:
        bob.say(Command.BR_ENTRY)
        await until(lambda: "bob" in names(tasks))
        assert any("fleet.toml" in text for text in tasks._answering.warnings())
        await until(lambda: tasks._peers and tasks._peers.door.listening)
