"""Datagrams of the dictionary framing: who gets which. Rule kept here (design rule 1): a signature says who speaks, not
who is where, so a signed list is hearsay: from a user that we know it queues questions, from a stranger nothing at all.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from camrelay.errors import MalformedPacket
from camrelay.ipmsg import signed
from camrelay.ipmsg.command import Command
from camrelay.ipmsg.ipdict import decode
from camrelay.ipmsg.sealed import is_sealed

if TYPE_CHECKING:
    from camrelay.ipmsg.signed import Signed
    from camrelay.relay.context import Context
    from camrelay.relay.lists import Lists
    from camrelay.relay.mail import Mail
    from camrelay.relay.master import Master
    from camrelay.relay.outputs import Datagram
    from camrelay.relay.user import User


class Dictionaries:
    """Takes a datagram that begins as a dictionary does."""

    def __init__(self, context: Context, lists: Lists, mail: Mail, master: Master) -> None:
        self._context = context
        self._lists = lists
        self._mail = mail
        self._master = master

    def hear(self, datagram: Datagram, now: float) -> None:
        """One datagram; without an identity none means anything."""
        if self._context.identity is None:
            self._context.count("dropped: signed or encrypted dictionary")
            return
        try:
            self._read(datagram, now)
        except MalformedPacket:
            self._context.count("dropped: malformed dictionary")

    def _read(self, datagram: Datagram, now: float) -> None:
        user = self._context.roster.at.get(datagram.source)
        fields = decode(datagram.data)
        if is_sealed(fields):
            self._mail.sealed(fields, user, datagram, now)
            return
        packet = signed.read(fields)
        if packet.mode >= Command.DIR_POLL:
            self._master.hear(packet, datagram, now)
        elif packet.mode == Command.ANSLIST_DICT:
            self._list(packet, user)
        else:
            self._mail.dictionary(packet, user, datagram, now)

    def _list(self, packet: Signed, user: User | None) -> None:
        if user is None or user.is_relay:
            self._context.count("dropped: signed list of somebody unknown")
        elif self._mail.author(packet, user) is not None:
            self._context.count("signed lists heard")
            for host in signed.hosts(packet.fields):
                if host.present:
                    self._lists.hear_of(host.address)
