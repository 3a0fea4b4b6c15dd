"""Numbered datagrams: their form, and what is read from those that arrived."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from camrelay.daemon.tracing.numbered import Arrival, Flow, datagram, number_in, way
from camrelay.ipmsg.command import Command
from camrelay.ipmsg.packet import parse

NONCE = "0123456789abcdef"


def arrivals(*at: tuple[int, float]) -> list[Arrival]:
    return [Arrival(number, when, 100, 64, "10.1.0.1", 2425) for number, when in at]


@given(st.integers(0, 9999), st.integers(100, 3000))
def test_a_datagram_has_its_size_and_number_and_means_nothing(number: int, size: int) -> None:
    data = datagram(NONCE, number, size)
    assert len(data) == size
    assert number_in(data, NONCE) == number
    assert parse(data).mode == Command.NOOPERATION


@given(st.binary(max_size=200))
def test_any_bytes_have_a_number_or_none(data: bytes) -> None:
    assert number_in(data + NONCE.encode(), NONCE) == -1
    assert -1 <= number_in(data, NONCE) <= 9999


def test_the_smallest_is_as_small_as_was_asked_for() -> None:
    assert len(datagram(NONCE, 1, 40)) == 40
    assert number_in(datagram(NONCE, 7), NONCE) == 7
    assert number_in(f"{NONCE} 123456".encode(), NONCE) == -1


def test_delay_is_half_of_both_ways_whatever_the_clocks_say() -> None:
    sent = {number: number * 0.05 for number in range(20)}
    there = Flow(
        sent, arrivals(*((n, at + 5000.030) for n, at in sent.items()))
    )  # their clock is 5,000 s ahead
    back = Flow(
        {n: at + 5000 for n, at in sent.items()}, arrivals(*((n, at + 0.010) for n, at in sent.items()))
    )
    outcome, detail = way(there, back)
    assert outcome == "passes"
    assert detail == {"sent": 20, "received": 20, "jitter_ms": 0.0, "lost_percent": 0, "ms": 20.0}
    assert way(there)[1].get("ms") is None, "one way alone tells nothing of it"


def test_jitter_loss_and_copies() -> None:
    sent = {number: float(number) for number in range(4)}
    outcome, detail = way(Flow(sent, arrivals((0, 0.1), (2, 2.3), (2, 2.9), (3, 3.1), (99, 9.9))))
    assert outcome == "lossy"
    assert (detail["received"], detail["lost_percent"]) == (3, 25)
    assert detail["jitter_ms"] == pytest.approx(200.0)


def test_silence() -> None:
    assert way(Flow({0: 0.0, 1: 0.1}, [])) == ("silent", {"sent": 2})
