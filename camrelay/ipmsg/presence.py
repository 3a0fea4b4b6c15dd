"""Who sent a packet, as it says itself (``read``), and the packet that says it of a user (``announce``).

Bytes stay as sent. Text, kind and charset are found when first asked for: most datagrams only repeat what is
known. Where a UTF-8 trailer is present its names win over header, body and group, as in Windows clients.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any, TypeVar

from camrelay.ipmsg import trailer as trailers
from camrelay.ipmsg.charset import agreeing, decode, encode, exactly, guess, is_utf8, surely_utf8
from camrelay.ipmsg.command import MODE_MASK, NEVER_ANNOUNCED, OPTION_MASK, Command, Option
from camrelay.ipmsg.kind import Kind, edition, recognise
from camrelay.ipmsg.packet import Packet, build
from camrelay.ipmsg.trailer import NAME_LIMIT, clean

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Kind", "Presence", "announce", "own", "read", "told"]

# What is kept of body and extra: all names at their longest, twice, fit in; a stranger's novel does not.
BODY_LIMIT = 512
EXTRA_LIMIT = 2560
# What is repeated of VER and parts (FeiQ has VERs of some 60 bytes, iptux parts of 30): all fits one frame.
OTHERS_LIMIT = 128

# Plain numbers: an IntFlag's operators cost a microsecond each.
_UTF8 = int(Option.UTF8)
_CAPUTF8 = int(Option.CAPUTF8)
_CAPIPDICT = int(Option.CAPIPDICT)
_OF_THE_USER = OPTION_MASK & ~int(NEVER_ANNOUNCED) & ~_UTF8
_ANSENTRY = int(Command.ANSENTRY)
_SELF = " (camrelay)"  # what makes our nick explain itself

OPENED = 64  # of those that are kept small, looked into lately

# Commands whose body is a nick and whose extra begins with a group. Others carry names in the header only.
_WITH_NICK = frozenset((*range(Command.NOOPERATION, Command.BR_ABSENCE + 1), 0x10, 0x18))  # and BR_ISGETLIST


Sent = tuple[
    bytes, bytes, bytes, bytes, bytes
]  # logon, host, nick, group; trailer from its LF up to a NUL, or b""
Value = TypeVar("Value", int, str, bytes)


class Presence:
    """What one packet says about its sender. Not to be changed once made.

    Bytes as sent: version, logon, host, nick, group, and parts (what follows the group, a trailer excluded).
    options: the 24 option bits. The rest is found on first use:

    kind      the client's family
    edition   what the client calls itself, for people ("4.99r3 x64", "iptux 0.8.3", "lbt6_0")
    charset   of the bytes above; proven: trailer, UTF8OPT or the bytes themselves leave no doubt about it
    is_ascii  the bytes of all names read the same in every charset
    logon_text, host_text, nick_text, group_text    at most NAME_LIMIT characters, no control characters
    key       who this is: (logon, host), case folded
    """

    __slots__ = (
        "_charset",
        "_codepage",
        "_known",
        "_sent",
        "_tail",
        "_texts",
        "edition",
        "is_ascii",
        "key",
        "kind",
        "options",
        "parts",
        "version",
    )

    _sent: Sent
    _texts: tuple[str, str, str, str]
    edition: str
    is_ascii: bool
    key: tuple[str, str]
    kind: Kind

    def __init__(
        self,
        version: bytes,
        logon: bytes,
        host: bytes,
        nick: bytes,
        group: bytes,
        parts: bytes,
        options: int,
        trailer: bytes,
        codepage: str,
        known: str,
    ) -> None:
        self.version = version
        self.parts = parts
        self.options = options
        self._sent = (logon, host, nick, group, trailer)
        self._codepage = codepage
        self._known = known
        self._charset: tuple[str, bool] | None = None
        self._tail: bytes | None = None  # b"": of a packet; once settled, what ``_sent`` is read from

    if not TYPE_CHECKING:  # asked for a slot that was not set yet: find it once, then it is there

        def __getattr__(self, name: str) -> Any:
            if name not in _LATER:
                raise AttributeError(name)
            if self._tail:  # settled
                found = getattr(_opened(self), name)
                if name == "is_ascii":
                    self.is_ascii = found
                return found
            _FINDERS[name](self)
            return object.__getattribute__(self, name)

    def settled(self, tail: bytes) -> Presence:
        """The same, to be kept for long, where ``tail`` is kept anyway: the packet behind VER and number.

        Names, texts and key are looked up there each time they are asked for, but for the last few users: 600 bytes
        less for each of all the others. Of one that was made here, and is not just what ``tail`` says, nothing changes.
        """
        if self._tail is None and self._sent != _reread(tail):
            return self
        kept = Presence.__new__(Presence)
        kept.version, kept.parts, kept.options = _same(self.version), _same(self.parts), _same(self.options)
        kept.kind = self.kind
        kept._codepage, kept._known, kept._charset = self._codepage, _same(self._known), self._charset
        kept._tail = tail
        return kept

    def anew(self) -> Presence:
        """The same with no text looked up yet; to be asked, and not to be kept."""
        logon, host, nick, group, trailer = _reread(self._tail) if self._tail else self._sent
        names = (logon, host, nick, group)
        new = Presence(self.version, *names, self.parts, self.options, trailer, self._codepage, self._known)
        new._charset = self._charset
        if self._tail:
            new.kind = self.kind
        return new

    @property
    def logon(self) -> bytes:
        """As sent, as the three that follow."""
        return self._sent[0]

    @property
    def host(self) -> bytes:
        """The name of the machine."""
        return self._sent[1]

    @property
    def nick(self) -> bytes:
        """What people see; empty: the logon."""
        return self._sent[2]

    @property
    def group(self) -> bytes:
        """Under which the nick is listed."""
        return self._sent[3]

    @property
    def logon_text(self) -> str:
        """Never empty, and without a colon, as the next."""
        return self._texts[0]

    @property
    def host_text(self) -> str:
        """The name of the machine."""
        return self._texts[1]

    @property
    def nick_text(self) -> str:
        """What people see; empty: the logon."""
        return self._texts[2]

    @property
    def group_text(self) -> str:
        """Under which the nick is listed."""
        return self._texts[3]

    @property
    def charset(self) -> str:
        """Of the bytes as sent."""
        return (self._charset or _find_charset(self))[0]

    @property
    def proven(self) -> bool:
        """Is there no doubt about it?"""
        return (self._charset or _find_charset(self))[1]

    @property
    def abilities(self) -> int:
        """The option bits that are the user's own: neither this one packet's nor those never repeated."""
        return self.options & _OF_THE_USER

    @property
    def line(self) -> str:
        """The value of the trailer's ``VS:`` line, "" if there is none."""
        return clean(decode(trailers.version(self._sent[4]), "utf-8"))

    def __repr__(self) -> str:
        return f"<Presence {self.logon_text}@{self.host_text} {self.kind} {self.options:#x}>"


def read(packet: Packet, codepage: str = "cp932", known: str = "") -> Presence:
    """Who sent this packet. ``known``: the charset proven earlier for this client, ``codepage``: the site's.

    For any command; nick, group and parts are empty where the command carries none.
    """
    version, _, logon, host, command, body, extra = packet
    nick, group, parts, trailer = _said(command, body, extra)
    options = command & OPTION_MASK
    presence = Presence(version, logon, host, nick, group, parts, options, trailer, codepage, known)
    presence._tail = b""
    return presence


def _said(command: int, body: bytes, extra: bytes) -> tuple[bytes, bytes, bytes, bytes]:
    """Nick, group, parts and trailer."""
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


def _reread(tail: bytes) -> Sent:
    """What was sent, by the packet behind VER and number."""
    head, _, extra = tail.partition(b"\0")
    logon, host, command, body = head.split(b":", 3)
    nick, group, _, trailer = _said(int(command), body, extra)
    return logon, host, nick, group, trailer


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
    presence = Presence(
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
    )
    presence._charset = "utf-8", True
    return presence


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
    presence = Presence(version, logon, host, nick, group, parts, options, trailer, charset, charset)
    presence._charset = charset, True
    return presence


def _names(presence: Presence, charset: str | None) -> tuple[bytes, bytes, bytes, bytes]:
    """Logon, host, nick and group for the wire: as sent where ``charset`` asks for that, else encoded."""
    sent, trailer = presence._sent[:4], presence._sent[4]
    verbatim = charset is None or (charset == presence.charset and not trailer)
    if verbatim and max(map(len, sent)) <= NAME_LIMIT:
        return sent
    texts = presence._texts
    logon, host, nick, group = (
        raw if verbatim and len(raw) <= NAME_LIMIT else encode(text, charset or presence.charset)
        for raw, text in zip(sent, texts, strict=True)
    )
    return logon, host, nick, group


def _trailer(presence: Presence, *, named: bool) -> bytes:
    """What this user's program would put behind the group, with the NUL before it."""
    names = None
    if named:
        logon, host, nick, group = presence._texts
        names = (logon, host, nick or logon, group)
    lines = trailers.write(names, presence.line)
    return b"\0" + lines if lines else b""


def _find_kind(presence: Presence) -> None:
    line, dictionaries = trailers.version(presence._sent[4]), bool(presence.options & _CAPIPDICT)
    presence.kind = recognise(presence.version, presence.parts, line, dictionaries)


def _find_edition(presence: Presence) -> None:
    presence.edition = clean(edition(presence.version, trailers.version(presence._sent[4])))


def _find_ascii(presence: Presence) -> None:
    presence.is_ascii = all(map(bytes.isascii, presence._sent[:4]))


def _find_texts(presence: Presence) -> None:
    """The four texts: lines of the trailer where there are valid ones, else the bytes in their charset."""
    sent, trailer = presence._sent[:4], presence._sent[4]
    logon, host, nick, group = (
        clean(decode(raw, presence.charset) if text is None else text)
        for raw, text in zip(sent, trailers.said(trailer), strict=True)
    )
    # As a header would carry them: no ":" and never empty.
    presence._texts = logon.replace(":", ";") or "?", host.replace(":", ";") or "?", nick, group


def _find_charset(presence: Presence) -> tuple[str, bool]:
    """The charset of the bytes as sent, and whether that is beyond doubt; remembered."""
    found = presence._charset = _charset(_opened(presence) if presence._tail else presence)
    return found


def _charset(presence: Presence) -> tuple[str, bool]:
    known, codepage, kind = presence._known, presence._codepage, presence.kind.charsets
    sent, trailer = presence._sent[:4], presence._sent[4]
    names = b"\n".join(sent)
    if presence.options & _UTF8 and exactly(names, "utf-8") is not None:
        return "utf-8", True
    if names.isascii():
        return known or (*kind, codepage)[0], False
    proven = agreeing(zip(sent, trailers.said(trailer), strict=True), (known, codepage, *kind))
    if proven:
        return proven, True
    charset = guess(names, codepage, known=known, kind=kind)
    return charset, is_utf8(charset) and surely_utf8(names)


def _find_key(presence: Presence) -> None:
    logon, host, _, _, trailer = presence._sent
    # Nearly always: plain names, repeated by the trailer if there is one. Many times faster than the texts.
    if logon.isascii() and host.isascii() and (not trailer or trailers.repeats(trailer, logon, host)):
        key = (logon.decode("ascii").casefold(), host.decode("ascii").casefold())
        if 0 < len(logon) <= NAME_LIMIT and 0 < len(host) <= NAME_LIMIT and "".join(key).isprintable():
            presence.key = key
            return
    presence.key = (presence.logon_text.casefold(), presence.host_text.casefold())


@lru_cache(OPENED)
def _opened(presence: Presence) -> Presence:
    """One that is settled, with what was looked up in it lately."""
    return presence.anew()


@lru_cache(1024)
def _same(value: Value) -> Value:
    """One object for what thousands of users say alike."""
    return value


_FINDERS: dict[str, Callable[[Presence], object]] = {
    "_texts": _find_texts,
    "edition": _find_edition,
    "is_ascii": _find_ascii,
    "key": _find_key,
    "kind": _find_kind,
}
_LATER = frozenset((*_FINDERS, "_sent"))
