"""``fleet.toml``: the fleet as this relay knows it, kept over restarts. Secrets are not in it, yet only we may read it.

A file that cannot be understood is reported and left alone: a relay that forgot its fleet would be an unknown there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from camrelay.daemon.durably import reason, write
from camrelay.errors import FleetError

if TYPE_CHECKING:
    from pathlib import Path

FILE: Final = "fleet.toml"
VERSION: Final = 1
LARGEST: Final = 8 << 20  # bytes: a thousand members and as many removed ones are under that at their worst
_HEADER: Final = (
    b"# Written by camrelay: the relays of its fleet. Change it with `camrelay peer`, not by hand.\n"
)


class Self(msgspec.Struct, frozen=True):
    """What we last said of ourselves; the certificates are in peer.pem."""

    id: str
    name: str
    revision: int
    addresses: tuple[str, ...] = ()
    certs: tuple[bytes, ...] = ()
    removed_by: str = ""  # the member that told us that we are no longer one, and when (wall time)
    removed_at: float = 0.0


class Other(msgspec.Struct, frozen=True):
    """Another relay, or one that was removed."""

    id: str
    name: str
    revision: int
    addresses: tuple[str, ...] = ()
    certs: tuple[bytes, ...] = ()
    removed: bool = False
    first_hand: bool = False  # has it said this itself?
    seen: int = 0  # the last revision of our own record that it acknowledged


class Invitation(msgspec.Struct, frozen=True):
    """One token that was given out, without its secret. Times are wall times."""

    name: str
    cert: bytes  # of its one-time key
    expires: float
    used_by: str = ""  # the id of the relay that came with it


class Saved(msgspec.Struct, frozen=True):
    """The whole file."""

    relay: Self
    version: int = VERSION
    member: tuple[Other, ...] = ()
    invitation: tuple[Invitation, ...] = ()


def load(path: Path) -> Saved | None:
    """What is in the file; None if there is none. FleetError if it cannot be used."""
    try:
        if path.stat().st_size > LARGEST:
            raise FleetError(f"{path}: too large for a list of relays: put the right file back")
        found = msgspec.toml.decode(path.read_bytes(), type=Saved)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise FleetError(f"{path}: {reason(error)}") from None
    except (msgspec.DecodeError, ValueError) as error:
        why = " ".join(str(error).split())
        raise FleetError(
            f"{path}: damaged ({why}): put a copy of it back, or remove it and peer.pem to be a new relay"
        ) from None
    if found.version != VERSION:
        raise FleetError(f"{path}: version {found.version} of a newer camrelay: upgrade this one")
    return found


def save(path: Path, saved: Saved) -> None:
    """Durable once this returns; FleetError if the disk does not take it, or ``load`` would not take it back."""
    content = _HEADER + msgspec.toml.encode(saved)
    if len(content) > LARGEST:
        raise FleetError(f"{path}: the fleet is too large to be kept: nothing was changed")
    write(path, content)
