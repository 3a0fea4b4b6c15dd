"""The tokens that were given out: open, used and expired ones. Pure state; times are wall times of this relay.

Rule kept here: a token is good once. Used and expired ones are remembered for a day, so that whoever comes with one
can be told why it is refused.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from msgspec.structs import replace

from camrelay.daemon.fleetfile import Invitation
from camrelay.daemon.peerkey import key_hash
from camrelay.errors import FleetError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from camrelay.relay.messages import RelayId

GOOD_FOR: Final = (
    3600.0  # seconds: long enough to walk to the other box, short enough to be forgotten in a chat
)
KEPT: Final = 86_400.0  # seconds after that
MOST_OPEN: Final = 64
MOST_KEPT: Final = 256  # each is a pin, and pins cost 0.3 ms when the listening side is set up anew

AGAIN: Final = "make another one with `camrelay peer invite`"


class Invitations:
    """All that are remembered, by the hash of their one-time key, oldest first."""

    def __init__(self, saved: Iterable[Invitation] = ()) -> None:
        self.by_key = {key_hash(one.cert): one for one in saved}

    def open(self, now: float) -> list[Invitation]:
        """Those that somebody can still come with."""
        return [one for one in self.by_key.values() if not one.used_by and now < one.expires]

    def add(self, name: str, cert: bytes, now: float) -> Invitation:
        """A new one. FleetError if too many are open."""
        if len(self.open(now)) >= MOST_OPEN:
            raise FleetError(f"{MOST_OPEN} invitations are open already: wait until some are used or expire")
        made = Invitation(name, cert, now + GOOD_FOR)
        self.by_key[key_hash(cert)] = made
        return made

    def check(self, key: str, newcomer: RelayId, now: float) -> None:
        """May this relay come with this key? FleetError says in words why not.

        The relay that used a token may come again: its Welcome may have been lost on the way.
        """
        one = self.by_key.get(key)
        if one is None:
            raise FleetError(f"this token is not known here any more: {AGAIN}")
        if one.used_by not in ("", newcomer):
            raise FleetError(f"this token was used before, by another relay: {AGAIN}")
        if now >= one.expires:
            raise FleetError(f"this token expired {max(1, round((now - one.expires) / 60))} min ago: {AGAIN}")

    def use(self, key: str, newcomer: RelayId) -> None:
        """It is spent."""
        self.by_key[key] = replace(self.by_key[key], used_by=newcomer)

    def purge(self, now: float) -> bool:
        """Forget those of long ago; were there any?"""
        before = len(self.by_key)
        self.by_key = {key: one for key, one in self.by_key.items() if now < one.expires + KEPT}
        spent = [key for key, one in self.by_key.items() if one.used_by or now >= one.expires]
        for key in spent[:-MOST_KEPT]:
            del self.by_key[key]
        return len(self.by_key) < before
