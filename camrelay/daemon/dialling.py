"""To a relay's port: name, connection, TLS, and whether the right key answers. What goes wrong is said in words.

Rule kept here: nothing is sent to a relay before its public key was compared with the ones expected of it.
"""

from __future__ import annotations

import os
import socket
import ssl
from typing import TYPE_CHECKING, Final

import trio

from camrelay.daemon.peerkey import peer_key_of
from camrelay.daemon.session import Line
from camrelay.errors import LinkError, PeerRefused

if TYPE_CHECKING:
    from collections.abc import Collection

REACH_WITHIN: Final = 5.0  # seconds for connection and handshake, of each address
LOOK_UP_WITHIN: Final = 10.0  # seconds; a resolver tries two servers twice in that
MOST_ADDRESSES: Final = 4  # of one name

# Alerts that our own door sends before any handshake (RFC 8446, 6.2): access_denied and internal_error.
NO_FLEET: Final = b"\x15\x03\x03\x00\x02\x02\x31"
NO_ROOM: Final = b"\x15\x03\x03\x00\x02\x02\x50"

# Looking up may hang in threads that cannot be stopped: the database must not wait for those.
_lookers = trio.CapacityLimiter(8)


async def reach(
    where: str, context: ssl.SSLContext, accepted: Collection[str], who: str, within: float = REACH_WITHIN
) -> Line:
    """A line to ``who`` at "host:port", whose public key (SHA-256, hex) is one of the accepted. Or LinkError."""
    failed: LinkError | None = None
    for address, port in await look_up(where, who):
        try:
            return await _reach(address, port, context, accepted, who, within)
        except LinkError as error:
            if failed is None or not isinstance(failed, PeerRefused):
                failed = error
    raise failed or LinkError(f"{who} ({where}): no such host")


async def look_up(where: str, who: str) -> list[tuple[str, int]]:
    """The IPv4 addresses behind "host:port", asked for anew each time. LinkError if there are none."""
    host, _, port = where.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 65536:
        raise LinkError(f"{who} ({where}): not an address: expected host:port")
    try:
        socket.inet_pton(socket.AF_INET, host)
    except OSError:
        pass
    else:
        return [(host, int(port))]
    try:
        with trio.fail_after(LOOK_UP_WITHIN):
            found = await trio.to_thread.run_sync(
                socket.getaddrinfo, host, int(port), socket.AF_INET, socket.SOCK_STREAM,
                abandon_on_cancel=True, limiter=_lookers,
            )  # fmt: skip
    except (OSError, UnicodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else None
        raise LinkError(f"{who} ({where}): {(reason or str(error)).lower()}") from None
    except trio.TooSlowError:
        raise LinkError(f"{who} ({where}): the name server does not answer") from None
    return list(dict.fromkeys((str(to[0]), int(to[1])) for *_, to in found))[:MOST_ADDRESSES]


async def _reach(
    address: str, port: int, context: ssl.SSLContext, accepted: Collection[str], who: str, within: float
) -> Line:
    where = f"{address}:{port}"
    sock, line = trio.socket.socket(), None
    try:
        with trio.fail_after(within):
            await sock.connect((address, port))
            stream = trio.SSLStream(trio.SocketStream(sock), context)
            await stream.do_handshake()
        key = peer_key_of(stream)
        if key not in accepted:
            raise PeerRefused(
                f"{who} ({where}) has another key ({key[:16]}...): another relay answers there, "
                "or its state directory is new: enrol it again"
            )
        line = Line(stream, where, key, sock)
    except (OSError, trio.BrokenResourceError, trio.TooSlowError) as error:
        raise _in_words(error, f"{who} ({where})", within) from None
    finally:
        if line is None:
            sock.close()
    return line


def _in_words(
    error: OSError | trio.BrokenResourceError | trio.TooSlowError, who: str, within: float
) -> LinkError:
    """What stopped us on the way."""
    if isinstance(error, trio.TooSlowError):
        return LinkError(f"{who} did not answer within {within:g} s")
    if isinstance(error, OSError):
        return LinkError(f"{who}: {os.strerror(error.errno).lower() if error.errno else error}")
    reason = error.__cause__.reason if isinstance(error.__cause__, ssl.SSLError) else None
    if reason == "TLSV1_ALERT_ACCESS_DENIED":
        return PeerRefused(f"{who} is in no fleet and has invited nobody")
    if reason == "TLSV1_ALERT_INTERNAL_ERROR":
        return LinkError(f"{who} has too many connections at the moment")
    if reason in ("WRONG_VERSION_NUMBER", "UNSUPPORTED_PROTOCOL", "RECORD_LAYER_FAILURE"):
        return PeerRefused(f"{who} speaks no TLS 1.3: another program answers at that port")
    return LinkError(f"{who} closed the connection before the handshake was done")
