"""What a member master, its agents and its users tell each other: the dictionaries of the DIR_* commands.

Writers give what a command adds to the header, for ``Author.sign``; readers take the dictionary, and raise
MalformedPacket and nothing else. Source: ``mainwindir.cpp`` of 4.99r3, and captures of the real program:

DIR_POLL         user to master       Network list                          UDP
DIR_BROADCAST    master to one agent  Duty: ask your segment, and report    TCP
DIR_POLLAGENT    master to others     Duty: report                          TCP
DIR_ANSBROAD     agent to master      Report of a whole segment             UDP
DIR_EVBROAD      agent to master      Report of one user                    UDP
DIR_AGENTREJECT  client to master     nothing: it will not be an agent      UDP
DIR_PACKET       master to a segment  a signed ANSLIST_DICT                 UDP broadcast
DIR_REQUEST      master to agents     a signed DIR_PACKET                   UDP
DIR_AGENTPACKET  agent to a segment   the same DIR_PACKET, outside unsigned UDP broadcast
"""

from __future__ import annotations

from binascii import a2b_base64, b2a_base64
from ipaddress import AddressValueError, IPv4Address
from typing import TYPE_CHECKING, NamedTuple

from camrelay.errors import MalformedPacket
from camrelay.ipmsg.command import Option
from camrelay.ipmsg.ipdict import IPDict, Value, decode, encode, item, listing, write
from camrelay.ipmsg.signed import Host, hosts

if TYPE_CHECKING:
    from collections.abc import Sequence

    from camrelay.ipmsg.packet import Packet

# Nobody's computer is in more networks, and each one is work.
MOST_NETWORKS = 64

_CAPUTF8 = int(Option.CAPUTF8)


class Network(NamedTuple):
    """A network that a user says to be in. 4.99r3 writes wrong addresses unless ``prefix`` is 8, 16 or 24."""

    address: str
    prefix: int


class Duty(NamedTuple):
    """What a master asks of an agent."""

    seconds: int  # how long to report what its segment says
    address: str  # the agent's own


class Report(NamedTuple):
    """What an agent heard."""

    hosts: list[Host]
    entry: bool  # a user has just started and waits for the whole list


class Note(NamedTuple):
    """The ``IP:`` line of a presence packet's trailer."""

    master: str = ""  # address of the master that its sender uses
    started: bool = False  # the sender is a master that has just started: poll it
    duty: bool = False  # an agent's question to its segment: no agent reports it


def poll(networks: Sequence[Network]) -> bytes:
    """What DIR_POLL adds."""
    return item(b"NADRS", [{b"ADR": one.address, b"MASK": one.prefix} for one in networks])


def read_poll(fields: IPDict) -> list[Network]:
    """The networks of a DIR_POLL; what is no IPv4 network is left out."""
    networks = []
    for one in fields.listed(b"NADRS")[:MOST_NETWORKS] if b"NADRS" in fields else []:
        address, prefix = _address(one.text(b"ADR", "")), one.number(b"MASK", 0)
        if address and 0 < prefix <= 32:
            networks.append(Network(address, prefix))
    return networks


def duty(asked: Duty) -> bytes:
    """What DIR_BROADCAST and DIR_POLLAGENT add."""
    return write({b"AGS": asked.seconds, b"TADR": asked.address})


def read_duty(fields: IPDict) -> Duty:
    """What is asked of us as an agent."""
    seconds = fields.number(b"AGS")
    if not 0 <= seconds < 1 << 31:
        raise MalformedPacket(f"an agent for {seconds} seconds")
    return Duty(seconds, _address(fields.text(b"TADR", "")))


def report(told: Report) -> bytes:
    """What DIR_ANSBROAD and DIR_EVBROAD add."""
    content = item(b"HLST", listing([host.write() for host in told.hosts]))
    return content + b":DRCT:1:1" if told.entry else content


def read_report(fields: IPDict) -> Report:
    """What an agent heard."""
    return Report(hosts(fields), fields.number(b"DRCT", 0) != 0)


def wrap(frame: bytes, agent: str = "") -> bytes:
    """What DIR_PACKET, DIR_REQUEST and DIR_AGENTPACKET add: a whole packet, for ``agent`` if one is named."""
    content = write(decode(frame))  # the frame stays outside; who verifies puts it around again
    wrapped = item(b"WAPD", content)
    return b":".join((wrapped, item(b"TADR", agent))) if agent else wrapped


def unwrap(fields: IPDict) -> IPDict:
    """The packet inside, one level. It has a header and a signature of its own."""
    return fields.nested(b"WAPD")


def agent(fields: IPDict) -> str:
    """The agent that a DIR_REQUEST is for, in dotted form; "" if it names none."""
    return _address(fields.text(b"TADR", ""))


def write_note(note: Note) -> bytes:
    """The line with the LF before it, to stand at the end of a trailer; b"" if there is nothing to say."""
    fields: dict[bytes, Value] = {}
    if note.started:
        fields[b"UPT"] = 0
    if note.duty:
        fields[b"DRB"] = 1
    if note.master:
        fields[b"SVADR"] = note.master
    return b"\nIP:" + b2a_base64(encode(fields), newline=False) if fields else b""


def read_note(packet: Packet) -> Note:
    """What the trailer's ``IP:`` line says; an empty note if there is no such line.

    A line that is not one dictionary raises MalformedPacket: Windows then drops the whole packet.
    """
    if not packet.command & _CAPUTF8:
        return Note()
    _, _, rest = packet.extra.partition(b"\nIP:")
    line = rest.partition(b"\n")[0].partition(b"\0")[0]
    if not line:
        return Note()
    try:
        fields = decode(a2b_base64(line, strict_mode=True))
    except ValueError:
        raise MalformedPacket(f"a trailer with an IP: line that is not base64: {line[:20]!r}") from None
    return Note(
        master=_address(fields.text(b"SVADR", "")),
        started=b"UPT" in fields and fields.number(b"UPT") == 0,
        duty=fields.number(b"DRB", 0) != 0,
    )


def _address(text: str) -> str:
    """A dotted IPv4 address, "" for anything else."""
    try:
        return str(IPv4Address(text))
    except AddressValueError:
        return ""
