"""The packet that says of a user who it is: what the relay repeats in other segments, and says of itself."""

from __future__ import annotations

from camrelay.ipmsg import trailer as trailers
from camrelay.ipmsg.charset import encode, is_utf8
from camrelay.ipmsg.command import MODE_MASK, Command, Option
from camrelay.ipmsg.packet import build
from camrelay.ipmsg.presence import Presence
from camrelay.ipmsg.trailer import NAME_LIMIT, clean

# What is repeated of VER and parts (FeiQ has VERs of some 60 bytes, iptux parts of 30): all fits one frame.
OTHERS_LIMIT = 128

# Plain numbers: an IntFlag's operators cost a microsecond each.
_UTF8 = int(Option.UTF8)
_CAPUTF8 = int(Option.CAPUTF8)
_ANSENTRY = int(Command.ANSENTRY)
_SELF = " (camrelay)"  # what makes our nick explain itself


def announce(
    presence: Presence,
    command: int,
    number: int,
    charset: str | None = None,
    trailer: bool | None = None,
    plus: int = 0,
) -> bytes:
    """The packet with which this user would say ``command`` (BR_ENTRY, BR_ABSENCE, ANSENTRY, BR_EXIT).

    charset  names in this charset; None: the very bytes the user sent.
    trailer  None: as the user's own program does: with CAPUTF8OPT names and version, on ANSENTRY the version.
             True: with names even if the program has none; parts make room: it must follow the group.
             False: none, parts kept.
    plus     option bits to add, for questions that the relay asks in its own name (DIALUP).

    Options are the user's own without NEVER_ANNOUNCED. UTF8OPT appears on ANSENTRY only (BR_* must not have
    it), when the names are in UTF-8 and the packet says CAPUTF8OPT. An empty nick leaves as the logon.
    """
    presence = presence.opened
    mode = command & MODE_MASK
    options = presence.abilities | plus
    if trailer:
        options |= _CAPUTF8
    capable = bool(options & _CAPUTF8)
    if capable and mode == _ANSENTRY and is_utf8(presence.charset if charset is None else charset):
        options |= _UTF8
    logon, host, nick, group = _names(presence, charset)
    extra = group
    if capable and trailer is not False:
        extra += _trailer(presence, named=mode != _ANSENTRY or trailer is True)
    elif 0 < len(presence.parts) <= OTHERS_LIMIT:
        extra += b"\0" + presence.parts
    version = presence.version[:OTHERS_LIMIT]
    return build(version, number, logon, host, options | mode, nick or logon, extra)


def own(
    name: str, group: str, hostname: str, version: str, logon: str = "camrelay", options: int = _CAPUTF8
) -> Presence:
    """The relay itself, as a user like others: its nick tells people what it is, its VER tells relays."""
    return Presence(
        version=b"1_camrelay " + encode(clean(version), "ascii").replace(b":", b";"),
        logon=encode(clean(logon), "utf-8"),
        host=encode(clean(hostname).replace(":", ";"), "utf-8"),
        nick=encode(f"{clean(name)[: NAME_LIMIT - len(_SELF)]}{_SELF}", "utf-8"),
        group=encode(clean(group), "utf-8"),
        parts=b"",
        options=options,  # it takes no files, and encrypted messages only if it has a key
        trailer=b"",
        codepage="utf-8",
        known="utf-8",
        proven=True,
    )


def told(
    version: bytes,
    names: tuple[str, str, str, str],
    parts: bytes,
    options: int,
    line: str,
    charset: str,
) -> Presence:
    """A user by another relay's word: logon, host, nick, group, and what else ``Presence`` holds, checked there."""
    logon, host, nick, group = (encode(name, charset) for name in names)
    trailer = trailers.write(names, line) if options & _CAPUTF8 else b""
    return Presence(version, logon, host, nick, group, parts, options, trailer, charset, charset, proven=True)


def _names(presence: Presence, charset: str | None) -> tuple[bytes, bytes, bytes, bytes]:
    """Logon, host, nick and group for the wire: as sent where ``charset`` asks for that, else encoded."""
    sent, trailer = presence.sent[:4], presence.sent[4]
    verbatim = charset is None or (charset == presence.charset and not trailer)
    if verbatim and max(map(len, sent)) <= NAME_LIMIT:
        return sent
    texts = presence.texts
    logon, host, nick, group = (
        raw if verbatim and len(raw) <= NAME_LIMIT else encode(text, charset or presence.charset)
        for raw, text in zip(sent, texts, strict=True)
    )
    return logon, host, nick, group


def _trailer(presence: Presence, *, named: bool) -> bytes:
    """What this user's program would put behind the group, with the NUL before it."""
    names = None
    if named:
        logon, host, nick, group = presence.texts
        names = (logon, host, nick or logon, group)
    lines = trailers.write(names, presence.line)
    return b"\0" + lines if lines else b""
