"""What may be shown of a datagram to somebody whom its message is not for.

Rule kept here: text that a person wrote, and whatever a command not known here carries, is blanked out, byte by byte,
so that all lengths stay true; headers, names, lists and keys stay.
"""

from __future__ import annotations

from typing import Final

from camrelay.errors import MalformedPacket
from camrelay.ipmsg import ipdict
from camrelay.ipmsg.command import MODE_MASK, Command
from camrelay.ipmsg.packet import HEADER_LIMIT, is_ipdict, parse

BLANK: Final = b"x"
# Of bytes that are no packet: enough to recognise a program, too few for a message.
_BEGINNING: Final = 16
_DEEPEST: Final = 4  # a DIR_REQUEST holds a DIR_PACKET, which holds a list

# Commands whose body says who is here, or what a program is capable of.
OPEN: Final = frozenset(
    map(
        int,
        (
            Command.NOOPERATION,
            Command.BR_ENTRY,
            Command.BR_EXIT,
            Command.ANSENTRY,
            Command.BR_ABSENCE,
            Command.BR_ISGETLIST,
            Command.OKGETLIST,
            Command.GETLIST,
            Command.ANSLIST,
            Command.ANSLIST_DICT,
            Command.BR_ISGETLIST2,
            Command.GETINFO,
            Command.SENDINFO,
            Command.GETABSENCEINFO,
            Command.GETPUBKEY,
            Command.ANSPUBKEY,
        ),
    )
)
# Commands whose body is the number of a packet, and is left alone if it is one.
NUMBERED: Final = frozenset(
    map(
        int,
        (Command.RECVMSG, Command.READMSG, Command.DELMSG, Command.ANSREADMSG, Command.RELEASEFILES),
    )
)
# Keys of dictionaries that hold no text of a person: header, lists, duties, signature and how it is encrypted.
_OPEN_KEYS: Final = frozenset(
    b"VER PKT DATE UID HID CMD FLG CVER GRP NCK STAT HLST START NUM TOTAL NADRS AGS TADR DRCT"
    b" PUBE PUBN EF EC SIGN".split()
)
_NESTED: Final = b"WAPD"


def without_body(data: bytes) -> bytes:
    """The datagram with every byte of what is private replaced by ``x``; as long as before. Never raises."""
    if is_ipdict(data):
        return _dictionary(data)
    try:
        packet = parse(data)
    except MalformedPacket:
        return _beginning(data)
    mode, body, extra = packet.mode, packet.body, packet.extra
    if mode in OPEN or not (body or extra):
        return data
    start = data.index(b"\0") if b"\0" in data else len(data)
    if not (mode in NUMBERED and body.isdigit()):
        start -= len(body)
    return data[:start] + _blanked(data[start:])


def command_of(data: bytes) -> int | None:
    """The command (low 8 bits), also of a dictionary; None if there is none to be read. At a classic one's price."""
    if is_ipdict(data):
        try:
            return ipdict.decode(data).number(b"CMD") & MODE_MASK
        except MalformedPacket:
            return None
    fields = data[:HEADER_LIMIT].split(b":", 5)
    return int(fields[4]) & MODE_MASK if len(fields) == 6 and fields[4].isdigit() else None


def _dictionary(data: bytes) -> bytes:
    try:
        shown = ipdict.frame(_content(ipdict.decode(data), _DEEPEST))
    except MalformedPacket:
        return _beginning(data)
    return shown if len(shown) == len(data) else _beginning(data)  # lengths written in no usual way


def _content(fields: ipdict.IPDict, deepest: int) -> bytes:
    shown: dict[bytes, ipdict.Value] = {}
    for key, value in fields.items():
        if key == _NESTED and deepest:
            try:
                inner = _content(ipdict.read(value), deepest - 1)
            except MalformedPacket:
                inner = b""
            shown[key] = inner if len(inner) == len(value) else _blanked(value)
        else:
            shown[key] = value if key in _OPEN_KEYS else BLANK * len(value)
    return ipdict.write(shown)


def _beginning(data: bytes) -> bytes:
    """Of what is no packet: at most what may be a header."""
    fields = data[:_BEGINNING].split(b":", 5)
    start = len(data[:_BEGINNING]) - (len(fields[5]) if len(fields) == 6 else 0)
    return data[:start] + _blanked(data[start:])


def _blanked(private: bytes) -> bytes:
    """NULs stay: they only divide."""
    return b"\0".join(BLANK * len(piece) for piece in private.split(b"\0"))
