"""ICMP errors from the error queue: what each means, and hostile ones."""

from __future__ import annotations

import errno
import socket
import struct

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from camrelay.daemon.probes import troubles
from camrelay.daemon.probes.troubles import ORIGIN_ICMP, ORIGIN_LOCAL, Trouble, parse, ttl_of

KINDS = {"refused", "unreachable", "prohibited", "too big", "expired", "reassembly"}


def block(
    kind: int, code: int, by: str = "10.1.0.1", info: int = 0, error: int = errno.EHOSTUNREACH
) -> bytes:
    head = struct.pack("=IBBBBII", error, ORIGIN_ICMP, kind, code, 0, info, 0)
    return head + struct.pack("=HH4s8x", socket.AF_INET, 0, socket.inet_aton(by))


@pytest.mark.parametrize(
    ("kind", "code", "meaning", "what"),
    [
        (3, 0, "unreachable", "net"),
        (3, 1, "unreachable", "host"),
        (3, 2, "refused", ""),
        (3, 3, "refused", ""),
        (3, 6, "unreachable", "net"),
        (3, 9, "prohibited", ""),
        (3, 10, "prohibited", ""),
        (3, 13, "prohibited", ""),
        (11, 0, "expired", ""),
        (11, 1, "reassembly", ""),
        (12, 0, "unreachable", "host"),
    ],
)
def test_each_error_says_what_happened_and_who_says_so(kind: int, code: int, meaning: str, what: str) -> None:
    found = parse(block(kind, code), b"our words")
    assert found is not None
    assert (found.kind, found.by, found.data, found.what) == (meaning, "10.1.0.1", b"our words", what)


def test_a_router_that_cannot_pass_it_names_its_mtu() -> None:
    assert parse(block(3, 4, info=1400)) == Trouble("too big", "10.1.0.1", 1400, error=errno.EHOSTUNREACH)


def test_other_errors_have_no_mtu() -> None:
    found = parse(block(3, 1, info=1400))
    assert found is not None
    assert found.mtu == 0


def test_an_error_of_our_own_host_is_nobodys() -> None:
    own = struct.pack("=IBBBBII", errno.EMSGSIZE, ORIGIN_LOCAL, 0, 0, 0, 1280, 0)
    assert parse(own) == Trouble("too big", "", 1280, error=errno.EMSGSIZE)


@given(st.binary(max_size=64), st.binary(max_size=64))
def test_any_bytes_are_an_error_of_a_known_kind_or_none(control: bytes, data: bytes) -> None:
    found = parse(control, data)
    assert found is None or found.kind in KINDS


@given(st.integers(0, 255), st.integers(0, 255), st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1))
def test_any_icmp_error_has_a_kind(kind: int, code: int, info: int, error: int) -> None:
    found = parse(block(kind, code, info=info, error=error))
    assert found is not None
    assert found.kind in KINDS


@given(st.lists(st.tuples(st.integers(0, 99), st.integers(0, 99), st.binary(max_size=12))))
def test_any_control_messages_give_a_ttl_or_none(control: list[tuple[int, int, bytes]]) -> None:
    assert 0 <= ttl_of([*control, (socket.IPPROTO_IP, socket.IP_TTL, struct.pack("=i", -5))]) < 256


def test_what_this_host_said_itself_is_told_with_its_address() -> None:
    assert troubles.own(OSError(errno.EPERM, "")).detail("10.1.0.2") == {"by": "10.1.0.2"}
    assert troubles.own(OSError(errno.ENETUNREACH, "")).detail() == {"kind": "net"}
    assert Trouble("unreachable", "10.1.0.1", what="host").detail("10.1.0.2") == {
        "by": "10.1.0.1",
        "kind": "host",
    }


@pytest.mark.real_time
async def test_a_closed_port_refuses_and_then_the_queue_is_empty() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as nobody:
        nobody.bind(("127.0.0.1", 0))
        port = nobody.getsockname()[1]
    with troubles.udp("127.0.0.1", port) as sock, trio.fail_after(5):
        sock.send(b"harmless")
        bad, good = await troubles.heard(sock)
        assert [(trouble.kind, trouble.by) for trouble in bad] == [("refused", "127.0.0.1")]
        assert good == []
        assert list(troubles.troubles(sock)) == []
        sock.send(b"the socket is usable as before")


@pytest.mark.real_time
async def test_an_answer_is_heard() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as there, trio.fail_after(5):
        there.bind(("127.0.0.1", 0))
        with troubles.udp("127.0.0.1", there.getsockname()[1], ttl=3, whole=True) as sock:
            sock.setsockopt(socket.IPPROTO_IP, troubles.IP_RECVTTL, 1)
            sock.send(b"question")
            _, asker = there.recvfrom(100)
            there.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, 17)
            there.sendto(b"answer", asker)
            assert await troubles.heard(sock) == ([], [(b"answer", 17)])
