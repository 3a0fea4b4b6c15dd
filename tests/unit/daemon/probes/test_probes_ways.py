"""Routes and neighbours, as the kernel's messages tell them."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from camrelay.daemon.probes.ways import (
    NDMSG,
    attributes_of,
    mtu_of,
    neighbour_fact,
    read_neighbour,
    route_fact,
    way,
)


def test_the_loopback_is_ourselves() -> None:
    found = way("127.0.0.1")
    assert (found.ourselves, found.on_link, found.error) == (True, False, "")
    assert route_fact("127.0.0.1").outcome == "ourselves"


@pytest.mark.parametrize("address", ["255.255.255.255", "224.0.0.1"])
def test_nobodys_address_has_no_route(address: str) -> None:
    fact = route_fact(address)
    assert fact.outcome == "none"
    assert fact.detail["error"]


async def test_ourselves_have_no_neighbour_entry() -> None:
    fact = await neighbour_fact("127.0.0.1")
    assert (fact.outcome, fact.detail) == ("not-checked", {"why": "is this host itself"})


def test_an_interface_that_is_not_there_has_no_mtu() -> None:
    assert mtu_of("nowhere0") == 0
    assert mtu_of("x" * 99) == 0
    assert mtu_of("lo") > 0


@pytest.mark.parametrize(
    ("state", "mac", "told"),
    [
        (0x02, bytes(range(1, 7)), ("reachable", "01:02:03:04:05:06")),
        (0x04, bytes(range(1, 7)), ("stale", "01:02:03:04:05:06")),
        (0x20, bytes(range(1, 7)), ("failed", "")),
        (0x01, b"", ("incomplete", "")),
        (0x40, bytes(6), ("noarp", "")),
        (0x02, bytes(20), ("reachable", "")),
        (0x77, b"", ("", "")),
    ],
)
def test_an_entry_has_a_mac_only_while_it_is_believed(state: int, mac: bytes, told: tuple[str, str]) -> None:
    message = NDMSG.pack(2, 0, 0, 1, state, 0, 1) + struct.pack("=HH", 4 + len(mac), 2) + mac
    assert read_neighbour(message)[:2] == told


@given(st.binary(max_size=200))
def test_any_bytes_are_attributes_or_their_end(data: bytes) -> None:
    found = list(attributes_of(data))
    assert sum(4 + len(value) for _, value in found) <= len(data)
    read_neighbour(data)


@given(st.lists(st.tuples(st.integers(0, 0x3FFF), st.binary(max_size=20)), max_size=8))
def test_attributes_come_back_as_they_were(rows: list[tuple[int, bytes]]) -> None:
    packed = [
        struct.pack("=HH", 4 + len(value), kind) + value + bytes(-len(value) % 4) for kind, value in rows
    ]
    assert list(attributes_of(b"".join(packed))) == rows
