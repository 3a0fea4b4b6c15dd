"""How a relay goes out of a fleet: somebody says so, anywhere in it, and it is final."""

from __future__ import annotations

from typing import TYPE_CHECKING

from camrelay.daemon.membership import bare
from camrelay.errors import UsageError

if TYPE_CHECKING:
    from camrelay.daemon.fleet import Fleet
    from camrelay.relay.messages import RelayId


def remove(fleet: Fleet, peer: RelayId) -> None:
    """This relay is a member no more, in the whole fleet. Ourselves: we leave. UsageError where there is no fleet.

    It counts at once, even if the disk does not take it now.
    """
    if peer == fleet.me.id:
        if not fleet.members:
            raise UsageError("this relay is in no fleet")
        fleet.former = bare(fleet.me._replace(removed=True))  # the others are told as the links go down
        fleet.reset()
    elif fleet.membership.remove(fleet.members[peer]):
        fleet.seen.pop(peer, None)
        fleet.save()
        fleet.log("relay removed", peer=fleet.label(peer), by="here")
        fleet.spread(bare(fleet.membership.removed[peer]))
        fleet.changed()
