"""Does speaking as others arrive? The daemon's part on a virtual LAN: who is asked, in which order, the farewell."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import trio

from camrelay.daemon.tracing import testuser
from camrelay.daemon.tracing.speaking import nobodys_address
from camrelay.ipmsg import hostlist
from camrelay.ipmsg.command import Command, Option
from camrelay.ipmsg.packet import build, parse
from camrelay.relay.outputs import Interface, Transmit
from tests.lan import Network
from tests.unit.daemon.test_service import Client, Daemon

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.lan import VirtualLan


class Guarded(Network):
    """A LAN whose switch drops foreign sources."""

    def carry(self, sender: VirtualLan, transmit: Transmit) -> None:
        if transmit.speak_as is None:
            super().carry(sender, transmit)


class Lister(Client):
    """A Windows client that answers GETLIST, as the real one does."""

    async def run(self) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._lists)
            await super().run()

    def say(self, command: int, to: str = "255.255.255.255") -> None:
        self._number += 1
        options = int(Option.CAPUTF8 | Option.ENCRYPT)
        extra = b"group\0\nUN:%b\nHN:pc\nVS:00010002:4:99:103\n" % self.name
        data = build(b"1", self._number, self.name, b"pc", command | options, self.name, extra)
        self.lan.send([Transmit(data, to)])

    async def _lists(self) -> None:
        answered = 0
        while True:
            await trio.sleep(0.05)
            for datagram in self.heard[answered:]:
                if parse(datagram.data).mode == Command.GETLIST:
                    self._give(datagram.source)
            answered = len(self.heard)

    def _give(self, to: str) -> None:
        users = [
            hostlist.Entry(name, b"pc", 0x100, address, 2425, name, b"")
            for address, name in self.listed.items()
        ]
        body, _ = hostlist.pack(users, 0)
        self.lan.send([Transmit(build(b"1", 9, self.name, b"pc", Command.ANSLIST, body), to)])


class Listener:
    """`camrelay listen` on a PC."""

    def __init__(self, lan: VirtualLan) -> None:
        self.lan = lan

    async def run(self) -> None:
        while True:
            for datagram in await self.lan.receive():
                if asked := testuser.read(datagram.data):
                    self.lan.send([Transmit(testuser.answer(asked), asked.to)])


@asynccontextmanager
async def stage(tmp_path: Path, network: Network, *, can_speak: bool = True) -> AsyncIterator[Daemon]:
    daemon = Daemon(tmp_path, lan=network.host("10.1.0.1/24", can_speak=can_speak))
    async with daemon.running():
        yield daemon


async def speak(daemon: Daemon) -> list[dict[str, Any]]:
    import json

    async with await daemon.ask() as stream:
        await stream.send_all(b'{"v":1,"do":"speak"}\n')
        said = b""
        while b'"ok"' not in said:
            said += await stream.receive_some(65536)
    (last,) = [line for line in said.splitlines() if b'"ok"' in line]
    return list(json.loads(last)["result"]["facts"])


async def with_somebody(tmp_path: Path, network: Network, somebody: Any) -> dict[str, Any]:
    async with stage(tmp_path, network) as daemon, trio.open_nursery() as nursery:
        nursery.start_soon(somebody.run)
        if isinstance(somebody, Client):
            somebody.say(Command.BR_ENTRY)
        await trio.sleep(1.0)
        (fact,) = await speak(daemon)
        nursery.cancel_scope.cancel()
    return fact


async def test_a_listener_hears_both_names(tmp_path: Path) -> None:
    network = Network()
    fact = await with_somebody(tmp_path, network, Listener(network.host("10.1.0.8/24")))
    assert fact["outcome"] == "arrives"
    assert fact["detail"]["by"] == "listen"
    assert fact["detail"]["witness"] == "camrelay listen (10.1.0.8)"


async def test_a_listener_hears_our_own_name_only(tmp_path: Path) -> None:
    network = Guarded()
    fact = await with_somebody(tmp_path, network, Listener(network.host("10.1.0.8/24")))
    assert (fact["outcome"], fact["detail"]["by"]) == ("dropped", "listen")


async def test_windows_lists_the_test_user_and_is_told_that_it_is_gone(tmp_path: Path) -> None:
    network = Network()
    client = Lister(network.host("10.1.0.9/24"), b"taro")
    fact = await with_somebody(tmp_path, network, client)
    assert (fact["outcome"], fact["detail"]["by"]) == ("arrives", "windows")
    assert fact["detail"]["source"] not in client.listed


async def test_windows_does_not_list_it(tmp_path: Path) -> None:
    network = Guarded()
    fact = await with_somebody(tmp_path, network, Lister(network.host("10.1.0.9/24"), b"taro"))
    assert (fact["outcome"], fact["detail"]["by"]) == ("dropped", "windows")


async def test_a_windows_client_that_gives_no_list_proves_nothing(tmp_path: Path) -> None:
    network = Network()
    fact = await with_somebody(tmp_path, network, Client(network.host("10.1.0.9/24"), b"taro"))
    assert fact["outcome"] == "nobody"


async def test_who_asks_and_hangs_up_leaves_no_test_user_behind(tmp_path: Path) -> None:
    network = Network()
    client = Lister(network.host("10.1.0.9/24"), b"taro")
    async with stage(tmp_path, network) as daemon, trio.open_nursery() as nursery:
        nursery.start_soon(client.run)
        client.say(Command.BR_ENTRY)
        await trio.sleep(1.0)
        async with await daemon.ask() as stream:
            await stream.send_all(b'{"v":1,"do":"speak"}\n')
            with trio.fail_after(10):
                while b"camrelay-test" not in client.listed.values():  # noqa: ASYNC110 - it tells nobody
                    await trio.sleep(0.05)
        await trio.sleep(0.2)
        assert b"camrelay-test" not in client.listed.values()
        nursery.cancel_scope.cancel()


async def test_nobody_is_there(tmp_path: Path) -> None:
    async with stage(tmp_path, Network()) as daemon:
        (fact,) = await speak(daemon)
    assert (fact["outcome"], fact["detail"]["segment"]) == ("nobody", "10.1.0.0/24")


async def test_without_the_privilege_it_is_not_tried(tmp_path: Path) -> None:
    network = Network()
    async with stage(tmp_path, network, can_speak=False) as daemon:
        before = len(network.sent)
        assert [fact["outcome"] for fact in await speak(daemon)] == ["unable"]
        assert len(network.sent) == before


def test_nobodys_address_is_not_one_of_the_segment() -> None:
    here = Interface(2, "eth0", "192.0.2.1", "192.0.2.0/24", "192.0.2.255")
    assert nobodys_address(here).startswith("198.51.100.")
    there = Interface(2, "eth0", "10.1.0.1", "10.1.0.0/24", "10.1.0.255")
    assert nobodys_address(there).startswith("192.0.2.")
