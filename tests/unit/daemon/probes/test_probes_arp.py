"""ARP frames, also hostile ones, and what a watch remembers of them."""

from __future__ import annotations

import socket
import struct

from hypothesis import given
from hypothesis import strategies as st

from camrelay.daemon.probes.arp import (
    ARP,
    IS_AT,
    MOST_ASKED,
    MOST_MACS,
    WHO_HAS,
    ArpWatch,
    Heard,
    arp_watch,
    echo_from,
    parse,
)
from camrelay.daemon.probes.echo import checksum

TARGET = "10.1.0.9"


def test_a_frame_says_who_asks_for_whom() -> None:
    ours, theirs = socket.inet_aton(TARGET), socket.inet_aton("10.1.0.1")
    frame = ARP.pack(1, 0x0800, 6, 4, WHO_HAS, bytes(range(6)), ours, bytes(6), theirs)
    assert parse(frame + bytes(18)) == Heard(WHO_HAS, "00:01:02:03:04:05", TARGET, "10.1.0.1")


@given(st.binary(max_size=80))
def test_any_bytes_are_a_frame_or_none(frame: bytes) -> None:
    parse(frame)
    parse(struct.pack(">HHBBH", 1, 0x0800, 6, 4, IS_AT) + frame)


@given(
    st.lists(
        st.tuples(st.sampled_from([WHO_HAS, IS_AT]), st.integers(0, 99), st.integers(0, 999)), max_size=200
    )
)
def test_a_flood_of_frames_is_remembered_within_bounds(frames: list[tuple[int, int, int]]) -> None:
    watch = ArpWatch("lo", TARGET, ())
    for operation, mac, number in frames:
        watch.note(
            Heard(operation, f"00:00:00:00:00:{mac:02x}", TARGET, f"10.9.{number >> 8}.{number & 255}")
        )
        watch.note(Heard(IS_AT, "00:00:00:00:01:00", f"10.8.{number >> 8}.{number & 255}", "10.1.0.2"))
    assert len(watch.asked) <= MOST_ASKED
    assert len(watch.macs) <= MOST_ASKED + 1
    assert all(len(macs) <= MOST_MACS for macs in watch.macs.values())


def test_the_lure_is_a_proper_packet() -> None:
    packet = echo_from("10.2.0.2", TARGET)
    assert checksum(packet[:20]) == 0
    assert checksum(packet[20:]) == 0
    assert int.from_bytes(packet[2:4], "big") == len(packet)
    assert (packet[12:16], packet[16:20]) == (socket.inet_aton("10.2.0.2"), socket.inet_aton(TARGET))


async def test_where_there_is_no_ethernet_or_no_privilege_it_says_so() -> None:
    with arp_watch("lo", "127.0.0.1") as watch:
        fact = await watch.fact()
    assert (fact.check, fact.outcome) == ("arp", "not-checked")
    assert fact.detail["why"]


async def test_an_interface_that_is_not_there() -> None:
    with arp_watch("nowhere0", TARGET) as watch:
        assert (await watch.fact()).outcome == "not-checked"
