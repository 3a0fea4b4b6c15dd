"""The kinds of value a configuration key may have: what to write, how it is read, how it is written back.

``read`` takes what tomllib gave and returns what the structs of ``config`` hold, or raises ``Refused``.
"""

from __future__ import annotations

import codecs
import ipaddress
import re
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
MOST_ENTRIES = 1024  # of a list: a thousand segments are 254,000 addresses, over 20 minutes of sweeping
LONGEST_TEXT = 64  # characters of a name: clients cut longer ones
LONGEST_SOCKET = 107  # bytes of a unix socket's path (sun_path)
LONGEST_DIALLED = 94  # characters of a host: with ":65535" the 100 of an address that other relays take


class Refused(ValueError):
    """A value that cannot be used. ``why`` and ``remedy`` are phrases, ``part`` is the list entry meant.

    Several bad entries of one list come as one ``Refused`` with all of them in ``each``.
    """

    def __init__(self, why: str = "", remedy: str = "", part: str = "", each: Sequence[Refused] = ()) -> None:
        super().__init__(why)
        self.why, self.remedy, self.part = why, remedy, part
        self.each = each or (self,)

    def text(self, kind: Kind, example: str) -> str:
        """The rest of the line that a person reads; ``example`` is a right "key = value"."""
        said = f"{self.part!r}: " if self.part else ""
        return f"{said}{self.why or 'expected ' + kind.expected}: {self.remedy or f'write {example}'}"


class Kind(NamedTuple):
    """One kind of value."""

    expected: str
    read: Callable[[Any], Any]
    plain: Callable[[Any], Any]  # back to what TOML can hold

    def write(self, value: Any) -> str:
        """As TOML."""
        value = self.plain(value)
        if isinstance(value, bool):
            return "true" if value else "false"
        if isinstance(value, list):
            return "[" + ", ".join(f'"{text}"' for text in value) + "]"
        return f'"{value}"' if isinstance(value, str) else str(value)


def _same(value: Any) -> Any:
    return value


def duration_seconds(text: str) -> float:
    """ "10m" to 600.0; raises Refused."""
    found = re.fullmatch(r"(\d{1,9})([smhd])", text)
    if not found:
        raise Refused
    return float(int(found[1]) * UNITS[found[2]])


def duration_text(seconds: float) -> str:
    """600.0 to "10m": the largest unit that divides it (days only from a day on)."""
    for unit in "dhm":
        if seconds and seconds % UNITS[unit] == 0:
            return f"{seconds / UNITS[unit]:.0f}{unit}"
    return f"{seconds:.0f}s"


def duration(least: str, most: str) -> Kind:
    """A time span between two others, both included."""
    low, high = duration_seconds(least), duration_seconds(most)

    def read(value: Any) -> float:
        if isinstance(value, int) and not isinstance(value, bool):
            raise Refused("expected a time with its unit", f'write "{value}s" if seconds are meant')
        if not isinstance(value, str):
            raise Refused
        seconds = duration_seconds(value.strip())
        if not low <= seconds <= high:
            raise Refused(f"expected at least {least} and at most {most}, found {value}")
        return seconds

    return Kind(f"a time such as 90s, 10m, 2h or 7d, from {least} to {most}", read, duration_text)


def number(least: int, most: int, reason: str) -> Kind:
    """A whole number between two others; ``reason`` says why not more."""

    def read(value: Any) -> int:
        if not isinstance(value, int) or isinstance(value, bool):
            raise Refused
        if not least <= value <= most:
            raise Refused(f"expected {least} to {most}, found {value} ({reason})")
        return value

    return Kind(f"a whole number from {least} to {most}", read, _same)


def one_of(*words: str) -> Kind:
    """One of a few words."""

    def read(value: Any) -> str:
        if value not in words:
            raise Refused
        return str(value)

    return Kind(f"one of {', '.join(words)}", read, _same)


def _switch(value: Any) -> bool:
    if not isinstance(value, bool):
        raise Refused
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value.strip() or not value.isprintable():
        raise Refused
    if len(value) > LONGEST_TEXT:
        raise Refused(f"expected at most {LONGEST_TEXT} characters, found {len(value)}")
    return value.strip()


def _path(value: Any) -> str:
    if not isinstance(value, str) or not value.startswith("/") or not value.isprintable():
        raise Refused
    return value


def _socket(value: Any) -> str:
    path = _path(value)
    if len(path.encode()) > LONGEST_SOCKET:
        raise Refused(
            f"expected at most {LONGEST_SOCKET} bytes (a limit of unix sockets), found {len(path.encode())}"
        )
    return path


def _codepage(value: Any) -> str:
    """A codec that leaves ASCII alone, as every code page of an IPMSG client does."""
    try:
        if isinstance(value, str) and b"a:1".decode(value) == "a:1":
            return codecs.lookup(value).name
    except (LookupError, ValueError):
        pass
    raise Refused


def _entries(one: Callable[[str], str]) -> Callable[[Any], tuple[str, ...]]:
    """A list of texts, each read by ``one``; doubles are dropped."""

    def read(value: Any) -> tuple[str, ...]:
        if not isinstance(value, list) or not all(isinstance(text, str) for text in value):
            raise Refused
        if len(value) > MOST_ENTRIES:
            raise Refused(
                f"expected at most {MOST_ENTRIES} entries, found {len(value)}", "split it over more relays"
            )
        found: dict[str, None] = {}
        bad = []
        for text in value:
            try:
                found[one(text.strip())] = None
            except Refused as refused:
                bad.append(Refused(refused.why, refused.remedy, text))
        if bad:
            raise Refused(each=bad)
        return tuple(found)

    return read


def _segment(text: str) -> str:
    """ "192.168.1.*" or one address."""
    octets = text.split(".")
    plain = [octet for octet in octets if octet.isascii() and octet.isdigit() and str(int(octet)) == octet]
    if "/" in text or "-" in text:
        raise Refused("neither x.y.z.* nor one address", f'write "{_wildcard(text)}" for 1 to 254 of it')
    if len(octets) == 4 and "*" in octets[:3]:
        raise Refused("only the fourth octet may be *", 'list each segment: ["10.1.1.*", "10.1.2.*"]')
    if len(octets) != 4 or len(plain) + (octets[3] == "*") != 4 or any(int(octet) > 255 for octet in plain):
        raise Refused("neither x.y.z.* nor one IPv4 address", 'write e.g. "192.168.1.*" or "10.1.5.20"')
    if int(octets[0]) in (0, 127) or int(octets[0]) >= 224:
        raise Refused("no host of a LAN has such an address", 'write e.g. "192.168.1.*"')
    return text


def _wildcard(text: str) -> str:
    octets = re.split(r"[/-]", text)[0].split(".")
    return ".".join([*octets[:3], "*"]) if len(octets) == 4 else "192.168.1.*"


def _network(text: str) -> str:
    try:
        return str(ipaddress.IPv4Network(text))
    except ValueError:
        pass
    try:
        right = ipaddress.IPv4Network(text, strict=False)
    except ValueError:
        raise Refused("no IPv4 network", 'write e.g. "192.168.9.0/24"') from None
    raise Refused("has host bits set", f'write "{right}"')


def _pattern(text: str) -> str:
    """What a rule of ``[[share]]`` may name: "192.168.1.*", "10.1.2.0/24", "group:Sales", "peer:hq", "here", "*"."""
    what, colon, name = text.partition(":")
    if text in ("*", "here"):
        return text
    if colon and what.strip().casefold() in ("group", "peer"):
        if not name.strip() or not name.isprintable():
            raise Refused(
                f"names no {what.strip().casefold()}", 'write "*" behind the colon if all are meant'
            )
        return f"{what.strip().casefold()}:{name.strip()}"
    if text[:1].isdigit():
        return _segment(text) if text.endswith("*") else _network(text)
    remedy = f'write "group:{text}" or "peer:{text}"' if text.isprintable() and text and not colon else ""
    raise Refused("neither a segment nor group:, peer:, here or *", remedy)


def _audience(text: str) -> str:
    """The same without groups, and without single addresses: a segment hears as one."""
    pattern = _pattern(text)
    if pattern.startswith("group:"):
        raise Refused(
            "a whole segment hears what is announced there", "name its segment; groups stand in from"
        )
    if pattern.endswith("/32"):
        raise Refused("a whole segment hears what is announced there", f'write "{_wildcard(pattern)}"')
    return pattern


def _patterns(one: Callable[[str], str]) -> Callable[[Any], tuple[str, ...]]:
    def read(value: Any) -> tuple[str, ...]:
        if value == []:
            raise Refused("an empty list is about nobody", 'write ["*"] if all are meant')
        return _entries(one)(value)

    return read


def _dialled(value: Any) -> str:
    """A host with or without ":PORT"."""
    host, colon, port = value.strip().partition(":") if isinstance(value, str) else ("", "", "")
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]*", host):
        raise Refused
    if len(host) > LONGEST_DIALLED:
        raise Refused(
            f"expected a host of at most {LONGEST_DIALLED} characters, as other relays do, found {len(host)}",
            "write its IPv4 address or a shorter name",
        )
    if colon and not (re.fullmatch(r"[1-9][0-9]{0,4}", port) and int(port) < 65536):
        raise Refused("expected a port from 1 to 65535 behind the colon")
    if host.replace(".", "").isdigit():
        try:
            ipaddress.IPv4Address(host)
        except ValueError:
            raise Refused("no IPv4 address") from None
    return f"{host}{colon}{port}"


def _interface(text: str) -> str:
    if not 0 < len(text) < 16 or not text.isprintable() or any(sign in text for sign in "/= "):
        raise Refused("no interface name", "see `ip -br address` for the names")
    return text


def _also(text: str) -> str:
    name, sign, network = text.partition("=")
    if not sign:
        raise Refused("neither interface nor network", 'write e.g. "eth0=192.168.9.0/24"')
    return f"{_interface(name.strip())}={_network(network.strip())}"


def _interfaces(value: Any) -> tuple[str, ...]:
    if value == []:
        raise Refused(
            "an empty list serves no segment", "leave the key out to use all that fit, or name some"
        )
    return _entries(_interface)(value)


def _list(value: Any) -> list[str]:
    return list(value or ())


SWITCH = Kind("true or false", _switch, _same)
TEXT = Kind("a text that is not empty, without control characters", _text, _same)
DIALLED = Kind("a host name or an IPv4 address, with :PORT if need be", _dialled, _same)
PATH = Kind("an absolute path", _path, _same)
SOCKET = Kind("an absolute path", _socket, _same)
CODEPAGE = Kind("a character set that contains ASCII, such as cp932, gb18030 or cp949", _codepage, _same)
INTERFACES = Kind("a list of interface names", _interfaces, _list)
ALSO = Kind("a list of INTERFACE=NETWORK", _entries(_also), _list)
NETWORKS = Kind("a list of networks", _entries(_network), _list)
SEGMENTS = Kind("a list of segments", _entries(_segment), _list)
SHOWN = Kind('a list of segments, "group:...", "peer:...", "here" or "*"', _patterns(_pattern), _list)
AUDIENCE = Kind('a list of segments, "peer:...", "here" or "*"', _patterns(_audience), _list)
