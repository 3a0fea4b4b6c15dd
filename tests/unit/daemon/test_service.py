"""The whole daemon on a virtual LAN: starting, serving, reloading, being killed, waking up, leaving."""

from __future__ import annotations

import io
import random
import signal
import socket
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
import trio

from camrelay.config import load
from camrelay.daemon import control, service
from camrelay.daemon.log import Log
from camrelay.daemon.notify import Notify
from camrelay.daemon.store import Store
from camrelay.daemon.tasks import FAREWELL_WITHIN, Tasks
from camrelay.errors import StartError, causes
from camrelay.ipmsg.command import Command
from camrelay.ipmsg.packet import build, parse
from camrelay.relay.outputs import Transmit
from camrelay.relay.relay import Relay
from tests.lan import Network, VirtualLan

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from camrelay.relay.outputs import Datagram, Output

WINDOWS = 0x01400000 | 0x00200000  # CAPUTF8, ENCRYPT, FILEATTACH


class Client:
    """An IPMSG client much like Windows. ``listed``: names by address."""

    def __init__(self, lan: VirtualLan, name: bytes) -> None:
        self.lan = lan
        self.name = name
        self.address = lan.interfaces[0].address
        self.listed: dict[str, bytes] = {}
        self.heard: list[Datagram] = []
        self._number = 100

    def say(self, command: int, to: str = "255.255.255.255") -> None:
        self._number += 1
        body = (
            self.name
            + b"-nick\0group\0\nUN:"
            + self.name
            + b"\nHN:pc\nNN:"
            + self.name
            + b"-nick\nGN:group\n"
        )
        head, _, tail = body.partition(b"\0")
        data = build(b"1", self._number, self.name, b"pc", command | WINDOWS, head, tail)
        self.lan.send([Transmit(data, to)])

    async def run(self) -> None:
        while True:
            for datagram in await self.lan.receive():
                self.heard.append(datagram)
                packet = parse(datagram.data)
                if packet.mode in (Command.BR_ENTRY, Command.ANSENTRY, Command.BR_ABSENCE):
                    self.listed[datagram.source] = packet.logon
                if packet.mode == Command.BR_EXIT:
                    self.listed.pop(datagram.source, None)
                if packet.mode == Command.BR_ENTRY:
                    self.say(Command.ANSENTRY, datagram.source)
                if packet.mode == Command.GETINFO:
                    answer = build(b"1", 1, self.name, b"pc", Command.SENDINFO, b"Win(en)Ver4.99r3(x64)")
                    self.lan.send([Transmit(answer, datagram.source)])


class Daemon:
    """A daemon with a test's own LAN, clock of sleep, signals, log and systemd."""

    def __init__(self, tmp_path: Path, config: str = "", lan: VirtualLan | None = None) -> None:
        self.path = tmp_path / "camrelay.toml"
        self.configure(config, tmp_path)
        self.network = Network()
        self.lan = lan or self.network.host("10.1.0.1/24", can_speak=True)
        self.slept = 0.0
        self.said = io.StringIO()
        self.log = Log(trio.current_time)
        self.log.open(stream=self.said, environment={})
        self.systemd = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        # a unix socket queues some ten datagrams, so no test looks at more
        self.systemd.bind(f"\0{tmp_path}")
        self._tmp_path = tmp_path
        self._signals, self._obeyed = trio.open_memory_channel[int](9)
        self.ended = trio.Event()

    def configure(self, text: str, tmp_path: Path) -> None:
        own = f'[relay]\nname = "hq"\nstate = "{tmp_path}"\ncontrol = "{tmp_path}/control.sock"\n'
        self.path.write_text(own + text)

    def kill(self, number: int) -> None:
        self._signals.send_nowait(number)

    async def ask(self) -> trio.SocketStream:
        return await trio.open_unix_socket(str(self._tmp_path / "control.sock"))

    def notified(self) -> list[str]:
        lines = []
        while True:
            try:
                lines += self.systemd.recv(4096).decode().splitlines()
            except BlockingIOError:
                return lines

    @asynccontextmanager
    async def running(self, **more: Any) -> AsyncIterator[Tasks]:
        """Runs until the block ends (as kill -9 would end it) or the daemon ends by itself."""
        config = load(self.path, {})
        store = Store.open(config.relay.state, self.log, aside=at_once)
        notify = Notify({"NOTIFY_SOCKET": f"@{self._tmp_path}"})
        tasks = Tasks(
            config, lan=self.lan, interfaces=self.lan, store=store, log=self.log, notify=notify,
            hostname="box", asleep=lambda: self.slept, chance=random.Random(1), **more,
        )  # fmt: skip
        listener, _ = control.listen(config.relay.control)
        try:
            tasks.start()
            async with trio.open_nursery() as nursery:

                async def serve() -> None:
                    await tasks.serve(listener, self._obeyed)
                    self.ended.set()

                nursery.start_soon(serve)
                yield tasks
                nursery.cancel_scope.cancel()
        finally:
            store.close()
            listener.close()
            notify.close()
            self.systemd.close()


async def at_once(function: Callable[..., None], *arguments: object) -> None:
    """Instead of a thread, which this clock does not wait for."""
    await trio.lowlevel.checkpoint()
    function(*arguments)


@asynccontextmanager
async def clients(*many: Client) -> AsyncIterator[None]:
    async with trio.open_nursery() as nursery:
        for client in many:
            nursery.start_soon(client.run)
        yield
        nursery.cancel_scope.cancel()


REMOTE = '[remote]\nsegments = ["10.2.0.*"]\n'


async def test_it_says_that_it_is_ready_and_who_it_is(tmp_path: Path) -> None:
    daemon = Daemon(tmp_path)
    bob = Client(daemon.network.host("10.1.0.5/24"), b"bob")
    async with clients(bob), daemon.running():
        await trio.sleep(0.5)
        assert daemon.notified()[:2] == ["READY=1", "STATUS=0 users here, 0 elsewhere"]
    assert "10.1.0.1" in bob.listed
    assert " info     ready version=" in daemon.said.getvalue().splitlines()[0]


async def test_users_of_two_segments_list_each_other_under_their_own_addresses(tmp_path: Path) -> None:
    daemon = Daemon(tmp_path, REMOTE)
    bob = Client(daemon.network.host("10.1.0.5/24"), b"bob")
    carol = Client(daemon.network.host("10.2.0.7/24"), b"carol")
    async with clients(bob, carol), daemon.running() as tasks:
        bob.say(Command.BR_ENTRY)
        await trio.sleep(10)
        rows = {row.logon: row for row in tasks._answering.users()}
        status = tasks._answering.status()
        assert "STATUS=1 users here, 1 elsewhere" in daemon.notified()
    assert bob.listed["10.2.0.7"] == b"carol"
    assert carol.listed["10.1.0.5"] == b"bob"
    assert (rows["bob"].segment, rows["carol"].segment) == ("10.1.0.0/24", "10.2.0.*")
    assert (status.relay.online, status.database.users, status.database.error) == (2, 2, None)
    assert status.counters["datagrams received"] > 0
    assert (
        "user joined nick=bob-nick logon=bob host=pc address=10.1.0.5 segment=10.1.0.0/24"
        in daemon.said.getvalue()
    )


async def test_the_roster_is_served_again_at_once_after_kill_9(tmp_path: Path) -> None:
    first = Daemon(tmp_path, REMOTE)
    carol = Client(first.network.host("10.2.0.7/24"), b"carol")
    bob = Client(first.network.host("10.1.0.5/24"), b"bob")
    async with clients(bob, carol), first.running():
        await trio.sleep(10)
    again = Daemon(tmp_path, REMOTE)
    dave = Client(again.network.host("10.1.0.9/24"), b"dave")
    async with clients(dave), again.running():
        dave.say(Command.BR_ENTRY)
        await trio.sleep(0.5)
        assert dave.listed["10.2.0.7"] == b"carol", "nobody else is on this network to say so"


async def test_sigterm_says_good_bye_writes_and_ends(tmp_path: Path) -> None:
    daemon = Daemon(tmp_path)
    bob = Client(daemon.network.host("10.1.0.5/24"), b"bob")
    async with clients(bob):
        async with daemon.running():
            bob.say(Command.BR_ENTRY)
            await trio.sleep(0.1)
            daemon.notified()
            daemon.kill(signal.SIGTERM)
            with trio.fail_after(0.5):
                await daemon.ended.wait()
            assert daemon.notified()[0] == "STOPPING=1"
        await trio.sleep(0.1)
    assert "10.1.0.1" not in bob.listed
    store = Store.open(tmp_path, daemon.log)
    assert [user.address for user in store.load()] == ["10.1.0.5"]
    store.close()


async def test_a_stuck_network_holds_leaving_up_for_two_seconds_and_a_second_sigterm_not_at_all(
    tmp_path: Path,
) -> None:
    for signals, seconds in ((1, FAREWELL_WITHIN), (2, 0.0)):
        daemon = Daemon(tmp_path)
        async with daemon.running():
            await trio.sleep(1)
            daemon.lan.stuck = True
            began = trio.current_time()
            for _ in range(signals):
                daemon.kill(signal.SIGTERM)
            await daemon.ended.wait()
            assert trio.current_time() - began == pytest.approx(seconds, abs=0.1)


async def test_sighup_takes_over_a_good_configuration_and_keeps_the_old_one_for_a_bad_one(
    tmp_path: Path,
) -> None:
    daemon = Daemon(tmp_path)
    carol = Client(daemon.network.host("10.2.0.7/24"), b"carol")
    async with clients(carol), daemon.running() as tasks:
        daemon.configure("[remote]\nsegments = [1, 2]\nsweep = 3", tmp_path)
        daemon.kill(signal.SIGHUP)
        await trio.sleep(0.1)
        assert tasks._answering.status().config.problem is not None
        assert daemon.said.getvalue().count("configuration not reloaded") == 2
        assert "RELOADING=1" in daemon.notified()
        daemon.configure(REMOTE, tmp_path)
        daemon.kill(signal.SIGHUP)
        await trio.sleep(10)
        assert tasks._answering.status().config.problem is None
        assert [user.logon for user in tasks._answering.users()] == ["carol"]
    assert "10.1.0.1" in carol.listed


async def test_an_interface_that_comes_later_is_used(tmp_path: Path) -> None:
    daemon = Daemon(tmp_path)
    daemon.lan.unplug("eth0")
    bob = Client(daemon.network.host("10.5.0.5/24"), b"bob")
    async with clients(bob), daemon.running() as tasks:
        await trio.sleep(1)
        assert "no usable network interface" in daemon.said.getvalue()
        assert tasks._answering.status().relay.segments == []
        daemon.lan.plug("10.5.0.1/24")
        await trio.sleep(1)
        assert [row.name for row in tasks._answering.status().relay.segments] == ["10.5.0.0/24"]
    assert "10.5.0.1" in bob.listed
    assert daemon.lan.broadcasts == {"10.5.0.255"}


async def test_after_a_suspend_everybody_is_asked_again(tmp_path: Path) -> None:
    daemon = Daemon(tmp_path)
    bob = Client(daemon.network.host("10.1.0.5/24"), b"bob")
    gone = Client(daemon.network.host("10.1.0.6/24"), b"gone")
    async with clients(bob), daemon.running() as tasks:
        bob.say(Command.BR_ENTRY)
        gone.say(Command.BR_ENTRY)
        await trio.sleep(6)
        assert {row.state for row in tasks._answering.users()} == {"online"}
        daemon.slept = 3600.0
        await trio.sleep(60)
        assert "woken up slept=3600" in daemon.said.getvalue()
        states = {row.logon: row.state for row in tasks._answering.users()}
    assert states == {"bob": "online", "gone": "offline"}


async def test_the_watchdog_is_fed_in_time(tmp_path: Path) -> None:
    daemon = Daemon(tmp_path)
    async with daemon.running(watchdog=3.0):
        await trio.sleep(7.5)
        assert daemon.notified().count("WATCHDOG=1") == 7


async def test_watchers_are_told_what_happens(tmp_path: Path) -> None:
    daemon = Daemon(tmp_path)
    bob = Client(daemon.network.host("10.1.0.5/24"), b"bob")
    async with clients(bob), daemon.running(), await daemon.ask() as stream:
        await stream.send_all(b'{"v":1,"do":"users","watch":true}\n')
        await trio.sleep(0.1)
        assert b'"result":[{"logon":"bob"' in await stream.receive_some()
        bob.say(Command.BR_EXIT)
        assert b'"reason":"exit"' in await stream.receive_some()
        bob.say(Command.BR_ENTRY)
        assert b'{"v":1,"event":{"event":"joined","user":{"logon":"bob"' in await stream.receive_some()


async def test_a_sweep_on_request_counts_who_answered(tmp_path: Path) -> None:
    daemon = Daemon(tmp_path, REMOTE)
    carol = Client(daemon.network.host("10.2.0.7/24"), b"carol")
    async with clients(carol), daemon.running():
        await trio.sleep(30)
        async with await daemon.ask() as stream:
            await stream.send_all(b'{"v":1,"do":"sweep","segments":["10.2.0.7"]}\n')
            last = b"".join([piece async for piece in stream]).splitlines()[-1]
    assert b'"result":{"asked":254,"answered":1,' in last


async def hear(daemon: Daemon, client: Client, relay: type[Relay]) -> None:
    async with clients(client), daemon.running(relay=relay):
        client.say(Command.BR_ENTRY)
        await trio.sleep(1)


async def test_an_exception_out_of_the_relay_ends_the_daemon(tmp_path: Path) -> None:
    class Broken(Relay):
        def receive(self, datagram: Datagram, now: float) -> list[Output]:
            raise ZeroDivisionError("a bug")

    daemon = Daemon(tmp_path)
    bob = Client(daemon.network.host("10.1.0.5/24"), b"bob")
    with pytest.raises(BaseExceptionGroup) as caught:
        await hear(daemon, bob, Broken)
    assert [type(cause) for cause in causes(caught.value)] == [ZeroDivisionError]


def test_a_bug_is_one_critical_line_and_exit_code_70() -> None:
    said = io.StringIO()
    log = Log()
    log.open(stream=said, environment={})
    bug = BaseExceptionGroup("a", [BaseExceptionGroup("b", [ZeroDivisionError("x")])])
    with pytest.raises(SystemExit) as caught:
        service.give_up(bug, log, Notify({}))
    assert caught.value.code == 70
    assert said.getvalue().count("critical") == 1


def test_what_keeps_it_from_starting_is_that_one_error() -> None:
    with pytest.raises(StartError, match="port busy"):
        service.give_up(BaseExceptionGroup("a", [StartError("port busy")]), Log(), Notify({}))
