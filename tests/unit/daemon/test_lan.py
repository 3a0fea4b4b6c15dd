"""The LAN socket: options, batches, the queue, and what it says when the system refuses something."""

from __future__ import annotations

import ctypes
import errno
import os
import socket
import struct
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import islice, pairwise
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import pytest
import trio
import trio.testing

from camrelay.daemon import lansocket
from camrelay.daemon.lan import BATCH, QUEUE_BYTES, SEND_AT_ONCE, Lan, LanLike
from camrelay.daemon.mmsg import Receiver, Sender
from camrelay.errors import StartError
from camrelay.relay.outputs import Datagram, Transmit
from tests import netns

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

T = TypeVar("T")

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root has rights to give up")
needs_namespaces = pytest.mark.skipif(netns.missing() is not None, reason=str(netns.missing()))


@contextmanager
def opened(port: int = 0, bind: str = "127.0.0.1", fd: int | None = None) -> Iterator[Lan]:
    lan = Lan.open(port, bind, fd)
    try:
        yield lan
    finally:
        lan.close()


class Kernel(Sender):
    """A sender whose kernel takes ``room`` datagrams, then says ``error``."""

    def __init__(self) -> None:
        super().__init__(-1)
        self.room, self.error = 0, errno.EAGAIN
        self.taken: list[Transmit] = []

    def send(self, transmits: Sequence[Transmit]) -> tuple[int, int]:
        fit = list(islice(transmits, self.room))
        self.taken += fit
        self.room -= len(fit)
        return len(fit), self.error if len(fit) < len(transmits) else 0


class Deaf(Receiver):
    """A receiver that hands out what it was given, errors included."""

    def __init__(self, *answers: tuple[list[Datagram], int]) -> None:
        super().__init__(-1, batch=2)
        self.answers = list(answers)

    def receive(self) -> tuple[list[Datagram], int]:
        return self.answers.pop(0) if self.answers else ([], errno.EAGAIN)


@contextmanager
def with_kernel(kernel: Sender, receiver: Receiver | None = None) -> Iterator[Lan]:
    prepared = lansocket.create(0, "127.0.0.1")
    lan = Lan(prepared, receiver or Deaf(), kernel)
    try:
        yield lan
    finally:
        lan.close()


def numbered(count: int, start: int = 0) -> list[Transmit]:
    return [Transmit(b"%d" % n, "127.0.0.1") for n in range(start, start + count)]


# Receiving


async def test_lan_is_what_the_service_expects() -> None:
    with opened() as lan:
        face: LanLike = lan
        assert face.backlog == 0
        assert face.limit > 0
        assert face.receive_buffer > 0


async def test_one_batch_is_capped_and_the_rest_comes_with_the_next() -> None:
    with opened() as lan:
        lan.send(Transmit(b"%d" % n, "127.0.0.1", lan.port) for n in range(BATCH + 10))
        batches: list[list[Datagram]] = []  # two of them, or more where the 5 ms of one are over earlier
        while sum(map(len, batches)) < BATCH + 10:
            batches.append(await lan.receive())
        assert [d.data for batch in batches for d in batch] == [b"%d" % n for n in range(BATCH + 10)]
        assert max(map(len, batches)) <= BATCH
        assert lan.counters == {"datagrams received": BATCH + 10, "datagrams sent": BATCH + 10}


async def test_every_receive_lets_other_tasks_run() -> None:
    with opened() as lan:
        lan.send(Transmit(b"x", "127.0.0.1", lan.port) for _ in range(3 * BATCH))
        for _ in range(3):
            with trio.testing.assert_checkpoints():
                await lan.receive()


async def test_receive_errors_are_counted_and_nothing_is_lost() -> None:
    one = Datagram(b"x", "10.0.0.1", 2425, 1, False, 64)
    receiver = Deaf(([one], errno.ECONNREFUSED), ([one], 0))
    with with_kernel(Kernel(), receiver) as lan:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.sendto(b"wake up", ("127.0.0.1", lan.port))
        assert await lan.receive() == [one]
        assert await lan.receive() == [one]
        assert lan.counters == {"datagrams received": 2, "receive error: connection refused": 1}


async def test_closing_wakes_the_receiver_and_bars_later_use() -> None:
    with opened() as lan:
        async with trio.open_nursery() as nursery:

            async def listen() -> None:
                with pytest.raises(trio.ClosedResourceError):
                    await lan.receive()

            nursery.start_soon(listen)
            await trio.testing.wait_all_tasks_blocked()
            lan.close()
        with pytest.raises(trio.ClosedResourceError):
            await lan.receive()
        with pytest.raises(trio.ClosedResourceError):
            lan.send(numbered(1))


async def test_what_does_not_fit_the_receive_buffer_is_counted() -> None:
    with opened() as lan:
        lan._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        lan.send(Transmit(b"x" * 1000, "127.0.0.1", lan.port) for _ in range(50))
        got = len(await lan.receive())
        assert 0 < got < 50
        assert lan.counters["receive buffer overflowed"] == 50 - got


# Sending


async def test_what_the_kernel_does_not_take_waits_in_order() -> None:
    kernel = Kernel()
    kernel.room = 3
    with with_kernel(kernel) as lan:
        lan.send(numbered(5))
        lan.send(numbered(2, start=5))
        assert (len(kernel.taken), lan.backlog) == (3, 4)
        kernel.room = 100
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lan.drain)
            await trio.testing.wait_all_tasks_blocked()
            assert kernel.taken == numbered(7)
            assert lan.backlog == 0
            lan.send(numbered(1, start=7))
            assert kernel.taken == numbered(8)
            nursery.cancel_scope.cancel()


async def test_without_buffers_the_pause_doubles_up_to_a_fifth_of_a_second() -> None:
    attempts: list[float] = []

    class Clocked(Kernel):
        def send(self, transmits: Sequence[Transmit]) -> tuple[int, int]:
            attempts.append(trio.current_time())
            return super().send(transmits)

    kernel = Clocked()
    kernel.error = errno.ENOBUFS
    with with_kernel(kernel) as lan:
        lan.send(numbered(2))
        with trio.move_on_after(1.0):
            await lan.drain()
        pauses = [round(later - earlier, 3) for earlier, later in pairwise(attempts)]
        assert pauses == [0.005, 0.01, 0.02, 0.04, 0.08, 0.16, 0.2, 0.2, 0.2]
        assert lan.backlog == 2


async def test_the_queue_is_bounded_in_number_and_bytes_and_says_what_it_dropped() -> None:
    with with_kernel(Kernel()) as lan:
        lan.send(numbered(lan.limit + 2))
        assert (lan.backlog, lan.counters) == (lan.limit, {"send queue full": 2})
    with with_kernel(Kernel()) as lan:
        fit = QUEUE_BYTES // 65000
        lan.send([Transmit(bytes(65000), "127.0.0.1")] * (fit + 3))
        assert (lan.backlog, lan.counters) == (fit, {"send queue full": 3})


async def test_a_long_list_does_not_stall_the_loop() -> None:
    kernel = Kernel()
    kernel.room = 5000
    with with_kernel(kernel) as lan:
        lan.send(numbered(3000))
        assert len(kernel.taken) == SEND_AT_ONCE
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lan.drain)
            await trio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
        assert kernel.taken == numbered(3000)


# The socket


async def test_a_busy_port_names_the_process() -> None:
    with opened() as lan, pytest.raises(StartError) as raised:
        Lan.open(lan.port, "127.0.0.1")
    text = str(raised.value)
    assert f"UDP port {lan.port} is in use by python" in text.lower().replace("udp", "UDP")
    assert f"process {os.getpid()}" in text
    assert "\n" not in text


def test_a_busy_port_names_the_user_where_processes_cannot_be_seen() -> None:
    assert "by a program of user" in lansocket.describe([(os.getuid(), 0)])


def test_an_address_that_is_not_ours_is_one_line() -> None:
    with pytest.raises(StartError, match=r"^cannot open UDP port 0 on 192\.0\.2\.99: Cannot assign"):
        Lan.open(0, "192.0.2.99")


def test_nobody_can_share_the_port_of_a_socket_handed_over() -> None:
    given = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    given.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as systemd does
    given.bind(("0.0.0.0", 0))
    port = given.getsockname()[1]
    with opened(port, fd=given.detach()) as lan:
        assert lan.port == port
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as thief:
            thief.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with pytest.raises(OSError, match="Address already in use"):
                thief.bind(("0.0.0.0", port))


@pytest.mark.parametrize(
    "make",
    [
        lambda: socket.socket(socket.AF_INET, socket.SOCK_STREAM),
        lambda: socket.socket(socket.AF_INET6, socket.SOCK_DGRAM),
        lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM),
    ],
)
def test_a_socket_handed_over_that_is_not_ours_is_refused(make: Callable[[], socket.socket]) -> None:
    with make() as given, pytest.raises(StartError, match=r"ListenDatagram=0\.0\.0\.0:2425"):
        Lan.open(2425, fd=given.fileno())


def test_a_descriptor_that_is_no_socket_is_refused() -> None:
    with open(os.devnull) as file, pytest.raises(StartError, match="is none: Socket operation on non-socket"):
        Lan.open(2425, fd=file.fileno())


async def test_a_socket_handed_over_is_completed() -> None:
    given = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    given.bind(("127.0.0.1", 0))
    port = given.getsockname()[1]
    with opened(port, fd=given.detach()) as lan:
        lan.send([Transmit(b"x", "127.0.0.1", port, ttl=1)])
        (datagram,) = await lan.receive()
        assert (datagram.interface, datagram.ttl) == (1, 1)


@needs_root
def test_without_rights_it_runs_and_says_what_is_missing() -> None:
    limit = int(Path("/proc/sys/net/core/rmem_max").read_text())
    lan = without_rights(lambda: Lan.open(0, "127.0.0.1"))
    lan.close()
    assert not lan.can_speak
    assert "CAP_NET_RAW" in lan.warnings[0]
    if limit < 8 << 20:
        assert lan.receive_buffer == limit
        assert f"the receive buffer is {limit >> 10} KiB instead of 8192 KiB" in lan.warnings[1]
        assert "sysctl -w net.core.rmem_max=8388608" in lan.warnings[1]


@needs_root
def test_a_prepared_socket_handed_over_needs_no_rights() -> None:
    given = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    given.setsockopt(socket.IPPROTO_IP, lansocket.IP_TRANSPARENT, 1)
    given.setsockopt(socket.SOL_SOCKET, lansocket.SO_RCVBUFFORCE, 8 << 20)
    given.setsockopt(socket.SOL_SOCKET, lansocket.SO_SNDBUFFORCE, 4 << 20)
    given.bind(("127.0.0.1", 0))
    port = given.getsockname()[1]
    lan = without_rights(lambda: Lan.open(port, fd=given.detach()))
    lan.close()
    assert lan.can_speak
    assert (lan.receive_buffer, lan.send_buffer, lan.warnings) == (8 << 20, 4 << 20, [])


@needs_root
def test_with_all_rights_the_buffers_are_as_large_as_asked_for() -> None:
    with opened() as lan:
        assert (lan.receive_buffer, lan.send_buffer) == (lansocket.RECEIVE_BUFFER, lansocket.SEND_BUFFER)
        assert (lan.can_speak, lan.warnings) == (True, [])


def without_rights(function: Callable[[], T]) -> T:
    """Call it in a thread that has given up every capability (they belong to threads)."""

    def give_up() -> None:
        header = struct.pack("@Ii", 0x20080522, 0)  # linux/capability.h: version 3, this thread
        assert ctypes.CDLL(None).capset(header, bytes(24)) == 0

    with ThreadPoolExecutor(1) as thread:
        thread.submit(give_up).result()
        return thread.submit(function).result()


# Between namespaces


@contextmanager
def two_hosts() -> Iterator[tuple[netns.Namespace, netns.Namespace]]:
    """left 10.77.0.1 --- 10.77.0.2 right"""
    with netns.namespaces("crl", "left", "right") as (left, right):
        netns.veth(left, "eth0", right, "eth0")
        netns.address(left, "eth0", "10.77.0.1/24")
        netns.address(right, "eth0", "10.77.0.2/24")
        yield left, right


@contextmanager
def inside(namespace: netns.Namespace) -> Iterator[Lan]:
    lan = namespace.call(Lan.open)
    try:
        lan.set_broadcasts(["10.77.0.255"])
        yield lan
    finally:
        lan.close()


@needs_namespaces
@pytest.mark.real_time
async def test_a_broadcast_speaks_as_somebody_else_and_does_not_come_back() -> None:
    with two_hosts() as (left, right), inside(left) as here, inside(right) as there, trio.fail_after(10):
        right.rp_filter(0)  # the claimed source is not in this network
        here_index, there_index = (side.call(socket.if_nametoindex, "eth0") for side in (left, right))
        for address in ("10.77.0.255", "255.255.255.255"):
            here.send([Transmit(b"hello", address, 2425, "172.16.5.5", here_index, 1)])
            assert await there.receive() == [Datagram(b"hello", "172.16.5.5", 2425, there_index, True, 1)]
        there.send([Transmit(b"back", "10.77.0.1")])
        assert await here.receive() == [Datagram(b"back", "10.77.0.2", 2425, here_index, False, 64)]
        assert here.counters == {"datagrams sent": 2, "datagrams received": 1}


@needs_namespaces
@pytest.mark.real_time
async def test_a_destination_without_route_or_neighbour_holds_up_nobody_else() -> None:
    with two_hosts() as (left, right), inside(left) as here, inside(right) as there, trio.fail_after(10):
        dead = [Transmit(b"dead", f"10.77.0.{n}") for n in range(100, 110)]
        nowhere = [Transmit(b"nowhere", "192.0.2.1")] * 10
        here.send([*dead, *nowhere, Transmit(b"alive", "10.77.0.2")])
        assert [datagram.data for datagram in await there.receive()] == [b"alive"]
        assert here.counters == {"datagrams sent": 11, "send failed: network unreachable": 10}


@needs_namespaces
@pytest.mark.real_time
async def test_a_full_send_buffer_is_waited_for_and_loses_nothing() -> None:
    """Datagrams that wait for a mute neighbour fill the buffer; they leave when its address is known."""
    with two_hosts() as (left, right), inside(left) as here, inside(right) as there, trio.fail_after(10):
        mac = right.ip("-brief", "link", "show", "eth0").split()[2]
        right.ip("link", "set", "eth0", "arp", "off")
        here._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8192)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(here.drain)
            here.send(Transmit(b"%d" % n, "10.77.0.2") for n in range(40))
            assert here.backlog > 0
            left.ip("neighbour", "replace", "10.77.0.2", "lladdr", mac, "dev", "eth0")
            got: list[Datagram] = []
            while len(got) < 40:
                got += await there.receive()
            assert [datagram.data for datagram in got] == [b"%d" % n for n in range(40)]
            assert here.backlog == 0
            nursery.cancel_scope.cancel()
