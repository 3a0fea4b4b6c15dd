"""Packets as signed dictionaries: who says what (``parse``, ``Author``), and the user list ANSLIST_DICT.

Keys and their order as IP Messenger for Windows 4.99r3 writes them. Its users take a list that anybody has
signed, with no setting; clients of other families misread any dictionary as a user: never broadcast one, and
send it only to users with CAPIPDICT.
"""

from __future__ import annotations

from ipaddress import AddressValueError, IPv4Address
from typing import TYPE_CHECKING, NamedTuple

from camrelay.errors import MalformedPacket
from camrelay.ipmsg.command import MODE_MASK, NEVER_ANNOUNCED, OPTION_MASK, Command, Option
from camrelay.ipmsg.crypto import SIGNATURE_BYTES, carried_key, verify_dict
from camrelay.ipmsg.ipdict import MOST_ENTRIES, IPDict, decode, item, listing, write
from camrelay.ipmsg.pubkey import PublicKey, fits
from camrelay.ipmsg.trailer import NAME_LIMIT, clean

if TYPE_CHECKING:
    from collections.abc import Sequence

    from camrelay.ipmsg.crypto import PrivateKey

# A datagram of this size passes every usual tunnel without fragments.
LIMIT = 1400
# By how much the length of a list (in hex) and its count may be longer than those of an empty one.
_GROWTH = len(b"ffff") - len(b"0") + len(b"7d0") - len(b"0")
# A user of a list, at a third of the price of ``ipdict.write``.
_ELEMENT = b"UID:%x:%b:HID:%x:%b:STAT:%x:%b:ACT:1:%d:IPAD:%x:%b:PORT:%x:%b:NCK:%x:%b:GRP:%x:%b:CVER:%x:%b"
_LISTED = OPTION_MASK & ~int(NEVER_ANNOUNCED) & ~int(Option.UTF8)
_WITH_STATUS = frozenset(
    map(int, (Command.BR_ENTRY, Command.BR_EXIT, Command.ANSENTRY, Command.BR_ABSENCE, Command.DIR_POLL))
)


class Signed(NamedTuple):
    """The header of a dictionary packet, and the dictionary. Nothing in it is proven: see ``signer``."""

    number: int
    date: int  # Unix seconds by its sender's clock
    logon: str
    host: str
    mode: int
    options: int  # FLG, with STAT for the commands that announce a user
    status: int  # STAT: the sender's own option bits
    nick: str
    group: str
    version: str  # as in a trailer's VS: line
    fields: IPDict

    @property
    def key(self) -> tuple[str, str]:
        """Who this is, as ``Presence.key``."""
        return self.logon.casefold(), self.host.casefold()


class Host(NamedTuple):
    """One user of a signed list."""

    logon: str
    host: str
    status: int  # option bits
    present: bool  # False: delete who is at this address and port
    address: str  # dotted IPv4
    port: int
    nick: str
    group: str
    version: str

    def write(self) -> bytes:
        """The list element. Names longer than Windows keeps are cut."""
        names = (self.logon, self.host, self.nick, self.group, self.version)
        logon, host, nick, group, version = map(cut, names)
        status, port, address = b"%x" % self.status, b"%x" % self.port, self.address.encode("ascii")
        return _ELEMENT % (
            *(len(logon), logon, len(host), host, len(status), status, self.present),
            *(len(address), address, len(port), port),
            *(len(nick), nick, len(group), group, len(version), version),
        )


class Author:
    """Who signs: names and status of the relay, and its key of 2048 bits."""

    __slots__ = ("_after", "_before", "_list", "key")

    def __init__(
        self, key: PrivateKey, logon: str, host: str, nick: str, group: str, version: str, status: int
    ) -> None:
        self.key = key
        self._before = write({b"UID": cut(logon), b"HID": cut(host)})
        self._after = write(
            {b"CVER": cut(version), b"GRP": cut(group), b"NCK": cut(nick), b"STAT": status & OPTION_MASK}
        )
        command = item(b"CMD", int(Command.ANSLIST_DICT))
        self._list = b":".join((self._before, command, item(b"FLG", 0), self._after))

    def write(self, command: int, number: int, date: int, extra: bytes = b"", options: int = 0) -> bytes:
        """Header and ``extra`` (content of what the command adds) as content: not framed, not signed."""
        parts = [
            b"VER:1:3",
            item(b"PKT", number),
            item(b"DATE", date),
            self._before,
            item(b"CMD", int(command)),
            item(b"FLG", options),
            self._after,
        ]
        if extra:
            parts.append(extra)
        return b":".join(parts)

    def sign(self, command: int, number: int, date: int, extra: bytes = b"", options: int = 0) -> bytes:
        """The signed datagram: some 0.4 ms of work. Every one needs a greater number than the last."""
        return self.key.sign_content(self.write(command, number, date, extra, options))

    def seal(self, number: int, listed: bytes) -> bytes:
        """A signed ANSLIST_DICT of what ``gather`` gave, without what is the same in all: 540 bytes less to keep."""
        text = b"%x" % number
        return b"%b%b:%b" % (self.key.signature(self._whole(text, listed)), text, listed)

    def unseal(self, sealed: bytes) -> bytes:
        """The datagram, for some 3 us."""
        number, _, listed = sealed[SIGNATURE_BYTES:].partition(b":")
        return self.key.with_signature(self._whole(number, listed), sealed[:SIGNATURE_BYTES])

    def _whole(self, number: bytes, listed: bytes) -> bytes:
        """As ``write`` has it. Numbers begin at the clock, so one passes for the date."""
        size = len(number)
        return b"VER:1:3:PKT:%x:%b:DATE:%x:%b:%b:%b" % (size, number, size, number, self._list, listed)


def parse(data: bytes) -> Signed:
    """Take a datagram apart that is one dictionary. Raises MalformedPacket, and nothing else."""
    return read(decode(data))


def read(fields: IPDict) -> Signed:
    """The header of a dictionary packet, also of one that was nested. Raises MalformedPacket."""
    if fields.number(b"VER") != 3:
        raise MalformedPacket("a dictionary packet that is not version 3")
    mode = fields.number(b"CMD") & MODE_MASK
    options = fields.number(b"FLG") & OPTION_MASK
    status = fields.number(b"STAT", 0) & OPTION_MASK
    return Signed(
        number=fields.number(b"PKT"),
        date=fields.number(b"DATE", 0),
        logon=_name(fields.text(b"UID")),
        host=_name(fields.text(b"HID")),
        mode=mode,
        options=options | status if mode in _WITH_STATUS else options,
        status=status,
        nick=clean(fields.text(b"NCK", "")),
        group=clean(fields.text(b"GRP", "")),
        version=clean(fields.text(b"CVER", "")),
        fields=fields,
    )


def signer(packet: Signed, known: PublicKey | None = None) -> PublicKey | None:
    """The key that proves this packet to be by whom it names; None if it is not signed, or not well.

    ``known``: the key under which this user was first met; no other will do then. Without it, the key that
    the packet brings along, if it fits the fingerprint in the user's name. As Windows decides it.
    """
    key = known or carried_key(packet.fields)
    if key is None or not fits(packet.logon, key) or not verify_dict(packet.fields, key):
        return None
    return key


def pack(
    author: Author, hosts: Sequence[Host], start: int, number: int, date: int, limit: int = LIMIT
) -> tuple[bytes, int]:
    """A signed ANSLIST_DICT of ``hosts[start:]`` as far as ``limit`` bytes go, and the index to go on with.

    The index is 0 when the list is complete.
    """
    listed, following = gather(author, hosts, start, number, date, limit)
    return author.sign(Command.ANSLIST_DICT, number, date, listed), following


def gather(
    author: Author, hosts: Sequence[Host], start: int, number: int, date: int, limit: int = LIMIT
) -> tuple[bytes, int]:
    """What that one lists, as content of a dictionary, and the index to go on with.

    Statuses leave without NEVER_ANNOUNCED. A user for whom the limit has no room goes alone, in a datagram that
    exceeds it.
    """
    start = max(start, 0)
    total = len(hosts)
    empty = author.write(Command.ANSLIST_DICT, number, date, _list([], start, total))
    size = len(empty) + author.key.overhead + _GROWTH
    items: list[bytes] = []
    for host in hosts[start:]:
        if host.status & ~_LISTED:
            host = host._replace(status=host.status & _LISTED)
        element = host.write()
        size += len(listing([element])) + 1
        if items and (size > limit or len(items) == MOST_ENTRIES):
            break
        items.append(element)
    following = start + len(items)
    return _list(items, start, total), following if following < total else 0


def hosts(fields: IPDict) -> list[Host]:
    """The users of a list; those that make no sense (no name, no IPv4 address) are left out.

    Raises MalformedPacket, also if there is a count (NUM) and it is not that of the list, as in Windows.
    """
    listed = fields.listed(b"HLST")
    if fields.number(b"NUM", len(listed)) != len(listed):
        raise MalformedPacket(f"a list of {len(listed)} users that claims another number")
    return [found for found in map(_host, listed) if found is not None]


def cut(text: str) -> bytes:
    """A name in UTF-8, at most the 79 bytes that Windows keeps."""
    raw = text.encode("utf-8", "replace")
    return raw if len(raw) <= NAME_LIMIT else raw[:NAME_LIMIT].decode("utf-8", "ignore").encode("utf-8")


def _list(items: list[bytes], start: int, total: int) -> bytes:
    return b":".join(
        (
            item(b"HLST", listing(items)),
            item(b"START", start),
            item(b"NUM", len(items)),
            item(b"TOTAL", total),
        )
    )


def _host(fields: IPDict) -> Host | None:
    try:
        address = str(IPv4Address(fields.text(b"IPAD")))
        logon, host = _name(fields.text(b"UID")), _name(fields.text(b"HID"))
        status, port = fields.number(b"STAT"), fields.number(b"PORT")
        present = fields.number(b"ACT", 0) != 0
    except (AddressValueError, MalformedPacket):
        return None
    if not 0 < port < 0x10000:
        return None
    nick, group, version = (clean(fields.text(key, "")) for key in (b"NCK", b"GRP", b"CVER"))
    return Host(logon, host, status & OPTION_MASK, present, address, port, nick, group, version)


def _name(text: str) -> str:
    """A logon or host as a classic header would carry it, so that it is the same user in both framings."""
    if not text:
        raise MalformedPacket("a dictionary packet that names nobody")
    return clean(text).replace(":", ";")
