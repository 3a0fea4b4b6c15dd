"""Every error camrelay raises on purpose. Each message is one line a person can act on."""


class CamrelayError(Exception):
    """The family. ``exit_code`` is what the command line ends with."""

    exit_code = 1


class MalformedPacket(CamrelayError):
    """Bytes that are not an IPMSG packet. The only error that parsing a datagram can raise."""


class ConfigError(CamrelayError):
    """The configuration file cannot be used. The message names file, line, key and remedy."""

    exit_code = 2


class StartError(CamrelayError):
    """The daemon cannot start or go on (port busy, state directory not writable)."""


class StoreError(CamrelayError):
    """The roster database cannot be read or written."""


class ControlError(CamrelayError):
    """The running daemon refused a request or answered nonsense."""


class NotRunning(ControlError):
    """Nobody answers at the control socket."""

    exit_code = 3


class UsageError(CamrelayError):
    """The words on the command line do not make sense together."""

    exit_code = 2
