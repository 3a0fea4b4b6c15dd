"""The names in a presence packet, as bytes: which of them stand where, and what charset they are in."""

from __future__ import annotations

from camrelay.ipmsg.charset import agreeing, exactly, guess, is_utf8, surely_utf8
from camrelay.ipmsg.command import MODE_MASK, Command, Option
from camrelay.ipmsg.trailer import said

# What is kept of body and extra: all names at their longest, twice, fit in; a stranger's novel does not.
BODY_LIMIT = 512
EXTRA_LIMIT = 2560

_CAPUTF8 = int(Option.CAPUTF8)
# Commands whose body is a nick and whose extra begins with a group. Others carry names in the header only.
_WITH_NICK = frozenset((*range(Command.NOOPERATION, Command.BR_ABSENCE + 1), 0x10, 0x18))  # and BR_ISGETLIST

# Logon, host, nick, group, and the trailer from its leading LF up to a NUL, b"" if there is none.
Sent = tuple[bytes, bytes, bytes, bytes, bytes]


def split(command: int, body: bytes, extra: bytes) -> tuple[bytes, bytes, bytes, bytes]:
    """Nick, group, parts and trailer, of a packet with this command, body and extra."""
    if len(extra) > EXTRA_LIMIT or len(body) > BODY_LIMIT:
        body, extra = body[:BODY_LIMIT], extra[:EXTRA_LIMIT]
    group, _, parts = extra.partition(b"\0")
    trailer = b""
    if parts:
        if parts[0] == 10:  # LF: a trailer, but only of those who declare that they write one
            if command & _CAPUTF8:
                trailer, _, _ = parts.partition(b"\0")
            parts = b""
        elif parts[0] == 0 and not parts.strip(b"\0"):  # g2ipmsg ends with one NUL too many
            parts = b""
    if command & _CAPUTF8 and group[:1] == b"\n":  # Windows takes it in the group's place too
        trailer, group, parts = group, b"", b""
    if command & MODE_MASK not in _WITH_NICK:
        body = group = parts = b""
    return body, group, parts, trailer


def reread(tail: bytes) -> Sent:
    """What the packet sent of which this follows VER and number."""
    head, _, extra = tail.partition(b"\0")
    logon, host, command, body = head.split(b":", 3)
    nick, group, _, trailer = split(int(command), body, extra)
    return logon, host, nick, group, trailer


def plain(sent: Sent) -> bool:
    """Does the trailer, if there is one, only repeat the very bytes before it, as those of ASCII names do?"""
    trailer = sent[4]
    return b"N:" not in trailer or trailer.startswith(b"\nUN:%b\nHN:%b\nNN:%b\nGN:%b\n" % sent[:4])


def charset_of(sent: Sent, utf8: bool, known: str, codepage: str, kind: tuple[str, ...]) -> tuple[str, bool]:
    """The charset of the bytes as sent, and whether that is beyond doubt. ``utf8``: the packet says UTF8OPT."""
    names = b"\n".join(sent[:4])
    if utf8 and exactly(names, "utf-8") is not None:
        return "utf-8", True
    if names.isascii():
        return known or (*kind, codepage)[0], False
    proven = agreeing(zip(sent, said(sent[4]), strict=False), (known, codepage, *kind))
    if proven:
        return proven, True
    charset = guess(names, codepage, known=known, kind=kind)
    return charset, is_utf8(charset) and surely_utf8(names)
