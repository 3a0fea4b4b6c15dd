"""What the scripted Windows client says to questions, messages and classic lists: wire 3.2, 4 and 7.2."""

from __future__ import annotations

from typing import TYPE_CHECKING

from camrelay.ipmsg import hostlist, pubkey
from camrelay.ipmsg.command import AUTORETOPT, NOADDLISTOPT, RETRYOPT, SENDCHECKOPT, Command, Option
from tests.windows_table import Host

if TYPE_CHECKING:
    from collections.abc import Callable

    from camrelay.ipmsg.packet import Packet
    from tests.scripted import Sent
    from tests.windows import Windows499

WARM_UP = 0.25  # seconds between NOOPERATION and what it warms up for, wire 3.1
LIST_WAIT = 3  # seconds for a list to come, and up before one is offered, wire 4
EDITION = b"Win(en)Ver4.99r3(x64)"
QUIET = 0x00000400 | AUTORETOPT  # BROADCASTOPT: no receipt, nobody is asked who it was


class Requests:
    """One process. ``window``: when its list window was opened, None while it is closed."""

    def __init__(self, client: Windows499) -> None:
        self.client = client
        self.window: int | None = None

    def ask_for_list(self, retry: bool = False) -> None:
        """BR_ISGETLIST2, once more 3 s later, and BR_ENTRY when nobody has a list, wire 4."""
        self.client.announce(Command.BR_ISGETLIST2 | (RETRYOPT if retry else 0))
        then = self._got_list if retry else lambda: self.ask_for_list(retry=True)
        self.client.timer("getlist", WARM_UP + LIST_WAIT, then)

    def _got_list(self) -> None:
        self.client.stop("getlist")
        self.window = None
        if self.client.list_get:
            self.client.announce(Command.BR_ENTRY)

    def receive(self, packet: Packet, who: Host, sent: Sent) -> None:
        """Whatever is neither presence nor a dictionary."""
        table: dict[int, Callable[[Packet, Host, Sent], None]] = {
            Command.BR_ISGETLIST2: self._is_getlist,
            Command.OKGETLIST: self._ok_getlist,
            Command.GETLIST: self._getlist,
            Command.ANSLIST: self._anslist,
            Command.SENDMSG: self._message,
            Command.GETINFO: lambda packet, who, sent: self.client.reply(
                self.client.plain(Command.SENDINFO, EDITION), sent
            ),
            Command.GETPUBKEY: self._getpubkey,
            Command.ANSPUBKEY: self._anspubkey,
        }
        if packet.mode in table:
            table[packet.mode](packet, who, sent)

    def _is_getlist(self, packet: Packet, who: Host, sent: Sent) -> None:
        """Offered when up for 3 s; by one that asks for lists itself only at the second time, wire 4."""
        willing = not self.client.list_get or packet.options & RETRYOPT
        if self.client.gives_list and willing and (self.window or 0) + LIST_WAIT < self.client.clock():
            self.client.reply(self.client.plain(Command.OKGETLIST), sent)

    def _ok_getlist(self, packet: Packet, who: Host, sent: Sent) -> None:
        """Asks for the list that it was offered while its window is open; measured: after 1.0 s."""
        if self.client.list_window:
            self.client.later(1.0, lambda: self.client.reply(self.client.plain(Command.GETLIST), sent))

    def _getlist(self, packet: Packet, who: Host, sent: Sent) -> None:
        if not self.client.gives_list:
            return
        utf8 = Option.UTF8 if packet.options & (Option.UTF8 | Option.CAPUTF8) else 0
        charset = "utf-8" if utf8 else self.client.charset
        entries = [
            hostlist.Entry(
                one.logon.encode(charset, "replace"),
                one.host.encode(charset, "replace"),
                one.status,
                one.address,
                one.port,
                one.nick.encode(charset, "replace"),
                one.group.encode(charset, "replace"),
            )
            for one in self.client.table
        ]
        body, _ = hostlist.pack(entries, int(packet.body or b"0"), self.client.list_room)
        self.client.reply(self.client.plain(Command.ANSLIST | utf8, body), sent)

    def _anslist(self, packet: Packet, who: Host, sent: Sent) -> None:
        """Taken once, in its window; one from another than its master closes that 3 s later, wire 4."""
        if not self.client.list_window:
            self.client.ignored["list outside its window"] += 1
            return
        following, entries = hostlist.unpack(packet.body)
        charset = "utf-8" if packet.options & Option.UTF8 else self.client.charset
        for entry in entries:
            logon, host, nick, group = (
                raw.decode(charset, "replace") for raw in (entry.logon, entry.host, entry.nick, entry.group)
            )
            self.client.take(Host(logon, host, entry.options, entry.address, entry.port, nick, group))
        if following and following >= len(entries):
            self.client.reply(self.client.plain(Command.GETLIST, b"%d" % following), sent)
        else:
            waits = LIST_WAIT if self.client.master and sent.source != self.client.master else 0
            self.client.timer("list", waits, self._got_list)

    def _message(self, packet: Packet, who: Host, sent: Sent) -> None:
        """Wire 3.2: a stranger's message makes it ask who that is, unless it says not to."""
        if self.client.log.has(packet.serial, who.logon, who.host):
            return
        if who.impersonates and not packet.options & AUTORETOPT:
            return
        self.client.messages.append(packet.body)
        if packet.options & QUIET:
            return
        if packet.options & SENDCHECKOPT:
            self.client.reply(self.client.plain(Command.RECVMSG, packet.number), sent)
        if not packet.options & NOADDLISTOPT and who.place not in self.client.table.by_place:
            self.client.reply(self.client.presence(Command.BR_ENTRY), sent)

    def _getpubkey(self, packet: Packet, who: Host, sent: Sent) -> None:
        """Asks back unless told not to, and answers, wire 7.2."""
        theirs = pubkey.read_capability(packet.body)
        signs = theirs & (pubkey.Capability.SIGN_SHA1 | pubkey.Capability.SIGN_SHA256)
        if pubkey.claimed(who.logon) and not (theirs & pubkey.Capability.RSA_2048 and signs):
            return
        if signs and not packet.command & AUTORETOPT and who.name not in self.client.keys.by_name:
            self.client.reply(
                self.client.plain(Command.GETPUBKEY | AUTORETOPT, pubkey.write_capability()), sent
            )
        self.client.reply(
            self.client.plain(Command.ANSPUBKEY, pubkey.write_answer(self.client.key.public)), sent
        )

    def _anspubkey(self, packet: Packet, who: Host, sent: Sent) -> None:
        capability, key = pubkey.read_answer(packet.body)
        self.client.keys.learn(who.logon, who.host, key, capability)
