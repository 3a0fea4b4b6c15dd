"""Batches through recvmmsg and sendmmsg, on the loopback."""

from __future__ import annotations

import errno
import socket
from typing import TYPE_CHECKING

import pytest

from camrelay.daemon import addressing
from camrelay.daemon.mmsg import LONGEST, Receiver, Sender
from camrelay.relay.outputs import Transmit

if TYPE_CHECKING:
    from collections.abc import Iterator

IP_RECVTTL = 12
SO_TIMESTAMP = 29


@pytest.fixture
def here() -> Iterator[socket.socket]:
    """A socket on the loopback that says whom and where from, as the relay's does."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("0.0.0.0", 0))
        sock.setsockopt(socket.IPPROTO_IP, addressing.IP_PKTINFO, 1)
        sock.setsockopt(socket.IPPROTO_IP, IP_RECVTTL, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        yield sock


def test_a_batch_arrives_as_it_was_sent_in_order(here: socket.socket) -> None:
    port = here.getsockname()[1]
    sender, receiver = Sender(here.fileno()), Receiver(here.fileno())
    batch = [Transmit(bytes([n]) * n, "127.0.0.1", port, f"127.0.1.{n + 1}", 1, n + 1) for n in range(64)]
    assert sender.send(batch) == (64, 0)
    got, error = receiver.receive()
    assert error == 0
    assert [(d.data, d.source, d.port, d.interface, d.broadcast, d.ttl) for d in got] == [
        (bytes([n]) * n, f"127.0.1.{n + 1}", port, 1, False, n + 1) for n in range(64)
    ]
    assert sender.sent == 64


def test_batches_do_not_leak_into_each_other(here: socket.socket) -> None:
    port = here.getsockname()[1]
    sender, receiver = Sender(here.fileno()), Receiver(here.fileno())
    for data in ([b"long" * 300] * 3, [b"s"], [b"", b"mid" * 9]):
        sender.send([Transmit(piece, "127.0.0.1", port) for piece in data])
        assert [datagram.data for datagram in receiver.receive()[0]] == data


def test_more_than_a_batch_stays_for_the_next_call(here: socket.socket) -> None:
    port = here.getsockname()[1]
    sender, receiver = Sender(here.fileno()), Receiver(here.fileno(), batch=4)
    sender.send([Transmit(b"%d" % n, "127.0.0.1", port) for n in range(6)])
    assert [d.data for d in receiver.receive()[0]] == [b"0", b"1", b"2", b"3"]
    assert [d.data for d in receiver.receive()[0]] == [b"4", b"5"]
    assert receiver.receive() == ([], errno.EAGAIN)


def test_the_longest_datagram_passes_whole(here: socket.socket) -> None:
    port = here.getsockname()[1]
    data = bytes(range(256)) * 256
    Sender(here.fileno()).send([Transmit(data[:LONGEST], "127.0.0.1", port)])
    assert Receiver(here.fileno()).receive()[0][0].data == data[:LONGEST]


def test_ttl_and_source_are_the_sockets_own_where_nothing_is_said(here: socket.socket) -> None:
    port = here.getsockname()[1]
    sender = Sender(here.fileno(), ttl=33, address="127.0.0.9")
    sender.send([Transmit(b"x", "127.0.0.1", port)])
    (datagram,) = Receiver(here.fileno()).receive()[0]
    assert (datagram.ttl, datagram.source) == (33, "127.0.0.9")


def test_broadcast_is_read_off_the_destination(here: socket.socket) -> None:
    port = here.getsockname()[1]
    sender, receiver = Sender(here.fileno()), Receiver(here.fileno())
    batch = [Transmit(b"x", "127.255.255.255", port, None, 1), Transmit(b"x", "127.0.0.1", port)]
    sender.send(batch)
    assert [d.broadcast for d in receiver.receive()[0]] == [False, False]
    receiver.set_broadcasts(["255.255.255.255", "127.255.255.255"])
    sender.send(batch)
    assert [d.broadcast for d in receiver.receive()[0]] == [True, False]


def test_broadcasts_of_ours_to_our_own_port_are_counted(here: socket.socket) -> None:
    port = here.getsockname()[1]
    sender = Sender(here.fileno(), port=port)
    sender.set_broadcasts(["127.255.255.255"])
    sender.send([Transmit(b"x", "127.255.255.255", port), Transmit(b"x", "127.255.255.255", port + 1)])
    assert (sender.sent, sender.own_broadcasts) == (2, 1)


def test_other_control_data_before_ours_does_not_confuse(here: socket.socket) -> None:
    here.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMP, 1)
    port = here.getsockname()[1]
    Sender(here.fileno()).send([Transmit(b"x", "127.0.0.1", port, "127.0.0.7", 1, 9)] * 2)
    receiver = Receiver(here.fileno())
    receiver.set_broadcasts(["127.0.0.1"])
    for datagram in receiver.receive()[0]:
        assert datagram == (b"x", "127.0.0.7", port, 1, True, 9)


@pytest.mark.parametrize(
    ("bad", "cause"),
    [
        (Transmit(b"x", "127.0.0.1", 9, "255.255.255.255"), "send refused: source is no host address"),
        (Transmit(b"x", "127.0.0.1", 9, "192.168.7.255"), "send refused: source is no host address"),
        (Transmit(b"x", "127.0.0.1", 9, "224.0.0.1"), "send refused: source is no host address"),
        (Transmit(b"x", "127.0.0.1", 9, "0.0.0.0"), "send refused: source is no host address"),
        (Transmit(b"x", "127.0.0.1", 9, "nobody"), "send refused: not an IPv4 address"),
        (Transmit(b"x", "1.2.3", 9), "send refused: not an IPv4 address"),
        (Transmit(b"x", "127.0.0.1", 0), "send refused: no such port"),
        (Transmit(b"x" * 65508, "127.0.0.1", 9), "send failed: datagram too long"),
        (Transmit(b"x", "127.0.0.1", 9, None, 0, 256), "send failed: source address or interface not usable"),
    ],
)
@pytest.mark.parametrize("place", [0, 1, 2])
def test_one_that_cannot_leave_is_counted_and_holds_up_nobody(
    here: socket.socket, bad: Transmit, cause: str, place: int
) -> None:
    port = here.getsockname()[1]
    sender = Sender(here.fileno())
    sender.set_broadcasts(["192.168.7.255"])
    batch = [Transmit(b"first", "127.0.0.1", port), Transmit(b"second", "127.0.0.1", port)]
    batch.insert(place, bad)
    assert sender.send(batch) == (3, 0)
    assert [datagram.data for datagram in Receiver(here.fileno()).receive()[0]] == [b"first", b"second"]
    assert sender.failed == {cause: 1}


def test_a_batch_of_nothing_but_bad_ones_is_done_with(here: socket.socket) -> None:
    sender = Sender(here.fileno())
    assert sender.send([Transmit(b"x", "127.0.0.1", 9, "0.0.0.0")] * 64) == (64, 0)
    assert sender.failed == {"send refused: source is no host address": 64}
    assert sender.send([]) == (0, 0)


def test_a_closed_descriptor_is_a_bug_and_not_a_bad_destination() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sender = Sender(sock.fileno())
    with pytest.raises(OSError, match="Bad file descriptor"):
        sender.send([Transmit(b"x", "127.0.0.1", 9)])


def test_remembered_addresses_are_bounded() -> None:
    texts, names, controls = addressing.Texts(), addressing.Names(), addressing.Controls(64, "0.0.0.0")
    for n in range(addressing.CACHED + 10):
        address = f"10.0.{n >> 8}.{n & 255}"
        assert texts[addressing.word(address)] == address
        assert names[address, 2425][2:8] == b"\x09\x79\x0a\x00" + n.to_bytes(2, "big")
        assert len(controls[address, n, 1]) == addressing.CONTROL_SIZE
    assert len(texts) == len(names) == len(controls) == 10
