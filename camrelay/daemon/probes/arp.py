"""Who answers for an address on our wire, and for whom that host asks: ARP, seen through a packet socket.

Two cards with one address both answer. A host whose mask is too wide asks the wire for addresses that are behind the
router; one whose gateway is wrong asks for a neighbour that nobody is. A filter in the kernel leaves only
frames of that host and answers to us, so a busy wire neither costs nor hides anything.
"""

from __future__ import annotations

import array
import errno
import os
import socket
import struct
from contextlib import contextmanager, suppress
from ipaddress import IPv4Address, IPv4Network
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import trio

from camrelay.daemon.probes.echo import BODY, HEADER, REQUEST, checksum
from camrelay.daemon.probes.ways import way
from camrelay.trace.facts import Fact

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

ETH_P_ARP: Final = 0x0806  # linux/if_ether.h
ETH_P_IP: Final = 0x0800
BROADCAST: Final = b"\xff" * 6
ARP: Final = struct.Struct(">HHBBH6s4s6s4s")  # RFC 826: Ethernet, IPv4, 6, 4, operation, sender, target
WHO_HAS: Final = 1
IS_AT: Final = 2
IP: Final = struct.Struct(">BBHHHBBH4s4s")
SO_ATTACH_FILTER: Final = 26  # asm-generic/socket.h

PROBES: Final = 3
SPACING: Final = 0.25  # seconds between questions
WAIT: Final = 1.2  # seconds after the last question: the host repeats its own after one
NOWHERE: Final = "192.0.2.1"  # RFC 5737: nobody's address, so it takes the host's gateway to answer it
MOST_FRAMES: Final = 512  # read at once
ROOM: Final = 64  # bytes of one: Ethernet fills them up to 46
MOST_FAR: Final = 8  # addresses that the host is lured with
MOST_ASKED: Final = 16  # addresses that it asked for and that are remembered
MOST_MACS: Final = 8
REMEDY: Final = (
    "not allowed here: give the service CAP_NET_RAW and AF_PACKET "
    "(systemctl edit camrelay: AmbientCapabilities=CAP_NET_RAW, CapabilityBoundingSet=CAP_NET_RAW, "
    "PrivateUsers=no, RestrictAddressFamilies=AF_PACKET)"
)


class Heard(NamedTuple):
    """One ARP frame about IPv4 on Ethernet."""

    operation: int
    mac: str
    address: str
    asked: str  # the address asked for, or to whom it is answered


def parse(frame: bytes) -> Heard | None:
    """The frame after its Ethernet header, None for what is no such ARP frame."""
    if len(frame) < ARP.size:
        return None
    hard, soft, hard_size, soft_size, operation, mac, address, _, asked = ARP.unpack_from(frame)
    if (hard, soft, hard_size, soft_size) != (1, ETH_P_IP, 6, 4) or operation not in (WHO_HAS, IS_AT):
        return None
    return Heard(operation, mac.hex(":"), socket.inet_ntoa(address), socket.inet_ntoa(asked))


class ArpWatch:
    """See ``arp_watch``. ``why``: nothing is heard, for this reason."""

    def __init__(self, interface: str, address: str, far: Iterable[str]) -> None:
        self.address = address
        self.why = ""
        self.macs: dict[str, set[str]] = {}  # of each address that answered us
        self.asked: dict[str, int] = {}  # how often the host asked for an address
        self.sock: socket.socket | None = None
        self._interface = interface
        self._far = [*[text for text in dict.fromkeys(far) if text != address][:MOST_FAR], NOWHERE]
        self._lured = False
        self._before: dict[str, int] = {}  # what it had asked when it was lured
        self._way = way(address)
        self._mac = b""
        try:
            self._open()
        except OSError as problem:
            self.close()
            refused = problem.errno in (errno.EPERM, errno.EACCES, errno.EAFNOSUPPORT)
            self.why = REMEDY if refused else f"{interface}: {problem.strerror}"

    def close(self) -> None:
        """Listen no more. Closing a packet socket waits for all cores (8 to 50 ms, measured): in a thread."""
        if self.sock is not None:
            trio.lowlevel.start_thread_soon(self.sock.close, lambda _: None)
            self.sock = None

    async def fact(self) -> Fact:
        """arp: one (mac) | several (macs) | silent | asks-for-far (asked) | asks-in-vain (asked) | not-checked (why).

        Asks, lures, and takes what was heard since the watch began. Takes 2 s, or 3.2 s if it has to find out
        whether anybody is at an address that the host asked for when lured.
        """
        start = trio.current_time()
        if self.sock is None:
            return Fact("arp", "not-checked", detail={"why": self.why})
        await self._ask([self.address], WAIT)
        near = [text for text in self.asked if self._asked_for_a_gateway(text)][:MOST_FAR]
        if near:
            self._lure()  # who was asking already when first lured has given up by now, and begins anew
            await self._ask(near, SPACING)
        outcome, detail = self._judge(near)
        return Fact("arp", outcome, round(trio.current_time() - start, 3), detail=detail)

    def take(self) -> None:
        """Read what has been heard so far, without waiting."""
        for _ in range(MOST_FRAMES if self.sock else 0):
            try:
                frame = self.sock.recv(ROOM, socket.MSG_DONTWAIT) if self.sock else b""
            except OSError:  # nothing there; the cable was pulled
                return
            if (heard := parse(frame)) is not None:
                self.note(heard)

    def note(self, heard: Heard) -> None:
        """Remember it. Bounded, whatever a hostile wire says."""
        if heard.address == self.address or heard.address in self.asked:
            macs = self.macs.setdefault(heard.address, set())
            if len(macs) < MOST_MACS:
                macs.add(heard.mac)
        asks = heard.operation == WHO_HAS and heard.asked not in (self.address, self._way.source)
        if asks and (heard.asked in self.asked or len(self.asked) < MOST_ASKED):
            self.asked[heard.asked] = self.asked.get(heard.asked, 0) + 1

    def _judge(self, near: Sequence[str]) -> tuple[str, dict[str, Any]]:
        macs = sorted(self.macs.get(self.address, ()))
        far = [text for text in self.asked if not self._is_near(text)]
        vain = [text for text in near if text not in self.macs and self._since_lured(text) > 1]
        detail: dict[str, Any] = {"mac": macs[0]} if macs else {}
        if len(macs) > 1:
            return "several", {"macs": ", ".join(macs)}
        if far:
            return "asks-for-far", {**detail, "asked": far[0]}
        if vain:
            return "asks-in-vain", {**detail, "asked": vain[0]}
        return ("one", detail) if macs else ("silent", {})

    def _is_near(self, text: str) -> bool:
        try:
            return IPv4Address(text) in IPv4Network(self._way.network)
        except ValueError:
            return True

    def _open(self) -> None:
        self.sock = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK, 0)
        _attach(self.sock, self.address)
        self.sock.bind((self._interface, ETH_P_ARP))
        self._mac = self.sock.getsockname()[4]
        if len(self._mac) != 6 or not any(self._mac) or not self._way.on_link:
            raise OSError(errno.EOPNOTSUPP, "the address is not on an Ethernet of ours")

    def _asked_for_a_gateway(self, text: str) -> bool:
        """When lured. It may have got an answer, which we cannot hear."""
        return self._since_lured(text) > 0 and self._is_near(text) and not way(text).ourselves

    def _since_lured(self, text: str) -> int:
        return self.asked[text] - self._before.get(text, 0) if self._lured else 0

    async def _ask(self, addresses: Sequence[str], wait: float) -> None:
        for _ in range(PROBES):
            for text in addresses:
                self._send(ETH_P_ARP, BROADCAST, self._who_has(text))
            await trio.sleep(SPACING)
            self.take()
            if not self._lured:
                self._lure()
        await trio.sleep(wait)
        self.take()

    def _who_has(self, text: str) -> bytes:
        ours, theirs = socket.inet_aton(self._way.source), socket.inet_aton(text)
        return ARP.pack(1, ETH_P_IP, 6, 4, WHO_HAS, self._mac, ours, bytes(6), theirs)

    def _lure(self) -> None:
        """Echo requests as from far addresses: the host shows whom it asks for to answer them."""
        macs = self.macs.get(self.address, ())
        if macs and not self._lured:
            self._lured, self._before = True, dict(self.asked)
        for mac in macs:
            for text in self._far:
                self._send(ETH_P_IP, bytes.fromhex(mac.replace(":", "")), echo_from(text, self.address))

    def _send(self, protocol: int, mac: bytes, packet: bytes) -> None:
        if self.sock is not None:
            with suppress(OSError):  # the interface went down: then nothing is heard
                self.sock.sendto(packet, (self._interface, protocol, 0, 0, mac))


@contextmanager
def arp_watch(interface: str, address: str, far: Iterable[str] = ()) -> Iterator[ArpWatch]:
    """Hear what ``address`` asks on the wire ``interface`` (a name). At the end: ``await watch.fact()``.

    ``far``: addresses behind the router; the host gets an echo request as from each, so that it shows whether it
    takes them for neighbours. Needs CAP_NET_RAW; without, the Fact is not-checked and says so.
    """
    watch = ArpWatch(interface, address, far)
    try:
        yield watch
    finally:
        watch.close()


def echo_from(source: str, to: str) -> bytes:
    """An IPv4 packet: ICMP echo request as from ``source``."""
    icmp = HEADER.pack(REQUEST, 0, 0, 0, 1) + BODY
    icmp = HEADER.pack(REQUEST, 0, checksum(icmp), 0, 1) + BODY
    ends = socket.inet_aton(source), socket.inet_aton(to)
    number = int.from_bytes(os.urandom(2), "big")
    header = IP.pack(0x45, 0, IP.size + len(icmp), number, 0, 64, socket.IPPROTO_ICMP, 0, *ends)
    return (
        IP.pack(0x45, 0, IP.size + len(icmp), number, 0, 64, socket.IPPROTO_ICMP, checksum(header), *ends)
        + icmp
    )


def _attach(sock: socket.socket, address: str) -> None:
    """Only frames whose sender is ``address``, and answers to us, get through (classic BPF, no privilege)."""
    (word,) = struct.unpack(">I", socket.inet_aton(address))
    program = (
        (0x20, 0, 0, 14),  # ld [14]: the sender's address
        (0x15, 4, 0, word),  # jeq: give it
        (0x28, 0, 0, 6),  # ldh [6]: the operation
        (0x15, 0, 3, IS_AT),
        (0x20, 0, 0, 0xFFFFF004),  # ld pkttype (SKF_AD_OFF + SKF_AD_PKTTYPE)
        (0x15, 0, 1, socket.PACKET_HOST),
        (0x06, 0, 0, 0xFFFF),  # ret: all of it
        (0x06, 0, 0, 0),  # ret: nothing
    )
    steps = array.array("B", b"".join(struct.pack("=HBBI", *step) for step in program))
    place, _ = steps.buffer_info()
    sock.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, struct.pack("@HP", len(program), place))
