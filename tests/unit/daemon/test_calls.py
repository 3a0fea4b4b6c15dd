"""Connections to agents on the loopback: what is a yes, what is a no, and how long a no may take."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import trio

from camrelay.daemon.calls import AT_ONCE, Calls
from camrelay.relay.outputs import Connect
from camrelay.relay.relay import Relay
from tests.unit.daemon.test_service import Daemon

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from camrelay.relay.outputs import Output

DATA = b"IP2:3:A:0::Z" * 60


class Agent:
    """Listens on 127.0.0.1 and does with every connection what it was made to do."""

    def __init__(self, answer: Callable[[trio.SocketStream], Awaitable[None]]) -> None:
        self.heard: list[bytes] = []
        self._answer = answer
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]

    async def listen(self) -> None:
        self._socket.setblocking(False)
        await trio.serve_listeners(
            self._serve, [trio.SocketListener(trio.socket.from_stdlib_socket(self._socket))]
        )

    async def _serve(self, stream: trio.SocketStream) -> None:
        async with stream:
            self.heard.append(await stream.receive_some())
            await self._answer(stream)


def called(
    agent: Agent | None, times: int = 1, within: float = 3.0, port: int = 0
) -> tuple[list[tuple[str, bool]], float]:
    """How the calls went, and how long all of them took."""
    gone: list[tuple[str, bool]] = []

    async def main() -> float:
        async with trio.open_nursery() as nursery:

            def done(address: str, ok: bool) -> None:
                gone.append((address, ok))
                if len(gone) == times:
                    nursery.cancel_scope.cancel()

            calls = Calls(done, within)
            if agent:
                nursery.start_soon(agent.listen)
            nursery.start_soon(calls.run)
            begun = trio.current_time()
            for _ in range(times):
                calls.start(Connect("127.0.0.1", agent.port if agent else port, DATA))
        return trio.current_time() - begun

    return gone, trio.run(main)


async def close(stream: trio.SocketStream) -> None:
    await trio.lowlevel.checkpoint()


async def never(stream: trio.SocketStream) -> None:
    await trio.sleep_forever()


async def babble(stream: trio.SocketStream) -> None:
    try:
        while True:
            await stream.send_all(b"x" * 1000)
    except trio.BrokenResourceError:
        pass


def test_a_clean_end_is_a_yes_and_all_was_written() -> None:
    agent = Agent(close)
    assert called(agent)[0] == [("127.0.0.1", True)]
    assert agent.heard == [DATA]


def test_nobody_there_is_a_no() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    assert called(None, port=port)[0] == [("127.0.0.1", False)]


def test_who_never_closes_is_a_no_in_time() -> None:
    gone, took = called(Agent(never), within=0.2)
    assert gone == [("127.0.0.1", False)]
    assert 0.15 < took < 2.0


def test_who_only_talks_is_a_no_at_once() -> None:
    gone, took = called(Agent(babble))
    assert gone == [("127.0.0.1", False)]
    assert took < 2.0


def test_not_too_many_at_once() -> None:
    gone, took = called(Agent(never), times=AT_ONCE + 1, within=0.2)
    assert len(gone) == AT_ONCE + 1
    assert took > 0.35  # the last one waited for another to end


def test_the_relay_asks_for_a_connection_and_hears_how_it_went(tmp_path: Path) -> None:
    agent = Agent(close)
    heard: list[tuple[str, bool]] = []

    class Master(Relay):
        def start(self, now: float) -> list[Output]:
            return [*super().start(now), Connect("127.0.0.1", agent.port, DATA)]

        def connected(self, address: str, ok: bool, now: float) -> None:
            heard.append((address, ok))
            super().connected(address, ok, now)  # which asked for nothing, and does not mind

    async def main() -> None:
        daemon = Daemon(tmp_path)
        with trio.fail_after(5):
            async with trio.open_nursery() as nursery, daemon.running(relay=Master):
                nursery.start_soon(agent.listen)
                while not heard:  # noqa: ASYNC110 - told by a call, not by an event
                    await trio.sleep(0.01)
                nursery.cancel_scope.cancel()
        daemon.systemd.close()

    trio.run(main)
    assert heard == [("127.0.0.1", True)]
    assert agent.heard == [DATA]
