"""The classic host list, the body of ANSLIST: ``NEXT BEL COUNT BEL``, then seven fields for each user.

As IP Messenger for Windows 4.99r3 writes it: a BEL behind every field, ports with their bytes swapped, BS for
an empty nick or group.
"""

from __future__ import annotations

from ipaddress import AddressValueError, IPv4Address
from typing import TYPE_CHECKING, NamedTuple

from camrelay.errors import MalformedPacket
from camrelay.ipmsg.command import MODE_MASK, NEVER_ANNOUNCED, OPTION_MASK, PORT, Command, Option

if TYPE_CHECKING:
    from collections.abc import Sequence

# Windows packs until 80 bytes are left of its 32768-byte buffer, and reads no more than that buffer.
LIMIT = 32688
# What is taken from one list: a 32768-byte list cannot hold more than some 1,100 real users.
MOST_ENTRIES = 2000

_HEADER = b"%5d\a%5d\a"
_FIELDS = 7
_EMPTY = b"\b"
_GONE = int(Command.BR_EXIT)
_LISTED = OPTION_MASK & ~int(NEVER_ANNOUNCED) & ~int(Option.UTF8)
_NUMBER_DIGITS = 10  # of 32 bits


class Entry(NamedTuple):
    """One user of a list. Names are bytes in the charset of the whole packet."""

    logon: bytes
    host: bytes
    options: int  # option bits only
    address: str  # dotted IPv4
    port: int
    nick: bytes
    group: bytes


def pack(entries: Sequence[Entry], start: int, limit: int = LIMIT) -> tuple[bytes, int]:
    """The body that holds ``entries[start:]`` as far as ``limit`` bytes go, and the index to ask for next.

    The index is 0 when the list is complete. Options are written without NEVER_ANNOUNCED, and as 1 if none is
    left: 0 would make Windows delete that user. An entry that no packet can hold is left out.
    """
    start = max(start, 0)
    items: list[bytes] = []
    size = len(_HEADER % (0, 0))
    following = 0
    for index, entry in enumerate(entries[start:], start):
        item = _item(entry)
        if size + len(item) > limit:
            if not items:
                continue
            following = index
            break
        items.append(item)
        size += len(item)
    return _HEADER % (following, len(items)) + b"".join(items), following


def unpack(body: bytes) -> tuple[int, list[Entry]]:
    """The index to ask for next (0: complete) and the users of one ANSLIST body.

    Lists of g2ipmsg are understood: it counts differently and does not swap ports. Left out are users that
    the list says are gone (as Windows reads it), entries that make no sense, and a last one cut short.
    Raises MalformedPacket, and nothing else, when the two numbers at the head are missing.
    """
    following, found, rest = body.partition(b"\a")
    _, found, rest = rest.partition(b"\a") if found else (b"", b"", b"")
    number = _number(following)
    if not found or number is None:
        raise MalformedPacket(f"not a host list: {len(body)} bytes, beginning {body[:16]!r}")
    fields = rest.split(b"\a", _FIELDS * MOST_ENTRIES)
    entries = []
    for first in range(0, min(len(fields) - _FIELDS, _FIELDS * (MOST_ENTRIES - 1)) + 1, _FIELDS):
        entry = _entry(fields[first : first + _FIELDS])
        if entry is not None:
            entries.append(entry)
    return number, entries


def _item(entry: Entry) -> bytes:
    logon, host, nick, group = (
        name.replace(b"\a", b" ").replace(b"\0", b" ")
        for name in (entry.logon, entry.host, entry.nick, entry.group)
    )
    return b"\a".join(
        (
            logon or b"?",
            host or b"?",
            b"%d" % ((entry.options & _LISTED) or 1),
            entry.address.encode("ascii", "replace"),
            b"%d" % _swapped(entry.port),
            nick or _EMPTY,
            group or _EMPTY,
            b"",
        )
    )


def _entry(fields: list[bytes]) -> Entry | None:
    """One user, None for what is to be left out."""
    logon, host, status, address, port, nick, group = fields
    options = _number(status)
    if not (logon and host and options) or options & MODE_MASK == _GONE:
        return None
    try:
        dotted = str(IPv4Address(address.decode("ascii", "replace")))
    except AddressValueError:
        return None
    nick, group = (b"" if name == _EMPTY else name for name in (nick, group))
    return Entry(logon, host, options & OPTION_MASK, dotted, _port(_number(port)), nick, group)


def _port(written: int | None) -> int:
    """The port meant: bytes swapped, except that g2ipmsg writes the usual one as it is."""
    if written is None or not 0 < written < 0x10000:
        return PORT
    return PORT if written == PORT else _swapped(written)


def _swapped(port: int) -> int:
    return (port & 0xFF) << 8 | port >> 8 & 0xFF


def _number(field: bytes) -> int | None:
    """Decimal digits, padded with blanks on the left."""
    digits = field.strip(b" ")
    return int(digits) if digits.isdigit() and len(digits) <= _NUMBER_DIGITS else None
