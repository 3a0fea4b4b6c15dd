"""Watching: every datagram with its fate, filtered, counted before it can get lost; no body unless asked for."""

from __future__ import annotations

import json
import random
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
import trio

from camrelay.config import load
from camrelay.daemon import control
from camrelay.daemon.answers import Request
from camrelay.daemon.log import Log
from camrelay.daemon.tap import ROOM, Tap
from camrelay.daemon.tracing import Stand, scribe, watching
from camrelay.daemon.tracing.scribe import Scribe, Tally, own_address
from camrelay.daemon.tracing.sieve import DICTIONARIES
from camrelay.daemon.tracing.watching import LINES
from camrelay.errors import UsageError
from camrelay.ipmsg import ipdict
from camrelay.ipmsg.command import Command
from camrelay.ipmsg.packet import build
from camrelay.relay.outputs import Datagram, Interface, Transmit
from camrelay.relay.relay import Relay

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

ETH0 = Interface(2, "eth0", "10.1.0.1", "10.1.0.0/24", "10.1.0.255", also=("10.9.0.0/24",))
ETH1 = Interface(3, "eth1", "10.3.0.1", "10.3.0.0/24", "10.3.0.255")


class Box:
    """A relay that is looked at, without a network."""

    def __init__(self, tmp_path: Path) -> None:
        path = tmp_path / "camrelay.toml"
        path.write_text('[relay]\nalso = ["eth0=10.9.0.0/24"]\n[remote]\nsegments = ["10.2.0.*"]\n')
        config = load(path, {})
        interfaces = [ETH0, ETH1]
        self.relay = Relay(
            config.settings("box"), interfaces, hostname="box", number=1, random=random.Random(1),
            can_speak=True, now=trio.current_time(),
        )  # fmt: skip
        self.tap = Tap()
        self.stand = Stand(
            self.tap, self.relay, lambda outputs, now: None, Log(trio.current_time),
            config=lambda: config, interfaces=lambda: interfaces, peers=None,
        )  # fmt: skip
        self.events: list[dict[str, Any]] = []
        self.slow: trio.Event | None = None

    async def tell(self, event: object) -> None:
        if self.slow is not None:
            await self.slow.wait()
        await trio.lowlevel.checkpoint()
        self.events.append(json.loads(msgspec.json.encode(event)))

    def hear(self, *datagrams: Datagram) -> None:
        now = trio.current_time()
        outputs = self.tap.receive(self.relay.receive, self.relay.counters, datagrams, now)
        self.tap.sent([one for one in outputs if isinstance(one, Transmit)], now)

    @asynccontextmanager
    async def watched(self, do: str = "watch", **more: Any) -> AsyncIterator[None]:
        """Runs until the block ends, plus the time to gather; or until the watch ends by itself, if it will."""
        request = Request(1, do, more=msgspec.Raw(msgspec.json.encode(more)))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(watching.watch, self.stand, request, self.tell)
            await trio.testing.wait_all_tasks_blocked()
            yield
            if not (more.get("count") or more.get("seconds")):
                await trio.sleep(1)
                nursery.cancel_scope.cancel()

    @property
    def lines(self) -> list[dict[str, Any]]:
        return [line for event in self.events for line in event.get("lines", ())]

    @property
    def totals(self) -> dict[str, Any]:
        return dict(self.events[-1]["totals"])

    @property
    def rows(self) -> dict[str, dict[str, Any]]:
        return {row["address"]: row for event in self.events for row in event.get("rows", ())}


@pytest.fixture
async def box(tmp_path: Path) -> Box:
    return Box(tmp_path)


def presence(name: str, mode: int = Command.BR_ENTRY, charset: str = "utf-8") -> bytes:
    return build(b"1", 7, name.encode(charset), b"pc", mode, f"{name}-nick".encode(charset), b"group")


def heard(data: bytes, source: str = "10.1.0.5", *, interface: int = 2, broadcast: bool = True) -> Datagram:
    return Datagram(data, source, 2425, interface, broadcast, 64)


def message(body: bytes = b"nobody else's business") -> Datagram:
    return heard(build(b"1", 8, b"taro", b"pc", Command.SENDMSG, body), broadcast=False)


def b64(data: bytes) -> str:
    return str(json.loads(msgspec.json.encode(data)))


async def test_both_directions_are_shown_with_names_and_fate(tmp_path: Path) -> None:
    box = Box(tmp_path)
    async with box.watched():
        box.hear(heard(presence("taro")))
        box.hear(heard(presence("eve"), "172.16.0.9"))
        box.hear(ENTRY_B)
        box.tap.sent([Transmit(b"x", "10.3.0.255", 2425, "10.1.0.5", 3, 1)], trio.current_time())
    came, *_ = box.lines
    (answer, *_) = [line for line in box.lines if line["target"] == "10.1.0.5"]
    (foreign,) = [line for line in box.lines if line["source"] == "172.16.0.9"]
    spoken = box.lines[-1]
    assert came.pop("fate").endswith("user joined")
    assert came == {
        "time": came["time"], "source": "10.1.0.5", "source_port": 2425, "target": "10.1.0.255",
        "target_port": 2425, "data": b64(presence("taro")), "broadcast": True, "interface": "eth0", "ttl": 64,
        "name": "taro-nick",
    }  # fmt: skip
    assert (answer["out"], answer["target"], answer["name"]) == (True, "10.1.0.5", "taro-nick")
    assert foreign["fate"] == "dropped: source not in accept_from"
    assert (spoken["speak_as"], spoken["source"], spoken["interface"]) == ("taro-nick", "10.1.0.5", "eth1")
    assert box.totals["in_packets"] == 3


@pytest.mark.parametrize(("do", "shown"), [("watch", b"x" * 22), ("watch bodies", b"nobody else's business")])
async def test_bodies_leave_the_daemon_on_one_request_only(tmp_path: Path, do: str, shown: bytes) -> None:
    box = Box(tmp_path)
    async with box.watched(do):
        box.hear(message())
    assert box.lines[0]["data"] == b64(build(b"1", 8, b"taro", b"pc", Command.SENDMSG, shown))


ENTRY_A = heard(presence("taro"))
ENTRY_B = heard(presence("hanako"), "10.3.0.8", interface=3)
FOREIGN = heard(presence("kenji"), "192.168.9.9")  # another network on the wire of eth0
LIST = heard(
    build(b"1", 9, b"q", b"pc", Command.ANSLIST, b"    0\a    1\atanaka\ahost\a1"),
    "10.2.0.9",
    broadcast=False,
)
JUNK = heard(b"junk", "10.2.0.9", broadcast=False)
ALL = (ENTRY_A, ENTRY_B, FOREIGN, LIST, JUNK)
TO_WIRE = Transmit(presence("hanako", Command.BR_ABSENCE), "255.255.255.255", 2425, "10.3.0.8", 2, 1)


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        ({"addresses": ["10.1.0.5"]}, [ENTRY_A]),
        ({"addresses": ["10.1.0.*", "10.3.0.0/16"]}, [ENTRY_A, ENTRY_B, TO_WIRE]),
        ({"segments": ["10.1.0.0/24"]}, [ENTRY_A, FOREIGN, TO_WIRE]),
        ({"segments": ["10.2.0.77"]}, [LIST, JUNK]),
        ({"segments": ["10.3.0.0/24"], "directions": ["out"]}, [TO_WIRE]),
        ({"commands": ["entry"]}, [ENTRY_A, ENTRY_B, FOREIGN]),
        ({"commands": ["0x04", "malformed"]}, [JUNK, TO_WIRE]),
        ({"directions": ["in"], "commands": ["br_absence"]}, []),
        ({"users": ["HANAKO"]}, [ENTRY_B, TO_WIRE]),
        ({"users": ["tanaka", "kenji"]}, [FOREIGN, LIST]),
        ({"users": ["taro"], "directions": ["in"]}, [ENTRY_A]),
    ],
    ids=str,
)
async def test_filters(tmp_path: Path, words: dict[str, Any], wanted: list[Any]) -> None:
    box = Box(tmp_path)
    for datagram in ALL:
        box.relay.receive(datagram, trio.current_time())
    async with box.watched(**words):
        for datagram in ALL:  # what the relay answers is not asked for here
            box.tap.receive(box.relay.receive, box.relay.counters, [datagram], trio.current_time())
        box.tap.sent([TO_WIRE], trio.current_time())
    assert [line["data"] for line in box.lines] == [b64(one.data) for one in wanted]
    assert box.totals["in_packets"] + box.totals["out_packets"] == len(wanted)


async def test_a_user_is_found_by_a_name_in_any_charset_but_not_in_a_message(tmp_path: Path) -> None:
    box = Box(tmp_path)
    async with box.watched(users=["田中"]):
        for charset in ("cp932", "utf-8", "gb18030"):
            box.hear(heard(presence("田中", Command.BR_ABSENCE, charset), "192.168.9.9"))
        box.hear(message("田中".encode()))
    assert box.totals["in_packets"] == 3


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ({"users": [" "]}, "--user: an empty name"),
        ({"addresses": ["10.1.2"]}, "--address 10.1.2: expected an address"),
        ({"segments": ["172.16.0.0/12"]}, r"--segment 172.16.0.0/12: no segment, .*10.1.0.0/24, 10.3.0.0/24"),
        ({"commands": ["hello"]}, "--command hello: expected malformed, a number up to 0xff, or one of NOOP"),
        ({"directions": ["up"]}, "--direction up: expected in or out"),
        ({"count": -1}, "expected more than nothing"),
        ({"users": ["a"] * 101}, "more than 100"),
        ({"user": ["a"]}, "unknown field `user`"),
        ({"users": "a"}, "Expected `array`"),
    ],
)  # fmt: skip
async def test_bad_words_are_one_clear_error(tmp_path: Path, words: dict[str, Any], said: str) -> None:
    box = Box(tmp_path)
    request = Request(1, "watch", more=msgspec.Raw(msgspec.json.encode(words)))
    with pytest.raises(UsageError, match=said):
        await watching.watch(box.stand, request, box.tell)
    assert not box.tap.active


async def test_it_ends_after_so_many_datagrams(tmp_path: Path) -> None:
    box = Box(tmp_path)
    async with box.watched(count=2, directions=["in"]):
        for _ in range(5):
            box.hear(ENTRY_A)
    assert len(box.lines) == box.totals["in_packets"] == 2


async def test_it_ends_after_so_long_and_can_only_count(tmp_path: Path) -> None:
    box = Box(tmp_path)
    async with box.watched(seconds=3.0, lines=False):
        box.hear(ENTRY_A, ENTRY_A)
        await trio.sleep(1)
    size = len(ENTRY_A.data)
    assert box.lines == []
    assert (box.totals["seconds"], box.totals["in_bytes"]) == (3.0, 2 * size)
    row = box.rows["10.1.0.5"]
    assert (row["user"], row["logon"], row["host"], row["segment"]) == (
        "taro-nick",
        "taro",
        "pc",
        "10.1.0.0/24",
    )
    assert (row["from_packets"], row["from_bytes"], row["as_packets"]) == (2, 2 * size, 1)
    assert row["to_packets"] + box.rows["10.3.0.255"]["to_packets"] == box.totals["out_packets"]


async def test_who_reads_slowly_loses_lines_is_told_how_many_and_all_are_counted(tmp_path: Path) -> None:
    box = Box(tmp_path)
    async with box.watched(directions=["in"]):
        box.slow = trio.Event()
        for _ in range(40):  # below the limit per second
            box.hear(*[ENTRY_A] * 50)
            await trio.sleep(0.05)
        box.slow.set()
        await trio.sleep(1)
        box.hear(ENTRY_B)
    lost = box.totals["lost"]
    assert box.totals["in_packets"] == 2001
    assert lost == 2001 - len(box.lines) >= 2000 - ROOM - 3 * watching.AT_ONCE
    assert [event["lost"] for event in box.events if "lines" in event][-1] == lost
    assert box.totals["skipped"] == 0


async def test_a_flood_is_counted_and_not_put_into_lines(tmp_path: Path) -> None:
    box = Box(tmp_path)
    async with box.watched():
        for _ in range(20):
            box.tap.sent([TO_WIRE] * 1000, trio.current_time())
            await trio.sleep(0.1)
    assert box.totals["out_packets"] == 20_000
    assert box.totals["skipped"] > 20_000 - 3.5 * LINES
    assert len(box.lines) + box.totals["skipped"] + box.totals["lost"] == 20_000


async def test_a_flood_of_dictionaries_is_not_taken_apart_to_be_filtered(tmp_path: Path) -> None:
    box = Box(tmp_path)
    frame = ipdict.encode({b"VER": 3, b"CMD": int(Command.ANSLIST_DICT), b"PKT": 1})
    async with box.watched(commands=["anslist_dict"]):
        box.tap.sent([Transmit(frame, "10.1.0.5")] * 1000, trio.current_time())
    assert box.totals["out_packets"] <= DICTIONARIES / 10 + 1
    assert box.totals["out_packets"] + box.totals["skipped"] == 1000


async def test_hanging_up_half_ends_it_with_all_that_was_counted(tmp_path: Path) -> None:
    """As Ctrl-C does, also for root's request, which otherwise would be brought to its end."""
    box = Box(tmp_path)
    path = str(tmp_path / "control.sock")
    listener, _ = control.listen(path)
    parts = {do: (do == watching.BODIES, watch_of(box)) for do in ("watch", watching.BODIES)}
    served = control.Control(None, None, parts)  # type: ignore[arg-type]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(served.serve, listener)
        for do in parts:
            async with await trio.open_unix_socket(path) as stream:
                await stream.send_all(json.dumps({"v": 1, "do": do, "watch": True}).encode() + b"\n")
                assert b"began" in await stream.receive_some()
                box.hear(ENTRY_A)
                await stream.send_eof()
                rest = b"".join([piece async for piece in stream]).splitlines()
            kinds = [next(iter(json.loads(line).get("event", {"result": 0}))) for line in rest]
            assert kinds == ["lines", "rows", "totals", "result"]
        nursery.cancel_scope.cancel()
    listener.close()


def watch_of(box: Box) -> Any:
    async def ask(request: Request, tell: control.Tell) -> object:
        return await watching.watch(box.stand, request, tell)

    return ask


def test_addresses_without_end_share_one_row() -> None:
    tally = Tally()
    for number in range(scribe.MOST_ROWS + 5):
        seen = watching_seen(
            Datagram(b"abc", f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}", 1, 1, True, 1)
        )
        tally.add(seen)
    assert len(tally.rows) == scribe.MOST_ROWS + 1
    assert tally.rows[""] == [5, 15, 0, 0, 0, 0]
    assert tally.packets == scribe.MOST_ROWS + 5


def watching_seen(datagram: Datagram) -> Any:
    from camrelay.daemon.tap import Seen

    return Seen(0.0, datagram)


async def test_where_a_datagram_goes_on_our_side(tmp_path: Path) -> None:
    box = Box(tmp_path)
    asked: list[str] = []

    def toward(address: str) -> str:
        asked.append(address)
        return "10.1.0.1"

    writer = Scribe(box.stand, bodies=False, toward=toward)
    sent = [Transmit(b"x", "10.2.0.9"), Transmit(b"x", "10.2.0.9"), Transmit(b"x", "10.1.0.255", interface=2)]
    box.tap.active = True
    from camrelay.daemon.tap import Seen

    lines = list(writer.lines([Seen(1.0, one) for one in [*sent, JUNK, JUNK._replace(interface=77)]]))
    assert [(line.source, line.target) for line in lines] == [
        ("10.1.0.1", "10.2.0.9"), ("10.1.0.1", "10.2.0.9"), ("10.1.0.1", "10.1.0.255"), ("10.2.0.9", "10.1.0.1"),
        ("10.2.0.9", ""),
    ]  # fmt: skip
    assert asked == ["10.2.0.9"]
    assert own_address("127.0.0.1") == "127.0.0.1"
