"""Echo packets and the output of ping, also hostile ones."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from camrelay.daemon.probes.echo import REPLY, REQUEST, checksum, icmp_fact, number_of, read_ping

IPUTILS = """PING 10.1.0.9 (10.1.0.9) 56(84) bytes of data.
64 bytes from 10.1.0.9: icmp_seq=1 ttl=63 time=1.51 ms
64 bytes from 10.1.0.9: icmp_seq=3 ttl=63 time=0.071 ms

--- 10.1.0.9 ping statistics ---
3 packets transmitted, 2 received, 33% packet loss, time 203ms
"""
BUSYBOX = """PING 10.1.0.9 (10.1.0.9): 56 data bytes
64 bytes from 10.1.0.9: seq=0 ttl=128 time=12.5 ms

--- 10.1.0.9 ping statistics ---
1 packets transmitted, 1 packets received, 0% packet loss
"""
NOBODY = """PING 10.1.0.99 (10.1.0.99) 56(84) bytes of data.
From 10.1.0.2 icmp_seq=1 Destination Host Unreachable

--- 10.1.0.99 ping statistics ---
3 packets transmitted, 0 received, +1 errors, 100% packet loss, time 2922ms
"""
SILENCE = "3 packets transmitted, 0 received, 100% packet loss, time 2922ms\n"


@pytest.mark.parametrize(
    ("text", "outcome", "detail"),
    [
        (IPUTILS, "answered", {"ms": 0.071, "ttl": 63, "lost": 1, "asked": 3}),
        (BUSYBOX, "answered", {"ms": 12.5, "ttl": 128, "lost": 0, "asked": 1}),
        (NOBODY, "unreachable", {"by": "10.1.0.2", "kind": "host"}),
        (NOBODY.replace("Host Unr", "Net Unr"), "unreachable", {"by": "10.1.0.2", "kind": "net"}),
        (NOBODY.replace("Destination Host Unreachable", "Packet filtered"), "prohibited", {"by": "10.1.0.2"}),
        (NOBODY.replace("Unreachable", "Prohibited"), "prohibited", {"by": "10.1.0.2"}),
        (SILENCE, "silent", {}),
        ("", "not-checked", {"why": "not allowed"}),
    ],
)
def test_what_ping_prints(text: str, outcome: str, detail: dict[str, object]) -> None:
    assert read_ping(text, "not allowed") == (outcome, detail)


@given(st.text() | st.text(alphabet="From 0123456789.ttl=time<ms packetsransmitted\n"))
def test_any_text_is_an_outcome(text: str) -> None:
    outcome, _ = read_ping(text, "not allowed")
    assert outcome in {"answered", "silent", "unreachable", "prohibited", "not-checked"}


@given(st.binary(max_size=100), st.none() | st.integers(0, 0xFFFF))
def test_any_bytes_are_an_answer_of_ours_or_not(data: bytes, ident: int | None) -> None:
    assert -1 <= number_of(data, REPLY, ident) <= 0xFFFF


def test_only_answers_to_us_count() -> None:
    answer = struct.pack(">BBHHH", REPLY, 0, 0, 77, 5)
    assert number_of(answer, REPLY, 77) == 5
    assert number_of(answer, REPLY, None) == 5
    assert number_of(answer, REPLY, 78) == -1
    assert number_of(answer, REQUEST, 77) == -1
    assert number_of(answer[:-1], REPLY, 77) == -1


@given(st.binary(max_size=1500))
def test_a_packet_with_its_checksum_sums_to_nothing(data: bytes) -> None:
    data += bytes(len(data) % 2)
    assert checksum(data + checksum(data).to_bytes(2, "big")) == 0


@pytest.mark.real_time
async def test_where_nothing_is_allowed_and_there_is_no_program_it_says_what_to_do() -> None:
    fact = await icmp_fact("127.0.0.1", kinds=(), program="there-is-no-such-program")
    assert fact.outcome == "not-checked"
    assert "ping_group_range" in fact.detail["why"]
