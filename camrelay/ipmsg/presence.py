"""Who sent a packet, as it says itself (``read``).

Bytes stay as sent. Text, kind and charset are found when first asked for: most datagrams only repeat what is
known. Where a UTF-8 trailer is present its names win over header, body and group, as in Windows clients.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any, TypeVar

from camrelay.ipmsg import trailer as trailers
from camrelay.ipmsg.charset import decode
from camrelay.ipmsg.command import NEVER_ANNOUNCED, OPTION_MASK, Option
from camrelay.ipmsg.kind import Kind, edition, recognise
from camrelay.ipmsg.names import Sent, charset_of, plain, reread, split
from camrelay.ipmsg.trailer import NAME_LIMIT, clean

if TYPE_CHECKING:
    from collections.abc import Callable

    from camrelay.ipmsg.packet import Packet

__all__ = ["Kind", "Presence", "read"]

OPENED = 256  # settled ones that were looked into lately: 0.2 MB

# Plain numbers: an IntFlag's operators cost a microsecond each.
_UTF8 = int(Option.UTF8)
_CAPIPDICT = int(Option.CAPIPDICT)
_OF_THE_USER = OPTION_MASK & ~int(NEVER_ANNOUNCED) & ~_UTF8

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
        "_tail",
        "edition",
        "is_ascii",
        "key",
        "kind",
        "options",
        "parts",
        "sent",
        "texts",
        "version",
    )

    sent: Sent
    texts: tuple[str, str, str, str]
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
        proven: bool = False,
    ) -> None:
        self.version = version
        self.parts = parts
        self.options = options
        self.sent = (logon, host, nick, group, trailer)
        self._codepage = codepage
        self._known = known
        self._charset = (known, True) if proven else None
        self._tail: bytes | None = None  # b"": of a packet; once settled, what ``sent`` is read from

    if not TYPE_CHECKING:  # asked for a slot that was not set yet: find it once, then it is there

        def __getattr__(self, name: str) -> Any:
            if name not in _LATER:
                raise AttributeError(name)
            if self._tail:  # settled
                found = getattr(self.opened, name)
                if name == "is_ascii":
                    self.is_ascii = found
                return found
            _FINDERS[name](self)
            return object.__getattribute__(self, name)

    def settled(self, tail: bytes) -> Presence:
        """The same, to be kept for long, where ``tail`` is kept anyway: the packet behind VER and number.

        Names, texts and key are looked up there whenever they are asked for, but for the last few users: 600 bytes
        less for each of all the others. Of one that was made here, and is not just what ``tail`` says, nothing changes.
        """
        if self._tail is None and self.sent != reread(tail):
            return self
        kept = Presence.__new__(Presence)
        kept.version, kept.parts, kept.options = _same(self.version), _same(self.parts), _same(self.options)
        kept.kind = self.kind
        kept._codepage, kept._known, kept._charset = self._codepage, _same(self._known), self._charset
        kept._tail = tail
        kept._remember(self)
        return kept

    def _remember(self, opened: Presence) -> Presence:
        if len(_recently) >= OPENED:
            _recently.clear()
        _recently[self] = opened
        return opened

    def anew(self) -> Presence:
        """The same with no text looked up yet; to be asked, and not to be kept."""
        logon, host, nick, group, trailer = reread(self._tail) if self._tail else self.sent
        names = (logon, host, nick, group)
        new = Presence(self.version, *names, self.parts, self.options, trailer, self._codepage, self._known)
        new._charset = self._charset
        if self._tail:
            new.kind = self.kind
        return new

    @property
    def opened(self) -> Presence:
        """The same with all at hand that was looked up lately; to be asked, and not to be kept."""
        return (_recently.get(self) or self._remember(self.anew())) if self._tail else self

    def names_like(self, other: Presence) -> bool:
        """Do both say the same four names, in whatever charset and framing?"""
        other = other.opened
        ours, theirs = self.sent, other.sent
        if ours[:4] == theirs[:4] and self.is_ascii and plain(ours) and plain(theirs):
            return True
        return (ours == theirs and self.charset == other.charset) or self.texts == other.texts

    @property
    def logon(self) -> bytes:
        """As sent, as the three that follow."""
        return self.sent[0]

    @property
    def host(self) -> bytes:
        """The name of the machine."""
        return self.sent[1]

    @property
    def nick(self) -> bytes:
        """What people see; empty: the logon."""
        return self.sent[2]

    @property
    def group(self) -> bytes:
        """Under which the nick is listed."""
        return self.sent[3]

    @property
    def logon_text(self) -> str:
        """Never empty, and without a colon, as the next."""
        return self.texts[0]

    @property
    def host_text(self) -> str:
        """The name of the machine."""
        return self.texts[1]

    @property
    def nick_text(self) -> str:
        """What people see; empty: the logon."""
        return self.texts[2]

    @property
    def group_text(self) -> str:
        """Under which the nick is listed."""
        return self.texts[3]

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
        found = self.options & _OF_THE_USER
        return self.options if found == self.options else found  # the same object, where it is kept

    @property
    def line(self) -> str:
        """The value of the trailer's ``VS:`` line, "" if there is none."""
        return _line(trailers.version(self.sent[4]))

    def __repr__(self) -> str:
        return f"<Presence {self.logon_text}@{self.host_text} {self.kind} {self.options:#x}>"


def read(packet: Packet, codepage: str = "cp932", known: str = "") -> Presence:
    """Who sent this packet. ``known``: the charset proven earlier for this client, ``codepage``: the site's.

    For any command; nick, group and parts are empty where the command carries none.
    """
    version, _, logon, host, command, body, extra = packet
    nick, group, parts, trailer = split(command, body, extra)
    options = command & OPTION_MASK
    presence = Presence(version, logon, host, nick, group, parts, options, trailer, codepage, known)
    presence._tail = b""
    return presence


def _find_kind(presence: Presence) -> None:
    line, dictionaries = trailers.version(presence.sent[4]), bool(presence.options & _CAPIPDICT)
    presence.kind = recognise(presence.version, presence.parts, line, dictionaries)


def _find_edition(presence: Presence) -> None:
    presence.edition = clean(edition(presence.version, trailers.version(presence.sent[4])))


def _find_ascii(presence: Presence) -> None:
    presence.is_ascii = all(map(bytes.isascii, presence.sent[:4]))


def _find_texts(presence: Presence) -> None:
    """The four texts: lines of the trailer where there are valid ones, else the bytes in their charset."""
    sent, trailer = presence.sent[:4], presence.sent[4]
    if presence.is_ascii and plain(presence.sent):  # at half the price
        logon, host, nick, group = [clean(raw.decode("ascii")) for raw in sent]
    else:
        logon, host, nick, group = (
            clean(decode(raw, presence.charset) if text is None else text)
            for raw, text in zip(sent, trailers.said(trailer), strict=True)
        )
    # As a header would carry them: no ":" and never empty.
    presence.texts = logon.replace(":", ";") or "?", host.replace(":", ";") or "?", nick, _same(group)


def _find_charset(presence: Presence) -> tuple[str, bool]:
    """The charset of the bytes as sent, and whether that is beyond doubt; remembered."""
    utf8, kind = bool(presence.options & _UTF8), presence.kind.charsets
    found = presence._charset = charset_of(presence.sent, utf8, presence._known, presence._codepage, kind)
    return found


def _find_key(presence: Presence) -> None:
    logon, host, _, _, trailer = presence.sent
    # Nearly always: plain names, repeated by the trailer if there is one. Many times faster than the texts.
    repeated = b"N:" not in trailer or trailers.repeats(trailer, logon, host)
    if repeated and logon.isascii() and host.isascii():
        key = (logon.decode("ascii").casefold(), host.decode("ascii").casefold())
        if 0 < len(logon) <= NAME_LIMIT and 0 < len(host) <= NAME_LIMIT and "".join(key).isprintable():
            presence.key = key
            return
    presence.key = (presence.logon_text.casefold(), presence.host_text.casefold())


@lru_cache(256)
def _line(version: bytes) -> str:
    return clean(decode(version, "utf-8"))


@lru_cache(1024)
def _same(value: Value) -> Value:
    """One object for what thousands of users say alike."""
    return value


_FINDERS: dict[str, Callable[[Presence], object]] = {
    "texts": _find_texts,
    "edition": _find_edition,
    "is_ascii": _find_ascii,
    "key": _find_key,
    "kind": _find_kind,
}
_LATER = frozenset((*_FINDERS, "sent"))
_recently: dict[Presence, Presence] = {}  # settled ones with what was looked up in them
