"""The first words of clients of unknown kinds are kept without what they say; of few clients, few, for a minute."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import trio
from hypothesis import given
from hypothesis import strategies as st

from camrelay.daemon.samples import LOOK_FOR, MOST_CLIENTS, MOST_EACH, Samples, sample, shape
from camrelay.daemon.tap import Tap
from camrelay.ipmsg.command import Command
from camrelay.ipmsg.packet import build
from camrelay.relay.outputs import Datagram

HELLO = build(
    b"1_odd 3", 7, b"tanaka", b"PC-01", Command.BR_ENTRY | 0x100, b"Taro", b"Sales\0\nUN:tanaka\nVS:9:1\n"
)


def user(address: str, home: bool = True) -> Any:
    return SimpleNamespace(address=address, home=home, datagram=HELLO)


def say(tap: Tap, source: str, now: float) -> None:
    datagram = Datagram(HELLO, source, 2425, 2, True, 64)
    tap.receive(lambda d, n: [], {}, [datagram], now)


def test_a_sample_tells_how_and_not_what() -> None:
    made = sample(HELLO, 0.0)
    assert (made["version"], made["command"], made["options"]) == ("1_odd 3", 1, "0x00000100")
    assert (made["logon"], made["host"], made["body"]) == ("a{6}", "aa-00", "a{4}")
    assert made["extra"] == r"a{5}\x00\x0aUN:a{6}\x0aVS:0:0\x0a"
    assert "tanaka" not in str(made)


@given(st.binary(max_size=400))
def test_no_datagram_is_too_strange(data: bytes) -> None:
    sample(data, 0.0)
    assert shape(data).isprintable()
    assert len(shape(data)) <= 240


async def test_only_such_clients_are_looked_at_and_only_for_a_while() -> None:
    tap = Tap()
    samples = Samples(tap)
    samples.meet(user("10.1.0.7"), 100.0)
    assert tap.active
    for step in range(20):
        say(tap, "10.1.0.7", 100.0 + step)
        say(tap, "10.1.0.8", 100.0 + step)
    (kept,) = samples.by_address.values()
    assert len(kept) == MOST_EACH
    assert (kept[1]["at"], kept[1]["broadcast"], kept[1]["ttl"]) == (0.0, True, 64)
    samples.review(100.0 + LOOK_FOR - 1)
    assert tap.active
    samples.review(100.0 + LOOK_FOR)
    assert not tap.active
    await trio.lowlevel.checkpoint()


async def test_few_clients_and_none_that_others_tell_of() -> None:
    tap = Tap()
    samples = Samples(tap)
    samples.meet(user("10.1.0.7", home=False), 1.0)
    assert not tap.active
    for last in range(50):
        samples.meet(user(f"10.1.0.{last}"), 1.0)
    assert len(samples.by_address) == MOST_CLIENTS
    await trio.lowlevel.checkpoint()
