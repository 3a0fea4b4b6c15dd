"""The UTF-8 trailer of a presence packet: LF and lines ``UN:`` logon, ``HN:`` host, ``NN:`` nick ... ``VS:``.

Written and read as IP Messenger for Windows 4.99r3 does. ``IP:`` lines are neither read nor written: they
tell what one program knows about its member master.
"""

from __future__ import annotations

from camrelay.ipmsg.charset import exactly

# Windows cuts names at 79 bytes (MAX_NAMEBUF); characters here, so that none is cut in two.
NAME_LIMIT = 79

# Control characters and what turns the reading direction: a name must not steer the terminal that shows it.
_UNSAFE = dict.fromkeys(
    (*range(0x20), *range(0x7F, 0xA0), *range(0x2028, 0x202F), *range(0x2066, 0x206A)), " "
)

Said = tuple[str | None, str | None, str | None, str | None]


def said(trailer: bytes) -> Said:
    """Logon, host, nick and group by the trailer. None: it does not say, or not in UTF-8."""
    if not trailer:
        return None, None, None, None
    lines = {line[:3]: line[3:] for line in reversed(trailer.split(b"\n"))}  # the first of equal ones counts
    logon, host, nick, group = (
        exactly(lines[tag], "utf-8") if tag in lines else None for tag in (b"UN:", b"HN:", b"NN:", b"GN:")
    )
    return logon or None, host or None, nick, group  # a user without a name would be nobody


def repeats(trailer: bytes, logon: bytes, host: bytes) -> bool:
    """Does the trailer begin, as every real one does, with exactly these names?"""
    return trailer.startswith(b"\nUN:%b\nHN:%b\n" % (logon, host))


def version(trailer: bytes) -> bytes:
    """The value of the first ``VS:`` line, b"" if there is none."""
    _, _, rest = trailer.partition(b"\nVS:")
    return rest.partition(b"\n")[0]


def write(names: tuple[str, str, str, str] | None, vs: str) -> bytes:
    """A trailer with these names (logon, host, nick, group; None: without) and version, b"" without both."""
    lines = [tag + name for tag, name in zip(("UN:", "HN:", "NN:", "GN:"), names or (), strict=bool(names))]
    if vs:
        lines.append("VS:" + vs)
    return b"\n" + "\n".join(lines).encode("utf-8", "replace") if lines else b""


def clean(text: str) -> str:
    """Fit to be shown, and to stand in one line of a trailer."""
    if not text.isprintable():
        text = text.translate(_UNSAFE)
    return text[:NAME_LIMIT]
