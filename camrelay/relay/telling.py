"""A home user as a row for peers, and a peer's row as what the user says of itself.

Rule kept here: both ways give the same names, abilities and kind of client, so a user is announced in every segment of
the fleet as it is in those of its own relay.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from camrelay.ipmsg.announcement import OTHERS_LIMIT, announce, told
from camrelay.ipmsg.command import Command
from camrelay.relay.messages import Row

if TYPE_CHECKING:
    from camrelay.ipmsg.presence import Presence
    from camrelay.relay.user import User


def row_of(user: User, address: str, port: int, presence: Presence, claim: int) -> Row:
    """``user``, heard by us first hand at ``address`` saying ``presence``."""
    p = presence.anew()  # what is looked up for this row alone is not kept
    return Row(
        logon=p.logon_text,
        host=p.host_text,
        nick=p.nick_text,
        group=p.group_text,
        version=p.version[:OTHERS_LIMIT],
        options=p.abilities,
        parts=p.parts[:OTHERS_LIMIT],
        line=p.line,
        charset=p.charset,
        address=address,
        port=port,
        number=int(user.number) % 2**63,
        claim=claim,
    )


def same(new: Row, old: Row) -> bool:
    """But for the packet number."""
    return new == old or new._replace(number=old.number) == old


def said(row: Row) -> tuple[Presence, bytes]:
    """What the user of ``row`` says of itself, and the datagram in which it would."""
    names = (row.logon, row.host, row.nick, row.group)
    presence = told(row.version, names, row.parts, row.options, row.line, row.charset)
    return presence, announce(presence, Command.BR_ENTRY, row.number)
