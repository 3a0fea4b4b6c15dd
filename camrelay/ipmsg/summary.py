"""A datagram in one line, for people: ``BR_ENTRY 1742 [ENCRYPT CAPUTF8] tanaka@PC-01 "田中" (営業), windows 4.99r3``.

Rule kept here: what a person wrote is never read, only its length (see ``discreet``); any bytes give one line that
can be printed.
"""

from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING, Final

from camrelay.errors import MalformedPacket
from camrelay.ipmsg import hostlist, ipdict, master, pubkey, sealed, signed
from camrelay.ipmsg.charset import decode, guess
from camrelay.ipmsg.command import MODE_MASK, OPTION_MASK, Command, Option
from camrelay.ipmsg.discreet import NUMBERED, OPEN, without_body
from camrelay.ipmsg.packet import Packet, is_ipdict, parse
from camrelay.ipmsg.presence import Kind, read

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from camrelay.ipmsg.presence import Presence
    from camrelay.ipmsg.signed import Signed

LONGEST: Final = 600  # characters: four names of 79, a version, and what a list shows
_SHOWN: Final = 3  # users of a list by name
_DEEPEST: Final = 3
_TEXT: Final = 40  # characters of a version or a number

_PRESENCE: Final = frozenset(
    (
        Command.NOOPERATION,
        Command.BR_ENTRY,
        Command.BR_EXIT,
        Command.ANSENTRY,
        Command.BR_ABSENCE,
        Command.BR_ISGETLIST,
        Command.BR_ISGETLIST2,
    )
)
_MESSAGES: Final = frozenset(
    (Command.SENDMSG, Command.RECVMSG, Command.READMSG, Command.DELMSG, Command.ANSREADMSG)
)
_COMMANDS: Final = {int(command): command.name for command in Command}
# Bits that stand for nothing in ``Option``, and those that mean something else on messages: ``ipmsg.h`` of 4.99r3.
_OPTIONS: Final = {int(option): str(option.name) for option in Option} | {
    0x00002000: "AUTORET",
    0x00004000: "RETRY",
    0x00040000: "NEWMULTI",
}
_ON_MESSAGES: Final = _OPTIONS | {
    0x00000100: "SENDCHECK",
    0x00000200: "SECRET",
    0x00000400: "BROADCAST",
    0x00000800: "MULTICAST",
    0x00001000: "NOPOPUP",
    0x00008000: "PASSWORD",
    0x00020000: "NOLOG",
    0x00080000: "NOADDLIST",
    0x00100000: "READCHECK",
}


def summary(data: bytes, codepage: str = "cp932", known: str = "") -> str:
    """One printable line of at most ``LONGEST`` characters. Never raises.

    ``codepage``: the site's; ``known``: the charset proven for whoever's names are in it, "" if none is.
    """
    return _line(_summary(without_body(data), codepage, known))


def message_text(data: bytes, codepage: str = "cp932", known: str = "") -> str:
    """What a person wrote in this message, for who may read it; "" if it is encrypted, or no message. Never raises."""
    try:
        packet = parse(data)
    except MalformedPacket:
        return ""
    if packet.mode not in (Command.SENDMSG, Command.SENDABSENCEINFO) or packet.command & Option.ENCRYPT:
        return ""
    utf8 = packet.command & Option.UTF8
    return decode(packet.body, "utf-8" if utf8 else guess(packet.body, codepage, known=known))


def command_name(mode: int) -> str:
    """Of the low 8 bits of a command: its name, or hexadecimal digits."""
    return _COMMANDS.get(mode) or f"{mode:#04x}"


def command_number(word: str) -> int:
    """The reverse, for people: any case, with or without IPMSG_ and BR_, or a number. ValueError."""
    name = word.upper().removeprefix("IPMSG_")
    for number, known in _COMMANDS.items():
        if name in (known, known.removeprefix("BR_")):
            return number
    try:
        number = int(word, 0)
    except ValueError:
        number = -1
    if not 0 <= number <= MODE_MASK:
        raise ValueError(f"no command: {word}")
    return number


def command_names() -> list[str]:
    """All that have one."""
    return list(_COMMANDS.values())


def options(command: int) -> str:
    """The option bits of a whole command in brackets, with a blank in front; "" if there are none."""
    names = _ON_MESSAGES if command & MODE_MASK in _MESSAGES else _OPTIONS
    found = [name for bit, name in names.items() if command & bit]
    rest = command & OPTION_MASK & ~sum(names)
    found += [f"{rest:#x}"] if rest else []
    found += ["bits beyond 32"] if command >> 32 else []
    return f" [{' '.join(found)}]" if found else ""


def _summary(data: bytes, codepage: str, known: str) -> str:
    try:
        return _dictionary(ipdict.decode(data)) if is_ipdict(data) else _classic(data, codepage, known)
    except MalformedPacket:
        return f"malformed: {len(data)} bytes, beginning {data[:16].decode('ascii', 'replace')}"


# -- classic packets ---------------------------------------------------------------------------------------------------


def _classic(data: bytes, codepage: str, known: str) -> str:
    packet = parse(data)
    presence = read(packet if packet.mode in OPEN else packet._replace(body=b"", extra=b""), codepage, known)
    head = f"{command_name(packet.mode)} {_short(packet.number)}{options(packet.command)}"
    if packet.mode in _PRESENCE:
        return f"{head} {_user(presence)}"
    told = _CLASSIC.get(packet.mode, _unknown)(packet, presence)
    return f"{head} {presence.logon_text}@{presence.host_text}{told and ': '}{told}"


def _user(presence: Presence) -> str:
    """Names as user lists show them, and what client it is."""
    return _person(
        (presence.logon_text, presence.host_text, presence.nick_text, presence.group_text),
        "" if presence.kind is Kind.UNKNOWN else presence.kind.value,
        presence.edition,
    )


def _person(names: Sequence[str], kind: str, edition: str) -> str:
    logon, host, nick, group = names
    client = edition if edition.startswith(kind) else f"{kind} {edition}".rstrip()
    found = f"{logon}@{host}" + (f' "{nick}"' if nick else "") + (f" ({group})" if group else "")
    return found + (f", {client[:_TEXT]}" if client else "")


def _message(packet: Packet, presence: Presence) -> str:
    words = f"message of {len(packet.body)} bytes"
    words += ", encrypted" if packet.command & Option.ENCRYPT else ""
    return words + (", with files" if packet.command & Option.FILEATTACH else "")


def _numbered(packet: Packet, presence: Presence) -> str:
    return f"of {_short(packet.body)}" if packet.body.isdigit() else _unknown(packet, presence)


def _unknown(packet: Packet, presence: Presence) -> str:
    size = len(packet.body) + len(packet.extra.rstrip(b"\0"))
    return f"{size} bytes" if size else ""


def _from(packet: Packet, presence: Presence) -> str:
    start = packet.body.strip(b" \a\0")
    return f"from user {_short(start)} on" if start.isdigit() else ""


def _list(packet: Packet, presence: Presence) -> str:
    following, entries = hostlist.unpack(packet.body)
    names = b"\n".join(entry.nick or entry.logon for entry in entries)
    charset = guess(names, presence.charset)
    shown = _shown(decode(name, charset) for name in names.split(b"\n")[:_SHOWN]) if entries else ""
    return _count(len(entries)) + (f", next from {following}" if following else ", complete") + shown


def _version(packet: Packet, presence: Presence) -> str:
    return decode(packet.body, presence.charset)[:_TEXT]


def _capability(packet: Packet, presence: Presence) -> str:
    return f"capable of {_short(packet.body)}" if packet.body else ""


def _key(packet: Packet, presence: Presence) -> str:
    capability, key = pubkey.read_answer(packet.body)
    return f"{key.bits} bits" + (f", {key.fingerprint}" if key.fingerprint else "") + f", {capability:x}"


def _nothing(packet: Packet, presence: Presence) -> str:
    return ""


_CLASSIC: Final[dict[int, Callable[[Packet, Presence], str]]] = {
    Command.OKGETLIST: _nothing,
    Command.GETLIST: _from,
    Command.ANSLIST: _list,
    Command.SENDMSG: _message,
    **dict.fromkeys(NUMBERED, _numbered),
    Command.GETINFO: _nothing,
    Command.SENDINFO: _version,
    Command.GETABSENCEINFO: _nothing,
    Command.GETPUBKEY: _capability,
    Command.ANSPUBKEY: _key,
}


# -- dictionaries ------------------------------------------------------------------------------------------------------


def _dictionary(fields: ipdict.IPDict, deepest: int = _DEEPEST) -> str:
    if sealed.is_sealed(fields):
        return f"encrypted dictionary of {len(fields.raw(b'EB'))} bytes"
    packet = signed.read(fields)
    proof = "signed" if b"SIGN" in fields else "unsigned"
    head = f"{command_name(packet.mode)} {packet.number}{options(packet.options | packet.mode)} {proof} by"
    if packet.mode in _PRESENCE:
        names = (packet.logon, packet.host, packet.nick, packet.group)
        return f"{head} {_person(names, '', packet.version)}"
    try:
        told = _told(packet, deepest)
    except MalformedPacket:
        told = "not well formed"
    return f"{head} {packet.logon}@{packet.host}{told and ': '}{told}"


def _told(packet: Signed, deepest: int) -> str:
    """What the command adds to the header."""
    fields = packet.fields
    match packet.mode:
        case Command.ANSLIST_DICT | Command.DIR_ANSBROAD | Command.DIR_EVBROAD:
            return _hosts(fields)
        case Command.DIR_POLL:
            networks = [f"{one.address}/{one.prefix}" for one in master.read_poll(fields)]
            return f"is in {', '.join(networks[:_SHOWN])}" if networks else ""
        case Command.DIR_BROADCAST | Command.DIR_POLLAGENT:
            duty = master.read_duty(fields)
            return f"report for {duty.seconds} s, {duty.address}"
        case Command.DIR_PACKET | Command.DIR_REQUEST | Command.DIR_AGENTPACKET if deepest:
            to = master.agent(fields)
            return (f"for {to}: " if to else "") + _dictionary(master.unwrap(fields), deepest - 1)
    size = sum(len(value) for key, value in fields.items() if key in (b"BODY", b"WAPD"))
    return f"message of {size} bytes" if packet.mode == Command.SENDMSG else f"{size} bytes" if size else ""


def _hosts(fields: ipdict.IPDict) -> str:
    users = signed.hosts(fields)
    gone = sum(not user.present for user in users)
    total = fields.number(b"TOTAL", 0)
    words = _count(len(users)) + (f" from {fields.number(b'START', 0)} of {total}" if total else "")
    words += f", {gone} of them gone" if gone else ""
    return words + _shown(user.nick or user.logon for user in users[:_SHOWN])


# -- words -------------------------------------------------------------------------------------------------------------


def _count(users: int) -> str:
    return f"{users} user{'' if users == 1 else 's'}"


def _shown(names: Iterable[str]) -> str:
    found = ", ".join(name[:_TEXT] for name in names)
    return f" ({found})" if found else ""


def _short(raw: bytes) -> str:
    return raw[:_TEXT].decode("ascii", "replace")


def _line(text: str) -> str:
    """On one line, and harmless to a terminal."""
    text = text[:LONGEST]
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else " " if unicodedata.category(c) == "Zs" else "·" for c in text)
