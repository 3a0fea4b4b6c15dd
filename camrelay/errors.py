"""Every error camrelay raises on purpose. Each message is one line a person can act on."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


class CamrelayError(Exception):
    """The family. ``exit_code`` is what the command line ends with."""

    exit_code = 1


class MalformedPacket(CamrelayError):
    """Bytes that are not an IPMSG packet. The only error that parsing a datagram can raise."""


class MalformedFrame(CamrelayError):
    """Bytes that are no message of a relay. The only error that decoding a frame can raise."""


class ConfigError(CamrelayError):
    """The configuration file cannot be used. The message names file, line, key and remedy."""

    exit_code = 2


class StartError(CamrelayError):
    """The daemon cannot start or go on (port busy, state directory not writable)."""


class StoreError(CamrelayError):
    """The roster database cannot be read or written."""


class FleetError(CamrelayError):
    """The fleet of relays cannot be joined, changed or read from disk. The message says why and what to do."""


class TokenError(FleetError):
    """What was given as an invitation's token is none."""

    exit_code = 2


class LinkError(CamrelayError):
    """Another relay cannot be reached, or the line to it ended. The message says which one and why."""


class LineEnded(LinkError):
    """The other relay closed the line, or it broke."""


class PeerRefused(LinkError):
    """The other relay was reached, and does not want to talk to us (or we not to it)."""


class ControlError(CamrelayError):
    """The running daemon refused a request or answered nonsense."""


class NotRunning(ControlError):
    """Nobody answers at the control socket."""

    exit_code = 3


class UsageError(CamrelayError):
    """The words on the command line do not make sense together."""

    exit_code = 2


def causes(error: BaseException) -> Iterator[BaseException]:
    """What a nursery wraps in groups, one by one."""
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from causes(inner)
    else:
        yield error
