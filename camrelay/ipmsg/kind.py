"""Which family of clients a packet comes from, and what that client calls itself.

Told by the VER field where a client writes its name there, else by the version line of its trailer. Source:
packets of the real programs, and the public sources of those that publish them.
"""

from __future__ import annotations

from enum import StrEnum


class Kind(StrEnum):
    """The family of clients a user's program belongs to, as far as its packets tell."""

    WINDOWS = "windows"
    MAC = "mac"
    IPTUX = "iptux"
    FEIQ = "feiq"
    NWT = "nwt"
    CAMRELAY = "camrelay"
    UNKNOWN = "unknown"

    @property
    def takes_absence(self) -> bool:
        """Does such a client list a user on BR_ABSENCE? (Without answering it, unlike BR_ENTRY.)"""
        return self in _TAKES_ABSENCE

    @property
    def charsets(self) -> tuple[str, ...]:
        """What names of such a client are written in, likeliest first; empty: its code page."""
        return _CHARSETS.get(self, ())


_TAKES_ABSENCE = frozenset((Kind.WINDOWS, Kind.MAC, Kind.IPTUX))
_CHARSETS = {
    Kind.IPTUX: ("utf-8", "gb18030"),
    Kind.FEIQ: ("gb18030",),
    Kind.NWT: ("gb18030",),
    Kind.CAMRELAY: ("utf-8",),
}
_BY_VERSION = (
    (b"1_camrelay", Kind.CAMRELAY),
    (b"1_iptux", Kind.IPTUX),
    (b"1_lbt", Kind.FEIQ),
    (b"1@shiyeline", Kind.NWT),
)
# The platform is the first half of the version line's first field. Nothing is known of the mobile editions
# (0003, 0004) but that they exist, so they are served like any unknown client.
_BY_PLATFORM = {b"0001": Kind.WINDOWS, b"0002": Kind.MAC}
_VARIANTS = {
    b"00010001": "x86",
    b"00010002": "x64",
    b"00020000": "Mac",
    b"00030000": "iOS",
    b"00040000": "Android",
}


def recognise(version: bytes, parts: bytes, line: bytes, dictionaries: bool) -> Kind:
    """The kind by VER, the parts behind the group, the trailer's ``VS:`` line and CAPIPDICTOPT."""
    if version != b"1":
        for beginning, kind in _BY_VERSION:
            if version.startswith(beginning):
                return kind
    if parts:
        _, _, charset = parts.partition(b"\0")
        if charset.rstrip(b"\0") == b"utf-8":  # iptux says so whatever it wrote its names in
            return Kind.IPTUX
    platform = line[:4]
    if len(platform) == 4 and platform.isdigit():
        return _BY_PLATFORM.get(platform, Kind.UNKNOWN)
    return Kind.WINDOWS if dictionaries else Kind.UNKNOWN


def edition(version: bytes, line: bytes) -> str:
    """For people: "4.99r3 x64" by ``VS:``, else what follows the 1 of VER: "iptux 0.8.3", "lbt6_0"."""
    if not line:
        tail, _, _ = version[1:].partition(b"#")  # FeiQ: its MAC address and more follow
        return tail.lstrip(b"_@").decode("utf-8", "replace")
    fields = line.split(b":")
    if len(fields) != 4 or not all(field.isdigit() and len(field) < 9 for field in fields[1:]):
        return line.decode("utf-8", "replace")
    major, minor, revision = map(int, fields[1:])
    stage, base = ("r", 100) if revision >= 100 else ("b", 50) if revision >= 50 else ("a", 0)
    return f"{major}.{minor:02}{stage}{revision - base} {_VARIANTS.get(fields[0], '')}".rstrip()
