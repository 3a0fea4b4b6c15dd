"""The external user search in the daemon, on a virtual LAN: paced, bounded, and nobody is taken in but by ``add``."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
import trio

from camrelay.daemon.tracing import searching
from camrelay.errors import UsageError
from camrelay.ipmsg.command import Command
from camrelay.ipmsg.packet import parse
from tests.lan import Network
from tests.unit.daemon.test_service import Client, Daemon

if TYPE_CHECKING:
    from pathlib import Path


async def ask(daemon: Daemon, do: str, **more: Any) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The last line of the answer, and the events before it."""
    async with await daemon.ask() as stream:
        await stream.send_all(json.dumps({"v": 1, "do": do, "more": more}).encode() + b"\n")
        said = b""
        while b'"ok"' not in said or not said.endswith(b"\n"):
            got = await stream.receive_some(1 << 20)
            assert got, said
            said += got
    *events, last = map(json.loads, said.splitlines())
    return last, [event["event"] for event in events if event["event"]]


class Stage:
    """A relay in 10.1.0.*, a client in 10.2.0.7, a router between."""

    def __init__(self, tmp_path: Path, config: str = "") -> None:
        self.network = Network()
        self.daemon = Daemon(tmp_path, config, self.network.host("10.1.0.1/24", can_speak=True))
        self.client = Client(self.network.host("10.2.0.7/24"), b"taro")

    def asked(self) -> list[str]:
        return [t.to for lan, t in self.network.sent if lan is self.daemon.lan and t.to.startswith("10.2.0.")]


async def test_who_answers_is_found_and_not_taken_in(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    async with stage.daemon.running(), trio.open_nursery() as nursery:
        nursery.start_soon(stage.client.run)
        last, events = await ask(stage.daemon, "search", segments=["10.2.0.*"])
        result = last["result"]
        (hit,) = result["found"]
        assert (hit["address"], hit["nick"], hit["logon"], hit["known"]) == (
            "10.2.0.7",
            "taro-nick",
            "taro",
            False,
        )
        assert (result["asked"], result["added"], len(stage.asked())) == (254, 0, 254)
        assert events[-1] == {"asked": 254, "total": 254, "answered": 1, "found": []}
        assert [hit["address"] for event in events for hit in event["found"]] == ["10.2.0.7"]
        users, _ = await ask(stage.daemon, "users")
        assert users["result"] == []
        nursery.cancel_scope.cancel()


async def test_search_and_sweep_together_keep_the_pace(tmp_path: Path) -> None:
    stage = Stage(tmp_path, '[remote]\nsegments = ["10.3.0.*"]\nsweep_rate = 50\n')
    times: list[float] = []
    carry = stage.network.carry

    class Counting(Network):
        def carry(self, sender: Any, transmit: Any) -> None:
            if transmit.to.startswith(("10.2.", "10.3.")):
                times.append(trio.current_time())
            carry(sender, transmit)

    stage.daemon.lan._network = Counting()
    async with stage.daemon.running():
        await ask(stage.daemon, "search", segments=["10.2.0.*"])
        in_a_second = max(sum(at <= other < at + 1 for other in times) for at in times)
    assert len(times) > 480  # of both 254; neither waits for the other's end
    assert in_a_second <= 50


async def test_added_hosts_are_served_now_and_after_a_restart_until_forgotten(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    async with stage.daemon.running(), trio.open_nursery() as nursery:
        nursery.start_soon(stage.client.run)
        last, _ = await ask(stage.daemon, "search", segments=["10.2.0.7", "10.2.0.8"], add=True)
        assert last["result"]["added"] == 1
        await trio.sleep(2)
        assert "10.2.0.7" in {user["address"] for user in (await ask(stage.daemon, "users"))[0]["result"]}
        nursery.cancel_scope.cancel()
    again = Daemon(tmp_path, "", stage.network.host("10.1.0.2/24", can_speak=True))
    before = len(stage.network.sent)
    async with again.running():
        await trio.sleep(2)
        entries = [t for _, t in stage.network.sent[before:] if t.to == "10.2.0.7"]
        assert parse(entries[0].data).mode == Command.BR_ENTRY
        listed, _ = await ask(again, "discovered")
        assert [host["address"] for host in listed["result"]["hosts"]] == ["10.2.0.7"]
        gone, _ = await ask(again, "forget", addresses=["10.2.0.7", "10.9.9.9"])
        assert gone["result"] == {"forgotten": ["10.2.0.7"]}
        assert (await ask(again, "discovered"))[0]["result"]["hosts"] == []


@pytest.mark.parametrize(
    ("segments", "says"),
    [
        ((), "name at least one segment"),
        (("10.2.*.1",), "only the fourth octet"),
        (("10.2.0.0/24",), 'write "10.2.0.*"'),
        (("taro",), "neither"),
        (tuple(f"10.2.{n}.*" for n in range(5)), "1270 addresses: at most 1024"),
    ],
)
def test_segments_as_in_the_configuration_and_not_too_many(segments: tuple[str, ...], says: str) -> None:
    with pytest.raises(UsageError) as error:
        searching.addresses_of(segments)
    assert says in str(error.value)


async def test_without_a_fleet_nobody_else_can_search(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    async with stage.daemon.running():
        last, _ = await ask(stage.daemon, "search", segments=["10.2.0.7"], peer="osaka")
        assert "in no fleet" in last["error"]
        last, _ = await ask(stage.daemon, "search", segments=["10.2.0.7"], peer="osaka", add=True)
        assert (last["exit"], "run `camrelay search --add` there" in last["error"]) == (2, True)


async def test_who_hangs_up_is_not_searched_for_any_longer(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    async with stage.daemon.running():
        async with await stage.daemon.ask() as stream:
            more = {"segments": [f"10.2.{n}.*" for n in range(4)]}
            await stream.send_all(json.dumps({"v": 1, "do": "search", "more": more}).encode() + b"\n")
            await stream.receive_some(4096)
        await trio.sleep(20)
        asked = [t for lan, t in stage.network.sent if lan is stage.daemon.lan and t.to.startswith("10.2.")]
        assert 0 < len(asked) < 400
        assert "bug" not in stage.daemon.said.getvalue()
        assert (await ask(stage.daemon, "discovered"))[0]["ok"]
